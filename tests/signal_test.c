/*
 * signal_test.c - waiting for signals.
 */
#include <signal.h>

#include <vthread/signal.h>

#include "platform/memory.h"
#include "tests/descriptors.h"

static sigset_t set_of(int a, int b)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, a);
    sigaddset(&set, b);
    return set;
}

/* Whether main has the signals of the tests blocked: both must do. */
static void block(bool blocked)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR2);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGWINCH);
    sigaddset(&set, SIGRTMIN + 1);
    require(pthread_sigmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL)
            == 0);
}

static void raise_in_process(int signal)
{
    require(kill(getpid(), signal) == 0);
}

/* The signal, or minus an error number. */
static void *waits_for(void *arg)
{
    int signal = (int)(intptr_t)arg, got = 0;
    sigset_t set = set_of(signal, signal);
    int err = vthread_sigwait(&set, &got);
    return as_result(err == 0 ? got : -err);
}

static vthread_t start_waiter(int signal)
{
    vthread_t t = start(waits_for, (void *)(intptr_t)signal);
    until_waiting(t);
    return t;
}

START_TEST(a_thread_waits_for_a_signal_whether_main_blocks_it_or_not)
{
    const int signals[] = {SIGTERM,  SIGINT, SIGCHLD,
                                  SIGWINCH, SIGHUP, SIGRTMIN + 1};
    block(_i);
    for (unsigned i = 0; i < COUNT_OF(signals); i++) {
        vthread_t t = start_waiter(signals[i]);
        raise_in_process(signals[i]);
        ck_assert_int_eq(as_error(join(t)), signals[i]);
    }
}
END_TEST

static void *platform_waits(void *arg)
{
    return waits_for(arg);
}

START_TEST(a_platform_thread_waits_too)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR1);
    block(_i);
    ck_assert_int_eq(vthread_signal_take(&set), 0);
    pthread_t t = start_platform(platform_waits, (void *)(intptr_t)SIGUSR1);
    raise_in_process(SIGUSR1);
    ck_assert_int_eq(as_error(join_platform(t)), SIGUSR1);
    int got = 0;
    raise_in_process(SIGUSR1);
    ck_assert_int_eq(vthread_sigwait(&set, &got), 0);
    ck_assert_int_eq(got, SIGUSR1);
}
END_TEST

START_TEST(what_comes_before_the_wait_is_kept_once)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR2);
    int got = 0;
    block(_i);
    ck_assert_int_eq(vthread_signal_take(&set), 0);
    for (int i = 0; i < 5; i++) {
        raise_in_process(SIGUSR2);
        raise_in_process(SIGUSR1);
    }
    ck_assert_int_eq(vthread_sigwait_until(&set, &got, 0), 0);
    ck_assert_int_eq(got, SIGUSR1);
    ck_assert_int_eq(vthread_sigwait_until(&set, &got, 0), 0);
    ck_assert_int_eq(got, SIGUSR2);
    ck_assert_int_eq(vthread_sigwait_until(&set, &got, 0), ETIMEDOUT);
}
END_TEST

START_TEST(real_time_signals_are_kept_each)
{
    sigset_t set = set_of(SIGRTMIN + 1, SIGRTMIN + 1);
    int got = 0;
    block(_i);
    ck_assert_int_eq(vthread_signal_take(&set), 0);
    for (int i = 0; i < 5; i++)
        raise_in_process(SIGRTMIN + 1);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(vthread_sigwait(&set, &got), 0);
    ck_assert_int_eq(got, SIGRTMIN + 1);
    ck_assert_int_eq(vthread_sigwait_until(&set, &got, 0), ETIMEDOUT);
}
END_TEST

START_TEST(each_signal_goes_to_the_one_that_has_waited_longest_for_it)
{
    block(_i);
    vthread_t first = start_waiter(SIGUSR1), other = start_waiter(SIGUSR2),
              second = start_waiter(SIGUSR1);
    raise_in_process(SIGUSR1);
    ck_assert_int_eq(as_error(join(first)), SIGUSR1);
    ck_assert(!(word_of(second) & THREAD_DONE));
    ck_assert(!(word_of(other) & THREAD_DONE));
    raise_in_process(SIGUSR1);
    ck_assert_int_eq(as_error(join(second)), SIGUSR1);
    raise_in_process(SIGUSR2);
    ck_assert_int_eq(as_error(join(other)), SIGUSR2);
}
END_TEST

START_TEST(a_wait_is_cancelled_or_late_and_no_signal_is_lost)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR1);
    int got = 0;
    block(_i);
    for (int i = 0; i < 200; i++) {
        vthread_t t = start_waiter(SIGUSR1);
        if (i % 2)
            raise_in_process(SIGUSR1);
        vthread_interrupt(t);
        int result = as_error(join(t));
        ck_assert(result == -ECANCELED || (i % 2 && result == SIGUSR1));
        if (i % 2 && result != SIGUSR1)
            ck_assert_int_eq(vthread_sigwait(&set, &got), 0);
        ck_assert_int_eq(vthread_sigwait_until(&set, &got, 0), ETIMEDOUT);
    }
    ck_assert_int_eq(
        vthread_sigwait_until(&set, &got, vthread_after(VTHREAD_MS)),
        ETIMEDOUT);
}
END_TEST

/* ---- Many --------------------------------------------------------------- */

enum { ROUNDS = 500 };

static atomic_int answered;

static void *answers(void *arg)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR2);
    int got;
    for (;;) {
        require(vthread_sigwait(&set, &got) == 0);
        if (got == SIGUSR2)
            return arg;
        atomic_fetch_add(&answered, 1);
    }
}

START_TEST(signals_one_after_the_other_are_all_answered)
{
    vthread_t threads[4];
    block(_i);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start(answers, NULL);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        until_waiting(threads[i]);
    for (int i = 1; i <= ROUNDS; i++) {
        raise_in_process(SIGUSR1);
        while (atomic_load(&answered) < i)
            vthread_yield();
        ck_assert_int_eq(answered, i);
    }
    for (unsigned i = 0; i < COUNT_OF(threads); i++) {
        unsigned ended = 0;
        raise_in_process(SIGUSR2);
        while (ended <= i) {
            ended = 0;
            for (unsigned j = 0; j < COUNT_OF(threads); j++)
                ended += (word_of(threads[j]) & THREAD_DONE) != 0;
            vthread_yield();
        }
    }
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
}
END_TEST

/* ---- Giving back -------------------------------------------------------- */

static volatile sig_atomic_t handled;

static void handle(int signal)
{
    handled = signal;
}

START_TEST(signals_are_given_back_with_the_handlers_there_were)
{
    sigset_t set = set_of(SIGUSR1, SIGUSR2), one = set_of(SIGUSR1, SIGUSR1);
    signal(SIGUSR1, handle);
    signal(SIGUSR2, SIG_IGN);
    ck_assert_int_eq(vthread_signal_take(&one), 0);
    ck_assert_int_eq(vthread_signal_take(&set), 0);
    raise_in_process(SIGUSR1);
    ck_assert_int_eq(handled, 0);
    vthread_t t = start_waiter(SIGUSR2);
    ck_assert_int_eq(vthread_signal_release(&set), EBUSY);
    raise_in_process(SIGUSR2);
    ck_assert_int_eq(as_error(join(t)), SIGUSR2);
    ck_assert_int_eq(vthread_signal_release(&set), 0);
    raise_in_process(SIGUSR1);
    raise_in_process(SIGUSR2);
    ck_assert_int_eq(handled, SIGUSR1);
    ck_assert_int_eq(vthread_signal_release(&set), 0);
    /* What was kept has been dropped. */
    int got;
    ck_assert_int_eq(vthread_sigwait_until(&set, &got, 0), ETIMEDOUT);
}
END_TEST

/* ---- Errors ------------------------------------------------------------- */

static void *makes_mistakes(void *arg)
{
    static const int refused[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS,  SIGFPE,
                                  SIGILL,  SIGTRAP, SIGSYS,  SIGABRT};
    sigset_t set;
    int got = 77;
    sigemptyset(&set);
    ck_assert_int_eq(vthread_sigwait(&set, &got), EINVAL);
    ck_assert_int_eq(vthread_signal_take(&set), EINVAL);
    for (unsigned i = 0; i < COUNT_OF(refused); i++) {
        set = set_of(SIGUSR1, refused[i]);
        ck_assert_int_eq(vthread_sigwait(&set, &got), EINVAL);
        ck_assert_int_eq(vthread_signal_take(&set), EINVAL);
        ck_assert_int_eq(vthread_signal_release(&set), EINVAL);
    }
    ck_assert_int_eq(got, 77);
    return arg;
}

START_TEST(sets_that_nobody_can_wait_for_are_refused)
{
    on_both_kinds(makes_mistakes);
    /* And nothing was taken: a default action ends the process. */
    struct sigaction action;
    require(sigaction(SIGUSR1, NULL, &action) == 0);
    ck_assert(action.sa_handler == SIG_DFL);
}
END_TEST

START_TEST(scarcity_is_an_error_and_passes)
{
    struct scarcity scarcity;
    int got;
    sigset_t set = set_of(SIGUSR1, SIGUSR1);
    join(start(return_argument, NULL));
    take_descriptors(&scarcity);
    ck_assert_int_eq(vthread_sigwait_until(&set, &got, 0), EMFILE);
    for (int i = 0; i < 3; i++) {
        give_descriptors(&scarcity, 1);
        int err = vthread_sigwait_until(&set, &got, 0);
        ck_assert(err == EMFILE || err == ETIMEDOUT);
    }
    give_descriptors(&scarcity, INT32_MAX);
    memory_fail_after(1);
    int err = vthread_sigwait_until(&set, &got, 0);
    memory_fail_after(0);
    ck_assert_int_eq(err, ENOMEM);
    vthread_t t = start_waiter(SIGUSR1);
    raise_in_process(SIGUSR1);
    ck_assert_int_eq(as_error(join(t)), SIGUSR1);
}
END_TEST

START_TEST(a_result_without_a_place_is_refused)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    ck_assert_int_eq(vthread_sigwait_until(&set, NULL, 0), EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("signal");
    TCase *cases = new_case(suite, "waiting");
    tcase_add_loop_test(
        cases, a_thread_waits_for_a_signal_whether_main_blocks_it_or_not, 0,
        2);
    tcase_add_loop_test(cases, a_platform_thread_waits_too, 0, 2);
    tcase_add_loop_test(cases, what_comes_before_the_wait_is_kept_once, 0, 2);
    tcase_add_loop_test(cases, real_time_signals_are_kept_each, 0, 2);
    tcase_add_loop_test(
        cases, each_signal_goes_to_the_one_that_has_waited_longest_for_it, 0,
        2);
    tcase_add_loop_test(cases,
                        a_wait_is_cancelled_or_late_and_no_signal_is_lost, 0,
                        2);
    tcase_add_loop_test(cases, signals_one_after_the_other_are_all_answered,
                        0, 2);
    cases = new_case(suite, "errors");
    tcase_add_test(cases,
                   signals_are_given_back_with_the_handlers_there_were);
    tcase_add_test(cases, sets_that_nobody_can_wait_for_are_refused);
    tcase_add_test(cases, scarcity_is_an_error_and_passes);
    tcase_add_test(cases, a_result_without_a_place_is_refused);
    return run_suite(suite);
}
