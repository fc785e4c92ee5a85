/*
 * vthread/time.h - the clock of the library.
 *
 * One monotonic clock, in nanoseconds, for every deadline:
 *
 *     uint64_t deadline_ns = vthread_after(5 * VTHREAD_SECOND);
 *     err = vthread_join_until(t, &result, deadline_ns);
 */
#ifndef VTHREAD_TIME_H
#define VTHREAD_TIME_H

#include <stdint.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VTHREAD_US UINT64_C(1000)
#define VTHREAD_MS UINT64_C(1000000)
#define VTHREAD_SECOND UINT64_C(1000000000)

/* The deadline that never comes. */
#define VTHREAD_NEVER UINT64_MAX

/* Nanoseconds of CLOCK_MONOTONIC.  Blocks never. */
VTHREAD_API uint64_t vthread_now(void);

/* The time that is duration_ns from now; VTHREAD_NEVER if that is beyond
 * the clock's range. */
VTHREAD_API uint64_t vthread_after(uint64_t duration_ns);

#ifdef __cplusplus
}
#endif

#endif
