/*
 * spare_test.c - OS threads of carriers: as many as the limits say, and when
 * they are not needed any more, as many as parallelism.
 */
#include <errno.h>
#include <semaphore.h>

#include "platform/os_thread.h"
#include "tests/threads.h"

enum { CALLERS = 8 };

/* ---- As many as are needed ---------------------------------------------- */

static atomic_int in_calls;
static sem_t may_return;

static void *waits_to_return(void *arg)
{
    atomic_fetch_add(&in_calls, 1);
    while (sem_wait(&may_return) != 0)
        continue;
    return arg;
}

static void *blocks(void *arg)
{
    ck_assert_int_eq(vthread_block(waits_to_return, arg, NULL), 0);
    return arg;
}

/* Each of so many calls needs an OS thread, and one is left. */
static void block_all(vthread_scheduler_t *s, unsigned count)
{
    vthread_t threads[CALLERS];
    atomic_store(&in_calls, 0);
    for (unsigned i = 0; i < count; i++)
        threads[i] = start_on(s, blocks, NULL);
    while (atomic_load(&in_calls) < (int)count)
        sched_yield();
    join(start_on(s, return_argument, NULL));
    ck_assert_uint_ge(stats_of(s).carriers, count + 1);
    for (unsigned i = 0; i < count; i++)
        sem_post(&may_return);
    for (unsigned i = 0; i < count; i++)
        join(threads[i]);
}

static void until_carriers(vthread_scheduler_t *s, unsigned count)
{
    while (stats_of(s).carriers > count)
        usleep(1000);
}

/* An OS thread that has retired takes a moment to end.  Others of the process
 * do not change meanwhile. */
static void until_os_threads(unsigned count)
{
    while (os_thread_count() > count)
        usleep(1000);
    ck_assert_uint_eq(os_thread_count(), count);
}

static void *count_but_me(void *arg)
{
    *(unsigned *)arg = os_thread_count() - 1;
    return arg;
}

/* TSan has threads of its own, which come with the first that is started; and
 * one that has been joined is counted for a moment more. */
static unsigned count_others(void)
{
    unsigned count;
    join_platform(start_platform(count_but_me, &count));
    return count;
}

static void come_and_go(unsigned parallelism)
{
    unsigned others = count_others();
    vthread_scheduler_t *s = scheduler_of(parallelism);
    for (int round = 0; round < 3; round++) {
        block_all(s, CALLERS);
        until_carriers(s, parallelism);
        /* And the monitor. */
        until_os_threads(others + parallelism + 1);
        ck_assert_uint_ge(stats_of(s).carriers_ended,
                          (round + 1u) * (CALLERS - parallelism));
    }
    vthread_scheduler_stats_t stats = stats_of(s);
    ck_assert_uint_eq(stats.carriers_started - stats.carriers_ended,
                      stats.carriers);
    shut_down(s);
    until_os_threads(others);
}

START_TEST(spare_carriers_end_and_begin_again)
{
    set_mode("VTHREAD_IDLE_MS", "2");
    sem_init(&may_return, 0, 0);
    come_and_go(1);
    come_and_go(2);
    come_and_go(4);
}
END_TEST

START_TEST(counters_outlive_the_os_thread)
{
    set_mode("VTHREAD_IDLE_MS", "2");
    sem_init(&may_return, 0, 0);
    vthread_scheduler_t *s = scheduler_of(1);
    uint64_t mounts = 0;
    for (int round = 0; round < 3; round++) {
        block_all(s, CALLERS);
        until_carriers(s, 1);
        vthread_scheduler_stats_t stats = stats_of(s);
        ck_assert_uint_ge(stats.mounts, mounts + CALLERS + 1);
        ck_assert_uint_eq(stats.threads, 0);
        mounts = stats.mounts;
    }
    shut_down(s);
}
END_TEST

START_TEST(with_0_they_stay)
{
    setenv("VTHREAD_IDLE_MS", "0", 1);
    sem_init(&may_return, 0, 0);
    vthread_scheduler_t *s = scheduler_of(1);
    block_all(s, CALLERS);
    while (stats_of(s).carriers_active > 0)
        sched_yield();
    ck_assert_uint_ge(stats_of(s).carriers, CALLERS + 1);
    ck_assert_uint_eq(stats_of(s).carriers_ended, 0);
    shut_down(s);
}
END_TEST

/* ---- What is kept for them ---------------------------------------------- */

static atomic_int ready;

static void *sleeps_after_the_call(void *arg)
{
    ck_assert_int_eq(vthread_block(waits_to_return, NULL, NULL), 0);
    atomic_fetch_add(&ready, 1);
    /* Longer than it takes to become dormant, or not: no matter. */
    ck_assert_int_eq(vthread_sleep(30 * VTHREAD_MS), 0);
    return arg;
}

START_TEST(timers_armed_on_a_carrier_that_ends_expire)
{
    set_mode("VTHREAD_IDLE_MS", "2");
    sem_init(&may_return, 0, 0);
    vthread_scheduler_t *s = scheduler_of(1);
    vthread_t threads[CALLERS];
    for (unsigned i = 0; i < CALLERS; i++)
        threads[i] = start_on(s, sleeps_after_the_call, NULL);
    while (atomic_load(&in_calls) < CALLERS)
        sched_yield();
    for (unsigned i = 0; i < CALLERS; i++)
        sem_post(&may_return);
    for (unsigned i = 0; i < CALLERS; i++)
        join(threads[i]);
    until_carriers(s, 1);
    shut_down(s);
}
END_TEST

static void *binds_and_parks(void *arg)
{
    /* On one of the spare carriers, while the first is in a call. */
    ck_assert_int_eq(vthread_block(waits_to_return, NULL, NULL), 0);
    ck_assert_int_eq(vthread_bind(), 0);
    long mine = os_thread();
    atomic_fetch_add(&ready, 1);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(vthread_park(), 0);
        ck_assert_int_eq(os_thread(), mine);
    }
    return arg;
}

/* All of them in calls at once, so each is on a carrier of its own. */
static void start_bound(vthread_scheduler_t *s, vthread_t *threads)
{
    for (unsigned i = 0; i < CALLERS; i++)
        threads[i] = start_on(s, binds_and_parks, NULL);
    while (atomic_load(&in_calls) < CALLERS)
        sched_yield();
    for (unsigned i = 0; i < CALLERS; i++)
        sem_post(&may_return);
    while (atomic_load(&ready) < CALLERS)
        sched_yield();
}

START_TEST(a_carrier_with_bound_threads_stays)
{
    set_mode("VTHREAD_IDLE_MS", "2");
    sem_init(&may_return, 0, 0);
    vthread_scheduler_t *s = scheduler_of(1);
    vthread_t threads[CALLERS];
    start_bound(s, threads);
    for (int round = 0; round < 3; round++) {
        /* Others end meanwhile. */
        block_all(s, 1);
        until_carriers(s, CALLERS);
        for (unsigned i = 0; i < CALLERS; i++) {
            until_waiting(threads[i]);
            ck_assert_int_eq(vthread_unpark(threads[i]), 0);
        }
    }
    for (unsigned i = 0; i < CALLERS; i++)
        join(threads[i]);
    block_all(s, 1);
    until_carriers(s, 1);
    shut_down(s);
}
END_TEST

static int made, destroyed;

static void *make(void *arg)
{
    __atomic_fetch_add(&made, 1, __ATOMIC_RELAXED);
    return arg;
}

static vthread_t unparked_by_destructor;

static void destroy(void *value)
{
    (void)value;
    vthread_unpark(unparked_by_destructor);
    __atomic_fetch_add(&destroyed, 1, __ATOMIC_RELAXED);
}

static vthread_carrier_local_t *carrier_local;

static void *uses_carrier_local(void *arg)
{
    ck_assert_ptr_nonnull(vthread_carrier_local_get(carrier_local));
    ck_assert_int_eq(vthread_block(waits_to_return, arg, NULL), 0);
    return arg;
}

START_TEST(what_a_destructor_wakes_at_the_end_of_a_carrier_runs)
{
    set_mode("VTHREAD_IDLE_MS", "2");
    sem_init(&may_return, 0, 0);
    vthread_scheduler_t *s = scheduler_of(1);
    vthread_t threads[CALLERS];
    ck_assert_int_eq(vthread_carrier_local_create(&carrier_local, make,
                                                  destroy, &made),
                     0);
    unparked_by_destructor = start_on(s, park_once, NULL);
    until_waiting(unparked_by_destructor);
    for (unsigned i = 0; i < CALLERS; i++)
        threads[i] = start_on(s, uses_carrier_local, NULL);
    while (atomic_load(&in_calls) < CALLERS)
        sched_yield();
    for (unsigned i = 0; i < CALLERS; i++)
        sem_post(&may_return);
    join(unparked_by_destructor);
    for (unsigned i = 0; i < CALLERS; i++)
        join(threads[i]);
    until_carriers(s, 1);
    shut_down(s);
    ck_assert_int_eq(vthread_carrier_local_destroy(carrier_local), 0);
    ck_assert_int_eq(destroyed, made);
}
END_TEST

/* ---- Bursts ------------------------------------------------------------- */

enum { BURST = 10000 };

static unsigned others_running, max_allowed;
static atomic_int calls_made;

/* The monitor, and whoever was there before, are OS threads too. */
static void *counts_os_threads(void *arg)
{
    ck_assert_uint_le(os_thread_count(), max_allowed + 1 + others_running);
    usleep(1000);
    atomic_fetch_add(&calls_made, 1);
    return arg;
}

static void *makes_one_call(void *arg)
{
    ck_assert_int_eq(vthread_block(counts_os_threads, arg, NULL), 0);
    return arg;
}

static void burst(unsigned parallelism, unsigned max_carriers, int count)
{
    vthread_scheduler_t *s;
    vthread_scheduler_attr_t attr = {.parallelism = parallelism,
                                     .max_carriers = max_carriers};
    static vthread_t threads[BURST];
    others_running = count_others();
    max_allowed = max_carriers;
    atomic_store(&calls_made, 0);
    ck_assert_int_eq(vthread_scheduler_create(&s, &attr), 0);
    for (int i = 0; i < count; i++)
        threads[i] = start_on(s, makes_one_call, NULL);
    for (int i = 0; i < count; i++)
        join(threads[i]);
    ck_assert_int_eq(atomic_load(&calls_made), count);
    vthread_scheduler_stats_t stats = stats_of(s);
    ck_assert_uint_eq(stats.calls_handed_off, (uint64_t)count);
    ck_assert_uint_le(stats.carriers, max_carriers);
    until_carriers(s, parallelism);
    until_os_threads(others_running + parallelism + 1);
    shut_down(s);
    until_os_threads(others_running);
}

START_TEST(a_burst_of_thousands_of_calls_keeps_to_the_limit)
{
    set_mode("VTHREAD_IDLE_MS", "20");
    if (UNDER_SANITIZER) {
        burst(2, 24, BURST / 10);
        return;
    }
    burst(1, 256, (int)how_often(BURST / 5, BURST));
    burst(2, 66, (int)how_often(BURST / 10, BURST));
}
END_TEST

/* The nth OS thread cannot be had, nor any after it, while the calls are
 * made; each call is made all the same. */
static void make_calls(vthread_scheduler_t *s)
{
    vthread_t threads[40];
    atomic_store(&calls_made, 0);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start_on(s, makes_one_call, NULL);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    ck_assert_int_eq(atomic_load(&calls_made), COUNT_OF(threads));
}

static void burst_without(unsigned long nth)
{
    vthread_scheduler_t *s = scheduler_of(2);
    others_running = count_others();
    max_allowed = 256;
    sem_init(&may_return, 0, 0);
    os_thread_fail_after(nth);
    make_calls(s);
    os_thread_fail_after(0);
    block_all(s, CALLERS);
    /* Now there are dormant ones. */
    until_carriers(s, 2);
    os_thread_fail_after(nth);
    for (int i = 0; i < 3; i++)
        make_calls(s);
    os_thread_fail_after(0);
    block_all(s, CALLERS);
    shut_down(s);
}

/* Some of those that cannot be had are to revive a carrier. */
START_TEST(a_burst_without_os_threads_loses_nothing)
{
    set_mode("VTHREAD_IDLE_MS", "1");
    for (unsigned long nth = 1; nth <= 12; nth++)
        burst_without(nth);
}
END_TEST

/* The only carrier waits for one who cannot run before there is another OS
 * thread; it is tried again without anyone's asking. */
START_TEST(an_os_thread_that_could_not_be_had_is_tried_for_again)
{
    sem_init(&may_return, 0, 0);
    vthread_scheduler_t *s = scheduler_of(1);
    os_thread_fail_after(1);
    vthread_t blocked = start_on(s, blocks, NULL);
    while (atomic_load(&in_calls) < 1)
        sched_yield();
    vthread_t other = start_on(s, return_argument, NULL);
    usleep(2000);
    ck_assert_uint_eq(stats_of(s).carriers, 1);
    os_thread_fail_after(0);
    join(other);
    sem_post(&may_return);
    join(blocked);
    shut_down(s);
}
END_TEST

/* ---- The suite ---------------------------------------------------------- */

int main(void)
{
    Suite *suite = suite_create("spare carriers");
    TCase *cases = new_case(suite, "come and go");
    tcase_add_test(cases, spare_carriers_end_and_begin_again);
    tcase_add_test(cases, counters_outlive_the_os_thread);
    tcase_add_test(cases, with_0_they_stay);
    tcase_add_test(cases, timers_armed_on_a_carrier_that_ends_expire);
    tcase_add_test(cases, a_carrier_with_bound_threads_stays);
    tcase_add_test(cases,
                   what_a_destructor_wakes_at_the_end_of_a_carrier_runs);
    cases = new_case(suite, "bursts");
    tcase_add_test(cases, a_burst_of_thousands_of_calls_keeps_to_the_limit);
    tcase_add_test(cases, a_burst_without_os_threads_loses_nothing);
    tcase_add_test(cases,
                   an_os_thread_that_could_not_be_had_is_tried_for_again);
    return run_suite(suite);
}
