/*
 * pin_test.c - what a pin does to every kind of wait.
 */
#include <errno.h>

#include "tests/threads.h"

static void *pin_claims(void *arg)
{
    (void)arg;
    ck_assert_int_eq(vthread_unpin(), EPERM);
    ck_assert_int_eq(vthread_pin(), 0);
    ck_assert_int_eq(vthread_pin(), 0);
    ck_assert_int_eq(vthread_unpin(), 0);
    ck_assert_int_eq(vthread_unpin(), 0);
    ck_assert_int_eq(vthread_unpin(), EPERM);
    return NULL;
}

START_TEST(pins_nest)
{
    on_both_kinds(pin_claims);
}
END_TEST

static void *stays_while_pinned(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(vthread_pin(), 0);
        long mine = os_thread();
        pthread_t me = pthread_self();
        vthread_yield();
        ck_assert_int_eq(os_thread(), mine);
        ck_assert_int_eq(vthread_sleep(50 * VTHREAD_US), 0);
        ck_assert_int_eq(os_thread(), mine);
        vthread_unpark(vthread_self());
        ck_assert_int_eq(vthread_park(), 0);
        vthread_t t = start(return_argument, NULL);
        ck_assert_int_eq(vthread_join(t, NULL), 0);
        ck_assert_int_eq(os_thread(), mine);
        ck_assert(pthread_equal(me, pthread_self()));
        ck_assert_int_eq(vthread_unpin(), 0);
        vthread_yield();
    }
    return NULL;
}

START_TEST(a_pinned_thread_stays_on_its_os_thread)
{
    vthread_t threads[16];
    set_mode("VTHREAD_OWN_LIMIT", "4");
    vthread_scheduler_t *s = scheduler_of(2);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start_on(s, stays_while_pinned, NULL);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    ck_assert_uint_gt(stats_of(s).pinned_parks, 0);
    shut_down(s);
}
END_TEST

static void *parks_pinned(void *arg)
{
    (void)arg;
    vthread_pin();
    int err = vthread_park();
    vthread_unpin();
    return pointer((uintptr_t)err);
}

static void *unparks(void *t)
{
    vthread_unpark(*(vthread_t *)t);
    return NULL;
}

START_TEST(a_spare_carrier_works_while_a_pinned_thread_waits)
{
    static vthread_t t;
    vthread_scheduler_t *s = scheduler_of(1);
    for (int i = 0; i < 50; i++) {
        t = start_on(s, parks_pinned, NULL);
        until_waiting(t);
        join(start_on(s, unparks, &t));
        ck_assert_ptr_eq(join(t), NULL);
    }
    shut_down(s);
}
END_TEST

static void *sleeps_then_unparks(void *arg)
{
    _Atomic vthread_t *t = arg;
    do
        vthread_sleep(VTHREAD_MS);
    while (*t == 0);
    vthread_unpark(*t);
    return NULL;
}

START_TEST(a_pinned_thread_that_waits_stops_no_timer)
{
    static _Atomic vthread_t t;
    vthread_scheduler_t *s = scheduler_of(1);
    for (int i = 0; i < 20; i++) {
        t = 0;
        vthread_t waker = start_on(s, sleeps_then_unparks, (void *)&t);
        t = start_on(s, parks_pinned, NULL);
        ck_assert_ptr_eq(join(t), NULL);
        join(waker);
    }
    shut_down(s);
}
END_TEST

START_TEST(a_pinned_thread_can_be_interrupted_and_timed_out)
{
    vthread_t t = start(parks_pinned, NULL);
    until_waiting(t);
    vthread_interrupt(t);
    ck_assert_ptr_eq(join(t), pointer(ECANCELED));
}
END_TEST

static void pins_inside(void *arg)
{
    ck_assert_int_eq(vthread_continuation_pin(), 0);
    long mine = os_thread();
    for (int i = 0; i < 20; i++) {
        vthread_yield();
        vthread_sleep(20 * VTHREAD_US);
        *(int *)arg += os_thread() != mine;
    }
    ck_assert_int_eq(vthread_continuation_unpin(), 0);
}

static void *runs_one_that_pins(void *moves)
{
    vthread_continuation_t *c;
    ck_assert_int_eq(vthread_continuation_create(&c, NULL, pins_inside,
                                                 moves),
                     0);
    while (!vthread_continuation_is_done(c))
        ck_assert_int_eq(vthread_continuation_run(c), 0);
    ck_assert_int_eq(vthread_continuation_destroy(c), 0);
    return NULL;
}

START_TEST(a_pinned_generator_pins_its_thread)
{
    static int moves[16];
    vthread_t threads[COUNT_OF(moves)];
    vthread_scheduler_t *s = scheduler_of(4);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start_on(s, runs_one_that_pins, &moves[i]);
    for (unsigned i = 0; i < COUNT_OF(threads); i++) {
        join(threads[i]);
        ck_assert_int_eq(moves[i], 0);
    }
    shut_down(s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pin");
    TCase *cases = new_case(suite, "pins");
    tcase_add_test(cases, pins_nest);
    tcase_add_test(cases, a_pinned_thread_stays_on_its_os_thread);
    tcase_add_test(cases, a_spare_carrier_works_while_a_pinned_thread_waits);
    tcase_add_test(cases, a_pinned_thread_that_waits_stops_no_timer);
    tcase_add_test(cases, a_pinned_thread_can_be_interrupted_and_timed_out);
    tcase_add_test(cases, a_pinned_generator_pins_its_thread);
    return run_suite(suite);
}
