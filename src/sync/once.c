/*
 * once.c - done once; tried again after a failure.
 *
 * The word: the number of the thread that is at it, and three flags.
 *
 *   from           to             who
 *   -------------  -------------  ----------------------------------------
 *   0              r              a caller, who then runs its function
 *   r[|QUEUED]     r|QUEUED       another, who appends itself
 *   r[|QUEUED]     DONE           r, having succeeded; wakes all
 *   r              0              r, having failed
 *   r|QUEUED       f[|QUEUED]     the same; f is the first of the list, and
 *                                 is woken to try
 *
 * All under BUSY (busy.h); only that it is DONE is seen without.
 *
 * Invariant: who waits waits for a thread that is at it.
 *
 * Its end and a deadline, or a cancellation: under BUSY the thread is in the
 * list, and leaves; or it is not, and it has been done or is its own to do
 * (thread_wait_out).
 *
 * What is being done is in one list for the whole process, so that a thread
 * that ends in the middle (vthread_exit, pthread_exit) is found out.  That list
 * is short, and changes when something is done for the first time.
 *
 * Rejected: to keep what a thread is at in the thread.  It has no room, and
 * memory for the rare things may be short, which is no reason to fail here.
 */
#include "sync/once.h"

#include <errno.h>

#include "escape.h"
#include "platform/busy.h"
#include "platform/futex.h"

#define QUEUED 2u
#define DONE 4u

_Static_assert(THREAD_NUMBER_BITS + ONCE_RUNNER_SHIFT <= 32,
               "a thread's number fits in beside the flags");

/* What is being done now.  `first` is atomic only to be looked at without
 * the lock. */
static struct {
    struct os_lock lock;
    struct once *_Atomic first; /* L */
} running;

static uint32_t run_by(const struct thread *t)
{
    return thread_number(t) << ONCE_RUNNER_SHIFT;
}

struct thread *once_runner_of_list(const struct waitlist *list)
{
    struct once *o = (struct once *)((char *)list
                                     - offsetof(struct once, waiting));
    /* Relaxed: for reports. */
    uint32_t word = atomic_load_explicit(&o->word, memory_order_relaxed);
    uint32_t runner = word >> ONCE_RUNNER_SHIFT;
    return runner ? thread_at(runner) : NULL;
}

/* ---- Running ------------------------------------------------------------ */

static void register_running(struct once *o)
{
    os_lock_acquire(&running.lock);
    o->next = atomic_load_explicit(&running.first, memory_order_relaxed);
    atomic_store_explicit(&running.first, o, memory_order_relaxed);
    os_lock_release(&running.lock);
}

/* Relaxed: the lock orders; see once_abandon for who looks without. */
static void forget_running(struct once *o)
{
    os_lock_acquire(&running.lock);
    struct once *at = atomic_load_explicit(&running.first,
                                           memory_order_relaxed);
    if (at == o) {
        atomic_store_explicit(&running.first, o->next, memory_order_relaxed);
    } else {
        while (at->next != o)
            at = at->next;
        at->next = o->next;
    }
    os_lock_release(&running.lock);
}

/* Takes what self is at off the list, if there is something. */
static struct once *take_running(struct thread *self)
{
    struct once *o;
    os_lock_acquire(&running.lock);
    o = atomic_load_explicit(&running.first, memory_order_relaxed);
    for (; o; o = o->next)
        /* Relaxed: a thread sees what it has put there itself. */
        if (atomic_load_explicit(&o->word, memory_order_relaxed)
                >> ONCE_RUNNER_SHIFT
            == thread_number(self))
            break;
    os_lock_release(&running.lock);
    if (o)
        forget_running(o);
    return o;
}

/* busy_release publishes what the function did; pairs with is_done, and with
 * the busy_acquire of who tries next. */
static void finish(struct once *o, bool succeeded)
{
    busy_acquire(&o->word);
    struct thread *woken = succeeded ? waitlist_take_all(&o->waiting)
                                     : waitlist_take_first(&o->waiting);
    uint32_t word = succeeded ? DONE : woken ? run_by(woken) : 0;
    if (!waitlist_is_empty(&o->waiting))
        word |= QUEUED;
    busy_release(&o->word, word);
    if (succeeded)
        waitlist_wake_chain(woken);
    else if (woken)
        thread_wake(woken);
}

static int run(struct once *o, int (*fn)(void *), void *arg)
{
    register_running(o);
    int err = fn(arg);
    forget_running(o);
    finish(o, err == 0);
    return err;
}

void once_abandon(struct thread *self)
{
    struct once *o;
    /* Relaxed: what self itself has begun it sees. */
    while (atomic_load_explicit(&running.first, memory_order_relaxed)
           && (o = take_running(self)) != NULL)
        finish(o, false);
}

/* ---- Calling ------------------------------------------------------------ */

/* Acquire: observes what the function did; pairs with finish. */
static bool is_done(const struct once *o)
{
    return atomic_load_explicit(&o->word, memory_order_acquire) & DONE;
}

enum turn { DONE_BEFORE, MINE, WAITING, MINE_ALREADY };

static enum turn take_or_join(struct once *o, struct thread *self,
                              bool may_wait)
{
    uint32_t word = busy_acquire(&o->word);
    enum turn turn = WAITING;
    if (word & DONE)
        turn = DONE_BEFORE;
    else if (word == 0)
        turn = MINE;
    else if (word >> ONCE_RUNNER_SHIFT == thread_number(self))
        turn = MINE_ALREADY;
    if (turn == MINE) {
        word = run_by(self);
    } else if (turn == WAITING && may_wait) {
        o->waiting.kind = WAIT_ONCE;
        waitlist_append(&o->waiting, self);
        word |= QUEUED;
    }
    busy_release(&o->word, word);
    return turn;
}

static bool leave_list(struct once *o, struct thread *self)
{
    uint32_t word = busy_acquire(&o->word);
    bool was_there = waitlist_remove(&o->waiting, self);
    if (waitlist_is_empty(&o->waiting))
        word &= ~QUEUED;
    busy_release(&o->word, word);
    return was_there;
}

/* 0: it is done, or the caller's to do. */
static int wait_for_end(struct once *o, struct thread *self,
                        uint64_t deadline_ns)
{
    int err = thread_wait(self, deadline_ns, true);
    if (err == 0)
        return 0;
    if (leave_list(o, self))
        return err;
    thread_wait_out(self, err);
    return 0;
}

static int call(struct once *o, int (*fn)(void *), void *arg, bool may_wait,
                uint64_t deadline_ns)
{
    struct thread *self = thread_self();
    if (!self)
        return ENOMEM;
    int err = escape_check(o, may_wait ? "vthread_once" : "vthread_tryonce");
    if (err != 0)
        return err;
    switch (take_or_join(o, self, may_wait)) {
    case DONE_BEFORE:
        return 0;
    case MINE_ALREADY:
        return EDEADLK;
    case WAITING:
        err = may_wait ? wait_for_end(o, self, deadline_ns) : EBUSY;
        if (err != 0 || is_done(o))
            return err;
        break;
    case MINE:
        break;
    }
    return run(o, fn, arg);
}

int vthread_once_until(vthread_once_t *once, int (*fn)(void *), void *arg,
                       uint64_t deadline_ns)
{
    struct once *o = (struct once *)once;
    if (likely(!escape_is_doubtful(o) && is_done(o)))
        return 0;
    return call(o, fn, arg, true, deadline_ns);
}

int vthread_once(vthread_once_t *once, int (*fn)(void *), void *arg)
{
    return vthread_once_until(once, fn, arg, VTHREAD_NEVER);
}

int vthread_tryonce(vthread_once_t *once, int (*fn)(void *), void *arg)
{
    struct once *o = (struct once *)once;
    if (likely(!escape_is_doubtful(o) && is_done(o)))
        return 0;
    return call(o, fn, arg, false, VTHREAD_NEVER);
}

bool vthread_once_is_done(const vthread_once_t *once)
{
    return is_done((const struct once *)once);
}
