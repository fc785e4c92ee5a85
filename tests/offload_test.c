/*
 * offload_test.c - OS threads that make calls for others: as many as are
 * needed, within the limit, and no job is left behind.
 */
#include <errno.h>

#include "call/offload.h"
#include "platform/os_thread.h"
#include "settings.h"
#include "tests/random.h"
#include "tests/threads.h"

#define LIMIT 5

struct work {
    struct offload_job job;
    atomic_int runs;
};

static atomic_int is_open, done;

static void run_at_once(struct offload_job *job)
{
    atomic_fetch_add(&((struct work *)job)->runs, 1);
    atomic_fetch_add(&done, 1);
}

static void run_when_open(struct offload_job *job)
{
    while (!atomic_load(&is_open))
        sched_yield();
    run_at_once(job);
}

static int submit(struct work *w, void (*run)(struct offload_job *), bool now)
{
    *w = (struct work){.job = {.run = run}};
    return offload_submit(&w->job, now);
}

static void until_done(int count)
{
    while (atomic_load(&done) < count)
        sched_yield();
}

static void until_idle(unsigned count)
{
    while (offload_counts().idle != count)
        sched_yield();
}

static void set_limit(void)
{
    setenv("VTHREAD_CALL_THREADS", "5", 1);
    ck_assert_uint_eq(settings_get()->call_threads, LIMIT);
}

/* ---- How many OS threads ------------------------------------------------ */

START_TEST(one_after_the_other_they_need_one_os_thread)
{
    static struct work works[100];
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(submit(&works[i], run_at_once, true), 0);
        until_done(i + 1);
        until_idle(1);
    }
    ck_assert_uint_eq(offload_counts().started, 1);
}
END_TEST

START_TEST(a_burst_starts_no_more_than_the_limit)
{
    static struct work works[10000];
    set_limit();
    for (int i = 0; i < 10000; i++)
        ck_assert_int_eq(submit(&works[i], run_when_open, false), 0);
    struct offload_counts counts = offload_counts();
    ck_assert_uint_eq(counts.workers, LIMIT);
    ck_assert_uint_eq(counts.idle, 0);
    ck_assert_uint_ge(counts.queued, 10000 - LIMIT);
    atomic_store(&is_open, 1);
    until_done(10000);
    until_idle(LIMIT);
    for (int i = 0; i < 10000; i++)
        ck_assert_int_eq(works[i].runs, 1);
    counts = offload_counts();
    ck_assert_uint_eq(counts.started, LIMIT);
    ck_assert_uint_eq(counts.queued, 0);
}
END_TEST

START_TEST(with_nothing_to_do_they_end)
{
    static struct work works[LIMIT], late;
    set_limit();
    offload_set_idle_ns(1000);
    for (int i = 0; i < LIMIT; i++)
        ck_assert_int_eq(submit(&works[i], run_when_open, false), 0);
    ck_assert_uint_eq(offload_counts().workers, LIMIT);
    atomic_store(&is_open, 1);
    until_done(LIMIT);
    while (offload_counts().workers > 0)
        sched_yield();
    uint64_t changes;
    ck_assert_uint_eq(offload_idle(&changes), 0);
    ck_assert_int_eq(submit(&late, run_at_once, false), 0);
    until_done(LIMIT + 1);
}
END_TEST

/* ---- Full, and none ----------------------------------------------------- */

START_TEST(who_does_not_wait_is_refused_when_all_are_busy)
{
    static struct work works[LIMIT], queued, refused;
    set_limit();
    for (int i = 0; i < LIMIT; i++)
        ck_assert_int_eq(submit(&works[i], run_when_open, true), 0);
    ck_assert_int_eq(submit(&refused, run_at_once, true), EAGAIN);
    ck_assert_int_eq(submit(&queued, run_at_once, false), 0);
    atomic_store(&is_open, 1);
    until_done(LIMIT + 1);
    ck_assert_int_eq(refused.runs, 0);
}
END_TEST

START_TEST(without_any_os_thread_nothing_is_kept)
{
    static struct work work;
    os_thread_fail_after(1);
    ck_assert_int_eq(submit(&work, run_at_once, false), ENOMEM);
    ck_assert_int_eq(submit(&work, run_at_once, true), ENOMEM);
    ck_assert_uint_eq(offload_counts().queued, 0);
    os_thread_fail_after(0);
    ck_assert_int_eq(submit(&work, run_at_once, false), 0);
    until_done(1);
}
END_TEST

START_TEST(those_that_are_there_do_the_work_of_those_that_are_not)
{
    static struct work works[1000];
    os_thread_fail_after(3);
    for (int i = 0; i < 1000; i++)
        ck_assert_int_eq(submit(&works[i], run_when_open, false), 0);
    ck_assert_uint_eq(offload_counts().workers, 2);
    struct work refused;
    ck_assert_int_eq(submit(&refused, run_at_once, true), EAGAIN);
    atomic_store(&is_open, 1);
    until_done(1000);
    os_thread_fail_after(0);
}
END_TEST

/* ---- Taking back -------------------------------------------------------- */

START_TEST(what_is_queued_can_be_taken_back)
{
    static struct work works[LIMIT], queued[4];
    set_limit();
    for (int i = 0; i < LIMIT; i++)
        submit(&works[i], run_when_open, false);
    /* They take the first ones. */
    while (offload_counts().queued > 0)
        sched_yield();
    for (int i = 0; i < 4; i++)
        submit(&queued[i], run_at_once, false);
    ck_assert(offload_remove(&queued[1].job));
    ck_assert(!offload_remove(&queued[1].job));
    ck_assert(offload_remove(&queued[3].job));
    ck_assert(offload_remove(&queued[0].job));
    ck_assert(!offload_remove(&works[0].job));
    ck_assert_uint_eq(offload_counts().queued, 1);
    atomic_store(&is_open, 1);
    until_done(LIMIT + 1);
    ck_assert_int_eq(queued[2].runs, 1);
    ck_assert_int_eq(queued[0].runs + queued[1].runs + queued[3].runs, 0);
}
END_TEST

/* Several submit and take back by chance, while OS threads end and cannot be
 * started: a job is either run once or taken back. */
#define ROUNDS 3000

static uint64_t seed;

static void *submits_and_removes(void *number)
{
    struct random random = {seed + (uintptr_t)number};
    static struct work all[4][ROUNDS];
    struct work *works = all[(uintptr_t)number];
    int runs = 0;
    for (int i = 0; i < ROUNDS; i++) {
        if (random_below(&random, 50) == 0)
            os_thread_fail_after(random_below(&random, 3));
        bool now = random_below(&random, 4) == 0;
        int err = submit(&works[i], run_at_once, now);
        ck_assert(err == 0 || err == ENOMEM || (err == EAGAIN && now));
        bool removes = random_below(&random, 3) == 0;
        runs += err == 0 && !(removes && offload_remove(&works[i].job));
        if (random_below(&random, 10) == 0)
            sched_yield();
    }
    for (int i = 0; i < ROUNDS; i++)
        ck_assert_int_le(works[i].runs, 1);
    return pointer((uintptr_t)runs);
}

START_TEST(by_chance_each_job_is_run_once_or_taken_back)
{
    struct random random = random_start("offload_test");
    pthread_t threads[4];
    int runs = 0;
    set_limit();
    offload_set_idle_ns(20000);
    seed = random.state;
    for (uintptr_t i = 0; i < 4; i++)
        threads[i] = start_platform(submits_and_removes, pointer(i));
    for (int i = 0; i < 4; i++)
        runs += (int)(uintptr_t)join_platform(threads[i]);
    until_done(runs);
    while (offload_counts().workers > 0)
        sched_yield();
    ck_assert_int_eq(atomic_load(&done), runs);
    ck_assert_uint_eq(offload_counts().queued, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("offload");
    TCase *cases = new_case(suite, "OS threads");
    if (!tests_fork()) {
        puts("each case needs a pool of its own: not without CK_FORK");
        return 0;
    }
    tcase_add_test(cases, one_after_the_other_they_need_one_os_thread);
    tcase_add_test(cases, a_burst_starts_no_more_than_the_limit);
    tcase_add_test(cases, with_nothing_to_do_they_end);
    tcase_add_test(cases, who_does_not_wait_is_refused_when_all_are_busy);
    tcase_add_test(cases, without_any_os_thread_nothing_is_kept);
    tcase_add_test(cases,
                   those_that_are_there_do_the_work_of_those_that_are_not);
    cases = new_case(suite, "jobs");
    tcase_add_test(cases, what_is_queued_can_be_taken_back);
    tcase_add_test(cases, by_chance_each_job_is_run_once_or_taken_back);
    return run_suite(suite);
}
