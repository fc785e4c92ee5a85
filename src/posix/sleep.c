/*
 * sleep.c - the sleep family, and sched_yield.
 */
#include <errno.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include "posix/own.h"
#include "posix/real.h"

OWN unsigned sleep(unsigned seconds)
{
    if (!own_concerns_us())
        return REAL(sleep)(seconds);
    uint64_t deadline_ns = vthread_after(seconds * VTHREAD_SECOND);
    if (own_sleep_until(deadline_ns) == 0)
        return 0;
    uint64_t left_ns = own_left(deadline_ns);
    return (unsigned)((left_ns + VTHREAD_SECOND - 1) / VTHREAD_SECOND);
}

OWN int usleep(useconds_t duration_us)
{
    if (!own_concerns_us())
        return REAL(usleep)(duration_us);
    return own_result(
        own_sleep_until(vthread_after(duration_us * VTHREAD_US)));
}

/* 0, EINTR with the rest in *left, EINVAL, ECANCELED. */
static int sleep_for(const struct timespec *duration, struct timespec *left)
{
    if (!own_is_time(duration))
        return EINVAL;
    uint64_t deadline_ns = own_deadline_of(duration);
    int err = own_sleep_until(deadline_ns);
    if (err != 0 && left)
        *left = own_timespec(own_left(deadline_ns));
    return err;
}

OWN int nanosleep(const struct timespec *duration, struct timespec *left)
{
    if (!own_concerns_us())
        return REAL(nanosleep)(duration, left);
    return own_result(sleep_for(duration, left));
}

/* How long until a clock shows the time. */
static uint64_t left_until(clockid_t clock, const struct timespec *time)
{
    struct timespec now = {0};
    clock_gettime(clock, &now);
    uint64_t time_ns = own_nanoseconds(time), now_ns = own_nanoseconds(&now);
    return time_ns > now_ns ? time_ns - now_ns : 0;
}

/* A clock that can be set is looked at again.  If it is set forward, that is
 * noticed at the end only. */
static int sleep_until(clockid_t clock, const struct timespec *time)
{
    if (!own_is_time(time))
        return EINVAL;
    uint64_t left_ns = left_until(clock, time);
    int err = 0;
    while (err == 0 && left_ns > 0) {
        err = own_sleep_until(vthread_after(left_ns));
        left_ns = left_until(clock, time);
    }
    return err;
}

/* Clocks of processor time are left to the kernel. */
static bool is_wall_clock(clockid_t clock)
{
    return clock == CLOCK_MONOTONIC || clock == CLOCK_REALTIME
           || clock == CLOCK_BOOTTIME || clock == CLOCK_TAI;
}

OWN int clock_nanosleep(clockid_t clock, int flags,
                        const struct timespec *time, struct timespec *left)
{
    if (!own_concerns_us() || !is_wall_clock(clock))
        return REAL(clock_nanosleep)(clock, flags, time, left);
    return flags & TIMER_ABSTIME ? sleep_until(clock, time)
                                 : sleep_for(time, left);
}

OWN int sched_yield(void)
{
    if (!own_concerns_us())
        return REAL(sched_yield)();
    own_yield();
    return 0;
}

OWN_ALIAS(nanosleep)
int __nanosleep(const struct timespec *duration, struct timespec *left);
OWN_ALIAS(sched_yield) int __sched_yield(void) __THROW;
