/*
 * cycles.h - a counter of the processor that goes on evenly, and is read in
 * some ten nanoseconds: half of what the clock takes.
 *
 * What one of its ticks is has to be found out by comparison with a clock.
 */
#ifndef PLATFORM_CYCLES_H
#define PLATFORM_CYCLES_H

#include <stdbool.h>
#include <stdint.h>

#include "clock.h"

/* Whether the kernel keeps time by it, so that it is the same on all
 * processors, and never stops.  Where it is not, cycles_now may not be
 * used. */
bool cycles_are_even(void);

static inline uint64_t cycles_now(void)
{
#if defined __x86_64__
    return __builtin_ia32_rdtsc();
#elif defined __aarch64__
    uint64_t ticks;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
    return ticks;
#else
    return clock_now_ns();
#endif
}

#endif
