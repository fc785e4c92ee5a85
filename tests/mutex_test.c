/*
 * mutex_test.c - one at a time, in their order, and nobody for ever.
 */
#include <errno.h>

#include "mutex.h"
#include "tests/homes.h"
#include "tests/random.h"
#include "tests/threads.h"
#include "tests/trail.h"

/* Above the limit of mutex.c: others are this often faster, at most. */
#define BYPASSES_MAX 66

static vthread_mutex_t mutex;

static void lock(vthread_mutex_t *m)
{
    ck_assert_int_eq(vthread_mutex_lock(m), 0);
}

static void unlock(vthread_mutex_t *m)
{
    ck_assert_int_eq(vthread_mutex_unlock(m), 0);
}

static void expect_free(vthread_mutex_t *m)
{
    ck_assert_uint_eq(m->word, 0);
    ck_assert_uint_eq(m->waiting[0], 0);
    ck_assert_uint_eq(m->depth, 0);
}

/* Who waits for the mutex, waits in its list. */
static void until_in_list(vthread_t t)
{
    uint64_t word;
    until_waiting(t);
    ck_assert_ptr_eq(thread_of_handle(t, &word)->wait_on, &mutex.waiting);
}

/* ---- Without waiting ---------------------------------------------------- */

static void *locks_and_unlocks(void *arg)
{
    vthread_mutex_t *m = calloc(1, sizeof *m);
    for (int i = 0; i < 3; i++) {
        lock(m);
        ck_assert_int_eq(vthread_mutex_trylock(m), EBUSY);
        unlock(m);
        ck_assert_int_eq(vthread_mutex_trylock(m), 0);
        unlock(m);
        ck_assert_int_eq(vthread_mutex_lock_until(m, 0), 0);
        unlock(m);
    }
    expect_free(m);
    free(m);
    return arg;
}

START_TEST(a_zeroed_mutex_is_free)
{
    on_both_kinds(locks_and_unlocks);
}
END_TEST

START_TEST(init_makes_a_free_mutex_of_that_kind)
{
    static const vthread_mutex_t initial[] = {
        VTHREAD_MUTEX_INITIALIZER, VTHREAD_MUTEX_RECURSIVE_INITIALIZER,
        VTHREAD_MUTEX_ERRORCHECK_INITIALIZER};
    for (int kind = 0; kind < 3; kind++) {
        vthread_mutex_t m;
        memset(&m, 0xff, sizeof m);
        ck_assert_int_eq(vthread_mutex_init(&m, kind), 0);
        ck_assert_int_eq(memcmp(&m, &initial[kind], sizeof m), 0);
    }
    vthread_mutex_t m = {0};
    ck_assert_int_eq(vthread_mutex_init(&m, 3), EINVAL);
    ck_assert_int_eq(vthread_mutex_init(&m, -1), EINVAL);
}
END_TEST

static void *tries(void *m)
{
    return pointer((uintptr_t)vthread_mutex_trylock(m));
}

static void *unlocks(void *m)
{
    return pointer((uintptr_t)vthread_mutex_unlock(m));
}

static void *counts_its_locks(void *arg)
{
    vthread_mutex_t *m = malloc(sizeof *m);
    ck_assert_int_eq(vthread_mutex_init(m, VTHREAD_MUTEX_RECURSIVE), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(i % 2 ? vthread_mutex_trylock(m)
                               : vthread_mutex_lock(m), 0);
    for (int i = 0; i < 4; i++) {
        ck_assert_ptr_eq(join(start(tries, m)), pointer(EBUSY));
        ck_assert_ptr_eq(join(start(unlocks, m)), pointer(EPERM));
        unlock(m);
    }
    expect_free(m);
    ck_assert_int_eq(vthread_mutex_unlock(m), EPERM);
    free(m);
    return arg;
}

START_TEST(a_recursive_mutex_counts)
{
    on_both_kinds(counts_its_locks);
}
END_TEST

START_TEST(a_recursive_mutex_that_is_full_says_so)
{
    vthread_mutex_t m = VTHREAD_MUTEX_RECURSIVE_INITIALIZER;
    int n = 0, err;
    while ((err = vthread_mutex_lock(&m)) == 0)
        n++;
    ck_assert_int_eq(err, EAGAIN);
    ck_assert_int_eq(n, 65536);
    ck_assert_int_eq(vthread_mutex_trylock(&m), EAGAIN);
    while (n-- > 0)
        unlock(&m);
    expect_free(&m);
}
END_TEST

static void *is_checked(void *arg)
{
    vthread_mutex_t *m = malloc(sizeof *m);
    ck_assert_int_eq(vthread_mutex_init(m, VTHREAD_MUTEX_ERRORCHECK), 0);
    ck_assert_int_eq(vthread_mutex_unlock(m), EPERM);
    lock(m);
    ck_assert_int_eq(vthread_mutex_lock(m), EDEADLK);
    ck_assert_int_eq(vthread_mutex_lock_until(m, 0), EDEADLK);
    ck_assert_int_eq(vthread_mutex_trylock(m), EBUSY);
    ck_assert_ptr_eq(join(start(unlocks, m)), pointer(EPERM));
    unlock(m);
    expect_free(m);
    free(m);
    return arg;
}

START_TEST(an_error_checking_mutex_says_what_is_wrong)
{
    on_both_kinds(is_checked);
}
END_TEST

/* ---- Waiting ------------------------------------------------------------ */

static void *locks_steps_unlocks(void *letter)
{
    lock(&mutex);
    step((char)(uintptr_t)letter);
    unlock(&mutex);
    return NULL;
}

START_TEST(who_waits_gets_it_in_their_order)
{
    vthread_t t[4];
    lock(&mutex);
    for (int i = 0; i < 4; i++) {
        t[i] = start(locks_steps_unlocks, pointer((uintptr_t)('a' + i)));
        until_in_list(t[i]);
    }
    step('0');
    unlock(&mutex);
    for (int i = 0; i < 4; i++)
        join(t[i]);
    ck_assert_str_eq(trail, "0abcd");
    expect_free(&mutex);
}
END_TEST

static void *platform_waits(void *arg)
{
    struct platform_parker *p = arg;
    atomic_store(&p->handle, vthread_self());
    p->result = vthread_mutex_lock(&mutex);
    step('p');
    unlock(&mutex);
    return NULL;
}

START_TEST(platform_and_virtual_threads_wait_in_one_list)
{
    struct platform_parker p;
    lock(&mutex);
    vthread_t a = start(locks_steps_unlocks, pointer('a'));
    until_in_list(a);
    until_in_list(start_parker(&p, platform_waits));
    vthread_t b = start(locks_steps_unlocks, pointer('b'));
    until_in_list(b);
    unlock(&mutex);
    join(a);
    join(b);
    pthread_join(p.pthread, NULL);
    ck_assert_int_eq(p.result, 0);
    ck_assert_str_eq(trail, "apb");
    expect_free(&mutex);
}
END_TEST

static void *locks_until(void *deadline)
{
    int err = vthread_mutex_lock_until(&mutex, *(uint64_t *)deadline);
    if (err == 0)
        unlock(&mutex);
    return pointer((uintptr_t)err);
}

static void *times_out(void *arg)
{
    static uint64_t soon;
    ck_assert_int_eq(vthread_mutex_lock_until(&mutex, 0), ETIMEDOUT);
    soon = vthread_after(2 * VTHREAD_MS);
    ck_assert_ptr_eq(locks_until(&soon), pointer(ETIMEDOUT));
    ck_assert_uint_ge(vthread_now(), soon);
    return arg;
}

static void *times_out_on_both_kinds(void *arg)
{
    on_both_kinds(times_out);
    return arg;
}

START_TEST(who_times_out_has_left)
{
    pthread_t p;
    lock(&mutex);
    ck_assert_int_eq(pthread_create(&p, NULL, times_out_on_both_kinds, NULL),
                     0);
    pthread_join(p, NULL);
    ck_assert_uint_eq(mutex.waiting[0], 0);
    unlock(&mutex);
    expect_free(&mutex);
}
END_TEST

START_TEST(who_times_out_between_others_does_not_hold_them_up)
{
    uint64_t later = vthread_after(20 * VTHREAD_MS);
    lock(&mutex);
    vthread_t a = start(locks_steps_unlocks, pointer('a'));
    until_in_list(a);
    vthread_t t = start(locks_until, &later);
    until_waiting(t);
    vthread_t b = start(locks_steps_unlocks, pointer('b'));
    until_in_list(b);
    ck_assert_ptr_eq(join(t), pointer(ETIMEDOUT));
    unlock(&mutex);
    join(a);
    join(b);
    ck_assert_str_eq(trail, "ab");
    expect_free(&mutex);
}
END_TEST

static void *locks_and_tells_of_interrupts(void *arg)
{
    (void)arg;
    lock(&mutex);
    bool interrupted = vthread_interrupted();
    unlock(&mutex);
    return pointer(interrupted);
}

START_TEST(an_interrupt_waits_for_the_next_wait_that_heeds_it)
{
    lock(&mutex);
    vthread_t t = start(locks_and_tells_of_interrupts, NULL);
    until_in_list(t);
    ck_assert_int_eq(vthread_interrupt(t), 0);
    ck_assert(word_of(t) & THREAD_WAITING);
    unlock(&mutex);
    ck_assert_ptr_eq(join(t), pointer(1));
}
END_TEST

START_TEST(a_permit_given_to_one_who_waits_is_kept)
{
    lock(&mutex);
    vthread_t t = start(locks_steps_unlocks, pointer('a'));
    until_in_list(t);
    ck_assert_int_eq(vthread_unpark(t), 0);
    ck_assert(word_of(t) & THREAD_WAITING);
    ck_assert(word_of(t) & THREAD_PERMIT);
    unlock(&mutex);
    join(t);
}
END_TEST

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
    for (unsigned i = 0; i < (UNDER_SANITIZER ? 150 : 600); i++) {
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
    struct random random = random_start("mutex_test");
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

/* ---- Homes -------------------------------------------------------------- */

static void *shares_its_own(void *arg)
{
    vthread_mutex_t m = {0};
    expect(vthread_mutex_lock(&m) == EFAULT);
    expect(vthread_mutex_trylock(&m) == EFAULT);
    expect(m.word == 0);
    return arg;
}

static const char *const refusers[] = {
    "vthread_mutex_lock", "vthread_mutex_trylock", NULL};

static void *locks_that(void *m)
{
    lock(m);
    unlock(m);
    return m;
}

static void *has_its_own(void *arg)
{
    vthread_mutex_t m = {0};
    lock(&m);
    vthread_t t = start(locks_that, &m);
    until_waiting(t);
    unlock(&m);
    join(t);
    expect_free(&m);
    return arg;
}

/* ---- Misuse ------------------------------------------------------------- */

static void relock(void)
{
    vthread_mutex_lock(&mutex);
    vthread_mutex_lock(&mutex);
}

static void relock_until(void)
{
    vthread_mutex_lock(&mutex);
    vthread_mutex_lock_until(&mutex, vthread_after(VTHREAD_MS));
}

START_TEST(who_would_wait_for_itself_is_told)
{
    aborts(_i == 0 ? relock : relock_until);
    said("vthread_mutex_lock");
    said("holds the mutex");
    said("already");
}
END_TEST

static void unlock_free(void)
{
    vthread_mutex_unlock(&mutex);
}

START_TEST(an_unlock_of_a_free_mutex_is_told)
{
    aborts(unlock_free);
    said("vthread_mutex_unlock");
    said("is free");
}
END_TEST

static void *locks_and_parks(void *arg)
{
    vthread_mutex_lock(&mutex);
    vthread_park();
    return arg;
}

static void unlock_of_another(void)
{
    until_waiting(child_start("holder", locks_and_parks, NULL));
    vthread_mutex_unlock(&mutex);
}

START_TEST(an_unlock_of_anothers_mutex_names_the_holder)
{
    aborts(unlock_of_another);
    said("vthread_mutex_unlock");
    said("'holder' (PARKED)");
}
END_TEST

/* ---- The suite ---------------------------------------------------------- */

static void forget_the_mutex(void)
{
    memset(&mutex, 0, sizeof mutex);
    atomic_store(&others_stop, 0);
}

static TCase *new_mutex_case(Suite *suite, const char *name)
{
    TCase *cases = new_trail_case(suite, name);
    tcase_add_checked_fixture(cases, forget_the_mutex, NULL);
    return cases;
}

int main(void)
{
    Suite *suite = suite_create("mutex");
    TCase *cases = new_mutex_case(suite, "kinds");
    tcase_add_test(cases, a_zeroed_mutex_is_free);
    tcase_add_test(cases, init_makes_a_free_mutex_of_that_kind);
    tcase_add_test(cases, a_recursive_mutex_counts);
    tcase_add_test(cases, a_recursive_mutex_that_is_full_says_so);
    tcase_add_test(cases, an_error_checking_mutex_says_what_is_wrong);
    cases = new_mutex_case(suite, "waiting");
    tcase_add_test(cases, who_waits_gets_it_in_their_order);
    tcase_add_test(cases, platform_and_virtual_threads_wait_in_one_list);
    tcase_add_test(cases, who_times_out_has_left);
    tcase_add_test(cases, who_times_out_between_others_does_not_hold_them_up);
    tcase_add_test(cases, an_interrupt_waits_for_the_next_wait_that_heeds_it);
    tcase_add_test(cases, a_permit_given_to_one_who_waits_is_kept);
    cases = new_mutex_case(suite, "fairness");
    tcase_add_test(cases,
                   who_is_woken_is_passed_over_a_bounded_number_of_times);
    tcase_add_test(cases, who_was_woken_in_vain_is_handed_it_next);
    tcase_add_test(cases, nobody_starves_beside_those_who_ask_again_at_once);
    cases = new_mutex_case(suite, "deadlines");
    tcase_add_test(cases, an_unlock_before_the_timer_fires_wins);
    tcase_add_test(cases, a_timer_before_the_unlock_leaves_nothing_behind);
    cases = new_mutex_case(suite, "stress");
    tcase_add_loop_test(cases, random_use_by_both_kinds_excludes, 0, 3);
    cases = new_mutex_case(suite, "homes");
    add_homes(cases, refusers);
    cases = new_mutex_case(suite, "misuse");
    tcase_add_loop_test(cases, who_would_wait_for_itself_is_told, 0, 2);
    tcase_add_test(cases, an_unlock_of_a_free_mutex_is_told);
    tcase_add_test(cases, an_unlock_of_anothers_mutex_names_the_holder);
    return run_suite(suite);
}
