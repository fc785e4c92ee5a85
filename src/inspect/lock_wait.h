/*
 * lock_wait.h - waits for locks in the kernel: made on the native stack, and
 * counted for whoever has the lock.
 */
#ifndef INSPECT_LOCK_WAIT_H
#define INSPECT_LOCK_WAIT_H

#include <stdint.h>

struct local;
struct thread;

/* How long threads have waited for a lock, all together, up to an instant;
 * for the difference of two. */
struct lock_queue_time {
    uint64_t waited_ns;
    uint64_t arrivals; /* threads that have begun to wait */
    uint64_t now;      /* those that do */
    uint64_t era;      /* if that differs so much is not known */
};

/* Of a lock for which nobody has waited lately: zeros. */
struct lock_queue_time lock_wait_look(const void *lock, uint64_t now_ns);

/* On the carrier's native stack: makes the call that t has asked for.  See
 * vthread.c. */
void lock_wait_make_call(struct local *here, struct thread *t);

#endif
