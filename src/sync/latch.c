/*
 * latch.c - a count; who waits until it is zero.
 *
 * The word: the count above two flags, QUEUED (the list is not empty) and
 * BUSY (busy.h), under which it changes.  The step to zero takes all out of
 * the list and opens in one store, the last touch of the latch, and then wakes
 * them.
 *
 * Invariant: with QUEUED the count is not zero.
 *
 * Each step of the count acquires those before and releases its own: so
 * whoever sees zero, or is woken by the one that made it zero, has acquired
 * what all of them did.
 *
 * Opening and a deadline, or a cancellation: under BUSY the thread is in the
 * list, and leaves; or it is not, and has been let go (thread_wait_out).
 */
#include <errno.h>

#include <vthread/latch.h>

#include "escape.h"
#include "platform/busy.h"
#include "sync/waitlist.h"

#define QUEUED 2u
#define ONE 4u

/* B: under BUSY of the word. */
struct latch {
    _Atomic uint32_t word;   /* A */
    struct waitlist waiting; /* B */
};

_Static_assert(sizeof(struct latch) == sizeof(vthread_latch_t),
               "the public latch is the same");
_Static_assert(UINT32_MAX / ONE == VTHREAD_LATCH_MAX,
               "the count fits in above the flags");

static int check(const struct latch *l, const char *function)
{
    return escape_is_doubtful(l) ? escape_check(l, function) : 0;
}

/* Acquire: observes what was done before the count came to zero; pairs with
 * the busy_release in count. */
static bool is_open(const struct latch *l)
{
    return atomic_load_explicit(&l->word, memory_order_acquire) < ONE;
}

/* ---- Counting ----------------------------------------------------------- */

/* The count changes by `up` less `down`, with one locked instruction, as a
 * fetch-and-add would, which could not refuse. */
static int count(struct latch *l, uint32_t up, uint32_t down)
{
    uint32_t word = busy_acquire(&l->word);
    uint32_t before = word / ONE;
    int err = down > before ? EINVAL
              : up > VTHREAD_LATCH_MAX - before ? EOVERFLOW : 0;
    struct thread *let_go = NULL;
    if (err == 0) {
        word = (before + up - down) * ONE | (word & QUEUED);
        if (word == QUEUED) {
            let_go = waitlist_take_all(&l->waiting);
            word = 0;
        }
    }
    busy_release(&l->word, word);
    waitlist_wake_chain(let_go);
    return err;
}

int vthread_latch_add(vthread_latch_t *latch, uint32_t n)
{
    int err = check((struct latch *)latch, "vthread_latch_add");
    return err == 0 ? count((struct latch *)latch, n, 0) : err;
}

int vthread_latch_count_down(vthread_latch_t *latch, uint32_t n)
{
    int err = check((struct latch *)latch, "vthread_latch_count_down");
    return err == 0 ? count((struct latch *)latch, 0, n) : err;
}

/* ---- Waiting ------------------------------------------------------------ */

/* False: it is open. */
static bool join_list(struct latch *l, struct thread *self)
{
    uint32_t word = busy_acquire(&l->word);
    bool waits = word >= ONE;
    if (waits) {
        l->waiting.kind = WAIT_LATCH;
        waitlist_append(&l->waiting, self);
        word |= QUEUED;
    }
    busy_release(&l->word, word);
    return waits;
}

static bool leave_list(struct latch *l, struct thread *self)
{
    uint32_t word = busy_acquire(&l->word);
    bool was_there = waitlist_remove(&l->waiting, self);
    if (waitlist_is_empty(&l->waiting))
        word &= ~QUEUED;
    busy_release(&l->word, word);
    return was_there;
}

static int wait_slowly(struct latch *l, uint64_t deadline_ns)
{
    struct thread *self = thread_self();
    if (!self)
        return ENOMEM;
    int err = escape_check(l, "vthread_latch_wait");
    if (err != 0 || !join_list(l, self))
        return err;
    err = thread_wait(self, deadline_ns, true);
    if (err == 0 || leave_list(l, self))
        return err;
    thread_wait_out(self, err);
    return 0;
}

int vthread_latch_wait_until(vthread_latch_t *latch, uint64_t deadline_ns)
{
    struct latch *l = (struct latch *)latch;
    if (!escape_is_doubtful(l) && is_open(l))
        return 0;
    return wait_slowly(l, deadline_ns);
}

int vthread_latch_wait(vthread_latch_t *latch)
{
    return vthread_latch_wait_until(latch, VTHREAD_NEVER);
}

int vthread_latch_trywait(vthread_latch_t *latch)
{
    struct latch *l = (struct latch *)latch;
    int err = check(l, "vthread_latch_trywait");
    if (err != 0)
        return err;
    return is_open(l) ? 0 : EBUSY;
}

int vthread_latch_init(vthread_latch_t *latch, uint32_t number)
{
    if (number > VTHREAD_LATCH_MAX)
        return EINVAL;
    *latch = (vthread_latch_t)VTHREAD_LATCH_INITIALIZER(number);
    return 0;
}
