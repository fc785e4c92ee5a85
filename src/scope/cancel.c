/*
 * cancel.c - the calling thread's view of its cancellation: disabling it,
 * asking for it, and, for tests, placing it.
 *
 * Not here: how a request meets a wait (vthread.c), and whom a scope
 * cancels (scope.c).
 *
 * The nesting count is the topmost byte of the thread's word, so whoever
 * requests a cancellation sees in the same read whether the wait heeds it.
 * Only the thread itself changes it, and never during a wait.
 */
#include "scope/cancel.h"

#include <errno.h>
#include <stdatomic.h>

#include <vthread/cancel.h>

#include "local.h"

/* One less than the byte holds: the last one is for the end. */
#define DISABLES_MAX 254

static uint64_t word_of(const struct thread *t)
{
    /* Relaxed: asked for flags that order nothing. */
    return atomic_load_explicit(&t->word, memory_order_relaxed);
}

static unsigned disables_of(const struct thread *t)
{
    return (uint32_t)word_of(t) / THREAD_MASK_ONE;
}

int vthread_cancel_disable(void)
{
    struct thread *self = thread_self();
    if (!self)
        return ENOMEM;
    if (disables_of(self) >= DISABLES_MAX)
        return EAGAIN;
    atomic_fetch_add_explicit(&self->word, THREAD_MASK_ONE,
                              memory_order_relaxed);
    return 0;
}

int vthread_cancel_enable(void)
{
    struct thread *self = thread_self();
    if (!self)
        return EPERM;
    struct thread_extra *extra = thread_extra(self);
    unsigned kept = extra && extra->finishes ? 1 : 0;
    if (disables_of(self) <= kept)
        return EPERM;
    atomic_fetch_sub_explicit(&self->word, THREAD_MASK_ONE,
                              memory_order_relaxed);
    return 0;
}

void cancel_disable_for_good(struct thread *self)
{
    atomic_fetch_add_explicit(&self->word, THREAD_MASK_ONE,
                              memory_order_relaxed);
}

int vthread_testcancel(void)
{
    struct thread *self = local_thread(local_self());
    if (!self) {
        thread_refuse_child();
        return 0; /* nobody has its handle yet */
    }
    uint64_t word = word_of(self);
    if (word & THREAD_MASKED
        || !(word & (THREAD_INTERRUPT | THREAD_CANCEL)))
        return 0;
    if (word & THREAD_INTERRUPT)
        atomic_fetch_and_explicit(&self->word, ~(uint64_t)THREAD_INTERRUPT,
                                  memory_order_relaxed);
    return ECANCELED;
}

/* ---- For tests ---------------------------------------------------------- */

int thread_cancel_at_wait(struct thread *self, uint64_t n, uint32_t flag)
{
    struct thread_extra *extra = thread_make_extra(self);
    if (!extra)
        return ENOMEM;
    extra->waits_left = n;
    extra->countdown_flag = flag;
    extra->counts_wait = false;
    if (n > 0)
        atomic_fetch_or_explicit(&self->word, THREAD_COUNTDOWN,
                                 memory_order_relaxed);
    else
        atomic_fetch_and_explicit(&self->word, ~(uint64_t)THREAD_COUNTDOWN,
                                  memory_order_relaxed);
    return 0;
}

/* A wait looks when it begins and when it is published, and again whenever
 * the word has changed in between: so it is counted at the second kind of
 * look, once after each of the first. */
void cancel_count_down(struct thread *t, bool begins)
{
    struct thread_extra *extra = thread_extra(t);
    if (begins) {
        extra->counts_wait = true;
    } else if (extra->counts_wait) {
        extra->counts_wait = false;
        if (--extra->waits_left > 0)
            return;
        /* The word has changed, so the look that is under way comes again,
         * as if somebody else had cancelled the thread just now. */
        atomic_fetch_and_explicit(&t->word, ~(uint64_t)THREAD_COUNTDOWN,
                                  memory_order_relaxed);
        atomic_fetch_or_explicit(&t->word, extra->countdown_flag,
                                 memory_order_relaxed);
    }
}
