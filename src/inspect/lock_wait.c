/*
 * lock_wait.c - waiting for a lock in the kernel.
 *
 * A virtual thread that finds a pthread mutex taken pins itself and leaves its
 * stack, so its home is free for others; its carrier hands its role on, and
 * calls the function that waits on its native stack (vthread.c: SAYS_CALL).
 * What that function needs is copied into the OS thread's table before, since
 * nothing that lies on the run stack may be there meanwhile.  If the lock
 * itself does, the call is made in place, and the home stays taken.
 *
 * What it costs.  For each lock that is waited for there is a queue in a
 * table, found by the lock's address.  It keeps the sum of all waiting times
 * up to now without a record of each: who comes subtracts the time, who goes
 * adds it, and with n waiting the sum at an instant is `sum + n * now`.  A pin
 * episode looks twice and takes the difference, so exactly what was waited
 * while it lasted counts.  A queue that is empty may be taken over by another
 * lock; with both waited for the second is not counted.
 *
 * Not here: which locks are held (held.c).
 */
#include "inspect/lock_wait.h"

#include <errno.h>
#include <string.h>

#include <vthread.h>
#include <vthread/pin.h>

#include "carrier/pool.h"
#include "escape.h"
#include "inspect/held.h"
#include "inspect/pin.h"
#include "local.h"
#include "platform/clock.h"
#include "platform/spin.h"
#include "running.h"
#include "thread.h"

enum { QUEUES = 256 };

/* ---- What is waited ----------------------------------------------------- */

struct queue {
    struct spin_lock lock;
    const void *object; /* L, all of these */
    uint64_t waiting;
    uint64_t sum_ns;    /* modulo 2^64 */
    uint64_t arrivals;
    uint64_t era;       /* how often it has changed its object */
} __attribute__((aligned(CACHE_LINE)));

static struct queue queues[QUEUES];

static struct queue *queue_of(const void *object)
{
    uint64_t mixed = ((uintptr_t)object >> 4) * 0x9e3779b97f4a7c15u;
    return &queues[mixed >> 56];
}

/* False: another lock has the queue. */
static bool arrive(struct queue *q, const void *object, uint64_t now_ns)
{
    spin_lock_acquire(&q->lock);
    if (q->object != object && q->waiting == 0) {
        q->object = object;
        q->sum_ns = q->arrivals = 0;
        q->era++;
    }
    bool is_ours = q->object == object;
    if (is_ours) {
        q->waiting++;
        q->arrivals++;
        q->sum_ns -= now_ns;
    }
    spin_lock_release(&q->lock);
    return is_ours;
}

static void depart(struct queue *q, uint64_t now_ns)
{
    spin_lock_acquire(&q->lock);
    q->waiting--;
    q->sum_ns += now_ns;
    spin_lock_release(&q->lock);
}

struct lock_queue_time lock_wait_look(const void *lock, uint64_t now_ns)
{
    struct lock_queue_time time = {.waited_ns = 0};
    struct queue *q = queue_of(lock);
    spin_lock_acquire(&q->lock);
    if (q->object == lock)
        time = (struct lock_queue_time){
            .waited_ns = q->sum_ns + q->waiting * now_ns,
            .arrivals = q->arrivals,
            .now = q->waiting,
            .era = q->era,
        };
    spin_lock_release(&q->lock);
    return time;
}

/* ---- The wait ----------------------------------------------------------- */

void lock_wait_make_call(struct local *here, struct thread *t)
{
    struct held *held = held_self();
    pin_begin(here, t, PIN_WAITS_FOR_LOCK);
    carrier_block_begin(here->carrier);
    held->result = held->request_fn(held->request);
    pin_end(here);
    carrier_block_end(here->carrier);
}

/* The request lies on a run stack that is still in use: in place. */
static int wait_in_place(struct local *here, struct thread *self,
                         int (*fn)(void *), void *request)
{
    pin_begin(here, self, PIN_WAITS_FOR_LOCK);
    carrier_block_begin(here->carrier);
    int result = fn(request);
    pin_end(here);
    carrier_block_end(here->carrier);
    return result;
}

static bool is_elsewhere(const struct thread *self, const void *object)
{
    return !object || escape_stays_valid(self, object);
}

/* Pinned by itself, so that it comes back to this OS thread whatever it
 * holds. */
static int wait_on_native_stack(struct thread *self, struct held *held,
                                int (*fn)(void *), const void *request,
                                size_t size_bytes)
{
    held->request_fn = fn;
    memcpy(held->request, request, size_bytes);
    self->continuation.pins++;
    running_call_natively(self);
    self->continuation.pins--;
    return held->result;
}

static int wait_virtually(struct thread *self, const void *lock,
                          const void *also, vthread_hold_kind_t kind,
                          int (*fn)(void *), const void *request,
                          size_t size_bytes)
{
    struct held *held = held_self();
    struct local *here = local_self();
    _Alignas(16) unsigned char copy[VTHREAD_LOCK_REQUEST_MAX];
    if (held)
        pin_note_lock(held, lock, kind);
    if (held && is_elsewhere(self, lock) && is_elsewhere(self, also)
        && carrier_calls(here->carrier) == 0
        && self->continuation.pins < UINT16_MAX)
        return wait_on_native_stack(self, held, fn, request, size_bytes);
    memcpy(copy, request, size_bytes);
    return wait_in_place(here, self, fn, copy);
}

/* What is waited for stands in the table, for those who look from outside.
 * Relaxed, all: the OS thread stands still while they do. */
static void want(struct held *held, const void *lock,
                 vthread_hold_kind_t kind, struct thread *self)
{
    if (!held)
        return;
    atomic_store_explicit(&held->wanter, self, memory_order_relaxed);
    atomic_store_explicit(&held->wanted_kind, kind, memory_order_relaxed);
    atomic_store_explicit(&held->wanted_since, clock_ticks(clock_now_ns()),
                          memory_order_relaxed);
    atomic_store_explicit(&held->wanted, lock, memory_order_relaxed);
}

static void want_no_more(struct held *held)
{
    if (held)
        atomic_store_explicit(&held->wanted, NULL, memory_order_relaxed);
}

/* As a platform thread does, and in what is called on the native stack. */
static int wait_as_it_is(int (*fn)(void *request), const void *request,
                         size_t size_bytes)
{
    _Alignas(16) unsigned char copy[VTHREAD_LOCK_REQUEST_MAX];
    memcpy(copy, request, size_bytes);
    return fn(copy);
}

int vthread_lock_wait(const void *lock, const void *also,
                      vthread_hold_kind_t kind, int (*fn)(void *request),
                      const void *request, size_t size_bytes)
{
    if (size_bytes > VTHREAD_LOCK_REQUEST_MAX)
        return EINVAL;
    if (held_is_left_out(lock))
        return wait_as_it_is(fn, request, size_bytes);
    struct thread *self = local_thread(local_self());
    struct held *held = held_self();
    int result;
    want(held, lock, kind, self);
    struct queue *q = kind == VTHREAD_HOLD_COND ? NULL : queue_of(lock);
    if (q && !arrive(q, lock, clock_now_ns()))
        q = NULL;
    if (vthread_is_virtual())
        result = wait_virtually(self, lock, also, kind, fn, request,
                                size_bytes);
    else
        result = wait_as_it_is(fn, request, size_bytes);
    if (q)
        depart(q, clock_now_ns());
    want_no_more(held);
    return result;
}
