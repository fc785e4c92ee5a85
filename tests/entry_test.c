/*
 * entry_test.c - what is known of entry functions.  The functions here are
 * numbers: nobody calls them.
 */
#include <dlfcn.h>

#include "entry.h"
#include "tests/support.h"

static entry_fn fn_of(uintptr_t n)
{
    return (entry_fn)(0x10000 + 16 * n);
}

START_TEST(what_is_remembered_needs_an_own_home_and_nothing_else_does)
{
    ck_assert(!entry_needs_own(fn_of(1)));
    ck_assert(entry_remember(fn_of(1), ENTRY_HOLDS));
    ck_assert(entry_needs_own(fn_of(1)));
    ck_assert(!entry_needs_own(fn_of(2)));
    ck_assert_int_eq(entry_reason_of(fn_of(1)), ENTRY_HOLDS);
}
END_TEST

START_TEST(the_first_reason_stays)
{
    ck_assert(entry_remember(fn_of(3), ENTRY_HOLDS));
    ck_assert(!entry_remember(fn_of(3), ENTRY_ESCAPES));
    ck_assert_int_eq(entry_reason_of(fn_of(3)), ENTRY_HOLDS);
}
END_TEST

START_TEST(counts_are_kept_for_each_function)
{
    ck_assert_uint_eq(entry_count_hog(fn_of(4)), 1);
    ck_assert_uint_eq(entry_count_hog(fn_of(4)), 2);
    ck_assert_uint_eq(entry_count_home_held(fn_of(4)), 1);
    ck_assert_uint_eq(entry_count_hog(fn_of(5)), 1);
    ck_assert_uint_eq(entry_counts_of(fn_of(4)).hogs, 2);
    ck_assert_uint_eq(entry_counts_of(fn_of(4)).homes_held, 1);
    ck_assert_uint_eq(entry_counts_of(fn_of(6)).hogs, 0);
    /* To be counted is not to need a home. */
    ck_assert(!entry_needs_own(fn_of(4)));
}
END_TEST

START_TEST(a_full_table_takes_no_more_and_forgets_nothing)
{
    uintptr_t taken = 0;
    while (entry_remember(fn_of(1000 + taken), ENTRY_ESCAPES))
        taken++;
    ck_assert_uint_gt(taken, 100);
    ck_assert(!entry_needs_own(fn_of(1000 + taken)));
    for (uintptr_t i = 0; i < taken; i++)
        ck_assert(entry_needs_own(fn_of(1000 + i)));
    for (uintptr_t i = 0; entry_count_hog(fn_of(1000 + i)) != 0; i++)
        ck_assert_uint_lt(i, 100000);
}
END_TEST

static void *has_no_name(void *arg)
{
    return arg;
}

START_TEST(a_function_is_told_by_its_name_or_its_place_in_the_file)
{
    char text[128];
    entry_describe((entry_fn)dlsym(RTLD_DEFAULT, "getenv"), text,
                   sizeof text);
    ck_assert_str_eq(text, "getenv");
    entry_describe(has_no_name, text, sizeof text);
    ck_assert_msg(strstr(text, "entry_test+0x") != NULL, "%s", text);
    entry_describe(fn_of(7), text, sizeof text);
    ck_assert_str_eq(text, "0x10070");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("entry");
    TCase *cases = tcase_create("entries");
    suite_add_tcase(suite, cases);
    tcase_add_test(cases,
                   what_is_remembered_needs_an_own_home_and_nothing_else_does);
    tcase_add_test(cases, the_first_reason_stays);
    tcase_add_test(cases, counts_are_kept_for_each_function);
    tcase_add_test(cases,
                   a_function_is_told_by_its_name_or_its_place_in_the_file);
    tcase_add_test(cases, a_full_table_takes_no_more_and_forgets_nothing);
    return run_suite(suite);
}
