/*
 * lifecycle.c - how threads begin and end.
 *
 * The end is agreed on in the word, between the thread's carrier and whoever
 * has the right to free it:
 *
 *   DETACHED  the carrier frees it
 *   CHILD     the carrier frees it, and tells its scope (scope.c)
 *   JOINING   a joiner has that right; JOINER: it also waits, and is
 *             thread->joiner.  Set before DONE: the carrier wakes it.
 *   DONE      the thread has left its stack; what it returned is in
 *             thread->argument.  Set before JOINER: no wait is needed.
 *
 * Each is set by a read-modify-write that also tells what was there, so one
 * of the two knows.  Who sets DONE without DETACHED or JOINER never touches
 * the object again.
 *
 * What a thread leaves behind is dealt with before that, by the thread
 * itself on its own stack, so that handlers and destructors may do whatever
 * threads do, and wait: thread_finish.  Cancellation is disabled meanwhile,
 * as it is in the handlers of POSIX: else the clean-up of a cancelled thread
 * could not wait for anything.  A thread that leaves nothing, which is most
 * of them, pays for one load.
 */
#include <errno.h>
#include <pthread.h>

#include "call/blocking.h"
#include "carrier/pool.h"
#include "continuation/continuation.h"
#include "continuation/run_stack.h"
#include "embed/embedder.h"
#include "entry.h"
#include "escape.h"
#include "inspect/describe.h"
#include "inspect/held.h"
#include "inspect/trace.h"
#include "key.h"
#include "lifecycle.h"
#include "local.h"
#include "platform/collector.h"
#include "platform/memory.h"
#include "platform/panic.h"
#include "platform/probe.h"
#include "running.h"
#include "scheduler.h"
#include "scope/cancel.h"
#include "scope/cleanup.h"
#include "scope/scope.h"
#include "scope/scoped_value.h"
#include "sync/once.h"
#include "thread.h"

static uint64_t set_flags(struct thread *t, uint64_t flags)
{
    /* Acquire what the other side did, release what this one did. */
    return atomic_fetch_or_explicit(&t->word, flags, memory_order_acq_rel);
}

static void destroy(struct thread *t)
{
    continuation_teardown(&t->continuation);
    struct thread_extra *extra = thread_extra(t);
    if (extra) {
        embedder_ended(extra); /* it has never run */
        thread_free_extra(t);
    }
    thread_free(t);
}

/* ---- The end ------------------------------------------------------------ */

static void end(struct thread *self, void *result)
{
    if (unlikely(self->continuation.pins > 0))
        held_thread_ends();
    self->argument = result;
    continuation_end(&self->continuation, SAYS_END);
}

void running_ended(struct local *here, struct thread *t)
{
    uint64_t word = atomic_load_explicit(&t->word, memory_order_acquire);
    if (unlikely(word & THREAD_COUNTED))
        running_unbind(t);
    if (word & (THREAD_DETACHED | THREAD_CHILD)) {
        void *child = word & THREAD_CHILD ? t->argument : NULL;
        destroy(t);
        scheduler_thread_ends(here->station);
        if (child)
            scope_child_ended(child);
        return;
    }
    /* First counted: who has joined it finds it gone. */
    scheduler_thread_ends(here->station);
    uint64_t before = set_flags(t, THREAD_DONE);
    if (before & THREAD_DETACHED)
        destroy(t);
    else if (before & THREAD_JOINER)
        thread_wake(thread_at(t->joiner));
}

/* Handlers may open scopes and give keys values, destructors push handlers:
 * so it goes round and round, as often as keys allow. */
__attribute__((noinline, cold)) static void
finish_all(struct thread *self, struct thread_extra *extra)
{
    if (!extra->finishes)
        cancel_disable_for_good(self);
    extra->finishes = true;
    do {
        cleanup_run_all(extra);
        scope_close_all(extra);
    } while (key_run_destructors(extra));
    scoped_value_leave(self, extra);
}

void thread_finish(struct thread *self)
{
    struct thread_extra *extra = thread_extra(self);
    if (unlikely(extra != NULL))
        finish_all(self, extra);
}

/* Such a call has a timer, and others look at its record: nobody would end
 * that. */
static void refuse_in_call(const struct thread *self)
{
    if (self
        && atomic_load_explicit(&self->word, memory_order_relaxed)
               & THREAD_IN_CALL)
        panic("vthread_exit inside of an interruptible vthread_call: "
              "expected that the function returns");
}

_Noreturn void vthread_exit(void *result)
{
    struct thread *self = local_thread(local_self());
    refuse_in_call(self);
    if (vthread_is_virtual())
        blocking_abandon(self);
    if (self) {
        once_abandon(self);
        thread_finish(self);
    }
    if (!vthread_is_virtual())
        pthread_exit(result);
    end(self, scope_child_exits(self, result));
    __builtin_unreachable();
}

/* ---- The beginning ------------------------------------------------------ */

/* Out of line, so that what it keeps is not in the frame of thread_main; a
 * child forked by the thread ends here, in words. */
__attribute__((noinline)) static void finish(void *result)
{
    struct thread *self = thread_self();
    thread_finish(self);
    end(self, result);
}

/* Its frame is part of every parked thread: what it kept across fn would
 * cost each of them 16 bytes. */
static void thread_main(void *continuation)
{
    struct thread *self = thread_of_continuation(continuation);
    continuation_begun(&self->continuation);
    finish(self->fn(self->argument));
}

__attribute__((noinline)) static void finish_child(int error)
{
    struct thread *self = thread_self();
    thread_finish(self);
    end(self, scope_child_returns(self, error));
}

/* As thread_main, for the child of a scope. */
static void child_main(void *continuation)
{
    struct thread *self = thread_of_continuation(continuation);
    continuation_begun(&self->continuation);
    struct scope_call call = scope_call_of(self->argument);
    finish_child(call.fn(call.args, call.result));
}

const struct continuation_kind thread_kind = {
    .main = thread_main,
    .describe = describe_continuation,
    .inline_offset = offsetof(struct thread, chunk)
                     - offsetof(struct thread, continuation),
    .inline_bytes = INLINE_CHUNK_BYTES,
};

static const struct continuation_kind child_kind = {
    .main = child_main,
    .describe = describe_continuation,
    .inline_offset = offsetof(struct thread, chunk)
                     - offsetof(struct thread, continuation),
    .inline_bytes = INLINE_CHUNK_BYTES,
};

bool lifecycle_is_thread(const struct continuation *c)
{
    return c->kind == &thread_kind || c->kind == &child_kind;
}

bool running_migrates;

void running_requeue(struct local *here, struct thread *t)
{
    uint64_t word = atomic_load_explicit(&t->word, memory_order_relaxed);
    if (unlikely(word & THREAD_BOUND_ONE)
        && t->continuation.state != CONTINUATION_NEW)
        pool_submit_to(here->carrier, &t->task);
    else if (unlikely(running_migrates))
        running_migrate(here->scheduler, t);
    else
        carrier_requeue(here->carrier, &t->task);
}

void running_migrate(struct vthread_scheduler *s, struct thread *t)
{
    struct carrier *carrier = local_self()->carrier;
    unsigned number = carrier ? carrier_number(carrier) + 1 : 0;
    carrier = pool_carrier(s->pool, number % pool_parallelism(s->pool));
    if (carrier)
        pool_submit_near(carrier, &t->task);
    else
        pool_submit(s->pool, &t->task);
}

bool lifecycle_is_stack_size(size_t size)
{
    return size == 0
           || (size % PAGE_SIZE_MIN_BYTES == 0 && size >= VTHREAD_STACK_SIZE_MIN
               && size <= VTHREAD_STACK_SIZE_MAX);
}

bool lifecycle_is_valid(const vthread_attr_t *attr)
{
    const unsigned known = VTHREAD_STACK_OWN | VTHREAD_BOUND
                           | VTHREAD_DETACHED;
    return lifecycle_is_stack_size(attr->stack_size_bytes)
           && !(attr->flags & ~known) && attr->reserved == 0;
}

/* With so many own homes out a thread that nobody has asked one for gets none:
 * a slow machine may have taught it of a function that has a million threads,
 * and each home takes memory, or mappings, which run out first. */
enum { LEARNT_OWN_MAX = 4096 };

static int set_home(struct thread *t, const vthread_attr_t *attr)
{
    struct continuation *c = &t->continuation;
    bool is_asked = attr->stack_size_bytes > VTHREAD_STACK_SIZE_DEFAULT
                    || attr->flags & VTHREAD_STACK_OWN;
    if (!is_asked
        && (!entry_needs_own(t->fn) || run_stack_own_count() >= LEARNT_OWN_MAX))
        return 0;
    c->flags |= CONTINUATION_WANTS_OWN;
    if (is_asked)
        c->flags |= CONTINUATION_ASKED_OWN;
    int err = continuation_take_own_home(c, attr->stack_size_bytes);
    if (err == 0 || is_asked)
        return err;
    /* It would be better with one, but nobody has asked for it. */
    c->flags &= ~CONTINUATION_WANTS_OWN;
    return 0;
}

static uint64_t flags_of(const vthread_attr_t *attr)
{
    return (attr->flags & VTHREAD_BOUND ? THREAD_BOUND_ONE : 0)
           | (attr->flags & VTHREAD_DETACHED ? THREAD_DETACHED : 0);
}

/* No read-modify-write: nobody has a handle of this generation yet, and who
 * has an older one does not get past it.  Relaxed: its submission publishes
 * the thread. */
static void add_first_flags(struct thread *t, uint64_t flags)
{
    uint64_t word = atomic_load_explicit(&t->word, memory_order_relaxed);
    atomic_store_explicit(&t->word, word | flags, memory_order_relaxed);
}

static inline int prepare(struct thread *t, const vthread_attr_t *attr,
                          const struct continuation_kind *kind)
{
    continuation_setup(&t->continuation, kind);
    int err = set_home(t, attr);
    if (err == 0 && attr->name)
        err = thread_set_name(t, attr->name);
    if (err == 0 && unlikely(embedder != NULL))
        err = embedder_created(t);
    return err;
}

static struct vthread_scheduler *choose_scheduler(const vthread_attr_t *attr,
                                                  int *err)
{
    struct local *here = local_self();
    *err = 0;
    if (attr->scheduler)
        return attr->scheduler;
    if (here->scheduler)
        return here->scheduler;
    *err = scheduler_ensure_default();
    return *err == 0 ? vthread_scheduler_default() : NULL;
}

/* NULL with *err. */
__attribute__((always_inline)) static inline struct thread *
new_thread(struct vthread_scheduler *s, const struct continuation_kind *kind,
           const vthread_attr_t *attr, void *(*fn)(void *), void *arg,
           int *err)
{
    struct thread *t = thread_alloc();
    *err = ENOMEM;
    if (!t)
        return NULL;
    t->fn = fn;
    t->argument = arg;
    t->scheduler = s->number;
    *err = prepare(t, attr, kind);
    if (*err == 0) {
        PROBE3(create, &t->continuation, thread_handle(t), fn);
        return t;
    }
    destroy(t);
    return NULL;
}

static bool is_welcome(struct vthread_scheduler *s)
{
    struct local *here = local_self();
    return scheduler_thread_comes(s, here->scheduler == s ? here->station
                                                          : NULL);
}

/* caller: where the program has asked for it. */
static inline int start(struct vthread_scheduler *s, vthread_t *handle,
                        const vthread_attr_t *attr, void *(*fn)(void *),
                        void *arg, const void *caller)
{
    int err;
    struct thread *t = new_thread(s, &thread_kind, attr, fn, arg, &err);
    if (!t)
        return err;
    if (!is_welcome(s)) {
        destroy(t);
        return EAGAIN;
    }
    add_first_flags(t, flags_of(attr));
    if (handle)
        *handle = thread_handle(t);
    if (trace_is_on())
        trace_created(t);
    collector_created(thread_number(t), caller);
    pool_submit(s->pool, &t->task);
    return 0;
}

int vthread_create(vthread_t *thread, const vthread_attr_t *attr,
                   void *(*fn)(void *), void *arg)
{
    static const vthread_attr_t defaults;
    if (!attr)
        attr = &defaults;
    if (!fn || !lifecycle_is_valid(attr))
        return EINVAL;
    if (!thread_self())
        return ENOMEM;
    int err = escape_check(arg, "vthread_create");
    if (err != 0)
        return err;
    struct vthread_scheduler *s = choose_scheduler(attr, &err);
    return err == 0 ? start(s, thread, attr, fn, arg,
                            __builtin_return_address(0))
                    : err;
}

int lifecycle_start_detached(void *(*fn)(void *))
{
    static const vthread_attr_t attr = {.flags = VTHREAD_DETACHED};
    return start(local_self()->scheduler, NULL, &attr, fn, NULL, NULL);
}

/* ---- Children of a scope ------------------------------------------------ */

int lifecycle_new_child(struct thread **thread, const vthread_attr_t *attr,
                        void *(*fn)(void *))
{
    int err;
    struct vthread_scheduler *s = choose_scheduler(attr, &err);
    struct thread *t = s ? new_thread(s, &child_kind, attr, fn, NULL, &err)
                         : NULL;
    if (!t)
        return err;
    add_first_flags(t, flags_of(attr) | THREAD_CHILD);
    *thread = t;
    return 0;
}

int lifecycle_start_child(struct thread *t)
{
    struct vthread_scheduler *s = scheduler_at(t->scheduler);
    if (!is_welcome(s))
        return EAGAIN;
    if (trace_is_on())
        trace_created(t);
    pool_submit_forked(s->pool, &t->task);
    return 0;
}

void lifecycle_discard_child(struct thread *t)
{
    destroy(t);
}

/* ---- Joining ------------------------------------------------------------ */

/* Takes the right to free it.  *word is as after that. */
static int take_right(struct thread *t, uint64_t *word, uint64_t flag)
{
    uint64_t generation = *word >> 32;
    do {
        if (*word >> 32 != generation)
            return ESRCH;
        if (*word
            & (THREAD_DETACHED | THREAD_JOINING | THREAD_PLATFORM
               | THREAD_CHILD))
            return EINVAL;
    } while (!atomic_compare_exchange_weak_explicit(
        &t->word, word, *word | flag, memory_order_acq_rel,
        memory_order_acquire));
    *word |= flag;
    return 0;
}

/* The wait has ended early.  0: the thread has ended all the same. */
static int leave_join(struct thread *self, struct thread *t, int err)
{
    uint64_t word = atomic_load_explicit(&t->word, memory_order_acquire);
    while (!(word & THREAD_DONE))
        if (atomic_compare_exchange_weak_explicit(
                &t->word, &word,
                word & ~(uint64_t)(THREAD_JOINING | THREAD_JOINER),
                memory_order_acq_rel, memory_order_acquire))
            return err;
    thread_wait_out(self, err);
    return 0;
}

static int wait_for_end(struct thread *t, uint64_t deadline_ns)
{
    struct thread *self = thread_self();
    t->joiner = thread_number(self);
    if (set_flags(t, THREAD_JOINER) & THREAD_DONE)
        return 0;
    /* Relaxed: for reports. */
    atomic_store_explicit(&self->wait_on, t, memory_order_relaxed);
    int err = thread_wait_for(self, FOR_END, deadline_ns, true);
    atomic_store_explicit(&self->wait_on, NULL, memory_order_relaxed);
    return err == 0 ? 0 : leave_join(self, t, err);
}

int vthread_join_until(vthread_t thread, void **result, uint64_t deadline_ns)
{
    uint64_t word;
    struct thread *t = thread_of_handle(thread, &word);
    if (!t)
        return ESRCH;
    struct thread *self = thread_self();
    if (!self)
        return ENOMEM;
    if (t == self)
        return EDEADLK;
    int err = take_right(t, &word, THREAD_JOINING);
    if (err == 0 && !(word & THREAD_DONE))
        err = wait_for_end(t, deadline_ns);
    if (err != 0)
        return err;
    if (result)
        *result = t->argument;
    destroy(t);
    return 0;
}

int vthread_join(vthread_t thread, void **result)
{
    return vthread_join_until(thread, result, VTHREAD_NEVER);
}

int vthread_detach(vthread_t thread)
{
    uint64_t word;
    struct thread *t = thread_of_handle(thread, &word);
    if (!t)
        return ESRCH;
    int err = take_right(t, &word, THREAD_DETACHED);
    if (err == 0 && word & THREAD_DONE)
        destroy(t);
    return err;
}
