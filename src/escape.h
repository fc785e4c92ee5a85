/*
 * escape.h - pointers into a stack that are handed to others.
 */
#ifndef ESCAPE_H
#define ESCAPE_H

#include <stdbool.h>

#include "continuation/run_stack.h"
#include "thread.h"

/* `address` is about to become known to others, through `function`.  0 if
 * it will stay valid, EFAULT if it points into a home that others use
 * too. */
int escape_check(const void *address, const char *function);

/* Two compares that spare the call of escape_check: false for all that lies
 * where nobody else ever runs, and stays. */
static inline bool escape_is_doubtful(const void *address)
{
    return unlikely(run_stack_is_doubtful(address));
}

/* Whether escape_check could refuse the address or remember anything. */
static inline bool escape_is_suspect(const struct thread *self,
                                     const void *address)
{
    return continuation_contains(&self->continuation, address)
           || (escape_is_doubtful(address)
               && run_stack_is_common_address(address));
}

/* Whether the address lies on a stack that the caller uses, or on one that is
 * shared: what is there may be gone, or another's, when somebody else looks,
 * or looks late. */
bool escape_is_on_stack(const void *address);

/* Whether others may use `address` while self waits: it is not on a stack
 * that is copied away, hidden or used by others then. */
bool escape_stays_valid(const struct thread *self, const void *address);

#endif
