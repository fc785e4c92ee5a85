/*
 * simulate_planted_test.c - that the simulation finds bugs: the classic ones
 * of synchronisation, planted into small primitives.  Each is found by each
 * strategy, and found again by the schedule that is printed; without the bug
 * the same program passes all schedules.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "platform/futex.h"
#include "tests/simulate/simulate.h"
#include "tests/threads.h"

#define WAITER simulate_thread(0)

/* Whether the bug is there. */
static bool is_planted;

/* ---- An event: lost wake, wake-up left over ----------------------------- */

static struct {
    struct os_lock lock;
    _Atomic bool is_set;
    struct thread *waiter; /* under the lock */
} event;

static int tokens; /* plain: the primitives order it */

static void forget(void)
{
    memset(&event, 0, sizeof event);
    tokens = 0;
}

static bool is_set(void)
{
    return atomic_load_explicit(&event.is_set, memory_order_acquire);
}

/* Lost wake: it was set between the look and the lock. */
static void event_wait(void)
{
    bool waits = true;
    if (is_planted && is_set())
        return;
    os_lock_acquire(&event.lock);
    if (!is_planted)
        waits = !is_set();
    event.waiter = waits ? thread_self() : NULL;
    os_lock_release(&event.lock);
    if (waits)
        thread_wait(thread_self(), VTHREAD_NEVER, false);
}

static void event_set(void)
{
    os_lock_acquire(&event.lock);
    atomic_store_explicit(&event.is_set, true, memory_order_release);
    struct thread *waiter = event.waiter;
    event.waiter = NULL;
    os_lock_release(&event.lock);
    if (waiter)
        thread_wake(waiter);
}

static void *waits_for_event(void *number)
{
    event_wait();
    simulate_expect(tokens == 1);
    return number;
}

static void *sets_event(void *number)
{
    tokens = 1;
    event_set();
    return number;
}

/* Left over: who times out while it is being woken must wait for that. */
static void event_wait_until(uint64_t deadline_ns)
{
    os_lock_acquire(&event.lock);
    event.waiter = thread_self();
    os_lock_release(&event.lock);
    int err = thread_wait(thread_self(), deadline_ns, false);
    if (err == 0)
        return;
    os_lock_acquire(&event.lock);
    bool is_taken = event.waiter == NULL;
    event.waiter = NULL;
    os_lock_release(&event.lock);
    if (is_taken && !is_planted)
        thread_wait_out(thread_self(), err);
}

static void *waits_for_event_until(void *number)
{
    event_wait_until(SIMULATE_SOON);
    simulate_expect(vthread_sleep_until(SIMULATE_LATER) == 0);
    simulate_expect(vthread_now() >= SIMULATE_LATER);
    return number;
}

/* ---- A permit ----------------------------------------------------------- */

enum { EMPTY, PERMIT, PARKED };
static _Atomic int permit;

static void no_permit(void)
{
    atomic_store(&permit, EMPTY);
}

/* Forgotten permit: what was there is overwritten. */
static void *parks_by_permit(void *number)
{
    int state = EMPTY;
    if (is_planted && atomic_load(&permit) == EMPTY)
        atomic_store(&permit, PARKED);
    else if (!atomic_compare_exchange_strong(&permit, &state, PARKED))
        return number;
    thread_wait(thread_self(), VTHREAD_NEVER, false);
    return number;
}

static void *gives_permit(void *number)
{
    uint64_t word;
    if (atomic_exchange(&permit, PERMIT) == PARKED)
        thread_wake(thread_of_handle(WAITER, &word));
    return number;
}

/* ---- A timer ------------------------------------------------------------ */

static atomic_int waits; /* which wait of the waiter it is */

static void first_wait(void)
{
    atomic_store(&waits, 1);
}

/* Stale timer: one that ends whatever its thread waits for by then. */
static void *rings(void *number)
{
    int first = 1;
    simulate_expect(vthread_sleep_until(SIMULATE_SOON) == 0);
    if (is_planted || atomic_compare_exchange_strong(&waits, &first, 0))
        vthread_unpark(WAITER);
    return number;
}

static void *wakes_before(void *number)
{
    int first = 1;
    if (atomic_compare_exchange_strong(&waits, &first, 2))
        vthread_unpark(WAITER);
    return number;
}

static void *parks_with_alarm(void *number)
{
    simulate_expect(vthread_park() == 0);
    simulate_expect(vthread_park_until(SIMULATE_LATER) == ETIMEDOUT);
    return number;
}

/* ---- A fence ------------------------------------------------------------ */

static atomic_int work, sleeper;

static void no_work(void)
{
    atomic_store(&work, 0);
    atomic_store(&sleeper, 0);
}

static void fence(void)
{
    if (!is_planted)
        atomic_thread_fence(memory_order_seq_cst);
}

/* Missing fence: each looks before the other can see what it has said. */
static void *sleeps_without_work(void *number)
{
    atomic_store_explicit(&sleeper, 1, memory_order_release);
    fence();
    if (!atomic_load_explicit(&work, memory_order_acquire))
        vthread_park();
    return number;
}

static void *adds_work(void *number)
{
    atomic_store_explicit(&work, 1, memory_order_release);
    fence();
    if (atomic_load_explicit(&sleeper, memory_order_acquire))
        vthread_unpark(WAITER);
    return number;
}

/* The same, where a read-modify-write is taken for a fence. */
static void *sleeps_by_exchange(void *number)
{
    atomic_exchange_explicit(&sleeper, 1, memory_order_seq_cst);
    fence();
    if (!atomic_load_explicit(&work, memory_order_acquire))
        vthread_park();
    return number;
}

static void *adds_by_exchange(void *number)
{
    atomic_exchange_explicit(&work, 1, memory_order_seq_cst);
    fence();
    if (atomic_load_explicit(&sleeper, memory_order_acquire))
        vthread_unpark(WAITER);
    return number;
}

/* ---- Order -------------------------------------------------------------- */

/* Missing order between two atomic objects: no race, and yet a flag comes
 * before what it tells of. */
static void *tells(void *number)
{
    atomic_store_explicit(&sleeper, 1, memory_order_relaxed);
    atomic_store_explicit(&work, 1,
                          is_planted ? memory_order_relaxed
                                     : memory_order_release);
    return number;
}

static void *hears(void *number)
{
    if (atomic_load_explicit(&work, memory_order_acquire))
        simulate_expect(atomic_load_explicit(&sleeper, memory_order_relaxed)
                        == 1);
    return number;
}

/* Missing release: the value is not published with the flag. */
static void *publishes(void *number)
{
    tokens = 1;
    atomic_store_explicit(&work, 1,
                          is_planted ? memory_order_relaxed
                                     : memory_order_release);
    return number;
}

static void *looks(void *number)
{
    if (atomic_load_explicit(&work, memory_order_acquire))
        simulate_expect(tokens == 1);
    return number;
}

static void no_work_and_tokens(void)
{
    no_work();
    forget();
}

/* Lost update. */
static void *counts(void *number)
{
    if (is_planted)
        atomic_store(&work, atomic_load(&work) + 1);
    else
        atomic_fetch_add(&work, 1);
    return number;
}

static void both_counted(void)
{
    simulate_expect(atomic_load(&work) == 2);
}

/* Two locks in two orders; they are the library's own. */
static struct os_lock locks[2];

static void *locks_both(void *number)
{
    int first = is_planted ? (int)(uintptr_t)number : 0;
    os_lock_acquire(&locks[first]);
    os_lock_acquire(&locks[!first]);
    os_lock_release(&locks[!first]);
    os_lock_release(&locks[first]);
    return number;
}

/* Each waits for the other to go first. */
static void *is_polite(void *number)
{
    atomic_fetch_add(&work, 1);
    while (is_planted && atomic_load(&work) == 2)
        vthread_yield();
    atomic_fetch_sub(&work, 1);
    return number;
}

/* ---- The bugs ----------------------------------------------------------- */

static const struct bug {
    struct simulate_program program;
    const char *words; /* of the failure */
    bool delays;
    bool early;
    bool is_long;      /* it has many schedules */
} bugs[] = {
    {.program = {.name = "lost_wake", .begin = forget,
      .threads = {waits_for_event, sets_event}},
     .words = "thread 0 of the program waits for ever"},
    {.program = {.name = "wake_left_over", .begin = forget,
      .threads = {waits_for_event_until, sets_event}},
     .words = "vthread_now() >=",
     .is_long = true},
    {.program = {.name = "forgotten_permit", .begin = no_permit,
      .threads = {parks_by_permit, gives_permit}},
     .words = "thread 0 of the program waits for ever"},
    {.program = {.name = "stale_timer", .begin = first_wait,
      .threads = {parks_with_alarm, rings, wakes_before}},
     .words = "== ETIMEDOUT does not hold",
     .is_long = true},
    {.program = {.name = "missing_fence", .begin = no_work,
      .threads = {sleeps_without_work, adds_work}},
     .words = "thread 0 of the program waits for ever", .delays = true},
    {.program = {.name = "exchange_for_fence", .begin = no_work,
      .threads = {sleeps_by_exchange, adds_by_exchange}},
     .words = "thread 0 of the program waits for ever", .early = true},
    {.program = {.name = "missing_order", .begin = no_work,
      .threads = {tells, hears}},
     .words = "does not hold", .early = true},
    {.program = {.name = "missing_release", .begin = no_work_and_tokens,
      .threads = {looks, publishes}},
     .words = "data race"},
    {.program = {.name = "lost_update", .begin = no_work, .end = both_counted,
      .threads = {counts, counts}},
     .words = "atomic_load(&work) == 2 does not hold"},
    {.program = {.name = "two_locks", .threads = {locks_both, locks_both}},
     .words = "waits for ever"},
    {.program = {.name = "too_polite", .begin = no_work,
      .threads = {is_polite, is_polite}},
     .words = "no end after"},
};

static const struct bug *bug;
static enum simulate_strategy strategy;

static void explore(void)
{
    simulate_explore(&bug->program, &(struct simulate_bounds){
                                        .strategy = strategy,
                                        .preemptions = 2,
                                        .schedules = 20000,
                                        .delays = bug->delays,
                                        .early = bug->early,
                                    });
}

/* The bug is found; text gets the words. */
static void expect_found(char *text, size_t size_bytes)
{
    int status = end_of_child(explore, text, size_bytes);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
                  "%s is not found by strategy %d: %s", bug->program.name,
                  strategy, text);
    ck_assert_msg(strstr(text, bug->words) != NULL,
                  "%s is found in other words: %s", bug->program.name, text);
}

/* What stands between "SIMULATE_REPLAY=" and the next blank. */
static char *schedule_in(char *text)
{
    static const char before[] = "SIMULATE_REPLAY=";
    char *schedule = strstr(text, before);
    ck_assert_ptr_nonnull(schedule);
    schedule += strlen(before);
    schedule[strcspn(schedule, " ")] = '\0';
    return schedule;
}

START_TEST(each_strategy_finds_it_and_its_schedule_finds_it_again)
{
    static char text[200000], again[200000];
    bug = &bugs[_i];
    is_planted = true;
    for (unsigned i = 0; i < 3; i++) {
        unsetenv("SIMULATE_REPLAY");
        strategy = (enum simulate_strategy)i;
        expect_found(text, sizeof text);
        setenv("SIMULATE_REPLAY", schedule_in(text), 1);
        expect_found(again, sizeof again);
        ck_assert_str_eq(schedule_in(again), getenv("SIMULATE_REPLAY"));
    }
}
END_TEST

START_TEST(without_the_bug_all_schedules_pass)
{
    is_planted = false;
    unsigned most = bugs[_i].is_long ? 0 : 2;
    for (unsigned preemptions = 0; preemptions <= most; preemptions++) {
        struct simulate_result result = simulate_explore(
            &bugs[_i].program,
            &(struct simulate_bounds){.strategy = SIMULATE_EXHAUSTIVE,
                                      .preemptions = preemptions,
                                      .delays = bugs[_i].delays,
                                      .early = bugs[_i].early});
        ck_assert(result.is_complete);
    }
}
END_TEST

/* A fence that is missing is of no consequence where stores are seen at once
 * and loads made in their turn: that it was found above is due to these. */
START_TEST(a_missing_fence_is_not_seen_without_delays)
{
    is_planted = true;
    for (unsigned i = 0; i < COUNT_OF(bugs); i++)
        if (bugs[i].delays || bugs[i].early)
            ck_assert(simulate_explore(&bugs[i].program,
                                       &(struct simulate_bounds){
                                           .strategy = SIMULATE_EXHAUSTIVE,
                                           .preemptions = 3,
                                           .delays = bugs[i].early,
                                       })
                          .is_complete);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("simulate_planted");
    TCase *cases = new_case(suite, "bugs");
    tcase_add_loop_test(
        cases, each_strategy_finds_it_and_its_schedule_finds_it_again, 0,
        COUNT_OF(bugs));
    tcase_add_loop_test(cases, without_the_bug_all_schedules_pass, 0,
                        COUNT_OF(bugs));
    tcase_add_test(cases, a_missing_fence_is_not_seen_without_delays);
    return run_suite(suite);
}
