/*
 * rwlock.h - the lock of readers and writers, for reports.
 */
#ifndef RWLOCK_H
#define RWLOCK_H

#include "thread.h"

struct waitlist;

/* The writer that holds the lock of that list, or NULL. */
struct thread *rwlock_writer_of_list(const struct waitlist *list);

#endif
