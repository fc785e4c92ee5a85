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

#endif
