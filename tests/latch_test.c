/*
 * latch_test.c - nobody passes before the count is zero, and then all do.
 */
#include <errno.h>

#include "tests/homes.h"
#include "tests/random.h"
#include "tests/threads.h"

static vthread_latch_t latch;
static uint64_t deadline;

static void count_down(uint32_t n)
{
    ck_assert_int_eq(vthread_latch_count_down(&latch, n), 0);
}

static void add(uint32_t n)
{
    ck_assert_int_eq(vthread_latch_add(&latch, n), 0);
}

static void expect_open(void)
{
    ck_assert_uint_eq(latch.word, 0);
    ck_assert_uint_eq(latch.waiting[0], 0);
}

static void *waits(void *arg)
{
    (void)arg;
    int err = vthread_latch_wait_until(&latch, deadline);
    return pointer((uintptr_t)err + (vthread_interrupted() ? 1000 : 0));
}

static void *platform_waits(void *arg)
{
    struct platform_parker *p = arg;
    atomic_store(&p->handle, vthread_self());
    p->result = (int)(uintptr_t)waits(NULL);
    return NULL;
}

/* ---- Counting ----------------------------------------------------------- */

static void *counts(void *arg)
{
    ck_assert_int_eq(vthread_latch_wait(&latch), 0);
    ck_assert_int_eq(vthread_latch_trywait(&latch), 0);
    ck_assert_int_eq(vthread_latch_count_down(&latch, 1), EINVAL);
    add(5);
    ck_assert_int_eq(vthread_latch_trywait(&latch), EBUSY);
    ck_assert_int_eq(vthread_latch_wait_until(&latch, 0), ETIMEDOUT);
    ck_assert_int_eq(vthread_latch_count_down(&latch, 6), EINVAL);
    count_down(0);
    count_down(2);
    ck_assert_int_eq(vthread_latch_trywait(&latch), EBUSY);
    count_down(3);
    ck_assert_int_eq(vthread_latch_wait_until(&latch, 0), 0);
    expect_open();
    return arg;
}

START_TEST(a_zeroed_latch_is_open_and_adding_closes_it)
{
    on_both_kinds(counts);
}
END_TEST

START_TEST(init_sets_the_count_up_to_the_most)
{
    vthread_latch_t l = VTHREAD_LATCH_INITIALIZER(7);
    ck_assert_int_eq(vthread_latch_init(&latch, 7), 0);
    ck_assert_int_eq(memcmp(&l, &latch, sizeof l), 0);
    ck_assert_int_eq(vthread_latch_init(&l, VTHREAD_LATCH_MAX + 1), EINVAL);
    ck_assert_int_eq(vthread_latch_init(&l, VTHREAD_LATCH_MAX), 0);
    ck_assert_int_eq(vthread_latch_add(&l, 1), EOVERFLOW);
    ck_assert_int_eq(vthread_latch_add(&l, UINT32_MAX), EOVERFLOW);
    ck_assert_int_eq(vthread_latch_count_down(&l, VTHREAD_LATCH_MAX), 0);
    ck_assert_int_eq(vthread_latch_trywait(&l), 0);
}
END_TEST

/* ---- Waiting ------------------------------------------------------------ */

START_TEST(all_that_wait_go_when_it_opens)
{
    struct platform_parker p;
    vthread_t t[4];
    add(2);
    for (int i = 0; i < 4; i++) {
        t[i] = start(waits, NULL);
        until_waiting(t[i]);
    }
    until_waiting(start_parker(&p, platform_waits));
    count_down(1);
    for (int i = 0; i < 4; i++)
        ck_assert(word_of(t[i]) & THREAD_WAITING);
    count_down(1);
    expect_open();
    /* Closed again: that does not concern those who were let go. */
    add(1);
    for (int i = 0; i < 4; i++)
        ck_assert_ptr_eq(join(t[i]), pointer(0));
    pthread_join(p.pthread, NULL);
    ck_assert_int_eq(p.result, 0);
}
END_TEST

static void *times_out(void *arg)
{
    add(1);
    deadline = vthread_after(2 * VTHREAD_MS);
    ck_assert_ptr_eq(waits(NULL), pointer(ETIMEDOUT));
    ck_assert_uint_ge(vthread_now(), deadline);
    ck_assert_uint_eq(latch.waiting[0], 0);
    count_down(1);
    expect_open();
    return arg;
}

START_TEST(who_times_out_has_left)
{
    on_both_kinds(times_out);
}
END_TEST

START_TEST(who_is_interrupted_has_left)
{
    struct platform_parker p;
    add(1);
    vthread_t t = start(waits, NULL);
    until_waiting(t);
    vthread_interrupt(t);
    ck_assert_ptr_eq(join(t), pointer(ECANCELED));
    until_waiting(start_parker(&p, platform_waits));
    vthread_interrupt(p.handle);
    pthread_join(p.pthread, NULL);
    ck_assert_int_eq(p.result, ECANCELED);
    ck_assert_uint_eq(latch.waiting[0], 0);
    count_down(1);
    expect_open();
}
END_TEST

static void *opens_for_the_interrupted(void *arg)
{
    vthread_t t;
    add(1);
    ck_assert_int_eq(vthread_create(&t, NULL, waits, NULL), 0);
    until_waiting(t);
    vthread_interrupt(t);
    count_down(1);
    ck_assert_ptr_eq(join(t), pointer(1000));
    return arg;
}

START_TEST(an_interrupt_sticks_if_it_opens_before_the_thread_runs)
{
    vthread_scheduler_t *s = scheduler_of(1);
    join(start_on(s, opens_for_the_interrupted, NULL));
    shut_down(s);
    expect_open();
}
END_TEST

/* ---- Stress ------------------------------------------------------------- */

enum { WORKERS = 30 };

static struct round {
    vthread_latch_t done;
    unsigned parts[WORKERS]; /* written before the count, read after the wait */
    uint64_t seed;
} *round_;

static struct job {
    struct round *round;
    int number;
} jobs[WORKERS];

static void *works(void *arg)
{
    struct job *job = arg;
    struct random random = {job->round->seed + (uint64_t)job->number};
    if (random_below(&random, 2))
        vthread_yield();
    job->round->parts[job->number]++;
    ck_assert_int_eq(vthread_latch_count_down(&job->round->done, 1), 0);
    return NULL;
}

static int wait_somehow(struct random *random)
{
    int err;
    do
        err = random_below(random, 2)
                  ? vthread_latch_wait(&round_->done)
                  : vthread_latch_wait_until(
                      &round_->done,
                      vthread_after(random_below(random, 100 * VTHREAD_US)));
    while (err == ETIMEDOUT);
    return err;
}

/* The latch is freed as soon as the only wait has returned. */
static void *waits_for_work(void *seed)
{
    struct random random = {(uintptr_t)seed};
    vthread_t t[WORKERS];
    for (int i = 0; i < (UNDER_SANITIZER ? 20 : 100); i++) {
        round_ = calloc(1, sizeof *round_);
        round_->seed = random_next(&random);
        vthread_latch_init(&round_->done, WORKERS);
        for (int n = 0; n < WORKERS; n++) {
            jobs[n] = (struct job){round_, n};
            t[n] = start(works, &jobs[n]);
        }
        ck_assert_int_eq(wait_somehow(&random), 0);
        for (int n = 0; n < WORKERS; n++)
            ck_assert_uint_eq(round_->parts[n], 1);
        memset(round_, 0xff, sizeof *round_);
        free(round_);
        for (int n = 0; n < WORKERS; n++)
            join(t[n]);
    }
    return NULL;
}

START_TEST(what_was_done_before_is_seen_after)
{
    struct random random = random_start("latch_test");
    waits_for_work(pointer(random_next(&random)));
    join(start(waits_for_work, pointer(random_next(&random))));
}
END_TEST

/* ---- Homes -------------------------------------------------------------- */

static void *shares_its_own(void *arg)
{
    vthread_latch_t l = {0};
    expect(vthread_latch_add(&l, 1) == EFAULT);
    expect(vthread_latch_count_down(&l, 1) == EFAULT);
    expect(vthread_latch_wait(&l) == EFAULT);
    expect(vthread_latch_trywait(&l) == EFAULT);
    return arg;
}

static const char *const refusers[] = {
    "vthread_latch_add", "vthread_latch_count_down", "vthread_latch_wait",
    "vthread_latch_trywait", NULL};

static void *counts_down(void *l)
{
    ck_assert_int_eq(vthread_latch_count_down(l, 1), 0);
    return NULL;
}

static void *has_its_own(void *arg)
{
    vthread_latch_t l = VTHREAD_LATCH_INITIALIZER(1);
    vthread_t t = start(counts_down, &l);
    ck_assert_int_eq(vthread_latch_wait(&l), 0);
    join(t);
    return arg;
}

/* ---- The suite ---------------------------------------------------------- */

static void forget(void)
{
    memset(&latch, 0, sizeof latch);
    deadline = VTHREAD_NEVER;
}

int main(void)
{
    Suite *suite = suite_create("latch");
    TCase *cases = new_case(suite, "count");
    tcase_add_checked_fixture(cases, forget, NULL);
    tcase_add_test(cases, a_zeroed_latch_is_open_and_adding_closes_it);
    tcase_add_test(cases, init_sets_the_count_up_to_the_most);
    tcase_add_test(cases, all_that_wait_go_when_it_opens);
    tcase_add_test(cases, who_times_out_has_left);
    tcase_add_test(cases, who_is_interrupted_has_left);
    tcase_add_test(cases,
                   an_interrupt_sticks_if_it_opens_before_the_thread_runs);
    tcase_add_test(cases, what_was_done_before_is_seen_after);
    add_homes(cases, refusers);
    return run_suite(suite);
}
