/*
 * lifecycle.h - beginning threads, inside the library.
 */
#ifndef LIFECYCLE_H
#define LIFECYCLE_H

#include "thread.h"

/* Whether the continuation is a thread's. */
bool lifecycle_is_thread(const struct continuation *c);

/* Whether vthread_create would accept them. */
bool lifecycle_is_valid(const vthread_attr_t *attr);

/* Whether a run stack may be so large; 0 is the default. */
bool lifecycle_is_stack_size(size_t size);

/*
 * A thread for a scope, not yet started, which nobody joins.  It will run
 * its argument, a child (scope.h), which the caller stores there; fn is that
 * child's function, by which the thread is known to others.  0, ENOMEM or
 * EAGAIN.
 */
int lifecycle_new_child(struct thread **thread, const vthread_attr_t *attr,
                        void *(*fn)(void *));

/* Starts it; 0 or EAGAIN: its scheduler shuts down. */
int lifecycle_start_child(struct thread *t);

/* Starts a detached thread on the scheduler of the calling carrier, which is
 * between two threads.  0, ENOMEM or EAGAIN. */
int lifecycle_start_detached(void *(*fn)(void *));

/* Frees one that has not been started. */
void lifecycle_discard_child(struct thread *t);

#endif
