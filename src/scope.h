/*
 * scope.h - scopes and their children, inside the library.
 */
#ifndef SCOPE_H
#define SCOPE_H

#include "running.h"
#include "thread.h"

struct binding;
struct child;

/* The scoped values that a thread has inherited; NULL: none. */
struct binding *scope_bindings(const struct thread *t);

/* The function that a thread runs, for escape.c: that of a child is its
 * user's. */
void *(*scope_entry(const struct thread *t))(void *);

/* Closes all scopes that the calling thread has left open. */
void scope_close_all(struct thread_extra *extra);

/* A child, the calling thread, ends by vthread_exit.  What it is to return
 * instead of the result, so that scope_child_ended gets it. */
void *scope_child_exits(struct thread *self, void *result);

/* The child has left its stack for good, and its object has been freed; on
 * its carrier. */
void scope_child_ended(struct child *child);

#endif
