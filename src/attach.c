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
#include "describe.h"
#include "local.h"
#include "once.h"
#include "platform/fault.h"
#include "platform/panic.h"
#include "thread.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int start_error;
static bool is_forked_child;

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
    thread_free(t);
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

bool vthread_is_virtual(void)
{
    struct thread *self = local_thread(local_self());
    return self
           && !(atomic_load_explicit(&self->word, memory_order_relaxed)
                & THREAD_PLATFORM);
}
