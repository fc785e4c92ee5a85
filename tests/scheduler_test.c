/*
 * scheduler_test.c - <vthread/scheduler.h>: schedulers, their threads, and
 * their end.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/pages.h"
#include "tests/threads.h"

static void *steps_aside(void *times)
{
    for (uintptr_t i = 0; i < (uintptr_t)times; i++)
        vthread_yield();
    return NULL;
}

static void *sleeps_then_counts(void *counter)
{
    sleeps_a_moment(NULL);
    atomic_fetch_add((atomic_int *)counter, 1);
    return NULL;
}

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

/* The first few thousand are mappings of their own (memory.c), and before
 * Linux 6.13 or under qemu-user all are: homes stay, and so do theirs. */
static bool guards_cost_mappings(void)
{
    enum { SPENT = 5000 };
    char *start = committed(4 * memory_page_bytes());
    for (unsigned i = 0; i < SPENT; i++)
        ck_assert_int_eq(memory_guard(start, memory_page_bytes()), 0);
    /* Between pages that can be used: what lies behind them cannot. */
    unsigned before = lines_of("/proc/self/maps");
    ck_assert_int_eq(memory_guard(start + 2 * memory_page_bytes(),
                                  memory_page_bytes()),
                     0);
    bool cost = lines_of("/proc/self/maps") > before;
    memory_release(start, 4 * memory_page_bytes());
    return cost;
}

START_TEST(a_shutdown_leaves_nothing_behind)
{
    bool has_cheap_guards = !UNDER_SANITIZER && !guards_cost_mappings();
    /* The first ones settle what the process keeps. */
    for (int i = 0; i < 4; i++)
        use_a_scheduler();
    unsigned tasks = entries_of("/proc/self/task");
    unsigned files = entries_of("/proc/self/fd");
    unsigned maps = lines_of("/proc/self/maps");
    for (int i = 0; i < 20; i++)
        use_a_scheduler();
    /* The kernel lists a thread a little longer than pthread_join waits; one
     * that stays makes the test run out of time. */
    while (entries_of("/proc/self/task") > tasks)
        sched_yield();
    ck_assert_uint_eq(entries_of("/proc/self/fd"), files);
    if (has_cheap_guards)
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
    for (unsigned i = 0; i < how_often(50, 200); i++) {
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

int main(void)
{
    Suite *suite = suite_create("scheduler");
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
    return run_suite(suite);
}
