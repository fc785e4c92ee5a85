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
    /* Relaxed, here and in start: both store the same number. */
    __atomic_store_n(&t->handle, vthread_self(), __ATOMIC_RELAXED);
    struct catcher catcher = {.outer = NULL};
    t->catcher = &catcher;
    if (_setjmp(catcher.place) == 0)
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

/* NULL: there is no room. */
static struct vm_thread *start(struct vm_thread *creator,
                               const struct function *entry,
                               const value_t *arguments, size_t stack_bytes)
{
    size_t slots = sizeof(struct vm_thread) / sizeof(value_t);
    struct vm_thread *t =
        (void *)object_new(NULL, &class_thread, slots + entry->arguments);
    /* Relaxed: just a number. */
    t->number = __atomic_add_fetch(&started, 1, __ATOMIC_RELAXED);
    t->entry = entry;
    memcpy(t->arguments, arguments, entry->arguments * sizeof(value_t));
    vthread_latch_init(&t->ended, 1);
    vthread_latch_add(&alive, 1);
    creator->starting = t;
    vthread_attr_t attr = {.flags = VTHREAD_DETACHED,
                           .name = entry->name,
                           .stack_size_bytes = stack_bytes};
    vthread_t handle;
    int err = vthread_create(&handle, &attr, run, t);
    creator->starting = NULL;
    if (err == 0) {
        __atomic_store_n(&t->handle, handle, __ATOMIC_RELAXED);
        return t;
    }
    vthread_latch_count_down(&alive, 1);
    return NULL;
}

bool threads_run(const struct function *entry, const value_t *arguments)
{
    static struct vm_thread outside;
    if (vthread_set_user(&outside) != 0
        || start(&outside, entry, arguments, MAIN_STACK_BYTES) == NULL)
        refuse(0, "there is no room for a thread");
    vthread_latch_wait(&alive);
    return !__atomic_load_n(&failed, __ATOMIC_RELAXED);
}

/* ---- Operations --------------------------------------------------------- */

static struct vm_thread *spawn(struct vm_thread *t,
                               const struct instruction *in,
                               const value_t *arguments)
{
    struct vm_thread *child =
        start(t, &program.functions[in->operand], arguments, 0);
    if (child == NULL)
        raise_error(t, OUT_OF_MEMORY, "for a thread");
    return child;
}

static struct vm_thread *thread_in(struct vm_thread *t, value_t v)
{
    return (void *)object_in(t, v, &class_thread);
}

/* The result of a thread; null if it has ended by an exception. */
static value_t join(struct vm_thread *t, struct vm_thread *other)
{
    if (vthread_latch_wait(&other->ended) != 0)
        raise_error(t, INTERRUPTED, "in join");
    return other->result;
}

static void nap(struct vm_thread *t, int64_t ms)
{
    if (vthread_sleep(ms > 0 ? (uint64_t)ms * VTHREAD_MS : 0) != 0)
        raise_error(t, INTERRUPTED, "in sleep");
}

value_t thread_perform(struct vm_thread *t, const struct instruction *in,
                       value_t *at)
{
    switch (in->opcode) {
    case OP_spawn:
        return (value_t)spawn(t, in, at);
    case OP_join:
        return join(t, thread_in(t, at[0]));
    case OP_interrupt:
        /* One that has ended is not there any more, which is no harm. */
        vthread_interrupt(__atomic_load_n(&thread_in(t, at[0])->handle,
                                          __ATOMIC_RELAXED));
        return 0;
    case OP_sleep:
        nap(t, integer_in(t, at[0]));
        return 0;
    case OP_self:
        return (value_t)t;
    default:
        return from_integer(t->error);
    }
}
