/*
 * blocking.h - the bracket around a call that may block the OS thread.
 *
 * The virtual thread stays mounted, and its OS thread makes the call; what
 * else the carrier has to do is done by others meanwhile.  Brackets nest.
 */
#ifndef BLOCKING_H
#define BLOCKING_H

#include <stdbool.h>
#include <stdint.h>

#include "embed/world.h"
#include "platform/atomics.h"
#include "platform/registers.h"
#include "thread.h"

enum blocking_kind {
    BLOCKING_SHORT, /* mostly short: the monitor sees to it if it lasts */
    BLOCKING_LONG,  /* others take over at once */
};

struct blocking {
    struct thread *self;
    struct continuation *inner; /* that runs inside the thread, or NULL */
    struct carrier *carrier; /* NULL: on a platform thread */
    bool was_handed_off;     /* set by blocking_end: others took over, at
                                once or because it lasted */
    bool was_busy;           /* see world.h; then its registers */
    uintptr_t registers[REGISTERS_PRESERVED];
};

/*
 * Begins a call that may block; the caller then makes it, without leaving
 * its OS thread: the thread is pinned, and so is the continuation inside of
 * it, if any, that makes the call.
 *
 * At most max_carriers - parallelism such calls keep others from nothing at
 * the same time; there are as many slots.  Who finds none waits for one, first
 * come first served, until deadline_ns; 0: not at all.  A short call needs one
 * too when there are few.  A pinned thread does not wait; without a slot its
 * call keeps the carrier, unless the monitor has one left.
 *
 * 0; else there must be neither call nor blocking_end: ENOMEM; EAGAIN: it is
 * pinned too often, or there is no slot and the deadline is 0; ETIMEDOUT,
 * ECANCELED while waiting for a slot.
 */
static inline int blocking_begin(struct blocking *blocking,
                                 enum blocking_kind kind,
                                 uint64_t deadline_ns);

/* Ends it.  Keeps errno. */
void blocking_end(struct blocking *blocking);

/* The calling thread leaves all calls that it is in: it ends there. */
void blocking_abandon(struct thread *self);

/* The two halves of blocking_begin: all but the second, and, if the world may
 * be stopped, leaving it, its registers being stored already.  From the frames
 * of the caller on all stays as it is, for the world may be looked at. */
int blocking_enter(struct blocking *blocking, enum blocking_kind kind,
                   uint64_t deadline_ns);
void blocking_leave_world(struct blocking *blocking);

/* Inline, for the registers of who makes the call are wanted, in a frame that
 * stays. */
__attribute__((always_inline)) static inline int
blocking_begin(struct blocking *blocking, enum blocking_kind kind,
               uint64_t deadline_ns)
{
    int err = blocking_enter(blocking, kind, deadline_ns);
    if (unlikely(world_is_on) && err == 0) {
        registers_store(blocking->registers);
        blocking_leave_world(blocking);
    }
    return err;
}

#endif
