/*
 * once.h - what is done once, inside the library: what the end of a thread
 * means for it, and who is at it.
 */
#ifndef ONCE_H
#define ONCE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <vthread/once.h>

#include "sync/waitlist.h"
#include "thread.h"

/* The number of who is at it lies above the flags of the word. */
#define ONCE_RUNNER_SHIFT 4

/* B: under BUSY of the word; R: under the lock of the running. */
struct once {
    _Atomic uint32_t word;   /* A */
    uint32_t reserved;
    struct waitlist waiting; /* B */
    struct once *next;       /* R */
};

_Static_assert(sizeof(struct once) == sizeof(vthread_once_t)
                   && offsetof(struct once, next)
                          == offsetof(vthread_once_t, next),
               "the public once is the same");

/* The thread ends: what it has begun to do once, and not finished, has
 * failed. */
void once_abandon(struct thread *self);

/* The thread that is at it, or NULL: for reports. */
struct thread *once_runner_of_list(const struct waitlist *list);

#endif
