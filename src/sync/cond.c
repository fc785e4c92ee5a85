/*
 * cond.c - condition variables.
 *
 * The word has QUEUED if somebody waits, and BUSY (busy.h) while somebody
 * changes the list.  A thread that waits is, one after the other:
 *
 *   in the condition's list    until a signal takes it out; or it takes
 *                              itself out, when its deadline has come or it
 *                              was interrupted
 *   in no list                 for an instant, a signal having taken it
 *   in the mutex's list        as if it had called lock: mutex_enqueue
 *   woken                      by an unlock; or by the signal, if the mutex
 *                              was free
 *
 * All of that is one thread_wait.  So each signalled thread is woken once, by
 * whoever unlocks the mutex, and a broadcast to a thousand threads wakes one.
 *
 * A signal and a deadline, or a cancellation: who finds itself in the
 * condition's list under BUSY has not been signalled, leaves, and says why.
 * Who does not has been: the signal is its own, whatever thread_wait said, and
 * it waits for the wake-up that the mutex owes it (thread_wait_out).
 *
 * A signal that finds nobody (a look at the word, relaxed): the waiter came
 * under the mutex before it looked at what it waits for.  Either the
 * signaller has held the mutex since, and sees QUEUED by the mutex's order, or
 * the waiter saw what the signaller had changed.
 *
 * Invariant: QUEUED exactly if the list is not empty; then `mutex` is that of
 * all in it.
 *
 * Not here: how the mutex passes from one to the next; see mutex.c.
 */
#include <errno.h>

#include <vthread/cond.h>

#include "escape.h"
#include "platform/busy.h"
#include "sync/mutex.h"
#include "sync/waitlist.h"

#define QUEUED 2u

/* B: under BUSY of the word. */
struct cond {
    _Atomic uint32_t word;   /* A */
    uint32_t reserved;
    struct waitlist waiting; /* B */
    struct mutex *mutex;     /* B */
};

_Static_assert(sizeof(struct cond) == sizeof(vthread_cond_t)
                   && offsetof(struct cond, mutex)
                          == offsetof(vthread_cond_t, mutex),
               "the public condition variable is the same");

/* The word as the list says. */
static void release(struct cond *c)
{
    bool is_empty = waitlist_is_empty(&c->waiting);
    if (is_empty)
        c->mutex = NULL;
    busy_release(&c->word, is_empty ? 0 : QUEUED);
}

static int join_list(struct cond *c, struct mutex *m, struct thread *self)
{
    busy_acquire(&c->word);
    int err = c->mutex && c->mutex != m ? EINVAL : 0;
    if (err == 0) {
        c->mutex = m;
        c->waiting.kind = WAIT_COND;
        waitlist_append(&c->waiting, self);
    }
    release(c);
    return err;
}

static bool leave_list(struct cond *c, struct thread *self)
{
    busy_acquire(&c->word);
    bool was_there = waitlist_remove(&c->waiting, self);
    release(c);
    return was_there;
}

/* Waits, in the condition's list, and has the mutex again. */
static int wait_there(struct cond *c, struct mutex *m, struct thread *self,
                      uint64_t deadline_ns)
{
    uint16_t depth = mutex_give_up(m);
    int err = thread_wait(self, deadline_ns, true);
    if (err != 0 && leave_list(c, self)) {
        mutex_restore(m, self, depth);
        return err;
    }
    if (err != 0)
        thread_wait_out(self, err);
    mutex_restore_woken(m, self, depth);
    return 0;
}

int vthread_cond_wait_until(vthread_cond_t *cond, vthread_mutex_t *mutex,
                            uint64_t deadline_ns)
{
    struct cond *c = (struct cond *)cond;
    struct mutex *m = mutex_of(mutex);
    struct thread *self = thread_self();
    if (!self)
        return ENOMEM;
    int err = mutex_check_holder(m, self, "vthread_cond_wait");
    if (err == 0)
        err = escape_check(c, "vthread_cond_wait");
    if (err == 0)
        err = join_list(c, m, self);
    return err == 0 ? wait_there(c, m, self, deadline_ns) : err;
}

int vthread_cond_wait(vthread_cond_t *cond, vthread_mutex_t *mutex)
{
    return vthread_cond_wait_until(cond, mutex, VTHREAD_NEVER);
}

/* ---- Signals ------------------------------------------------------------ */

static bool has_waiters(struct cond *c)
{
    return atomic_load_explicit(&c->word, memory_order_relaxed) != 0;
}

/* The last to touch the condition is release: the thread may free it when it
 * has been woken.  It still needs the mutex, so that is there. */
static int signal(struct cond *c)
{
    thread_refuse_child();
    int err = escape_check(c, "vthread_cond_signal");
    if (err != 0)
        return err;
    busy_acquire(&c->word);
    struct mutex *m = c->mutex;
    struct thread *t = waitlist_take_first(&c->waiting);
    release(c);
    if (t && mutex_enqueue(m, t))
        thread_wake(t);
    return 0;
}

static int broadcast(struct cond *c)
{
    thread_refuse_child();
    int err = escape_check(c, "vthread_cond_broadcast");
    if (err != 0)
        return err;
    busy_acquire(&c->word);
    struct mutex *m = c->mutex;
    struct thread *t = waitlist_take_all(&c->waiting), *next;
    release(c);
    for (; t; t = next) {
        next = waitlist_chain_next(t);
        if (mutex_enqueue(m, t))
            thread_wake(t);
    }
    return 0;
}

int vthread_cond_signal(vthread_cond_t *cond)
{
    struct cond *c = (struct cond *)cond;
    return has_waiters(c) ? signal(c) : 0;
}

int vthread_cond_broadcast(vthread_cond_t *cond)
{
    struct cond *c = (struct cond *)cond;
    return has_waiters(c) ? broadcast(c) : 0;
}
