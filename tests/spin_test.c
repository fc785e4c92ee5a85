/*
 * spin_test.c - the spin lock keeps others out, whoever holds it for how
 * long.
 */
#include <pthread.h>
#include <sched.h>

#include "platform/spin.h"
#include "tests/support.h"

enum { THREADS = 4 };

static struct spin_lock lock;
/* Plain, so that TSan sees what the lock orders. */
static unsigned long count;
static _Atomic unsigned waiting;

START_TEST(a_zeroed_lock_is_free_and_held_once)
{
    struct spin_lock mine = {0};
    ck_assert(spin_lock_try(&mine));
    ck_assert(!spin_lock_try(&mine));
    spin_lock_release(&mine);
    spin_lock_acquire(&mine);
    ck_assert(!spin_lock_try(&mine));
    spin_lock_release(&mine);
    ck_assert(spin_lock_try(&mine));
}
END_TEST

static unsigned long rounds;

static void *counts(void *arg)
{
    for (unsigned long i = 0; i < rounds; i++) {
        atomic_fetch_add(&waiting, 1);
        spin_lock_acquire(&lock);
        unsigned long before = count;
        /* Now and then the holder is away for longer than others spin. */
        if (i % 1024 == 0)
            sched_yield();
        count = before + 1;
        spin_lock_release(&lock);
    }
    return arg;
}

static void count_together(void)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, counts, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

START_TEST(no_section_is_interrupted_by_another)
{
    rounds = UNDER_SANITIZER ? 3000 : 100000;
    count_together();
    ck_assert_uint_eq(count, THREADS * rounds);
}
END_TEST

static void *holds(void *arg)
{
    spin_lock_acquire(&lock);
    atomic_store((_Atomic unsigned *)arg, 1);
    /* Until all others have come, and long after they have given up
     * spinning and yielding. */
    while (atomic_load(&waiting) < THREADS)
        sched_yield();
    usleep(20000);
    ck_assert_uint_eq(count, 0);
    spin_lock_release(&lock);
    return NULL;
}

START_TEST(a_lock_that_is_held_for_long_is_waited_for)
{
    static _Atomic unsigned is_held;
    pthread_t holder;
    rounds = 1;
    ck_assert_int_eq(pthread_create(&holder, NULL, holds, (void *)&is_held),
                     0);
    while (!atomic_load(&is_held))
        sched_yield();
    count_together();
    pthread_join(holder, NULL);
    ck_assert_uint_eq(count, THREADS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("spin");
    TCase *cases = tcase_create("spin");
    tcase_set_timeout(cases, PATIENCE_S);
    tcase_add_test(cases, a_zeroed_lock_is_free_and_held_once);
    tcase_add_test(cases, no_section_is_interrupted_by_another);
    tcase_add_test(cases, a_lock_that_is_held_for_long_is_waited_for);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
