/*
 * blocking_test.c - calls that block the OS thread, made in place.
 */
#include <errno.h>
#include <semaphore.h>

#include <vthread/block.h>

#include "call/blocking.h"
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

/* ---- Slots -------------------------------------------------------------- */

enum { SLOTS = 3, CALLERS = 12 };

/* With one carrier and four others there are four slots, one of which is kept
 * for calls that were expected to be short. */
static vthread_scheduler_t *scheduler_with_slots(void)
{
    vthread_scheduler_t *s;
    vthread_scheduler_attr_t attr = {.parallelism = 1, .max_carriers = 5};
    ck_assert_int_eq(vthread_scheduler_create(&s, &attr), 0);
    return s;
}

static atomic_int in_calls, most_in_calls, calls_made;

static void *counts_itself(void *arg)
{
    int now = atomic_fetch_add(&in_calls, 1) + 1;
    int most = atomic_load(&most_in_calls);
    while (now > most
           && !atomic_compare_exchange_weak(&most_in_calls, &most, now))
        continue;
    wait_in_the_kernel(NULL);
    atomic_fetch_sub(&in_calls, 1);
    atomic_fetch_add(&calls_made, 1);
    return arg;
}

static void *makes_a_call(void *arg)
{
    (void)arg;
    return pointer((uintptr_t)vthread_block(counts_itself, NULL, NULL));
}

static void until_in_calls(int count)
{
    while (atomic_load(&in_calls) < count)
        sched_yield();
}

static _Atomic bool is_over;

static void *computes(void *arg)
{
    uint64_t n = 0;
    while (!atomic_load(&is_over)) {
        n++;
        vthread_yield();
    }
    ck_assert_uint_gt(n, 0);
    return arg;
}

/* Fills the slots; the threads are the first of `threads`. */
static void fill_slots(vthread_scheduler_t *s, vthread_t *threads)
{
    sem_init(&sem, 0, 0);
    atomic_store(&in_calls, 0);
    atomic_store(&most_in_calls, 0);
    atomic_store(&calls_made, 0);
    for (unsigned i = 0; i < SLOTS; i++)
        threads[i] = start_on(s, makes_a_call, NULL);
    until_in_calls(SLOTS);
}

static void end_calls(vthread_t *threads, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        sem_post(&sem);
    for (unsigned i = 0; i < count; i++)
        ck_assert_ptr_null(join(threads[i]));
}

START_TEST(those_who_find_no_slot_wait_while_others_run)
{
    vthread_scheduler_t *s = scheduler_with_slots();
    vthread_t threads[CALLERS];
    fill_slots(s, threads);
    for (unsigned i = SLOTS; i < CALLERS; i++) {
        threads[i] = start_on(s, makes_a_call, NULL);
        until_waiting(threads[i]);
    }
    vthread_t computing = start_on(s, computes, NULL);
    join(start_on(s, return_argument, NULL));
    ck_assert_int_eq(atomic_load(&in_calls), SLOTS);
    end_calls(threads, CALLERS);
    ck_assert_int_eq(atomic_load(&calls_made), CALLERS);
    ck_assert_int_eq(atomic_load(&most_in_calls), SLOTS);
    ck_assert_uint_eq(stats_of(s).slot_waits, CALLERS - SLOTS);
    atomic_store(&is_over, true);
    join(computing);
    shut_down(s);
}
END_TEST

static unsigned order[CALLERS];
static atomic_uint came;

static void *notes_its_turn(void *number)
{
    order[atomic_fetch_add(&came, 1)] = (unsigned)(uintptr_t)number;
    return number;
}

static void *calls_in_turn(void *number)
{
    ck_assert_int_eq(vthread_block(notes_its_turn, number, NULL), 0);
    return NULL;
}

/* When one slot becomes free they go one after the other; each is given it
 * when the one before has ended its call. */
START_TEST(they_get_slots_in_the_order_in_which_they_came)
{
    vthread_scheduler_t *s = scheduler_with_slots();
    vthread_t threads[CALLERS];
    fill_slots(s, threads);
    for (uintptr_t i = SLOTS; i < CALLERS; i++) {
        threads[i] = start_on(s, calls_in_turn, pointer(i));
        until_waiting(threads[i]);
    }
    sem_post(&sem);
    for (unsigned i = SLOTS; i < CALLERS; i++)
        join(threads[i]);
    for (unsigned i = 0; i < CALLERS - SLOTS; i++)
        ck_assert_uint_eq(order[i], i + SLOTS);
    sem_post(&sem);
    sem_post(&sem);
    for (unsigned i = 0; i < SLOTS; i++)
        join(threads[i]);
    shut_down(s);
}
END_TEST

static void *calls_until(void *deadline_ns)
{
    return pointer((uintptr_t)vthread_block_until(
        add_one, NULL, NULL, *(uint64_t *)deadline_ns));
}

static void *calls_short(void *deadline_ns)
{
    struct blocking blocking;
    int err = blocking_begin(&blocking, BLOCKING_SHORT,
                             *(uint64_t *)deadline_ns);
    if (err == 0)
        blocking_end(&blocking);
    return pointer((uintptr_t)err);
}

static void fail_to_call(void *(*fn)(void *))
{
    static uint64_t never = VTHREAD_NEVER, now = 0, soon, past = 1;
    vthread_scheduler_t *s = scheduler_with_slots();
    vthread_t threads[SLOTS];
    fill_slots(s, threads);
    ck_assert_int_eq((intptr_t)join(start_on(s, fn, &now)), EAGAIN);
    ck_assert_int_eq((intptr_t)join(start_on(s, fn, &past)), ETIMEDOUT);
    soon = vthread_after(VTHREAD_MS);
    ck_assert_int_eq((intptr_t)join(start_on(s, fn, &soon)), ETIMEDOUT);
    vthread_t t = start_on(s, fn, &never);
    until_waiting(t);
    ck_assert_int_eq(vthread_interrupt(t), 0);
    ck_assert_int_eq((intptr_t)join(t), ECANCELED);
    /* Those who have gone are not in the way of others. */
    t = start_on(s, fn, &never);
    until_waiting(t);
    end_calls(threads, SLOTS);
    ck_assert_int_eq((intptr_t)join(t), 0);
    ck_assert_int_eq((intptr_t)join(start_on(s, fn, &now)), 0);
    shut_down(s);
}

START_TEST(waiting_for_a_slot_ends_by_deadline_and_cancellation)
{
    fail_to_call(calls_until);
}
END_TEST

START_TEST(a_short_call_waits_for_a_slot_when_they_are_few)
{
    fail_to_call(calls_short);
}
END_TEST

/* All at once: slots given, taken, and waits that end for other reasons. */
static void *calls_with_deadlines(void *arg)
{
    intptr_t made = 0;
    for (int i = 0; i < 200; i++) {
        int err = vthread_block_until(add_one, arg, NULL,
                                      vthread_after(20 * VTHREAD_US));
        ck_assert(err == 0 || err == ETIMEDOUT || err == ECANCELED);
        made += err == 0;
        if (i % 8 == 0)
            vthread_yield();
    }
    return pointer((uintptr_t)made);
}

START_TEST(no_slot_is_lost_to_deadlines_and_cancellation)
{
    static uint64_t now = 0;
    vthread_scheduler_t *s = scheduler_with_slots();
    vthread_t threads[CALLERS], fillers[SLOTS];
    for (unsigned i = 0; i < CALLERS; i++)
        threads[i] = start_on(s, calls_with_deadlines, NULL);
    for (unsigned i = 0; i < 200; i++)
        vthread_interrupt(threads[i % CALLERS]);
    for (unsigned i = 0; i < CALLERS; i++)
        join(threads[i]);
    fill_slots(s, fillers);
    ck_assert_int_eq((intptr_t)join(start_on(s, calls_until, &now)), EAGAIN);
    end_calls(fillers, SLOTS);
    shut_down(s);
}
END_TEST

START_TEST(without_slots_calls_keep_their_carrier)
{
    static uint64_t never = VTHREAD_NEVER;
    vthread_scheduler_t *s;
    vthread_scheduler_attr_t attr = {.parallelism = 2, .max_carriers = 2};
    vthread_t threads[CALLERS];
    ck_assert_int_eq(vthread_scheduler_create(&s, &attr), 0);
    sem_init(&sem, 0, 0);
    for (unsigned i = 0; i < CALLERS; i++) {
        threads[i] = start_on(s, i % 2 ? calls_short : blocks, &never);
        sem_post(&sem);
    }
    for (unsigned i = 0; i < CALLERS; i++)
        ck_assert_ptr_null(join(threads[i]));
    ck_assert_uint_eq(stats_of(s).calls_handed_off, 0);
    ck_assert_uint_eq(stats_of(s).calls_retaken, 0);
    shut_down(s);
}
END_TEST

static void *calls_pinned(void *arg)
{
    ck_assert_int_eq(vthread_pin(), 0);
    ck_assert_ptr_null(calls_in_turn(arg));
    ck_assert_ptr_eq(calls_short(&(uint64_t){VTHREAD_NEVER}), NULL);
    ck_assert_ptr_eq(calls_until(&(uint64_t){0}), pointer(EAGAIN));
    ck_assert_int_eq(vthread_unpin(), 0);
    return arg;
}

/* They would keep the carriers that those need to whom slots are given. */
START_TEST(a_pinned_thread_does_not_wait_for_a_slot)
{
    vthread_scheduler_t *s = scheduler_with_slots();
    vthread_t threads[SLOTS + 1];
    fill_slots(s, threads);
    threads[SLOTS] = start_on(s, makes_a_call, NULL);
    until_waiting(threads[SLOTS]);
    join(start_on(s, calls_pinned, NULL));
    ck_assert_uint_eq(stats_of(s).slot_waits, 1);
    end_calls(threads, SLOTS + 1);
    shut_down(s);
}
END_TEST

/* ---- The end inside ----------------------------------------------------- */

static void *exits(void *arg)
{
    vthread_exit(arg);
}

static void *blocks_and_exits(void *arg)
{
    vthread_block(exits, arg, NULL);
    ck_abort_msg("has returned");
}

static void *exits_in_a_short_call(void *arg)
{
    struct blocking blocking;
    ck_assert_int_eq(blocking_begin(&blocking, BLOCKING_SHORT, VTHREAD_NEVER),
                     0);
    return blocks_and_exits(arg);
}

/* The carrier is in no call then, and the slot is free. */
START_TEST(a_thread_may_end_in_its_call)
{
    vthread_scheduler_t *s = scheduler_with_slots();
    vthread_t threads[SLOTS];
    for (uintptr_t i = 0; i < CALLERS; i++) {
        ck_assert_ptr_eq(join(start_on(s, blocks_and_exits, pointer(i))),
                         pointer(i));
        ck_assert_ptr_eq(join(start_on(s, exits_in_a_short_call, pointer(i))),
                         pointer(i));
    }
    fill_slots(s, threads);
    end_calls(threads, SLOTS);
    shut_down(s);
}
END_TEST

/* ---- Continuations ------------------------------------------------------ */

static const char inner[] = "inner", outer[] = "outer";

static void yields_once(void *arg)
{
    *(int *)arg += vthread_continuation_yield(inner) == 0;
}

static vthread_continuation_t *continuation(const char *scope,
                                            void (*fn)(void *), void *arg)
{
    vthread_continuation_t *c;
    vthread_continuation_attr_t attr = {.scope = scope};
    ck_assert_int_eq(vthread_continuation_create(&c, &attr, fn, arg), 0);
    return c;
}

static void run(vthread_continuation_t *c)
{
    ck_assert_int_eq(vthread_continuation_run(c), 0);
}

/* One that begins inside of the call may leave: it stays in the call. */
static void *yields_in_call(void *arg)
{
    int resumed = 0;
    vthread_continuation_t *c = continuation(inner, yields_once, &resumed);
    ck_assert_int_eq(vthread_continuation_yield(outer), EBUSY);
    run(c);
    ck_assert_int_eq(resumed, 0);
    run(c);
    ck_assert_int_eq(resumed, 1);
    ck_assert_int_eq(vthread_continuation_destroy(c), 0);
    return arg;
}

static void blocks_inside(void *unused)
{
    (void)unused;
    ck_assert_int_eq(vthread_continuation_yield(outer), 0);
    ck_assert_int_eq(vthread_block(yields_in_call, NULL, NULL), 0);
    ck_assert_int_eq(vthread_continuation_yield(outer), 0);
}

static void *runs_one_that_blocks(void *arg)
{
    vthread_continuation_t *c = continuation(outer, blocks_inside, NULL);
    for (int i = 0; i < 3; i++) {
        ck_assert(!vthread_continuation_is_done(c));
        run(c);
    }
    ck_assert(vthread_continuation_is_done(c));
    ck_assert_int_eq(vthread_continuation_destroy(c), 0);
    return arg;
}

START_TEST(a_continuation_does_not_leave_its_call)
{
    on_both_kinds(runs_one_that_blocks);
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
    tcase_add_test(cases, a_thread_may_end_in_its_call);
    tcase_add_test(cases, a_continuation_does_not_leave_its_call);
    cases = new_case(suite, "slots");
    tcase_add_test(cases, those_who_find_no_slot_wait_while_others_run);
    tcase_add_test(cases, they_get_slots_in_the_order_in_which_they_came);
    tcase_add_test(cases,
                   waiting_for_a_slot_ends_by_deadline_and_cancellation);
    tcase_add_test(cases, a_short_call_waits_for_a_slot_when_they_are_few);
    tcase_add_test(cases, no_slot_is_lost_to_deadlines_and_cancellation);
    tcase_add_test(cases, a_pinned_thread_does_not_wait_for_a_slot);
    tcase_add_test(cases, without_slots_calls_keep_their_carrier);
    return run_suite(suite);
}
