/*
 * cancel_test.c - being cancelled: once or for good, disabled and enabled,
 * and the handlers that run at the end.
 */
#include <errno.h>
#include <pthread.h>

#include "platform/memory.h"
#include "tests/cancel_at.h"
#include "tests/trail.h"

static void *parks(void *arg)
{
    (void)arg;
    return pointer((uintptr_t)vthread_park());
}

static bool is_cancelled(void *result)
{
    return (uintptr_t)result == ECANCELED;
}

/* ---- For good ----------------------------------------------------------- */

static void *parks_three_times(void *arg)
{
    uintptr_t cancelled = 0;
    (void)arg;
    for (int i = 0; i < 3; i++)
        cancelled += vthread_park() == ECANCELED;
    cancelled += vthread_sleep(1) == ECANCELED;
    cancelled += vthread_testcancel() == ECANCELED;
    cancelled += vthread_interrupted();
    return pointer(cancelled);
}

START_TEST(a_cancelled_thread_finds_every_wait_cancelled)
{
    vthread_t t = start(parks_three_times, NULL);
    until_waiting(t);
    thread_cancel(t);
    ck_assert_ptr_eq(join(t), pointer(6));
    thread_cancel(t); /* stale: nothing happens */
}
END_TEST

static atomic_int go;

static void *parks_when_told(void *arg)
{
    until(&go);
    return parks(arg);
}

START_TEST(a_cancel_before_the_wait_is_seen_by_it)
{
    vthread_t t = start(parks_when_told, NULL);
    thread_cancel(t);
    atomic_store(&go, 1);
    ck_assert(is_cancelled(join(t)));
}
END_TEST

static void *takes_a_permit(void *arg)
{
    until(&go);
    int first = vthread_park();
    return pointer(first == 0 && is_cancelled(parks(arg)));
}

START_TEST(a_wait_that_need_not_wait_succeeds_all_the_same)
{
    vthread_t t = start(takes_a_permit, NULL);
    vthread_unpark(t);
    thread_cancel(t);
    atomic_store(&go, 1);
    ck_assert_ptr_eq(join(t), pointer(1));
}
END_TEST

/* ---- Disabled ----------------------------------------------------------- */

static atomic_int disabled;

static void *parks_disabled(void *arg)
{
    (void)arg;
    ck_assert_int_eq(vthread_cancel_disable(), 0);
    ck_assert_int_eq(vthread_cancel_disable(), 0);
    atomic_store(&disabled, 1);
    ck_assert_int_eq(vthread_park(), 0);
    ck_assert_int_eq(vthread_testcancel(), 0);
    ck_assert_int_eq(vthread_cancel_enable(), 0);
    ck_assert_int_eq(vthread_park_until(vthread_after(VTHREAD_US)),
                     ETIMEDOUT);
    ck_assert_int_eq(vthread_cancel_enable(), 0);
    ck_assert_int_eq(vthread_cancel_enable(), EPERM);
    return pointer((uintptr_t)vthread_park());
}

static void disabled_waits_are_not_cancelled(int (*cancel)(vthread_t))
{
    atomic_store(&disabled, 0);
    vthread_t t = start(parks_disabled, NULL);
    until(&disabled);
    until_waiting(t);
    cancel(t);
    ck_assert(word_of(t) & THREAD_PARKED);
    vthread_unpark(t);
    ck_assert(is_cancelled(join(t)));
}

static int cancel(vthread_t t)
{
    thread_cancel(t);
    return 0;
}

START_TEST(while_cancellation_is_disabled_requests_stay_pending)
{
    disabled_waits_are_not_cancelled(vthread_interrupt);
    disabled_waits_are_not_cancelled(cancel);
}
END_TEST

static void *platform_parks_disabled(void *arg)
{
    *(_Atomic vthread_t *)arg = vthread_self();
    return parks_disabled(NULL);
}

START_TEST(a_platform_thread_disables_it_too)
{
    static _Atomic vthread_t handle;
    pthread_t p;
    void *result;
    ck_assert_int_eq(
        pthread_create(&p, NULL, platform_parks_disabled, &handle), 0);
    until(&disabled);
    until_waiting(handle);
    vthread_interrupt(handle);
    vthread_unpark(handle);
    pthread_join(p, &result);
    ck_assert(is_cancelled(result));
}
END_TEST

static void *nests_to_the_limit(void *arg)
{
    int depth = 0;
    (void)arg;
    while (vthread_cancel_disable() == 0)
        depth++;
    ck_assert_int_eq(depth, 254);
    ck_assert_int_eq(vthread_cancel_disable(), EAGAIN);
    while (depth-- > 0)
        ck_assert_int_eq(vthread_cancel_enable(), 0);
    ck_assert_int_eq(vthread_cancel_enable(), EPERM);
    return NULL;
}

START_TEST(disabling_nests_to_a_limit)
{
    on_both_kinds(nests_to_the_limit);
}
END_TEST

static void *tests_itself(void *arg)
{
    (void)arg;
    ck_assert_int_eq(vthread_testcancel(), 0);
    vthread_interrupt(vthread_self());
    ck_assert_int_eq(vthread_cancel_disable(), 0);
    ck_assert_int_eq(vthread_testcancel(), 0);
    ck_assert_int_eq(vthread_cancel_enable(), 0);
    ck_assert_int_eq(vthread_testcancel(), ECANCELED);
    ck_assert_int_eq(vthread_testcancel(), 0);
    return NULL;
}

START_TEST(testcancel_takes_an_interrupt_once)
{
    on_both_kinds(tests_itself);
}
END_TEST

/* ---- Handlers ----------------------------------------------------------- */

static void says(void *letter)
{
    step(*(char *)letter);
}

static void *pushes_three(void *arg)
{
    ck_assert_int_eq(vthread_cleanup_push(says, "a"), 0);
    ck_assert_int_eq(vthread_cleanup_push(says, "b"), 0);
    ck_assert_int_eq(vthread_cleanup_push(says, "c"), 0);
    ck_assert_int_eq(vthread_cleanup_pop(arg != NULL), 0);
    return pointer(4711);
}

START_TEST(handlers_run_last_first_when_the_function_returns)
{
    ck_assert_ptr_eq(join(start(pushes_three, NULL)), pointer(4711));
    ck_assert_str_eq(trail, "ba");
}
END_TEST

START_TEST(a_handler_that_is_popped_runs_if_asked)
{
    join(start(pushes_three, pointer(1)));
    ck_assert_str_eq(trail, "cba");
}
END_TEST

static void *exits_with_handlers(void *arg)
{
    pushes_three(arg);
    vthread_exit(pointer(99));
}

START_TEST(handlers_run_on_exit)
{
    ck_assert_ptr_eq(join(start(exits_with_handlers, NULL)), pointer(99));
    ck_assert_str_eq(trail, "ba");
}
END_TEST

static void exits_itself(void *letter)
{
    says(letter);
    vthread_exit(pointer(55));
}

static void *exits_in_a_handler(void *arg)
{
    (void)arg;
    ck_assert_int_eq(vthread_cleanup_push(says, "a"), 0);
    ck_assert_int_eq(vthread_cleanup_push(exits_itself, "b"), 0);
    ck_assert_int_eq(vthread_cleanup_push(exits_itself, "c"), 0);
    return NULL;
}

START_TEST(exit_in_a_handler_goes_on_with_the_next)
{
    ck_assert_ptr_eq(join(start(exits_in_a_handler, NULL)), pointer(55));
    ck_assert_str_eq(trail, "cba");
}
END_TEST

static void waits_and_says(void *letter)
{
    ck_assert_int_eq(vthread_sleep(VTHREAD_US), 0);
    ck_assert_int_eq(vthread_park_until(1), ETIMEDOUT);
    ck_assert_int_eq(vthread_testcancel(), 0);
    ck_assert_int_eq(vthread_cancel_enable(), EPERM);
    ck_assert_int_eq(vthread_cancel_disable(), 0);
    ck_assert_int_eq(vthread_cancel_enable(), 0);
    says(letter);
}

static void pushes_another(void *letter)
{
    ck_assert_int_eq(vthread_cleanup_push(waits_and_says, "z"), 0);
    says(letter);
}

static void *is_cancelled_with_handlers(void *arg)
{
    (void)arg;
    ck_assert_int_eq(vthread_cleanup_push(waits_and_says, "a"), 0);
    ck_assert_int_eq(vthread_cleanup_push(pushes_another, "b"), 0);
    return parks(NULL);
}

START_TEST(handlers_of_a_cancelled_thread_may_wait)
{
    vthread_t t = start(is_cancelled_with_handlers, NULL);
    until_waiting(t);
    thread_cancel(t);
    ck_assert(is_cancelled(join(t)));
    ck_assert_str_eq(trail, "bza");
}
END_TEST

static void *exits_a_platform_thread(void *arg)
{
    char local = 'l'; /* is still there when its handler runs */
    ck_assert_int_eq(vthread_cleanup_push(says, arg), 0);
    ck_assert_int_eq(vthread_cleanup_push(waits_and_says, &local), 0);
    vthread_exit(pointer(7));
}

START_TEST(handlers_run_at_the_end_of_a_platform_thread)
{
    pthread_t p;
    void *result;
    ck_assert_int_eq(pthread_create(&p, NULL, pushes_three, NULL), 0);
    pthread_join(p, &result);
    ck_assert_str_eq(trail, "ba");
    forget_the_trail();
    ck_assert_int_eq(
        pthread_create(&p, NULL, exits_a_platform_thread, "p"), 0);
    pthread_join(p, &result);
    ck_assert_ptr_eq(result, pointer(7));
    ck_assert_str_eq(trail, "lp");
}
END_TEST

static void *pops_nothing(void *arg)
{
    ck_assert_int_eq(vthread_cleanup_pop(true), EPERM);
    ck_assert_int_eq(vthread_cleanup_push(NULL, arg), EINVAL);
    return NULL;
}

START_TEST(popping_nothing_is_refused)
{
    on_both_kinds(pops_nothing);
}
END_TEST

static void *pushes_without_memory(void *arg)
{
    (void)arg;
    for (unsigned long n = 1; n <= 2; n++) {
        memory_fail_after(n);
        int err = vthread_cleanup_push(says, "x");
        memory_fail_after(0);
        ck_assert_int_eq(err, ENOMEM);
        ck_assert_int_eq(vthread_cleanup_pop(true), EPERM);
    }
    return NULL;
}

START_TEST(without_memory_nothing_is_pushed)
{
    join(start(pushes_without_memory, NULL));
    ck_assert_str_eq(trail, "");
}
END_TEST

/* ---- The nth wait ------------------------------------------------------- */

struct steps {
    int done, undone;
};

static void undo(void *arg)
{
    ((struct steps *)arg)->undone++;
    vthread_sleep(VTHREAD_US);
}

/* Each of the three is sure to wait: who ends the wait has seen it. */
static void *ends_when_it_waits(void *handle)
{
    until_waiting((vthread_t)(uintptr_t)handle);
    return NULL;
}

static void *unparks_when_it_waits(void *handle)
{
    until_waiting((vthread_t)(uintptr_t)handle);
    vthread_unpark((vthread_t)(uintptr_t)handle);
    return NULL;
}

static void start_detached(void *(*fn)(void *))
{
    vthread_attr_t attr = {.flags = VTHREAD_DETACHED};
    void *self = pointer((uintptr_t)vthread_self());
    ck_assert_int_eq(vthread_create(NULL, &attr, fn, self), 0);
}

static int joins_one_that_waits_for_it(void)
{
    vthread_t t = start(ends_when_it_waits,
                        pointer((uintptr_t)vthread_self()));
    int err = vthread_join(t, NULL);
    if (err != 0)
        vthread_detach(t);
    return err;
}

/* With waits between them that need not wait, or are not cancellable. */
static void *takes_three_steps(void *arg)
{
    struct steps *steps = arg;
    ck_assert_int_eq(vthread_cleanup_push(undo, arg), 0);
    vthread_unpark(vthread_self());
    ck_assert_int_eq(vthread_park(), 0);
    vthread_yield();
    start_detached(unparks_when_it_waits);
    if (vthread_park() == ECANCELED)
        return pointer(1);
    steps->done++;
    ck_assert_int_eq(vthread_park_until(1), ETIMEDOUT);
    if (joins_one_that_waits_for_it() == ECANCELED)
        vthread_exit(pointer(2));
    steps->done++;
    start_detached(unparks_when_it_waits);
    if (vthread_park_until(vthread_after(60 * VTHREAD_SECOND)) == ECANCELED)
        return pointer(3);
    steps->done++;
    return NULL;
}

static void every_step_is_undone(void *arg, unsigned n, void *result)
{
    struct steps *steps = arg;
    ck_assert_int_eq(steps->undone, 1);
    ck_assert_int_eq(steps->done, n == 0 ? 3 : (int)n - 1);
    ck_assert_uint_eq((uintptr_t)result, n);
    *steps = (struct steps){0};
}

START_TEST(cancellation_at_every_wait_is_seen_there)
{
    static struct steps steps;
    ck_assert_uint_eq(cancel_at_every_wait(THREAD_INTERRUPT,
                                           takes_three_steps, &steps,
                                           every_step_is_undone),
                      3);
    ck_assert_uint_eq(cancel_at_every_wait(THREAD_CANCEL, takes_three_steps,
                                           &steps, every_step_is_undone),
                      3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cancel");
    TCase *cases = new_trail_case(suite, "for_good");
    tcase_add_test(cases, a_cancelled_thread_finds_every_wait_cancelled);
    tcase_add_test(cases, a_cancel_before_the_wait_is_seen_by_it);
    tcase_add_test(cases, a_wait_that_need_not_wait_succeeds_all_the_same);

    cases = new_trail_case(suite, "disabled");
    tcase_add_test(cases, while_cancellation_is_disabled_requests_stay_pending);
    tcase_add_test(cases, a_platform_thread_disables_it_too);
    tcase_add_test(cases, disabling_nests_to_a_limit);
    tcase_add_test(cases, testcancel_takes_an_interrupt_once);

    cases = new_trail_case(suite, "handlers");
    tcase_add_test(cases, handlers_run_last_first_when_the_function_returns);
    tcase_add_test(cases, a_handler_that_is_popped_runs_if_asked);
    tcase_add_test(cases, handlers_run_on_exit);
    tcase_add_test(cases, exit_in_a_handler_goes_on_with_the_next);
    tcase_add_test(cases, handlers_of_a_cancelled_thread_may_wait);
    tcase_add_test(cases, handlers_run_at_the_end_of_a_platform_thread);
    tcase_add_test(cases, popping_nothing_is_refused);
    tcase_add_test(cases, without_memory_nothing_is_pushed);

    cases = new_trail_case(suite, "nth_wait");
    tcase_add_test(cases, cancellation_at_every_wait_is_seen_there);
    return run_suite(suite);
}
