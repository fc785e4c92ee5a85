/*
 * spin.h - a lock of four bytes for sections of a few instructions.
 *
 * Against os_lock (futex.h): it is released by a plain store.  In a round
 * trip through two channels, four sections, that saves 16 of 127 ns.  The
 * price is that nobody knows who waits, so nobody is woken: who does not get
 * it soon gives the processor away, then sleeps for a moment, and tries
 * again.  If the holder is preempted that is what it costs the others; no
 * priority of theirs keeps the holder from running.
 */
#ifndef PLATFORM_SPIN_H
#define PLATFORM_SPIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Zero-valid: free. */
struct spin_lock {
    _Atomic uint32_t word;
};

void spin_lock_acquire_slow(struct spin_lock *lock);

static inline bool spin_lock_try(struct spin_lock *lock)
{
    /* Acquire: what the last holder wrote.  Pairs with the release. */
    return atomic_exchange_explicit(&lock->word, 1, memory_order_acquire)
           == 0;
}

static inline void spin_lock_acquire(struct spin_lock *lock)
{
    if (__builtin_expect(!spin_lock_try(lock), 0))
        spin_lock_acquire_slow(lock);
}

static inline void spin_lock_release(struct spin_lock *lock)
{
    /* Release: what was done under the lock.  Pairs with the acquire. */
    atomic_store_explicit(&lock->word, 0, memory_order_release);
}

#endif
