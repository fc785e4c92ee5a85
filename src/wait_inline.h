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

/* As thread_wait, cancellable. */
__attribute__((always_inline)) static inline int
thread_wait_inline(struct thread *self, uint64_t deadline_ns)
{
    /* Relaxed: a hint.  What comes later is seen by the carrier, after the
     * thread has left its stack: see (P) in vthread.c. */
    uint64_t flags = (uint32_t)atomic_load_explicit(&self->word,
                                                    memory_order_relaxed);
    if (unlikely(deadline_ns != VTHREAD_NEVER
                 || flags & (THREAD_PLATFORM | THREAD_WOKEN
                             | THREAD_INTERRUPT)))
        return thread_wait(self, deadline_ns, true);
    self->sleeps = false;
    return (int)continuation_yield(&self->continuation,
                                   THREAD_WAITING | THREAD_CANCELLABLE);
}

#endif
