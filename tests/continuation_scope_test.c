/*
 * continuation_scope_test.c - continuations inside of each other: which of
 * them a yield unmounts, and where their frames are.
 */
#include <errno.h>

#include "tests/continuations.h"

static void yields_to_none(void *arg)
{
    (void)arg;
    ck_assert_int_eq(yield_to(scope_b), EINVAL);
    step('x');
    ck_assert_int_eq(yield_to(scope_a), 0);
    ck_assert_int_eq(yield_to(scope_b), EINVAL);
    step('y');
}

START_TEST(a_yield_to_no_scope_is_an_error_and_changes_nothing)
{
    ck_assert_int_eq(yield_to(scope_a), EINVAL);
    ck_assert_int_eq(yield_to(NULL), EINVAL);
    cont *c = make(scope_a, yields_to_none, NULL);
    ck_assert_int_eq(run(c), 0);
    ck_assert_str_eq(trail, "x");
    ck_assert_int_eq(yield_to(scope_a), EINVAL);
    ck_assert_int_eq(run_out(c, 1), 1);
    ck_assert_str_eq(trail, "xy");
    destroy(c);
}
END_TEST

static void in_null_scope(void *arg)
{
    (void)arg;
    ck_assert_ptr_nonnull(vthread_continuation_current(NULL));
    ck_assert_int_eq(yield_to(NULL), 0);
}

START_TEST(no_scope_is_a_scope_too)
{
    cont *c = make(NULL, in_null_scope, NULL);
    ck_assert_int_eq(run_out(c, 2), 2);
    destroy(c);
}
END_TEST

static const char scope_c[] = "C";

/* A runs B, B runs C. */
static cont *nest_a, *nest_b, *nest_c;

static void innermost(void *arg)
{
    (void)arg;
    step('c');
    ck_assert_ptr_eq(vthread_continuation_current(scope_a), nest_a);
    ck_assert_ptr_eq(vthread_continuation_current(scope_b), nest_b);
    ck_assert_ptr_eq(vthread_continuation_current(scope_c), nest_c);
    ck_assert_int_eq(yield_to(scope_a), 0);
    step('C');
    ck_assert_ptr_eq(vthread_continuation_current(scope_a), nest_a);
    ck_assert_ptr_eq(vthread_continuation_current(scope_b), nest_b);
    ck_assert_ptr_eq(vthread_continuation_current(scope_c), nest_c);
    ck_assert_int_eq(yield_to(scope_b), 0);
    step('D');
    ck_assert_int_eq(yield_to(scope_c), 0);
    step('E');
}

static void middle(void *arg)
{
    (void)arg;
    step('b');
    nest_c = make(scope_c, innermost, NULL);
    ck_assert_int_eq(run(nest_c), 0);
    step('B');
    ck_assert(!done(nest_c));
    ck_assert_ptr_null(vthread_continuation_current(scope_c));
    ck_assert_int_eq(run(nest_c), 0);
    ck_assert(done(nest_c));
    destroy(nest_c);
}

static void outermost(void *arg)
{
    (void)arg;
    step('a');
    nest_b = make(scope_b, middle, NULL);
    ck_assert_int_eq(run(nest_b), 0);
    step('A');
    ck_assert(!done(nest_b));
    ck_assert_int_eq(run(nest_b), 0);
    ck_assert(done(nest_b));
    destroy(nest_b);
}

static void *run_nest_elsewhere(void *arg)
{
    (void)arg;
    ck_assert_int_eq(run(nest_a), 0);
    return NULL;
}

START_TEST(a_yield_unmounts_all_out_to_its_scope)
{
    nest_a = make(scope_a, outermost, NULL);
    ck_assert_int_eq(run(nest_a), 0);
    /* C yielded to A: all three are unmounted, and A goes on inside C. */
    ck_assert_str_eq(trail, "abc");
    ck_assert(!done(nest_a) && !done(nest_b) && !done(nest_c));
    ck_assert_ptr_null(vthread_continuation_current(scope_a));
    ck_assert_ptr_null(vthread_continuation_current(scope_c));
    ck_assert_int_eq(run(nest_a), 0);
    ck_assert(done(nest_a));
    /* C: yield to B returned to A's run of B; then B, C on to C's yield;
     * then the end of C. */
    ck_assert_str_eq(trail, "abcCADBE");
    destroy(nest_a);
}
END_TEST

START_TEST(a_nest_goes_on_on_another_os_thread)
{
    nest_a = make(scope_a, outermost, NULL);
    elsewhere(run_nest_elsewhere, NULL);
    ck_assert_str_eq(trail, "abc");
    elsewhere(run_nest_elsewhere, NULL);
    ck_assert(done(nest_a));
    ck_assert_str_eq(trail, "abcCADBE");
    destroy(nest_a);
}
END_TEST

START_TEST(those_inside_of_an_unmounted_one_are_busy)
{
    nest_a = make(scope_a, outermost, NULL);
    ck_assert_int_eq(run(nest_a), 0);
    ck_assert_int_eq(run(nest_b), EBUSY);
    ck_assert_int_eq(run(nest_c), EBUSY);
    ck_assert_int_eq(vthread_continuation_destroy(nest_b), EBUSY);
    ck_assert_int_eq(vthread_continuation_destroy(nest_c), EBUSY);
    ck_assert_int_eq(run(nest_a), 0);
    ck_assert_str_eq(trail, "abcCADBE");
    destroy(nest_a);
}
END_TEST

static void same_inner(void *arg)
{
    (void)arg;
    step('i');
    ck_assert_int_eq(yield_to(scope_a), 0);
    step('j');
}

static void same_outer(void *arg)
{
    (void)arg;
    cont *inner = make(scope_a, same_inner, NULL);
    ck_assert_int_eq(run(inner), 0);
    step('o');
    ck_assert_int_eq(run(inner), 0);
    ck_assert(done(inner));
    destroy(inner);
    ck_assert_int_eq(yield_to(scope_a), 0);
    step('p');
}

START_TEST(of_equal_scopes_the_innermost_is_meant)
{
    cont *c = make(scope_a, same_outer, NULL);
    ck_assert_int_eq(run(c), 0);
    ck_assert_str_eq(trail, "ioj");
    ck_assert_int_eq(run_out(c, 1), 1);
    ck_assert_str_eq(trail, "iojp");
    destroy(c);
}
END_TEST

/* A generator made inside lends its locals. */
static void lends(void *out)
{
    int numbers[16], *volatile address = numbers;
    *(int **)out = address;
    for (int i = 0; i < 16; i++) {
        numbers[i] = 100 + i;
        ck_assert_int_eq(yield_to(scope_b), 0);
    }
}

static void borrows(void *arg)
{
    (void)arg;
    int *numbers = NULL;
    cont *inner = make(scope_b, lends, &numbers);
    for (int i = 0; i < 16; i++) {
        ck_assert_int_eq(run(inner), 0);
        ck_assert_int_eq(yield_to(scope_a), 0);
        ck_assert_int_eq(numbers[i], 100 + i);
    }
    ck_assert_int_eq(run_out(inner, 1), 1);
    destroy(inner);
}

START_TEST(one_made_inside_has_a_home_of_its_own)
{
    static cont *many[64];
    set_mode("VTHREAD_OWN_LIMIT", "0");
    for (unsigned i = 0; i < COUNT_OF(many); i++)
        many[i] = make(scope_a, borrows, NULL);
    for (int round = 0; round < 17; round++)
        for (unsigned i = 0; i < COUNT_OF(many); i++)
            ck_assert_int_eq(run(many[i]), 0);
    for (unsigned i = 0; i < COUNT_OF(many); i++) {
        ck_assert(done(many[i]));
        destroy(many[i]);
    }
}
END_TEST

static int *lent;

static void ends_with_one_inside(void *arg)
{
    cont **inner = arg;
    *inner = make(scope_b, lends, &lent);
    ck_assert_int_eq(run(*inner), 0);
}

START_TEST(one_made_inside_outlives_its_maker)
{
    static cont *inner;
    cont *c = make(scope_a, ends_with_one_inside, &inner);
    ck_assert_int_eq(run_out(c, 1), 1);
    destroy(c);
    for (int i = 0; i < 15; i++)
        ck_assert_int_eq(run(inner), 0);
    ck_assert_int_eq(run_out(inner, 1), 1);
    destroy(inner);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("continuation_scope");
    TCase *cases = new_trail_case(suite, "continuation_scope");
    tcase_add_test(cases,
                   a_yield_to_no_scope_is_an_error_and_changes_nothing);
    tcase_add_test(cases, no_scope_is_a_scope_too);
    tcase_add_test(cases, a_yield_unmounts_all_out_to_its_scope);
    tcase_add_test(cases, a_nest_goes_on_on_another_os_thread);
    tcase_add_test(cases, those_inside_of_an_unmounted_one_are_busy);
    tcase_add_test(cases, of_equal_scopes_the_innermost_is_meant);
    tcase_add_test(cases, one_made_inside_has_a_home_of_its_own);
    tcase_add_test(cases, one_made_inside_outlives_its_maker);
    return run_suite(suite);
}
