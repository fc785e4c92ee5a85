/*
 * call_slots_test.c - foreign calls in place when all slots are taken: who
 * waits, who is refused, and upcalls whose call goes on without one.
 */
#include "tests/calls.h"

/* Of one carrier with four spare ones, one slot is kept for short calls. */
enum { SLOTS = 3 };

static struct calls_gate gate;
static vthread_t fillers[SLOTS];
static atomic_int calls_made;

static int counts(void)
{
    return atomic_fetch_add(&calls_made, 1);
}

static void *passes(void *arg)
{
    static vthread_call_site_t site = {.signature = "i(p)",
                                       .policy = VTHREAD_CALL_BLOCKING};
    struct calls_gate *place = &gate;
    void *args[] = {&place};
    ck_assert_int_eq(vthread_call(&site, FN(calls_pass), NULL, args, NULL),
                     0);
    return arg;
}

static vthread_scheduler_t *with_slots_taken(void)
{
    vthread_scheduler_t *s;
    vthread_scheduler_attr_t attr = {.parallelism = 1, .max_carriers = 5};
    ck_assert_int_eq(vthread_scheduler_create(&s, &attr), 0);
    for (int i = 0; i < SLOTS; i++)
        fillers[i] = start_on(s, passes, NULL);
    calls_until(&gate.begun, SLOTS);
    return s;
}

static void give_back(vthread_scheduler_t *s)
{
    atomic_store(&gate.is_open, 1);
    for (int i = 0; i < SLOTS; i++)
        join(fillers[i]);
    shut_down(s);
}

struct attempt {
    vthread_call_site_t site;
    uint64_t deadline_ns;
};

static void *attempts(void *arg)
{
    struct attempt *a = arg;
    return pointer((uintptr_t)vthread_call_until(
        &a->site, FN(counts), NULL, NULL, NULL, a->deadline_ns));
}

static struct attempt attempt_of(unsigned flags, uint64_t deadline_ns)
{
    return (struct attempt){.site = {.signature = "i()",
                                     .policy = VTHREAD_CALL_BLOCKING,
                                     .flags = flags},
                            .deadline_ns = deadline_ns};
}

static void ends_with(vthread_t t, int err)
{
    ck_assert_int_eq((int)(uintptr_t)join(t), err);
}

START_TEST(who_does_not_wait_is_refused)
{
    vthread_scheduler_t *s = with_slots_taken();
    struct attempt a = attempt_of(VTHREAD_CALL_NOWAIT, VTHREAD_NEVER);
    ends_with(start_on(s, attempts, &a), EAGAIN);
    ck_assert_int_eq(atomic_load(&calls_made), 0);
    give_back(s);
}
END_TEST

START_TEST(who_waits_may_be_cancelled_or_late)
{
    vthread_scheduler_t *s = with_slots_taken();
    struct attempt never = attempt_of(0, VTHREAD_NEVER),
                   late = attempt_of(0, vthread_after(2 * VTHREAD_MS)),
                   at_once = attempt_of(0, 0);
    vthread_t t = start_on(s, attempts, &never);
    until_waiting(t);
    vthread_interrupt(t);
    ends_with(t, ECANCELED);
    ends_with(start_on(s, attempts, &late), ETIMEDOUT);
    ends_with(start_on(s, attempts, &at_once), ETIMEDOUT);
    ck_assert_int_eq(atomic_load(&calls_made), 0);
    give_back(s);
}
END_TEST

START_TEST(who_waits_gets_its_turn)
{
    vthread_scheduler_t *s = with_slots_taken();
    struct attempt a = attempt_of(0, VTHREAD_NEVER);
    vthread_t t = start_on(s, attempts, &a);
    until_waiting(t);
    atomic_store(&gate.is_open, 1);
    ends_with(t, 0);
    ck_assert_int_eq(atomic_load(&calls_made), 1);
    give_back(s);
}
END_TEST

/* ---- Upcalls ------------------------------------------------------------ */

static struct {
    vthread_closure_t *closure;
    void (*code)(void);
    vthread_scheduler_t *scheduler;
} upcall;

/* It has given its slot back, and others take that. */
static void waits_till_slots_are_taken(void *user, void *result,
                                       void *const args[])
{
    (void)user, (void)args;
    for (int i = 0; i < SLOTS; i++)
        fillers[i] = start_on(upcall.scheduler, passes, NULL);
    calls_until(&gate.begun, SLOTS);
    *(int *)result = 5;
}

static int calls_back(int (*fn)(void))
{
    int result = fn();
    errno = EXDEV;
    return result;
}

static void *calls_with_upcall(void *site)
{
    int result = 0, error = 0;
    void *args[] = {&upcall.code};
    ck_assert_int_eq(vthread_call(site, FN(calls_back), &result, args,
                                  &error),
                     0);
    ck_assert_int_eq(result, 5);
    ck_assert_int_eq(error, EXDEV);
    return NULL;
}

static void calls_with_slots_taken(void *(*caller)(void *), void *arg)
{
    vthread_signature_t *signature;
    vthread_scheduler_attr_t attr = {.parallelism = 1, .max_carriers = 5};
    ck_assert_int_eq(vthread_scheduler_create(&upcall.scheduler, &attr), 0);
    ck_assert_int_eq(vthread_signature_parse(&signature, "i()", NULL), 0);
    ck_assert_int_eq(vthread_closure_create(&upcall.closure, &upcall.code,
                                            signature,
                                            waits_till_slots_are_taken, NULL),
                     0);
    join(start_on(upcall.scheduler, caller, arg));
    give_back(upcall.scheduler);
    vthread_closure_destroy(upcall.closure);
}

START_TEST(a_call_goes_on_after_an_upcall_though_its_slot_is_gone)
{
    vthread_call_site_t site = {.signature = "i(p)",
                                .policy = VTHREAD_CALL_BLOCKING};
    calls_with_slots_taken(calls_with_upcall, &site);
}
END_TEST

static atomic_int is_told;
static vthread_t teller;

static void *tells(void *arg)
{
    atomic_store(&is_told, 1);
    return arg;
}

static int calls_back_and_waits(int (*fn)(void))
{
    int result = fn();
    teller = start_on(upcall.scheduler, tells, NULL);
    calls_wait_for(&is_told);
    return result;
}

static void *calls_and_is_told(void *site)
{
    int result = 0;
    void *args[] = {&upcall.code};
    ck_assert_int_eq(vthread_call(site, FN(calls_back_and_waits), &result,
                                  args, NULL),
                     0);
    ck_assert_int_eq(result, 5);
    join(teller);
    return NULL;
}

/* By a thread that needs the only carrier; the slot that is kept for the
 * monitor gets it one. */
START_TEST(who_waits_after_an_upcall_keeps_no_others_from_running)
{
    vthread_call_site_t site = {.signature = "i(p)",
                                .policy = VTHREAD_CALL_BLOCKING};
    calls_with_slots_taken(calls_and_is_told, &site);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("call_slots");
    TCase *cases = new_case(suite, "slots");
    if (!tests_fork()) {
        puts("each case has a gate of its own: not without CK_FORK");
        return 0;
    }
    tcase_add_test(cases, who_does_not_wait_is_refused);
    tcase_add_test(cases, who_waits_may_be_cancelled_or_late);
    tcase_add_test(cases, who_waits_gets_its_turn);
    tcase_add_test(cases,
                   a_call_goes_on_after_an_upcall_though_its_slot_is_gone);
    tcase_add_test(cases,
                   who_waits_after_an_upcall_keeps_no_others_from_running);
    return run_suite(suite);
}
