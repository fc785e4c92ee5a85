/*
 * waitlist_test.c - threads leave in the order they came, or from anywhere.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sync/waitlist.h"
#include "tests/random.h"
#include "tests/support.h"

enum { THREADS = 16 };

static struct thread *threads[THREADS];

static void setup(void)
{
    ck_assert_int_eq(thread_table_init(), 0);
    for (int i = 0; i < THREADS; i++) {
        threads[i] = thread_alloc();
        ck_assert_ptr_nonnull(threads[i]);
    }
}

static void append_range(struct waitlist *list, int from, int to)
{
    for (int i = from; i < to; i++)
        waitlist_append(list, threads[i]);
}

static void expect_order(struct waitlist *list, const int *order, int count)
{
    for (int i = 0; i < count; i++)
        ck_assert_ptr_eq(waitlist_take_first(list), threads[order[i]]);
    ck_assert(waitlist_is_empty(list));
    ck_assert_ptr_null(waitlist_take_first(list));
}

START_TEST(a_zeroed_list_is_empty_and_gives_nobody)
{
    struct waitlist list = {0};

    ck_assert(waitlist_is_empty(&list));
    ck_assert_ptr_null(waitlist_take_first(&list));
    ck_assert(waitlist_is_empty(&list));
}
END_TEST

START_TEST(threads_leave_in_the_order_they_came)
{
    struct waitlist list = {0};

    append_range(&list, 0, 4);
    ck_assert(!waitlist_is_empty(&list));
    expect_order(&list, (int[]){0, 1, 2, 3}, 4);
}
END_TEST

START_TEST(who_waits_knows_where_and_who_left_does_not)
{
    struct waitlist list = {0};

    append_range(&list, 0, 2);
    ck_assert_ptr_eq(threads[0]->wait_on, &list);
    ck_assert_ptr_eq(threads[1]->wait_on, &list);
    waitlist_take_first(&list);
    ck_assert_ptr_null(threads[0]->wait_on);
    ck_assert(waitlist_remove(&list, threads[1]));
    ck_assert_ptr_null(threads[1]->wait_on);
}
END_TEST

START_TEST(removal_at_the_ends_and_between_keeps_the_order)
{
    struct waitlist list = {0};

    append_range(&list, 0, 6);
    ck_assert(waitlist_remove(&list, threads[0]));
    ck_assert(waitlist_remove(&list, threads[3]));
    ck_assert(waitlist_remove(&list, threads[5]));
    waitlist_append(&list, threads[0]);
    expect_order(&list, (int[]){1, 2, 4, 0}, 4);
}
END_TEST

START_TEST(removing_a_thread_that_was_taken_says_no)
{
    struct waitlist list = {0};

    append_range(&list, 0, 2);
    ck_assert_ptr_eq(waitlist_take_first(&list), threads[0]);
    ck_assert(!waitlist_remove(&list, threads[0]));
    expect_order(&list, (int[]){1}, 1);
    ck_assert(!waitlist_remove(&list, threads[1]));
}
END_TEST

START_TEST(removing_from_the_wrong_list_says_no)
{
    struct waitlist mine = {0}, other = {0};

    append_range(&mine, 0, 1);
    append_range(&other, 1, 2);
    ck_assert(!waitlist_remove(&other, threads[0]));
    expect_order(&mine, (int[]){0}, 1);
    expect_order(&other, (int[]){1}, 1);
}
END_TEST

START_TEST(a_mark_is_told_and_changes_nothing_else)
{
    struct waitlist list = {0};

    append_range(&list, 0, 1);
    waitlist_append_marked(&list, threads[1]);
    append_range(&list, 2, 3);
    ck_assert(!waitlist_is_marked(threads[0]));
    ck_assert(waitlist_is_marked(threads[1]));
    ck_assert(waitlist_has(&list, threads[1]));
    ck_assert_ptr_eq(waitlist_first(&list), threads[0]);
    ck_assert(waitlist_remove(&list, threads[1]));
    ck_assert_ptr_null(threads[1]->wait_on);
    expect_order(&list, (int[]){0, 2}, 2);
    ck_assert_ptr_null(waitlist_first(&list));
}
END_TEST

START_TEST(all_are_taken_as_a_chain_in_their_order)
{
    struct waitlist list = {.kind = WAIT_LATCH}, other = {0};

    ck_assert_ptr_null(waitlist_take_all(&list));
    append_range(&list, 0, 3);
    struct thread *t = waitlist_take_all(&list);
    ck_assert(waitlist_is_empty(&list));
    ck_assert_uint_eq(list.kind, WAIT_LATCH);
    for (int i = 0; i < 3; i++) {
        ck_assert_ptr_eq(t, threads[i]);
        ck_assert(!waitlist_remove(&list, t));
        struct thread *next = waitlist_chain_next(t);
        waitlist_append(&other, t);
        t = next;
    }
    ck_assert_ptr_null(t);
    expect_order(&other, (int[]){0, 1, 2}, 3);
}
END_TEST

/* The model: the indices on a list, in order. */
struct model {
    int order[THREADS];
    int count;
};

static void model_remove(struct model *model, int position)
{
    model->count--;
    memmove(&model->order[position], &model->order[position + 1],
            sizeof(int) * (size_t)(model->count - position));
}

static int model_find(const struct model *model, int index)
{
    int position = 0;

    while (position < model->count && model->order[position] != index)
        position++;
    return position;
}

/* Whether both directions of the links say what the model says. */
static bool links_match(const struct waitlist *list,
                        const struct model *model)
{
    uint32_t before = 0, number = list->first;

    for (int i = 0; i < model->count; i++) {
        const struct thread *t = threads[model->order[i]];
        if (number != thread_number(t) || t->wait_prev != before)
            return false;
        before = number;
        number = t->wait_next;
    }
    return number == 0 && list->last == before;
}

static void append_or_remove(struct waitlist *list, struct model *model,
                             int index)
{
    int position = model_find(model, index);

    if (position == model->count) {
        ck_assert(!waitlist_remove(list, threads[index]));
        waitlist_append(list, threads[index]);
        model->order[model->count++] = index;
    } else {
        ck_assert(waitlist_remove(list, threads[index]));
        model_remove(model, position);
    }
}

static void take_first(struct waitlist *list, struct model *model)
{
    struct thread *first = waitlist_take_first(list);

    if (model->count == 0) {
        ck_assert_ptr_null(first);
    } else {
        ck_assert_ptr_eq(first, threads[model->order[0]]);
        model_remove(model, 0);
    }
}

START_TEST(random_use_matches_a_model)
{
    struct random random = random_start("waitlist_test");
    struct waitlist list = {0};
    struct model model = {.count = 0};

    for (int i = 0; i < 100000; i++) {
        if (random_below(&random, 4) == 0)
            take_first(&list, &model);
        else
            append_or_remove(&list, &model,
                             (int)random_below(&random, THREADS));
        ck_assert(links_match(&list, &model));
    }
}
END_TEST

static Suite *waitlist_suite(void)
{
    Suite *suite = suite_create("waitlist");
    TCase *order = tcase_create("order");

    tcase_add_checked_fixture(order, setup, NULL);
    tcase_add_test(order, a_zeroed_list_is_empty_and_gives_nobody);
    tcase_add_test(order, threads_leave_in_the_order_they_came);
    tcase_add_test(order, who_waits_knows_where_and_who_left_does_not);
    tcase_add_test(order, removal_at_the_ends_and_between_keeps_the_order);
    tcase_add_test(order, removing_a_thread_that_was_taken_says_no);
    tcase_add_test(order, removing_from_the_wrong_list_says_no);
    tcase_add_test(order, a_mark_is_told_and_changes_nothing_else);
    tcase_add_test(order, all_are_taken_as_a_chain_in_their_order);
    tcase_add_test(order, random_use_matches_a_model);
    suite_add_tcase(suite, order);
    return suite;
}

int main(void)
{
    return run_suite(waitlist_suite());
}
