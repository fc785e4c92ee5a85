/*
 * calls.h - for the tests of foreign calls: functions to be called.
 */
#ifndef TESTS_CALLS_H
#define TESTS_CALLS_H

#include <errno.h>

#include <vthread/call.h>

#include "tests/threads.h"

#define FN(function) ((void (*)(void))(function))

static const unsigned calls_policies[] = {
    VTHREAD_CALL_AUTO, VTHREAD_CALL_CRITICAL, VTHREAD_CALL_BLOCKING,
    VTHREAD_CALL_DETACHED};

/* errno is 0 when a function begins whose error is asked for. */
static inline int calls_fail_with(int error)
{
    int before = errno;
    errno = error;
    return before;
}

static inline void calls_wait_for(atomic_int *flag)
{
    while (!atomic_load(flag))
        sched_yield();
}

/* Says that it has begun, and waits until it may end. */
struct calls_gate {
    atomic_int begun, is_open, ended;
};

static inline int calls_pass(struct calls_gate *gate)
{
    atomic_fetch_add(&gate->begun, 1);
    calls_wait_for(&gate->is_open);
    atomic_fetch_add(&gate->ended, 1);
    return 42;
}

static inline void calls_until(atomic_int *count, int n)
{
    while (atomic_load(count) < n)
        vthread_yield();
}

#endif
