/*
 * in_place.c - one call that may block, made where it stands.
 *
 * errno is read and put back in a function of its own that does not wait:
 * the one around it may, for its turn, and go on on another OS thread.
 */
#include "io/in_place.h"

#include <errno.h>

#include "inspect/trace.h"

/* What the call returned, or minus its error number. */
static __attribute__((noinline)) long perform(long (*make)(void *arg),
                                              void *arg)
{
    int saved_errno = errno;
    long result;
    do
        result = make(arg);
    while (result < 0 && errno == EINTR);
    if (result < 0)
        result = -errno;
    errno = saved_errno;
    return result;
}

int in_place(enum blocking_kind kind, uint64_t deadline_ns,
             long (*make)(void *arg), void *arg, long *result)
{
    struct blocking blocking;
    int err = in_place_begin(&blocking, kind, deadline_ns);
    if (err != 0)
        return err;
    trace_call((uintptr_t)make);
    long answer = perform(make, arg);
    blocking_end(&blocking);
    if (answer < 0)
        return (int)-answer;
    if (result)
        *result = answer;
    return 0;
}
