/*
 * scope.h - scopes and their children, inside the library.
 */
#ifndef SCOPE_H
#define SCOPE_H

#include "running.h"
#include "thread.h"

struct binding;
struct child;
struct waitlist;

/* The scoped values that a thread has inherited; NULL: none. */
struct binding *scope_bindings(const struct thread *t);

/* The scope that it is a child of, or NULL: for the recorder. */
const void *scope_of_child(const struct thread *t);

/* What a child calls. */
struct scope_call {
    int (*fn)(const void *args, void *result);
    const void *args;
    void *result;
};

struct scope_call scope_call_of(struct child *child);

/* Closes all scopes that the calling thread has left open. */
void scope_close_all(struct thread_extra *extra);

/* Whether all children of the scope have ended whose owner waits on that
 * list. */
bool scope_has_no_children(const struct waitlist *joining);

/* The calling thread, a child, has returned that error, and what it leaves
 * has been cleaned up.  What it is to end with, for scope_child_ended. */
void *scope_child_returns(struct thread *self, int error);

/* The same for a thread that ends by vthread_exit; that of a thread which is
 * no child is the result itself. */
void *scope_child_exits(struct thread *self, void *result);

/* The child has left its stack for good, and its object has been freed; on
 * its carrier. */
void scope_child_ended(struct child *child);

#endif
