/*
 * vthread_test.c - how threads wait: sleep, park and unpark, interrupts.  What
 * a pin does to all of these is in pin_test.c.
 *
 * What holds for any waiting thread is checked on virtual threads and on
 * platform threads alike.
 */
#include <errno.h>

#include "tests/random.h"
#include "tests/threads.h"

static _Atomic vthread_t partners[2];

/* ---- Sleeping ----------------------------------------------------------- */

static void *sleep_claims(void *arg)
{
    (void)arg;
    uint64_t begin = vthread_now();
    ck_assert_int_eq(vthread_sleep(2 * VTHREAD_MS), 0);
    ck_assert_uint_ge(vthread_now(), begin + 2 * VTHREAD_MS);
    ck_assert_int_eq(vthread_sleep(0), 0);
    ck_assert_int_eq(vthread_sleep_until(0), 0);
    ck_assert_int_eq(vthread_sleep_until(vthread_now() - 1), 0);
    for (uint64_t ns = 1; ns < 3 * VTHREAD_MS; ns = ns * 7 + 3) {
        uint64_t deadline = vthread_after(ns);
        ck_assert_int_eq(vthread_sleep_until(deadline), 0);
        ck_assert_uint_ge(vthread_now(), deadline);
    }
    return NULL;
}

START_TEST(a_sleep_lasts_as_long_as_it_should)
{
    on_both_kinds(sleep_claims);
}
END_TEST

START_TEST(after_never_is_never)
{
    ck_assert_uint_eq(vthread_after(VTHREAD_NEVER), VTHREAD_NEVER);
    ck_assert_uint_eq(vthread_after(VTHREAD_NEVER - 1), VTHREAD_NEVER);
    ck_assert_uint_ge(vthread_after(0), vthread_now() - VTHREAD_SECOND);
}
END_TEST

static void *sleep_keeps_permit(void *arg)
{
    (void)arg;
    ck_assert_int_eq(vthread_unpark(vthread_self()), 0);
    ck_assert_int_eq(vthread_sleep(200 * VTHREAD_US), 0);
    ck_assert_int_eq(vthread_join(start(return_argument, NULL), NULL), 0);
    ck_assert_int_eq(vthread_park_until(0), 0);
    ck_assert_int_eq(vthread_park_until(0), ETIMEDOUT);
    return NULL;
}

START_TEST(a_sleep_and_a_join_keep_the_permit)
{
    on_both_kinds(sleep_keeps_permit);
}
END_TEST

static void *sleeps_long(void *arg)
{
    (void)arg;
    return pointer((uintptr_t)vthread_sleep(1000 * VTHREAD_SECOND));
}

START_TEST(an_unpark_does_not_end_a_sleep)
{
    vthread_t t = start(sleeps_long, NULL);
    until_waiting(t);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(vthread_unpark(t), 0);
        ck_assert(word_of(t) & THREAD_WAITING);
    }
    vthread_interrupt(t);
    ck_assert_ptr_eq(join(t), pointer(ECANCELED));
}
END_TEST

static char order[64];
static atomic_int order_length;

static void *notes_when_woken(void *number)
{
    uintptr_t n = (uintptr_t)number;
    vthread_sleep(n * 2 * VTHREAD_MS);
    order[atomic_fetch_add(&order_length, 1)] = (char)('0' + n);
    return NULL;
}

START_TEST(sleepers_wake_in_the_order_of_their_deadlines)
{
    static const int when[] = {5, 2, 8, 1, 9, 3, 7, 4, 6};
    vthread_t threads[COUNT_OF(when)];
    vthread_scheduler_t *s = scheduler_of(1);
    memset(order, 0, sizeof order);
    atomic_store(&order_length, 0);
    for (unsigned i = 0; i < COUNT_OF(when); i++)
        threads[i] = start_on(s, notes_when_woken, pointer(when[i]));
    for (unsigned i = 0; i < COUNT_OF(when); i++)
        join(threads[i]);
    /* On a machine that stalls for 2 ms while they start it may differ:
     * then at least none is lost. */
    ck_assert_uint_eq(strlen(order), COUNT_OF(when));
    if (strcmp(order, "123456789") != 0)
        fprintf(stderr, "woken in the order %s\n", order);
    shut_down(s);
}
END_TEST

static void *sleeps_a_little(void *number)
{
    uint64_t ns = ((uintptr_t)number * 7919) % (5 * VTHREAD_MS);
    ck_assert_int_eq(vthread_sleep(ns), 0);
    return NULL;
}

START_TEST(twenty_thousand_sleepers)
{
    static vthread_t threads[20000];
    for (uintptr_t i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start(sleeps_a_little, pointer(i));
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
}
END_TEST

/* ---- Parking ------------------------------------------------------------ */

static void *permit_claims(void *arg)
{
    vthread_t self = vthread_self();
    (void)arg;
    /* Unpark before park. */
    ck_assert_int_eq(vthread_unpark(self), 0);
    ck_assert_int_eq(vthread_park(), 0);
    /* Two unparks are one. */
    ck_assert_int_eq(vthread_unpark(self), 0);
    ck_assert_int_eq(vthread_unpark(self), 0);
    ck_assert_int_eq(vthread_park(), 0);
    ck_assert_int_eq(vthread_park_until(0), ETIMEDOUT);
    /* A deadline in the past takes the permit. */
    ck_assert_int_eq(vthread_unpark(self), 0);
    ck_assert_int_eq(vthread_park_until(vthread_now() - 1), 0);
    ck_assert_int_eq(vthread_park_until(vthread_now() - 1), ETIMEDOUT);
    /* So does one in the future. */
    ck_assert_int_eq(vthread_unpark(self), 0);
    ck_assert_int_eq(vthread_park_until(vthread_after(VTHREAD_SECOND)), 0);
    /* Without one, time passes. */
    uint64_t deadline = vthread_after(2 * VTHREAD_MS);
    ck_assert_int_eq(vthread_park_until(deadline), ETIMEDOUT);
    ck_assert_uint_ge(vthread_now(), deadline);
    return NULL;
}

START_TEST(there_is_one_permit)
{
    on_both_kinds(permit_claims);
}
END_TEST

START_TEST(unpark_ends_a_park)
{
    struct platform_parker p;
    for (int i = 0; i < 500; i++) {
        vthread_t t = start(park_once, NULL);
        if (i % 2)
            until_waiting(t);
        ck_assert_int_eq(vthread_unpark(t), 0);
        ck_assert_ptr_eq(join(t), NULL);
    }
    for (int i = 0; i < 50; i++) {
        vthread_t t = start_parker(&p, platform_parks);
        if (i % 2)
            until_waiting(t);
        ck_assert_int_eq(vthread_unpark(t), 0);
        pthread_join(p.pthread, NULL);
        ck_assert_int_eq(p.result, 0);
    }
}
END_TEST

/* Parks with deadlines that are about to come, while others unpark it.  An
 * old timer would end an untimed park, or a timed one too early. */
struct parker {
    _Atomic vthread_t handle;
    atomic_uint tokens;  /* counted before each unpark */
    unsigned taken;
    atomic_int stop;
    uint64_t unparker_seed;
    struct random random;
};

static void *parks_with_deadlines(void *arg)
{
    struct parker *p = arg;
    p->handle = vthread_self();
    while (!atomic_load(&p->stop)) {
        uint64_t deadline = VTHREAD_NEVER;
        if (random_below(&p->random, 4) > 0)
            deadline = vthread_after(random_below(&p->random, 60000));
        int err = vthread_park_until(deadline);
        if (err == ETIMEDOUT)
            ck_assert_uint_ge(vthread_now(), deadline);
        else
            ck_assert_int_eq(err, 0);
        p->taken += err == 0;
        ck_assert_uint_le(p->taken, atomic_load(&p->tokens));
    }
    return NULL;
}

static void *unparks_at_random(void *arg)
{
    struct parker *p = arg;
    struct random random = {p->unparker_seed};
    while (!p->handle)
        vthread_yield();
    for (unsigned i = 0; i < how_often(1000, 4000); i++) {
        atomic_fetch_add(&p->tokens, 1);
        ck_assert_int_eq(vthread_unpark(p->handle), 0);
        uint64_t pause = random_below(&random, 3);
        if (pause == 1)
            vthread_yield();
        else if (pause == 2 && i % 16 == 0)
            vthread_sleep(random_below(&random, 50000));
    }
    atomic_store(&p->stop, 1);
    atomic_fetch_add(&p->tokens, 1);
    /* A platform thread may have timed out, seen the stop and ended. */
    int err = vthread_unpark(p->handle);
    ck_assert(err == 0 || err == ESRCH);
    return NULL;
}

static void race_parks(unsigned carriers, bool platform_parker,
                       bool platform_unparker)
{
    static struct parker p;
    pthread_t pt[2];
    vthread_t vt[2] = {0, 0};
    vthread_scheduler_t *s = scheduler_of(carriers);
    memset(&p, 0, sizeof p);
    p.random = random_start("vthread_test");
    p.unparker_seed = p.random.state + 1;
    if (platform_parker)
        pthread_create(&pt[0], NULL, parks_with_deadlines, &p);
    else
        vt[0] = start_on(s, parks_with_deadlines, &p);
    if (platform_unparker)
        pthread_create(&pt[1], NULL, unparks_at_random, &p);
    else
        vt[1] = start_on(s, unparks_at_random, &p);
    if (platform_unparker)
        pthread_join(pt[1], NULL);
    else
        join(vt[1]);
    if (platform_parker)
        pthread_join(pt[0], NULL);
    else
        join(vt[0]);
    ck_assert_uint_gt(p.taken, 0);
    ck_assert_uint_le(p.taken, p.tokens);
    shut_down(s);
}

START_TEST(an_old_timer_never_ends_a_later_park)
{
    race_parks(1, false, false);
    race_parks(2, false, false);
    race_parks(4, false, true);
    race_parks(2, true, false);
    race_parks(2, true, true);
}
END_TEST

static void *rallies(void *number)
{
    uintptr_t n = (uintptr_t)number;
    while (!partners[0] || !partners[1])
        vthread_yield();
    for (int i = 0; i < 10000; i++) {
        if (n == 0)
            ck_assert_int_eq(vthread_unpark(partners[1]), 0);
        ck_assert_int_eq(vthread_park(), 0);
        if (n == 1)
            ck_assert_int_eq(vthread_unpark(partners[0]), 0);
    }
    return NULL;
}

START_TEST(no_unpark_of_ten_thousand_is_lost)
{
    for (unsigned carriers = 1; carriers <= 4; carriers *= 2) {
        vthread_scheduler_t *s = scheduler_of(carriers);
        partners[0] = partners[1] = 0;
        partners[0] = start_on(s, rallies, pointer(0));
        partners[1] = start_on(s, rallies, pointer(1));
        vthread_t a = partners[0], b = partners[1];
        join(a);
        join(b);
        shut_down(s);
    }
}
END_TEST

static void *platform_rallies(void *number)
{
    partners[(uintptr_t)number] = vthread_self();
    return rallies(number);
}

START_TEST(platform_and_virtual_threads_wake_each_other)
{
    pthread_t p;
    partners[0] = partners[1] = 0;
    vthread_t t = start(rallies, pointer(0));
    partners[0] = t;
    pthread_create(&p, NULL, platform_rallies, pointer(1));
    join(t);
    pthread_join(p, NULL);
}
END_TEST

/* ---- Interrupts --------------------------------------------------------- */

static void *interrupt_claims(void *arg)
{
    vthread_t self = vthread_self();
    (void)arg;
    ck_assert(!vthread_interrupted());
    /* It sticks until a wait sees it, once. */
    ck_assert_int_eq(vthread_interrupt(self), 0);
    vthread_yield();
    ck_assert_int_eq(vthread_park(), ECANCELED);
    ck_assert_int_eq(vthread_park_until(0), ETIMEDOUT);
    ck_assert_int_eq(vthread_interrupt(self), 0);
    ck_assert_int_eq(vthread_sleep(VTHREAD_SECOND), ECANCELED);
    ck_assert_int_eq(vthread_sleep(1), 0);
    /* Two are one. */
    ck_assert_int_eq(vthread_interrupt(self), 0);
    ck_assert_int_eq(vthread_interrupt(self), 0);
    ck_assert_int_eq(vthread_park(), ECANCELED);
    ck_assert_int_eq(vthread_park_until(0), ETIMEDOUT);
    /* It can be taken back. */
    ck_assert_int_eq(vthread_interrupt(self), 0);
    ck_assert(vthread_interrupted());
    ck_assert(!vthread_interrupted());
    ck_assert_int_eq(vthread_park_until(0), ETIMEDOUT);
    /* It and a permit are both seen. */
    ck_assert_int_eq(vthread_interrupt(self), 0);
    ck_assert_int_eq(vthread_unpark(self), 0);
    int first = vthread_park(), second = vthread_park();
    ck_assert((first == 0 && second == ECANCELED)
              || (first == ECANCELED && second == 0));
    ck_assert_int_eq(vthread_park_until(0), ETIMEDOUT);
    return NULL;
}

START_TEST(an_interrupt_sticks_until_it_is_seen)
{
    on_both_kinds(interrupt_claims);
}
END_TEST

static void *platform_sleeps(void *arg)
{
    struct platform_parker *p = arg;
    atomic_store(&p->handle, vthread_self());
    p->result = vthread_sleep(1000 * VTHREAD_SECOND);
    return NULL;
}

START_TEST(an_interrupt_ends_any_cancellable_wait)
{
    struct platform_parker p;
    void *(*const waits[])(void *) = {park_once, sleeps_long};
    void *(*const platform_waits[])(void *) = {platform_parks,
                                               platform_sleeps};
    for (int i = 0; i < 100; i++) {
        vthread_t t = start(waits[i % 2], NULL);
        until_waiting(t);
        ck_assert_int_eq(vthread_interrupt(t), 0);
        ck_assert_ptr_eq(join(t), pointer(ECANCELED));
        t = start_parker(&p, platform_waits[i % 2]);
        until_waiting(t);
        ck_assert_int_eq(vthread_interrupt(t), 0);
        pthread_join(p.pthread, NULL);
        ck_assert_int_eq(p.result, ECANCELED);
    }
}
END_TEST

/* Interrupts and unparks arrive at once: neither eats the other. */
static void *counts_both(void *arg)
{
    uintptr_t permits = 0, cancels = 0;
    (void)arg;
    while (permits < 1 || cancels < 1) {
        int err = vthread_park();
        permits += err == 0;
        cancels += err == ECANCELED;
    }
    return pointer(permits << 8 | cancels);
}

static void *interrupts(void *t)
{
    vthread_interrupt(*(vthread_t *)t);
    return NULL;
}

START_TEST(an_interrupt_does_not_eat_a_permit)
{
    static vthread_t t;
    vthread_scheduler_t *s = scheduler_of(3);
    for (unsigned i = 0; i < how_often(500, 2000); i++) {
        t = start_on(s, counts_both, NULL);
        vthread_t other = start_on(s, interrupts, &t);
        vthread_unpark(t);
        ck_assert_ptr_eq(join(t), pointer(1 << 8 | 1));
        join(other);
    }
    shut_down(s);
}
END_TEST

/* ---- The suite ---------------------------------------------------------- */

static void add_sleeping(Suite *suite)
{
    TCase *cases = new_case(suite, "sleeping");
    tcase_add_test(cases, a_sleep_lasts_as_long_as_it_should);
    tcase_add_test(cases, after_never_is_never);
    tcase_add_test(cases, a_sleep_and_a_join_keep_the_permit);
    tcase_add_test(cases, an_unpark_does_not_end_a_sleep);
    tcase_add_test(cases, sleepers_wake_in_the_order_of_their_deadlines);
    tcase_add_test(cases, twenty_thousand_sleepers);
}

static void add_parking(Suite *suite)
{
    TCase *cases = new_case(suite, "parking");
    tcase_add_test(cases, there_is_one_permit);
    tcase_add_test(cases, unpark_ends_a_park);
    tcase_add_test(cases, an_old_timer_never_ends_a_later_park);
    tcase_add_test(cases, no_unpark_of_ten_thousand_is_lost);
    tcase_add_test(cases, platform_and_virtual_threads_wake_each_other);
}

static void add_interrupts(Suite *suite)
{
    TCase *cases = new_case(suite, "interrupts");
    tcase_add_test(cases, an_interrupt_sticks_until_it_is_seen);
    tcase_add_test(cases, an_interrupt_ends_any_cancellable_wait);
    tcase_add_test(cases, an_interrupt_does_not_eat_a_permit);
}

int main(void)
{
    Suite *suite = suite_create("vthread");
    add_sleeping(suite);
    add_parking(suite);
    add_interrupts(suite);
    return run_suite(suite);
}
