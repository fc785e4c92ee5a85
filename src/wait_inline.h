/*
 * wait_inline.h - thread_wait for those whose wait is their whole work.
 *
 * After a switch each return up the chain of callers is guessed wrong by
 * the processor, at 8 ns.  Here the switch is in the caller itself.
 */
#ifndef WAIT_INLINE_H
#define WAIT_INLINE_H

#include "continuation/mount.h"
#include "thread.h"

/* What does not concern the beginning of a wait. */
#define WAIT_INLINE_HARMLESS                                                  \
    (THREAD_PERMIT | THREAD_TIMEOUT | THREAD_CANCELED | THREAD_DETACHED       \
     | THREAD_JOINING | THREAD_JOINER | THREAD_BOUND_ONE)

/* As thread_wait, without a deadline, cancellable. */
__attribute__((always_inline)) static inline int
thread_wait_inline(struct thread *self)
{
    /* Relaxed: a hint.  What comes later is seen by the carrier, after the
     * thread has left its stack: see (P) in vthread.c. */
    uint32_t flags = (uint32_t)atomic_load_explicit(&self->word,
                                                    memory_order_relaxed);
    if (unlikely(flags & ~WAIT_INLINE_HARMLESS))
        return thread_wait(self, VTHREAD_NEVER, true);
    self->sleeps = false;
    return (int)continuation_yield(&self->continuation,
                                   THREAD_WAITING | THREAD_CANCELLABLE);
}

#endif
