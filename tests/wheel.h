/*
 * wheel.h - a wheel for tests: timer.c itself, with a stand-in for
 * thread_time_out and a count of the threads it touches.
 */
#ifndef TESTS_WHEEL_H
#define TESTS_WHEEL_H

#define thread_time_out stub_time_out
#include "thread.h"

static _Atomic unsigned long steps;
static inline struct thread *counted_thread_at(uint32_t number);
#define thread_at(number) counted_thread_at(number)
#include "../src/timer.c"
#undef thread_at

#include "tests/support.h"

#define TICK (UINT64_C(1) << WHEEL_TICK_SHIFT)
#define SECOND UINT64_C(1000000000)
#define HOUR (3600 * SECOND)
#define YEAR (365 * 24 * HOUR)

static struct wheel wheel;

static inline struct thread *counted_thread_at(uint32_t number)
{
    atomic_fetch_add_explicit(&steps, 1, memory_order_relaxed);
    return &thread_table[number];
}

static inline bool is_armed(struct thread *t)
{
    return prev_of(t) != 0;
}

/* The stand-in.  A thread's word says whether it is waiting. */

static _Atomic bool was_disarmed_early;

bool stub_time_out(struct thread *t)
{
    uint64_t waiting = THREAD_PARKED;

    if (!is_armed(t))
        atomic_store(&was_disarmed_early, true);
    return atomic_compare_exchange_strong(&t->word, &waiting,
                                          THREAD_TIMEOUT);
}

static inline void set_waiting(struct thread *t)
{
    atomic_store(&t->word, THREAD_PARKED);
}

static inline bool has_timed_out(struct thread *t)
{
    return atomic_load(&t->word) == THREAD_TIMEOUT;
}

static inline void setup(void)
{
    ck_assert_int_eq(thread_table_init(), 0);
    wheel_init(&wheel, 3, 0);
}

static inline struct thread *new_thread(void)
{
    struct thread *t = thread_alloc();

    if (t == NULL)
        ck_abort_msg("no memory for a thread");
    set_waiting(t);
    return t;
}

/* Kept until the process of the test ends. */
static inline struct thread **new_threads(int count)
{
    static struct thread **all;

    all = calloc((size_t)count, sizeof *all);
    ck_assert_ptr_nonnull(all);
    for (int i = 0; i < count; i++)
        all[i] = new_thread();
    return all;
}

static inline bool arm(struct thread *t, uint64_t deadline_ns)
{
    set_waiting(t);
    return wheel_arm(&wheel, t, deadline_ns);
}

/* All that is due, in as many calls as it takes. */
static inline int expire_all(uint64_t now_ns)
{
    int count = 0;

    do {
        struct task *task = wheel_expire(&wheel, now_ns, 100);
        for (; task != NULL; task = task->next)
            count++;
    } while (wheel_next_ns(&wheel) <= now_ns);
    return count;
}

/* Predicates rather than an assertion for each field: check writes to a file
 * for every one of them. */
static inline bool is_empty(void)
{
    static const struct wheel none;

    return wheel.count == 0 && wheel_next_ns(&wheel) == CLOCK_NEVER &&
           memcmp(wheel.occupied, none.occupied, sizeof none.occupied) == 0 &&
           memcmp(wheel.first, none.first, sizeof none.first) == 0;
}

#endif
