/*
 * poller_test.c - readiness is told once for each change, and sleepers can be
 * interrupted.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "platform/clock.h"
#include "platform/futex.h"
#include "platform/os_thread.h"
#include "platform/poller.h"
#include "tests/support.h"

enum { MILLISECOND = 1000000 };

static void open_poller(void)
{
    ck_assert_int_eq(poller_open(), 0);
    ck_assert_int_eq(poller_open(), 0);
    ck_assert(poller_is_open());
}

/* One event at most, without waiting. */
static unsigned ready_now(uint64_t cookie)
{
    struct poller_event event;

    if (poller_wait(&event, 1, 0) == 0)
        return 0;
    ck_assert_uint_eq(event.cookie, cookie);
    return event.ready;
}

START_TEST(a_socket_is_reported_once_for_each_change)
{
    uint64_t cookie = UINT64_C(0xfeedfacecafebeef);
    int ends[2];

    open_poller();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    ck_assert_int_eq(poller_add(ends[0], cookie), 0);
    ck_assert_uint_eq(ready_now(cookie), POLLER_WRITABLE);
    ck_assert_uint_eq(ready_now(cookie), 0);
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
    ck_assert_uint_eq(ready_now(cookie), POLLER_READABLE | POLLER_WRITABLE);
    ck_assert_uint_eq(ready_now(cookie), 0);
    shutdown(ends[1], SHUT_WR);
    ck_assert_uint_eq(ready_now(cookie),
                      POLLER_READABLE | POLLER_WRITABLE | POLLER_HANGUP);
    poller_remove(ends[0]);
    close(ends[1]);
    ck_assert_uint_eq(ready_now(cookie), 0);
    close(ends[0]);
}
END_TEST

START_TEST(poller_add_says_what_is_wrong)
{
    int ends[2];
    int file = open("/proc/self/exe", O_RDONLY);

    open_poller();
    ck_assert_int_eq(pipe(ends), 0);
    errno = EDOM;
    ck_assert_int_eq(poller_add(ends[0], 1), 0);
    ck_assert_int_eq(poller_add(ends[0], 2), EEXIST);
    ck_assert_int_eq(poller_add(file, 3), EPERM);
    ck_assert_int_eq(poller_add(1 << 20, 4), EBADF);
    ck_assert_int_eq(errno, EDOM);
    close(file);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

START_TEST(poller_wait_times_out_not_early)
{
    struct poller_event event;
    uint64_t deadline;

    open_poller();
    deadline = clock_now_ns() + 3 * MILLISECOND / 2;
    ck_assert_int_eq(poller_wait(&event, 1, deadline), 0);
    ck_assert_uint_ge(clock_now_ns(), deadline);
}
END_TEST

START_TEST(an_interruption_waits_for_one_that_sleeps)
{
    struct poller_event event;
    uint64_t deadline;

    open_poller();
    poller_interrupt();
    poller_interrupt();
    ck_assert_int_eq(poller_wait(&event, 1, 0), 0);
    ck_assert_int_eq(poller_wait(&event, 1, CLOCK_NEVER), 0);
    /* Both were one. */
    deadline = clock_now_ns() + MILLISECOND;
    ck_assert_int_eq(poller_wait(&event, 1, deadline), 0);
    ck_assert_uint_ge(clock_now_ns(), deadline);
}
END_TEST

/* Each answers the other: a lost interruption stops both for ever. */
struct exchange {
    _Atomic unsigned asked, answered;
};

static unsigned questions;

static void answer(void *arg)
{
    struct exchange *exchange = arg;
    struct poller_event event;
    unsigned answered = 0;

    while (answered < questions) {
        poller_wait(&event, 1, CLOCK_NEVER);
        answered = atomic_load_explicit(&exchange->asked, memory_order_relaxed);
        atomic_store(&exchange->answered, answered);
        futex_wake(&exchange->answered, 1);
    }
}

static void look_about(void *arg)
{
    struct exchange *exchange = arg;
    struct poller_event event;

    while (atomic_load(&exchange->answered) < questions)
        poller_wait(&event, 1, 0);
}

START_TEST(no_interruption_is_lost_nor_carried_off_by_a_look)
{
    struct exchange exchange = {0};
    struct os_thread sleeper, looker;
    unsigned answered;

    questions = how_often(2000, 20000);
    open_poller();
    ck_assert_int_eq(os_thread_start(&sleeper, "sleeper", answer, &exchange),
                     0);
    ck_assert_int_eq(os_thread_start(&looker, "looker", look_about, &exchange),
                     0);
    for (unsigned i = 1; i <= questions; i++) {
        atomic_store_explicit(&exchange.asked, i, memory_order_relaxed);
        poller_interrupt();
        while (i % 4 == 0 && (answered = atomic_load(&exchange.answered)) < i)
            futex_wait(&exchange.answered, answered, CLOCK_NEVER);
    }
    os_thread_join(&sleeper);
    os_thread_join(&looker);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("poller");
    TCase *cases = new_case(suite, "poller");
    tcase_add_test(cases, a_socket_is_reported_once_for_each_change);
    tcase_add_test(cases, poller_add_says_what_is_wrong);
    tcase_add_test(cases, poller_wait_times_out_not_early);
    tcase_add_test(cases, an_interruption_waits_for_one_that_sleeps);
    tcase_add_test(cases, no_interruption_is_lost_nor_carried_off_by_a_look);
    return run_suite(suite);
}
