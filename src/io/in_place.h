/*
 * in_place.h - one call that may block, made where it stands: the bracket,
 * EINTR, and errno as a value.
 */
#ifndef IN_PLACE_H
#define IN_PLACE_H

#include <errno.h>
#include <stdint.h>

#include "call/blocking.h"

/* As blocking_begin; being too late is ETIMEDOUT. */
__attribute__((always_inline)) static inline int
in_place_begin(struct blocking *blocking, enum blocking_kind kind,
               uint64_t deadline_ns)
{
    int err = blocking_begin(blocking, kind, deadline_ns);
    /* It is not its turn at once. */
    return err == EAGAIN && deadline_ns == 0 ? ETIMEDOUT : err;
}

/* Calls make(arg), which answers like a system call: a negative result and
 * errno, or what it returns.  It must not wait.  EINTR is tried again.
 * 0 with the result in *result (unless NULL), or the error of the call, or
 * why it was not made.  errno is as before. */
int in_place(enum blocking_kind kind, uint64_t deadline_ns,
             long (*make)(void *arg), void *arg, long *result);

#endif
