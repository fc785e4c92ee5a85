/*
 * wait_inline.h - thread_wait for those whose wait is their whole work.
 *
 * After a switch each return up the chain of callers is guessed wrong by
 * the processor, at 8 ns.  Here the switch is in the caller itself.
 */
#ifndef WAIT_INLINE_H
#define WAIT_INLINE_H

#include "continuation/mount.h"
#include "platform/probe.h"
#include "thread.h"

/* What does not concern the beginning of a wait. */
#define WAIT_INLINE_HARMLESS                                                  \
    (THREAD_PERMIT | THREAD_TIMEOUT | THREAD_CANCELED | THREAD_DETACHED       \
     | THREAD_JOINING | THREAD_JOINER | THREAD_BOUND_ONE | THREAD_COUNTED)

/* As thread_wait_for, without a deadline, cancellable.  For those who are not
 * pinned the switch is here. */
__attribute__((always_inline)) static inline int
thread_wait_inline(struct thread *self, enum waits_for what)
{
    /* Relaxed: a hint.  What comes later is seen by the carrier, after the
     * thread has left its stack: see (P) in vthread.c. */
    uint32_t flags = (uint32_t)atomic_load_explicit(&self->word,
                                                    memory_order_relaxed);
    if (unlikely((flags & ~WAIT_INLINE_HARMLESS) | self->continuation.pins))
        return thread_wait_for(self, what, VTHREAD_NEVER, true);
    /* Relaxed: published with the wait. */
    atomic_store_explicit(&self->waits_for, (uint8_t)what,
                          memory_order_relaxed);
    PROBE2(park, &self->continuation, *thread_waits_for_place(self));
    return (int)continuation_yield(&self->continuation,
                                   THREAD_WAITING | THREAD_CANCELLABLE);
}

#endif
