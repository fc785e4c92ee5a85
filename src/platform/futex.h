/*
 * futex.h - sleeping in the kernel until a word changes, and a lock of four
 * bytes built on it.
 */
#ifndef PLATFORM_FUTEX_H
#define PLATFORM_FUTEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Sleeps while *word is expected, until woken or the deadline (absolute
 * CLOCK_MONOTONIC, UINT64_MAX for none).  Returns 0, also without cause, or
 * ETIMEDOUT. */
int futex_wait(_Atomic uint32_t *word, uint32_t expected,
               uint64_t deadline_ns);

/* The same, and a collector need not disturb the caller meanwhile. */
int futex_wait_idle(_Atomic uint32_t *word, uint32_t expected,
                    uint64_t deadline_ns);

/* Wakes up to count sleepers. */
void futex_wake(_Atomic uint32_t *word, int count);

/* A lock for short sections on OS threads; zero-valid.  0 free, 1 held,
 * 2 held and somebody may sleep. */
struct os_lock {
    _Atomic uint32_t word;
};

void os_lock_acquire_slow(struct os_lock *lock);
void os_lock_release_slow(struct os_lock *lock);

static inline void os_lock_acquire(struct os_lock *lock)
{
    uint32_t free = 0;
    if (!atomic_compare_exchange_strong_explicit(&lock->word, &free, 1,
                                                 memory_order_acquire,
                                                 memory_order_relaxed))
        os_lock_acquire_slow(lock);
}

/* Takes the lock if it is free. */
static inline bool os_lock_try(struct os_lock *lock)
{
    uint32_t free = 0;
    /* Acquire: as in os_lock_acquire. */
    return atomic_compare_exchange_strong_explicit(
        &lock->word, &free, 1, memory_order_acquire, memory_order_relaxed);
}

static inline void os_lock_release(struct os_lock *lock)
{
    if (atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2)
        os_lock_release_slow(lock);
}

#endif
