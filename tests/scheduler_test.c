/*
 * scheduler_test.c - who runs when, and <vthread/scheduler.h>.
 *
 * Where the order of threads is the claim, they run on one carrier.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "carrier/pool.h"
#include "hog.h"
#include "tests/threads.h"
#include "tests/trail.h"

static void *steps_aside(void *times)
{
    for (uintptr_t i = 0; i < (uintptr_t)times; i++)
        vthread_yield();
    return NULL;
}

static void *sleeps_a_moment(void *arg)
{
    vthread_sleep(300 * VTHREAD_US);
    return arg;
}

static void *sleeps_then_counts(void *counter)
{
    sleeps_a_moment(NULL);
    atomic_fetch_add((atomic_int *)counter, 1);
    return NULL;
}

/* ---- Who runs when ------------------------------------------------------ */

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

/* Busy until another thread has run. */
static void spin_until(atomic_int *word)
{
    while (!atomic_load(word))
        __builtin_ia32_pause();
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
    for (int i = 0; i < 200; i++) {
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
    for (int i = 0; i < 200; i++) {
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
    for (int i = 0; i < 30; i++) {
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
        __builtin_ia32_pause();
    return NULL;
}

START_TEST(of_two_events_the_second_is_seen_to_though_the_first_goes_on)
{
    static int ends[2][2];
    vthread_scheduler_t *s = scheduler_of(2);
    for (int i = 0; i < 30; i++) {
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
    for (int i = 0; i < 50; i++) {
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

/* ---- Hogs ---------------------------------------------------------------- */

static void *spins_while_another_waits(void *s)
{
    vthread_t other = start(return_argument, NULL);
    while (stats_of(s).hogs == 0)
        __builtin_ia32_pause();
    join(other);
    return NULL;
}

START_TEST(one_who_keeps_the_carrier_while_another_waits_is_counted)
{
    set_mode("VTHREAD_HOG_MS", "1");
    if (!mode_is("VTHREAD_HOG_MS", "1"))
        return;
    vthread_scheduler_t *s = scheduler_of(1);
    ck_assert_uint_eq(stats_of(s).hogs, 0);
    join(start_on(s, spins_while_another_waits, s));
    shut_down(s);
}
END_TEST

/* Its carrier does not come to wake the sleeper any more once that is seen
 * waiting; one that has woken before is no use. */
static vthread_t start_one_that_sleeps(void)
{
    for (;;) {
        vthread_t sleeper = start(sleeps_a_moment, NULL);
        until_waiting(sleeper);
        if (word_of(sleeper) & THREAD_WAITING)
            return sleeper;
        join(sleeper);
    }
}

static void *spins_while_a_sleeper_is_due(void *s)
{
    vthread_t sleeper = start_one_that_sleeps();
    while (stats_of(s).hogs == 0)
        __builtin_ia32_pause();
    join(sleeper);
    return NULL;
}

START_TEST(a_sleeper_whose_time_has_come_waits_too)
{
    set_mode("VTHREAD_HOG_MS", "1");
    if (!mode_is("VTHREAD_HOG_MS", "1"))
        return;
    vthread_scheduler_t *s = scheduler_of(1);
    join(start_on(s, spins_while_a_sleeper_is_due, s));
    shut_down(s);
}
END_TEST

#define HOUR_NS (3600 * VTHREAD_SECOND)

/* What the monitor would say, were it so: the real one does not look for an
 * hour. */
static uint64_t hogs_after(vthread_scheduler_t *s, uint64_t starved_ns)
{
    struct carrier *carrier = carrier_self();
    hog_look(carrier, &(struct pool_stuck){
                          .tick = carrier_tick(carrier),
                          .held_ns = HOUR_NS,
                          .starved_ns = starved_ns,
                      });
    return stats_of(s).hogs;
}

static void *is_looked_at(void *s)
{
    ck_assert_uint_eq(hogs_after(s, 0), 0);
    ck_assert_uint_eq(hogs_after(s, HOUR_NS - 1), 0);
    ck_assert_uint_eq(hogs_after(s, HOUR_NS), 1);
    ck_assert_uint_eq(hogs_after(s, HOUR_NS), 1);
    vthread_yield();
    ck_assert_uint_eq(hogs_after(s, HOUR_NS), 2);
    /* A look that comes too late: another task is there. */
    hog_look(carrier_self(), &(struct pool_stuck){
                                 .tick = carrier_tick(carrier_self()) - 1,
                                 .held_ns = HOUR_NS,
                                 .starved_ns = HOUR_NS,
                             });
    ck_assert_uint_eq(stats_of(s).hogs, 2);
    return NULL;
}

START_TEST(a_hog_counts_once_a_mount_and_only_while_others_wait)
{
    setenv("VTHREAD_HOG_MS", "3600000", 1);
    vthread_scheduler_t *s = scheduler_of(1);
    join(start_on(s, is_looked_at, s));
    shut_down(s);
}
END_TEST

/* ---- The scheduler object ----------------------------------------------- */

static void refused(vthread_scheduler_attr_t attr)
{
    vthread_scheduler_t *s = (vthread_scheduler_t *)&attr;
    ck_assert_int_eq(vthread_scheduler_create(&s, &attr), EINVAL);
    ck_assert_ptr_eq(s, (vthread_scheduler_t *)&attr);
}

START_TEST(bad_attributes_are_refused_and_nothing_is_stored)
{
    refused((vthread_scheduler_attr_t){.parallelism = 257});
    refused((vthread_scheduler_attr_t){.max_carriers = 257});
    refused((vthread_scheduler_attr_t){.reserved = {0, 0, 0, 1}});
    ck_assert_int_eq(vthread_scheduler_create(NULL, NULL), EINVAL);
}
END_TEST

START_TEST(no_attributes_are_the_defaults)
{
    vthread_scheduler_t *s;
    ck_assert_int_eq(vthread_scheduler_create(&s, NULL), 0);
    ck_assert_ptr_eq(join(start_on(s, return_argument, pointer(3))),
                     pointer(3));
    shut_down(s);
}
END_TEST

START_TEST(statistics_count_what_happened)
{
    vthread_scheduler_stats_t stats;
    vthread_scheduler_t *s = scheduler_of(2);
    ck_assert_int_eq(vthread_scheduler_stats(s, NULL), EINVAL);
    ck_assert_int_eq(vthread_scheduler_stats(NULL, &stats), EINVAL);
    stats = stats_of(s);
    ck_assert_uint_eq(stats.threads, 0);
    ck_assert_uint_eq(stats.created, 0);
    ck_assert_uint_ge(stats.carriers, 1);
    vthread_t t = start_on(s, park_once, NULL);
    until_waiting(t);
    ck_assert_uint_eq(stats_of(s).threads, 1);
    vthread_unpark(t);
    join(t);
    stats = stats_of(s);
    ck_assert_uint_eq(stats.threads, 0);
    ck_assert_uint_eq(stats.created, 1);
    ck_assert_uint_ge(stats.mounts, 2);
    ck_assert_uint_le(stats.carriers, 3);
    shut_down(s);
}
END_TEST

static void *scheduler_inherited(void *arg)
{
    vthread_t child = start(return_argument, NULL);
    join(child);
    return arg;
}

START_TEST(a_thread_belongs_to_its_makers_scheduler)
{
    vthread_scheduler_t *s = scheduler_of(1);
    join(start_on(s, scheduler_inherited, NULL));
    ck_assert_uint_eq(stats_of(s).created, 2);
    shut_down(s);
}
END_TEST

START_TEST(parallelism_is_kept)
{
    vthread_t threads[64];
    vthread_scheduler_t *s = scheduler_of(3);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start_on(s, steps_aside, pointer(200));
    for (unsigned i = 0; i < COUNT_OF(threads); i++) {
        ck_assert_uint_le(stats_of(s).carriers_active, 3);
        join(threads[i]);
    }
    shut_down(s);
}
END_TEST

START_TEST(shutdown_waits_for_the_threads)
{
    static atomic_int ended;
    vthread_scheduler_t *s = scheduler_of(2);
    atomic_store(&ended, 0);
    for (int i = 0; i < 100; i++)
        ck_assert_int_eq(
            vthread_create(NULL,
                           &(vthread_attr_t){.scheduler = s,
                                             .flags = VTHREAD_DETACHED},
                           sleeps_then_counts, &ended),
            0);
    shut_down(s);
    ck_assert_int_eq(atomic_load(&ended), 100);
}
END_TEST

START_TEST(a_shutdown_that_times_out_changes_nothing)
{
    vthread_scheduler_t *s = scheduler_of(1);
    vthread_t t = start_on(s, park_once, NULL);
    ck_assert_int_eq(vthread_scheduler_shutdown(s, 0), ETIMEDOUT);
    ck_assert_int_eq(
        vthread_scheduler_shutdown(s, vthread_after(2 * VTHREAD_MS)),
        ETIMEDOUT);
    ck_assert_ptr_eq(join(start_on(s, return_argument, pointer(1))),
                     pointer(1));
    vthread_unpark(t);
    join(t);
    shut_down(s);
}
END_TEST

static void *shuts_down(void *s)
{
    return pointer(
        (uintptr_t)vthread_scheduler_shutdown(s, VTHREAD_NEVER));
}

START_TEST(a_thread_does_not_shut_its_own_scheduler_down)
{
    vthread_scheduler_t *s = scheduler_of(1);
    ck_assert_ptr_eq(join(start_on(s, shuts_down, s)), pointer(EDEADLK));
    shut_down(s);
}
END_TEST

START_TEST(a_thread_shuts_another_scheduler_down)
{
    vthread_scheduler_t *s = scheduler_of(1);
    vthread_t t = start_on(s, park_once, NULL);
    vthread_t other = start(shuts_down, s);
    /* Meanwhile there are no new threads, and no second shutdown. */
    vthread_t refused_thread = 42;
    vthread_attr_t attr = {.scheduler = s};
    int err;
    while ((err = vthread_create(&refused_thread, &attr, return_argument,
                                 NULL))
           == 0)
        join(refused_thread);
    ck_assert_int_eq(err, EAGAIN);
    ck_assert_int_eq(vthread_scheduler_shutdown(s, VTHREAD_NEVER), EBUSY);
    vthread_unpark(t);
    join(t);
    ck_assert_ptr_eq(join(other), NULL);
}
END_TEST

START_TEST(an_interrupted_shutdown_changes_nothing)
{
    vthread_scheduler_t *s = scheduler_of(1);
    vthread_t t = start_on(s, park_once, NULL);
    vthread_t other = start(shuts_down, s);
    vthread_interrupt(other);
    ck_assert_ptr_eq(join(other), pointer(ECANCELED));
    ck_assert_ptr_eq(join(start_on(s, return_argument, pointer(1))),
                     pointer(1));
    vthread_unpark(t);
    join(t);
    shut_down(s);
}
END_TEST

START_TEST(the_default_scheduler_is_shut_down_and_started_anew)
{
    for (int i = 0; i < 20; i++) {
        ck_assert_ptr_eq(join(start(return_argument, pointer(2))),
                         pointer(2));
        vthread_scheduler_t *s = vthread_scheduler_default();
        ck_assert_ptr_nonnull(s);
        ck_assert_ptr_eq(s, vthread_scheduler_default());
        shut_down(s);
    }
}
END_TEST

static unsigned entries_of(const char *directory)
{
    unsigned count = 0;
    DIR *d = opendir(directory);
    ck_assert_ptr_nonnull(d);
    while (readdir(d))
        count++;
    closedir(d);
    return count;
}

static unsigned lines_of(const char *path)
{
    unsigned lines = 0;
    int c;
    FILE *file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    while ((c = getc(file)) != EOF)
        lines += c == '\n';
    fclose(file);
    return lines;
}

static void use_a_scheduler(void)
{
    vthread_t threads[50];
    vthread_scheduler_t *s = scheduler_of(4);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start_on(s, steps_aside, pointer(20));
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    shut_down(s);
}

START_TEST(a_shutdown_leaves_nothing_behind)
{
    /* The first ones settle what the process keeps. */
    for (int i = 0; i < 4; i++)
        use_a_scheduler();
    unsigned tasks = entries_of("/proc/self/task");
    unsigned files = entries_of("/proc/self/fd");
    unsigned maps = lines_of("/proc/self/maps");
    for (int i = 0; i < 40; i++)
        use_a_scheduler();
    /* The kernel lists a thread a little longer than pthread_join waits; one
     * that stays makes the test run out of time. */
    while (entries_of("/proc/self/task") > tasks)
        sched_yield();
    ck_assert_uint_eq(entries_of("/proc/self/fd"), files);
    if (!UNDER_SANITIZER)
        ck_assert_uint_le(lines_of("/proc/self/maps"), maps + 16);
}
END_TEST

START_TEST(sleepers_of_two_schedulers_wake)
{
    vthread_scheduler_t *a = scheduler_of(1), *b = scheduler_of(2);
    for (int i = 0; i < 20; i++) {
        vthread_t t = start_on(a, sleeps_a_moment, NULL);
        vthread_t u = start_on(b, sleeps_a_moment, NULL);
        join(t);
        join(u);
    }
    shut_down(a);
    shut_down(b);
}
END_TEST

/* Who unparks the last thread may still be in the call when the scheduler
 * goes. */
static void *unparks_from_outside(void *arg)
{
    _Atomic vthread_t *t = arg;
    while (!*t)
        sched_yield();
    while (vthread_unpark(*t) == 0)
        continue;
    return NULL;
}

START_TEST(an_unpark_and_a_shutdown_may_meet)
{
    static _Atomic vthread_t t;
    for (int i = 0; i < 200; i++) {
        pthread_t p;
        vthread_scheduler_t *s = scheduler_of(1);
        t = 0;
        ck_assert_int_eq(pthread_create(&p, NULL, unparks_from_outside,
                                        (void *)&t),
                         0);
        vthread_attr_t attr = {.scheduler = s, .flags = VTHREAD_DETACHED};
        t = start_attr(attr, park_once, NULL);
        shut_down(s);
        pthread_join(p, NULL);
    }
}
END_TEST

/* ---- The suite ---------------------------------------------------------- */

static void add_turns(Suite *suite)
{
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
}

static void add_hogs(Suite *suite)
{
    TCase *cases = new_case(suite, "hogs");
    tcase_add_test(cases,
                   one_who_keeps_the_carrier_while_another_waits_is_counted);
    tcase_add_test(cases, a_sleeper_whose_time_has_come_waits_too);
    tcase_add_test(cases,
                   a_hog_counts_once_a_mount_and_only_while_others_wait);
}

static void add_schedulers(Suite *suite)
{
    TCase *cases = new_case(suite, "schedulers");
    tcase_add_test(cases, bad_attributes_are_refused_and_nothing_is_stored);
    tcase_add_test(cases, no_attributes_are_the_defaults);
    tcase_add_test(cases, statistics_count_what_happened);
    tcase_add_test(cases, a_thread_belongs_to_its_makers_scheduler);
    tcase_add_test(cases, parallelism_is_kept);
    tcase_add_test(cases, shutdown_waits_for_the_threads);
    tcase_add_test(cases, a_shutdown_that_times_out_changes_nothing);
    tcase_add_test(cases, a_thread_does_not_shut_its_own_scheduler_down);
    tcase_add_test(cases, a_thread_shuts_another_scheduler_down);
    tcase_add_test(cases, an_interrupted_shutdown_changes_nothing);
    tcase_add_test(cases, the_default_scheduler_is_shut_down_and_started_anew);
    tcase_add_test(cases, a_shutdown_leaves_nothing_behind);
    tcase_add_test(cases, sleepers_of_two_schedulers_wake);
    tcase_add_test(cases, an_unpark_and_a_shutdown_may_meet);
}

int main(void)
{
    Suite *suite = suite_create("scheduler");
    add_turns(suite);
    add_hogs(suite);
    add_schedulers(suite);
    return run_suite(suite);
}
