/*
 * describe.h - threads and faults in words.
 */
#ifndef DESCRIBE_H
#define DESCRIBE_H

#include "thread.h"

/* Copies the name; NULL or "" takes it away.  0 or ENOMEM. */
int thread_set_name(struct thread *t, const char *name);

/* The state of a thread that had that word, "PARKED": the same text for each
 * time that it is the same state. */
const char *describe_state(const struct thread *t, uint64_t word);

/* "is parked": what a thread does that waits for that. */
const char *describe_waits_for(enum waits_for what);

/* Copies the name, "" if there is none or the thread has ended.  For who knows
 * of the thread only because it runs somewhere. */
void describe_name_of(vthread_t thread, char *buffer, size_t size_bytes);

/* Copies it, "" if there is none.  False: not now, somebody is at the names;
 * safe in a signal handler, and never waits. */
bool describe_try_name(const struct thread *t, char *buffer,
                       size_t size_bytes);

/* All are safe in a signal handler. */
void describe_continuation(const struct continuation *c, char *buffer,
                           size_t size_bytes);
void describe_self(char *buffer, size_t size_bytes);

/* A fault_explainer: overflows, and reaching into a parked thread. */
bool describe_fault(void *address, char *buffer, size_t size_bytes);

#endif
