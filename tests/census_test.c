/*
 * census_test.c - vthread_census: the living threads by entry function.
 */
#include <errno.h>

#include "tests/threads.h"

#define A_COUNT 7
#define B_COUNT 5

static void *is_of_kind_a(void *arg)
{
    vthread_park();
    return arg;
}

static void *is_of_kind_b(void *arg)
{
    char room[1000];
    /* Its address is known, so it is there, and in the frame. */
    __asm__ volatile("" : : "r"(room) : "memory");
    vthread_park();
    __asm__ volatile("" : : "r"(room) : "memory");
    return arg;
}

static void *is_of_kind_c(void *arg)
{
    return arg;
}

struct wanted {
    void *(*fn)(void *);
    vthread_census_entry_t found;
    int calls;
};

static void keep(const vthread_census_entry_t *entry, void *arg)
{
    struct wanted *wanted = arg;
    if (entry->fn != wanted->fn)
        return;
    wanted->found = *entry;
    wanted->calls++;
}

static vthread_census_entry_t census_of(void *(*fn)(void *))
{
    struct wanted wanted = {.fn = fn};
    ck_assert_int_eq(vthread_census(keep, &wanted), 0);
    ck_assert_int_le(wanted.calls, 1);
    return wanted.found;
}

static vthread_t a[A_COUNT], b[B_COUNT];

static void start_both(vthread_scheduler_t *s)
{
    vthread_attr_t attr = {.scheduler = s, .flags = VTHREAD_STACK_OWN};
    for (int i = 0; i < A_COUNT; i++)
        a[i] = start_on(s, is_of_kind_a, NULL);
    for (int i = 0; i < B_COUNT; i++)
        b[i] = start_attr(attr, is_of_kind_b, NULL);
    for (int i = 0; i < A_COUNT; i++)
        until_waiting(a[i]);
    for (int i = 0; i < B_COUNT; i++)
        until_waiting(b[i]);
}

static void end_both(void)
{
    for (int i = 0; i < A_COUNT; i++) {
        vthread_unpark(a[i]);
        join(a[i]);
    }
    for (int i = 0; i < B_COUNT; i++) {
        vthread_unpark(b[i]);
        join(b[i]);
    }
}

START_TEST(threads_are_counted_by_entry_function)
{
    vthread_scheduler_t *s = scheduler_of(2);
    start_both(s);
    vthread_census_entry_t of_a = census_of(is_of_kind_a);
    vthread_census_entry_t of_b = census_of(is_of_kind_b);
    ck_assert_uint_eq(of_a.threads, A_COUNT);
    ck_assert_uint_eq(of_b.threads, B_COUNT);
    ck_assert_uint_eq(of_a.unmounted, A_COUNT);
    ck_assert_uint_ge(of_a.depth_bytes, A_COUNT * of_a.depth_bytes_max / 2);
    ck_assert_uint_ge(of_b.depth_bytes_max, of_a.depth_bytes_max + 500);
    ck_assert_uint_eq(of_a.ended, 0);
    end_both();
    ck_assert_uint_eq(census_of(is_of_kind_a).threads, 0);
    shut_down(s);
}
END_TEST

START_TEST(homes_are_counted_by_the_reason)
{
    set_mode("VTHREAD_OWN_LIMIT", "1024");
    vthread_scheduler_t *s = scheduler_of(1);
    start_both(s);
    vthread_census_entry_t of_a = census_of(is_of_kind_a);
    ck_assert_uint_eq(census_of(is_of_kind_b).homes_own_asked, B_COUNT);
    if (mode_is("VTHREAD_FREEZE", "guard")
        || (mode_is("VTHREAD_OWN_LIMIT", "1024")
            && !mode_is("VTHREAD_FREEZE", "eager")))
        ck_assert_uint_eq(of_a.homes_own_plenty, A_COUNT);
    else
        ck_assert_uint_eq(of_a.homes_common, A_COUNT);
    end_both();
    shut_down(s);
}
END_TEST

START_TEST(frozen_frames_are_counted)
{
    set_mode("VTHREAD_FREEZE", "eager");
    vthread_scheduler_t *s = scheduler_of(1);
    start_both(s);
    vthread_census_entry_t of_a = census_of(is_of_kind_a);
    if (mode_is("VTHREAD_FREEZE", "eager")) {
        ck_assert_uint_eq(of_a.frozen, A_COUNT);
        ck_assert_uint_eq(of_a.frozen_bytes, of_a.depth_bytes);
        ck_assert_uint_eq(census_of(is_of_kind_b).frozen, 0);
    }
    end_both();
    shut_down(s);
}
END_TEST

static void *looks_at_what_it_started(void *arg)
{
    vthread_t threads[3];
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start(is_of_kind_c, NULL);
    vthread_census_entry_t of_c = census_of(is_of_kind_c);
    vthread_census_entry_t of_self = census_of(looks_at_what_it_started);
    ck_assert_uint_eq(of_c.threads, 3);
    ck_assert_uint_eq(of_c.homes_none, 3);
    ck_assert_uint_eq(of_self.threads, 1);
    ck_assert_uint_eq(of_self.unmounted, 0);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        until_ended(threads[i]);
    of_c = census_of(is_of_kind_c);
    ck_assert_uint_eq(of_c.threads, 0);
    ck_assert_uint_eq(of_c.ended, 3);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    return arg;
}

START_TEST(those_that_have_not_run_and_those_that_have_ended_are_told_apart)
{
    vthread_scheduler_t *s = scheduler_of(1);
    join(start_on(s, looks_at_what_it_started, NULL));
    shut_down(s);
}
END_TEST

static atomic_int is_over;

static void *comes_and_goes(void *arg)
{
    while (!atomic_load(&is_over))
        join(start(is_of_kind_c, NULL));
    return arg;
}

START_TEST(those_that_stay_are_counted_once_while_others_come_and_go)
{
    vthread_t others[4];
    vthread_scheduler_t *s = scheduler_of(2);
    start_both(s);
    for (unsigned i = 0; i < COUNT_OF(others); i++)
        others[i] = start_on(s, comes_and_goes, NULL);
    for (int i = 0; i < 300; i++) {
        ck_assert_uint_eq(census_of(is_of_kind_a).threads, A_COUNT);
        ck_assert_uint_eq(census_of(is_of_kind_b).homes_own_asked, B_COUNT);
        ck_assert_uint_le(census_of(is_of_kind_c).threads,
                          COUNT_OF(others) + 1);
    }
    atomic_store(&is_over, 1);
    for (unsigned i = 0; i < COUNT_OF(others); i++)
        join(others[i]);
    end_both();
    shut_down(s);
}
END_TEST

START_TEST(a_census_without_a_visitor_is_refused)
{
    ck_assert_int_eq(vthread_census(NULL, NULL), EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("census");
    TCase *cases = new_case(suite, "census");
    tcase_add_test(cases, threads_are_counted_by_entry_function);
    tcase_add_test(cases, homes_are_counted_by_the_reason);
    tcase_add_test(cases, frozen_frames_are_counted);
    tcase_add_test(
        cases,
        those_that_have_not_run_and_those_that_have_ended_are_told_apart);
    tcase_add_test(cases,
                   those_that_stay_are_counted_once_while_others_come_and_go);
    tcase_add_test(cases, a_census_without_a_visitor_is_refused);
    return run_suite(suite);
}
