/*
 * simulate_deque_test.c - a carrier's queues on the simulated machine: an
 * owner who pushes and takes at both ends, and thieves.
 *
 * Each task is taken once, and what was written before its push is seen by
 * whoever has taken it.
 *
 * The bugs: of the exchange and the fence (E) of deque_pop_newest both are
 * taken out of the real code, or the fence alone, so that the owner looks at
 * head before thieves see the new tail.
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "platform/atomics.h"

static enum { NO_BUG, NO_EXCHANGE, NO_FENCE } planted;

static void move_tail_back(_Atomic uint64_t *tail, uint64_t value)
{
    if (planted == NO_EXCHANGE)
        atomic_store_explicit(tail, value, memory_order_release);
    else
        atomic_exchange_explicit(tail, value, memory_order_seq_cst);
}

static void fence_unless_planted(void)
{
    if (planted == NO_BUG)
        fence_after_rmw();
}

/* Nothing else in deque.h exchanges, or has that fence. */
#define fence_after_rmw() fence_unless_planted()
#undef atomic_exchange_explicit
#define atomic_exchange_explicit(tail, value, order)                          \
    move_tail_back((tail), (value))
#include "carrier/deque.h"

#include "tests/simulate/simulate.h"
#include "tests/support.h"

enum { RING = 256, TASKS = RING + 8 };

struct item {
    struct task task;
    int number; /* plain: published by the push */
    atomic_int taken;
};

static struct item items[TASKS];
static int pushed;            /* the owner's */
static struct deque deque;    /* the owner's */
static struct deque halves[2]; /* the thieves' */

static void push(int count)
{
    for (; count > 0; count--, pushed++) {
        items[pushed].number = pushed;
        simulate_expect(deque_push(&deque, &items[pushed].task));
    }
}

static void open_with(int count)
{
    memset(items, 0, sizeof items);
    memset(&deque, 0, sizeof deque);
    memset(halves, 0, sizeof halves);
    pushed = 0;
    simulate_expect(deque_init(&deque) == 0);
    for (int i = 0; i < 2; i++)
        simulate_expect(deque_init(&halves[i]) == 0);
    push(count);
}

static void open_empty(void)
{
    open_with(0);
}

static void open_with_two(void)
{
    open_with(2);
}

static void open_with_four(void)
{
    open_with(4);
}

/* The next push makes it grow. */
static void open_full(void)
{
    open_with(RING);
}

static void take(struct task *task)
{
    if (!task)
        return;
    struct item *item = (struct item *)task;
    simulate_expect(atomic_fetch_add_explicit(&item->taken, 1,
                                              memory_order_relaxed)
                    == 0);
    simulate_expect(item == &items[item->number]);
}

static void take_rest(struct deque *d)
{
    struct task *task;
    while ((task = deque_pop(d)) != NULL)
        take(task);
    deque_destroy(d);
}

static void all_taken(void)
{
    take_rest(&deque);
    for (int i = 0; i < 2; i++)
        take_rest(&halves[i]);
    for (int i = 0; i < pushed; i++)
        simulate_expect(atomic_load(&items[i].taken) == 1);
}

/* ---- The owner ---------------------------------------------------------- */

static void *pops_newest(void *number)
{
    take(deque_pop_newest(&deque));
    return number;
}

static void *pushes_and_pops_newest(void *number)
{
    push(1);
    return pops_newest(number);
}

static void *pops_two_newest(void *number)
{
    pops_newest(number);
    return pops_newest(number);
}

static void *pops_at_both_ends(void *number)
{
    take(deque_pop(&deque));
    return pops_newest(number);
}

/* The slot of the one that was popped is used again. */
static void *pops_and_pushes(void *number)
{
    pops_newest(number);
    return pushes_and_pops_newest(number);
}

static void *pops_oldest(void *number)
{
    take(deque_pop(&deque));
    push(1);
    take(deque_pop(&deque));
    return number;
}

static void *grows(void *number)
{
    push(1);
    return number;
}

/* ---- Thieves ------------------------------------------------------------ */

static void *steals(void *number)
{
    take(deque_steal_one(&deque));
    return number;
}

static void *steals_two(void *number)
{
    steals(number);
    return steals(number);
}

static void *steals_half(void *number)
{
    unsigned stolen = 0;
    uintptr_t thief = (uintptr_t)number % 2;
    take(deque_steal(&deque, &halves[thief], &stolen));
    return number;
}

/* ---- The programs ------------------------------------------------------- */

#define PROGRAM(title, open, ...)                                             \
    {.name = title, .begin = open, .end = all_taken,                          \
     .platform_threads = {__VA_ARGS__}}

static const struct {
    struct simulate_program program;
    unsigned preemptions;
    bool needs_fence; /* (E) */
} programs[] = {
    {PROGRAM("deque_last", open_empty, pushes_and_pops_newest, steals), 3,
     false},
    {PROGRAM("deque_last_of_three", open_empty, pushes_and_pops_newest,
             steals, steals),
     2, false},
    {PROGRAM("deque_newest", open_with_two, pops_newest, steals_two), 3,
     true},
    {PROGRAM("deque_two_thieves", open_with_two, pops_two_newest, steals,
             steals),
     2, true},
    {PROGRAM("deque_both_ends", open_with_two, pops_at_both_ends, steals), 3,
     false},
    {PROGRAM("deque_slot_again", open_with_two, pops_and_pushes, steals_two),
     2, true},
    {PROGRAM("deque_halves", open_with_four, pops_oldest, steals_half,
             steals_half),
     2, false},
    {PROGRAM("deque_grows", open_full, grows, steals_two), 1, false},
};

START_TEST(each_task_is_taken_once_in_every_schedule)
{
    planted = NO_BUG;
    simulate(&programs[_i].program,
             programs[_i].preemptions + (getenv("STRESS") != NULL));
}
END_TEST

/* ---- Without the fence -------------------------------------------------- */

static const struct simulate_program *program;
static struct simulate_bounds bounds;

static void explore(void)
{
    simulate_explore(program, &bounds);
}

static bool is_found(void)
{
    static char text[200000];
    int status = end_of_child(explore, text, sizeof text);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT
           && strstr(text, "item->taken") != NULL;
}

START_TEST(a_missing_fence_is_found_where_it_matters)
{
    planted = NO_EXCHANGE;
    program = &programs[_i].program;
    for (unsigned i = 0; i < 3 && programs[_i].needs_fence; i++) {
        bounds = (struct simulate_bounds){
            .strategy = (enum simulate_strategy)i,
            .preemptions = 2,
            .schedules = 20000,
            .delays = true};
        ck_assert_msg(is_found(), "%s is not found by strategy %u",
                      program->name, i);
    }
    /* It is due to the delays. */
    bounds = (struct simulate_bounds){.strategy = SIMULATE_EXHAUSTIVE,
                                      .preemptions = 2};
    ck_assert(simulate_explore(program, &bounds).is_complete);
}
END_TEST

/* On x86 the exchange is a fence; where loads may be made before its store it
 * is none. */
START_TEST(an_exchange_is_no_fence_where_loads_are_early)
{
    planted = NO_FENCE;
    program = &programs[_i].program;
    for (unsigned i = 0; i < 3 && programs[_i].needs_fence; i++) {
        bounds = (struct simulate_bounds){
            .strategy = (enum simulate_strategy)i,
            .preemptions = 3,
            .schedules = 100000,
            .early = true};
        ck_assert_msg(is_found(), "%s is not found by strategy %u",
                      program->name, i);
    }
    if (!programs[_i].needs_fence)
        return;
    bounds = (struct simulate_bounds){.strategy = SIMULATE_EXHAUSTIVE,
                                      .preemptions = 2,
                                      .delays = true};
    ck_assert(simulate_explore(program, &bounds).is_complete);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("simulate_deque");
    TCase *cases = new_case(suite, "schedules");
    tcase_set_timeout(cases, SIMULATE_TIMEOUT);
    tcase_add_loop_test(cases, each_task_is_taken_once_in_every_schedule, 0,
                        COUNT_OF(programs));
    tcase_add_loop_test(cases, a_missing_fence_is_found_where_it_matters, 0,
                        COUNT_OF(programs));
    tcase_add_loop_test(cases, an_exchange_is_no_fence_where_loads_are_early,
                        0, COUNT_OF(programs));
    return run_suite(suite);
}
