/*
 * blocking_test.c - calls that block the OS thread, made in place.
 */
#include <errno.h>
#include <semaphore.h>

#include <vthread/block.h>

#include "tests/threads.h"

static void *add_one(void *number)
{
    errno = ENOTTY;
    return (char *)number + 1;
}

static void *block_claims(void *arg)
{
    (void)arg;
    char text[2];
    void *result = NULL;
    ck_assert_int_eq(vthread_block(NULL, text, &result), EINVAL);
    ck_assert_ptr_null(result);
    ck_assert_int_eq(vthread_block(add_one, text, &result), 0);
    ck_assert_int_eq(vthread_errno(), ENOTTY);
    ck_assert_ptr_eq(result, text + 1);
    ck_assert_int_eq(vthread_block(add_one, text, NULL), 0);
    return NULL;
}

START_TEST(the_call_is_made_with_its_result_and_errno)
{
    on_both_kinds(block_claims);
}
END_TEST

/* ---- Others go on ------------------------------------------------------- */

static sem_t sem;

static void *wait_in_the_kernel(void *arg)
{
    while (sem_wait(&sem) != 0)
        continue;
    return arg;
}

static void *blocks(void *arg)
{
    return (void *)(intptr_t)vthread_block(wait_in_the_kernel, arg, NULL);
}

static void *posts(void *arg)
{
    sem_post(&sem);
    return arg;
}

START_TEST(others_run_meanwhile_on_one_carrier)
{
    sem_init(&sem, 0, 0);
    vthread_scheduler_t *s = scheduler_of(1);
    vthread_t blocked[8];
    for (unsigned i = 0; i < COUNT_OF(blocked); i++)
        blocked[i] = start_on(s, blocks, NULL);
    for (unsigned i = 0; i < COUNT_OF(blocked); i++)
        join(start_on(s, posts, NULL));
    for (unsigned i = 0; i < COUNT_OF(blocked); i++)
        join(blocked[i]);
    ck_assert_uint_eq(stats_of(s).threads, 0);
    shut_down(s);
    sem_destroy(&sem);
}
END_TEST

/* ---- Waiting inside ----------------------------------------------------- */

static void *waits_inside(void *arg)
{
    long mine = os_thread();
    vthread_yield();
    ck_assert_int_eq(vthread_sleep(50 * VTHREAD_US), 0);
    join(start(return_argument, NULL));
    ck_assert_int_eq(os_thread(), mine);
    return arg;
}

static void *blocks_and_waits(void *arg)
{
    for (int i = 0; i < 10; i++) {
        long mine = os_thread();
        ck_assert_int_eq(vthread_block(waits_inside, arg, NULL), 0);
        ck_assert_int_eq(os_thread(), mine);
        vthread_yield();
    }
    return NULL;
}

START_TEST(a_wait_inside_stays_on_the_os_thread)
{
    vthread_scheduler_t *s = scheduler_of(1);
    vthread_t threads[16];
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start_on(s, blocks_and_waits, NULL);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    shut_down(s);
}
END_TEST

/* ---- Bound from now on -------------------------------------------------- */

static void *binds(void *arg)
{
    vthread_yield();
    ck_assert_int_eq(vthread_bind(), 0);
    long mine = os_thread();
    for (int i = 0; i < 100; i++) {
        vthread_yield();
        ck_assert_int_eq(os_thread(), mine);
        if (i % 10 == 0)
            vthread_sleep(20 * VTHREAD_US);
        ck_assert_int_eq(os_thread(), mine);
    }
    ck_assert_int_eq(vthread_bind(), 0);
    return arg;
}

START_TEST(a_thread_that_binds_itself_stays_on_its_carrier)
{
    vthread_scheduler_t *s = scheduler_of(4);
    vthread_t threads[32];
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start_on(s, binds, NULL);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    shut_down(s);
    ck_assert_int_eq(vthread_bind(), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("blocking");
    TCase *cases = new_case(suite, "calls in place");
    tcase_add_test(cases, the_call_is_made_with_its_result_and_errno);
    tcase_add_test(cases, others_run_meanwhile_on_one_carrier);
    tcase_add_test(cases, a_wait_inside_stays_on_the_os_thread);
    tcase_add_test(cases, a_thread_that_binds_itself_stays_on_its_carrier);
    return run_suite(suite);
}
