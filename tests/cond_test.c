/*
 * cond_test.c - who is signalled goes on, under the mutex; no signal is lost.
 */
#include <errno.h>

#include "sync/mutex.h"
#include "tests/children.h"
#include "tests/random.h"
#include "tests/threads.h"
#include "tests/trail.h"

static vthread_mutex_t mutex;
static vthread_cond_t cond;
static uint64_t deadline;

static void lock(void)
{
    ck_assert_int_eq(vthread_mutex_lock(&mutex), 0);
}

static void unlock(void)
{
    ck_assert_int_eq(vthread_mutex_unlock(&mutex), 0);
}

static void signal_one(void)
{
    ck_assert_int_eq(vthread_cond_signal(&cond), 0);
}

static void broadcast(void)
{
    ck_assert_int_eq(vthread_cond_broadcast(&cond), 0);
}

static struct thread *object_of(vthread_t t)
{
    uint64_t word;
    return thread_of_handle(t, &word);
}

static bool is_held_by_caller(void)
{
    return mutex_holder(mutex_of(&mutex)) == thread_self();
}

static bool is_in(vthread_t t, const void *list)
{
    return object_of(t)->wait_on == list;
}

/* Until it is in the condition's list and has given up the mutex. */
static void until_it_waits(vthread_t t)
{
    until_waiting(t);
    ck_assert(is_in(t, cond.waiting));
}

static void expect_nothing_left(void)
{
    static const vthread_cond_t zero;
    ck_assert_uint_eq(mutex.word, 0);
    ck_assert_uint_eq(mutex.waiting[0], 0);
    ck_assert_uint_eq(cond.word, 0);
    ck_assert_uint_eq(cond.waiting[0], zero.waiting[0]);
    ck_assert_ptr_null(cond.mutex);
}

/* Waits, steps with its letter if it was signalled; 1000 + the result if an
 * interrupt is pending then. */
static void *waits(void *letter)
{
    lock();
    int err = vthread_cond_wait_until(&cond, &mutex, deadline);
    ck_assert(is_held_by_caller());
    if (err == 0)
        step((char)(uintptr_t)letter);
    unlock();
    return pointer((uintptr_t)err + (vthread_interrupted() ? 1000 : 0));
}

/* ---- Signals ------------------------------------------------------------ */

START_TEST(a_signal_that_nobody_waits_for_is_not_kept)
{
    deadline = 0;
    signal_one();
    broadcast();
    ck_assert_ptr_eq(waits(NULL), pointer(ETIMEDOUT));
    expect_nothing_left();
}
END_TEST

START_TEST(a_signal_wakes_the_one_that_has_waited_longest)
{
    vthread_t t[3];
    for (int i = 0; i < 3; i++) {
        t[i] = start(waits, pointer((uintptr_t)('a' + i)));
        until_it_waits(t[i]);
    }
    for (int i = 0; i < 3; i++) {
        signal_one();
        ck_assert_ptr_eq(join(t[i]), pointer(0));
        for (int j = i + 1; j < 3; j++)
            ck_assert(is_in(t[j], cond.waiting));
    }
    ck_assert_str_eq(trail, "abc");
    expect_nothing_left();
}
END_TEST

START_TEST(who_is_signalled_waits_for_the_mutex)
{
    vthread_t a = start(waits, pointer('a'));
    until_it_waits(a);
    lock();
    signal_one();
    ck_assert(word_of(a) & THREAD_WAITING);
    ck_assert(is_in(a, mutex.waiting));
    step('0');
    unlock();
    join(a);
    ck_assert_str_eq(trail, "0a");
    expect_nothing_left();
}
END_TEST

static void *platform_waits(void *arg)
{
    struct platform_parker *p = arg;
    atomic_store(&p->handle, vthread_self());
    p->result = (int)(uintptr_t)waits(pointer('p'));
    return NULL;
}

START_TEST(a_broadcast_wakes_all_one_by_one_in_their_order)
{
    struct platform_parker p;
    vthread_t a = start(waits, pointer('a')), b;
    until_it_waits(a);
    until_it_waits(start_parker(&p, platform_waits));
    b = start(waits, pointer('b'));
    until_it_waits(b);
    lock();
    broadcast();
    /* All wait still, but for the mutex. */
    ck_assert(is_in(a, mutex.waiting) && is_in(b, mutex.waiting)
              && is_in(p.handle, mutex.waiting));
    ck_assert(word_of(a) & word_of(b) & word_of(p.handle) & THREAD_WAITING);
    unlock();
    join(a);
    join(b);
    pthread_join(p.pthread, NULL);
    ck_assert_str_eq(trail, "apb");
    expect_nothing_left();
}
END_TEST

START_TEST(a_broadcast_without_the_mutex_wakes_all_too)
{
    vthread_t t[5];
    for (int i = 0; i < 5; i++) {
        t[i] = start(waits, pointer('x'));
        until_it_waits(t[i]);
    }
    broadcast();
    for (int i = 0; i < 5; i++)
        ck_assert_ptr_eq(join(t[i]), pointer(0));
    ck_assert_str_eq(trail, "xxxxx");
    expect_nothing_left();
}
END_TEST

static void *waits_deep(void *arg)
{
    for (int i = 0; i < 3; i++)
        lock();
    ck_assert_int_eq(vthread_cond_wait(&cond, &mutex), 0);
    ck_assert_uint_eq(mutex.depth, 2);
    for (int i = 0; i < 3; i++) {
        ck_assert(is_held_by_caller());
        unlock();
    }
    return arg;
}

START_TEST(a_recursive_mutex_is_released_and_held_as_often_again)
{
    vthread_mutex_init(&mutex, VTHREAD_MUTEX_RECURSIVE);
    vthread_t a = start(waits_deep, NULL), b = start(waits_deep, NULL);
    until_it_waits(a);
    until_it_waits(b);
    lock();
    lock();
    broadcast();
    unlock();
    unlock();
    join(a);
    join(b);
    mutex.kind = 0;
    expect_nothing_left();
}
END_TEST

/* ---- Deadlines and interrupts ------------------------------------------- */

static void *times_out(void *arg)
{
    deadline = vthread_after(2 * VTHREAD_MS);
    ck_assert_ptr_eq(waits(NULL), pointer(ETIMEDOUT));
    ck_assert_uint_ge(vthread_now(), deadline);
    deadline = 0;
    ck_assert_ptr_eq(waits(NULL), pointer(ETIMEDOUT));
    expect_nothing_left();
    return arg;
}

START_TEST(who_times_out_holds_the_mutex_and_has_left)
{
    on_both_kinds(times_out);
}
END_TEST

START_TEST(who_is_interrupted_holds_the_mutex_and_has_left)
{
    struct platform_parker p;
    vthread_t t = start(waits, NULL);
    until_it_waits(t);
    ck_assert_int_eq(vthread_interrupt(t), 0);
    ck_assert_ptr_eq(join(t), pointer(ECANCELED));
    start_parker(&p, platform_waits);
    until_it_waits(p.handle);
    ck_assert_int_eq(vthread_interrupt(p.handle), 0);
    pthread_join(p.pthread, NULL);
    ck_assert_int_eq(p.result, ECANCELED);
    expect_nothing_left();
}
END_TEST

static void *waits_interrupted(void *arg)
{
    vthread_interrupt(vthread_self());
    ck_assert_ptr_eq(waits(NULL), pointer(ECANCELED));
    return arg;
}

START_TEST(an_interrupt_from_before_ends_the_wait_at_once)
{
    on_both_kinds(waits_interrupted);
    expect_nothing_left();
}
END_TEST

START_TEST(who_is_interrupted_gets_the_mutex_before_it_returns)
{
    vthread_t t = start(waits, NULL);
    until_it_waits(t);
    lock();
    ck_assert_int_eq(vthread_interrupt(t), 0);
    while (!is_in(t, mutex.waiting) || !(word_of(t) & THREAD_WAITING))
        vthread_yield();
    unlock();
    ck_assert_ptr_eq(join(t), pointer(ECANCELED));
    expect_nothing_left();
}
END_TEST

/* The signal first: the wait has been for the mutex since. */
START_TEST(an_interrupt_after_the_signal_sticks)
{
    vthread_t t = start(waits, pointer('a'));
    until_it_waits(t);
    lock();
    signal_one();
    ck_assert_int_eq(vthread_interrupt(t), 0);
    /* It waits again, for the mutex alone. */
    while (!(word_of(t) & THREAD_WAITING) || word_of(t) & THREAD_CANCELLABLE)
        vthread_yield();
    unlock();
    ck_assert_ptr_eq(join(t), pointer(1000));
    expect_nothing_left();
}
END_TEST

/* False: the machine was too slow, and the deadline came first. */
static bool signals_before_the_deadline(void)
{
    deadline = vthread_after(5 * VTHREAD_MS);
    vthread_t t = start(waits, pointer('a'));
    until_waiting(t);
    lock();
    signal_one();
    bool is_in_time = is_in(t, mutex.waiting) && vthread_now() < deadline;
    while (vthread_now() < deadline + VTHREAD_MS)
        vthread_yield();
    ck_assert(is_in(t, mutex.waiting) || !is_in_time);
    unlock();
    void *err = join(t);
    ck_assert(err == pointer(0) || !is_in_time);
    return is_in_time;
}

START_TEST(a_deadline_after_the_signal_is_no_time_out)
{
    while (!signals_before_the_deadline())
        continue;
    expect_nothing_left();
}
END_TEST

/* On one carrier: the interrupted thread has not run, and is signalled. */
static void *signals_the_interrupted(void *arg)
{
    vthread_t a, b;
    ck_assert_int_eq(vthread_create(&a, NULL, waits, pointer('a')), 0);
    until_it_waits(a);
    ck_assert_int_eq(vthread_create(&b, NULL, waits, pointer('b')), 0);
    until_it_waits(b);
    vthread_interrupt(a);
    signal_one();
    ck_assert_ptr_eq(join(a), pointer(1000));
    ck_assert(is_in(b, cond.waiting));
    /* The other way round: it has left, and the signal is b's. */
    ck_assert_int_eq(vthread_create(&a, NULL, waits, pointer('a')), 0);
    until_it_waits(a);
    vthread_interrupt(b);
    ck_assert_ptr_eq(join(b), pointer(ECANCELED));
    signal_one();
    ck_assert_ptr_eq(join(a), pointer(0));
    return arg;
}

START_TEST(a_signal_is_not_lost_in_an_interrupt)
{
    vthread_scheduler_t *s = scheduler_of(1);
    join(start_on(s, signals_the_interrupted, NULL));
    shut_down(s);
    ck_assert_str_eq(trail, "aa");
    expect_nothing_left();
}
END_TEST

/* ---- Stress ------------------------------------------------------------- */

/* A store of tokens; who takes and who gives is decided by chance, and so is
 * who gives up waiting.  A lost signal leaves a token and one who waits. */
enum { GIVERS = 6, TAKERS = 12, TOKENS = UNDER_SANITIZER ? 200 : 800 };

static struct store {
    vthread_mutex_t mutex;
    vthread_cond_t not_empty, not_full;
    int tokens;
    bool is_closed;
    atomic_int taken, gave_up;
} *store;

static int wait_somehow(struct random *random, vthread_cond_t *c)
{
    if (random_below(random, 2))
        return vthread_cond_wait(c, &store->mutex);
    return vthread_cond_wait_until(
        c, &store->mutex, vthread_after(random_below(random, VTHREAD_MS)));
}

static void give(struct random *random)
{
    ck_assert_int_eq(vthread_mutex_lock(&store->mutex), 0);
    while (store->tokens == 3)
        wait_somehow(random, &store->not_full);
    store->tokens++;
    bool early = random_below(random, 2);
    if (early)
        vthread_cond_signal(&store->not_empty);
    ck_assert_int_eq(vthread_mutex_unlock(&store->mutex), 0);
    if (!early)
        vthread_cond_signal(&store->not_empty);
}

static void *gives(void *seed)
{
    struct random random = {(uintptr_t)seed};
    for (int i = 0; i < TOKENS; i++)
        give(&random);
    return NULL;
}

/* An error passes nothing on: only who was signalled owes a look. */
static void *takes(void *seed)
{
    struct random random = {(uintptr_t)seed};
    bool is_over = false;
    while (!is_over) {
        int err = 0;
        ck_assert_int_eq(vthread_mutex_lock(&store->mutex), 0);
        while (store->tokens == 0 && !store->is_closed && err == 0)
            err = wait_somehow(&random, &store->not_empty);
        if (err != 0) {
            ck_assert(err == ETIMEDOUT || err == ECANCELED);
            atomic_fetch_add(&store->gave_up, 1);
        } else if (store->tokens > 0) {
            store->tokens--;
            atomic_fetch_add(&store->taken, 1);
            vthread_cond_signal(&store->not_full);
        } else {
            is_over = true;
        }
        ck_assert_int_eq(vthread_mutex_unlock(&store->mutex), 0);
    }
    return NULL;
}

static void close_store(void)
{
    ck_assert_int_eq(vthread_mutex_lock(&store->mutex), 0);
    store->is_closed = true;
    vthread_cond_broadcast(&store->not_empty);
    ck_assert_int_eq(vthread_mutex_unlock(&store->mutex), 0);
}

START_TEST(no_signal_is_lost_at_random)
{
    struct random random = random_start("cond_test");
    vthread_t giver[GIVERS], taker[TAKERS];
    pthread_t p[2];
    store = calloc(1, sizeof *store);
    for (int i = 0; i < TAKERS; i++)
        taker[i] = start(takes, pointer(random_next(&random)));
    for (int i = 0; i < GIVERS; i++)
        giver[i] = start(gives, pointer(random_next(&random)));
    pthread_create(&p[0], NULL, takes, pointer(random_next(&random)));
    pthread_create(&p[1], NULL, gives, pointer(random_next(&random)));
    for (int i = 0; i < 100; i++) {
        vthread_interrupt(taker[random_below(&random, TAKERS)]);
        vthread_sleep(random_below(&random, 100 * VTHREAD_US));
    }
    for (int i = 0; i < GIVERS; i++)
        join(giver[i]);
    pthread_join(p[1], NULL);
    close_store();
    for (int i = 0; i < TAKERS; i++)
        join(taker[i]);
    pthread_join(p[0], NULL);
    ck_assert_int_eq(store->taken, (GIVERS + 1) * TOKENS);
    ck_assert_int_eq(store->tokens, 0);
    ck_assert_uint_eq(store->mutex.word, 0);
    ck_assert_uint_eq(store->not_empty.word | store->not_full.word, 0);
    free(store);
}
END_TEST

/* ---- Misuse ------------------------------------------------------------- */

START_TEST(waiting_without_the_mutex_is_told_as_its_kind_says)
{
    vthread_mutex_init(&mutex, VTHREAD_MUTEX_ERRORCHECK);
    ck_assert_int_eq(vthread_cond_wait(&cond, &mutex), EPERM);
    vthread_mutex_init(&mutex, VTHREAD_MUTEX_RECURSIVE);
    ck_assert_int_eq(vthread_cond_wait(&cond, &mutex), EPERM);
}
END_TEST

static void wait_without_the_mutex(void)
{
    vthread_cond_wait(&cond, &mutex);
}

START_TEST(waiting_without_a_normal_mutex_aborts)
{
    aborts(wait_without_the_mutex);
    said("vthread_cond_wait");
    said("is free");
}
END_TEST

START_TEST(two_mutexes_at_once_are_refused)
{
    vthread_mutex_t other = {0};
    vthread_t t = start(waits, pointer('a'));
    until_it_waits(t);
    vthread_mutex_lock(&other);
    ck_assert_int_eq(vthread_cond_wait(&cond, &other), EINVAL);
    vthread_mutex_unlock(&other);
    signal_one();
    join(t);
    /* Not at once. */
    vthread_mutex_lock(&other);
    ck_assert_int_eq(vthread_cond_wait_until(&cond, &other, 0), ETIMEDOUT);
    vthread_mutex_unlock(&other);
    expect_nothing_left();
}
END_TEST

static void *shares_its_own_cond(void *arg)
{
    vthread_cond_t c = {0};
    expect(vthread_mutex_lock(&mutex) == 0);
    expect(vthread_cond_wait(&c, &mutex) == EFAULT);
    expect(vthread_mutex_unlock(&mutex) == 0);
    return arg;
}

static void escapes(void)
{
    on_a_shared_home(shares_its_own_cond);
}

START_TEST(a_condition_on_a_shared_home_is_refused_in_words)
{
    ends_well(escapes);
    said("vthread_cond_wait");
    said("VTHREAD_STACK_OWN");
}
END_TEST

/* ---- The suite ---------------------------------------------------------- */

static void forget(void)
{
    memset(&mutex, 0, sizeof mutex);
    memset(&cond, 0, sizeof cond);
    deadline = VTHREAD_NEVER;
}

static TCase *new_cond_case(Suite *suite, const char *name)
{
    TCase *cases = new_trail_case(suite, name);
    tcase_add_checked_fixture(cases, forget, NULL);
    return cases;
}

int main(void)
{
    Suite *suite = suite_create("cond");
    TCase *cases = new_cond_case(suite, "signals");
    tcase_add_test(cases, a_signal_that_nobody_waits_for_is_not_kept);
    tcase_add_test(cases, a_signal_wakes_the_one_that_has_waited_longest);
    tcase_add_test(cases, who_is_signalled_waits_for_the_mutex);
    tcase_add_test(cases, a_broadcast_wakes_all_one_by_one_in_their_order);
    tcase_add_test(cases, a_broadcast_without_the_mutex_wakes_all_too);
    tcase_add_test(cases,
                   a_recursive_mutex_is_released_and_held_as_often_again);
    cases = new_cond_case(suite, "deadlines and interrupts");
    tcase_add_test(cases, who_times_out_holds_the_mutex_and_has_left);
    tcase_add_test(cases, who_is_interrupted_holds_the_mutex_and_has_left);
    tcase_add_test(cases, an_interrupt_from_before_ends_the_wait_at_once);
    tcase_add_test(cases,
                   who_is_interrupted_gets_the_mutex_before_it_returns);
    tcase_add_test(cases, an_interrupt_after_the_signal_sticks);
    tcase_add_test(cases, a_deadline_after_the_signal_is_no_time_out);
    tcase_add_test(cases, a_signal_is_not_lost_in_an_interrupt);
    cases = new_cond_case(suite, "stress");
    tcase_add_test(cases, no_signal_is_lost_at_random);
    cases = new_cond_case(suite, "misuse");
    tcase_add_test(cases, waiting_without_the_mutex_is_told_as_its_kind_says);
    tcase_add_test(cases, waiting_without_a_normal_mutex_aborts);
    tcase_add_test(cases, two_mutexes_at_once_are_refused);
    tcase_add_test(cases, a_condition_on_a_shared_home_is_refused_in_words);
    return run_suite(suite);
}
