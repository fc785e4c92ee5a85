/*
 * multiwait_test.c - nodes on lists, and which one event ends a wait.
 */
#include <errno.h>

#include "platform/memory.h"
#include "sync/multiwait.h"
#include "tests/random.h"
#include "tests/threads.h"

enum { NODES = 5 };

static struct multiwait *new_wait(uint32_t enough)
{
    struct multiwait *m = multiwait_create(thread_self(), NODES, 16, enough);
    ck_assert_ptr_nonnull(m);
    return m;
}

START_TEST(nodes_leave_in_order_and_from_between)
{
    struct multiwait_list list = {0};
    struct multiwait *m = new_wait(1);
    ck_assert(multiwait_list_is_empty(&list));
    ck_assert_ptr_null(multiwait_take_first(&list));
    for (int i = 0; i < NODES; i++)
        multiwait_enter(&list, &m->nodes[i]);
    multiwait_leave(&m->nodes[2]);
    multiwait_leave(&m->nodes[2]); /* once more is no harm */
    multiwait_leave(&m->nodes[4]);
    ck_assert_ptr_eq(multiwait_take_first(&list), &m->nodes[0]);
    ck_assert_ptr_eq(multiwait_take_first(&list), &m->nodes[1]);
    ck_assert(!multiwait_list_is_empty(&list));
    ck_assert_ptr_eq(multiwait_take_first(&list), &m->nodes[3]);
    ck_assert(multiwait_list_is_empty(&list));
    multiwait_free(m);
}
END_TEST

START_TEST(one_claim_wins)
{
    struct multiwait *m = new_wait(1);
    ck_assert(multiwait_claim(&m->nodes[3], true));
    for (int i = 0; i < NODES; i++) {
        ck_assert(!multiwait_claim(&m->nodes[i], true));
        ck_assert(!multiwait_claim(&m->nodes[i], false));
    }
    ck_assert_ptr_eq(multiwait_winner(m), &m->nodes[3]);
    multiwait_free(m);
}
END_TEST

START_TEST(the_last_event_wins_or_the_first_that_decides)
{
    struct multiwait *m = new_wait(3);
    ck_assert(!multiwait_claim(&m->nodes[0], false));
    ck_assert(!multiwait_claim(&m->nodes[1], false));
    ck_assert(multiwait_claim(&m->nodes[4], false));
    ck_assert_ptr_eq(multiwait_winner(m), &m->nodes[4]);
    multiwait_free(m);
    m = new_wait(3);
    ck_assert(!multiwait_claim(&m->nodes[0], false));
    ck_assert(multiwait_claim(&m->nodes[1], true));
    ck_assert(!multiwait_claim(&m->nodes[2], false));
    ck_assert_ptr_eq(multiwait_winner(m), &m->nodes[1]);
    multiwait_free(m);
}
END_TEST

START_TEST(after_a_time_out_nobody_wins)
{
    struct multiwait *m = new_wait(1);
    ck_assert_int_eq(multiwait_wait(m, 1), ETIMEDOUT);
    ck_assert(!multiwait_claim(&m->nodes[0], true));
    multiwait_free(m);
}
END_TEST

START_TEST(there_may_be_no_memory)
{
    ck_assert_ptr_null(multiwait_create(thread_self(), UINT32_MAX, 0, 1));
    ck_assert_ptr_null(multiwait_create(thread_self(), 1, SIZE_MAX - 64, 1));
    struct thread *self = thread_self();
    memory_fail_after(1);
    ck_assert_ptr_null(multiwait_create(self, 1, 0, 1));
    memory_fail_after(0);
}
END_TEST

/* Claims from several OS threads, against a deadline. */
struct contest {
    struct multiwait *wait;
    _Atomic unsigned wins, claims;
    _Atomic unsigned turn, done;
    unsigned turns;
};

static void *claims(void *arg)
{
    struct contest *c = arg;
    for (unsigned turn = 1; turn <= c->turns; turn++) {
        while (atomic_load(&c->turn) < turn)
            sched_yield();
        if (multiwait_claim(&c->wait->nodes[0], true)) {
            atomic_fetch_add(&c->wins, 1);
            thread_wake(c->wait->thread);
        }
        atomic_fetch_add(&c->done, 1);
    }
    return NULL;
}

START_TEST(a_time_out_and_claims_have_one_winner)
{
    enum { CLAIMERS = 2 };
    struct random random = random_start("multiwait_test");
    struct contest c = {.turns = how_often(100, 3000)};
    pthread_t threads[CLAIMERS];
    unsigned woken = 0;
    for (int i = 0; i < CLAIMERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, claims, &c), 0);
    for (unsigned turn = 1; turn <= c.turns; turn++) {
        c.wait = new_wait(1);
        atomic_store(&c.turn, turn);
        int err = multiwait_wait(
            c.wait, vthread_after(random_below(&random, 3 * VTHREAD_US)));
        ck_assert(err == 0 || err == ETIMEDOUT);
        woken += err == 0;
        while (atomic_load(&c.done) < turn * CLAIMERS)
            sched_yield();
        ck_assert_uint_eq(atomic_load(&c.wins), woken);
        multiwait_free(c.wait);
    }
    for (int i = 0; i < CLAIMERS; i++)
        pthread_join(threads[i], NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("multiwait");
    TCase *cases = new_case(suite, "multiwait");
    tcase_add_test(cases, nodes_leave_in_order_and_from_between);
    tcase_add_test(cases, one_claim_wins);
    tcase_add_test(cases, the_last_event_wins_or_the_first_that_decides);
    tcase_add_test(cases, after_a_time_out_nobody_wins);
    tcase_add_test(cases, there_may_be_no_memory);
    tcase_add_test(cases, a_time_out_and_claims_have_one_winner);
    return run_suite(suite);
}
