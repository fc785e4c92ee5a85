/*
 * thread.c - threads: starting, joining, sleeping, interrupting.
 *
 * What the library must be told is in threads_enable.  The user pointer of a
 * thread is its struct vm_thread; that is its argument, too, and so stays in
 * the collected heap while the thread lives.
 */
#include <vthread/embed.h>
#include <vthread/gc.h>

#include "minivm.h"

#define TIME_SLICE_NS (10 * VTHREAD_MS)
#define MAIN_STACK_BYTES ((size_t)4 << 20)

static const struct class class_thread = {.name = "thread"};
static vthread_latch_t alive;
static unsigned started; /* A */
static bool failed;      /* A: a thread has ended by an exception */

/* Threads that others create, for finalizers say, are none of ours. */
static void *created(void *creator)
{
    return creator ? ((struct vm_thread *)creator)->starting : NULL;
}

void threads_enable(void)
{
    static const vthread_embedder_t machine = {
        .created = created, .time_slice_ns = TIME_SLICE_NS};
    int err = vthread_gc_enable();
    if (err == 0)
        err = vthread_embed(&machine);
    if (err != 0)
        refuse(0, "cannot run: %s", strerror(err));
}

static void *run(void *arg)
{
    struct vm_thread *t = arg;
    /* Relaxed, here and in thread_start: both store the same number. */
    __atomic_store_n(&t->handle, vthread_self(), __ATOMIC_RELAXED);
    jmp_buf place;
    struct frame bottom = {.place = &place};
    t->top = &bottom;
    if (_setjmp(place) == 0)
        t->result = invoke(t, t->entry, t->arguments);
    else {
        print_thrown(t);
        /* Relaxed: it is read when the latch has opened. */
        __atomic_store_n(&failed, true, __ATOMIC_RELAXED);
    }
    if (t->monitors > 0)
        fprintf(stderr, "minivm: thread %u, %s, has not left %u monitor(s)\n",
                t->number, t->entry->name, t->monitors);
    vthread_latch_count_down(&t->ended, 1);
    vthread_latch_count_down(&alive, 1);
    return NULL;
}

value_t thread_start(struct vm_thread *creator, const struct function *entry,
                     const value_t *arguments, size_t stack_bytes)
{
    size_t slots = sizeof(struct vm_thread) / sizeof(value_t);
    struct vm_thread *t =
        (void *)object_new(creator, &class_thread, slots + entry->arguments);
    vthread_attr_t attr = {.flags = VTHREAD_DETACHED,
                           .name = entry->name,
                           .stack_size_bytes = stack_bytes};
    /* Relaxed: just a number. */
    t->number = __atomic_add_fetch(&started, 1, __ATOMIC_RELAXED);
    t->entry = entry;
    memcpy(t->arguments, arguments, entry->arguments * sizeof(value_t));
    vthread_latch_init(&t->ended, 1);
    vthread_latch_add(&alive, 1);
    creator->starting = t;
    vthread_t handle;
    int err = vthread_create(&handle, &attr, run, t);
    creator->starting = NULL;
    if (err != 0) {
        vthread_latch_count_down(&alive, 1);
        raise_error(creator, OUT_OF_MEMORY, "for a thread");
    }
    __atomic_store_n(&t->handle, handle, __ATOMIC_RELAXED);
    return (value_t)t;
}

bool threads_run(const struct function *entry, const value_t *arguments)
{
    static struct vm_thread outside;
    if (vthread_set_user(&outside) != 0)
        raise_error(&outside, OUT_OF_MEMORY, "for a thread");
    thread_start(&outside, entry, arguments, MAIN_STACK_BYTES);
    vthread_latch_wait(&alive);
    return !__atomic_load_n(&failed, __ATOMIC_RELAXED);
}

static struct vm_thread *thread_in(struct vm_thread *t, value_t v)
{
    return (void *)object_in(t, v, &class_thread);
}

value_t thread_join(struct vm_thread *t, value_t v)
{
    struct vm_thread *other = thread_in(t, v);
    if (vthread_latch_wait(&other->ended) != 0)
        raise_error(t, INTERRUPTED, "in join");
    return other->result;
}

/* One that has ended is not there any more, which is no harm. */
void thread_interrupt(struct vm_thread *t, value_t v)
{
    vthread_interrupt(
        __atomic_load_n(&thread_in(t, v)->handle, __ATOMIC_RELAXED));
}

void thread_sleep(struct vm_thread *t, int64_t ms)
{
    if (vthread_sleep(ms > 0 ? (uint64_t)ms * VTHREAD_MS : 0) != 0)
        raise_error(t, INTERRUPTED, "in sleep");
}
