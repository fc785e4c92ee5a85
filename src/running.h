/*
 * running.h - between vthread.c, which runs threads, and lifecycle.c, which
 * begins and ends them.
 */
#ifndef RUNNING_H
#define RUNNING_H

#include <stdint.h>

#include "local.h"
#include "scheduler.h"
#include "thread.h"

/* What a thread says to its carrier; anything else: flags to wait with. */
#define SAYS_YIELD ((uintptr_t)0)
#define SAYS_END UINTPTR_MAX
#define SAYS_CALL (UINTPTR_MAX - 1) /* pinned: lock_wait_make_call, and back */

/* VTHREAD_MIGRATE=always; set at the start. */
extern bool running_migrates;

/* What a carrier does all day. */
void running_work(struct carrier *carrier);

/* The thread goes to the end of the carrier's queue. */
void running_requeue(struct local *here, struct thread *t);

/* To another carrier than the last, as VTHREAD_MIGRATE=always asks. */
void running_migrate(struct vthread_scheduler *s, struct thread *t);

/* From now on only the calling carrier runs the thread, and does not end
 * meanwhile; it does so no more. */
void running_bind(struct local *here, struct thread *t);
void running_unbind(struct thread *t);

/* The calling thread, which is pinned, leaves its stack, and its carrier calls
 * lock_wait_make_call.  Returns after that. */
void running_call_natively(struct thread *self);

/* The thread has left its stack for good. */
void running_ended(struct local *here, struct thread *t);

/* No read-modify-write: only the carrier writes its station.  Releases what
 * is counted; pairs with read_count. */
static inline void station_count(_Atomic uint64_t *counter)
{
    atomic_store_explicit(
        counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
        memory_order_release);
}

#endif
