/*
 * continuation_test.c - the bare engine: <vthread/continuation.h> word for
 * word.  Scopes are in continuation_scope_test.c, what becomes of frames and
 * registers in continuation_frames_test.c.
 *
 * All three run in every freeze mode; with VTHREAD_OWN_LIMIT=0 all that are
 * not made inside of another share homes, and are copied.
 */
#include <errno.h>

#include "tests/continuations.h"

/* ---- Life --------------------------------------------------------------- */

static void twice(void *arg)
{
    (void)arg;
    step('1');
    ck_assert_int_eq(yield_to(scope_a), 0);
    step('2');
    ck_assert_int_eq(yield_to(scope_a), 0);
    step('3');
}

START_TEST(it_runs_from_yield_to_yield_to_its_end)
{
    cont *c = make(scope_a, twice, NULL);
    ck_assert_str_eq(trail, "");
    ck_assert(!done(c));
    ck_assert_int_eq(run(c), 0);
    ck_assert_str_eq(trail, "1");
    ck_assert(!done(c));
    ck_assert_int_eq(run(c), 0);
    ck_assert_str_eq(trail, "12");
    ck_assert(!done(c));
    ck_assert_int_eq(run(c), 0);
    ck_assert_str_eq(trail, "123");
    ck_assert(done(c));
    destroy(c);
}
END_TEST

static void nothing(void *arg)
{
    (void)arg;
}

START_TEST(one_that_never_yields_ends_in_one_run)
{
    cont *c = make(NULL, nothing, NULL);
    ck_assert_int_eq(run_out(c, 1), 1);
    destroy(c);
}
END_TEST

START_TEST(a_finished_one_is_not_run_again)
{
    cont *c = make(scope_a, twice, NULL);
    run_out(c, 3);
    ck_assert_int_eq(run(c), ESRCH);
    ck_assert_int_eq(run(c), ESRCH);
    ck_assert(done(c));
    ck_assert_str_eq(trail, "123");
    destroy(c);
}
END_TEST

static cont *myself;

static void runs_itself(void *arg)
{
    (void)arg;
    ck_assert_int_eq(run(myself), EBUSY);
    ck_assert(!done(myself));
    ck_assert_int_eq(vthread_continuation_destroy(myself), EBUSY);
    ck_assert_int_eq(yield_to(scope_a), 0);
    ck_assert_int_eq(run(myself), EBUSY);
}

START_TEST(one_that_is_mounted_here_is_busy)
{
    myself = make(scope_a, runs_itself, NULL);
    ck_assert_int_eq(run_out(myself, 2), 2);
    destroy(myself);
}
END_TEST

START_TEST(one_that_is_mounted_elsewhere_is_busy)
{
    cont *c = make(scope_a, stays, NULL);
    pthread_t t = start_to_stay(c);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(run(c), EBUSY);
        ck_assert_int_eq(vthread_continuation_destroy(c), EBUSY);
    }
    sem_post(&go_on);
    pthread_join(t, NULL);
    ck_assert(!done(c));
    ck_assert_int_eq(run_out(c, 1), 1);
    ck_assert_str_eq(trail, "!");
    destroy(c);
}
END_TEST

static void count_up(void *out)
{
    for (int i = 1; i <= 1000; i++) {
        *(int *)out = i * i;
        ck_assert_int_eq(yield_to(scope_a), 0);
    }
}

START_TEST(a_generator_hands_out_its_values)
{
    static int value;
    cont *c = make(scope_a, count_up, &value);
    for (int i = 1; i <= 1000; i++) {
        ck_assert_int_eq(run(c), 0);
        ck_assert_int_eq(value, i * i);
    }
    ck_assert_int_eq(run_out(c, 1), 1);
    destroy(c);
}
END_TEST

/* ---- Destruction -------------------------------------------------------- */

START_TEST(destroying_nothing_is_allowed)
{
    ck_assert_int_eq(vthread_continuation_destroy(NULL), 0);
}
END_TEST

START_TEST(a_new_one_can_be_destroyed)
{
    for (int i = 0; i < 1000; i++)
        destroy(make(scope_a, twice, NULL));
    ck_assert_str_eq(trail, "");
}
END_TEST

START_TEST(an_unmounted_one_can_be_destroyed)
{
    for (int i = 0; i < 3000; i++) {
        cont *c = make(scope_a, twice, NULL);
        ck_assert_int_eq(run(c), 0);
        destroy(c);
        trail[0] = '\0';
    }
}
END_TEST

static void destroys_the_crowd(void *arg)
{
    (void)arg;
    for (int i = 0; i < CROWD; i++)
        destroy(crowd[i]);
}

START_TEST(one_can_be_destroyed_by_one_that_shares_its_home)
{
    set_mode("VTHREAD_OWN_LIMIT", "0");
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = make(scope_a, yields_once, NULL);
        ck_assert_int_eq(run(crowd[i]), 0);
    }
    cont *c = make(scope_b, destroys_the_crowd, NULL);
    ck_assert_int_eq(run_out(c, 1), 1);
    destroy(c);
}
END_TEST

/* ---- Pins --------------------------------------------------------------- */

static void pinned(void *arg)
{
    (void)arg;
    ck_assert_int_eq(vthread_continuation_unpin(), EPERM);
    ck_assert_int_eq(vthread_continuation_pin(), 0);
    ck_assert_int_eq(vthread_continuation_pin(), 0);
    ck_assert_int_eq(yield_to(scope_a), EBUSY);
    ck_assert_int_eq(vthread_continuation_unpin(), 0);
    ck_assert_int_eq(yield_to(scope_a), EBUSY);
    ck_assert_int_eq(vthread_continuation_unpin(), 0);
    ck_assert_int_eq(vthread_continuation_unpin(), EPERM);
    step('p');
    ck_assert_int_eq(yield_to(scope_a), 0);
    step('q');
    ck_assert_int_eq(vthread_continuation_unpin(), EPERM);
}

START_TEST(a_pinned_one_does_not_yield_and_pins_nest)
{
    cont *c = make(scope_a, pinned, NULL);
    ck_assert_int_eq(run(c), 0);
    ck_assert_str_eq(trail, "p");
    ck_assert_int_eq(run_out(c, 1), 1);
    ck_assert_str_eq(trail, "pq");
    destroy(c);
}
END_TEST

START_TEST(a_pin_outside_is_not_permitted)
{
    ck_assert_int_eq(vthread_continuation_pin(), EPERM);
    ck_assert_int_eq(vthread_continuation_unpin(), EPERM);
}
END_TEST

static void ends_pinned(void *arg)
{
    (void)arg;
    ck_assert_int_eq(vthread_continuation_pin(), 0);
}

START_TEST(one_that_ends_pinned_pins_nobody_else)
{
    for (int i = 0; i < 10; i++) {
        cont *c = make(scope_a, ends_pinned, NULL);
        ck_assert_int_eq(run_out(c, 1), 1);
        destroy(c);
        c = make(scope_a, yields_once, NULL);
        ck_assert_int_eq(run_out(c, 2), 2);
        destroy(c);
    }
}
END_TEST

static void inner_pinned(void *arg)
{
    (void)arg;
    ck_assert_int_eq(vthread_continuation_pin(), 0);
    ck_assert_int_eq(yield_to(scope_a), EBUSY);
    ck_assert_int_eq(yield_to(scope_b), EBUSY);
    ck_assert_int_eq(vthread_continuation_unpin(), 0);
    step('i');
    ck_assert_int_eq(yield_to(scope_a), 0);
    step('j');
}

static void outer_of_pinned(void *arg)
{
    (void)arg;
    cont *inner = make(scope_b, inner_pinned, NULL);
    ck_assert_int_eq(run(inner), 0);
    ck_assert(done(inner));
    destroy(inner);
}

START_TEST(a_pin_inside_stops_the_yield_of_all)
{
    cont *c = make(scope_a, outer_of_pinned, NULL);
    ck_assert_int_eq(run(c), 0);
    ck_assert_str_eq(trail, "i");
    ck_assert_int_eq(run_out(c, 1), 1);
    ck_assert_str_eq(trail, "ij");
    destroy(c);
}
END_TEST

static void inner_of_pinned(void *arg)
{
    (void)arg;
    ck_assert_int_eq(yield_to(scope_a), EBUSY);
    ck_assert_int_eq(yield_to(scope_b), 0);
    step('k');
}

static void outer_pinned(void *arg)
{
    (void)arg;
    cont *inner = make(scope_b, inner_of_pinned, NULL);
    ck_assert_int_eq(vthread_continuation_pin(), 0);
    ck_assert_int_eq(run_out(inner, 2), 2);
    ck_assert_int_eq(yield_to(scope_a), EBUSY);
    ck_assert_int_eq(vthread_continuation_unpin(), 0);
    destroy(inner);
    ck_assert_int_eq(yield_to(scope_a), 0);
}

START_TEST(a_pin_outside_of_the_scope_does_not_matter)
{
    cont *c = make(scope_a, outer_pinned, NULL);
    ck_assert_int_eq(run(c), 0);
    ck_assert_str_eq(trail, "k");
    ck_assert_int_eq(run_out(c, 1), 1);
    destroy(c);
}
END_TEST

/* ---- Attributes --------------------------------------------------------- */

static void refused(vthread_continuation_attr_t attr)
{
    cont *c = (cont *)&attr;
    ck_assert_int_eq(vthread_continuation_create(&c, &attr, nothing, NULL),
                     EINVAL);
    ck_assert_ptr_eq(c, (cont *)&attr);
}

START_TEST(bad_attributes_are_refused_and_nothing_is_stored)
{
    refused((vthread_continuation_attr_t){.stack_size_bytes = 4096});
    refused((vthread_continuation_attr_t){
        .stack_size_bytes = VTHREAD_STACK_SIZE_MIN - 4096});
    refused((vthread_continuation_attr_t){.stack_size_bytes = 100000});
    refused((vthread_continuation_attr_t){
        .stack_size_bytes = VTHREAD_STACK_SIZE_MAX + 4096});
    refused((vthread_continuation_attr_t){.stack_size_bytes = SIZE_MAX - 4095});
    refused((vthread_continuation_attr_t){.flags = 0x80000000u});
    refused((vthread_continuation_attr_t){.reserved = 1});
}
END_TEST

START_TEST(no_attributes_are_the_defaults)
{
    cont *c;
    ck_assert_int_eq(vthread_continuation_create(&c, NULL, nothing, NULL), 0);
    ck_assert_int_eq(run_out(c, 1), 1);
    destroy(c);
}
END_TEST

static void fills_its_stack(void *arg)
{
    size_t size = *(size_t *)arg;
    volatile char *space = __builtin_alloca(size);
    for (size_t i = 0; i < size; i += 512)
        space[i] = (char)i;
    ck_assert_int_eq(yield_to(scope_a), 0);
    for (size_t i = 0; i < size; i += 512)
        ck_assert_int_eq(space[i], (char)i);
}

START_TEST(a_stack_has_the_size_that_was_asked_for)
{
    static const size_t sizes[] = {
        VTHREAD_STACK_SIZE_DEFAULT, 512 << 10, 1 << 20, 8 << 20, 1 << 20};
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        static size_t use;
        use = sizes[i] - (16 << 10); /* check's own needs some */
        vthread_continuation_attr_t attr = {
            .scope = scope_a, .stack_size_bytes = sizes[i]};
        cont *c = make_attr(&attr, fills_its_stack, &use);
        ck_assert_int_eq(run_out(c, 2), 2);
        destroy(c);
    }
}
END_TEST

/* ---- The suite ---------------------------------------------------------- */

int main(void)
{
    Suite *suite = suite_create("continuation");
    TCase *cases = new_trail_case(suite, "continuation");
    tcase_add_test(cases, it_runs_from_yield_to_yield_to_its_end);
    tcase_add_test(cases, one_that_never_yields_ends_in_one_run);
    tcase_add_test(cases, a_finished_one_is_not_run_again);
    tcase_add_test(cases, one_that_is_mounted_here_is_busy);
    tcase_add_test(cases, one_that_is_mounted_elsewhere_is_busy);
    tcase_add_test(cases, a_generator_hands_out_its_values);
    tcase_add_test(cases, destroying_nothing_is_allowed);
    tcase_add_test(cases, a_new_one_can_be_destroyed);
    tcase_add_test(cases, an_unmounted_one_can_be_destroyed);
    tcase_add_test(cases, one_can_be_destroyed_by_one_that_shares_its_home);
    tcase_add_test(cases, a_pinned_one_does_not_yield_and_pins_nest);
    tcase_add_test(cases, a_pin_outside_is_not_permitted);
    tcase_add_test(cases, one_that_ends_pinned_pins_nobody_else);
    tcase_add_test(cases, a_pin_inside_stops_the_yield_of_all);
    tcase_add_test(cases, a_pin_outside_of_the_scope_does_not_matter);
    tcase_add_test(cases, bad_attributes_are_refused_and_nothing_is_stored);
    tcase_add_test(cases, no_attributes_are_the_defaults);
    tcase_add_test(cases, a_stack_has_the_size_that_was_asked_for);
    return run_suite(suite);
}
