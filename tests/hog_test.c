/*
 * hog_test.c - threads that keep what others wait for are counted.
 */
#include "carrier/pool.h"
#include "continuation/run_stack.h"
#include "entry.h"
#include "inspect/hog.h"
#include "platform/memory.h"
#include "platform/os_thread.h"
#include "platform/stack_sample.h"
#include "tests/threads.h"

static void *spins_while_another_waits(void *s)
{
    vthread_t other = start(return_argument, NULL);
    while (stats_of(s).hogs == 0)
        cpu_relax();
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
        cpu_relax();
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

/* ---- Who has not run ---------------------------------------------------- */

/* As seen when half an hour has passed since the first look, and it was in
 * the way all the time and an hour before. */
static uint64_t hogs_half_an_hour_later(vthread_scheduler_t *s,
                                        struct carrier *carrier)
{
    struct pool_stuck stuck = {.tick = carrier_tick(carrier),
                               .held_ns = HOUR_NS / 2};
    hog_look(carrier, &stuck);
    stuck.held_ns += HOUR_NS / 2;
    stuck.starved_ns = HOUR_NS;
    hog_look(carrier, &stuck);
    return stats_of(s).hogs;
}

struct kept {
    int pipe[2];
    struct carrier *_Atomic carrier;
    _Atomic int os_thread;
    _Atomic bool is_over;
};

static void *spins_for_less(void *arg)
{
    struct kept *kept = arg;
    kept->carrier = carrier_self();
    while (!kept->is_over)
        continue;
    return NULL;
}

START_TEST(time_without_a_processor_is_taken_off)
{
    static struct kept kept;
    setenv("VTHREAD_HOG_MS", "3600000", 1);
    vthread_scheduler_t *s = scheduler_of(1);
    vthread_t t = start_on(s, spins_for_less, &kept);
    while (!kept.carrier)
        sched_yield();
    ck_assert_uint_eq(hogs_half_an_hour_later(s, kept.carrier), 0);
    hog_look(kept.carrier, &(struct pool_stuck){
                               .tick = carrier_tick(kept.carrier),
                               .held_ns = HOUR_NS,
                               .starved_ns = HOUR_NS + HOUR_NS / 2,
                           });
    ck_assert_uint_eq(stats_of(s).hogs, 1);
    kept.is_over = true;
    join(t);
    shut_down(s);
}
END_TEST

static void *blocks_in_the_kernel(void *arg)
{
    struct kept *kept = arg;
    char byte;
    kept->carrier = carrier_self();
    kept->os_thread = os_thread_number();
    return pointer((uintptr_t)read(kept->pipe[0], &byte, 1));
}

START_TEST(time_in_the_kernel_is_not)
{
    static struct kept kept;
    setenv("VTHREAD_HOG_MS", "3600000", 1);
    ck_assert_int_eq(pipe(kept.pipe), 0);
    vthread_scheduler_t *s = scheduler_of(1);
    vthread_t t = start_on(s, blocks_in_the_kernel, &kept);
    while (!kept.os_thread || !stack_sample_is_waiting(kept.os_thread))
        sched_yield();
    ck_assert_uint_eq(hogs_half_an_hour_later(s, kept.carrier), 1);
    ck_assert_int_eq(write(kept.pipe[1], "", 1), 1);
    join(t);
    shut_down(s);
}
END_TEST

/* Named in the table of symbols, see Makefile.am. */
__attribute__((visibility("default"))) void
planted_hog(vthread_scheduler_t *s);

__attribute__((noinline)) void planted_hog(vthread_scheduler_t *s)
{
    /* No ck_assert: it would be found in that. */
    vthread_scheduler_stats_t stats = {.hogs = 0};
    while (stats.hogs == 0)
        vthread_scheduler_stats(s, &stats);
}

static void *calls_the_hog(void *s)
{
    vthread_t other = start(return_argument, NULL);
    planted_hog(s);
    join(other);
    return NULL;
}

/* On a machine that has much to do an OS thread may not say in time where it
 * is: the first, second and fourth time are told. */
static void hogs_and_tells(void)
{
    setenv("VTHREAD_HOG_MS", "5", 1);
    setenv("VTHREAD_REPORT", "hogs", 1);
    for (int i = 0; i < 4; i++) {
        vthread_scheduler_t *s = scheduler_of(1);
        join(start_on(s, calls_the_hog, s));
        shut_down(s);
    }
}

START_TEST(a_hog_is_told_with_the_function_it_is_in)
{
    char text[8192];
    int status = end_of_child(hogs_and_tells, text, sizeof text);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", text);
    ck_assert_ptr_nonnull(strstr(text, "has kept its carrier"));
    ck_assert_msg(strstr(text, "(planted_hog)") != NULL, "%s", text);
}
END_TEST

START_TEST(who_should_have_an_own_home_does_without_if_there_is_none)
{
    set_mode("VTHREAD_OWN_LIMIT", "0");
    join(start(return_argument, NULL));
    ck_assert(entry_remember(return_argument, ENTRY_HOLDS));
    for (unsigned long n = 1; n <= 3; n++) {
        vthread_t t;
        memory_fail_after(n);
        int err = vthread_create(&t, NULL, return_argument, NULL);
        memory_fail_after(0);
        ck_assert_int_eq(err, 0);
        join(t);
    }
}
END_TEST

static void *parks_once(void *arg)
{
    vthread_park();
    return arg;
}

START_TEST(of_a_million_that_should_have_own_homes_some_thousands_do)
{
    enum { THREADS = 6000 };
    static vthread_t threads[THREADS];
    if (mode_is("VTHREAD_FREEZE", "guard"))
        return; /* there each has one, once it is mounted */
    ck_assert(entry_remember(parks_once, ENTRY_HOLDS));
    for (unsigned i = 0; i < THREADS; i++)
        threads[i] = start(parks_once, NULL);
    ck_assert_uint_ge(run_stack_own_count(), 4096);
    ck_assert_uint_lt(run_stack_own_count(), 5000);
    for (unsigned i = 0; i < THREADS; i++)
        ck_assert_int_eq(vthread_unpark(threads[i]), 0);
    for (unsigned i = 0; i < THREADS; i++)
        join(threads[i]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hog");
    TCase *cases = new_case(suite, "hogs");
    tcase_add_test(cases,
                   one_who_keeps_the_carrier_while_another_waits_is_counted);
    tcase_add_test(cases, a_sleeper_whose_time_has_come_waits_too);
    tcase_add_test(cases,
                   a_hog_counts_once_a_mount_and_only_while_others_wait);
    tcase_add_test(cases, time_without_a_processor_is_taken_off);
    tcase_add_test(cases, time_in_the_kernel_is_not);
    tcase_add_test(cases,
                   who_should_have_an_own_home_does_without_if_there_is_none);
    tcase_add_test(cases,
                   of_a_million_that_should_have_own_homes_some_thousands_do);
    TCase *places = new_case(suite, "places");
    if (!UNDER_SANITIZER) /* TSan keeps signals for later */
        tcase_add_test(places, a_hog_is_told_with_the_function_it_is_in);
    return run_suite(suite);
}
