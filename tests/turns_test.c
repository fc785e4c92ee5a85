/*
 * turns_test.c - who runs when: nobody who is ready waits for ever.
 *
 * Where the order of threads is the claim, they run on one carrier.
 */
#include "tests/threads.h"
#include "tests/trail.h"

static void *steps_three_times(void *letter)
{
    for (int i = 0; i < 3; i++) {
        step((char)(uintptr_t)letter);
        vthread_yield();
    }
    return NULL;
}

static void *start_a_and_b(void *arg)
{
    vthread_t a = start(steps_three_times, pointer('A'));
    vthread_t b = start(steps_three_times, pointer('B'));
    join(a);
    join(b);
    return arg;
}

START_TEST(two_that_yield_on_one_carrier_take_turns)
{
    vthread_scheduler_t *s = scheduler_of(1);
    join(start_on(s, start_a_and_b, NULL));
    ck_assert_str_eq(trail, "ABABAB");
    shut_down(s);
}
END_TEST

static atomic_int flag, other_flag;

static void *yields_until_flag(void *arg)
{
    until(&flag);
    return arg;
}

static void *sets_flag(void *arg)
{
    atomic_store(&flag, 1);
    return arg;
}

START_TEST(one_from_outside_runs_though_others_only_yield)
{
    vthread_t yielders[10];
    vthread_scheduler_t *s = scheduler_of(1);
    atomic_store(&flag, 0);
    for (unsigned i = 0; i < COUNT_OF(yielders); i++)
        yielders[i] = start_on(s, yields_until_flag, NULL);
    join(start_on(s, sets_flag, NULL));
    for (unsigned i = 0; i < COUNT_OF(yielders); i++)
        join(yielders[i]);
    shut_down(s);
}
END_TEST

START_TEST(sleepers_wake_though_others_only_yield)
{
    vthread_t yielders[10];
    vthread_scheduler_t *s = scheduler_of(1);
    atomic_store(&flag, 0);
    for (unsigned i = 0; i < COUNT_OF(yielders); i++)
        yielders[i] = start_on(s, yields_until_flag, NULL);
    join(start_on(s, sleeps_a_moment, NULL));
    sets_flag(NULL);
    for (unsigned i = 0; i < COUNT_OF(yielders); i++)
        join(yielders[i]);
    shut_down(s);
}
END_TEST

static _Atomic vthread_t partners[2];

/* Wakes its partner and waits for it, until the flag is set. */
static void *plays_ping_pong(void *number)
{
    uintptr_t n = (uintptr_t)number;
    while (!partners[1 - n])
        vthread_yield();
    while (!atomic_load(&flag)) {
        vthread_unpark(partners[1 - n]);
        vthread_park_until(vthread_after(VTHREAD_SECOND));
    }
    vthread_unpark(partners[1 - n]);
    return NULL;
}

static void *yields_then_sets_flag(void *arg)
{
    for (int i = 0; i < 100; i++)
        vthread_yield();
    return sets_flag(arg);
}

START_TEST(two_that_wake_each_other_do_not_starve_a_third)
{
    vthread_scheduler_t *s = scheduler_of(1);
    atomic_store(&flag, 0);
    partners[0] = partners[1] = 0;
    partners[0] = start_on(s, plays_ping_pong, pointer(0));
    partners[1] = start_on(s, plays_ping_pong, pointer(1));
    vthread_t a = partners[0], b = partners[1];
    join(start_on(s, yields_then_sets_flag, NULL));
    join(a);
    join(b);
    shut_down(s);
}
END_TEST

/* A wake-up that is left out is left out each time, so a few times do. */
static unsigned often(unsigned stress)
{
    return how_often(stress / 5, stress);
}

/* Keeps its carrier until another thread has run, though not the processor:
 * the other's carrier may need that. */
static void spin_until(atomic_int *word)
{
    while (!atomic_load(word))
        sched_yield();
}

static void *parks_then_sets_flag(void *arg)
{
    ck_assert_int_eq(vthread_park(), 0);
    atomic_store(&flag, 1);
    return arg;
}

static void *wakes_and_spins(void *t)
{
    vthread_unpark(*(vthread_t *)t);
    spin_until(&flag);
    return NULL;
}

START_TEST(a_woken_thread_runs_though_its_waker_goes_on)
{
    static vthread_t t;
    vthread_scheduler_t *s = scheduler_of(2);
    for (unsigned i = 0; i < often(200); i++) {
        atomic_store(&flag, 0);
        t = start_on(s, parks_then_sets_flag, NULL);
        until_waiting(t);
        join(start_on(s, wakes_and_spins, &t));
        join(t);
    }
    shut_down(s);
}
END_TEST

static void *creates_and_spins(void *arg)
{
    vthread_t t = start(sets_flag, NULL);
    spin_until(&flag);
    join(t);
    return arg;
}

START_TEST(a_new_thread_runs_though_its_maker_goes_on)
{
    vthread_scheduler_t *s = scheduler_of(2);
    for (unsigned i = 0; i < often(200); i++) {
        atomic_store(&flag, 0);
        join(start_on(s, creates_and_spins, NULL));
    }
    shut_down(s);
}
END_TEST

/* So that the carrier knows its tasks as short: others are not worth a
 * wake-up then. */
static void have_short_tasks(void)
{
    for (int i = 0; i < 1000; i++)
        vthread_yield();
}

static void *creates_after_short_tasks_and_spins(void *arg)
{
    have_short_tasks();
    return creates_and_spins(arg);
}

START_TEST(a_new_thread_runs_though_its_carrier_had_short_tasks)
{
    vthread_scheduler_t *s = scheduler_of(2);
    for (unsigned i = 0; i < often(30); i++) {
        atomic_store(&flag, 0);
        join(start_on(s, creates_after_short_tasks_and_spins, NULL));
    }
    shut_down(s);
}
END_TEST

/* Of two that are woken by one look at the poller, the first spins until
 * the other has been there. */
static void *meets_the_other(void *fd)
{
    char byte;
    size_t n;
    have_short_tasks();
    ck_assert_int_eq(vthread_read(*(int *)fd, &byte, 1, &n), 0);
    atomic_fetch_add(&flag, 1);
    while (atomic_load(&flag) < 2)
        sched_yield();
    return NULL;
}

START_TEST(of_two_events_the_second_is_seen_to_though_the_first_goes_on)
{
    static int ends[2][2];
    vthread_scheduler_t *s = scheduler_of(2);
    for (unsigned i = 0; i < often(30); i++) {
        vthread_t t[2];
        atomic_store(&flag, 0);
        for (int k = 0; k < 2; k++) {
            ck_assert_int_eq(pipe(ends[k]), 0);
            t[k] = start_on(s, meets_the_other, &ends[k][0]);
        }
        for (int k = 0; k < 2; k++)
            until_waiting(t[k]);
        for (int k = 0; k < 2; k++)
            ck_assert_int_eq(write(ends[k][1], "x", 1), 1);
        for (int k = 0; k < 2; k++) {
            join(t[k]);
            vthread_close(ends[k][0]);
            close(ends[k][1]);
        }
    }
    shut_down(s);
}
END_TEST

static void *sleeps_then_sets_flag(void *arg)
{
    sleeps_a_moment(NULL);
    return sets_flag(arg);
}

static void *spins(void *arg)
{
    atomic_store(&other_flag, 1);
    spin_until(&flag);
    return arg;
}

START_TEST(a_sleeper_wakes_though_one_carrier_is_busy)
{
    vthread_scheduler_t *s = scheduler_of(2);
    for (unsigned i = 0; i < often(50); i++) {
        atomic_store(&flag, 0);
        vthread_t sleeper = start_on(s, sleeps_then_sets_flag, NULL);
        join(start_on(s, spins, NULL));
        join(sleeper);
    }
    shut_down(s);
}
END_TEST

START_TEST(yield_on_a_platform_thread_returns)
{
    for (int i = 0; i < 100; i++)
        vthread_yield();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("turns");
    TCase *cases = new_trail_case(suite, "turns");
    tcase_add_test(cases, two_that_yield_on_one_carrier_take_turns);
    tcase_add_test(cases, one_from_outside_runs_though_others_only_yield);
    tcase_add_test(cases, sleepers_wake_though_others_only_yield);
    tcase_add_test(cases, two_that_wake_each_other_do_not_starve_a_third);
    tcase_add_test(cases, a_woken_thread_runs_though_its_waker_goes_on);
    tcase_add_test(cases, a_new_thread_runs_though_its_maker_goes_on);
    tcase_add_test(
        cases, a_new_thread_runs_though_its_carrier_had_short_tasks);
    tcase_add_test(
        cases,
        of_two_events_the_second_is_seen_to_though_the_first_goes_on);
    tcase_add_test(cases, a_sleeper_wakes_though_one_carrier_is_busy);
    tcase_add_test(cases, yield_on_a_platform_thread_returns);
    return run_suite(suite);
}
