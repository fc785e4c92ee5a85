/*
 * deque_test.c - the queues of a carrier: who takes what, and that nobody
 * takes what another has taken.
 */
#include <pthread.h>
#include <sched.h>

#include "carrier/deque.h"
#include "tests/support.h"

#define TASKS 1000

static struct deque deque;
static struct task tasks[TASKS];

static void open_deque(void)
{
    memset(&deque, 0, sizeof deque);
    ck_assert_int_eq(deque_init(&deque), 0);
}

static void push(int first, int end)
{
    for (int i = first; i < end; i++)
        ck_assert(deque_push(&deque, &tasks[i]));
}

static int index_of(struct task *task)
{
    return task ? (int)(task - tasks) : -1;
}

START_TEST(oldest_and_newest_are_taken)
{
    open_deque();
    ck_assert_ptr_null(deque_pop(&deque));
    ck_assert_ptr_null(deque_pop_newest(&deque));
    ck_assert_ptr_null(deque_steal_one(&deque));
    push(0, 5);
    ck_assert_int_eq(index_of(deque_pop_newest(&deque)), 4);
    ck_assert_int_eq(index_of(deque_steal_one(&deque)), 0);
    ck_assert_int_eq(index_of(deque_pop(&deque)), 1);
    ck_assert_int_eq(index_of(deque_pop_newest(&deque)), 3);
    ck_assert_int_eq(index_of(deque_pop_newest(&deque)), 2);
    ck_assert(deque_is_empty(&deque));
    ck_assert_ptr_null(deque_pop_newest(&deque));
    push(5, 6);
    ck_assert_int_eq(index_of(deque_steal_one(&deque)), 5);
    ck_assert_ptr_null(deque_pop_newest(&deque));
    push(6, 7);
    ck_assert_int_eq(index_of(deque_pop_newest(&deque)), 6);
    deque_destroy(&deque);
}
END_TEST

START_TEST(it_grows_and_keeps_the_order)
{
    open_deque();
    push(0, TASKS);
    for (int i = 0; i < TASKS / 2; i++) {
        ck_assert_int_eq(index_of(deque_pop_newest(&deque)), TASKS - 1 - i);
        ck_assert_int_eq(index_of(deque_steal_one(&deque)), i);
    }
    ck_assert(deque_is_empty(&deque));
    deque_destroy(&deque);
}
END_TEST

/* The owner pushes few and pops them again, so the last one is what owner
 * and thieves fight for; each must be taken once. */
static _Atomic int taken[TASKS];
static _Atomic bool is_over;

static void take(struct task *task)
{
    if (task)
        atomic_fetch_add(&taken[index_of(task)], 1);
}

static void *steals(void *arg)
{
    while (!atomic_load(&is_over))
        take(deque_steal_one(&deque));
    return arg;
}

static void push_and_pop(int round)
{
    int count = 1 + round % 3;
    for (int i = 0; i < count; i++)
        atomic_store(&taken[i], 0);
    push(0, count);
    for (int i = 0; i < count; i++)
        take(round % 5 == 4 ? deque_pop(&deque) : deque_pop_newest(&deque));
    for (int i = 0; i < count; i++) {
        while (atomic_load(&taken[i]) == 0)
            sched_yield();
        ck_assert_int_eq(atomic_load(&taken[i]), 1);
    }
}

START_TEST(what_owner_and_thieves_fight_for_is_taken_once)
{
    pthread_t thieves[2];
    open_deque();
    for (int i = 0; i < 2; i++)
        pthread_create(&thieves[i], NULL, steals, NULL);
    int rounds = (int)how_often(20000, 200000);
    for (int round = 0; round < rounds; round++)
        push_and_pop(round);
    atomic_store(&is_over, true);
    for (int i = 0; i < 2; i++)
        pthread_join(thieves[i], NULL);
    deque_destroy(&deque);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("deque");
    TCase *cases = tcase_create("order");
    tcase_set_timeout(cases, PATIENCE_S);
    suite_add_tcase(suite, cases);
    tcase_add_test(cases, oldest_and_newest_are_taken);
    tcase_add_test(cases, it_grows_and_keeps_the_order);
    tcase_add_test(cases, what_owner_and_thieves_fight_for_is_taken_once);
    return run_suite(suite);
}
