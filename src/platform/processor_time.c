/*
 * processor_time.c - the clock of another OS thread of this process.
 *
 * pthread_getcpuclockid makes the clock of a pthread_t, which must not have
 * ended.  By the kernel's number, one that has ended is answered with an
 * error; the number of the clock is part of Linux's interface.
 */
#include "processor_time.h"

#include <time.h>

/* Linux: CPUCLOCK_SCHED, and CPUCLOCK_PERTHREAD_MASK. */
enum { CLOCK_OF_THREAD = 2 | 4 };

uint64_t processor_time_ns(int os_thread)
{
    clockid_t clock = (clockid_t)(~(unsigned)os_thread << 3 | CLOCK_OF_THREAD);
    struct timespec time;
    if (os_thread == 0 || clock_gettime(clock, &time) != 0)
        return 0;
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}
