/*
 * rwlock_test.c - readers together, writers alone, nobody before his turn.
 */
#include <errno.h>

#include "tests/homes.h"
#include "tests/random.h"
#include "tests/threads.h"
#include "tests/trail.h"

static vthread_rwlock_t lock;
static uint64_t deadline;

static void read_lock(void)
{
    ck_assert_int_eq(vthread_rwlock_rdlock(&lock), 0);
}

static void write_lock(void)
{
    ck_assert_int_eq(vthread_rwlock_wrlock(&lock), 0);
}

static void unlock(void)
{
    ck_assert_int_eq(vthread_rwlock_unlock(&lock), 0);
}

static void expect_free(void)
{
    ck_assert_uint_eq(lock.word, 0);
    ck_assert_uint_eq(lock.writer, 0);
    ck_assert_uint_eq(lock.waiting[0], 0);
}

static atomic_int may_unlock;
static atomic_int readers;

/* Readers count themselves and go when they are told to. */
static void *reads(void *arg)
{
    (void)arg;
    int err = vthread_rwlock_rdlock_until(&lock, deadline);
    if (err == 0) {
        atomic_fetch_add(&readers, 1);
        until(&may_unlock);
        atomic_fetch_sub(&readers, 1);
        unlock();
    }
    return pointer((uintptr_t)err);
}

static void *writes(void *letter)
{
    int err = vthread_rwlock_wrlock_until(&lock, deadline);
    if (err == 0) {
        ck_assert_int_eq(readers, 0);
        step((char)(uintptr_t)letter);
        unlock();
    }
    return pointer((uintptr_t)err + (vthread_interrupted() ? 1000 : 0));
}

static void *platform_writes(void *arg)
{
    struct platform_parker *p = arg;
    atomic_store(&p->handle, vthread_self());
    p->result = (int)(uintptr_t)writes(pointer('p'));
    return NULL;
}

static vthread_t start_waiting(void *(*fn)(void *), void *arg)
{
    vthread_t t = start(fn, arg);
    until_waiting(t);
    return t;
}

static void until_readers(int count)
{
    while (atomic_load(&readers) != count)
        vthread_yield();
}

/* ---- Without waiting ---------------------------------------------------- */

static void *locks_both_ways(void *arg)
{
    read_lock();
    read_lock();
    ck_assert_int_eq(vthread_rwlock_tryrdlock(&lock), 0);
    ck_assert_int_eq(vthread_rwlock_trywrlock(&lock), EBUSY);
    ck_assert_int_eq(vthread_rwlock_wrlock_until(&lock, 0), ETIMEDOUT);
    for (int i = 0; i < 3; i++)
        unlock();
    expect_free();
    write_lock();
    ck_assert_int_eq(vthread_rwlock_tryrdlock(&lock), EBUSY);
    ck_assert_int_eq(vthread_rwlock_trywrlock(&lock), EBUSY);
    ck_assert_int_eq(vthread_rwlock_rdlock(&lock), EDEADLK);
    ck_assert_int_eq(vthread_rwlock_wrlock(&lock), EDEADLK);
    unlock();
    ck_assert_int_eq(vthread_rwlock_trywrlock(&lock), 0);
    unlock();
    ck_assert_int_eq(vthread_rwlock_rdlock_until(&lock, 0), 0);
    unlock();
    ck_assert_int_eq(vthread_rwlock_wrlock_until(&lock, 0), 0);
    unlock();
    expect_free();
    return arg;
}

START_TEST(a_zeroed_lock_is_free_for_many_readers_or_one_writer)
{
    on_both_kinds(locks_both_ways);
}
END_TEST

START_TEST(too_many_readers_are_told)
{
    lock.word = ((1u << 28) - 1) << 3;
    uint32_t before = lock.word;
    ck_assert_int_eq(vthread_rwlock_rdlock(&lock), EAGAIN);
    ck_assert_int_eq(vthread_rwlock_tryrdlock(&lock), EAGAIN);
    ck_assert_uint_eq(lock.word, before);
}
END_TEST

/* ---- Turns -------------------------------------------------------------- */

START_TEST(a_reader_behind_a_waiting_writer_waits)
{
    read_lock();
    vthread_t w = start_waiting(writes, pointer('w'));
    ck_assert_int_eq(vthread_rwlock_tryrdlock(&lock), EBUSY);
    vthread_t r = start_waiting(reads, NULL);
    ck_assert_int_eq(readers, 0);
    unlock();
    join(w);
    until_readers(1);
    ck_assert_str_eq(trail, "w");
    atomic_store(&may_unlock, 1);
    join(r);
    expect_free();
}
END_TEST

START_TEST(after_a_writer_the_readers_ahead_of_the_next_go_together)
{
    vthread_t r[4], w1, w2;
    struct platform_parker p;
    write_lock();
    r[0] = start_waiting(reads, NULL);
    r[1] = start_waiting(reads, NULL);
    w1 = start_waiting(writes, pointer('1'));
    r[2] = start_waiting(reads, NULL);
    until_waiting(start_parker(&p, platform_writes));
    r[3] = start_waiting(reads, NULL);
    w2 = start_waiting(writes, pointer('2'));
    unlock();
    until_readers(2);
    ck_assert(word_of(w1) & word_of(r[2]) & word_of(r[3]) & THREAD_WAITING);
    step('a');
    atomic_store(&may_unlock, 1);
    for (int i = 0; i < 4; i++)
        join(r[i]);
    join(w1);
    join(w2);
    pthread_join(p.pthread, NULL);
    ck_assert_str_eq(trail, "a1p2");
    expect_free();
}
END_TEST

/* ---- Deadlines and interrupts ------------------------------------------- */

static void *times_out(void *arg)
{
    deadline = vthread_after(VTHREAD_MS);
    ck_assert_ptr_eq(writes(NULL), pointer(ETIMEDOUT));
    ck_assert_ptr_eq(reads(NULL), pointer(ETIMEDOUT));
    ck_assert_uint_ge(vthread_now(), deadline);
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
    write_lock();
    pthread_create(&p, NULL, times_out_on_both_kinds, NULL);
    pthread_join(p, NULL);
    ck_assert_uint_eq(lock.waiting[0], 0);
    unlock();
    expect_free();
}
END_TEST

START_TEST(readers_go_on_when_the_writer_ahead_of_them_gives_up)
{
    read_lock();
    deadline = vthread_after(20 * VTHREAD_MS);
    vthread_t w = start(writes, pointer('w'));
    until_waiting(w);
    deadline = VTHREAD_NEVER;
    vthread_t a = start(reads, NULL), b = start(reads, NULL);
    /* The lock is held by a reader all the time. */
    ck_assert_ptr_eq(join(w), pointer(ETIMEDOUT));
    until_readers(2);
    atomic_store(&may_unlock, 1);
    join(a);
    join(b);
    unlock();
    expect_free();
}
END_TEST

START_TEST(a_writer_goes_on_when_all_readers_ahead_of_it_give_up)
{
    write_lock();
    deadline = vthread_after(5 * VTHREAD_MS);
    vthread_t r = start(reads, NULL);
    until_waiting(r);
    deadline = VTHREAD_NEVER;
    vthread_t w = start_waiting(writes, pointer('w'));
    ck_assert_ptr_eq(join(r), pointer(ETIMEDOUT));
    unlock();
    ck_assert_ptr_eq(join(w), pointer(0));
    ck_assert_str_eq(trail, "w");
    expect_free();
}
END_TEST

START_TEST(an_interrupt_waits_for_the_next_wait_that_heeds_it)
{
    read_lock();
    vthread_t w = start_waiting(writes, pointer('w'));
    vthread_interrupt(w);
    ck_assert(word_of(w) & THREAD_WAITING);
    unlock();
    ck_assert_ptr_eq(join(w), pointer(1000));
    expect_free();
}
END_TEST

/* ---- Stress ------------------------------------------------------------- */

enum { STRESS_THREADS = 30 };

static struct shared {
    vthread_rwlock_t lock;
    unsigned a, b; /* equal, but for a writer */
    atomic_int readers, writers, reads, writes;
} *shared;

static void be_a_writer(struct random *random)
{
    ck_assert_int_eq(atomic_fetch_add(&shared->writers, 1), 0);
    ck_assert_int_eq(shared->readers, 0);
    shared->a++;
    if (random_below(random, 4) == 0)
        vthread_yield();
    shared->b++;
    atomic_fetch_add(&shared->writes, 1);
    atomic_fetch_sub(&shared->writers, 1);
}

static void be_a_reader(struct random *random)
{
    atomic_fetch_add(&shared->readers, 1);
    ck_assert_int_eq(shared->writers, 0);
    unsigned a = shared->a;
    if (random_below(random, 4) == 0)
        vthread_yield();
    ck_assert_uint_eq(a, shared->b);
    atomic_fetch_sub(&shared->readers, 1);
}

static int lock_somehow(struct random *random, bool as_writer)
{
    vthread_rwlock_t *l = &shared->lock;
    uint64_t soon = vthread_after(random_below(random, 100 * VTHREAD_US));
    switch (random_below(random, 4)) {
    case 0:
        return as_writer ? vthread_rwlock_trywrlock(l)
                         : vthread_rwlock_tryrdlock(l);
    case 1:
        return as_writer ? vthread_rwlock_wrlock_until(l, soon)
                         : vthread_rwlock_rdlock_until(l, soon);
    default:
        return as_writer ? vthread_rwlock_wrlock(l)
                         : vthread_rwlock_rdlock(l);
    }
}

static void *locks_at_random(void *seed)
{
    struct random random = {(uintptr_t)seed};
    for (int i = 0; i < (UNDER_SANITIZER ? 100 : 400); i++) {
        bool as_writer = random_below(&random, 3) == 0;
        int err = lock_somehow(&random, as_writer);
        if (err == 0) {
            if (as_writer)
                be_a_writer(&random);
            else
                be_a_reader(&random);
            ck_assert_int_eq(vthread_rwlock_unlock(&shared->lock), 0);
        } else {
            ck_assert(err == EBUSY || err == ETIMEDOUT);
        }
        if (random_below(&random, 4) == 0)
            vthread_yield();
    }
    return NULL;
}

START_TEST(readers_and_writers_exclude_each_other_at_random)
{
    struct random random = random_start("rwlock_test");
    vthread_t t[STRESS_THREADS];
    pthread_t p[2];
    shared = calloc(1, sizeof *shared);
    for (int i = 0; i < STRESS_THREADS; i++)
        t[i] = start(locks_at_random, pointer(random_next(&random)));
    for (int i = 0; i < 2; i++)
        pthread_create(&p[i], NULL, locks_at_random,
                       pointer(random_next(&random)));
    for (int i = 0; i < STRESS_THREADS; i++)
        join(t[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(p[i], NULL);
    ck_assert_uint_eq(shared->a, (unsigned)shared->writes);
    ck_assert_uint_eq(shared->lock.word, 0);
    ck_assert_uint_eq(shared->lock.waiting[0], 0);
    free(shared);
}
END_TEST

static atomic_int writer_is_done;

static void *reads_on(void *arg)
{
    while (!atomic_load(&writer_is_done)) {
        read_lock();
        vthread_yield();
        unlock();
    }
    return arg;
}

static void *writes_often(void *arg)
{
    for (int i = 0; i < 100; i++) {
        write_lock();
        unlock();
    }
    atomic_store(&writer_is_done, 1);
    return arg;
}

/* Their times overlap, so there is always a reader: without turns this would
 * not end. */
START_TEST(readers_without_end_do_not_starve_a_writer)
{
    vthread_t r[4], w;
    for (int i = 0; i < 4; i++)
        r[i] = start(reads_on, NULL);
    w = start(writes_often, NULL);
    join(w);
    for (int i = 0; i < 4; i++)
        join(r[i]);
    expect_free();
}
END_TEST

/* ---- Homes and misuse --------------------------------------------------- */

static void *shares_its_own(void *arg)
{
    vthread_rwlock_t l = {0};
    expect(vthread_rwlock_rdlock(&l) == EFAULT);
    expect(vthread_rwlock_wrlock(&l) == EFAULT);
    expect(vthread_rwlock_tryrdlock(&l) == EFAULT);
    expect(vthread_rwlock_trywrlock(&l) == EFAULT);
    return arg;
}

static const char *const refusers[] = {
    "vthread_rwlock_rdlock", "vthread_rwlock_wrlock",
    "vthread_rwlock_tryrdlock", "vthread_rwlock_trywrlock", NULL};

static void *writes_that(void *l)
{
    ck_assert_int_eq(vthread_rwlock_wrlock(l), 0);
    ck_assert_int_eq(vthread_rwlock_unlock(l), 0);
    return NULL;
}

static void *has_its_own(void *arg)
{
    vthread_rwlock_t l = VTHREAD_RWLOCK_INITIALIZER;
    ck_assert_int_eq(vthread_rwlock_rdlock(&l), 0);
    vthread_t t = start(writes_that, &l);
    until_waiting(t);
    ck_assert_int_eq(vthread_rwlock_unlock(&l), 0);
    join(t);
    return arg;
}

static void unlock_free(void)
{
    vthread_rwlock_unlock(&lock);
}

START_TEST(an_unlock_of_a_free_lock_is_told)
{
    aborts(unlock_free);
    said("vthread_rwlock_unlock");
    said("is free");
}
END_TEST

static void *writes_and_parks(void *arg)
{
    vthread_rwlock_wrlock(&lock);
    vthread_park();
    return arg;
}

static void unlock_of_another(void)
{
    until_waiting(child_start("writer", writes_and_parks, NULL));
    vthread_rwlock_unlock(&lock);
}

START_TEST(an_unlock_of_anothers_lock_names_the_writer)
{
    aborts(unlock_of_another);
    said("vthread_rwlock_unlock");
    said("'writer' (PARKED)");
}
END_TEST

static void forget(void)
{
    memset(&lock, 0, sizeof lock);
    deadline = VTHREAD_NEVER;
    atomic_store(&may_unlock, 0);
    atomic_store(&readers, 0);
}

int main(void)
{
    Suite *suite = suite_create("rwlock");
    TCase *cases = new_trail_case(suite, "turns");
    tcase_add_checked_fixture(cases, forget, NULL);
    tcase_add_test(cases,
                   a_zeroed_lock_is_free_for_many_readers_or_one_writer);
    tcase_add_test(cases, too_many_readers_are_told);
    tcase_add_test(cases, a_reader_behind_a_waiting_writer_waits);
    tcase_add_test(cases,
                   after_a_writer_the_readers_ahead_of_the_next_go_together);
    tcase_add_test(cases, who_times_out_has_left);
    tcase_add_test(cases,
                   readers_go_on_when_the_writer_ahead_of_them_gives_up);
    tcase_add_test(cases,
                   a_writer_goes_on_when_all_readers_ahead_of_it_give_up);
    tcase_add_test(cases, an_interrupt_waits_for_the_next_wait_that_heeds_it);
    tcase_add_test(cases, readers_and_writers_exclude_each_other_at_random);
    tcase_add_test(cases, readers_without_end_do_not_starve_a_writer);
    add_homes(cases, refusers);
    tcase_add_test(cases, an_unlock_of_a_free_lock_is_told);
    tcase_add_test(cases, an_unlock_of_anothers_lock_names_the_writer);
    return run_suite(suite);
}
