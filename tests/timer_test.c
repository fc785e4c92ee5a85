/*
 * timer_test.c - the wheel: one deadline, many, its cost in steps (never in
 * time), and cancelling while it expires.
 */
#include "tests/wheel.h"

#include <pthread.h>
#include <sched.h>

#include "tests/random.h"

/* One deadline. */

START_TEST(a_new_wheel_is_empty_and_nothing_is_due)
{
    ck_assert(is_empty());
    ck_assert_ptr_null(wheel_expire(&wheel, 5 * YEAR, 10));
    ck_assert(is_empty());
}
END_TEST

START_TEST(a_thread_expires_at_its_deadline_and_is_disarmed)
{
    struct thread *t = new_thread();
    struct task *expired;

    ck_assert(arm(t, SECOND));
    ck_assert(is_armed(t));
    ck_assert_uint_eq(t->wheel, 3);
    ck_assert_ptr_null(wheel_expire(&wheel, SECOND - 1, 10));
    ck_assert(!has_timed_out(t));
    expired = wheel_expire(&wheel, SECOND + TICK, 10);
    ck_assert_ptr_eq(expired, &t->task);
    ck_assert_ptr_null(expired->next);
    ck_assert(has_timed_out(t));
    ck_assert(!is_armed(t));
    ck_assert(is_empty());
}
END_TEST

START_TEST(a_deadline_in_the_past_expires_at_the_next_call)
{
    struct thread *t = new_thread();

    ck_assert_ptr_null(wheel_expire(&wheel, SECOND, 10));
    ck_assert(arm(t, SECOND / 2));
    ck_assert_uint_le(wheel_next_ns(&wheel), SECOND);
    ck_assert_ptr_eq(wheel_expire(&wheel, SECOND, 10), &t->task);
    ck_assert(arm(t, 0));
    ck_assert_ptr_eq(wheel_expire(&wheel, SECOND, 10), &t->task);
    ck_assert(is_empty());
}
END_TEST

START_TEST(a_thread_whose_wait_has_ended_is_not_handed_out)
{
    struct thread **all = new_threads(3);

    for (int i = 0; i < 3; i++)
        arm(all[i], SECOND);
    atomic_store(&all[1]->word, THREAD_WOKEN);
    ck_assert_int_eq(expire_all(2 * SECOND), 2);
    ck_assert_uint_eq(atomic_load(&all[1]->word), THREAD_WOKEN);
    ck_assert(!is_armed(all[1]));
    ck_assert(is_empty());
}
END_TEST

START_TEST(a_thread_stays_armed_until_its_time_out_is_done)
{
    /* Or wheel_cancel, which asks without the lock, would return while the
     * time-out is still to come. */
    arm(new_thread(), SECOND);
    ck_assert_int_eq(expire_all(2 * SECOND), 1);
    ck_assert(!atomic_load(&was_disarmed_early));
}
END_TEST

START_TEST(cancelling_what_is_not_armed_does_nothing)
{
    struct thread *never = new_thread(), *expired = new_thread(),
                  *other = new_thread();

    wheel_cancel(&wheel, never);
    ck_assert(is_empty());
    arm(expired, SECOND);
    ck_assert_int_eq(expire_all(2 * SECOND), 1);
    arm(other, 3 * SECOND);
    wheel_cancel(&wheel, expired);
    ck_assert(is_armed(other));
    ck_assert_uint_eq(wheel.count, 1);
}
END_TEST

START_TEST(a_cancelled_thread_does_not_expire)
{
    struct thread *cancelled = new_thread(), *other = new_thread();

    arm(cancelled, SECOND);
    arm(other, SECOND);
    wheel_cancel(&wheel, cancelled);
    ck_assert(!is_armed(cancelled));
    ck_assert_int_eq(expire_all(HOUR), 1);
    ck_assert(!has_timed_out(cancelled));
    ck_assert(has_timed_out(other));
    ck_assert(is_empty());
}
END_TEST

START_TEST(the_earliest_deadline_is_announced)
{
    struct thread **all = new_threads(4);

    ck_assert(arm(all[0], 10 * SECOND));
    ck_assert(!arm(all[1], 20 * SECOND));
    ck_assert(arm(all[2], 5 * SECOND));
    ck_assert(!arm(all[3], 5 * SECOND));
    ck_assert_uint_ge(wheel_next_ns(&wheel), 5 * SECOND);
    ck_assert_uint_lt(wheel_next_ns(&wheel), 5 * SECOND + TICK);
    ck_assert_int_eq(expire_all(wheel_next_ns(&wheel)), 2);
    ck_assert_uint_ge(wheel_next_ns(&wheel), 10 * SECOND);
    ck_assert_uint_lt(wheel_next_ns(&wheel), 10 * SECOND + TICK);
}
END_TEST

/* Expires at its tick, neither a nanosecond before nor a tick after; and
 * sleeping until next_ns leads there. */
static void expect_exact(struct thread *t, uint64_t now_tick, uint64_t tick)
{
    uint64_t due_ns = tick * TICK;

    wheel_init(&wheel, 3, now_tick * TICK);
    if (arm(t, due_ns - tick * 7919 % TICK) && wheel_next_ns(&wheel) == due_ns
        && wheel_expire(&wheel, due_ns - 1, 10) == NULL
        && wheel_next_ns(&wheel) == due_ns && expire_all(due_ns) == 1
        && is_empty())
        return;
    ck_abort_msg("wrong from tick %llu to %llu", (unsigned long long)now_tick,
                 (unsigned long long)tick);
}

START_TEST(every_pair_of_near_ticks_is_exact)
{
    struct thread *t = new_thread();

    for (uint64_t now_tick = 0; now_tick < 130; now_tick++)
        for (uint64_t tick = now_tick + 1; tick < now_tick + 150; tick++)
            expect_exact(t, now_tick, tick);
}
END_TEST

START_TEST(ticks_around_every_border_of_levels_are_exact)
{
    struct thread *t = new_thread();
    uint64_t last = UINT64_MAX / TICK;

    for (int now_bit = 0; now_bit < 49; now_bit++)
        for (int bit = now_bit; bit < 49; bit++)
            for (int offset = 0; offset < 5 * 5; offset++) {
                uint64_t now = (UINT64_C(1) << now_bit) + offset / 5 - 2;
                uint64_t tick = (UINT64_C(1) << bit) + offset % 5 - 2;
                if (now < tick && tick <= last)
                    expect_exact(t, now, tick);
            }
}
END_TEST

START_TEST(the_last_deadlines_of_all_are_never_early)
{
    struct thread *t = new_thread();

    arm(t, CLOCK_NEVER - 1);
    ck_assert_uint_lt(wheel_next_ns(&wheel), CLOCK_NEVER);
    ck_assert_int_eq((int)wheel.count, 1);
    ck_assert_ptr_null(wheel_expire(&wheel, 500 * YEAR, 10));
    ck_assert_ptr_null(wheel_expire(&wheel, CLOCK_NEVER - 2, 10));
    ck_assert_ptr_null(wheel_expire(&wheel, CLOCK_NEVER - 2, 10));
    wheel_cancel(&wheel, t);
    ck_assert(is_empty());
}
END_TEST

/* Many. */

START_TEST(a_jump_of_years_expires_all_in_order)
{
    enum { COUNT = 1000 };
    struct thread **all = new_threads(COUNT);
    uint64_t before = 0;
    struct task *task;
    int count = 0;

    for (int i = 0; i < COUNT; i++)
        arm(all[i], (uint64_t)(i * 7919 % COUNT) * (YEAR / 100));
    while (wheel.count > 0) {
        task = wheel_expire(&wheel, 11 * YEAR, 64);
        for (; task != NULL; task = task->next) {
            uint64_t deadline_ns = ((struct thread *)task)->deadline_ns;
            ck_assert_uint_ge(deadline_ns, before);
            before = deadline_ns;
            count++;
        }
    }
    ck_assert_int_eq(count, COUNT);
    ck_assert(is_empty());
}
END_TEST

START_TEST(the_limit_holds_and_the_rest_stay_due)
{
    enum { COUNT = 100, LIMIT = 7 };
    struct thread **all = new_threads(COUNT);
    int left = COUNT;

    for (int i = 0; i < COUNT; i++)
        arm(all[i], 10 * TICK);
    while (left > 0) {
        int count = 0;
        struct task *task = wheel_expire(&wheel, 10 * TICK, LIMIT);
        for (; task != NULL; task = task->next)
            count++;
        ck_assert_int_eq(count, left < LIMIT ? left : LIMIT);
        left -= count;
        if (left > 0)
            ck_assert_uint_le(wheel_next_ns(&wheel), 10 * TICK);
    }
    ck_assert(is_empty());
}
END_TEST

START_TEST(a_limit_of_none_expires_none)
{
    struct thread *t = new_thread();

    arm(t, TICK);
    ck_assert_ptr_null(wheel_expire(&wheel, SECOND, 0));
    ck_assert_uint_le(wheel_next_ns(&wheel), SECOND);
    ck_assert_int_eq(expire_all(SECOND), 1);
}
END_TEST

START_TEST(an_older_time_does_no_harm)
{
    struct thread *t = new_thread();

    arm(t, 2 * SECOND);
    ck_assert_ptr_null(wheel_expire(&wheel, SECOND + TICK, 10));
    ck_assert_ptr_null(wheel_expire(&wheel, SECOND, 10));
    arm(new_thread(), SECOND);
    ck_assert_ptr_null(wheel_expire(&wheel, SECOND, 10));
    ck_assert_int_eq(expire_all(SECOND + TICK), 1);
    ck_assert_int_eq(expire_all(2 * SECOND + TICK), 1);
}
END_TEST

/* Cost, in threads touched. */

static unsigned long steps_since(unsigned long before)
{
    return atomic_load(&steps) - before;
}

START_TEST(a_million_arms_and_cancels_leave_nothing_and_cost_the_same)
{
    enum { OTHERS = 20000 };
    struct thread **others = new_threads(OTHERS), *t = new_thread();
    struct random random = random_start("timer_test");

    for (int i = 0; i < OTHERS; i++)
        arm(others[i], random_below(&random, HOUR));
    for (int i = 0; i < 1000000; i++) {
        unsigned long before = atomic_load(&steps);
        arm(t, random_below(&random, HOUR));
        wheel_cancel(&wheel, t);
        if (steps_since(before) > 4)
            ck_abort_msg("%lu steps", steps_since(before));
    }
    ck_assert_uint_eq(wheel.count, OTHERS);
    for (int i = 0; i < OTHERS; i++)
        wheel_cancel(&wheel, others[i]);
    ck_assert(is_empty());
}
END_TEST

START_TEST(empty_time_costs_nothing)
{
    struct thread *t = new_thread();
    unsigned long before;
    int looks = 0;

    arm(t, 20 * YEAR);
    before = atomic_load(&steps);
    while (wheel.count > 0) {
        wheel_expire(&wheel, wheel_next_ns(&wheel), 100);
        looks++;
    }
    ck_assert_int_eq(looks, 1);
    ck_assert_uint_le(steps_since(before), 4 * WHEEL_LEVELS);
}
END_TEST

START_TEST(a_wheel_that_was_not_turned_for_years_costs_no_more)
{
    struct thread *t = new_thread();
    unsigned long before = atomic_load(&steps);

    for (int i = 1; i <= 1000; i++) {
        arm(t, 3 * YEAR + (uint64_t)i * TICK);
        wheel_cancel(&wheel, t);
    }
    ck_assert_uint_le(steps_since(before), 4 * 1000);
    before = atomic_load(&steps);
    arm(t, 3 * YEAR);
    ck_assert_int_eq(expire_all(3 * YEAR + TICK), 1);
    ck_assert_uint_le(steps_since(before), 4 * WHEEL_LEVELS);
}
END_TEST

START_TEST(a_full_slot_is_moved_down_in_bounded_steps)
{
    enum { COUNT = 20000, LIMIT = 64 };
    struct thread **all = new_threads(COUNT);
    unsigned long total = atomic_load(&steps);
    uint64_t now_ns = HOUR;

    for (int i = 0; i < COUNT; i++)
        arm(all[i], HOUR + (uint64_t)i * 1000);
    while (wheel.count > 0) {
        unsigned long before = atomic_load(&steps);
        wheel_expire(&wheel, now_ns, LIMIT);
        ck_assert_uint_le(steps_since(before), 4 * LIMIT + SCAN_LIMIT);
        if (wheel_next_ns(&wheel) > now_ns)
            now_ns = wheel_next_ns(&wheel);
    }
    ck_assert_uint_le(steps_since(total), (unsigned long)COUNT * 4 * 6);
    ck_assert(is_empty());
}
END_TEST

/* Cancel and expiry at once. */

/* Of both ends of a wait, each owner has to meet so many. */
enum { OWNERS = 2, OWNED = 50 };

static unsigned enough; /* of either kind, for each owner */

#define RESUBMITTED THREAD_WOKEN

static _Atomic bool over;
static _Atomic uint64_t clock_ns;
static _Atomic unsigned long late;

struct owner {
    pthread_t os_thread;
    struct random random;
    struct thread *owned[OWNED];
    unsigned long timed_out, cancelled;
    unsigned in_a_row; /* cancelled since the last that timed out */
};

/* Ends the threads' waits, as a carrier would. */
static void *turn_wheel(void *unused)
{
    while (!atomic_load(&over)) {
        uint64_t now_ns = atomic_fetch_add(&clock_ns, TICK / 2);
        struct task *task = wheel_expire(&wheel, now_ns, 5);
        while (task != NULL) {
            struct thread *t = (struct thread *)task;
            task = task->next;
            atomic_store(&t->word, RESUBMITTED);
        }
    }
    return unused;
}

/* Begins a wait of a few ticks. */
static void begin_wait(struct owner *owner, struct thread *t)
{
    uint64_t now_ns = atomic_load(&clock_ns);

    arm(t, now_ns + random_below(&owner->random, 10 * TICK));
}

/* Ends it, unless its deadline has. */
static void end_wait(struct owner *owner, struct thread *t)
{
    uint64_t word = THREAD_PARKED;

    if (atomic_compare_exchange_strong(&t->word, &word, THREAD_PERMIT)) {
        owner->cancelled++;
        owner->in_a_row++;
        return;
    }
    while (atomic_load(&t->word) != RESUBMITTED)
        sched_yield();
    owner->timed_out++;
    owner->in_a_row = 0;
}

/* Lets the wheel turn, if it is that which is missing, and if all that it
 * has ended has been met: a turn may be long in coming. */
static void yield_to_wheel(struct owner *owner)
{
    if (owner->timed_out < enough && owner->cancelled > enough
        && owner->in_a_row >= OWNED) {
        owner->in_a_row = 0;
        sched_yield();
    }
}

/* A wait without a deadline, right after: nothing may end it. */
static void wait_for_nothing(struct thread *t)
{
    set_waiting(t);
    for (int i = 0; i < 20; i++)
        cpu_relax();
    if (atomic_load(&t->word) != THREAD_PARKED)
        atomic_fetch_add(&late, 1);
}

static void *own(void *argument)
{
    struct owner *owner = argument;

    for (int i = 0; i < OWNED; i++)
        begin_wait(owner, owner->owned[i]);
    while (owner->timed_out < enough || owner->cancelled < enough) {
        struct thread *t = owner->owned[random_below(&owner->random, OWNED)];
        end_wait(owner, t);
        wheel_cancel(&wheel, t);
        wait_for_nothing(t);
        begin_wait(owner, t);
        yield_to_wheel(owner);
    }
    for (int i = 0; i < OWNED; i++) {
        end_wait(owner, owner->owned[i]);
        wheel_cancel(&wheel, owner->owned[i]);
    }
    return NULL;
}

START_TEST(after_a_cancel_the_deadline_wakes_nobody)
{
    struct random random = random_start("timer_test");
    static struct owner owners[OWNERS];
    pthread_t turner;

    enough = how_often(1000, 10000);
    pthread_create(&turner, NULL, turn_wheel, NULL);
    for (int i = 0; i < OWNERS; i++) {
        owners[i].random.state = random_next(&random);
        for (int j = 0; j < OWNED; j++)
            owners[i].owned[j] = new_thread();
        pthread_create(&owners[i].os_thread, NULL, own, &owners[i]);
    }
    for (int i = 0; i < OWNERS; i++)
        pthread_join(owners[i].os_thread, NULL);
    atomic_store(&over, true);
    pthread_join(turner, NULL);
    ck_assert_uint_eq(atomic_load(&late), 0);
    ck_assert(is_empty());
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("timer");
    TCase *cases = new_case(suite, "one");
    tcase_add_checked_fixture(cases, setup, NULL);
    tcase_add_test(cases, a_new_wheel_is_empty_and_nothing_is_due);
    tcase_add_test(cases, a_thread_expires_at_its_deadline_and_is_disarmed);
    tcase_add_test(cases, a_deadline_in_the_past_expires_at_the_next_call);
    tcase_add_test(cases, a_thread_whose_wait_has_ended_is_not_handed_out);
    tcase_add_test(cases, a_thread_stays_armed_until_its_time_out_is_done);
    tcase_add_test(cases, cancelling_what_is_not_armed_does_nothing);
    tcase_add_test(cases, a_cancelled_thread_does_not_expire);
    tcase_add_test(cases, the_earliest_deadline_is_announced);
    tcase_add_test(cases, every_pair_of_near_ticks_is_exact);
    tcase_add_test(cases, ticks_around_every_border_of_levels_are_exact);
    tcase_add_test(cases, the_last_deadlines_of_all_are_never_early);
    cases = new_case(suite, "many");
    tcase_add_checked_fixture(cases, setup, NULL);
    tcase_add_test(cases, a_jump_of_years_expires_all_in_order);
    tcase_add_test(cases, the_limit_holds_and_the_rest_stay_due);
    tcase_add_test(cases, a_limit_of_none_expires_none);
    tcase_add_test(cases, an_older_time_does_no_harm);
    cases = new_case(suite, "cost");
    tcase_add_checked_fixture(cases, setup, NULL);
    tcase_add_test(cases,
                   a_million_arms_and_cancels_leave_nothing_and_cost_the_same);
    tcase_add_test(cases, empty_time_costs_nothing);
    tcase_add_test(cases, a_wheel_that_was_not_turned_for_years_costs_no_more);
    tcase_add_test(cases, a_full_slot_is_moved_down_in_bounded_steps);
    cases = new_case(suite, "at_once");
    tcase_add_checked_fixture(cases, setup, NULL);
    tcase_add_test(cases, after_a_cancel_the_deadline_wakes_nobody);
    return run_suite(suite);
}
