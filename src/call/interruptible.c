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
 */
#include "call/interruptible.h"

#include <errno.h>

#include <vthread/cancel.h>

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

int interruptible_begin(struct interruptible *call, struct thread *self,
                        uint64_t deadline_ns)
{
    *call = (struct interruptible){.thread = thread_handle(self)};
    int err = os_interrupt_open(&call->os, deadline_ns);
    if (err != 0)
        return err;
    insert(call);
    call->is_outermost = enter_call(self);
    err = vthread_testcancel();
    if (err != 0)
        interruptible_end(call, self);
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
}

void interruptible_cancel(vthread_t thread)
{
    os_lock_acquire(&lock);
    for (struct interruptible *call = first; call; call = call->next)
        if (call->thread == thread)
            os_interrupt_fire(&call->os);
    os_lock_release(&lock);
}
