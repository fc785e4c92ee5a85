/*
 * in_place.h - one call that may block, made where it stands: the bracket,
 * EINTR, and errno as a value.
 */
#ifndef IN_PLACE_H
#define IN_PLACE_H

#include <stdint.h>

#include "blocking.h"

/* As blocking_begin; being too late is ETIMEDOUT. */
int in_place_begin(struct blocking *blocking, enum blocking_kind kind,
                   uint64_t deadline_ns);

/* Calls make(arg), which answers like a system call: a negative result and
 * errno, or what it returns.  It must not wait.  EINTR is tried again.
 * 0 with the result in *result (unless NULL), or the error of the call, or
 * why it was not made.  errno is as before. */
int in_place(enum blocking_kind kind, uint64_t deadline_ns,
             long (*make)(void *arg), void *arg, long *result);

#endif
