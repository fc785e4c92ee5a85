/*
 * rwlock.h - the lock of readers and writers, inside the library: for
 * reports.
 */
#ifndef RWLOCK_H
#define RWLOCK_H

#include <stdatomic.h>
#include <stdint.h>

#include <vthread/rwlock.h>

#include "sync/waitlist.h"
#include "thread.h"

/* Of the word, see rwlock.c: a writer holds it; one reader. */
#define RWLOCK_WRITER 4u
#define RWLOCK_READER 8u

/* B: under BUSY of the word. */
struct rwlock {
    _Atomic uint32_t word;   /* A */
    _Atomic uint32_t writer; /* A: the number of the thread that holds it */
    struct waitlist waiting; /* B */
};

_Static_assert(sizeof(struct rwlock) == sizeof(vthread_rwlock_t),
               "the public lock is the same");

/* The writer that holds the lock of that list, or NULL. */
struct thread *rwlock_writer_of_list(const struct waitlist *list);

#endif
