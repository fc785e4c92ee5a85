/*
 * simulate_test.c - what waits against what ends its wait: each operation
 * against its waking, timing-out and cancelling twin, for two and three
 * threads, in every order of their steps up to a bound on preemptions, and
 * in many by chance.
 *
 * What is given is conserved: a permit, an interrupt, a wake-up, the right
 * to join is had by one, once, whatever else comes at the same moment.  So
 * the threads collect what they were given, and it is counted.
 *
 * Here: parking, sleeping, joining, ending.  Lists and the functions below
 * all primitives: simulate_wait_test.c; that bugs are found:
 * simulate_planted_test.c.
 */
#include <errno.h>
#include <string.h>

#include "tests/simulate/simulate.h"
#include "tests/threads.h"

/* Thread 0 waits, the others end its wait. */
#define WAITER simulate_thread(0)

static void *unparks(void *number)
{
    (void)number;
    simulate_expect(vthread_unpark(WAITER) == 0);
    return NULL;
}

static void *unparks_if_waiting(void *number)
{
    (void)number;
    int err = vthread_unpark(WAITER);
    simulate_expect(err == 0 || err == ESRCH);
    return NULL;
}

static void *interrupts(void *number)
{
    (void)number;
    simulate_expect(vthread_interrupt(WAITER) == 0);
    return NULL;
}

static void *returns(void *number)
{
    return number;
}

/* ---- Parking ------------------------------------------------------------ */

/* Nothing more comes, and no permit is left. */
static void expect_nothing_given(void)
{
    simulate_expect(!vthread_interrupted());
    simulate_expect(vthread_park_until(0) == ETIMEDOUT);
}

static void *parks(void *number)
{
    (void)number;
    simulate_expect(vthread_park() == 0);
    expect_nothing_given();
    return NULL;
}

static void *parks_canceled(void *number)
{
    (void)number;
    simulate_expect(vthread_park() == ECANCELED);
    expect_nothing_given();
    return NULL;
}

/* A permit that comes too late is there for the next time. */
static void *parks_until(void *number)
{
    (void)number;
    int err = vthread_park_until(SIMULATE_SOON);
    simulate_expect(err == 0 || err == ETIMEDOUT);
    if (err == ETIMEDOUT) {
        simulate_expect(vthread_now() >= SIMULATE_SOON);
        simulate_expect(vthread_park() == 0);
    }
    expect_nothing_given();
    return NULL;
}

/* The timer of the first wait has nothing to do with the second. */
static void *parks_until_twice(void *number)
{
    parks_until(number);
    simulate_expect(vthread_park_until(SIMULATE_LATER) == ETIMEDOUT);
    simulate_expect(vthread_now() >= SIMULATE_LATER);
    return NULL;
}

static void *parks_until_canceled(void *number)
{
    (void)number;
    int err = vthread_park_until(SIMULATE_SOON);
    simulate_expect(err == ECANCELED || err == ETIMEDOUT);
    if (err == ETIMEDOUT)
        simulate_expect(vthread_park() == ECANCELED);
    expect_nothing_given();
    return NULL;
}

/* A permit and an interrupt: both are had, in either order. */
static void *parks_for_both(void *number)
{
    (void)number;
    int first = vthread_park(), second = vthread_park();
    simulate_expect((first == 0 && second == ECANCELED)
                    || (first == ECANCELED && second == 0));
    expect_nothing_given();
    return NULL;
}

static void *parks_until_for_both(void *number)
{
    (void)number;
    int first = vthread_park_until(SIMULATE_SOON);
    int second = first == ETIMEDOUT ? vthread_park() : first;
    int third = vthread_park();
    simulate_expect((second == 0 && third == ECANCELED)
                    || (second == ECANCELED && third == 0));
    expect_nothing_given();
    return NULL;
}

/* Two unparks are one or two permits, never more. */
static void *parks_once_or_twice(void *number)
{
    (void)number;
    simulate_expect(vthread_park() == 0);
    int err = vthread_park_until(SIMULATE_SOON);
    simulate_expect(err == 0 || err == ETIMEDOUT);
    if (err == 0)
        expect_nothing_given();
    return NULL;
}

static void *parks_and_answers(void *number)
{
    (void)number;
    for (int i = 0; i < 2; i++) {
        simulate_expect(vthread_park() == 0);
        simulate_expect(vthread_unpark(simulate_thread(1)) == 0);
    }
    return NULL;
}

static void *unparks_and_waits(void *number)
{
    (void)number;
    for (int i = 0; i < 2; i++) {
        simulate_expect(vthread_unpark(simulate_thread(0)) == 0);
        simulate_expect(vthread_park() == 0);
    }
    return NULL;
}

static void *parks_pinned(void *number)
{
    simulate_expect(vthread_pin() == 0);
    parks(number);
    simulate_expect(vthread_unpin() == 0);
    return NULL;
}

static void *parks_pinned_for_both(void *number)
{
    simulate_expect(vthread_pin() == 0);
    parks_until_for_both(number);
    simulate_expect(vthread_unpin() == 0);
    return NULL;
}

/* ---- Sleeping ----------------------------------------------------------- */

static void *sleeps_with_permit(void *number)
{
    (void)number;
    simulate_expect(vthread_sleep_until(SIMULATE_SOON) == 0);
    simulate_expect(vthread_now() >= SIMULATE_SOON);
    simulate_expect(vthread_park() == 0);
    expect_nothing_given();
    return NULL;
}

static void *sleeps_until_canceled(void *number)
{
    (void)number;
    int err = vthread_sleep_until(SIMULATE_SOON);
    simulate_expect(err == 0 || err == ECANCELED);
    if (err == 0) {
        simulate_expect(vthread_now() >= SIMULATE_SOON);
        simulate_expect(vthread_park() == ECANCELED);
    }
    expect_nothing_given();
    return NULL;
}

static void *sleeps(void *number)
{
    uint64_t until = simulate_begin_ns
                     + ((uintptr_t)number + 1) * 10 * VTHREAD_MS;
    simulate_expect(vthread_sleep_until(until) == 0);
    simulate_expect(vthread_now() >= until);
    return number;
}

/* ---- Joining and ending ------------------------------------------------- */

static atomic_int joined;

static void forget_joins(void)
{
    atomic_store(&joined, 0);
}

/* What it was given by the end of thread 1. */
static void expect_joined(int err, void *result)
{
    simulate_expect(err == 0);
    simulate_expect(result == pointer(1));
}

static void *joins(void *number)
{
    void *result = NULL;
    (void)number;
    int err = vthread_join(simulate_thread(1), &result);
    expect_joined(err, result);
    simulate_expect(vthread_join(simulate_thread(1), &result) == ESRCH);
    return NULL;
}

static void *joins_until(void *number)
{
    void *result = NULL;
    (void)number;
    int err = vthread_join_until(simulate_thread(1), &result, SIMULATE_SOON);
    if (err == ETIMEDOUT)
        err = vthread_join(simulate_thread(1), &result);
    expect_joined(err, result);
    return NULL;
}

static void *joins_canceled(void *number)
{
    void *result = NULL;
    (void)number;
    int err = vthread_join(simulate_thread(1), &result);
    if (err == ECANCELED)
        err = vthread_join(simulate_thread(1), &result);
    else
        simulate_expect(vthread_park() == ECANCELED);
    expect_joined(err, result);
    expect_nothing_given();
    return NULL;
}

static void *joins_until_canceled(void *number)
{
    void *result = NULL;
    (void)number;
    bool is_canceled = false;
    int err = vthread_join_until(simulate_thread(1), &result, SIMULATE_SOON);
    while (err == ETIMEDOUT || err == ECANCELED) {
        simulate_expect(!is_canceled || err != ECANCELED);
        is_canceled |= err == ECANCELED;
        err = vthread_join(simulate_thread(1), &result);
    }
    if (!is_canceled)
        simulate_expect(vthread_park() == ECANCELED);
    expect_joined(err, result);
    expect_nothing_given();
    return NULL;
}

/* One of several has the right. */
static void *joins_if_nobody_else(void *number)
{
    void *result = NULL;
    (void)number;
    int err = vthread_join(simulate_thread(1), &result);
    if (err == 0)
        expect_joined(err, result);
    else
        simulate_expect(err == EINVAL || err == ESRCH);
    atomic_fetch_add(&joined, err == 0);
    return NULL;
}

static void *joins_or_leaves(void *number)
{
    void *result = NULL;
    (void)number;
    int err = vthread_join_until(simulate_thread(1), &result, SIMULATE_SOON);
    simulate_expect(err == 0 || err == EINVAL || err == ESRCH
                    || err == ETIMEDOUT);
    atomic_fetch_add(&joined, err == 0);
    return NULL;
}

static void *detaches(void *number)
{
    (void)number;
    int err = vthread_detach(simulate_thread(1));
    simulate_expect(err == 0 || err == EINVAL || err == ESRCH);
    atomic_fetch_add(&joined, err == 0);
    return NULL;
}

static void had_by_one(void)
{
    simulate_expect(atomic_load(&joined) == 1);
}

static void had_by_one_at_most(void)
{
    simulate_expect(atomic_load(&joined) <= 1);
}

/* Its handle may be stale by now. */
static void *unparks_if_there(void *number)
{
    (void)number;
    int err = vthread_unpark(simulate_thread(1));
    simulate_expect(err == 0 || err == ESRCH);
    err = vthread_interrupt(simulate_thread(1));
    simulate_expect(err == 0 || err == ESRCH);
    return NULL;
}

static void *has_nothing(void *number)
{
    expect_nothing_given();
    return number;
}

/* The new one has the old one's object, and nothing of what that was
 * given. */
static void *joins_and_starts_another(void *number)
{
    void *result = NULL;
    vthread_t other;
    (void)number;
    joins(NULL);
    simulate_expect(vthread_create(&other, NULL, has_nothing, pointer(7))
                    == 0);
    simulate_expect((uint32_t)other == (uint32_t)simulate_thread(1));
    simulate_expect(vthread_join(other, &result) == 0);
    simulate_expect(result == pointer(7));
    return NULL;
}

static void *starts_detached(void *number)
{
    vthread_attr_t attr = {.flags = VTHREAD_DETACHED};
    (void)number;
    simulate_expect(vthread_create(NULL, &attr, returns, NULL) == 0);
    return NULL;
}

static void *joins_waiter(void *number)
{
    (void)number;
    simulate_expect(vthread_join(WAITER, NULL) == 0);
    return NULL;
}

/* ---- Yielding ----------------------------------------------------------- */

static atomic_int turn;
static int turns_taken; /* plain: the turn orders it */

static void first_turn(void)
{
    atomic_store(&turn, 0);
    turns_taken = 0;
}

static void *takes_turns(void *number)
{
    int self = (int)(uintptr_t)number;
    for (int i = 0; i < 2; i++) {
        while (atomic_load_explicit(&turn, memory_order_acquire) != self)
            vthread_yield();
        turns_taken++;
        atomic_store_explicit(&turn, !self, memory_order_release);
    }
    return NULL;
}

static void all_turns_taken(void)
{
    simulate_expect(turns_taken == 4);
}

/* ---- The programs ------------------------------------------------------- */

static const struct {
    struct simulate_program program;
    unsigned preemptions;
} programs[] = {
    {{.name = "park_unpark", .threads = {parks, unparks}}, 2},
    {{.name = "park_interrupt", .threads = {parks_canceled, interrupts}}, 2},
    {{.name = "park_unpark_interrupt",
      .threads = {parks_for_both, unparks, interrupts}}, 1},
    {{.name = "park_unpark_unpark",
      .threads = {parks_once_or_twice, unparks_if_waiting,
                  unparks_if_waiting}}, 1},
    {{.name = "park_until_unpark", .threads = {parks_until, unparks}}, 2},
    {{.name = "park_until_twice",
      .threads = {parks_until_twice, unparks}}, 1},
    {{.name = "park_until_interrupt",
      .threads = {parks_until_canceled, interrupts}}, 2},
    {{.name = "park_until_unpark_interrupt",
      .threads = {parks_until_for_both, unparks, interrupts}}, 1},
    {{.name = "park_ping_pong",
      .threads = {parks_and_answers, unparks_and_waits}}, 1},
    {{.name = "park_one_carrier", .carriers = 1,
      .threads = {parks_until_for_both, unparks, interrupts}}, 2},
    {{.name = "pinned_unpark", .threads = {parks_pinned, unparks}}, 2},
    {{.name = "pinned_unpark_interrupt",
      .threads = {parks_pinned_for_both, unparks, interrupts}}, 1},
    {{.name = "platform_unparks", .threads = {parks},
      .platform_threads = {unparks}}, 2},
    {{.name = "platform_parks", .platform_threads = {parks, unparks}}, 2},
    {{.name = "platform_park_until",
      .platform_threads = {parks_until_for_both, unparks, interrupts}}, 1},
    {{.name = "sleep_unpark", .threads = {sleeps_with_permit, unparks}}, 2},
    {{.name = "sleep_interrupt",
      .threads = {sleeps_until_canceled, interrupts}}, 2},
    {{.name = "sleep_three", .threads = {sleeps, sleeps, sleeps}}, 0},
    {{.name = "join_end", .threads = {joins, returns}}, 2},
    {{.name = "join_until_end", .threads = {joins_until, returns}}, 2},
    {{.name = "join_until_sleeper", .threads = {joins_until, sleeps}}, 1},
    {{.name = "join_interrupt",
      .threads = {joins_canceled, returns, interrupts}}, 1},
    {{.name = "join_until_interrupt",
      .threads = {joins_until_canceled, returns, interrupts}}, 1},
    {{.name = "join_join", .begin = forget_joins, .end = had_by_one,
      .threads = {joins_if_nobody_else, returns, joins_if_nobody_else}}, 1},
    {{.name = "join_detach", .begin = forget_joins, .end = had_by_one,
      .threads = {joins_if_nobody_else, returns, detaches}}, 1},
    {{.name = "join_until_detach", .begin = forget_joins,
      .end = had_by_one_at_most,
      .threads = {joins_or_leaves, returns, detaches}}, 1},
    {{.name = "detach_end", .begin = forget_joins, .end = had_by_one,
      .threads = {detaches, returns}}, 2},
    {{.name = "unpark_stale", .carriers = 4,
      .threads = {joins_and_starts_another, returns, unparks_if_there}}, 1},
    {{.name = "create_detached", .carriers = 4,
      .threads = {starts_detached, starts_detached}}, 1},
    {{.name = "platform_joins_waiter", .threads = {parks},
      .platform_threads = {joins_waiter, unparks}}, 1},
    {{.name = "yield_turns", .begin = first_turn, .end = all_turns_taken,
      .threads = {takes_turns, takes_turns}}, 1},
};

START_TEST(what_is_given_is_had_once_in_every_schedule)
{
    /* check-stress asks for one preemption more. */
    simulate(&programs[_i].program,
             programs[_i].preemptions + (getenv("STRESS") != NULL));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("simulate");
    TCase *cases = new_case(suite, "schedules");
    tcase_set_timeout(cases, SIMULATE_TIMEOUT);
    tcase_add_loop_test(cases, what_is_given_is_had_once_in_every_schedule,
                        0, COUNT_OF(programs));
    return run_suite(suite);
}
