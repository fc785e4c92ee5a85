/*
 * once_test.c - done once, seen by all, and tried again until it succeeds.
 */
#include <errno.h>

#include "tests/homes.h"
#include "tests/random.h"
#include "tests/threads.h"

static vthread_once_t once;
static uint64_t deadline;
static atomic_int calls, may_end;
static int result_of_fn;

static void expect_done(void)
{
    ck_assert(vthread_once_is_done(&once));
    ck_assert_uint_eq(once.waiting[0], 0);
}

static void expect_not_begun(void)
{
    ck_assert_uint_eq(once.word, 0);
    ck_assert_uint_eq(once.waiting[0], 0);
}

static int counts(void *arg)
{
    atomic_fetch_add(&calls, 1);
    return (int)(uintptr_t)arg;
}

/* Waits itself, and fails if the test says so. */
static int lasts(void *arg)
{
    (void)arg;
    atomic_fetch_add(&calls, 1);
    until(&may_end);
    return result_of_fn;
}

static void *begins(void *arg)
{
    (void)arg;
    return pointer((uintptr_t)vthread_once(&once, lasts, NULL));
}

static vthread_t start_to_do(void)
{
    vthread_t t = start(begins, NULL);
    until(&calls);
    return t;
}

/* + 1000 if an interrupt is pending. */
static void *calls_too(void *arg)
{
    int err = vthread_once_until(&once, counts, arg, deadline);
    return pointer((uintptr_t)err + (vthread_interrupted() ? 1000 : 0));
}

static void *platform_calls_too(void *arg)
{
    struct platform_parker *p = arg;
    atomic_store(&p->handle, vthread_self());
    p->result = (int)(uintptr_t)calls_too(NULL);
    return NULL;
}

/* ---- One after the other ------------------------------------------------ */

static void *does_it_again(void *arg)
{
    memset(&once, 0, sizeof once);
    atomic_store(&calls, 0);
    ck_assert(!vthread_once_is_done(&once));
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(vthread_once(&once, counts, NULL), 0);
    ck_assert_int_eq(vthread_tryonce(&once, counts, NULL), 0);
    ck_assert_int_eq(vthread_once_until(&once, counts, NULL, 0), 0);
    ck_assert_int_eq(calls, 1);
    expect_done();
    return arg;
}

START_TEST(it_is_done_once)
{
    on_both_kinds(does_it_again);
}
END_TEST

START_TEST(a_failure_is_returned_and_tried_again)
{
    ck_assert_int_eq(vthread_once(&once, counts, pointer(ENOENT)), ENOENT);
    expect_not_begun();
    ck_assert_int_eq(vthread_tryonce(&once, counts, pointer(77)), 77);
    ck_assert_int_eq(vthread_tryonce(&once, counts, NULL), 0);
    ck_assert_int_eq(vthread_once(&once, counts, pointer(EIO)), 0);
    ck_assert_int_eq(calls, 3);
    expect_done();
}
END_TEST

static int calls_itself(void *arg)
{
    ck_assert_int_eq(vthread_once(&once, counts, NULL), EDEADLK);
    ck_assert_int_eq(vthread_tryonce(&once, counts, NULL), EDEADLK);
    return (int)(uintptr_t)arg;
}

START_TEST(a_function_that_calls_itself_is_told)
{
    ck_assert_int_eq(vthread_once(&once, calls_itself, NULL), 0);
    ck_assert_int_eq(calls, 0);
    expect_done();
}
END_TEST

/* ---- While another is at it --------------------------------------------- */

START_TEST(others_wait_until_it_is_done)
{
    struct platform_parker p;
    vthread_t t = start_to_do(), waiting[3];
    for (int i = 0; i < 3; i++) {
        waiting[i] = start(calls_too, NULL);
        until_waiting(waiting[i]);
    }
    until_waiting(start_parker(&p, platform_calls_too));
    ck_assert_int_eq(vthread_tryonce(&once, counts, NULL), EBUSY);
    ck_assert(!vthread_once_is_done(&once));
    atomic_store(&may_end, 1);
    for (int i = 0; i < 3; i++)
        ck_assert_ptr_eq(join(waiting[i]), pointer(0));
    pthread_join(p.pthread, NULL);
    ck_assert_int_eq(p.result, 0);
    ck_assert_ptr_eq(join(t), pointer(0));
    ck_assert_int_eq(calls, 1);
    expect_done();
}
END_TEST

START_TEST(after_a_failure_the_first_that_waits_tries)
{
    vthread_t t = start_to_do(), a, b;
    a = start(calls_too, pointer(EIO));
    until_waiting(a);
    b = start(calls_too, NULL);
    until_waiting(b);
    result_of_fn = ENOENT;
    atomic_store(&may_end, 1);
    ck_assert_ptr_eq(join(t), pointer(ENOENT));
    ck_assert_ptr_eq(join(a), pointer(EIO));
    ck_assert_ptr_eq(join(b), pointer(0));
    ck_assert_int_eq(calls, 3);
    expect_done();
}
END_TEST

static void *times_out(void *arg)
{
    deadline = vthread_after(2 * VTHREAD_MS);
    ck_assert_ptr_eq(calls_too(NULL), pointer(ETIMEDOUT));
    ck_assert_uint_ge(vthread_now(), deadline);
    deadline = 0;
    ck_assert_ptr_eq(calls_too(NULL), pointer(ETIMEDOUT));
    deadline = VTHREAD_NEVER;
    vthread_interrupt(vthread_self());
    ck_assert_ptr_eq(calls_too(NULL), pointer(ECANCELED));
    ck_assert_uint_eq(once.waiting[0], 0);
    return arg;
}

START_TEST(who_leaves_early_has_not_called_it)
{
    vthread_t t = start_to_do();
    on_both_kinds(times_out);
    vthread_t a = start(calls_too, NULL);
    until_waiting(a);
    vthread_interrupt(a);
    ck_assert_ptr_eq(join(a), pointer(ECANCELED));
    ck_assert_int_eq(calls, 1);
    result_of_fn = EIO;
    atomic_store(&may_end, 1);
    ck_assert_ptr_eq(join(t), pointer(EIO));
    expect_not_begun();
}
END_TEST

/* On one carrier: it is the interrupted thread's turn before it has run. */
static int fails_after_an_interrupt(void *arg)
{
    vthread_t *t = arg;
    ck_assert_int_eq(vthread_create(t, NULL, calls_too, NULL), 0);
    until_waiting(*t);
    vthread_interrupt(*t);
    return EIO;
}

static void *hands_it_to_the_interrupted(void *arg)
{
    static vthread_t t;
    ck_assert_int_eq(vthread_once(&once, fails_after_an_interrupt, &t), EIO);
    ck_assert_ptr_eq(join(t), pointer(1000));
    expect_done();
    return arg;
}

START_TEST(a_turn_is_not_lost_in_an_interrupt)
{
    vthread_scheduler_t *s = scheduler_of(1);
    join(start_on(s, hands_it_to_the_interrupted, NULL));
    shut_down(s);
}
END_TEST

/* ---- Threads that end in the middle ------------------------------------- */

static vthread_once_t inner;

static int exits(void *arg)
{
    (void)arg;
    atomic_fetch_add(&calls, 1);
    until(&may_end);
    vthread_exit(pointer(7));
}

static int exits_inside(void *arg)
{
    return vthread_once(&inner, exits, arg);
}

static void *begins_and_exits(void *arg)
{
    vthread_once(&once, exits_inside, arg);
    return pointer(1);
}

static void others_take_over(void)
{
    vthread_t a, b;
    until(&calls);
    a = start(calls_too, NULL);
    until_waiting(a);
    b = start(calls_too, NULL);
    until_waiting(b);
    atomic_store(&may_end, 1);
    ck_assert_ptr_eq(join(a), pointer(0));
    ck_assert_ptr_eq(join(b), pointer(0));
    ck_assert_int_eq(calls, 2);
    expect_done();
}

START_TEST(a_thread_that_exits_in_the_middle_has_failed)
{
    vthread_t t = start(begins_and_exits, NULL);
    others_take_over();
    ck_assert_ptr_eq(join(t), pointer(7));
    ck_assert_uint_eq(inner.word, 0);
}
END_TEST

START_TEST(a_platform_thread_that_exits_in_the_middle_has_failed)
{
    pthread_t p;
    void *result;
    ck_assert_int_eq(pthread_create(&p, NULL, begins_and_exits, NULL), 0);
    others_take_over();
    pthread_join(p, &result);
    ck_assert_ptr_eq(result, pointer(7));
    ck_assert_uint_eq(inner.word, 0);
}
END_TEST

/* ---- Stress ------------------------------------------------------------- */

enum { CALLERS = 20 };

static struct shared {
    vthread_once_t once;
    int value; /* written by the function, without a lock */
    atomic_int inside, tries;
    int failures;
} *shared;

static int initialises(void *arg)
{
    ck_assert_int_eq(atomic_fetch_add(&shared->inside, 1), 0);
    if ((uintptr_t)arg % 2)
        vthread_yield();
    bool fails = atomic_fetch_add(&shared->tries, 1) < shared->failures;
    if (!fails)
        shared->value++;
    atomic_fetch_sub(&shared->inside, 1);
    if (fails && (uintptr_t)arg % 5 == 0 && vthread_is_virtual())
        vthread_exit(NULL);
    return fails ? EIO : 0;
}

static void *calls_at_random(void *seed)
{
    struct random random = {(uintptr_t)seed};
    int err;
    do {
        void *arg = pointer(random_below(&random, 100));
        err = random_below(&random, 2)
                  ? vthread_once(&shared->once, initialises, arg)
                  : vthread_once_until(
                      &shared->once, initialises, arg,
                      vthread_after(random_below(&random, 20 * VTHREAD_US)));
        ck_assert(err == 0 || err == EIO || err == ETIMEDOUT
                  || err == ECANCELED);
    } while (err != 0);
    ck_assert_int_eq(shared->value, 1);
    return NULL;
}

static void call_from_many(struct random *random)
{
    vthread_t t[CALLERS];
    pthread_t p;
    shared = calloc(1, sizeof *shared);
    shared->failures = (int)random_below(random, 10);
    pthread_create(&p, NULL, calls_at_random, pointer(random_next(random)));
    for (int i = 0; i < CALLERS; i++)
        t[i] = start(calls_at_random, pointer(random_next(random)));
    vthread_interrupt(t[random_below(random, CALLERS)]);
    for (int i = 0; i < CALLERS; i++)
        join(t[i]);
    pthread_join(p, NULL);
    ck_assert_int_eq(shared->tries, shared->failures + 1);
    free(shared);
}

START_TEST(exactly_one_call_succeeds_at_random)
{
    struct random random = random_start("once_test");
    for (int i = 0; i < (UNDER_SANITIZER ? 20 : 100); i++)
        call_from_many(&random);
}
END_TEST

/* ---- Homes -------------------------------------------------------------- */

static void *shares_its_own(void *arg)
{
    vthread_once_t o = {0};
    expect(vthread_once(&o, counts, NULL) == EFAULT);
    expect(vthread_tryonce(&o, counts, NULL) == EFAULT);
    return arg;
}

static const char *const refusers[] = {"vthread_once", "vthread_tryonce", NULL};

static void *has_its_own(void *arg)
{
    vthread_once_t o = VTHREAD_ONCE_INITIALIZER;
    ck_assert_int_eq(vthread_once(&o, counts, NULL), 0);
    ck_assert(vthread_once_is_done(&o));
    return arg;
}

static void forget(void)
{
    memset(&once, 0, sizeof once);
    deadline = VTHREAD_NEVER;
    result_of_fn = 0;
    atomic_store(&calls, 0);
    atomic_store(&may_end, 0);
}

int main(void)
{
    Suite *suite = suite_create("once");
    TCase *cases = new_case(suite, "once");
    tcase_add_checked_fixture(cases, forget, NULL);
    tcase_add_test(cases, it_is_done_once);
    tcase_add_test(cases, a_failure_is_returned_and_tried_again);
    tcase_add_test(cases, a_function_that_calls_itself_is_told);
    tcase_add_test(cases, others_wait_until_it_is_done);
    tcase_add_test(cases, after_a_failure_the_first_that_waits_tries);
    tcase_add_test(cases, who_leaves_early_has_not_called_it);
    tcase_add_test(cases, a_turn_is_not_lost_in_an_interrupt);
    tcase_add_test(cases, a_thread_that_exits_in_the_middle_has_failed);
    tcase_add_test(cases,
                   a_platform_thread_that_exits_in_the_middle_has_failed);
    tcase_add_test(cases, exactly_one_call_succeeds_at_random);
    add_homes(cases, refusers);
    return run_suite(suite);
}
