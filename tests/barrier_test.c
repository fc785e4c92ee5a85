/*
 * barrier_test.c - all wait for the last, round after round.
 */
#include <errno.h>

#include "tests/homes.h"
#include "tests/random.h"
#include "tests/threads.h"

static vthread_barrier_t barrier;
static uint64_t deadline;

static void expect_nothing_left(void)
{
    ck_assert_uint_eq(barrier.word, 0);
    ck_assert_uint_eq(barrier.waiting[0], 0);
}

/* The result, + 100 if it was the last, + 1000 if an interrupt is pending. */
static void *waits(void *arg)
{
    bool is_last = false;
    (void)arg;
    int err = vthread_barrier_wait_until(&barrier, &is_last, deadline);
    return pointer((uintptr_t)err + (is_last ? 100 : 0)
                   + (vthread_interrupted() ? 1000 : 0));
}

static void *platform_waits(void *arg)
{
    struct platform_parker *p = arg;
    atomic_store(&p->handle, vthread_self());
    p->result = (int)(uintptr_t)waits(NULL);
    return NULL;
}

static void *is_alone(void *arg)
{
    bool is_last = false;
    ck_assert_int_eq(vthread_barrier_wait(&barrier, &is_last), 0);
    ck_assert(is_last);
    ck_assert_int_eq(vthread_barrier_wait(&barrier, NULL), 0);
    ck_assert_int_eq(vthread_barrier_wait_until(&barrier, NULL, 0), 0);
    ck_assert_int_eq(vthread_barrier_trywait(&barrier), 0);
    expect_nothing_left();
    return arg;
}

START_TEST(a_zeroed_barrier_is_for_one)
{
    on_both_kinds(is_alone);
}
END_TEST

START_TEST(init_refuses_a_barrier_for_nobody)
{
    vthread_barrier_t b = VTHREAD_BARRIER_INITIALIZER(3);
    ck_assert_int_eq(vthread_barrier_init(&barrier, 3), 0);
    ck_assert_int_eq(memcmp(&b, &barrier, sizeof b), 0);
    ck_assert_int_eq(vthread_barrier_init(&b, 0), EINVAL);
    ck_assert_int_eq(vthread_barrier_init(&b, UINT32_MAX), EINVAL);
    ck_assert_int_eq(memcmp(&b, &barrier, sizeof b), 0);
}
END_TEST

START_TEST(all_go_when_the_last_of_both_kinds_has_come)
{
    struct platform_parker p;
    vthread_barrier_init(&barrier, 4);
    for (int round = 0; round < 2; round++) {
        vthread_t a = start(waits, NULL), b = start(waits, NULL);
        until_waiting(a);
        until_waiting(b);
        ck_assert_int_eq(vthread_barrier_trywait(&barrier), EBUSY);
        until_waiting(start_parker(&p, platform_waits));
        ck_assert_ptr_eq(waits(NULL), pointer(100));
        expect_nothing_left();
        ck_assert_ptr_eq(join(a), pointer(0));
        ck_assert_ptr_eq(join(b), pointer(0));
        pthread_join(p.pthread, NULL);
        ck_assert_int_eq(p.result, 0);
    }
}
END_TEST

START_TEST(a_try_by_the_last_lets_all_go)
{
    vthread_barrier_init(&barrier, 2);
    ck_assert_int_eq(vthread_barrier_trywait(&barrier), EBUSY);
    expect_nothing_left();
    vthread_t a = start(waits, NULL);
    until_waiting(a);
    ck_assert_int_eq(vthread_barrier_trywait(&barrier), 0);
    ck_assert_ptr_eq(join(a), pointer(0));
    expect_nothing_left();
}
END_TEST

static void *leaves_early(void *arg)
{
    vthread_barrier_init(&barrier, 2);
    deadline = vthread_after(2 * VTHREAD_MS);
    ck_assert_ptr_eq(waits(NULL), pointer(ETIMEDOUT));
    ck_assert_uint_ge(vthread_now(), deadline);
    expect_nothing_left();
    deadline = 0;
    ck_assert_ptr_eq(waits(NULL), pointer(ETIMEDOUT));
    deadline = VTHREAD_NEVER;
    vthread_interrupt(vthread_self());
    ck_assert_ptr_eq(waits(NULL), pointer(ECANCELED));
    expect_nothing_left();
    return arg;
}

START_TEST(who_leaves_early_is_not_counted)
{
    on_both_kinds(leaves_early);
    vthread_t a = start(waits, NULL);
    until_waiting(a);
    vthread_interrupt(a);
    ck_assert_ptr_eq(join(a), pointer(ECANCELED));
    a = start(waits, NULL);
    until_waiting(a);
    ck_assert_ptr_eq(waits(NULL), pointer(100));
    ck_assert_ptr_eq(join(a), pointer(0));
    expect_nothing_left();
}
END_TEST

static void *comes_last_after_an_interrupt(void *arg)
{
    vthread_t t;
    vthread_barrier_init(&barrier, 2);
    ck_assert_int_eq(vthread_create(&t, NULL, waits, NULL), 0);
    until_waiting(t);
    vthread_interrupt(t);
    ck_assert_ptr_eq(waits(NULL), pointer(100));
    ck_assert_ptr_eq(join(t), pointer(1000));
    return arg;
}

START_TEST(an_interrupt_sticks_if_the_last_comes_before_the_thread_runs)
{
    vthread_scheduler_t *s = scheduler_of(1);
    join(start_on(s, comes_last_after_an_interrupt, NULL));
    shut_down(s);
    expect_nothing_left();
}
END_TEST

/* ---- Stress ------------------------------------------------------------- */

enum { PARTIES = 9, ROUNDS = UNDER_SANITIZER ? 40 : 200 };

static struct shared {
    vthread_barrier_t barrier;
    unsigned written[PARTIES][2]; /* of this round and the next */
    atomic_uint lasts, early;
} *shared;

struct party {
    uint64_t seed;
    unsigned number;
};

/* Comes again until the round is complete. */
static bool meet(struct random *random)
{
    bool is_last = false;
    int err;
    do {
        err = random_below(random, 2)
                  ? vthread_barrier_wait(&shared->barrier, &is_last)
                  : vthread_barrier_wait_until(
                      &shared->barrier, &is_last,
                      vthread_after(random_below(random, 50 * VTHREAD_US)));
        if (err != 0)
            atomic_fetch_add(&shared->early, 1);
        ck_assert(err == 0 || err == ETIMEDOUT || err == ECANCELED);
    } while (err != 0);
    return is_last;
}

static void *takes_part(void *arg)
{
    struct party *party = arg;
    struct random random = {party->seed};
    for (unsigned round = 1; round <= ROUNDS; round++) {
        shared->written[party->number][round % 2] = round;
        if (meet(&random))
            atomic_fetch_add(&shared->lasts, 1);
        for (unsigned i = 0; i < PARTIES; i++)
            ck_assert_uint_eq(shared->written[i][round % 2], round);
    }
    return NULL;
}

START_TEST(every_round_is_complete_and_has_one_last)
{
    struct random random = random_start("barrier_test");
    static struct party party[PARTIES];
    vthread_t t[PARTIES - 1];
    pthread_t p;
    shared = calloc(1, sizeof *shared);
    vthread_barrier_init(&shared->barrier, PARTIES);
    for (unsigned i = 0; i < PARTIES; i++)
        party[i] = (struct party){random_next(&random), i};
    for (unsigned i = 0; i < PARTIES - 1; i++)
        t[i] = start(takes_part, &party[i]);
    pthread_create(&p, NULL, takes_part, &party[PARTIES - 1]);
    for (int i = 0; i < 300; i++) {
        vthread_interrupt(t[random_below(&random, PARTIES - 1)]);
        vthread_yield();
    }
    for (unsigned i = 0; i < PARTIES - 1; i++)
        join(t[i]);
    pthread_join(p, NULL);
    ck_assert_uint_eq(shared->lasts, ROUNDS);
    ck_assert_uint_eq(shared->barrier.word, 0);
    free(shared);
}
END_TEST

/* ---- Homes -------------------------------------------------------------- */

static void *shares_its_own(void *arg)
{
    vthread_barrier_t b = VTHREAD_BARRIER_INITIALIZER(1);
    expect(vthread_barrier_wait(&b, NULL) == EFAULT);
    expect(vthread_barrier_trywait(&b) == EFAULT);
    return arg;
}

static const char *const refusers[] = {
    "vthread_barrier_wait", "vthread_barrier_trywait", NULL};

static void *comes(void *b)
{
    ck_assert_int_eq(vthread_barrier_wait(b, NULL), 0);
    return NULL;
}

static void *has_its_own(void *arg)
{
    vthread_barrier_t b = VTHREAD_BARRIER_INITIALIZER(2);
    vthread_t t = start(comes, &b);
    ck_assert_int_eq(vthread_barrier_wait(&b, NULL), 0);
    join(t);
    return arg;
}

static void forget(void)
{
    memset(&barrier, 0, sizeof barrier);
    deadline = VTHREAD_NEVER;
}

int main(void)
{
    Suite *suite = suite_create("barrier");
    TCase *cases = new_case(suite, "rounds");
    tcase_add_checked_fixture(cases, forget, NULL);
    tcase_add_test(cases, a_zeroed_barrier_is_for_one);
    tcase_add_test(cases, init_refuses_a_barrier_for_nobody);
    tcase_add_test(cases, all_go_when_the_last_of_both_kinds_has_come);
    tcase_add_test(cases, a_try_by_the_last_lets_all_go);
    tcase_add_test(cases, who_leaves_early_is_not_counted);
    tcase_add_test(
        cases, an_interrupt_sticks_if_the_last_comes_before_the_thread_runs);
    tcase_add_test(cases, every_round_is_complete_and_has_one_last);
    add_homes(cases, refusers);
    return run_suite(suite);
}
