/*
 * busy.h - a lock that is one bit of a word.
 *
 * The word says what an object's state is; who has set its lowest bit, BUSY,
 * alone may change the word, and whatever else the object consists of.
 * Storing the word anew without the bit changes the state and gives the right
 * back in one step, and it is the last touch: who sees the new state may free
 * the object.  A lock beside the word could not promise that.
 *
 * Who finds the bit set spins, and after a while lets other OS threads run:
 * so it is held for some tens of instructions, and never across a wait.
 */
#ifndef PLATFORM_BUSY_H
#define PLATFORM_BUSY_H

#include <stdatomic.h>
#include <stdint.h>

#include "atomics.h"

#define BUSY 1u

uint32_t busy_acquire_slow(_Atomic uint32_t *word);

/* Sets the bit; returns the word without it.  Acquire: observes all that was
 * done before the word was last released, here or by the fast path of its
 * object; pairs with busy_release. */
static inline uint32_t busy_acquire(_Atomic uint32_t *word)
{
    uint32_t value = atomic_load_explicit(word, memory_order_relaxed);
    if (likely(!(value & BUSY)
               && atomic_compare_exchange_strong_explicit(
                   word, &value, value | BUSY, memory_order_acquire,
                   memory_order_relaxed)))
        return value;
    return busy_acquire_slow(word);
}

/* The word becomes value, without the bit.  A plain store, for nobody else
 * changes a word that is BUSY.  Release: publishes what was done meanwhile,
 * to the next busy_acquire and to whoever acts on the new state. */
static inline void busy_release(_Atomic uint32_t *word, uint32_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

#endif
