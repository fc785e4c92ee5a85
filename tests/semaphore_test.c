/*
 * semaphore_test.c - permits are neither lost nor made up, and go to those who
 * have waited longest.
 */
#include <errno.h>

#include "tests/homes.h"
#include "tests/random.h"
#include "tests/threads.h"
#include "tests/trail.h"

static vthread_semaphore_t semaphore;
static uint64_t deadline;

static void post(void)
{
    ck_assert_int_eq(vthread_semaphore_post(&semaphore), 0);
}

static uint32_t value(void)
{
    uint32_t n;
    ck_assert_int_eq(vthread_semaphore_getvalue(&semaphore, &n), 0);
    return n;
}

static void expect_nothing_left(void)
{
    ck_assert_uint_eq(semaphore.word, 0);
    ck_assert_uint_eq(semaphore.waiting[0], 0);
}

/* Steps with its letter if it gets a permit; 1000 + the result if an
 * interrupt is pending then. */
static void *waits(void *letter)
{
    int err = vthread_semaphore_wait_until(&semaphore, deadline);
    if (err == 0 && letter)
        step((char)(uintptr_t)letter);
    return pointer((uintptr_t)err + (vthread_interrupted() ? 1000 : 0));
}

static void *platform_waits(void *arg)
{
    struct platform_parker *p = arg;
    atomic_store(&p->handle, vthread_self());
    p->result = (int)(uintptr_t)waits(pointer('p'));
    return NULL;
}

/* ---- Without waiting ---------------------------------------------------- */

static void *takes_and_gives(void *arg)
{
    ck_assert_int_eq(vthread_semaphore_trywait(&semaphore), EAGAIN);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(value(), i);
        post();
    }
    ck_assert_int_eq(vthread_semaphore_wait(&semaphore), 0);
    ck_assert_int_eq(vthread_semaphore_trywait(&semaphore), 0);
    ck_assert_int_eq(vthread_semaphore_wait_until(&semaphore, 0), 0);
    ck_assert_int_eq(vthread_semaphore_wait_until(&semaphore, 0), ETIMEDOUT);
    ck_assert_int_eq(vthread_semaphore_trywait(&semaphore), EAGAIN);
    expect_nothing_left();
    return arg;
}

START_TEST(a_zeroed_semaphore_has_no_permits)
{
    on_both_kinds(takes_and_gives);
}
END_TEST

START_TEST(init_gives_it_permits_up_to_the_most)
{
    vthread_semaphore_t s = VTHREAD_SEMAPHORE_INITIALIZER(7);
    ck_assert_int_eq(vthread_semaphore_init(&semaphore, 7), 0);
    ck_assert_int_eq(memcmp(&s, &semaphore, sizeof s), 0);
    ck_assert_uint_eq(value(), 7);
    ck_assert_int_eq(
        vthread_semaphore_init(&s, VTHREAD_SEMAPHORE_MAX + 1), EINVAL);
    ck_assert_int_eq(vthread_semaphore_init(&s, VTHREAD_SEMAPHORE_MAX), 0);
    ck_assert_int_eq(vthread_semaphore_post(&s), EOVERFLOW);
    ck_assert_int_eq(vthread_semaphore_trywait(&s), 0);
    ck_assert_int_eq(vthread_semaphore_post(&s), 0);
    ck_assert_int_eq(vthread_semaphore_post(&s), EOVERFLOW);
}
END_TEST

START_TEST(a_permit_is_taken_though_an_interrupt_is_pending)
{
    post();
    vthread_interrupt(vthread_self());
    ck_assert_ptr_eq(waits(NULL), pointer(1000));
}
END_TEST

/* ---- Waiting ------------------------------------------------------------ */

START_TEST(both_kinds_are_served_in_their_order)
{
    struct platform_parker p;
    vthread_t a = start(waits, pointer('a'));
    until_waiting(a);
    until_waiting(start_parker(&p, platform_waits));
    vthread_t b = start(waits, pointer('b'));
    until_waiting(b);
    post();
    join(a);
    post();
    pthread_join(p.pthread, NULL);
    post();
    join(b);
    ck_assert_int_eq(p.result, 0);
    ck_assert_str_eq(trail, "apb");
    expect_nothing_left();
}
END_TEST

START_TEST(who_comes_later_does_not_pass_those_who_wait)
{
    vthread_t a = start(waits, pointer('a'));
    until_waiting(a);
    post();
    ck_assert_int_eq(vthread_semaphore_trywait(&semaphore), EAGAIN);
    ck_assert_uint_eq(value(), 0);
    join(a);
    expect_nothing_left();
}
END_TEST

static void *times_out(void *arg)
{
    deadline = vthread_after(2 * VTHREAD_MS);
    ck_assert_ptr_eq(waits(NULL), pointer(ETIMEDOUT));
    ck_assert_uint_ge(vthread_now(), deadline);
    expect_nothing_left();
    return arg;
}

START_TEST(who_times_out_has_left)
{
    on_both_kinds(times_out);
}
END_TEST

START_TEST(who_is_interrupted_has_left)
{
    struct platform_parker p;
    vthread_t t = start(waits, NULL);
    until_waiting(t);
    vthread_interrupt(t);
    ck_assert_ptr_eq(join(t), pointer(ECANCELED));
    until_waiting(start_parker(&p, platform_waits));
    vthread_interrupt(p.handle);
    pthread_join(p.pthread, NULL);
    ck_assert_int_eq(p.result, ECANCELED);
    expect_nothing_left();
}
END_TEST

/* On one carrier: the interrupted thread has not run, and gets the permit. */
static void *posts_to_the_interrupted(void *arg)
{
    vthread_t a, b;
    ck_assert_int_eq(vthread_create(&a, NULL, waits, pointer('a')), 0);
    until_waiting(a);
    ck_assert_int_eq(vthread_create(&b, NULL, waits, pointer('b')), 0);
    until_waiting(b);
    vthread_interrupt(a);
    post();
    ck_assert_ptr_eq(join(a), pointer(1000));
    vthread_interrupt(b);
    ck_assert_ptr_eq(join(b), pointer(ECANCELED));
    post();
    ck_assert_uint_eq(value(), 1);
    return arg;
}

START_TEST(a_permit_is_not_lost_in_an_interrupt)
{
    vthread_scheduler_t *s = scheduler_of(1);
    join(start_on(s, posts_to_the_interrupted, NULL));
    shut_down(s);
}
END_TEST

/* ---- Stress ------------------------------------------------------------- */

enum { STRESS_THREADS = 40, PERMITS = 3 };

static struct shared {
    vthread_semaphore_t semaphore;
    atomic_int inside;
    atomic_bool is_over;
} *shared;

static void *passes_at_random(void *seed)
{
    struct random random = {(uintptr_t)seed};
    vthread_semaphore_t *s = &shared->semaphore;
    for (int i = 0; i < (UNDER_SANITIZER ? 150 : 600); i++) {
        int err = random_below(&random, 2) == 0
                      ? vthread_semaphore_wait_until(
                          s, vthread_after(random_below(&random,
                                                        200 * VTHREAD_US)))
                  : random_below(&random, 4) == 0
                      ? vthread_semaphore_trywait(s)
                      : vthread_semaphore_wait(s);
        if (err == 0) {
            ck_assert_int_lt(atomic_fetch_add(&shared->inside, 1), PERMITS);
            if (random_below(&random, 2))
                vthread_yield();
            atomic_fetch_sub(&shared->inside, 1);
            ck_assert_int_eq(vthread_semaphore_post(s), 0);
        } else {
            ck_assert(err == ETIMEDOUT || err == EAGAIN || err == ECANCELED);
        }
    }
    return NULL;
}

START_TEST(no_permit_is_lost_at_random)
{
    struct random random = random_start("semaphore_test");
    vthread_t t[STRESS_THREADS];
    pthread_t p[2];
    shared = calloc(1, sizeof *shared);
    vthread_semaphore_init(&shared->semaphore, PERMITS);
    for (int i = 0; i < STRESS_THREADS; i++)
        t[i] = start(passes_at_random, pointer(random_next(&random)));
    for (int i = 0; i < 2; i++)
        pthread_create(&p[i], NULL, passes_at_random,
                       pointer(random_next(&random)));
    for (int i = 0; i < 1000; i++) {
        vthread_interrupt(t[random_below(&random, STRESS_THREADS)]);
        vthread_yield();
    }
    for (int i = 0; i < STRESS_THREADS; i++)
        join(t[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(p[i], NULL);
    ck_assert_uint_eq(shared->semaphore.word, PERMITS << 2);
    free(shared);
}
END_TEST

/* What a thread waits on is freed by it as soon as the wait has returned. */
static void *posts_to_it(void *s)
{
    ck_assert_int_eq(vthread_semaphore_post(s), 0);
    return NULL;
}

static void *waits_and_frees(void *arg)
{
    for (int i = 0; i < 200; i++) {
        vthread_semaphore_t *s = calloc(1, sizeof *s);
        vthread_t t = start(posts_to_it, s);
        ck_assert_int_eq(vthread_semaphore_wait(s), 0);
        memset(s, 0xff, sizeof *s);
        free(s);
        join(t);
    }
    return arg;
}

START_TEST(it_may_be_freed_when_the_wait_has_returned)
{
    on_both_kinds(waits_and_frees);
}
END_TEST

/* ---- Homes -------------------------------------------------------------- */

static void *shares_its_own(void *arg)
{
    vthread_semaphore_t s = VTHREAD_SEMAPHORE_INITIALIZER(1);
    expect(vthread_semaphore_wait(&s) == EFAULT);
    expect(vthread_semaphore_trywait(&s) == EFAULT);
    expect(vthread_semaphore_post(&s) == EFAULT);
    return arg;
}

static const char *const refusers[] = {
    "vthread_semaphore_wait", "vthread_semaphore_trywait",
    "vthread_semaphore_post", NULL};

static void *has_its_own(void *arg)
{
    vthread_semaphore_t s = {0};
    for (int i = 0; i < 3; i++) {
        vthread_t t = start(posts_to_it, &s);
        ck_assert_int_eq(vthread_semaphore_wait(&s), 0);
        join(t);
    }
    return arg;
}

/* ---- The suite ---------------------------------------------------------- */

static void forget(void)
{
    memset(&semaphore, 0, sizeof semaphore);
    deadline = VTHREAD_NEVER;
}

int main(void)
{
    Suite *suite = suite_create("semaphore");
    TCase *cases = new_trail_case(suite, "permits");
    tcase_add_checked_fixture(cases, forget, NULL);
    tcase_add_test(cases, a_zeroed_semaphore_has_no_permits);
    tcase_add_test(cases, init_gives_it_permits_up_to_the_most);
    tcase_add_test(cases, a_permit_is_taken_though_an_interrupt_is_pending);
    tcase_add_test(cases, both_kinds_are_served_in_their_order);
    tcase_add_test(cases, who_comes_later_does_not_pass_those_who_wait);
    tcase_add_test(cases, who_times_out_has_left);
    tcase_add_test(cases, who_is_interrupted_has_left);
    tcase_add_test(cases, a_permit_is_not_lost_in_an_interrupt);
    tcase_add_test(cases, no_permit_is_lost_at_random);
    tcase_add_test(cases, it_may_be_freed_when_the_wait_has_returned);
    add_homes(cases, refusers);
    return run_suite(suite);
}
