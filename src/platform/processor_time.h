/*
 * processor_time.h - whether an OS thread has run, asked by another one.
 */
#ifndef PLATFORM_PROCESSOR_TIME_H
#define PLATFORM_PROCESSOR_TIME_H

#include <stdbool.h>
#include <stdint.h>

/* How long it has run on a processor so far; 0: nobody knows. */
uint64_t processor_time_ns(int os_thread);

#endif
