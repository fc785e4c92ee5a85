/*
 * simulate_locks_test.c - mutex and condition variable on the simulated
 * machine: each operation against what wakes it, times it out and cancels
 * it.
 *
 * What a lock protects is plain memory here: two in a section at once are a
 * data race, whatever they do there.
 */
#include <errno.h>

#include <vthread/cond.h>
#include <vthread/mutex.h>

#include "tests/simulate/simulate.h"
#include "tests/threads.h"

static vthread_mutex_t mutex, recursive;
static vthread_cond_t cond;
static unsigned entered; /* under the mutex */
static unsigned tokens;  /* under the mutex */
static unsigned waiting; /* under the mutex */

static void forget(void)
{
    mutex = (vthread_mutex_t)VTHREAD_MUTEX_INITIALIZER;
    recursive = (vthread_mutex_t)VTHREAD_MUTEX_RECURSIVE_INITIALIZER;
    cond = (vthread_cond_t){0};
    entered = tokens = waiting = 0;
}

/* Free, and as new: nothing of those who waited is left. */
static void as_new(void)
{
    static const vthread_mutex_t unused = VTHREAD_MUTEX_INITIALIZER;
    static const vthread_cond_t quiet;
    simulate_expect(mutex.word == unused.word && recursive.word == 0);
    simulate_expect(mutex.waiting[0] == 0);
    simulate_expect(cond.word == quiet.word);
    simulate_expect(vthread_mutex_trylock(&mutex) == 0);
    simulate_expect(vthread_mutex_unlock(&mutex) == 0);
}

static void enter(void)
{
    unsigned before = entered;
    entered = before + 1;
}

static void unlock(void)
{
    simulate_expect(vthread_mutex_unlock(&mutex) == 0);
}

/* ---- Mutex -------------------------------------------------------------- */

static void *locks(void *number)
{
    simulate_expect(vthread_mutex_lock(&mutex) == 0);
    enter();
    unlock();
    return number;
}

static void *locks_twice(void *number)
{
    locks(number);
    return locks(number);
}

static void *locks_until(void *number)
{
    int err = vthread_mutex_lock_until(&mutex, SIMULATE_SOON);
    simulate_expect(err == 0 || err == ETIMEDOUT);
    if (err == 0) {
        enter();
        unlock();
    }
    return number;
}

/* Nothing of the wait for the mutex is left in the thread. */
static void *locks_until_and_rests(void *number)
{
    locks_until(number);
    simulate_expect(vthread_sleep_until(SIMULATE_LATER) == 0);
    simulate_expect(vthread_now() >= SIMULATE_LATER);
    return number;
}

static void *tries(void *number)
{
    int err = vthread_mutex_trylock(&mutex);
    simulate_expect(err == 0 || err == EBUSY);
    if (err == 0) {
        enter();
        unlock();
    }
    return number;
}

/* Not a cancellation point: the interrupt is there afterwards. */
static void *locks_interrupted(void *number)
{
    locks(number);
    simulate_expect(vthread_park() == ECANCELED);
    return number;
}

static void *locks_and_sleeps(void *number)
{
    simulate_expect(vthread_mutex_lock(&mutex) == 0);
    enter();
    simulate_expect(vthread_sleep_until(SIMULATE_SOON + VTHREAD_MS) == 0);
    enter();
    unlock();
    return number;
}

static void *interrupts_first(void *number)
{
    simulate_expect(vthread_interrupt(simulate_thread(0)) == 0);
    return number;
}

static void *locks_again(void *number)
{
    for (int i = 0; i < 3; i++)
        simulate_expect(vthread_mutex_lock(&recursive) == 0);
    enter();
    for (int i = 0; i < 3; i++)
        simulate_expect(vthread_mutex_unlock(&recursive) == 0);
    simulate_expect(vthread_mutex_unlock(&recursive) == EPERM);
    return number;
}

static void entered_twice(void)
{
    as_new();
    simulate_expect(entered == 2);
}

static void entered_three_times(void)
{
    as_new();
    simulate_expect(entered == 3);
}

static void entered_four_times(void)
{
    as_new();
    simulate_expect(entered == 4);
}

/* ---- Condition variable ------------------------------------------------- */

static void *waits(void *number)
{
    simulate_expect(vthread_mutex_lock(&mutex) == 0);
    while (tokens == 0)
        simulate_expect(vthread_cond_wait(&cond, &mutex) == 0);
    tokens--;
    unlock();
    return number;
}

/* A token that is given is had in the end, by this wait or the next. */
static void *waits_until(void *number)
{
    int err = 0;
    simulate_expect(vthread_mutex_lock(&mutex) == 0);
    while (tokens == 0 && err == 0)
        err = vthread_cond_wait_until(&cond, &mutex, SIMULATE_SOON);
    simulate_expect(err == 0 || err == ETIMEDOUT);
    while (tokens == 0)
        simulate_expect(vthread_cond_wait(&cond, &mutex) == 0);
    tokens--;
    unlock();
    return number;
}

static void *waits_or_leaves(void *number)
{
    int err = 0;
    simulate_expect(vthread_mutex_lock(&mutex) == 0);
    while (tokens == 0 && err == 0)
        err = vthread_cond_wait_until(&cond, &mutex, SIMULATE_SOON);
    simulate_expect(err == 0 || err == ETIMEDOUT);
    if (err == 0)
        tokens--;
    unlock();
    return number;
}

/* The signal is not lost with the interrupt: who is canceled has not been
 * signalled, so another waiter has.  A token had in spite of it is given to
 * him. */
static void *waits_or_canceled(void *number)
{
    int err = 0;
    simulate_expect(vthread_mutex_lock(&mutex) == 0);
    while (tokens == 0 && err == 0)
        err = vthread_cond_wait(&cond, &mutex);
    simulate_expect(err == 0 || err == ECANCELED);
    if (err == 0)
        simulate_expect(vthread_cond_signal(&cond) == 0);
    unlock();
    if (err == 0)
        simulate_expect(vthread_park() == ECANCELED);
    return number;
}

static void *gives(void *number)
{
    simulate_expect(vthread_mutex_lock(&mutex) == 0);
    tokens++;
    simulate_expect(vthread_cond_signal(&cond) == 0);
    unlock();
    return number;
}

/* After the unlock: the waiter may have come and gone. */
static void *gives_outside(void *number)
{
    simulate_expect(vthread_mutex_lock(&mutex) == 0);
    tokens++;
    unlock();
    simulate_expect(vthread_cond_signal(&cond) == 0);
    return number;
}

static void *gives_two(void *number)
{
    simulate_expect(vthread_mutex_lock(&mutex) == 0);
    tokens += 2;
    simulate_expect(vthread_cond_broadcast(&cond) == 0);
    unlock();
    return number;
}

static void *gives_two_outside(void *number)
{
    simulate_expect(vthread_mutex_lock(&mutex) == 0);
    tokens += 2;
    unlock();
    simulate_expect(vthread_cond_broadcast(&cond) == 0);
    return number;
}

/* The depth of a recursive mutex survives the wait. */
static void *waits_deep(void *number)
{
    simulate_expect(vthread_mutex_lock(&recursive) == 0);
    simulate_expect(vthread_mutex_lock(&recursive) == 0);
    while (tokens == 0)
        simulate_expect(vthread_cond_wait(&cond, &recursive) == 0);
    tokens--;
    simulate_expect(vthread_mutex_unlock(&recursive) == 0);
    simulate_expect(vthread_mutex_unlock(&recursive) == 0);
    simulate_expect(vthread_mutex_unlock(&recursive) == EPERM);
    return number;
}

static void *gives_deep(void *number)
{
    simulate_expect(vthread_mutex_lock(&recursive) == 0);
    tokens++;
    simulate_expect(vthread_cond_signal(&cond) == 0);
    simulate_expect(vthread_mutex_unlock(&recursive) == 0);
    return number;
}

static void no_tokens_left(void)
{
    as_new();
    simulate_expect(tokens == 0);
}

/* ---- The programs ------------------------------------------------------- */

#define MUTEX(f) .begin = forget, .end = f

static const struct {
    struct simulate_program program;
    unsigned preemptions;
} programs[] = {
    {{.name = "mutex_two", MUTEX(entered_four_times),
      .threads = {locks_twice, locks_twice}}, 2},
    {{.name = "mutex_three", MUTEX(entered_three_times),
      .threads = {locks, locks, locks}}, 1},
    {{.name = "mutex_until", MUTEX(as_new),
      .threads = {locks_until_and_rests, locks}}, 1},
    {{.name = "mutex_until_held", MUTEX(as_new),
      .threads = {locks_until_and_rests, locks_and_sleeps}}, 1},
    {{.name = "mutex_until_three", MUTEX(as_new),
      .threads = {locks_until, locks, locks}}, 1},
    {{.name = "mutex_try", MUTEX(as_new),
      .threads = {tries, locks, tries}}, 2},
    {{.name = "mutex_interrupt", MUTEX(entered_twice),
      .threads = {locks_interrupted, locks, interrupts_first}}, 1},
    {{.name = "mutex_recursive", MUTEX(entered_twice),
      .threads = {locks_again, locks_again}}, 1},
    {{.name = "mutex_platform", MUTEX(entered_three_times),
      .threads = {locks}, .platform_threads = {locks, locks}}, 1},
    {{.name = "mutex_platform_until", MUTEX(as_new),
      .threads = {locks}, .platform_threads = {locks_until, locks}}, 1},
    {{.name = "mutex_one_carrier", MUTEX(entered_three_times), .carriers = 1,
      .threads = {locks, locks, locks}}, 2},
    {{.name = "cond_signal", MUTEX(no_tokens_left),
      .threads = {waits, gives}}, 2},
    {{.name = "cond_signal_outside", MUTEX(no_tokens_left),
      .threads = {waits, gives_outside}}, 2},
    {{.name = "cond_two_signals", MUTEX(no_tokens_left),
      .threads = {waits, waits, gives, gives_outside}}, 0},
    {{.name = "cond_broadcast", MUTEX(no_tokens_left),
      .threads = {waits, waits, gives_two}}, 1},
    {{.name = "cond_broadcast_outside", MUTEX(no_tokens_left),
      .threads = {waits, waits, gives_two_outside}}, 1},
    {{.name = "cond_until", MUTEX(no_tokens_left),
      .threads = {waits_until, gives}}, 1},
    {{.name = "cond_until_outside", MUTEX(no_tokens_left),
      .threads = {waits_until, gives_outside}}, 1},
    {{.name = "cond_until_two", MUTEX(as_new),
      .threads = {waits_or_leaves, waits, gives, gives}}, 0},
    {{.name = "cond_interrupt", MUTEX(as_new),
      .threads = {waits_or_canceled, gives, interrupts_first}}, 1},
    {{.name = "cond_interrupt_two", MUTEX(as_new),
      .threads = {waits_or_canceled, waits, gives_outside,
                  interrupts_first}}, 0},
    {{.name = "cond_recursive", MUTEX(no_tokens_left),
      .threads = {waits_deep, gives_deep}}, 1},
    {{.name = "cond_platform", MUTEX(no_tokens_left),
      .threads = {gives_two_outside},
      .platform_threads = {waits, waits}}, 1},
    {{.name = "cond_platform_until", MUTEX(no_tokens_left),
      .threads = {gives}, .platform_threads = {waits_until}}, 2},
};

START_TEST(a_lock_is_had_by_one_and_no_signal_is_lost_in_any_schedule)
{
    simulate(&programs[_i].program,
             programs[_i].preemptions + (getenv("STRESS") != NULL));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("simulate_locks");
    TCase *cases = new_case(suite, "schedules");
    tcase_set_timeout(cases, SIMULATE_TIMEOUT);
    tcase_add_loop_test(
        cases, a_lock_is_had_by_one_and_no_signal_is_lost_in_any_schedule, 0,
        COUNT_OF(programs));
    return run_suite(suite);
}
