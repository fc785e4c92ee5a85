/*
 * waiting.h - what a thread waits for, and for whom: for reports of threads
 * that block each other.
 */
#ifndef WAITING_H
#define WAITING_H

#include <stdbool.h>

#include "thread.h"

struct waiting {
    const char *kind;      /* "mutex", "join" and so on; "something" */
    const void *object;    /* its address; a thread's handle is asked of
                              `holder` */
    struct thread *holder; /* whose turn it is to end the wait: who holds
                              the lock, does the once, or is joined; NULL if
                              that is nobody in particular */
};

/* What the last wait of t is for; it may be over. */
enum waits_for waiting_what(const struct thread *t);

/* False: t waits for nothing that has a name here: it runs, sleeps, is
 * parked, or waits for what waiting_what alone tells.
 * To be asked when neither t nor the holder can run: what t waits for is
 * read without its lock, and must not be freed meanwhile. */
bool waiting_of(const struct thread *t, struct waiting *waiting);

/* Whether the wait of t, which waits, is about to be ended: that has been
 * decided, and whoever did so has not woken it yet, and may have nothing of
 * it any more but the address of the thread.  When nobody can run. */
bool waiting_is_ending(const struct thread *t);

struct waitlist;

/* As waiting_of, from a list that threads wait in.  Reads it and the object
 * around it, 16 bytes before and behind, and nothing else; so that may be a
 * copy. */
void waiting_of_list(const struct waitlist *list, struct waiting *waiting);

/* Whether it is the address of a thread object. */
bool thread_is_in_table(const void *address);

#endif
