/*
 * bind.c - threads that stay: pinned to their OS thread while they are, or
 * bound to their carrier from then on.
 *
 * What happens when a pinned thread waits is in vthread.c; that a bound one
 * is queued for its carrier only, too.  A carrier to which threads are bound
 * keeps its OS thread: station->bound counts them, THREAD_COUNTED says that
 * it counts this one.
 */
#include <errno.h>

#include <vthread.h>
#include <vthread/pin.h>

#include "carrier/pool.h"
#include "inspect/held.h"
#include "local.h"
#include "running.h"
#include "scheduler.h"
#include "thread.h"

/* ---- Pinned ------------------------------------------------------------- */

static int pin(const char *why, const void *site)
{
    struct thread *self = thread_self();
    if (!self)
        return ENOMEM;
    if (self->continuation.pins == UINT16_MAX)
        return EAGAIN;
    self->continuation.pins++;
    held_pin(why, site);
    return 0;
}

int vthread_pin(void)
{
    return pin(NULL, __builtin_return_address(0));
}

int vthread_pin_reason(const char *why)
{
    return pin(why, __builtin_return_address(0));
}

int vthread_unpin(void)
{
    struct thread *self = thread_self();
    if (!self || self->continuation.pins == 0)
        return EPERM;
    self->continuation.pins--;
    held_unpin();
    return 0;
}

/* ---- Bound -------------------------------------------------------------- */

void running_unbind(struct thread *t)
{
    struct station *bound_to
        = &scheduler_at(t->scheduler)->stations[t->carrier];
    /* Relaxed, all: the carrier reads the count when it has nothing to do;
     * the thread has not been its any more then, or has ended there. */
    if (atomic_load_explicit(&t->word, memory_order_relaxed)
        & THREAD_COUNTED)
        atomic_fetch_sub_explicit(&bound_to->bound, 1, memory_order_relaxed);
}

/* A thread that has to wait for its first home may come here again, on
 * another carrier. */
void running_bind(struct local *here, struct thread *t)
{
    running_unbind(t);
    t->carrier = (uint8_t)carrier_number(here->carrier);
    /* Relaxed, both: as above; and the word is read when the thread is
     * resubmitted, after it has waited. */
    atomic_fetch_add_explicit(&here->station->bound, 1, memory_order_relaxed);
    atomic_fetch_or_explicit(&t->word, THREAD_BOUND_ONE | THREAD_COUNTED,
                             memory_order_relaxed);
}

int vthread_bind(void)
{
    struct thread *self = thread_self();
    if (!self)
        return ENOMEM;
    /* Relaxed: its own. */
    uint64_t word = atomic_load_explicit(&self->word, memory_order_relaxed);
    if (word & (THREAD_PLATFORM | THREAD_BOUND_ONE))
        return 0;
    running_bind(local_self(), self);
    return 0;
}
