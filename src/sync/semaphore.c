/*
 * semaphore.c - permits, first come first served.
 *
 * The word: the number of permits above two flags, QUEUED (the list is not
 * empty) and BUSY (busy.h).
 *
 *   from             to                who
 *   ---------------  ----------------  -------------------------------------
 *   n, n > 0         n - 1             wait, trywait; without BUSY
 *   n                n + 1             post, without BUSY
 *   0[|QUEUED]       QUEUED            wait, which appends itself
 *   QUEUED           0|QUEUED or 0     post, which takes the first and wakes
 *                                      it: the permit is never in the word
 *
 * Invariant: with QUEUED there are no permits, so nobody passes those who
 * wait.
 *
 * A post and a deadline, or a cancellation: under BUSY the thread is in the
 * list, and leaves; or it is not, and has been given a permit, whatever
 * thread_wait said: it waits for the wake-up (thread_wait_out).
 *
 * A post touches the semaphore last when it stores the word: who has got the
 * permit may free it.
 */
#include <errno.h>

#include <vthread/semaphore.h>

#include "escape.h"
#include "platform/busy.h"
#include "sync/waitlist.h"

#define QUEUED 2u
#define PERMIT 4u

/* B: under BUSY of the word. */
struct semaphore {
    _Atomic uint32_t word;   /* A */
    struct waitlist waiting; /* B */
};

_Static_assert(sizeof(struct semaphore) == sizeof(vthread_semaphore_t),
               "the public semaphore is the same");
_Static_assert(UINT32_MAX / PERMIT == VTHREAD_SEMAPHORE_MAX,
               "the permits fit in above the flags");

static int check(const struct semaphore *s, const char *function)
{
    return escape_is_doubtful(s) ? escape_check(s, function) : 0;
}

/* Relaxed: only what a compare-exchange then finds unchanged counts. */
static uint32_t look(const struct semaphore *s)
{
    return atomic_load_explicit(&s->word, memory_order_relaxed);
}

/* Acquire: observes what was done before the post; pairs with give. */
static bool take(struct semaphore *s)
{
    uint32_t word = look(s);
    while (word >= PERMIT && !(word & BUSY))
        if (atomic_compare_exchange_weak_explicit(
                &s->word, &word, word - PERMIT, memory_order_acquire,
                memory_order_relaxed))
            return true;
    return false;
}

/* ---- Taking ------------------------------------------------------------- */

/* Takes a permit, or puts self (unless NULL) into the list. */
static bool take_or_join(struct semaphore *s, struct thread *self)
{
    uint32_t word = busy_acquire(&s->word);
    bool takes = word >= PERMIT;
    if (takes) {
        word -= PERMIT;
    } else if (self) {
        s->waiting.kind = WAIT_SEMAPHORE;
        waitlist_append(&s->waiting, self);
        word |= QUEUED;
    }
    busy_release(&s->word, word);
    return takes;
}

static bool leave_list(struct semaphore *s, struct thread *self)
{
    uint32_t word = busy_acquire(&s->word);
    bool was_there = waitlist_remove(&s->waiting, self);
    if (waitlist_is_empty(&s->waiting))
        word &= ~QUEUED;
    busy_release(&s->word, word);
    return was_there;
}

static int wait_slowly(struct semaphore *s, uint64_t deadline_ns)
{
    struct thread *self = thread_self();
    if (!self)
        return ENOMEM;
    int err = escape_check(s, "vthread_semaphore_wait");
    if (err != 0 || take_or_join(s, self))
        return err;
    err = thread_wait(self, deadline_ns, true);
    if (err == 0 || leave_list(s, self))
        return err;
    thread_wait_out(self, err);
    return 0;
}

int vthread_semaphore_wait_until(vthread_semaphore_t *semaphore,
                                 uint64_t deadline_ns)
{
    struct semaphore *s = (struct semaphore *)semaphore;
    if (likely(!escape_is_doubtful(s) && take(s)))
        return 0;
    return wait_slowly(s, deadline_ns);
}

int vthread_semaphore_wait(vthread_semaphore_t *semaphore)
{
    return vthread_semaphore_wait_until(semaphore, VTHREAD_NEVER);
}

int vthread_semaphore_trywait(vthread_semaphore_t *semaphore)
{
    struct semaphore *s = (struct semaphore *)semaphore;
    int err = check(s, "vthread_semaphore_trywait");
    if (err != 0 || take(s))
        return err;
    /* Neither permits nor BUSY, at one moment: there are none.  After BUSY
     * there may be some again. */
    uint32_t word = look(s);
    return (word >= PERMIT || word & BUSY) && take_or_join(s, NULL) ? 0
                                                                    : EAGAIN;
}

/* ---- Giving ------------------------------------------------------------- */

/* Keeps a permit.  False: somebody may be waiting for it, or there are too
 * many.  Release: publishes what the caller did; pairs with take. */
static bool give(struct semaphore *s)
{
    uint32_t word = look(s);
    while (!(word & (QUEUED | BUSY)) && word / PERMIT < VTHREAD_SEMAPHORE_MAX)
        if (atomic_compare_exchange_weak_explicit(
                &s->word, &word, word + PERMIT, memory_order_release,
                memory_order_relaxed))
            return true;
    return false;
}

static int post_slowly(struct semaphore *s)
{
    thread_refuse_child();
    uint32_t word = busy_acquire(&s->word);
    struct thread *t = waitlist_take_first(&s->waiting);
    bool is_full = !t && word / PERMIT == VTHREAD_SEMAPHORE_MAX;
    if (waitlist_is_empty(&s->waiting))
        word &= ~QUEUED;
    busy_release(&s->word, t || is_full ? word : word + PERMIT);
    if (t)
        thread_wake(t);
    return is_full ? EOVERFLOW : 0;
}

int vthread_semaphore_post(vthread_semaphore_t *semaphore)
{
    struct semaphore *s = (struct semaphore *)semaphore;
    int err = check(s, "vthread_semaphore_post");
    if (err != 0 || give(s))
        return err;
    return post_slowly(s);
}

int vthread_semaphore_init(vthread_semaphore_t *semaphore, uint32_t value)
{
    if (value > VTHREAD_SEMAPHORE_MAX)
        return EINVAL;
    *semaphore = (vthread_semaphore_t)VTHREAD_SEMAPHORE_INITIALIZER(value);
    return 0;
}

int vthread_semaphore_getvalue(const vthread_semaphore_t *semaphore,
                               uint32_t *value)
{
    *value = look((const struct semaphore *)semaphore) / PERMIT;
    return 0;
}
