/*
 * interruptible.c - calls in place that a signal may end.
 *
 * Who cancels a thread has only its word, which says IN_CALL; the call itself
 * is found in a list.  So none is missed:
 *
 *   the thread                            who cancels
 *   1. puts the call on the list          1. sets INTERRUPT or CANCEL
 *   2. sets IN_CALL; were INTERRUPT       2. was IN_CALL there in the same
 *      or CANCEL there before?               word?  Interrupts the call, if
 *      Then no call                          it is on the list still
 *
 * Both 2 are decided by the order in which the word was changed.  The list is
 * for calls at interruptible sites only, and its lock is held for a system
 * call at most.
 *
 * In an upcall the thread may wait, and who cancels it then ends that wait and
 * nothing else; or it may have disabled its cancellation.  So the thread looks
 * at its word again after the upcall.
 */
#include "call/interruptible.h"

#include <errno.h>

#include <vthread/cancel.h>

#include "platform/memory.h"

static struct os_lock lock;
static struct interruptible *first; /* L */

static void insert(struct interruptible *call)
{
    os_lock_acquire(&lock);
    call->next = first;
    first = call;
    os_lock_release(&lock);
}

static void leave(struct interruptible *call)
{
    os_lock_acquire(&lock);
    struct interruptible **at = &first;
    while (*at != call)
        at = &(*at)->next;
    *at = call->next;
    os_lock_release(&lock);
}

/* Relaxed, both: that there is one order of the changes to the word is all
 * that is needed; the lock orders the rest. */
static bool enter_call(struct thread *self)
{
    return !(atomic_fetch_or_explicit(&self->word, THREAD_IN_CALL,
                                      memory_order_relaxed)
             & THREAD_IN_CALL);
}

static void leave_call(struct thread *self)
{
    atomic_fetch_and_explicit(&self->word, ~(uint64_t)THREAD_IN_CALL,
                              memory_order_relaxed);
}

/* What vthread_testcancel would say; the word stays as it is. */
static bool is_cancelled(const struct thread *self)
{
    uint64_t word = atomic_load_explicit(&self->word, memory_order_relaxed);
    return !(word & THREAD_MASKED)
           && word & (THREAD_INTERRUPT | THREAD_CANCEL);
}

int interruptible_begin(struct interruptible **call, struct thread *self,
                        uint64_t deadline_ns)
{
    struct interruptible *c = memory_alloc_plain(MEMORY_ALIGNMENT_BYTES,
                                                 sizeof *c);
    if (!c)
        return ENOMEM;
    *c = (struct interruptible){.thread = thread_handle(self)};
    if (os_interrupt_open(&c->os, deadline_ns) != 0) {
        memory_free(c);
        return ENOMEM;
    }
    insert(c);
    c->is_outermost = enter_call(self);
    int err = vthread_testcancel();
    if (err != 0)
        interruptible_end(c, self);
    else
        *call = c;
    return err;
}

void interruptible_end(struct interruptible *call, struct thread *self)
{
    if (call->is_outermost)
        leave_call(self);
    int saved = errno;
    leave(call);
    errno = saved;
    os_interrupt_close(&call->os);
    memory_free(call);
    errno = saved;
}

void interruptible_pause(struct interruptible *call)
{
    os_interrupt_pause(&call->os);
}

void interruptible_resume(struct interruptible *call,
                          const struct thread *self)
{
    if (is_cancelled(self))
        os_interrupt_fire(&call->os);
    os_interrupt_resume(&call->os);
}

void interruptible_cancel(vthread_t thread)
{
    os_lock_acquire(&lock);
    for (struct interruptible *call = first; call; call = call->next)
        if (call->thread == thread)
            os_interrupt_fire(&call->os);
    os_lock_release(&lock);
}
