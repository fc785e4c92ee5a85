/*
 * blocking.h - the bracket around a call that may block the OS thread.
 *
 * The virtual thread stays mounted, and its OS thread makes the call; what
 * else the carrier has to do is done by others meanwhile.
 */
#ifndef BLOCKING_H
#define BLOCKING_H

#include <stdint.h>

#include "thread.h"

enum blocking_kind {
    BLOCKING_SHORT, /* mostly short: the monitor sees to it if it lasts */
    BLOCKING_LONG,  /* others take over at once */
};

struct blocking {
    struct thread *self;
    struct carrier *carrier; /* NULL: on a platform thread */
};

/* Begins a call that may block; the caller then makes it, without leaving
 * its OS thread.  deadline_ns is for what must be waited for before.
 * 0; ENOMEM, and there must be neither call nor blocking_end. */
int blocking_begin(struct blocking *blocking, enum blocking_kind kind,
                   uint64_t deadline_ns);

/* Ends it.  Keeps errno. */
void blocking_end(struct blocking *blocking);

#endif
