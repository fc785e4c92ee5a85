/*
 * scoped_value.h - bindings of scoped values, inside the library.
 */
#ifndef SCOPED_VALUE_H
#define SCOPED_VALUE_H

#include "thread.h"

struct binding;

/* The calling thread's bindings, with a reference for the caller. */
struct binding *scoped_value_capture(struct thread *self);

/* Gives a reference back. */
void scoped_value_release(struct binding *bindings);

/* The thread has left the functions that its own bindings were made for. */
void scoped_value_leave(struct thread *self, struct thread_extra *extra);

#endif
