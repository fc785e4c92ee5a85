/*
 * clock.h - the monotonic clock.
 */
#ifndef PLATFORM_CLOCK_H
#define PLATFORM_CLOCK_H

#include <stdatomic.h>
#include <stdint.h>

#include "atomics.h"

#define CLOCK_NEVER UINT64_MAX

/* Nanoseconds of CLOCK_MONOTONIC. */
uint64_t clock_now_ns(void);

/*
 * The same in ticks, as it was when somebody noted it last: for notes that
 * may cost no more than a load.  A tick is 1.05 ms, and the number wraps after
 * 52 days.  It is late by what the monitor lets pass between two looks, 10 ms,
 * while a carrier is awake; a carrier that starts or wakes notes the time
 * before it runs anything.
 */
#define CLOCK_TICK_SHIFT 20

/* Alone in its line, since carriers read it at each wait. */
struct clock_recent {
    _Atomic uint32_t ticks;
} __attribute__((aligned(CACHE_LINE)));

extern __attribute__((visibility("hidden"))) struct clock_recent clock_recent;

static inline uint32_t clock_ticks(uint64_t now_ns)
{
    return (uint32_t)(now_ns >> CLOCK_TICK_SHIFT);
}

static inline uint32_t clock_recent_ticks(void)
{
    /* Relaxed: it orders nothing. */
    return atomic_load_explicit(&clock_recent.ticks, memory_order_relaxed);
}

/* Of several that note at once an earlier time may win, by nanoseconds.
 * Written once a tick only, so that those who read it keep it in their
 * caches. */
static inline void clock_note(uint64_t now_ns)
{
    if (clock_recent_ticks() != clock_ticks(now_ns))
        atomic_store_explicit(&clock_recent.ticks, clock_ticks(now_ns),
                              memory_order_relaxed);
}

#endif
