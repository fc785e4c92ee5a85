/*
 * carrier_call_test.c - nothing waits for the end of a call that blocks.
 *
 * One carrier, mostly.  A thread is in a call, which ends only when some
 * other thread has run: so each case hangs if its claim does not hold.  Both
 * kinds of call: one that is handed off at once, and one that is only marked,
 * which the monitor has to retake.
 */
#include <errno.h>
#include <semaphore.h>

#include "call/blocking.h"
#include "inspect/deadlock.h"
#include "tests/random.h"
#include "tests/threads.h"

static enum blocking_kind kinds[] = {BLOCKING_LONG, BLOCKING_SHORT};

static sem_t sem;

static void wait_for_post(void)
{
    while (sem_wait(&sem) != 0)
        continue;
}

static void *posts(void *arg)
{
    sem_post(&sem);
    return arg;
}

static void *parks_and_posts(void *arg)
{
    vthread_park();
    return posts(arg);
}

/* The calling thread is in a call of the kind while fn runs. */
static void in_call(enum blocking_kind kind, void (*fn)(void))
{
    struct blocking blocking;
    ck_assert_int_eq(blocking_begin(&blocking, kind, VTHREAD_NEVER), 0);
    fn();
    blocking_end(&blocking);
}

/* ---- One case, on one carrier ------------------------------------------- */

static vthread_scheduler_t *scheduler;
static vthread_t other;
static void (*before_call)(void), (*during_call)(void);
static atomic_int is_in_call;

static void wait_in_call(void)
{
    atomic_store(&is_in_call, 1);
    during_call();
    wait_for_post();
}

static void *calls(void *kind)
{
    before_call();
    in_call(*(enum blocking_kind *)kind, wait_in_call);
    return NULL;
}

static void nothing(void)
{
}

/* `from_outside` is what the test's own thread does when the call blocks. */
static void run_case(void (*before)(void), void (*during)(void),
                     void (*from_outside)(void))
{
    before_call = before;
    during_call = during;
    for (unsigned i = 0; i < COUNT_OF(kinds); i++) {
        sem_init(&sem, 0, 0);
        scheduler = scheduler_of(1);
        other = start_on(scheduler, parks_and_posts, NULL);
        until_waiting(other);
        atomic_store(&is_in_call, 0);
        vthread_t caller = start_on(scheduler, calls, &kinds[i]);
        until(&is_in_call);
        from_outside();
        join(caller);
        vthread_unpark(other);
        join(other);
        shut_down(scheduler);
        sem_destroy(&sem);
    }
}

static void unpark_other(void)
{
    ck_assert_int_eq(vthread_unpark(other), 0);
}

static void create_another(void)
{
    vthread_attr_t attr = {.scheduler = scheduler, .flags = VTHREAD_DETACHED};
    ck_assert_int_eq(vthread_create(NULL, &attr, posts, NULL), 0);
}

START_TEST(who_was_woken_before_the_call_runs_during_it)
{
    run_case(unpark_other, nothing, nothing);
}
END_TEST

START_TEST(who_was_created_before_the_call_runs_during_it)
{
    run_case(create_another, nothing, nothing);
}
END_TEST

START_TEST(who_is_woken_in_the_call_runs_during_it)
{
    run_case(nothing, unpark_other, nothing);
}
END_TEST

START_TEST(who_is_created_in_the_call_runs_during_it)
{
    run_case(nothing, create_another, nothing);
}
END_TEST

START_TEST(who_is_woken_from_outside_runs_during_the_call)
{
    run_case(nothing, nothing, unpark_other);
}
END_TEST

/* So nobody looks after the carrier. */
static void until_the_monitor_sleeps(void)
{
    uint64_t looks = deadlock_test.looks;
    while (deadlock_test.looks == looks)
        usleep(1000);
}

static void unpark_other_later(void)
{
    until_the_monitor_sleeps();
    unpark_other();
}

static void create_another_later(void)
{
    until_the_monitor_sleeps();
    create_another();
}

START_TEST(who_is_woken_in_a_long_call_runs_at_once)
{
    run_case(nothing, unpark_other_later, nothing);
    run_case(nothing, create_another_later, nothing);
}
END_TEST

static void create_many(void)
{
    for (int i = 0; i < 100; i++)
        create_another();
}

static void wait_for_99(void)
{
    create_many();
    for (int i = 0; i < 99; i++)
        wait_for_post();
}

START_TEST(a_hundred_created_in_the_call_run_during_it)
{
    run_case(nothing, wait_for_99, nothing);
}
END_TEST

/* ---- Time and events ---------------------------------------------------- */

static void *sleeps_and_posts(void *arg)
{
    vthread_sleep(200 * VTHREAD_US);
    return posts(arg);
}

static void create_sleeper(void)
{
    vthread_attr_t attr = {.scheduler = scheduler, .flags = VTHREAD_DETACHED};
    ck_assert_int_eq(vthread_create(NULL, &attr, sleeps_and_posts, NULL), 0);
}

static void create_sleeper_and_let_it_sleep(void)
{
    create_sleeper();
    vthread_yield();
}

START_TEST(timers_expire_during_the_call)
{
    run_case(create_sleeper_and_let_it_sleep, nothing, nothing);
    run_case(nothing, create_sleeper, nothing);
}
END_TEST

static int ends[2];

static void *reads_and_posts(void *arg)
{
    char byte;
    size_t size;
    ck_assert_int_eq(vthread_read(ends[0], &byte, 1, &size), 0);
    return posts(arg);
}

static void create_reader(void)
{
    vthread_attr_t attr = {.scheduler = scheduler, .flags = VTHREAD_DETACHED};
    ck_assert_int_eq(vthread_create(NULL, &attr, reads_and_posts, NULL), 0);
    vthread_yield();
}

static void write_byte(void)
{
    ck_assert_int_eq(write(ends[1], "x", 1), 1);
}

START_TEST(events_are_seen_during_the_call)
{
    ck_assert_int_eq(pipe(ends), 0);
    run_case(create_reader, nothing, write_byte);
    run_case(create_reader, write_byte, nothing);
    vthread_close(ends[0]);
    close(ends[1]);
}
END_TEST

/* ---- Waits inside a call ------------------------------------------------ */

static void park_inside(void)
{
    vthread_yield();
    ck_assert_int_eq(vthread_sleep(20 * VTHREAD_US), 0);
    join(start_on(scheduler, return_argument, NULL));
    create_another();
}

START_TEST(a_call_goes_on_blocking_after_a_wait_inside)
{
    run_case(nothing, park_inside, nothing);
}
END_TEST

static void call_inside(void)
{
    for (unsigned i = 0; i < COUNT_OF(kinds); i++)
        in_call(kinds[i], park_inside);
    wait_for_post();
    wait_for_post();
    create_another();
}

START_TEST(a_call_goes_on_blocking_after_a_call_inside)
{
    run_case(nothing, call_inside, nothing);
}
END_TEST

/* ---- Several carriers, all of them in calls ----------------------------- */

enum { CALLERS = 4 };

static atomic_int in_calls;
static _Atomic bool may_end;

static void meet_and_wait(void)
{
    atomic_fetch_add(&in_calls, 1);
    while (!atomic_load(&may_end))
        usleep(100);
}

static void *calls_marked(void *arg)
{
    in_call(BLOCKING_SHORT, meet_and_wait);
    return arg;
}

static void *lets_them_end(void *arg)
{
    while (atomic_load(&in_calls) < CALLERS)
        vthread_yield();
    atomic_store(&may_end, true);
    return arg;
}

START_TEST(marked_calls_on_all_carriers_do_not_stop_the_others)
{
    for (unsigned parallelism = 1; parallelism <= CALLERS; parallelism++) {
        vthread_scheduler_t *s = scheduler_of(parallelism);
        vthread_t threads[CALLERS + 1];
        atomic_store(&in_calls, 0);
        atomic_store(&may_end, false);
        for (unsigned i = 0; i < CALLERS; i++)
            threads[i] = start_on(s, calls_marked, NULL);
        threads[CALLERS] = start_on(s, lets_them_end, NULL);
        for (unsigned i = 0; i <= CALLERS; i++)
            join(threads[i]);
        shut_down(s);
    }
}
END_TEST

/* ---- The books ---------------------------------------------------------- */

enum { THREADS = 12 };

static uint64_t seed;
static atomic_int finished;

static void spin_for(uint64_t ns)
{
    uint64_t until_ns = vthread_now() + ns;
    while (vthread_now() < until_ns)
        continue;
}

/* Calls of all lengths around the monitor's interval, with and without waits
 * in between and inside. */
static void *calls_on_and_on(void *number)
{
    struct random dice = {seed + (uintptr_t)number};
    for (unsigned i = 0; i < how_often(60, 300); i++) {
        struct blocking blocking;
        ck_assert_int_eq(blocking_begin(&blocking, random_below(&dice, 2)
                                                       ? BLOCKING_SHORT
                                                       : BLOCKING_LONG,
                                        VTHREAD_NEVER),
                         0);
        switch (random_below(&dice, 4)) {
        case 0: spin_for(random_below(&dice, 60) * VTHREAD_US); break;
        case 1: usleep((useconds_t)random_below(&dice, 100)); break;
        case 2: vthread_sleep(random_below(&dice, 100) * VTHREAD_US); break;
        default: break;
        }
        blocking_end(&blocking);
        if (random_below(&dice, 3) == 0)
            vthread_yield();
    }
    atomic_fetch_add(&finished, 1);
    return NULL;
}

/* When all is over no carrier is counted as awake, and all slots are free. */
static void until_at_rest(vthread_scheduler_t *s)
{
    while (stats_of(s).carriers_active > 0)
        usleep(100);
}

static sem_t may_return;

static void *waits_for_leave(void *arg)
{
    sem_post(&sem);
    while (sem_wait(&may_return) != 0)
        continue;
    return arg;
}

static void *takes_a_slot(void *arg)
{
    (void)arg;
    return pointer((uintptr_t)vthread_block_until(waits_for_leave, NULL, NULL,
                                                  0));
}

static void check_slots(vthread_scheduler_t *s, unsigned slots)
{
    vthread_t threads[8];
    for (unsigned i = 0; i < slots; i++) {
        threads[i] = start_on(s, takes_a_slot, NULL);
        wait_for_post();
    }
    ck_assert_int_eq((intptr_t)join(start_on(s, takes_a_slot, NULL)), EAGAIN);
    for (unsigned i = 0; i < slots; i++)
        sem_post(&may_return);
    for (unsigned i = 0; i < slots; i++)
        ck_assert_int_eq((intptr_t)join(threads[i]), 0);
}

static void keep_books(unsigned parallelism)
{
    vthread_scheduler_t *s;
    vthread_scheduler_attr_t attr = {.parallelism = parallelism,
                                     .max_carriers = parallelism + 4};
    vthread_t threads[THREADS];
    ck_assert_int_eq(vthread_scheduler_create(&s, &attr), 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        threads[i] = start_on(s, calls_on_and_on, pointer(i));
    for (unsigned i = 0; i < THREADS; i++)
        join(threads[i]);
    until_at_rest(s);
    check_slots(s, parallelism < 2 ? 3 : 2);
    until_at_rest(s);
    shut_down(s);
}

START_TEST(after_calls_of_all_lengths_the_books_balance)
{
    seed = random_start("carrier_call_test").state;
    sem_init(&sem, 0, 0);
    sem_init(&may_return, 0, 0);
    keep_books(1);
    keep_books(2);
    keep_books(4);
}
END_TEST

/* ---- The suite ---------------------------------------------------------- */

int main(void)
{
    Suite *suite = suite_create("calls of carriers");
    TCase *cases = new_case(suite, "during a call");
    tcase_add_test(cases, who_was_woken_before_the_call_runs_during_it);
    tcase_add_test(cases, who_was_created_before_the_call_runs_during_it);
    tcase_add_test(cases, who_is_woken_in_the_call_runs_during_it);
    tcase_add_test(cases, who_is_created_in_the_call_runs_during_it);
    tcase_add_test(cases, who_is_woken_in_a_long_call_runs_at_once);
    tcase_add_test(cases, who_is_woken_from_outside_runs_during_the_call);
    tcase_add_test(cases, a_hundred_created_in_the_call_run_during_it);
    tcase_add_test(cases, timers_expire_during_the_call);
    tcase_add_test(cases, events_are_seen_during_the_call);
    tcase_add_test(cases, a_call_goes_on_blocking_after_a_wait_inside);
    tcase_add_test(cases, a_call_goes_on_blocking_after_a_call_inside);
    tcase_add_test(cases,
                   marked_calls_on_all_carriers_do_not_stop_the_others);
    tcase_add_test(cases, after_calls_of_all_lengths_the_books_balance);
    return run_suite(suite);
}
