/*
 * escape.h - pointers into a stack that are handed to others.
 */
#ifndef ESCAPE_H
#define ESCAPE_H

#include "thread.h"

/* `address` is about to become known to others, through `function`.  0 if
 * it will stay valid, EFAULT if it points into a home that others use
 * too. */
int escape_check(const void *address, const char *function);

/* Whether escape_check could refuse the address or remember anything. */
static inline bool escape_is_suspect(const struct thread *self,
                                     const void *address)
{
    return continuation_contains(&self->continuation, address)
           || run_stack_is_common_address(address);
}

/* Whether others may use `address` while self waits: it is not on a stack
 * that is copied away, hidden or used by others then. */
bool escape_stays_valid(const struct thread *self, const void *address);

#endif
