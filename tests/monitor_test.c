/*
 * monitor_test.c - what the monitor says of carriers that do not return.
 *
 * A pool with a client of its own and plain jobs for tasks, so that each
 * look of the monitor is seen: a job spins until the looks that the claim is
 * about have taken place.
 */
#include <check.h>
#include <sched.h>
#include <stdatomic.h>

#include "carrier/pool.h"
#include "platform/atomics.h"
#include "platform/clock.h"
#include "platform/futex.h"
#include "tests/support.h"

#define STUCK_NS 1000000

struct job {
    struct task task;
    void (*run)(void);
};

static struct pool *pool;
static _Atomic uint32_t interrupted;
static _Atomic uint64_t due_ns;
static atomic_int ended;
static _Atomic bool is_over;

/* Who is watched, and what was said of it. */
static struct carrier *_Atomic watched;
static _Atomic uint32_t watched_tick;
static atomic_int looks;
static _Atomic uint64_t held_ns, starved_ns, starved_most_ns;
static _Atomic unsigned waiting;

/* ---- The client --------------------------------------------------------- */

static void work(struct carrier *carrier)
{
    struct task *task;
    while ((task = carrier_next(carrier)) != NULL) {
        ((struct job *)task)->run();
        atomic_fetch_add(&ended, 1);
    }
}

static void poll(struct carrier *carrier, uint64_t deadline_ns)
{
    (void)carrier;
    if (deadline_ns > 0)
        futex_wait(&interrupted, 0, deadline_ns);
    atomic_store(&interrupted, 0);
}

static bool poll_events(void)
{
    return false;
}

static void poll_interrupt(struct carrier *carrier)
{
    (void)carrier;
    atomic_store(&interrupted, 1);
    futex_wake(&interrupted, 1);
}

static uint64_t next_deadline(struct pool *p)
{
    (void)p;
    return atomic_load(&due_ns);
}

static void stuck(struct carrier *carrier, const struct pool_stuck *seen)
{
    if (carrier != atomic_load(&watched)
        || seen->tick != atomic_load(&watched_tick))
        return;
    ck_assert_uint_ge(seen->held_ns, STUCK_NS);
    ck_assert_uint_ge(seen->held_ns, seen->starved_ns);
    ck_assert_uint_gt(seen->held_ns, atomic_load(&held_ns));
    atomic_store(&held_ns, seen->held_ns);
    atomic_store(&waiting, seen->waiting);
    if (seen->starved_ns > atomic_load(&starved_most_ns))
        atomic_store(&starved_most_ns, seen->starved_ns);
    /* Last: the job that waits for it looks at the others then. */
    atomic_store(&starved_ns, seen->starved_ns);
    atomic_fetch_add(&looks, 1);
}

static void nothing(struct carrier *carrier)
{
    (void)carrier;
}

static void not_counted(struct carrier *victim, unsigned count)
{
    (void)victim;
    (void)count;
}

static void run_on(unsigned parallelism, void (*run)(void), int jobs)
{
    static struct job job;
    static const struct pool_client client = {
        .work = work,
        .poll = poll,
        .poll_events = poll_events,
        .poll_interrupt = poll_interrupt,
        .next_deadline = next_deadline,
        .stuck = stuck,
        .stolen = not_counted,
        .carrier_enter = nothing,
        .carrier_leave = nothing,
    };
    struct pool_attr attr = {
        .name = "test",
        .parallelism = parallelism,
        .max_carriers = 4,
        .stuck_ns = STUCK_NS,
        .client = &client,
    };
    atomic_store(&due_ns, CLOCK_NEVER);
    atomic_store(&ended, 0);
    atomic_store(&starved_ns, 0);
    atomic_store(&starved_most_ns, 0);
    ck_assert_int_eq(pool_create(&pool, &attr), 0);
    job.run = run;
    pool_submit(pool, &job.task);
    while (atomic_load(&ended) < jobs)
        sched_yield();
    pool_destroy(pool);
}

/* ---- Jobs --------------------------------------------------------------- */

/* From now on this task is the one that looks are counted of. */
static void watch_me(void)
{
    struct carrier *self = carrier_self();
    atomic_store(&watched, NULL);
    atomic_store(&held_ns, 0);
    atomic_store(&starved_ns, 0);
    atomic_store(&watched_tick, carrier_tick(self));
    atomic_store(&watched, self);
}

static void until_looks(int more)
{
    int first = atomic_load(&looks);
    while (atomic_load(&looks) - first < more)
        cpu_relax();
}

static void until_starved(void)
{
    while (atomic_load(&starved_ns) < STUCK_NS)
        cpu_relax();
}

static void returns(void)
{
}

static struct job other = {.run = returns};

static void goes_on(void)
{
    watch_me();
    until_looks(5);
    ck_assert_uint_eq(atomic_load(&starved_most_ns), 0);
    ck_assert_uint_eq(atomic_load(&waiting), 0);
}

START_TEST(one_that_goes_on_while_nobody_waits_starves_nobody)
{
    run_on(1, goes_on, 1);
    ck_assert_int_ge(atomic_load(&looks), 5);
}
END_TEST

static void goes_on_while_one_waits(void)
{
    watch_me();
    pool_submit(pool, &other.task);
    until_starved();
    ck_assert_uint_ge(atomic_load(&waiting), 1);
}

START_TEST(one_that_goes_on_while_another_is_queued_starves_it)
{
    run_on(1, goes_on_while_one_waits, 2);
}
END_TEST

static void goes_on_while_one_is_woken(void)
{
    watch_me();
    pool_submit_next(pool, &other.task);
    until_starved();
}

START_TEST(a_task_in_the_slot_of_the_woken_is_starved_too)
{
    run_on(1, goes_on_while_one_is_woken, 2);
}
END_TEST

static void goes_on_while_a_timer_is_due(void)
{
    watch_me();
    atomic_store(&due_ns, 1);
    until_starved();
    atomic_store(&due_ns, CLOCK_NEVER);
}

START_TEST(a_timer_that_is_due_is_starved_too)
{
    run_on(1, goes_on_while_a_timer_is_due, 1);
}
END_TEST

static void goes_on_beside_a_free_carrier(void)
{
    watch_me();
    pool_submit(pool, &other.task);
    while (atomic_load(&ended) < 1)
        cpu_relax();
    until_looks(5);
    ck_assert_uint_eq(atomic_load(&starved_ns), 0);
}

START_TEST(a_task_that_another_carrier_has_taken_is_not_starved)
{
    run_on(2, goes_on_beside_a_free_carrier, 2);
}
END_TEST

static void goes_on_while_a_bound_one_waits(void)
{
    watch_me();
    pool_submit_to(carrier_self(), &other.task);
    until_starved();
}

START_TEST(a_bound_task_is_starved_though_other_carriers_are_free)
{
    run_on(2, goes_on_while_a_bound_one_waits, 2);
}
END_TEST

static void blocks_in_between(void)
{
    watch_me();
    until_looks(1);
    uint32_t before = carrier_tick(carrier_self());
    carrier_block_begin(carrier_self());
    carrier_block_end(carrier_self());
    ck_assert_uint_ne(carrier_tick(carrier_self()), before);
    watch_me(); /* whose check is that held_ns begins anew */
    until_looks(2);
}

START_TEST(one_that_has_blocked_in_between_begins_anew)
{
    run_on(1, blocks_in_between, 1);
}
END_TEST

static void waits_for_a_turn(void)
{
    while (!atomic_load(&is_over))
        cpu_relax();
}

static struct job busy = {.run = waits_for_a_turn};

/* One carrier goes on, a task waits for it, and none is free: that is not
 * the fault of one who is in a call. */
static void is_in_a_call_meanwhile(void)
{
    struct carrier *self = carrier_self();
    ck_assert(pool_take_slot(pool));
    carrier_call_block(self);
    watch_me();
    pool_submit(pool, &busy.task);
    pool_submit(pool, &other.task);
    until_looks(5);
    ck_assert_uint_eq(atomic_load(&starved_most_ns), 0);
    atomic_store(&is_over, true);
    ck_assert(carrier_call_leave(self));
    pool_give_slot(pool);
}

START_TEST(one_in_a_call_that_is_handed_off_starves_nobody)
{
    run_on(1, is_in_a_call_meanwhile, 3);
}
END_TEST

/* ---- The suite ---------------------------------------------------------- */

int main(void)
{
    Suite *suite = suite_create("monitor");
    TCase *cases = tcase_create("stuck");
    tcase_set_timeout(cases, PATIENCE_S);
    suite_add_tcase(suite, cases);
    tcase_add_test(cases, one_that_goes_on_while_nobody_waits_starves_nobody);
    tcase_add_test(cases, one_that_goes_on_while_another_is_queued_starves_it);
    tcase_add_test(cases, a_task_in_the_slot_of_the_woken_is_starved_too);
    tcase_add_test(cases, a_timer_that_is_due_is_starved_too);
    tcase_add_test(cases, a_task_that_another_carrier_has_taken_is_not_starved);
    tcase_add_test(cases,
                   a_bound_task_is_starved_though_other_carriers_are_free);
    tcase_add_test(cases, one_that_has_blocked_in_between_begins_anew);
    tcase_add_test(cases, one_in_a_call_that_is_handed_off_starves_nobody);
    return run_suite(suite);
}
