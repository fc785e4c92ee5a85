/*
 * busy.c - what to do while a word is BUSY.
 *
 * Not here: taking it at once, which is inline.
 *
 * Invariant: returns only to the one that has set the bit.
 */
#include "busy.h"

#include "system.h"

/* About a microsecond: far longer than anybody keeps the bit, unless the
 * system has taken the processor away from him. */
enum { SPINS = 64 };

uint32_t busy_acquire_slow(_Atomic uint32_t *word)
{
    for (unsigned i = 0;; i++) {
        uint32_t value = atomic_load_explicit(word, memory_order_relaxed);
        /* Acquire as in busy_acquire. */
        if (!(value & BUSY)
            && atomic_compare_exchange_weak_explicit(
                word, &value, value | BUSY, memory_order_acquire,
                memory_order_relaxed))
            return value;
        if (i < SPINS)
            cpu_relax();
        else
            system_yield();
    }
}
