/*
 * deadlock.c - finds out that all threads wait for each other, or that there
 * are none left.
 *
 * A monitor asks when its pool has been quiet for some time.  It kills the
 * process, so it must never be wrong.  Not finding a deadlock at once is
 * harmless: it is looked for again.
 *
 * A look.  All that can end a wait is a thread that runs, or something from
 * outside, and a word with OUTSIDE tells of the latter.  So if at one instant
 * nobody runs and every thread waits without OUTSIDE, that is for ever.  But
 * thousands of words are not read in an instant:
 *
 *   1. read `changes`; then each pool: the runs of its carriers, nobody awake
 *   2. the OS threads are as many as we know of
 *   3. the word of each thread: it waits, without OUTSIDE, or has ended
 *   4. as 1, with the same numbers
 *
 * Claim: at the instant between 2 and 3 nobody ran, nor was any wait one that
 * ends from outside.  Suppose there was a thread F for which that is not so.
 * At 3 it was found waiting, or was not found because it had ended; so in
 * between it began this wait, or ended.
 *
 * - F is virtual, and was not mounted: it was mounted since.  The carrier has
 *   counted that as a run before, and either is awake at 4, or went idle
 *   under the lock that 4 takes, so 4 sees another number.
 * - F is virtual, and was mounted, by a carrier that was not awake when 1
 *   looked: it has woken and run it since then, and the same holds.
 * - The same, by a carrier that blocked with it: it has come back since, or
 *   had not done so; that counts as a run, after the carrier counts as awake.
 * - F waits in the kernel, on a platform thread or with its carrier: it adds
 *   to `changes` before it publishes its wait, and whoever sees that word sees
 *   the addition.  If it did so before 1 it had nothing left to do but to
 *   publish, and did not run in the sense meant here: what it woke before that
 *   is seen to run at 3.
 * - F is a platform thread that has ended: it adds to `changes` first.
 * - F has no thread object: 2 would have counted one OS thread too many.
 *   Workers of offload.c are known while they are idle only; each change of
 *   that is in the number of 1 and 4.  Those of the control socket wake
 *   nobody; they come and go as platform threads do.
 *
 * Threads that are queued, wait for a home, are about to be unmounted, or
 * whose wake-up is under way, do not have the word of a waiting thread: such
 * is the state machine of vthread.c.
 *
 * A closer waits in vthread_scheduler_shutdown without a deadline.  It looks
 * from time to time whether the scheduler is empty, and does nothing else; so
 * it counts as waiting, whatever its word says, if a thread of that scheduler
 * is found waiting at 3.  (Of all closers none is the first to go on: one of
 * the threads that it waits for would have to go on before.)
 *
 * Who looks, and when.  Each monitor before it rests.  Carriers wake it, but
 * the last thing to happen may be a wait or the end of a platform thread: then
 * that thread wakes the monitor of the default scheduler, if some monitor
 * rests (A, pairs with B).  Of an OS thread that never called the library
 * nobody tells; while it is all that is in the way we look again, with growing
 * pauses.
 *
 * If no thread is left at all, and no OS thread but ours, the process ends as
 * it would without us when its last thread ends: by exit(0).
 *
 * Not here: words; see deadlock_report.c.
 */
#include "inspect/deadlock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vthread.h>

#include "call/offload.h"
#include "embed/gc.h"
#include "inspect/control.h"
#include "inspect/pin_report.h"
#include "inspect/trace.h"
#include "platform/clock.h"
#include "platform/futex.h"
#include "platform/os_thread.h"
#include "platform/panic.h"
#include "platform/ring.h"
#include "scheduler.h"
#include "settings.h"
#include "thread.h"

enum { TEXT_BYTES = 16 * 1024, STATUS = 2 };

#define PAUSE_MIN_NS (10 * VTHREAD_MS)
#define PAUSE_MAX_NS (10000 * VTHREAD_MS)
#define WAITS (THREAD_PARKED | THREAD_WAITING)

static _Atomic uint64_t changes;
static _Atomic bool is_monitor_resting;

struct deadlock_test deadlock_test;

static struct os_lock handler_lock;
static void (*handler)(void *arg, const char *report); /* L */
static void *handler_arg;                              /* L */

/* ---- What others tell --------------------------------------------------- */

void deadlock_note(void)
{
    /* Release: what the caller woke before is seen by who sees this.  Acquire:
     * it stays before what the caller does next. */
    atomic_fetch_add_explicit(&changes, 1, memory_order_acq_rel);
}

void deadlock_look_again(void)
{
    /* (A) The caller's change, then the look at the monitors. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&is_monitor_resting, memory_order_relaxed)
        && atomic_exchange_explicit(&is_monitor_resting, false,
                                    memory_order_relaxed))
        scheduler_wake_monitor();
}

/* ---- The look ----------------------------------------------------------- */

/* A number that changes when somebody runs. */
static bool are_all_quiet(uint64_t *sum, unsigned *os_threads)
{
    uint64_t runs;
    /* Acquire: before all that follows, and pairs with deadlock_note. */
    uint64_t noted = atomic_load_explicit(&changes, memory_order_acquire);
    bool are_quiet = scheduler_are_all_quiet(&runs, os_threads);
    uint64_t changes_of_idle;
    *os_threads += offload_idle(&changes_of_idle) + trace_os_threads();
    *sum = noted + runs + changes_of_idle;
    return are_quiet;
}

struct vthread_scheduler *deadlock_closed_by(const struct thread *t)
{
    for (unsigned i = 1; i <= SCHEDULERS_MAX; i++) {
        struct vthread_scheduler *s = scheduler_at((uint8_t)i);
        /* Acquire: the object is complete; pairs with begin_closing. */
        if (s && atomic_load_explicit(&s->closer, memory_order_acquire) == t)
            return s;
    }
    return NULL;
}

/* Step 3.  Which schedulers have threads that wait; 0: platform threads. */
struct waiters {
    bool is_any;
    bool of[SCHEDULERS_MAX + 1];
};

static bool do_all_wait(struct waiters *waiters)
{
    uint64_t word;
    struct thread *t = thread_in_use_from(1, &word);
    for (; t; t = thread_in_use_from(thread_number(t) + 1, &word)) {
        if (word & THREAD_DONE)
            continue;
        bool waits = word & WAITS && !(word & THREAD_OUTSIDE);
        if (!waits && !deadlock_closed_by(t))
            return false;
        waiters->is_any = true;
        waiters->of[t->scheduler] = true;
    }
    return true;
}

/* No scheduler that somebody waits for is empty. */
static bool is_closing_stuck(const struct waiters *waiters)
{
    for (unsigned i = 1; i <= SCHEDULERS_MAX; i++) {
        struct vthread_scheduler *s = scheduler_at((uint8_t)i);
        if (s && !waiters->of[i]
            && atomic_load_explicit(&s->closer, memory_order_relaxed))
            return false;
    }
    return true;
}

enum verdict {
    LIVES,    /* what runs, or will, brings us back */
    DOUBTFUL, /* to be looked at again */
    IS_EMPTY, /* nobody is left */
    IS_DEAD,
    KNOWN_DEAD /* and nobody has run since that was told */
};

/* With all schedulers held. */
static enum verdict judge(void)
{
    static uint64_t told_sum;
    uint64_t sum, sum_after;
    unsigned ours;
    struct waiters waiters = {.is_any = false};
    if (!are_all_quiet(&sum, &ours))
        return LIVES;
    ours +=
        atomic_load_explicit(&deadlock_test.os_threads, memory_order_relaxed);
    bool is_known = os_thread_count()
                    == ours + thread_platform_count() + ring_os_threads()
                           + control_os_threads() + gc_os_threads()
                           + pin_report_idle();
    if (!do_all_wait(&waiters))
        return LIVES;
    if (!is_known || !are_all_quiet(&sum_after, &ours) || sum_after != sum
        || !is_closing_stuck(&waiters))
        return DOUBTFUL;
    if (!waiters.is_any)
        return IS_EMPTY;
    if (sum == told_sum)
        return KNOWN_DEAD;
    told_sum = sum;
    return IS_DEAD;
}

/* ---- What follows ------------------------------------------------------- */

static void report_lines(char *text)
{
    for (char *line = text, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        *end = '\0';
        report("%s", line);
    }
}

/* What the program has written to standard output is not lost, unless a
 * thread was interrupted there. */
_Noreturn static void end_process(void)
{
    if (ftrylockfile(stdout) == 0)
        fflush_unlocked(stdout);
    control_drain();
    _exit(STATUS);
}

static void tell(void)
{
    char text[TEXT_BYTES];
    deadlock_describe(text, sizeof text);
    trace_write_now("deadlock");
    os_lock_acquire(&handler_lock);
    void (*fn)(void *, const char *) = handler;
    void *arg = handler_arg;
    os_lock_release(&handler_lock);
    if (fn) {
        fn(arg, text);
        return;
    }
    report_lines(text);
    if (settings_get()->deadlock == DEADLOCK_EXIT)
        end_process();
}

static void leave_process(void *arg)
{
    (void)arg;
    exit(0);
}

/* On an OS thread of its own: handlers of the program run there, and they
 * may shut down the scheduler, whose monitor this is. */
static void end_with_last_thread(void)
{
    struct os_thread last;
    if (os_thread_start(&last, "vthread-exit", leave_process, NULL) != 0)
        exit(0);
}

/* Relaxed, both: a test looks at it again and again. */
static void note_look(void)
{
    atomic_fetch_add_explicit(&deadlock_test.looks, 1, memory_order_relaxed);
}

static bool is_restless(void)
{
    return atomic_load_explicit(&deadlock_test.is_restless,
                                memory_order_relaxed);
}

uint64_t deadlock_look(struct pool *pool)
{
    static _Atomic uint64_t pause_ns = PAUSE_MIN_NS; /* held, but at first */
    (void)pool; /* whichever asks: all of them are looked at */
    /* (B) Relaxed: the fence follows. */
    atomic_store_explicit(&is_monitor_resting, true, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    if (!scheduler_try_hold_all())
        return clock_now_ns() + PAUSE_MIN_NS;
    enum verdict verdict = judge();
    uint64_t pause = verdict == DOUBTFUL ? pause_ns : PAUSE_MIN_NS;
    pause_ns = pause * 2 < PAUSE_MAX_NS ? pause * 2 : PAUSE_MAX_NS;
    scheduler_release_all();
    if (verdict == IS_DEAD && settings_get()->deadlock != DEADLOCK_OFF)
        tell();
    else if (verdict == IS_EMPTY)
        end_with_last_thread();
    note_look();
    return verdict == DOUBTFUL || is_restless() ? clock_now_ns() + pause
                                                : CLOCK_NEVER;
}

int vthread_deadlock_handler(void (*fn)(void *arg, const char *report),
                             void *arg)
{
    thread_refuse_child();
    os_lock_acquire(&handler_lock);
    handler = fn;
    handler_arg = arg;
    os_lock_release(&handler_lock);
    return 0;
}
