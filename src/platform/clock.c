/*
 * clock.c - the monotonic clock, read without a system call (vDSO).
 */
#include "clock.h"

#include <time.h>

struct clock_recent clock_recent;

uint64_t clock_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}
