/*
 * once.h - what the end of a thread means for what it was doing once.
 */
#ifndef ONCE_H
#define ONCE_H

#include "thread.h"

/* The thread ends: what it has begun to do once, and not finished, has
 * failed. */
void once_abandon(struct thread *self);

/* The thread that is at it, or NULL: for reports. */
struct waitlist;
struct thread *once_runner_of_list(const struct waitlist *list);

#endif
