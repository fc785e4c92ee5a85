/*
 * mutex_fair_test.c - who has waited gets it in the end: against those who ask
 * again at once, deadlines, and everybody at random.
 */
#include "tests/mutexes.h"
#include "tests/random.h"

/* Above the limit of mutex.c: others are this often faster, at most. */
#define BYPASSES_MAX 66

/* ---- Fairness ----------------------------------------------------------- */

/* All on one carrier, which the holder keeps to itself. */
static void *bypasses(void *arg)
{
    vthread_t t;
    int n = 0;
    lock(&mutex);
    ck_assert_int_eq(vthread_create(&t, NULL, locks_steps_unlocks,
                                    pointer('a')), 0);
    until_in_list(t);
    unlock(&mutex);
    while (vthread_mutex_trylock(&mutex) == 0) {
        ck_assert_int_le(++n, BYPASSES_MAX);
        unlock(&mutex);
    }
    ck_assert_int_ge(n, 2);
    /* Given to a thread that could not even run. */
    uint64_t word;
    ck_assert_ptr_eq(mutex_holder(mutex_of(&mutex)),
                     thread_of_handle(t, &word));
    join(t);
    return arg;
}

START_TEST(who_is_woken_is_passed_over_a_bounded_number_of_times)
{
    vthread_scheduler_t *s = scheduler_of(1);
    join(start_on(s, bypasses, NULL));
    shut_down(s);
    expect_free(&mutex);
}
END_TEST

static void *lets_it_run_in_vain(void *arg)
{
    vthread_t t;
    lock(&mutex);
    ck_assert_int_eq(vthread_create(&t, NULL, locks_steps_unlocks,
                                    pointer('a')), 0);
    until_in_list(t);
    unlock(&mutex);
    lock(&mutex);
    ck_assert(!(word_of(t) & THREAD_WAITING));
    until_in_list(t);
    unlock(&mutex);
    ck_assert_int_eq(vthread_mutex_trylock(&mutex), EBUSY);
    join(t);
    return arg;
}

START_TEST(who_was_woken_in_vain_is_handed_it_next)
{
    vthread_scheduler_t *s = scheduler_of(1);
    join(start_on(s, lets_it_run_in_vain, NULL));
    shut_down(s);
    expect_free(&mutex);
}
END_TEST

static atomic_int others_stop;

/* Always asks again at once. */
static void *hogs(void *arg)
{
    while (!atomic_load(&others_stop)) {
        lock(&mutex);
        unlock(&mutex);
        if ((uintptr_t)arg)
            vthread_yield();
    }
    return NULL;
}

static void *locks_often(void *arg)
{
    for (int i = 0; i < 200; i++) {
        lock(&mutex);
        unlock(&mutex);
    }
    return arg;
}

/* Ends at all only if the hogs do not keep it. */
START_TEST(nobody_starves_beside_those_who_ask_again_at_once)
{
    vthread_scheduler_t *s = scheduler_of(2);
    vthread_t t[6];
    pthread_t p;
    atomic_store(&others_stop, 0);
    for (uintptr_t i = 0; i < 5; i++)
        t[i] = start_on(s, hogs, pointer(i != 0));
    ck_assert_int_eq(pthread_create(&p, NULL, locks_often, NULL), 0);
    t[5] = start_on(s, locks_often, NULL);
    pthread_join(p, NULL);
    join(t[5]);
    atomic_store(&others_stop, 1);
    for (int i = 0; i < 5; i++)
        join(t[i]);
    shut_down(s);
    expect_free(&mutex);
}
END_TEST

/* ---- Deadlines against hand-over ---------------------------------------- */

/* On one carrier: t's deadline comes while the holder keeps the carrier, so
 * the unlock finds it still waiting: it counts as woken.  False: the machine
 * was too slow, and the deadline came before the wait. */
static bool unlocks_in_time(void)
{
    static uint64_t deadline;
    vthread_t t;
    lock(&mutex);
    deadline = vthread_after(5 * VTHREAD_MS);
    ck_assert_int_eq(vthread_create(&t, NULL, locks_until, &deadline), 0);
    until_waiting(t);
    while (vthread_now() < deadline + VTHREAD_MS)
        continue;
    bool is_in_time = word_of(t) & THREAD_WAITING;
    unlock(&mutex);
    void *err = join(t);
    ck_assert(err == pointer(0) || !is_in_time);
    return is_in_time;
}

static void *unlocks_after_the_deadline(void *arg)
{
    while (!unlocks_in_time())
        continue;
    return arg;
}

START_TEST(an_unlock_before_the_timer_fires_wins)
{
    vthread_scheduler_t *s = scheduler_of(1);
    join(start_on(s, unlocks_after_the_deadline, NULL));
    shut_down(s);
    expect_free(&mutex);
}
END_TEST

/* The timer has fired, but t has not run when the mutex is unlocked: it is
 * woken for nothing, and takes a free mutex all the same; if it is taken again
 * it goes, and leaves nothing behind. */
static void *locks_again(void *arg)
{
    static uint64_t deadline;
    bool again = arg;
    for (int i = 0; i < 20; i++) {
        vthread_t t;
        lock(&mutex);
        deadline = vthread_after(VTHREAD_MS / 4);
        ck_assert_int_eq(vthread_create(&t, NULL, locks_until, &deadline), 0);
        while (!(word_of(t) & (THREAD_TIMEOUT | THREAD_DONE)))
            vthread_yield();
        unlock(&mutex);
        if (again) {
            lock(&mutex);
            until_ended(t);
            ck_assert_uint_eq(mutex.waiting[0], 0);
            unlock(&mutex);
        }
        uintptr_t err = (uintptr_t)join(t);
        ck_assert(err == ETIMEDOUT || (err == 0 && !again));
        expect_free(&mutex);
    }
    return arg;
}

START_TEST(a_timer_before_the_unlock_leaves_nothing_behind)
{
    vthread_scheduler_t *s = scheduler_of(1);
    join(start_on(s, locks_again, NULL));
    join(start_on(s, locks_again, pointer(1)));
    shut_down(s);
}
END_TEST

/* ---- Stress ------------------------------------------------------------- */

enum { STRESS_THREADS = 40 };

static struct shared {
    vthread_mutex_t mutex;
    unsigned long counted; /* under the mutex */
    unsigned inside;       /* under the mutex */
    atomic_ulong done;
} *shared;

static void be_inside(struct random *random, unsigned depth)
{
    ck_assert_uint_eq(shared->inside, depth);
    shared->inside++;
    shared->counted++;
    if (random_below(random, 8) == 0)
        vthread_yield();
    if (shared->mutex.kind == VTHREAD_MUTEX_RECURSIVE && depth < 3
        && random_below(random, 2)) {
        lock(&shared->mutex);
        be_inside(random, depth + 1);
        unlock(&shared->mutex);
    } else {
        atomic_fetch_add(&shared->done, depth + 1);
    }
    shared->inside--;
}

static int lock_somehow(struct random *random)
{
    switch (random_below(random, 4)) {
    case 0:
        return vthread_mutex_trylock(&shared->mutex);
    case 1:
        return vthread_mutex_lock_until(
            &shared->mutex,
            vthread_after(random_below(random, 200 * VTHREAD_US)));
    default:
        return vthread_mutex_lock(&shared->mutex);
    }
}

static void *locks_at_random(void *seed)
{
    struct random random = {(uintptr_t)seed};
    unsigned turns = UNDER_SANITIZER ? 150 : how_often(200, 600);
    for (unsigned i = 0; i < turns; i++) {
        int err = lock_somehow(&random);
        if (err == 0) {
            be_inside(&random, 0);
            unlock(&shared->mutex);
        } else {
            ck_assert(err == EBUSY || err == ETIMEDOUT);
        }
        if (random_below(&random, 4) == 0)
            vthread_yield();
    }
    return NULL;
}

START_TEST(random_use_by_both_kinds_excludes)
{
    struct random random = random_start("mutex_fair_test");
    vthread_t t[STRESS_THREADS];
    pthread_t p[2];
    shared = calloc(1, sizeof *shared);
    vthread_mutex_init(&shared->mutex, _i);
    for (int i = 0; i < STRESS_THREADS; i++)
        t[i] = start(locks_at_random, pointer(random_next(&random)));
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&p[i], NULL, locks_at_random,
                                        pointer(random_next(&random))), 0);
    for (int i = 0; i < STRESS_THREADS; i++)
        join(t[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(p[i], NULL);
    ck_assert_uint_eq(shared->inside, 0);
    ck_assert_uint_eq(shared->counted, shared->done);
    expect_free(&shared->mutex);
    free(shared);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mutex_fair");
    TCase *cases = new_mutex_case(suite, "fairness");
    tcase_add_test(cases,
                   who_is_woken_is_passed_over_a_bounded_number_of_times);
    tcase_add_test(cases, who_was_woken_in_vain_is_handed_it_next);
    tcase_add_test(cases, nobody_starves_beside_those_who_ask_again_at_once);
    cases = new_mutex_case(suite, "deadlines");
    tcase_add_test(cases, an_unlock_before_the_timer_fires_wins);
    tcase_add_test(cases, a_timer_before_the_unlock_leaves_nothing_behind);
    cases = new_mutex_case(suite, "stress");
    tcase_add_loop_test(cases, random_use_by_both_kinds_excludes, 0, 3);
    return run_suite(suite);
}
