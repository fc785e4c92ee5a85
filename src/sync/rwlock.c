/*
 * rwlock.c - many readers or one writer, in the order of coming.
 *
 * The word: the number of readers above three flags.
 *
 *   WRITER  a writer holds it; there are no readers
 *   QUEUED  the list is not empty
 *   BUSY    somebody changes the word or the list: see busy.h
 *
 *   from                to                  who
 *   ------------------  ------------------  ---------------------------------
 *   r                   r + 1               rdlock, without BUSY
 *   0                   WRITER              wrlock, without BUSY
 *   r[|QUEUED], r > 1   r - 1[|QUEUED]      unlock, without BUSY
 *   1                   0                   the same
 *   WRITER              0                   the same
 *   any                 any|QUEUED          rdlock, wrlock: who appends itself
 *   1|QUEUED            as grant says       unlock, and likewise a thread that
 *   WRITER|QUEUED                           leaves the list
 *
 * One list for both kinds; writers are marked in it.  `grant` gives the lock to
 * those at the front who may have it: one writer if it is free, or all readers
 * ahead of the next writer if no writer has it.  It is handed to them before
 * they are woken, so nobody comes between.
 *
 * Invariant, when nobody is BUSY: the first of the list may not have it.  So
 * grant follows each change that might let it: an unlock that leaves no
 * reader or no writer, and a thread that leaves the front of the list.
 *
 * Handing over and a deadline: under BUSY the thread is in the list, and
 * leaves; or it is not, and has the lock (thread_wait_out).
 *
 * Rejected: to let writers barge, as a mutex does.  Then readers have no bound,
 * or another count is needed; a lock that is written to that often had better
 * be a mutex.
 */
#include "sync/rwlock.h"

#include <errno.h>

#include "escape.h"
#include "platform/busy.h"
#include "platform/panic.h"

#define QUEUED 2u
#define WRITER RWLOCK_WRITER
#define READER RWLOCK_READER

/* Of the 2^29 that fit in: all threads may wait besides. */
#define READERS_MAX ((1u << 28) - 1)

/* Relaxed: only what a compare-exchange then finds unchanged counts. */
static uint32_t look(const struct rwlock *l)
{
    return atomic_load_explicit(&l->word, memory_order_relaxed);
}

/* Relaxed, both: a thread finds itself there only if it is the writer, and
 * then it wrote that itself or was handed the lock with it. */
static uint32_t writer_of(const struct rwlock *l)
{
    return atomic_load_explicit(&l->writer, memory_order_relaxed);
}

static void set_writer(struct rwlock *l, uint32_t number)
{
    atomic_store_explicit(&l->writer, number, memory_order_relaxed);
}

struct thread *rwlock_writer_of_list(const struct waitlist *list)
{
    const struct rwlock *l = (const struct rwlock *)
        ((const char *)list - offsetof(struct rwlock, waiting));
    uint32_t writer = writer_of(l);
    return look(l) & WRITER && writer ? thread_at(writer) : NULL;
}

/* Under BUSY: gives the lock to those at the front who may have it.  *woken:
 * a chain of those, for the caller to wake. */
static uint32_t grant(struct rwlock *l, uint32_t word, struct thread **woken)
{
    struct thread *first = waitlist_first(&l->waiting);
    *woken = NULL;
    if (first && !(word & WRITER)) {
        uint32_t count = 0;
        if (!waitlist_is_marked(first)) {
            *woken = waitlist_take_unmarked(&l->waiting, &count);
            word += count * READER;
        } else if (word < READER) {
            *woken = waitlist_take_first(&l->waiting);
            set_writer(l, thread_number(first));
            word |= WRITER;
        }
    }
    return waitlist_is_empty(&l->waiting) ? word & ~QUEUED : word | QUEUED;
}

/* ---- Locking ------------------------------------------------------------ */

/* Acquire, both: observe what was done before the last unlock; pair with the
 * release in unlock_reader and unlock_writer, and with busy_release. */
static bool take_as_reader(struct rwlock *l)
{
    uint32_t word = look(l);
    while (!(word & (BUSY | QUEUED | WRITER)) && word / READER < READERS_MAX)
        if (atomic_compare_exchange_weak_explicit(
                &l->word, &word, word + READER, memory_order_acquire,
                memory_order_relaxed))
            return true;
    return false;
}

static bool take_as_writer(struct rwlock *l, struct thread *self)
{
    uint32_t word = 0;
    if (!atomic_compare_exchange_strong_explicit(&l->word, &word, WRITER,
                                                 memory_order_acquire,
                                                 memory_order_relaxed))
        return false;
    set_writer(l, thread_number(self));
    return true;
}

/* Takes it, or appends self to the list, if it may wait.  0 when taken. */
static int take_or_join(struct rwlock *l, struct thread *self, bool writes,
                        bool may_wait)
{
    uint32_t word = busy_acquire(&l->word);
    bool is_free = writes ? word == 0 : !(word & (QUEUED | WRITER));
    int err = EBUSY;
    if (word & WRITER && writer_of(l) == thread_number(self) && may_wait) {
        err = EDEADLK;
    } else if (!writes && word / READER >= READERS_MAX) {
        err = EAGAIN;
    } else if (is_free) {
        err = 0;
        word = writes ? WRITER : word + READER;
        if (writes)
            set_writer(l, thread_number(self));
    } else if (may_wait) {
        l->waiting.kind = WAIT_RWLOCK;
        if (writes)
            waitlist_append_marked(&l->waiting, self);
        else
            waitlist_append(&l->waiting, self);
        word |= QUEUED;
    }
    busy_release(&l->word, word);
    return err;
}

/* Those behind may be in nobody's way any more. */
static bool leave_list(struct rwlock *l, struct thread *self)
{
    struct thread *woken = NULL;
    uint32_t word = busy_acquire(&l->word);
    bool was_there = waitlist_remove(&l->waiting, self);
    if (was_there)
        word = grant(l, word, &woken);
    busy_release(&l->word, word);
    waitlist_wake_chain(woken);
    return was_there;
}

static int lock_slowly(struct rwlock *l, struct thread *self, bool writes,
                       uint64_t deadline_ns)
{
    if (!self)
        return ENOMEM;
    int err = escape_check(l, writes ? "vthread_rwlock_wrlock"
                                     : "vthread_rwlock_rdlock");
    if (err == 0)
        err = take_or_join(l, self, writes, true);
    if (err != EBUSY)
        return err;
    err = thread_wait(self, deadline_ns, false);
    if (err == 0 || leave_list(l, self))
        return err;
    thread_wait_out(self, err);
    return 0;
}

int vthread_rwlock_rdlock_until(vthread_rwlock_t *rwlock,
                                uint64_t deadline_ns)
{
    struct rwlock *l = (struct rwlock *)rwlock;
    if (likely(!escape_is_doubtful(l) && take_as_reader(l)))
        return 0;
    return lock_slowly(l, thread_self(), false, deadline_ns);
}

int vthread_rwlock_wrlock_until(vthread_rwlock_t *rwlock,
                                uint64_t deadline_ns)
{
    struct rwlock *l = (struct rwlock *)rwlock;
    struct thread *self = thread_self();
    if (likely(self && !escape_is_doubtful(l) && take_as_writer(l, self)))
        return 0;
    return lock_slowly(l, self, true, deadline_ns);
}

int vthread_rwlock_rdlock(vthread_rwlock_t *rwlock)
{
    return vthread_rwlock_rdlock_until(rwlock, VTHREAD_NEVER);
}

int vthread_rwlock_wrlock(vthread_rwlock_t *rwlock)
{
    return vthread_rwlock_wrlock_until(rwlock, VTHREAD_NEVER);
}

static int try_lock(struct rwlock *l, bool writes, const char *function)
{
    struct thread *self = thread_self();
    if (!self)
        return ENOMEM;
    int err = escape_is_doubtful(l) ? escape_check(l, function) : 0;
    return err == 0 ? take_or_join(l, self, writes, false) : err;
}

int vthread_rwlock_tryrdlock(vthread_rwlock_t *rwlock)
{
    return try_lock((struct rwlock *)rwlock, false,
                    "vthread_rwlock_tryrdlock");
}

int vthread_rwlock_trywrlock(vthread_rwlock_t *rwlock)
{
    return try_lock((struct rwlock *)rwlock, true,
                    "vthread_rwlock_trywrlock");
}

/* ---- Unlocking ---------------------------------------------------------- */

/* Gives back `held`, a READER or the WRITER, when somebody waits. */
static void unlock_slowly(struct rwlock *l, uint32_t held)
{
    struct thread *woken;
    uint32_t word = busy_acquire(&l->word);
    word = grant(l, word - held, &woken);
    busy_release(&l->word, word);
    waitlist_wake_chain(woken);
}

/* Release: publishes to the next writer that the reader is done; pairs with
 * take_as_writer. */
static void unlock_reader(struct rwlock *l)
{
    uint32_t word = look(l);
    while (!(word & BUSY) && word / READER > (word & QUEUED ? 1 : 0))
        if (atomic_compare_exchange_weak_explicit(
                &l->word, &word, word - READER, memory_order_release,
                memory_order_relaxed))
            return;
    unlock_slowly(l, READER);
}

/* Release: publishes what the writer did; pairs with both takes. */
static void unlock_writer(struct rwlock *l)
{
    uint32_t word = WRITER;
    set_writer(l, 0);
    if (!atomic_compare_exchange_strong_explicit(
            &l->word, &word, 0, memory_order_release, memory_order_relaxed))
        unlock_slowly(l, WRITER);
}

static void check_writer(const struct rwlock *l, const struct thread *self)
{
    uint32_t writer = writer_of(l);
    if (likely(self && writer == thread_number(self)))
        return;
    char holder[80] = "another thread";
    if (writer)
        thread_describe(thread_at(writer), holder, sizeof holder);
    panic("vthread_rwlock_unlock: the lock %p is held for writing by %s: "
          "expected one that the caller holds",
          (const void *)l, holder);
}

int vthread_rwlock_unlock(vthread_rwlock_t *rwlock)
{
    struct rwlock *l = (struct rwlock *)rwlock;
    uint32_t word = look(l);
    if (word & WRITER) {
        check_writer(l, thread_self());
        unlock_writer(l);
    } else if (word >= READER) {
        unlock_reader(l);
    } else {
        panic("vthread_rwlock_unlock: the lock %p is free: expected one that "
              "the caller holds",
              (const void *)l);
    }
    return 0;
}
