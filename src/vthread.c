/*
 * vthread.c - where threads, continuations and carriers meet: how a thread
 * runs and how it waits.
 *
 * The word of a thread is the only thing that several parties change.  Its
 * upper half is the generation, so a compare-and-swap by someone who holds
 * a stale handle fails, whatever has become of the object.  Lower half:
 * flags.  The wait of a virtual thread, transition by transition; "active"
 * means neither PARKED nor WAITING, so it runs or is on one run queue:
 *
 *   from     to        who           when
 *   -------  --------  ------------  -------------------------------------
 *   active   ARMED     its carrier   it has left its stack and wants to wait
 *                                    until a deadline: timer armed next
 *   ARMED    TIMEOUT   a timer       the deadline came before (P)
 *   active   PARKED    its carrier   (P) it has left its stack, and no permit
 *            /WAITING                (for WAITING: WOKEN), interrupt or
 *                                    TIMEOUT is there; else it goes on
 *   PARKED   active    unpark        (U) whoever clears PARKED resubmits
 *   WAITING  active    thread_wake   (U) likewise
 *   either   active    interrupt     if CANCELLABLE and not MASKED; leaves
 *                                    CANCELED
 *   either   active    cancel        likewise; leaves CANCEL too
 *   active   +INTERRUPT  interrupt   seen once: the wait that returns
 *                                    ECANCELED takes it
 *   active   +CANCEL   cancel        for good: seen by each cancellable wait
 *   active   MASKED+-1 the thread    cancellation disabled, enabled; while it
 *                                    is not 0 INTERRUPT and CANCEL stay, and
 *                                    no wait looks at them
 *   either   active    a timer       under its wheel's lock; leaves TIMEOUT
 *   either   active    thread_hold   to look at its frames; then as its
 *                                    carrier at (P)
 *   active   +PERMIT   unpark        one bit: two unparks are one permit
 *   active   +WOKEN    thread_wake
 *   active   -PERMIT   the thread    park finds one, and does not wait
 *
 * (P) releases all that the thread did and (U) acquires it, so whoever
 * mounts it next sees its frames; (U) releases what the waker did, and the
 * queue's own order carries it to the thread.
 *
 * Two kinds of waiting, so that a permit given to a thread that waits for a
 * lock or a descriptor does not end that wait: PARKED is vthread_park's,
 * WAITING everything else's.
 *
 * Stale timers.  TIMED says that a timer was armed for the last wait.  The
 * carrier that mounts the thread next cancels it first, under the wheel's
 * lock, under which it also expires: afterwards it cannot fire.
 *
 * Pins.  A pinned thread is unmounted like any other, so its home is free,
 * but its carrier waits with it, in the kernel (KERNEL), and mounts it
 * again; a spare carrier does the work meanwhile.  A platform thread waits
 * the same way, without a continuation.
 *
 * What a thread says to its carrier when it yields is 0 (it wants to run
 * again), SAYS_END, SAYS_CALL (pinned, it wants its carrier to make a call on
 * the native stack), or the flags that it wants to wait with; TIMED among
 * them means until thread->deadline_ns.  What it is told when it goes on is
 * 0, ETIMEDOUT or ECANCELED.
 */
#include "vthread.h"

#include <errno.h>
#include <pthread.h>

#include "call/interruptible.h"
#include "carrier/pool.h"
#include "continuation/mount.h"
#include "inspect/deadlock.h"
#include "inspect/lock_wait.h"
#include "inspect/no_home.h"
#include "inspect/pin.h"
#include "inspect/trace.h"
#include "local.h"
#include "platform/clock.h"
#include "platform/futex.h"
#include "platform/panic.h"
#include "platform/probe.h"
#include "platform/sanitizer.h"
#include "platform/system.h"
#include "running.h"
#include "scheduler.h"
#include "scope/cancel.h"
#include "thread.h"
#include "timer.h"

#define PREFETCH_MAX_BYTES 512
#define WAIT_MODES (THREAD_PARKED | THREAD_WAITING)
#define WAIT_FLAGS                                                           \
    (WAIT_MODES | THREAD_CANCELLABLE | THREAD_KERNEL | THREAD_OUTSIDE)
#define WAIT_RESULTS (THREAD_TIMEOUT | THREAD_CANCELED)
#define CANCEL_FLAGS (THREAD_INTERRUPT | THREAD_CANCEL | THREAD_COUNTDOWN)

__thread struct local local;

/* ---- The word ----------------------------------------------------------- */

static uint64_t word_of(struct thread *t)
{
    return atomic_load_explicit(&t->word, memory_order_relaxed);
}

/* Acquire and release: see (P) and (U). */
static bool change(struct thread *t, uint64_t *from, uint64_t to)
{
    return atomic_compare_exchange_weak_explicit(
        &t->word, from, to, memory_order_acq_rel, memory_order_acquire);
}

static void clear(struct thread *t, uint64_t flags)
{
    /* Relaxed: these are the thread's own, and order nothing. */
    atomic_fetch_and_explicit(&t->word, ~flags, memory_order_relaxed);
}

/* What the thread is told, or would be, of how its last wait ended.  For a
 * sleeper the deadline is what it waits for. */
static int result_of(const struct thread *t, uint64_t word)
{
    if (likely(!(word & WAIT_RESULTS)))
        return 0;
    if (word & THREAD_CANCELED)
        return ECANCELED;
    /* Relaxed: its own. */
    return atomic_load_explicit(&t->waits_for, memory_order_relaxed)
                   == FOR_TIME
               ? 0
               : ETIMEDOUT;
}

/* What ends a wait of these flags before it begins, but for cancellation.
 * Stores the word as it is when the thread goes on; false: nothing does. */
static inline bool is_over(uint64_t word, uint64_t flags, uint64_t *after)
{
    uint64_t given = flags & THREAD_PARKED ? THREAD_PERMIT : THREAD_WOKEN;
    uint64_t plain = word & ~(uint64_t)(WAIT_RESULTS | THREAD_ARMED);
    if (word & given)
        *after = plain & ~given;
    else if (word & THREAD_TIMEOUT && word & THREAD_ARMED)
        *after = plain | THREAD_TIMEOUT;
    else
        return false;
    return true;
}

/* The same where one of CANCEL_FLAGS may be in the word: when the wait
 * begins (the first look, on the thread), or is about to be published (the
 * second, on its carrier). */
static bool is_over_or_canceled(struct thread *t, uint64_t word,
                                uint64_t flags, bool begins, uint64_t *after)
{
    if (is_over(word, flags, after))
        return true;
    if (!(word & CANCEL_FLAGS) || !(flags & THREAD_CANCELLABLE)
        || word & THREAD_MASKED)
        return false;
    if (word & THREAD_COUNTDOWN)
        cancel_count_down(t, begins);
    if (!(word & (THREAD_INTERRUPT | THREAD_CANCEL)))
        return false;
    *after = (word & ~(uint64_t)(WAIT_RESULTS | THREAD_ARMED
                                 | THREAD_INTERRUPT))
             | THREAD_CANCELED;
    return true;
}

/* The word of a wait that has begun. */
static inline uint64_t waiting(uint64_t word, uint64_t flags)
{
    return (word & ~(uint64_t)(WAIT_RESULTS | THREAD_ARMED)) | flags;
}

/* publish_wait where the thread is or may be cancelled. */
__attribute__((noinline, cold)) static bool
publish_wait_heeding(struct thread *t, uint64_t flags)
{
    uint64_t word = word_of(t), after;
    do {
        bool over = is_over_or_canceled(t, word, flags, false, &after);
        if (change(t, &word, over ? after : waiting(word, flags)))
            return !over;
    } while (true);
}

/* (P).  False: the wait is over already. */
static bool publish_wait(struct thread *t, uint64_t flags)
{
    uint64_t word = word_of(t), after;
    while (likely(!(word & CANCEL_FLAGS))) {
        bool over = is_over(word, flags, &after);
        if (change(t, &word, over ? after : waiting(word, flags)))
            return !over;
    }
    return publish_wait_heeding(t, flags);
}

/* ---- In the kernel ------------------------------------------------------ */

/* The half of the word that holds the flags; the generation of a thread
 * that waits does not change. */
static _Atomic uint32_t *flags_of(struct thread *t)
{
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
                   "the flags are the first half of the word");
    return (_Atomic uint32_t *)&t->word;
}

/* The deadline has come.  False: somebody else was first. */
static bool give_up(struct thread *t)
{
    uint64_t word = word_of(t);
    while (word & WAIT_MODES)
        if (change(t, &word,
                   (word & ~(uint64_t)WAIT_FLAGS) | THREAD_TIMEOUT))
            return true;
    return false;
}

static void sleep_while_waiting(struct thread *t, uint64_t deadline_ns)
{
    uint64_t word;
    while ((word = atomic_load_explicit(&t->word, memory_order_acquire))
           & WAIT_MODES) {
        uint64_t until_ns = sanitizer_sleep_limit(deadline_ns);
        if (futex_wait_idle(flags_of(t), (uint32_t)word, until_ns)
                == ETIMEDOUT
            && until_ns == deadline_ns && give_up(t))
            return;
    }
}

static int wait_in_kernel(struct thread *t, uint64_t flags,
                          uint64_t deadline_ns)
{
    deadlock_note();
    /* Not the recent time: with all carriers asleep nobody notes it. */
    t->waits_since = clock_ticks(clock_now_ns());
    if (publish_wait(t, flags | THREAD_KERNEL)) {
        if (!(flags & THREAD_OUTSIDE))
            deadlock_look_again();
        sleep_while_waiting(t, deadline_ns);
    }
    return result_of(t, word_of(t));
}

/* ---- A carrier and a thread --------------------------------------------- */

/* Before the thread goes on: nothing of the last wait may follow it. */
static uintptr_t before_run(struct local *here, struct thread *t,
                            uint64_t word)
{
    if (word & THREAD_TIMED) {
        wheel_cancel(&scheduler_station(here->scheduler, t->wheel)->wheel, t);
        clear(t, THREAD_TIMED);
    }
    if (word & THREAD_BOUND_ONE && t->continuation.state == CONTINUATION_NEW)
        running_bind(here, t);
    return (uintptr_t)result_of(t, word);
}

/* The thread has left its stack and wants to wait.  It may be running
 * elsewhere, or have ended, when this returns true. */
static bool begin_wait(struct local *here, struct thread *t, uint64_t flags)
{
    if (flags & THREAD_TIMED) {
        uint64_t deadline_ns = t->deadline_ns;
        uint64_t word = word_of(t);
        while (!change(t, &word,
                       (word & ~(uint64_t)WAIT_RESULTS) | THREAD_ARMED
                           | THREAD_TIMED))
            continue;
        if (wheel_arm(&here->station->wheel, t, deadline_ns))
            pool_deadline_moved(carrier_pool(here->carrier), deadline_ns);
    } else {
        t->waits_since = clock_recent_ticks();
    }
    return publish_wait(t, flags & ~(uint64_t)THREAD_TIMED);
}

/* A pinned thread waits: so does this carrier. */
static void wait_with(struct local *here, struct thread *t, uint64_t flags,
                      enum pin_cause cause)
{
    uint64_t deadline_ns = flags & THREAD_TIMED ? t->deadline_ns
                                                : VTHREAD_NEVER;
    station_count(&here->station->pinned_parks);
    PROBE2(pin, &t->continuation, flags);
    pin_begin(here, t, cause);
    if (trace_is_on())
        trace_note(TRACE_PIN, thread_handle(t));
    carrier_block_begin(here->carrier);
    wait_in_kernel(t, flags & ~(uint64_t)THREAD_TIMED, deadline_ns);
    PROBE1(pin_end, &t->continuation);
    if (trace_is_on())
        trace_note(TRACE_PIN_END, thread_handle(t));
    pin_end(here);
    carrier_block_end(here->carrier);
}

/* Lets a thread that may not leave this OS thread go on here.  Its home may
 * be in use: for as long as another thread's slice takes. */
static enum run_status run_again(struct thread *t, enum run_status status,
                                 uintptr_t *value)
{
    *value = (uintptr_t)result_of(t, word_of(t));
    struct mount_point *mp = mount_point_self();
    if (status == RUN_UNSETTLED)
        return continuation_resume(mp, &t->continuation, value);
    while ((status = continuation_run(mp, &t->continuation, NULL, value))
           == RUN_BUSY)
        system_yield();
    return status;
}

/* After the switch: sees to what the thread said. */
static void after_run(struct local *here, struct thread *t,
                      enum run_status status, uintptr_t said)
{
    while (said != SAYS_END
           && unlikely(status == RUN_UNSETTLED
                       || continuation_is_pinned(&t->continuation))) {
        if (said == SAYS_CALL)
            lock_wait_make_call(here, t);
        else if (said != SAYS_YIELD)
            wait_with(here, t, said,
                      status == RUN_UNSETTLED ? PIN_HAS_NO_MEMORY
                                              : PIN_WAITS);
        local_set_thread(here, t);
        status = run_again(t, status, &said);
        local_set_thread(here, NULL);
    }
    if (said == SAYS_YIELD)
        running_requeue(here, t);
    else if (said == SAYS_END)
        running_ended(here, t);
    else if (!begin_wait(here, t, said))
        running_requeue(here, t);
}

/* Mounts the thread for as long as it runs without waiting. */
__attribute__((always_inline)) static inline void
run(struct local *here, struct mount_point *mp, struct thread *t)
{
    uint64_t word = word_of(t);
    uintptr_t value = 0;
    if (unlikely(word & (THREAD_TIMED | WAIT_RESULTS | THREAD_BOUND_ONE)))
        value = before_run(here, t, word);
    local_set_thread(here, t);
    enum run_status status = continuation_run(mp, &t->continuation, &t->home,
                                              &value);
    local_set_thread(here, NULL);
    if (likely(status == RUN_RETURNED && value == SAYS_YIELD
               && !continuation_is_pinned(&t->continuation)))
        running_requeue(here, t);
    else if (status == RUN_RETURNED || status == RUN_UNSETTLED)
        after_run(here, t, status, value);
    else if (status == RUN_NO_MEMORY) {
        /* No home yet; others will give theirs back. */
        no_home_note(t);
        running_requeue(here, t);
    }
}

/* What the inline chunk does not hold of the frames of one that is next. */
NO_SANITIZE_THREAD static void prefetch_chunk(const struct continuation *c)
{
    const char *chunk = (const char *)c->chunk;
    uint32_t bytes = c->frozen_bytes - INLINE_CHUNK_BYTES;
    for (uint32_t i = 0; i < bytes && i < PREFETCH_MAX_BYTES; i += CACHE_LINE)
        __builtin_prefetch(chunk + i);
}

/* While a thread runs, what the next ones will touch comes into the cache:
 * the object first, then, when that is there, the top of its frames.  What
 * is read of a task that a thief has taken meanwhile is of no consequence. */
NO_SANITIZE_THREAD static void prefetch(struct carrier *carrier)
{
    const char *object = (const char *)carrier_peek(carrier, 3);
    if (object) {
        __builtin_prefetch(object, 1);
        __builtin_prefetch(object + 2 * CACHE_LINE, 1);
        __builtin_prefetch(object + 3 * CACHE_LINE, 1);
    }
    const struct thread *next = (struct thread *)carrier_peek(carrier, 0);
    if (!next)
        return;
    __builtin_prefetch(next->continuation.sp, 1);
    if (unlikely(next->continuation.frozen_bytes > INLINE_CHUNK_BYTES))
        prefetch_chunk(&next->continuation);
}

void running_work(struct carrier *carrier)
{
    struct local *here = &local;
    struct mount_point *mp = mount_point_self();
    struct task *task;
    while ((task = carrier_next(carrier)) != NULL) {
        prefetch(carrier);
        run(here, mp, (struct thread *)task);
    }
}

/* ---- Waiting ------------------------------------------------------------ */

static inline int leave_stack(struct thread *self, uint64_t flags,
                              uint64_t deadline_ns)
{
    if (deadline_ns != VTHREAD_NEVER) {
        self->deadline_ns = deadline_ns;
        flags |= THREAD_TIMED | THREAD_OUTSIDE;
    }
    return (int)continuation_yield(&self->continuation, flags);
}

/* A platform thread waits, or one that is pinned. */
__attribute__((noinline, cold)) static int
wait_on_os_thread(struct thread *self, uint64_t flags, uint64_t deadline_ns)
{
    if (word_of(self) & THREAD_PLATFORM)
        return wait_in_kernel(self,
                              deadline_ns == VTHREAD_NEVER
                                  ? flags
                                  : flags | THREAD_OUTSIDE,
                              deadline_ns);
    pin_note();
    return leave_stack(self, flags, deadline_ns);
}

/* Has `thread` leave its stack with those flags; returns how the wait
 * ended.  The last thing its callers do: their frames are gone then. */
static int wait_with_flags(struct thread *self, uint64_t flags,
                           uint64_t deadline_ns, enum waits_for what)
{
    /* Relaxed: published with the wait. */
    atomic_store_explicit(&self->waits_for, (uint8_t)what,
                          memory_order_relaxed);
    PROBE2(park, &self->continuation, *thread_waits_for_place(self));
    if (unlikely((word_of(self) & THREAD_PLATFORM)
                 | self->continuation.pins))
        return wait_on_os_thread(self, flags, deadline_ns);
    return leave_stack(self, flags, deadline_ns);
}

void running_call_natively(struct thread *self)
{
    continuation_yield(&self->continuation, SAYS_CALL);
}

/* As publish_wait_heeding. */
__attribute__((noinline, cold)) static int
end_at_once_heeding(struct thread *self, uint64_t flags, uint64_t deadline_ns)
{
    uint64_t word = word_of(self), after;
    while (is_over_or_canceled(self, word & ~(uint64_t)THREAD_ARMED, flags,
                               true, &after))
        if (change(self, &word, after))
            return after & THREAD_CANCELED ? ECANCELED : 0;
    return deadline_ns != VTHREAD_NEVER && deadline_ns <= clock_now_ns()
               ? ETIMEDOUT
               : -1;
}

/* Takes what would end the wait at once, and returns its result; -1: nothing
 * does. */
static int end_at_once(struct thread *self, uint64_t flags,
                       uint64_t deadline_ns)
{
    uint64_t word = word_of(self), after;
    if (unlikely(word & CANCEL_FLAGS))
        return end_at_once_heeding(self, flags, deadline_ns);
    while (is_over(word & ~(uint64_t)THREAD_ARMED, flags, &after))
        if (change(self, &word, after))
            return 0;
    return deadline_ns != VTHREAD_NEVER && deadline_ns <= clock_now_ns()
               ? ETIMEDOUT
               : -1;
}

int thread_wait_for(struct thread *self, enum waits_for what,
                    uint64_t deadline_ns, bool cancellable)
{
    uint64_t flags = THREAD_WAITING | (cancellable ? THREAD_CANCELLABLE : 0)
                     | (what >= FOR_OUTSIDE ? THREAD_OUTSIDE : 0);
    int err = end_at_once(self, flags, deadline_ns);
    return err >= 0 ? err : wait_with_flags(self, flags, deadline_ns, what);
}

int thread_wait(struct thread *self, uint64_t deadline_ns, bool cancellable)
{
    return thread_wait_for(self, FOR_LISTED, deadline_ns, cancellable);
}

void thread_wait_out(struct thread *self, int err)
{
    thread_wait_for(self, FOR_CERTAIN, VTHREAD_NEVER, false);
    if (err == ECANCELED)
        /* Relaxed: it is the thread's own affair again. */
        atomic_fetch_or_explicit(&self->word, THREAD_INTERRUPT,
                                 memory_order_relaxed);
}

void thread_resubmit(struct thread *t)
{
    struct local *here = local_self();
    struct vthread_scheduler *s = here->scheduler;
    if (unlikely(!s || s->number != t->scheduler))
        s = scheduler_at(t->scheduler);
    if (unlikely(word_of(t) & THREAD_BOUND_ONE)
        && t->continuation.state != CONTINUATION_NEW)
        pool_submit_to(pool_carrier(s->pool, t->carrier), &t->task);
    else if (unlikely(running_migrates))
        running_migrate(s, t);
    else if (local_thread(here) && here->carrier)
        pool_submit_next(s->pool, &t->task);
    else if (here->scheduler == s && here->carrier)
        /* The carrier is between two tasks, and looks at its queue next. */
        carrier_requeue(here->carrier, &t->task);
    else
        pool_submit(s->pool, &t->task);
}

/* Until here the handle stays in a register or on the stack, where a look
 * for leaks finds it (leak_trace.c): the caller may have been the last to have
 * it, and a compiler drops it once it has been looked up. */
static inline void keep_until_here(vthread_t handle)
{
    __asm__ volatile("" ::"g"(handle));
}

/* Apart, so that the usual way needs no frame. */
__attribute__((noinline)) static void wake_slowly(struct thread *t,
                                                  bool in_kernel)
{
    if (trace_is_on())
        trace_note(TRACE_WAKE, thread_handle(t));
    if (in_kernel)
        futex_wake(flags_of(t), 1);
    else
        thread_resubmit(t);
}

/* (U): ends the wait whose flags are in word.  False: word has changed.
 * Inline, for it is all that a wake-up consists of.  handle: by which the
 * thread was found; 0: it was taken from where it waits. */
__attribute__((always_inline)) static inline bool
end_wait_of(struct thread *t, uint64_t *word, uint64_t result,
            vthread_t handle)
{
    bool in_kernel = *word & THREAD_KERNEL;
    if (!change(t, word, (*word & ~(uint64_t)WAIT_FLAGS) | result))
        return false;
    keep_until_here(handle);
    PROBE1(unpark, &t->continuation);
    if (unlikely(in_kernel || trace_is_on()))
        wake_slowly(t, in_kernel);
    else
        thread_resubmit(t);
    return true;
}

void thread_wake(struct thread *t)
{
    uint64_t word = word_of(t);
    for (;;) {
        if (word & THREAD_WAITING) {
            if (end_wait_of(t, &word, 0, 0))
                return;
        } else if (change(t, &word, word | THREAD_WOKEN)) {
            return;
        }
    }
}

bool thread_time_out(struct thread *t)
{
    uint64_t word = word_of(t);
    for (;;) {
        if (word & WAIT_MODES) {
            if (change(t, &word,
                       (word & ~(uint64_t)WAIT_FLAGS) | THREAD_TIMEOUT)) {
                PROBE1(unpark, &t->continuation);
                if (trace_is_on())
                    trace_note(TRACE_EXPIRE, thread_handle(t));
                return true;
            }
        } else if (!(word & THREAD_ARMED)) {
            return false;
        } else if (change(t, &word, word | THREAD_TIMEOUT)) {
            return false;
        }
    }
}

/* As a waker would, but it does not resubmit the thread; and as its carrier
 * would after unmounting it. */
bool thread_hold(struct thread *t, uint64_t generation, uint64_t *flags)
{
    uint64_t word = word_of(t);
    while (word >> 32 == generation && word & WAIT_MODES
           && !(word & (THREAD_KERNEL | THREAD_OUTSIDE))) {
        *flags = word & WAIT_FLAGS;
        if (change(t, &word, word & ~(uint64_t)WAIT_FLAGS))
            return true;
    }
    return false;
}

void thread_let_go(struct thread *t, uint64_t flags)
{
    if (!publish_wait(t, flags))
        thread_resubmit(t);
}

/* ---- Parking, sleeping, yielding ---------------------------------------- */

int vthread_park_until(uint64_t deadline_ns)
{
    struct thread *self = thread_self();
    if (!self)
        return ENOMEM;
    uint64_t flags = THREAD_PARKED | THREAD_CANCELLABLE;
    int err = end_at_once(self, flags, deadline_ns);
    return err >= 0 ? err
                    : wait_with_flags(self, flags, deadline_ns, FOR_UNPARK);
}

int vthread_park(void)
{
    return vthread_park_until(VTHREAD_NEVER);
}

int vthread_unpark(vthread_t thread)
{
    uint64_t word;
    struct thread *t = thread_of_handle(thread, &word);
    if (!t)
        return ESRCH;
    uint64_t generation = word >> 32;
    while (word >> 32 == generation && !(word & THREAD_DONE)) {
        if (word & THREAD_PARKED) {
            if (end_wait_of(t, &word, 0, thread))
                return 0;
        } else if (word & THREAD_PERMIT
                   || change(t, &word, word | THREAD_PERMIT)) {
            return 0;
        }
    }
    return ESRCH;
}

static bool heeds_cancellation(uint64_t word)
{
    return word & WAIT_MODES && word & THREAD_CANCELLABLE
           && !(word & THREAD_MASKED);
}

/* Ends the thread's wait if it heeds cancellation; else leaves `flag` for a
 * later one.  `stays`: the flag is left in either case.  0 or ESRCH. */
static int cancel_wait(vthread_t handle, uint64_t flag, bool stays)
{
    uint64_t word;
    struct thread *t = thread_of_handle(handle, &word);
    if (!t)
        return ESRCH;
    uint64_t generation = word >> 32;
    while (word >> 32 == generation && !(word & THREAD_DONE)) {
        if (heeds_cancellation(word)) {
            if (end_wait_of(t, &word, THREAD_CANCELED | (stays ? flag : 0),
                            handle))
                return 0;
        } else if (change(t, &word, word | flag)) {
            if (unlikely(word & THREAD_IN_CALL && !(word & THREAD_MASKED)))
                interruptible_cancel(handle);
            return 0;
        }
    }
    return ESRCH;
}

int vthread_interrupt(vthread_t thread)
{
    return cancel_wait(thread, THREAD_INTERRUPT, false);
}

void thread_cancel(vthread_t handle)
{
    (void)cancel_wait(handle, THREAD_CANCEL, true);
}

bool vthread_interrupted(void)
{
    struct thread *self = thread_self();
    if (!self || !(word_of(self) & (THREAD_INTERRUPT | THREAD_CANCEL)))
        return false;
    clear(self, THREAD_INTERRUPT);
    return true;
}

/* A deadline that is known to be ahead need not be looked at: checked_ns is
 * VTHREAD_NEVER then. */
static int sleep_until(uint64_t deadline_ns, uint64_t checked_ns)
{
    struct thread *self = thread_self();
    if (!self)
        return ENOMEM;
    uint64_t flags = THREAD_WAITING | THREAD_CANCELLABLE;
    int err = end_at_once(self, flags, checked_ns);
    if (err >= 0)
        return err == ETIMEDOUT ? 0 : err;
    return wait_with_flags(self, flags, deadline_ns, FOR_TIME);
}

int vthread_sleep_until(uint64_t deadline_ns)
{
    return sleep_until(deadline_ns, deadline_ns);
}

int vthread_sleep(uint64_t duration_ns)
{
    return sleep_until(vthread_after(duration_ns),
                       duration_ns > 0 ? VTHREAD_NEVER : 0);
}

/* Pinned: others run on a spare carrier meanwhile, if there is one. */
static void yield_in_place(struct carrier *carrier)
{
    carrier_block_begin(carrier);
    system_yield();
    carrier_block_end(carrier);
}

void vthread_yield(void)
{
    struct thread *self = local_thread(local_self());
    if (!self || word_of(self) & THREAD_PLATFORM) {
        thread_refuse_child();
        system_yield();
    } else if (!mount_is_pinned(mount_point_self(), &self->continuation)) {
        continuation_yield(&self->continuation, SAYS_YIELD);
    } else {
        yield_in_place(local_self()->carrier);
    }
}

/* ---- Time and errno ----------------------------------------------------- */

uint64_t vthread_now(void)
{
    return clock_now_ns();
}

uint64_t vthread_after(uint64_t duration_ns)
{
    uint64_t deadline_ns = clock_now_ns() + duration_ns;
    return deadline_ns < duration_ns ? VTHREAD_NEVER : deadline_ns;
}

__attribute__((noinline)) int vthread_errno(void)
{
    __asm__ volatile("");
    return errno;
}
