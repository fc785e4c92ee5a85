/*
 * barrier.c - threads that wait for the last of them.
 *
 * The word: how many wait, above BUSY (busy.h), under which all is done.  The
 * last to come takes all out of the list and stores a word that says zero: so
 * a round has ended, and the next may begin, before the first of them is
 * woken.
 *
 * Invariant: the list has as many threads as the word says, and fewer than
 * the barrier is for.
 *
 * The last one and a deadline, or a cancellation: under BUSY the thread is in
 * the list, and leaves uncounted; or it is not, and its round is complete
 * (thread_wait_out).
 */
#include <errno.h>

#include <vthread/barrier.h>

#include "escape.h"
#include "platform/busy.h"
#include "sync/waitlist.h"

#define ONE 2u

/* B: under BUSY of the word. */
struct barrier {
    _Atomic uint32_t word;   /* A */
    uint32_t count;          /* I */
    struct waitlist waiting; /* B */
};

_Static_assert(sizeof(struct barrier) == sizeof(vthread_barrier_t),
               "the public barrier is the same");

/* Ends the round if the caller is the last that is missing; else puts self
 * (unless NULL) into the list.  Each who comes acquires, by BUSY, what those
 * before did, and releases its own: the last one passes all of it on to those
 * it wakes. */
static bool come(struct barrier *b, struct thread *self)
{
    uint32_t word = busy_acquire(&b->word);
    bool is_last = word / ONE + 1 >= b->count;
    struct thread *others = NULL;
    if (is_last) {
        others = waitlist_take_all(&b->waiting);
        word = 0;
    } else if (self) {
        b->waiting.kind = WAIT_BARRIER;
        waitlist_append(&b->waiting, self);
        word += ONE;
    }
    busy_release(&b->word, word);
    waitlist_wake_chain(others);
    return is_last;
}

static bool leave_list(struct barrier *b, struct thread *self)
{
    uint32_t word = busy_acquire(&b->word);
    bool was_there = waitlist_remove(&b->waiting, self);
    busy_release(&b->word, was_there ? word - ONE : word);
    return was_there;
}

int vthread_barrier_wait_until(vthread_barrier_t *barrier, bool *is_last,
                               uint64_t deadline_ns)
{
    struct barrier *b = (struct barrier *)barrier;
    struct thread *self = thread_self();
    if (!self)
        return ENOMEM;
    int err = escape_check(b, "vthread_barrier_wait");
    if (err != 0)
        return err;
    bool was_last = come(b, self);
    if (!was_last)
        err = thread_wait(self, deadline_ns, true);
    if (err != 0) {
        if (leave_list(b, self))
            return err;
        thread_wait_out(self, err);
    }
    if (is_last)
        *is_last = was_last;
    return 0;
}

int vthread_barrier_wait(vthread_barrier_t *barrier, bool *is_last)
{
    return vthread_barrier_wait_until(barrier, is_last, VTHREAD_NEVER);
}

int vthread_barrier_trywait(vthread_barrier_t *barrier)
{
    struct barrier *b = (struct barrier *)barrier;
    thread_refuse_child();
    int err = escape_check(b, "vthread_barrier_trywait");
    if (err != 0)
        return err;
    return come(b, NULL) ? 0 : EBUSY;
}

int vthread_barrier_init(vthread_barrier_t *barrier, uint32_t count)
{
    if (count == 0 || count > UINT32_MAX / ONE)
        return EINVAL;
    *barrier = (vthread_barrier_t)VTHREAD_BARRIER_INITIALIZER(count);
    return 0;
}
