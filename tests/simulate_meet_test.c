/*
 * simulate_meet_test.c - semaphore, latch, barrier, once and rwlock on the
 * simulated machine: each operation against what wakes it, times it out and
 * cancels it.
 *
 * Permits are conserved, a round has one last, a function succeeds once,
 * writers are alone: what is protected or published is plain memory, so that
 * two at once, or too early, are a data race.
 */
#include <errno.h>

#include <vthread/barrier.h>
#include <vthread/latch.h>
#include <vthread/once.h>
#include <vthread/rwlock.h>
#include <vthread/semaphore.h>

#include "tests/simulate/simulate.h"
#include "tests/threads.h"

static vthread_semaphore_t semaphore;
static vthread_latch_t latch;
static vthread_barrier_t barrier;
static vthread_once_t once;
static vthread_rwlock_t rwlock;
static unsigned given, taken, lasts, passed, calls; /* atomic */
static int published[4]; /* plain */
static int value;        /* plain: under the lock, or by once */

static void forget(void)
{
    simulate_expect(vthread_semaphore_init(&semaphore, 0) == 0);
    simulate_expect(vthread_latch_init(&latch, 2) == 0);
    simulate_expect(vthread_barrier_init(&barrier, 2) == 0);
    once = (vthread_once_t){0};
    rwlock = (vthread_rwlock_t){0};
    given = taken = lasts = passed = calls = 0;
    memset(published, 0, sizeof published);
    value = 0;
}

static void count(unsigned *counter)
{
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static void interrupted(int err)
{
    if (err != ECANCELED)
        simulate_expect(vthread_park() == ECANCELED);
    simulate_expect(!vthread_interrupted());
}

static void rest(void)
{
    simulate_expect(vthread_sleep_until(SIMULATE_LATER) == 0);
    simulate_expect(vthread_now() >= SIMULATE_LATER);
}

static void *interrupts_first(void *number)
{
    simulate_expect(vthread_interrupt(simulate_thread(0)) == 0);
    return number;
}

/* ---- Semaphore ---------------------------------------------------------- */

static void *posts(void *number)
{
    simulate_expect(vthread_semaphore_post(&semaphore) == 0);
    count(&given);
    return number;
}

static void *posts_twice(void *number)
{
    posts(number);
    return posts(number);
}

static int take_until(uint64_t deadline_ns)
{
    int err = vthread_semaphore_wait_until(&semaphore, deadline_ns);
    if (err == 0)
        count(&taken);
    return err;
}

static void *takes(void *number)
{
    simulate_expect(take_until(VTHREAD_NEVER) == 0);
    return number;
}

static void *takes_until_and_rests(void *number)
{
    int err = take_until(SIMULATE_SOON);
    simulate_expect(err == 0 || err == ETIMEDOUT);
    rest();
    return number;
}

static void *takes_or_canceled(void *number)
{
    int err = take_until(SIMULATE_SOON);
    simulate_expect(err == 0 || err == ETIMEDOUT || err == ECANCELED);
    interrupted(err);
    return number;
}

/* One permit is a lock: what was done with it is seen by the next. */
static void one_permit(void)
{
    forget();
    posts(NULL);
}

static void *takes_and_posts(void *number)
{
    takes(number);
    value++;
    return posts(number);
}

static void *tries_to_take(void *number)
{
    int err = vthread_semaphore_trywait(&semaphore);
    simulate_expect(err == 0 || err == EAGAIN);
    if (err == 0)
        count(&taken);
    return number;
}

/* There are permits all the time, so none of them is refused. */
static void all_permits(void)
{
    forget();
    simulate_expect(vthread_semaphore_init(&semaphore, VTHREAD_SEMAPHORE_MAX)
                    == 0);
}

static void *takes_one_of_many(void *number)
{
    simulate_expect(vthread_semaphore_trywait(&semaphore) == 0);
    return number;
}

static void *posts_if_there_is_room(void *number)
{
    int err = vthread_semaphore_post(&semaphore);
    simulate_expect(err == 0 || err == EOVERFLOW);
    return number;
}

static void permits_conserved(void)
{
    uint32_t left = 9;
    simulate_expect(vthread_semaphore_getvalue(&semaphore, &left) == 0);
    simulate_expect(given == taken + left);
    simulate_expect(semaphore.waiting[0] == 0);
}

/* ---- Latch -------------------------------------------------------------- */

static void *counts_down(void *number)
{
    published[(uintptr_t)number] = 1;
    simulate_expect(vthread_latch_count_down(&latch, 1) == 0);
    return number;
}

static void *counts_down_twice(void *number)
{
    published[1] = published[2] = 1;
    counts_down(number);
    return counts_down(number);
}

static void is_open(void)
{
    simulate_expect(published[1] == 1 && published[2] == 1);
    simulate_expect(vthread_latch_trywait(&latch) == 0);
}

static void *waits_for_latch(void *number)
{
    simulate_expect(vthread_latch_wait(&latch) == 0);
    is_open();
    return number;
}

static void *waits_for_latch_until(void *number)
{
    int err = vthread_latch_wait_until(&latch, SIMULATE_SOON);
    simulate_expect(err == 0 || err == ETIMEDOUT);
    if (err == 0)
        is_open();
    rest();
    return number;
}

static void *waits_for_latch_or_canceled(void *number)
{
    int err = vthread_latch_wait(&latch);
    simulate_expect(err == 0 || err == ECANCELED);
    if (err == 0)
        is_open();
    interrupted(err);
    return number;
}

static void *tries_latch(void *number)
{
    int err = vthread_latch_trywait(&latch);
    simulate_expect(err == 0 || err == EBUSY);
    if (err == 0)
        is_open();
    return number;
}

/* ---- Barrier ------------------------------------------------------------ */

static void *meets(void *number)
{
    bool is_last = false;
    published[(uintptr_t)number] = 1;
    simulate_expect(vthread_barrier_wait(&barrier, &is_last) == 0);
    simulate_expect(published[0] == 1 && published[1] == 1);
    if (is_last)
        count(&lasts);
    return number;
}

static void *meets_twice(void *number)
{
    for (int round = 0; round < 2; round++) {
        bool is_last = false;
        simulate_expect(vthread_barrier_wait(&barrier, &is_last) == 0);
        if (is_last)
            count(&lasts);
        count(&passed);
    }
    return number;
}

/* Both pass, or none; the barrier stays whole. */
static int meet_until(uint64_t deadline_ns)
{
    bool is_last = false;
    int err = vthread_barrier_wait_until(&barrier, &is_last, deadline_ns);
    if (err == 0)
        count(&passed);
    if (err == 0 && is_last)
        count(&lasts);
    return err;
}

static void *meets_until(void *number)
{
    int err = meet_until(SIMULATE_SOON);
    simulate_expect(err == 0 || err == ETIMEDOUT);
    return number;
}

static void *meets_until_and_rests(void *number)
{
    meets_until(number);
    rest();
    return number;
}

static void *meets_or_canceled(void *number)
{
    int err = meet_until(VTHREAD_NEVER);
    simulate_expect(err == 0 || err == ECANCELED);
    interrupted(err);
    return number;
}

static void one_last(void)
{
    simulate_expect(lasts == 1);
    simulate_expect(barrier.waiting[0] == 0);
}

static void two_rounds(void)
{
    simulate_expect(lasts == 2 && passed == 4);
    simulate_expect(barrier.waiting[0] == 0);
}

static void in_pairs(void)
{
    simulate_expect(passed % 2 == 0 && lasts == passed / 2);
    simulate_expect(barrier.waiting[0] == 0);
}

/* ---- Once --------------------------------------------------------------- */

static int succeeds(void *unused)
{
    (void)unused;
    count(&calls);
    value++;
    return 0;
}

/* The first call fails. */
static int fails_at_first(void *unused)
{
    (void)unused;
    unsigned before = __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
    vthread_yield();
    if (before == 0)
        return EIO;
    value++;
    return 0;
}

static int leaves(void *unused)
{
    (void)unused;
    count(&calls);
    vthread_exit(NULL);
}

static int sleeps(void *unused)
{
    (void)unused;
    simulate_expect(vthread_sleep_until(SIMULATE_SOON + VTHREAD_MS) == 0);
    return succeeds(NULL);
}

static void *does_once(void *number)
{
    simulate_expect(vthread_once(&once, succeeds, NULL) == 0);
    simulate_expect(value == 1);
    return number;
}

static void *does_failing_once(void *number)
{
    int err = vthread_once(&once, fails_at_first, NULL);
    simulate_expect(err == 0 || err == EIO);
    if (err == EIO)
        count(&passed);
    else
        simulate_expect(value == 1);
    return number;
}

static void *leaves_once(void *number)
{
    int err = vthread_once(&once, leaves, NULL);
    simulate_expect(err == 0 && value == 1);
    return number;
}

static void *does_slowly(void *number)
{
    simulate_expect(vthread_once(&once, sleeps, NULL) == 0);
    simulate_expect(value == 1);
    return number;
}

static void *does_once_until(void *number)
{
    int err = vthread_once_until(&once, succeeds, NULL, SIMULATE_SOON);
    simulate_expect(err == 0 || err == ETIMEDOUT);
    if (err == 0)
        simulate_expect(value == 1);
    rest();
    return number;
}

static void *does_once_or_canceled(void *number)
{
    int err = vthread_once(&once, succeeds, NULL);
    simulate_expect(err == 0 || err == ECANCELED);
    if (err == 0)
        simulate_expect(value == 1);
    interrupted(err);
    return number;
}

static void done_once(void)
{
    simulate_expect(value == 1 && calls == 1);
    simulate_expect(vthread_once_is_done(&once));
}

static void done_after_failure(void)
{
    simulate_expect(passed == 1 && value == 1 && calls == 2);
    simulate_expect(vthread_once_is_done(&once));
}

static void done_by_another(void)
{
    simulate_expect(value == 1);
    simulate_expect(vthread_once_is_done(&once));
}

/* ---- Rwlock ------------------------------------------------------------- */

static void unlock(void)
{
    simulate_expect(vthread_rwlock_unlock(&rwlock) == 0);
}

static void *writes(void *number)
{
    simulate_expect(vthread_rwlock_wrlock(&rwlock) == 0);
    value++;
    unlock();
    return number;
}

static void *reads(void *number)
{
    simulate_expect(vthread_rwlock_rdlock(&rwlock) == 0);
    int before = value;
    vthread_yield();
    simulate_expect(value == before);
    unlock();
    return number;
}

static void *writes_until(void *number)
{
    int err = vthread_rwlock_wrlock_until(&rwlock, SIMULATE_SOON);
    simulate_expect(err == 0 || err == ETIMEDOUT);
    if (err == 0) {
        value++;
        unlock();
    }
    rest();
    return number;
}

static void *reads_until(void *number)
{
    int err = vthread_rwlock_rdlock_until(&rwlock, SIMULATE_SOON);
    simulate_expect(err == 0 || err == ETIMEDOUT);
    if (err == 0) {
        simulate_expect(value >= 0);
        unlock();
    }
    rest();
    return number;
}

static void *holds_long(void *number)
{
    simulate_expect(vthread_rwlock_wrlock(&rwlock) == 0);
    simulate_expect(vthread_sleep_until(SIMULATE_SOON + VTHREAD_MS) == 0);
    value++;
    unlock();
    return number;
}

static void *tries_both(void *number)
{
    if (vthread_rwlock_trywrlock(&rwlock) == 0) {
        value++;
        unlock();
    }
    if (vthread_rwlock_tryrdlock(&rwlock) == 0) {
        simulate_expect(value >= 0);
        unlock();
    }
    return number;
}

static void *writes_interrupted(void *number)
{
    writes(number);
    simulate_expect(vthread_park() == ECANCELED);
    return number;
}

static void free_again(void)
{
    simulate_expect(rwlock.word == 0 && rwlock.waiting[0] == 0);
    simulate_expect(vthread_rwlock_trywrlock(&rwlock) == 0);
    unlock();
}

/* ---- The programs ------------------------------------------------------- */

#define PROGRAM(title, check, ...)                                            \
    {.name = title, .begin = forget, .end = check, .threads = {__VA_ARGS__}}

static const struct {
    struct simulate_program program;
    unsigned preemptions;
} programs[] = {
    {PROGRAM("semaphore_post", permits_conserved, takes, posts), 2},
    {PROGRAM("semaphore_three", permits_conserved, takes, takes, posts_twice),
     1},
    {PROGRAM("semaphore_until", permits_conserved, takes_until_and_rests,
             posts),
     1},
    {PROGRAM("semaphore_until_two", permits_conserved, takes_until_and_rests,
             takes, posts_twice),
     0},
    {PROGRAM("semaphore_cancel", permits_conserved, takes_or_canceled, posts,
             interrupts_first),
     0},
    {PROGRAM("semaphore_try", permits_conserved, tries_to_take, posts,
             tries_to_take),
     2},
    {{.name = "semaphore_try_many", .begin = all_permits,
      .threads = {takes_one_of_many, posts_if_there_is_room}},
     2},
    {{.name = "semaphore_lock", .begin = one_permit, .end = permits_conserved,
      .threads = {takes_and_posts, takes_and_posts}},
     2},
    {{.name = "semaphore_platform", .begin = forget, .end = permits_conserved,
      .threads = {posts_twice}, .platform_threads = {takes, takes}},
     1},
    {PROGRAM("latch_three", NULL, waits_for_latch, counts_down, counts_down),
     1},
    {PROGRAM("latch_two_wait", NULL, waits_for_latch, counts_down_twice,
             waits_for_latch),
     1},
    {PROGRAM("latch_until", NULL, waits_for_latch_until, counts_down,
             counts_down),
     0},
    {PROGRAM("latch_cancel", NULL, waits_for_latch_or_canceled,
             counts_down_twice, interrupts_first),
     1},
    {PROGRAM("latch_try", NULL, tries_latch, counts_down, counts_down), 1},
    {PROGRAM("barrier_two", one_last, meets, meets), 2},
    {PROGRAM("barrier_again", two_rounds, meets_twice, meets_twice), 2},
    {PROGRAM("barrier_until", in_pairs, meets_until_and_rests, meets_until),
     1},
    {PROGRAM("barrier_until_three", in_pairs, meets_until, meets_until,
             meets_until),
     0},
    {PROGRAM("barrier_cancel", in_pairs, meets_or_canceled, meets_until,
             interrupts_first),
     0},
    {PROGRAM("once_three", done_once, does_once, does_once, does_once), 1},
    {PROGRAM("once_fails", done_after_failure, does_failing_once,
             does_failing_once, does_failing_once),
     1},
    {PROGRAM("once_left", done_by_another, does_once, leaves_once, does_once),
     1},
    {PROGRAM("once_until", done_once, does_once_until, does_slowly), 1},
    {PROGRAM("once_cancel", done_once, does_once_or_canceled, does_once,
             interrupts_first),
     1},
    {PROGRAM("once_cancel_slow", done_once, does_once_or_canceled,
             does_slowly, interrupts_first),
     0},
    {PROGRAM("rwlock_readers_writer", free_again, reads, reads, writes), 1},
    {PROGRAM("rwlock_writers_reader", free_again, writes, reads, writes), 1},
    {PROGRAM("rwlock_write_until", free_again, writes_until, holds_long), 1},
    {PROGRAM("rwlock_read_until", free_again, reads_until, holds_long), 1},
    {PROGRAM("rwlock_writer_leaves", free_again, holds_long, writes_until,
             reads),
     0},
    {PROGRAM("rwlock_try", free_again, tries_both, writes, reads), 1},
    {PROGRAM("rwlock_interrupt", free_again, writes_interrupted, writes,
             interrupts_first),
     1},
    {{.name = "rwlock_platform", .begin = forget, .end = free_again,
      .threads = {writes}, .platform_threads = {reads, writes}},
     1},
};

START_TEST(all_meet_as_they_should_in_every_schedule)
{
    simulate(&programs[_i].program,
             programs[_i].preemptions + (getenv("STRESS") != NULL));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("simulate_meet");
    TCase *cases = new_case(suite, "schedules");
    tcase_set_timeout(cases, SIMULATE_TIMEOUT);
    tcase_add_loop_test(cases, all_meet_as_they_should_in_every_schedule, 0,
                        COUNT_OF(programs));
    return run_suite(suite);
}
