/*
 * interruptible.h - calls in place that a signal may end.
 */
#ifndef INTERRUPTIBLE_H
#define INTERRUPTIBLE_H

#include "platform/os_interrupt.h"
#include "thread.h"

/* On the heap: the thread may wait in the middle of the call, in an upcall, and
 * then its stack may be another's, while others still look at this. */
struct interruptible {
    struct os_interrupt os;
    vthread_t thread;           /* I */
    struct interruptible *next; /* L */
    bool is_outermost;          /* of this thread */
};

/* The calling thread makes a call that may be interrupted, at the deadline or
 * when it is cancelled.  It must be pinned.  0; ECANCELED: it has been
 * cancelled already; ENOMEM.  With an error there must be neither call nor
 * interruptible_end. */
int interruptible_begin(struct interruptible **call, struct thread *self,
                        uint64_t deadline_ns);

/* Ends and frees it.  Keeps errno. */
void interruptible_end(struct interruptible *call, struct thread *self);

/* In between, for an upcall: no signal comes.  If the thread has been
 * cancelled meanwhile, and has not taken notice, the signal comes after it.
 * Keep errno. */
void interruptible_pause(struct interruptible *call);
void interruptible_resume(struct interruptible *call,
                          const struct thread *self);

/* The thread has been cancelled while its word said IN_CALL. */
void interruptible_cancel(vthread_t thread);

#endif
