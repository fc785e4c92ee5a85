/*
 * call_interrupt_test.c - calls that the deadline or a cancellation ends by a
 * signal, in place and detached, on both kinds of thread.
 */
#include <signal.h>

#include <vthread/cancel.h>

#include "call/offload.h"
#include "tests/calls.h"
#include "tests/children.h"

static int ends[2];
static atomic_int begun, may_read;

static void open_pipe(void)
{
    ck_assert_int_eq(pipe(ends), 0);
}

/* As read, from the pipe; may_read: not before the signal has been sent once,
 * so that it must come again. */
static int reads_a_byte(int waits)
{
    char byte;
    atomic_fetch_add(&begun, 1);
    if (waits)
        calls_wait_for(&may_read);
    return (int)read(ends[0], &byte, 1);
}

/* Goes on after EINTR, like most of the world. */
static int insists(int unused)
{
    int got;
    (void)unused;
    while ((got = reads_a_byte(0)) < 0 && errno == EINTR)
        continue;
    errno = 0;
    return got;
}

struct attempt {
    void (*fn)(void);
    unsigned policy;
    uint64_t deadline_ns;
    int waits;
    int err, result, error;
    bool sticks; /* an interrupt, after the call */
};

static void *attempts(void *arg)
{
    struct attempt *a = arg;
    vthread_call_site_t site = {.signature = "i(i)",
                                .policy = a->policy,
                                .flags = VTHREAD_CALL_INTERRUPTIBLE};
    void *args[] = {&a->waits};
    a->err = vthread_call_until(&site, a->fn, &a->result, args, &a->error,
                                a->deadline_ns);
    a->sticks = vthread_testcancel() == ECANCELED;
    return NULL;
}

static const unsigned policies[] = {
    VTHREAD_CALL_AUTO, VTHREAD_CALL_BLOCKING, VTHREAD_CALL_DETACHED};

static struct attempt attempt_of(unsigned policy, uint64_t deadline_ns)
{
    return (struct attempt){.fn = FN(reads_a_byte),
                            .policy = policy,
                            .deadline_ns = deadline_ns,
                            .err = -1,
                            .result = -2,
                            .error = -3};
}

static void was_interrupted(const struct attempt *a, int err)
{
    ck_assert_int_eq(a->err, err);
    ck_assert_int_eq(a->result, -1);
    ck_assert_int_eq(a->error, EINTR);
    ck_assert(!a->sticks);
}

static void until_begun(void)
{
    calls_until(&begun, 1);
    atomic_store(&begun, 0);
}

/* ---- By cancellation ---------------------------------------------------- */

START_TEST(a_cancelled_thread_is_told_by_a_signal)
{
    open_pipe();
    for (unsigned i = 0; i < COUNT_OF(policies); i++) {
        struct attempt a = attempt_of(policies[i], VTHREAD_NEVER);
        vthread_t t = start(attempts, &a);
        until_begun();
        vthread_interrupt(t);
        join(t);
        was_interrupted(&a, ECANCELED);
    }
}
END_TEST

/* The read begins after the signal: it would be lost, if it came once. */
START_TEST(a_signal_that_comes_too_early_comes_again)
{
    open_pipe();
    for (unsigned i = 0; i < COUNT_OF(policies); i++) {
        struct attempt a = attempt_of(policies[i], VTHREAD_NEVER);
        a.waits = 1;
        atomic_store(&may_read, 0);
        vthread_t t = start(attempts, &a);
        until_begun();
        vthread_interrupt(t);
        vthread_sleep(5 * VTHREAD_MS); /* the first ones are lost */
        atomic_store(&may_read, 1);
        join(t);
        was_interrupted(&a, ECANCELED);
    }
}
END_TEST

static _Atomic vthread_t platform;

static void *attempts_there(void *arg)
{
    atomic_store(&platform, vthread_self());
    return attempts(arg);
}

START_TEST(a_cancelled_platform_thread_is_told_too)
{
    open_pipe();
    for (unsigned i = 0; i < COUNT_OF(policies); i++) {
        struct attempt a = attempt_of(policies[i], VTHREAD_NEVER);
        atomic_store(&platform, 0);
        pthread_t t = start_platform(attempts_there, &a);
        until_begun();
        vthread_interrupt(atomic_load(&platform));
        join_platform(t);
        was_interrupted(&a, ECANCELED);
    }
}
END_TEST

static void *is_cancelled_before(void *arg)
{
    struct attempt *a = arg;
    vthread_interrupt(vthread_self());
    return attempts(a);
}

START_TEST(who_is_cancelled_before_makes_no_call)
{
    for (unsigned i = 0; i < COUNT_OF(policies); i++) {
        struct attempt a = attempt_of(policies[i], VTHREAD_NEVER);
        join(start(is_cancelled_before, &a));
        ck_assert_int_eq(a.err, ECANCELED);
        ck_assert_int_eq(a.result, -2);
        ck_assert(!a.sticks);
    }
    ck_assert_int_eq(atomic_load(&begun), 0);
}
END_TEST

static void *is_disabled(void *arg)
{
    vthread_cancel_disable();
    attempts(arg);
    vthread_cancel_enable();
    return pointer((uintptr_t)vthread_testcancel());
}

START_TEST(who_has_disabled_it_is_left_alone)
{
    open_pipe();
    for (unsigned i = 0; i < COUNT_OF(policies); i++) {
        struct attempt a = attempt_of(policies[i], VTHREAD_NEVER);
        vthread_t t = start(is_disabled, &a);
        until_begun();
        vthread_interrupt(t);
        ck_assert_int_eq(write(ends[1], "x", 1), 1);
        ck_assert_int_eq((int)(uintptr_t)join(t), ECANCELED);
        ck_assert_int_eq(a.err, 0);
        ck_assert_int_eq(a.result, 1);
    }
}
END_TEST

/* ---- By the deadline ---------------------------------------------------- */

/* Until the call has begun before the deadline; a detached one may not. */
static void meets_deadline(unsigned policy, bool is_virtual)
{
    struct attempt a;
    atomic_store(&begun, 0);
    for (uint64_t ns = 3 * VTHREAD_MS; !atomic_load(&begun); ns *= 2) {
        a = attempt_of(policy, vthread_after(ns));
        if (is_virtual)
            join(start(attempts, &a));
        else
            join_platform(start_platform(attempts, &a));
        ck_assert_int_eq(a.err, ETIMEDOUT);
    }
    was_interrupted(&a, ETIMEDOUT);
}

START_TEST(the_deadline_is_told_by_a_signal)
{
    open_pipe();
    for (unsigned i = 0; i < COUNT_OF(policies); i++) {
        meets_deadline(policies[i], true);
        meets_deadline(policies[i], false);
    }
}
END_TEST

/* ---- A function that takes no notice ------------------------------------ */

START_TEST(what_goes_on_after_eintr_returns_its_result)
{
    open_pipe();
    for (unsigned i = 0; i < COUNT_OF(policies); i++) {
        struct attempt a = attempt_of(policies[i], VTHREAD_NEVER);
        a.fn = FN(insists);
        vthread_t t = start(attempts, &a);
        until_begun();
        vthread_interrupt(t);
        calls_until(&begun, 1); /* once more, after the signal */
        ck_assert_int_eq(write(ends[1], "x", 1), 1);
        join(t);
        ck_assert_int_eq(a.err, 0);
        ck_assert_int_eq(a.result, 1);
        ck_assert_int_eq(a.error, 0);
        ck_assert(a.sticks);
        atomic_store(&begun, 0);
    }
}
END_TEST

/* ---- Signals ------------------------------------------------------------ */

static int last_signal(void)
{
    struct sigaction action;
    for (int i = SIGRTMAX; i >= SIGRTMIN; i--)
        if (sigaction(i, NULL, &action) == 0
            && action.sa_handler == SIG_DFL)
            return i;
    return 0;
}

static void never_called(int signal)
{
    (void)signal;
    abort();
}

START_TEST(a_handler_of_the_program_stays)
{
    struct sigaction action = {.sa_handler = never_called}, now;
    int wanted = last_signal();
    sigaction(wanted, &action, NULL);
    open_pipe();
    struct attempt a = attempt_of(VTHREAD_CALL_AUTO,
                                  vthread_after(3 * VTHREAD_MS));
    join(start(attempts, &a));
    was_interrupted(&a, ETIMEDOUT);
    sigaction(wanted, NULL, &now);
    ck_assert_ptr_eq((void *)now.sa_handler, (void *)never_called);
}
END_TEST

static int blocked_signals(void)
{
    sigset_t set;
    int count = 0;
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    for (int i = 1; i <= SIGRTMAX; i++)
        count += sigismember(&set, i) == 1;
    return count;
}

static void *mask_is_as_before(void *arg)
{
    vthread_pin();
    int before = blocked_signals();
    attempts(arg);
    ck_assert_int_eq(blocked_signals(), before);
    vthread_unpin();
    return NULL;
}

START_TEST(the_mask_is_as_before_afterwards)
{
    open_pipe();
    struct attempt a = attempt_of(VTHREAD_CALL_AUTO,
                                  vthread_after(3 * VTHREAD_MS));
    join(start(mask_is_as_before, &a));
    was_interrupted(&a, ETIMEDOUT);
    a = attempt_of(VTHREAD_CALL_AUTO, vthread_after(3 * VTHREAD_MS));
    mask_is_as_before(&a);
    was_interrupted(&a, ETIMEDOUT);
}
END_TEST

/* ---- Learning ----------------------------------------------------------- */

static void *learns(void *unused)
{
    vthread_call_site_t site = {.signature = "i(i)",
                                .flags = VTHREAD_CALL_INTERRUPTIBLE};
    vthread_call_stats_t stats;
    int waits = 0, error, result;
    void *args[] = {&waits};
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(vthread_call_until(&site, FN(reads_a_byte), &result,
                                            args, &error,
                                            vthread_after(VTHREAD_MS)),
                         ETIMEDOUT);
    vthread_call_stats(&site, &stats);
    ck_assert_uint_eq(stats.policy, VTHREAD_CALL_BLOCKING);
    ck_assert_uint_eq(stats.timed + stats.taken_over, 3);
    return unused;
}

START_TEST(a_site_learns_from_calls_that_were_ended)
{
    open_pipe();
    join(start(learns, NULL));
}
END_TEST

static int exits(int unused)
{
    (void)unused;
    vthread_exit(NULL);
}

static void *calls_what_exits(void *arg)
{
    static vthread_call_site_t site = {
        .signature = "i(i)", .flags = VTHREAD_CALL_INTERRUPTIBLE};
    int number = 0;
    void *args[] = {&number};
    vthread_call(&site, (void (*)(void))exits, NULL, args, NULL);
    return arg;
}

static void a_thread_exits_in_its_call(void)
{
    vthread_join(child_start("leaver", calls_what_exits, NULL), NULL);
}

START_TEST(who_exits_inside_is_told)
{
    aborts(a_thread_exits_in_its_call);
    said("vthread_exit inside of an interruptible vthread_call");
    said("leaver");
}
END_TEST

/* ---- Many --------------------------------------------------------------- */

START_TEST(each_of_many_is_told)
{
    enum { COUNT = 40 };
    static struct attempt all[COUNT];
    vthread_t threads[COUNT];
    open_pipe();
    for (int round = 0; round < 5; round++) {
        for (unsigned i = 0; i < COUNT; i++) {
            all[i] = attempt_of(policies[i % COUNT_OF(policies)],
                                i % 2 ? VTHREAD_NEVER
                                      : vthread_after(5 * VTHREAD_MS));
            threads[i] = start(attempts, &all[i]);
        }
        for (unsigned i = 0; i < COUNT; i++)
            if (i % 2)
                vthread_interrupt(threads[i]);
        for (unsigned i = 0; i < COUNT; i++) {
            join(threads[i]);
            ck_assert_int_eq(all[i].err, i % 2 ? ECANCELED : ETIMEDOUT);
        }
    }
}
END_TEST

/* ---- Not in an upcall --------------------------------------------------- */

static int sleeps_ms(int ms)
{
    struct timespec time = {.tv_nsec = ms * 1000000L};
    return nanosleep(&time, NULL);
}

static int sleeps(vthread_call_site_t *site, int *error)
{
    int ms = 20, result = -1;
    void *args[] = {&ms};
    ck_assert_int_eq(vthread_call(site, FN(sleeps_ms), &result, args, error),
                     0);
    return result;
}

/* The deadline of the call around it comes meanwhile. */
static void calls_inside(void *user, void *result, void *const args[])
{
    vthread_call_site_t site = {.signature = "i(i)",
                                .flags = VTHREAD_CALL_INTERRUPTIBLE};
    int error;
    (void)args, (void)result, (void)user;
    while (vthread_now() < *(uint64_t *)user)
        ck_assert_int_eq(sleeps(&site, &error), 0);
    ck_assert_int_eq(sleeps(&site, &error), 0);
}

static int calls_back_and_reads(void (*upcall)(void))
{
    upcall();
    return reads_a_byte(0);
}

static void *calls_out(void *arg)
{
    uint64_t deadline_ns = vthread_after(VTHREAD_MS);
    vthread_closure_t *closure;
    vthread_signature_t *signature;
    void (*code)(void);
    ck_assert_int_eq(vthread_signature_parse(&signature, "v()", NULL), 0);
    ck_assert_int_eq(vthread_closure_create(&closure, &code, signature,
                                            calls_inside, &deadline_ns),
                     0);
    vthread_call_site_t site = {.signature = "i(p)",
                                .flags = VTHREAD_CALL_INTERRUPTIBLE};
    void *place = code, *args[] = {&place};
    int result = 0, error = 0;
    int err = vthread_call_until(&site, FN(calls_back_and_reads), &result,
                                 args, &error, deadline_ns);
    ck_assert_int_eq(err, ETIMEDOUT);
    ck_assert_int_eq(result, -1);
    ck_assert_int_eq(error, EINTR);
    vthread_closure_destroy(closure);
    return arg;
}

/* ---- During an upcall --------------------------------------------------- */

struct upcall {
    vthread_closure_t *closure;
    void (*code)(void);
};

static struct upcall upcall_of(vthread_closure_fn *fn, void *user)
{
    struct upcall u;
    vthread_signature_t *signature;
    ck_assert_int_eq(vthread_signature_parse(&signature, "v()", NULL), 0);
    ck_assert_int_eq(
        vthread_closure_create(&u.closure, &u.code, signature, fn, user), 0);
    return u;
}

/* The call is cancelled in the upcall, and the read after it ends. */
static void is_told_after(vthread_closure_fn *fn, void *user, unsigned policy)
{
    struct upcall u = upcall_of(fn, user);
    vthread_call_site_t site = {.signature = "i(p)",
                                .policy = policy,
                                .flags = VTHREAD_CALL_INTERRUPTIBLE};
    void *place = u.code, *args[] = {&place};
    int result = 0, error = 0;
    ck_assert_int_eq(vthread_call(&site, FN(calls_back_and_reads), &result,
                                  args, &error),
                     ECANCELED);
    ck_assert_int_eq(result, -1);
    ck_assert_int_eq(error, EINTR);
    vthread_closure_destroy(u.closure);
}

static void is_cancelled_with_that_disabled(void *user, void *result,
                                            void *const args[])
{
    (void)user, (void)result, (void)args;
    ck_assert_int_eq(vthread_cancel_disable(), 0);
    ck_assert_int_eq(vthread_interrupt(vthread_self()), 0);
    ck_assert_int_eq(vthread_cancel_enable(), 0);
}

static void *disables_it(void *arg)
{
    is_told_after(is_cancelled_with_that_disabled, NULL, VTHREAD_CALL_AUTO);
    is_told_after(is_cancelled_with_that_disabled, NULL,
                  VTHREAD_CALL_BLOCKING);
    return arg;
}

START_TEST(who_is_cancelled_in_an_upcall_that_disables_it_is_told_after_it)
{
    open_pipe();
    on_both_kinds(disables_it);
}
END_TEST

static void sleeps_until_cancelled(void *user, void *result,
                                   void *const args[])
{
    (void)user, (void)result, (void)args;
    atomic_fetch_add(&begun, 1);
    ck_assert_int_eq(vthread_sleep_until(VTHREAD_NEVER), ECANCELED);
}

static int is_of_a_scope(const void *policy, void *result)
{
    (void)result;
    is_told_after(sleeps_until_cancelled, NULL, *(const unsigned *)policy);
    return 0;
}

static void *cancels_its_scope(void *policy)
{
    vthread_scope_t *scope;
    ck_assert_int_eq(vthread_scope_open(&scope, NULL), 0);
    ck_assert_int_eq(vthread_scope_fork(scope, NULL, is_of_a_scope, policy,
                                        sizeof(unsigned), 0),
                     0);
    until_begun();
    ck_assert_int_eq(vthread_scope_cancel(scope), 0);
    ck_assert_int_eq(vthread_scope_close(scope), 0);
    return NULL;
}

START_TEST(a_scope_that_is_cancelled_in_an_upcall_ends_the_call_as_well)
{
    open_pipe();
    for (unsigned i = 0; i < 2; i++) {
        unsigned policy = policies[i];
        join(start(cancels_its_scope, &policy));
        atomic_store(&begun, 0);
    }
}
END_TEST

static void sleeps_a_little(void *user, void *result, void *const args[])
{
    (void)user, (void)result, (void)args;
    vthread_sleep(20 * VTHREAD_US);
}

static int calls_back(void (*code)(void))
{
    code();
    return 42;
}

static void *waits_in_upcalls(void *arg)
{
    struct upcall u = upcall_of(sleeps_a_little, NULL);
    unsigned number = (unsigned)(uintptr_t)arg;
    vthread_call_site_t site = {.signature = "i(p)",
                                .policy = policies[number % 2],
                                .flags = VTHREAD_CALL_INTERRUPTIBLE};
    for (int i = 0; i < 20; i++) {
        void *place = u.code, *args[] = {&place};
        int result = 0;
        int err = vthread_call(&site, FN(calls_back), &result, args, NULL);
        ck_assert(err == 0 || err == ECANCELED);
        ck_assert_int_eq(result, err == 0 ? 42 : 0);
    }
    vthread_closure_destroy(u.closure);
    return NULL;
}

/* Their stacks are other threads' meanwhile. */
START_TEST(many_who_wait_in_upcalls_may_be_cancelled)
{
    enum { COUNT = 100 };
    vthread_t threads[COUNT];
    for (uintptr_t i = 0; i < COUNT; i++)
        threads[i] = start(waits_in_upcalls, (void *)i);
    for (int i = 0; i < 2000; i++) {
        vthread_interrupt(threads[i % COUNT]);
        vthread_yield();
    }
    for (int i = 0; i < COUNT; i++)
        join(threads[i]);
}
END_TEST

START_TEST(the_deadline_of_a_call_ends_no_other_in_its_upcall)
{
    open_pipe();
    on_both_kinds(calls_out);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("call_interrupt");
    TCase *cases = new_case(suite, "interrupts");
    if (!tests_fork()) {
        puts("each case has a pipe of its own: not without CK_FORK");
        return 0;
    }
    tcase_add_test(cases, a_cancelled_thread_is_told_by_a_signal);
    tcase_add_test(cases, a_signal_that_comes_too_early_comes_again);
    tcase_add_test(cases, a_cancelled_platform_thread_is_told_too);
    tcase_add_test(cases, who_is_cancelled_before_makes_no_call);
    tcase_add_test(cases, who_has_disabled_it_is_left_alone);
    tcase_add_test(cases, the_deadline_is_told_by_a_signal);
    tcase_add_test(cases, what_goes_on_after_eintr_returns_its_result);
    tcase_add_test(cases, a_handler_of_the_program_stays);
    tcase_add_test(cases, the_mask_is_as_before_afterwards);
    tcase_add_test(cases, a_site_learns_from_calls_that_were_ended);
    tcase_add_test(cases, each_of_many_is_told);
    tcase_add_test(cases, who_exits_inside_is_told);
    tcase_add_test(cases,
                   the_deadline_of_a_call_ends_no_other_in_its_upcall);
    tcase_add_test(
        cases,
        who_is_cancelled_in_an_upcall_that_disables_it_is_told_after_it);
    tcase_add_test(
        cases, a_scope_that_is_cancelled_in_an_upcall_ends_the_call_as_well);
    tcase_add_test(cases, many_who_wait_in_upcalls_may_be_cancelled);
    return run_suite(suite);
}
