/*
 * atomics.h - C11 atomics, and what they leave out.
 */
#ifndef PLATFORM_ATOMICS_H
#define PLATFORM_ATOMICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "cpu.h"

#define CACHE_LINE 64

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#endif
