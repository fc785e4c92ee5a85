/*
 * attach.c - who calls: a mounted virtual thread, or a platform thread,
 * which gets an object at its first call and gives it back at its end.
 *
 * After a fork the child has one OS thread and none of the carriers: it may
 * exec, and nothing else.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "carrier_local.h"
#include "continuation/mount.h"
#include "inspect/deadlock.h"
#include "inspect/describe.h"
#include "local.h"
#include "platform/collector.h"
#include "platform/fault.h"
#include "platform/os_thread.h"
#include "platform/panic.h"
#include "sync/once.h"
#include "thread.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int start_error;
static bool is_forked_child;
static _Atomic uint32_t platform_count; /* A */

uint32_t thread_platform_count(void)
{
    return atomic_load_explicit(&platform_count, memory_order_acquire);
}

/* seq_cst: between what tells deadlock.c of it, and the life of the object,
 * which begins or ends without an order of its own. */
static void count_platform_threads(int change)
{
    atomic_fetch_add_explicit(&platform_count, (uint32_t)change,
                              memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst);
}

/* At the end of a platform thread. */
static void detach_platform_thread(void *thread)
{
    struct thread *t = thread;
    if (local_thread(local_self()) == t) { /* else: in a forked child */
        once_abandon(t);
        thread_finish(t);
    }
    carrier_local_leave();
    local_set_thread(local_self(), NULL);
    fault_thread_leave();
    if (thread_extra(t))
        thread_free_extra(t);
    deadlock_note();
    count_platform_threads(-1);
    thread_free(t);
    collector_leave();
    deadlock_look_again();
}

static void in_forked_child(void)
{
    is_forked_child = true;
    local_set_thread(local_self(), NULL);
}

static void start(void)
{
    start_error = thread_table_init();
    if (start_error == 0)
        start_error = pthread_key_create(&key, detach_platform_thread);
    if (start_error == 0)
        start_error = pthread_atfork(NULL, NULL, in_forked_child);
}

void thread_refuse_child(void)
{
    if (unlikely(is_forked_child))
        panic("call of libvthread in a forked child: the child of a fork "
              "has no carriers; it may exec, nothing else");
}

static struct thread *attach(void)
{
    thread_refuse_child();
    pthread_once(&once, start);
    struct thread *t = start_error == 0 ? thread_alloc() : NULL;
    if (!t)
        return NULL;
    if (pthread_setspecific(key, t) != 0) {
        thread_free(t);
        return NULL;
    }
    atomic_fetch_or_explicit(&t->word, THREAD_PLATFORM,
                             memory_order_relaxed);
    /* It has no entry function: whose stack to look at, for dumps. */
    t->argument = (void *)(intptr_t)os_thread_number();
    collector_enter();
    deadlock_note();
    count_platform_threads(1);
    local_set_thread(local_self(), t);
    return t;
}

struct thread *thread_self(void)
{
    struct thread *t = local_thread(local_self());
    return likely(t != NULL) ? t : attach();
}

vthread_t vthread_self(void)
{
    struct thread *self = thread_self();
    return self ? thread_handle(self) : 0;
}

/* Not in what the carrier calls on its native stack around a mount: a wait
 * would leave a stack that it is not on.  The stack pointer does not tell: the
 * thread may have stacks of its own making. */
bool vthread_is_virtual(void)
{
    const struct thread *self = local_thread(local_self());
    const struct mount_point *mp = mount_point_self();
    return self
           && !(atomic_load_explicit(&self->word, memory_order_relaxed)
                & THREAD_PLATFORM)
           && mp->current && mp->stands_still == 0;
}
