/*
 * mutex.c - a lock that barges, but hands over before anybody starves.
 *
 * The word: who holds the mutex, and four flags.
 *
 *   31                              4    3     2      1      0
 *   +------------------------------+-----+-----+--------+------+
 *   | number of the holder, 0 none | DUE |WOKEN| QUEUED | BUSY |
 *   +------------------------------+-----+-----+--------+------+
 *
 *   BUSY    somebody changes the word or the list: see busy.h
 *   QUEUED  the list is not empty, so an unlock has to look
 *   WOKEN   the first of the list has been woken and not run since.  It stays
 *           in the list until it has the mutex.
 *   DUE     the first of the list was woken and found the mutex taken again:
 *           the next unlock hands it over
 *
 * Who changes what (h: the holder's number, f: the first of the list):
 *
 *   from             to                 who
 *   ---------------  -----------------  ------------------------------------
 *   0                h                  lock, without BUSY
 *   free|flags       h|flags            the same: it barges
 *   h                0                  unlock, without BUSY
 *   h|QUEUED|WOKEN   QUEUED|WOKEN       unlock, without BUSY: f comes anyway
 *   h[|QUEUED]       h|QUEUED           lock, which appends itself
 *   h|QUEUED         QUEUED|WOKEN       unlock, which wakes f
 *   h|QUEUED|DUE     f[|QUEUED]         unlock, which hands over and wakes f
 *   h|QUEUED|WOKEN   f[|QUEUED]         unlock, which hands over because
 *                                       `bypassed` is at its limit
 *   free|..|WOKEN    f[|QUEUED]         f, when it runs
 *   h|..|WOKEN       h|QUEUED|DUE       f, when it runs too late
 *
 * Invariants, when nobody is BUSY:
 *   1. A free mutex with a list has WOKEN: somebody is on his way, so nobody
 *      waits for a free mutex.
 *   2. WOKEN and DUE speak of the first; not both; a free mutex is not DUE.
 *   3. Each wait of a thread in the list is ended by one thread_wake: by the
 *      unlock that sets WOKEN, or by the one that hands over without WOKEN.
 *
 * Bound.  Once a thread is first in the list, the next unlock wakes it; after
 * that at most BYPASS_LIMIT unlocks pass it over, and one if it runs.  Others
 * are behind it, for a list is joined at its end.
 *
 * A deadline.  Who leaves the list under BUSY, and is not WOKEN, has timed
 * out.  Who is WOKEN or has been handed the mutex waits for the wake-up that is
 * certain (thread_wait_out), and tries a last time: it leaves only while
 * somebody else holds the mutex, whose unlock sees to the rest.
 *
 * Rejected: handing over at each unlock (each lock then costs a change of
 * thread, 3 to 4 times the time with 1,000 threads); a lock of the list beside
 * the word (two locked instructions more for each wait and each wake, and who
 * unlocks would touch the mutex after another may have freed it).
 *
 * Not here: conditions; see cond.c.  Start at vthread_mutex_lock_until.
 */
#include "sync/mutex.h"

#include <errno.h>

#include "escape.h"
#include "local.h"
#include "platform/busy.h"
#include "platform/panic.h"

#define QUEUED 2u
#define WOKEN 4u
#define DUE 8u
#define FLAGS ((1u << MUTEX_HOLDER_SHIFT) - 1)

_Static_assert(THREAD_NUMBER_BITS + MUTEX_HOLDER_SHIFT <= 32,
               "a thread's number fits in beside the flags");

#define BYPASS_LIMIT 64

static uint32_t held_by(const struct thread *t)
{
    return thread_number(t) << MUTEX_HOLDER_SHIFT;
}

static bool is_free(uint32_t word)
{
    return word <= FLAGS;
}

static bool is_held_by(uint32_t word, const struct thread *t)
{
    return t && word >> MUTEX_HOLDER_SHIFT == thread_number(t);
}

/* Relaxed: a thread finds itself there only if it has put itself there. */
static uint32_t look(const struct mutex *m)
{
    return atomic_load_explicit(&m->word, memory_order_relaxed);
}

struct thread *mutex_holder(const struct mutex *m)
{
    uint32_t word = look(m);
    return is_free(word) ? NULL : thread_at(word >> MUTEX_HOLDER_SHIFT);
}

/* Takes t out of the list; returns the word as it is then. */
static uint32_t unlist(struct mutex *m, struct thread *t, uint32_t word)
{
    if (waitlist_first(&m->waiting) == t)
        word &= ~(WOKEN | DUE);
    waitlist_remove(&m->waiting, t);
    return waitlist_is_empty(&m->waiting) ? word & ~QUEUED : word;
}

/* ---- Taking it ---------------------------------------------------------- */

/* Takes it if it is free, whoever waits, and nobody is BUSY.  The word is
 * looked at first: a compare-exchange that fails costs as much as one that
 * does not, and with a list each first guess would be wrong.
 *
 * Acquire, here and below: observes what was done before the last unlock;
 * pairs with the releases in unlock, pass_over and busy_release. */
static inline bool barge(struct mutex *m, uint32_t mine)
{
    uint32_t word = look(m);
    return is_free(word) && !(word & BUSY)
           && atomic_compare_exchange_strong_explicit(
               &m->word, &word, word | mine, memory_order_acquire,
               memory_order_relaxed);
}

/* The same, and does not take BUSY for an answer. */
static bool take_free(struct mutex *m, uint32_t mine)
{
    uint32_t word = look(m);
    while (is_free(word)) {
        if (word & BUSY) {
            word = busy_acquire(&m->word);
            busy_release(&m->word, is_free(word) ? word | mine : word);
            return is_free(word);
        }
        if (atomic_compare_exchange_weak_explicit(
                &m->word, &word, word | mine, memory_order_acquire,
                memory_order_relaxed))
            return true;
    }
    return false;
}

/* False: it has become free, and is the caller's. */
static bool join_list(struct mutex *m, struct thread *self)
{
    uint32_t word = busy_acquire(&m->word);
    bool waits = !is_free(word);
    if (waits) {
        m->waiting.kind = WAIT_MUTEX;
        waitlist_append(&m->waiting, self);
    }
    busy_release(&m->word, waits ? word | QUEUED : word | held_by(self));
    return waits;
}

/* The deadline has come.  False: too late to go. */
static bool leave_list(struct mutex *m, struct thread *self)
{
    uint32_t word = busy_acquire(&m->word);
    bool is_woken = word & WOKEN && waitlist_first(&m->waiting) == self;
    bool leaves = waitlist_has(&m->waiting, self) && !is_woken;
    busy_release(&m->word, leaves ? unlist(m, self, word) : word);
    return leaves;
}

/* The caller has been woken: the mutex has been handed to it, or it is the
 * first and takes it if it is free.  False: it is not, and the caller will
 * get it if it stays. */
static bool take_woken(struct mutex *m, struct thread *self, bool stays)
{
    uint32_t word = busy_acquire(&m->word);
    bool is_mine = is_held_by(word, self);
    if (!is_mine) {
        invariant(word & WOKEN && waitlist_first(&m->waiting) == self);
        is_mine = is_free(word);
        if (is_mine)
            word = unlist(m, self, word) | held_by(self);
        else
            word = stays ? (word & ~WOKEN) | DUE : unlist(m, self, word);
    }
    busy_release(&m->word, word);
    return is_mine;
}

/* Waits in the list until it has the mutex. */
static int await(struct mutex *m, struct thread *self, uint64_t deadline_ns)
{
    for (;;) {
        int err = thread_wait(self, deadline_ns, false);
        if (err != 0) {
            if (leave_list(m, self))
                return err;
            thread_wait_out(self, err);
        }
        if (take_woken(m, self, err == 0))
            return 0;
        if (err != 0)
            return err;
    }
}

static int take(struct mutex *m, struct thread *self, uint64_t deadline_ns)
{
    if (take_free(m, held_by(self)) || !join_list(m, self))
        return 0;
    return await(m, self, deadline_ns);
}

/* The caller holds it already. */
static int take_again(struct mutex *m, const char *function)
{
    if (m->kind == VTHREAD_MUTEX_ERRORCHECK)
        return EDEADLK;
    if (m->kind != VTHREAD_MUTEX_RECURSIVE)
        panic("%s: the caller holds the mutex %p already, and would wait for "
              "itself: expected one that it does not hold, or a recursive "
              "one",
              function, (void *)m);
    if (m->depth == UINT16_MAX)
        return EAGAIN;
    m->depth++;
    return 0;
}

__attribute__((noinline)) static int lock_slowly(struct mutex *m,
                                                 uint64_t deadline_ns)
{
    struct thread *self = thread_self();
    if (!self)
        return ENOMEM;
    int err = escape_check(m, "vthread_mutex_lock");
    if (err != 0)
        return err;
    if (is_held_by(look(m), self))
        return take_again(m, "vthread_mutex_lock");
    return take(m, self, deadline_ns);
}

/* No call, and one locked instruction, when nobody holds it. */
static inline int lock(struct mutex *m, uint64_t deadline_ns)
{
    struct thread *self = local_thread(local_self());
    if (likely(self && !escape_is_doubtful(m)
               && barge(m, held_by(self))))
        return 0;
    return lock_slowly(m, deadline_ns);
}

int vthread_mutex_lock_until(vthread_mutex_t *mutex, uint64_t deadline_ns)
{
    return lock(mutex_of(mutex), deadline_ns);
}

int vthread_mutex_lock(vthread_mutex_t *mutex)
{
    return lock(mutex_of(mutex), VTHREAD_NEVER);
}

int vthread_mutex_trylock(vthread_mutex_t *mutex)
{
    struct mutex *m = mutex_of(mutex);
    struct thread *self = thread_self();
    if (!self)
        return ENOMEM;
    int err = escape_is_doubtful(m) ? escape_check(m, "vthread_mutex_trylock")
                                    : 0;
    if (err != 0)
        return err;
    if (!is_held_by(look(m), self))
        return take_free(m, held_by(self)) ? 0 : EBUSY;
    return m->kind == VTHREAD_MUTEX_RECURSIVE
               ? take_again(m, "vthread_mutex_trylock")
               : EBUSY;
}

/* ---- Giving it back ----------------------------------------------------- */

/* Somebody is on his way already, and has not been passed over too often.
 * Release: publishes what the holder did; pairs with take_free. */
static bool pass_over(struct mutex *m)
{
    uint32_t word = look(m);
    if (!(word & WOKEN) || m->bypassed >= BYPASS_LIMIT)
        return false;
    m->bypassed++;
    while (word & WOKEN && !(word & BUSY))
        if (atomic_compare_exchange_weak_explicit(
                &m->word, &word, word & FLAGS, memory_order_release,
                memory_order_relaxed))
            return true;
    return false;
}

/* Under BUSY, with a list: what becomes of the word.  *woken: whom the
 * caller has to wake, if anybody. */
static uint32_t pass_on(struct mutex *m, uint32_t word, struct thread **woken)
{
    struct thread *first = waitlist_first(&m->waiting);
    bool is_awake = word & WOKEN;
    *woken = is_awake ? NULL : first;
    if (!(word & DUE) && !(is_awake && m->bypassed >= BYPASS_LIMIT)) {
        if (!is_awake)
            m->bypassed = 0;
        return QUEUED | WOKEN;
    }
    m->bypassed = 0;
    return unlist(m, first, word & FLAGS) | held_by(first);
}

static void unlock_slowly(struct mutex *m)
{
    if (pass_over(m))
        return;
    struct thread *woken = NULL;
    uint32_t word = busy_acquire(&m->word);
    word = word & QUEUED ? pass_on(m, word, &woken) : 0;
    busy_release(&m->word, word);
    if (woken)
        thread_wake(woken);
}

/* The holder, who sees `word`, unlocks.  Release: publishes what it did;
 * pairs with barge. */
static inline void unlock(struct mutex *m, uint32_t word)
{
    if (unlikely(word & FLAGS
                 || !atomic_compare_exchange_strong_explicit(
                     &m->word, &word, 0, memory_order_release,
                     memory_order_relaxed)))
        unlock_slowly(m);
}

int mutex_check_holder(const struct mutex *m, struct thread *self,
                       const char *function)
{
    uint32_t word = look(m);
    if (likely(is_held_by(word, self)))
        return 0;
    if (m->kind != VTHREAD_MUTEX_NORMAL)
        return EPERM;
    if (is_free(word))
        panic("%s: the mutex %p is free: expected one that the caller holds",
              function, (const void *)m);
    char holder[80];
    thread_describe(thread_at(word >> MUTEX_HOLDER_SHIFT), holder,
                    sizeof holder);
    panic("%s: the mutex %p is held by %s: expected one that the caller holds",
          function, (const void *)m, holder);
}

/* The caller does not hold it, or holds it more than once. */
__attribute__((noinline)) static int unlock_again(struct mutex *m)
{
    int err = mutex_check_holder(m, thread_self(), "vthread_mutex_unlock");
    if (err == 0)
        m->depth--;
    return err;
}

int vthread_mutex_unlock(vthread_mutex_t *mutex)
{
    struct mutex *m = mutex_of(mutex);
    struct thread *self = local_thread(local_self());
    uint32_t word = look(m);
    if (unlikely(!is_held_by(word, self) || m->depth > 0))
        return unlock_again(m);
    unlock(m, word);
    return 0;
}

bool vthread_mutex_is_held(const vthread_mutex_t *mutex)
{
    return is_held_by(look((const struct mutex *)mutex),
                      local_thread(local_self()));
}

int vthread_mutex_init(vthread_mutex_t *mutex, int kind)
{
    if (kind < VTHREAD_MUTEX_NORMAL || kind > VTHREAD_MUTEX_ERRORCHECK)
        return EINVAL;
    *mutex = (vthread_mutex_t){.kind = (uint8_t)kind};
    return 0;
}

/* ---- For conditions ----------------------------------------------------- */

uint16_t mutex_give_up(struct mutex *m)
{
    uint16_t depth = m->depth;
    m->depth = 0;
    unlock(m, look(m));
    return depth;
}

void mutex_restore(struct mutex *m, struct thread *self, uint16_t depth)
{
    take(m, self, VTHREAD_NEVER);
    m->depth = depth;
}

bool mutex_enqueue(struct mutex *m, struct thread *t)
{
    uint32_t word = busy_acquire(&m->word);
    /* Free, and nobody on his way: then the list is empty. */
    bool is_first = is_free(word) && !(word & WOKEN);
    m->waiting.kind = WAIT_MUTEX;
    waitlist_append(&m->waiting, t);
    if (is_first)
        m->bypassed = 0;
    busy_release(&m->word, word | QUEUED | (is_first ? WOKEN : 0));
    return is_first;
}

void mutex_restore_woken(struct mutex *m, struct thread *self,
                         uint16_t depth)
{
    if (!take_woken(m, self, true))
        await(m, self, VTHREAD_NEVER);
    m->depth = depth;
}
