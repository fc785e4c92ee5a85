/*
 * futex_test.c - sleeping in the kernel, on time, and the lock of four bytes.
 */
#include <errno.h>

#include "platform/atomics.h"
#include "platform/clock.h"
#include "platform/futex.h"
#include "platform/os_thread.h"
#include "tests/support.h"

enum { MILLISECOND = 1000000 };

START_TEST(futex_wait_returns_at_once_if_the_word_differs)
{
    _Atomic uint32_t word = 1;

    ck_assert_int_eq(futex_wait(&word, 0, CLOCK_NEVER), 0);
}
END_TEST

START_TEST(futex_wait_times_out_not_early_and_keeps_errno)
{
    _Atomic uint32_t word = 0;
    uint64_t deadline = clock_now_ns() + 2 * MILLISECOND;

    errno = EDOM;
    ck_assert_int_eq(futex_wait(&word, 0, deadline), ETIMEDOUT);
    ck_assert_int_eq(errno, EDOM);
    ck_assert_uint_ge(clock_now_ns(), deadline);
    ck_assert_int_eq(futex_wait(&word, 0, 0), ETIMEDOUT);
}
END_TEST

static void wait_for_one(void *arg)
{
    _Atomic uint32_t *word = arg;

    while (atomic_load(word) == 0)
        futex_wait(word, 0, CLOCK_NEVER);
}

START_TEST(futex_wake_ends_a_wait)
{
    _Atomic uint32_t word = 0;
    struct os_thread thread;

    ck_assert_int_eq(os_thread_start(&thread, "waiter", wait_for_one, &word),
                     0);
    atomic_store(&word, 1);
    futex_wake(&word, 1);
    os_thread_join(&thread);
}
END_TEST

enum { LOCKERS = 4, ROUNDS = 50000 };

struct counted {
    struct os_lock lock;
    unsigned count; /* L(lock) */
};

static void count_up(void *arg)
{
    struct counted *counted = arg;

    for (int i = 0; i < ROUNDS; i++) {
        os_lock_acquire(&counted->lock);
        counted->count++;
        os_lock_release(&counted->lock);
    }
}

START_TEST(os_lock_excludes)
{
    struct counted counted = {0};
    struct os_thread threads[LOCKERS];

    for (int i = 0; i < LOCKERS; i++)
        ck_assert_int_eq(
            os_thread_start(&threads[i], "locker", count_up, &counted), 0);
    for (int i = 0; i < LOCKERS; i++)
        os_thread_join(&threads[i]);
    ck_assert_uint_eq(counted.count, LOCKERS * ROUNDS);
    ck_assert_uint_eq(atomic_load(&counted.lock.word), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("futex");
    TCase *cases = new_case(suite, "futex");
    tcase_add_test(cases, futex_wait_returns_at_once_if_the_word_differs);
    tcase_add_test(cases, futex_wait_times_out_not_early_and_keeps_errno);
    tcase_add_test(cases, futex_wake_ends_a_wait);
    tcase_add_test(cases, os_lock_excludes);
    return run_suite(suite);
}
