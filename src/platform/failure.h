/*
 * failure.h - a countdown after which requests are made to fail, for tests.
 *
 * Zero-valid: nothing fails.  While it is off, a request costs one relaxed
 * load.
 */
#ifndef PLATFORM_FAILURE_H
#define PLATFORM_FAILURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "atomics.h"

/* 0 off, 1 every request fails, n > 1: n - 1 more requests succeed. */
struct failure {
    _Atomic unsigned long left;
};

/* The count-th request from now on fails, and all after it; 0: none. */
static inline void failure_set(struct failure *failure, unsigned long count)
{
    atomic_store_explicit(&failure->left, count, memory_order_relaxed);
}

/* The same, with the count taken from an environment variable, if set. */
static inline void failure_set_from(struct failure *failure,
                                    const char *variable)
{
    const char *count = getenv(variable);
    if (count != NULL)
        failure_set(failure, strtoul(count, NULL, 10));
}

/* True if this request is to fail; counts it.  Relaxed: the counter orders
 * nothing, it only has to give each number to one request. */
static inline bool failure_due(struct failure *failure)
{
    unsigned long left =
        atomic_load_explicit(&failure->left, memory_order_relaxed);

    while (unlikely(left > 1)) {
        if (atomic_compare_exchange_weak_explicit(
                &failure->left, &left, left - 1, memory_order_relaxed,
                memory_order_relaxed))
            return false;
    }
    return unlikely(left == 1);
}

#endif
