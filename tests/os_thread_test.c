/*
 * os_thread_test.c - how OS threads start, and how many there may be.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "platform/memory.h"
#include "platform/os_thread.h"
#include "tests/support.h"

struct observed {
    sigset_t blocked;
    char name[16];
    bool has_signal_stack;
};

static void observe(void *arg)
{
    struct observed *observed = arg;
    stack_t stack;

    pthread_sigmask(SIG_SETMASK, NULL, &observed->blocked);
    pthread_getname_np(pthread_self(), observed->name, 16);
    sigaltstack(NULL, &stack);
    observed->has_signal_stack = !(stack.ss_flags & SS_DISABLE);
}

START_TEST(an_os_thread_takes_faults_only_and_has_a_signal_stack)
{
    struct observed observed;
    struct os_thread thread;
    sigset_t own;

    ck_assert_int_eq(os_thread_start(&thread, "a name of more than 15 bytes",
                                     observe, &observed),
                     0);
    os_thread_join(&thread);
    ck_assert_int_eq(sigismember(&observed.blocked, SIGTERM), 1);
    ck_assert_int_eq(sigismember(&observed.blocked, SIGUSR1), 1);
    ck_assert_int_eq(sigismember(&observed.blocked, SIGSEGV), 0);
    ck_assert_int_eq(sigismember(&observed.blocked, SIGPROF), 0);
    ck_assert_str_eq(observed.name, "a name of more ");
    ck_assert(observed.has_signal_stack);
    pthread_sigmask(SIG_SETMASK, NULL, &own);
    ck_assert_int_eq(sigismember(&own, SIGTERM), 0);
}
END_TEST

START_TEST(an_os_thread_fails_to_start_when_told)
{
    struct observed observed;
    struct os_thread thread;

    os_thread_fail_after(2);
    ck_assert_int_eq(os_thread_start(&thread, "", observe, &observed), 0);
    os_thread_join(&thread);
    ck_assert_int_eq(os_thread_start(&thread, "", observe, &observed), EAGAIN);
    os_thread_fail_after(0);
    memory_fail_after(1);
    ck_assert_int_eq(os_thread_start(&thread, "", observe, &observed), EAGAIN);
    memory_fail_after(0);
}
END_TEST

START_TEST(there_is_a_processor_and_a_thread_number)
{
    ck_assert_uint_ge(os_thread_processors(), 1);
    ck_assert_int_eq(os_thread_number(), getpid());
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("os_thread");
    TCase *cases = new_case(suite, "os_thread");
    tcase_add_test(cases,
                   an_os_thread_takes_faults_only_and_has_a_signal_stack);
    tcase_add_test(cases, an_os_thread_fails_to_start_when_told);
    tcase_add_test(cases, there_is_a_processor_and_a_thread_number);
    return run_suite(suite);
}
