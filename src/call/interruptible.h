/*
 * interruptible.h - calls in place that a signal may end.
 */
#ifndef INTERRUPTIBLE_H
#define INTERRUPTIBLE_H

#include "platform/os_interrupt.h"
#include "thread.h"

/* On the stack of the thread that makes the call. */
struct interruptible {
    struct os_interrupt os;
    vthread_t thread;           /* I */
    struct interruptible *next; /* L */
    bool is_outermost;          /* of this thread */
};

/* The calling thread makes a call that may be interrupted, at the deadline or
 * when it is cancelled.  It must be pinned.  0; ECANCELED: it has been
 * cancelled already; EAGAIN.  With an error there must be neither call nor
 * interruptible_end. */
int interruptible_begin(struct interruptible *call, struct thread *self,
                        uint64_t deadline_ns);

/* Ends it.  Keeps errno. */
void interruptible_end(struct interruptible *call, struct thread *self);

/* The thread has been cancelled while its word said IN_CALL. */
void interruptible_cancel(vthread_t thread);

#endif
