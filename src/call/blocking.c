/*
 * blocking.c - calls that block the OS thread, made where they stand.
 *
 * What carriers do about them is in carrier/call.c; here is who may make
 * such a call, and the queue of those who wait for a slot.
 *
 * A thread in a call is pinned: should it wait inside, in a callback
 * perhaps, it waits on this OS thread.  It waits for its slot before that,
 * unmounted, and may find itself on another carrier then.  A continuation
 * that makes the call inside a thread could leave by itself, for another
 * thread to run it: so it is pinned besides, on platform threads too.
 *
 * Slots are first come first served.  Who waits and who gives one back look
 * at each other's word after a full fence, so one sees the other:
 *
 *     who waits, under the lock       who gives back
 *     1. waiting++                    1. slots++
 *     2. full fence                   2. full fence
 *     3. takes a slot, else           3. waiting > 0?
 *        is put into the list            under the lock: takes a slot for
 *                                        the first in the list
 *
 * A thread that waits for a slot is no reason to think that all is well:
 * those in calls are, while they are (pool_is_quiet).  If they all wait
 * inside their calls for threads that wait for slots, that is a deadlock,
 * and told.
 */
#include "call/blocking.h"

#include <errno.h>

#include <vthread.h>

#include "carrier/pool.h"
#include "embed/world.h"
#include "inspect/trace.h"
#include "local.h"
#include "platform/probe.h"
#include "scheduler.h"
#include "sync/waitlist.h"

/* ---- Slots -------------------------------------------------------------- */

/* Relaxed: the fence of who has just given a slot orders it; for who takes
 * one it is a matter of manners. */
static bool is_awaited(const struct slot_queue *q)
{
    return atomic_load_explicit(&q->waiting, memory_order_relaxed) > 0;
}

/* seq_cst: see the head of the file. */
static void count_waiting(struct slot_queue *q, uint32_t change)
{
    atomic_fetch_add_explicit(&q->waiting, change, memory_order_seq_cst);
    fence_after_rmw();
}

/* True: it has a slot. */
static bool take_or_join(struct vthread_scheduler *s, struct thread *self)
{
    struct slot_queue *q = &s->slots;
    os_lock_acquire(&q->lock);
    count_waiting(q, 1);
    bool takes = waitlist_is_empty(&q->list) && pool_take_slot(s->pool);
    if (takes) {
        count_waiting(q, -1u);
    } else {
        q->list.kind = WAIT_SLOT;
        waitlist_append(&q->list, self);
    }
    os_lock_release(&q->lock);
    return takes;
}

static bool leave_queue(struct slot_queue *q, struct thread *self)
{
    os_lock_acquire(&q->lock);
    bool was_there = waitlist_remove(&q->list, self);
    if (was_there)
        count_waiting(q, -1u);
    os_lock_release(&q->lock);
    return was_there;
}

static int wait_for_slot(struct vthread_scheduler *s, struct thread *self,
                         uint64_t deadline_ns)
{
    if (deadline_ns == 0)
        return EAGAIN;
    if (take_or_join(s, self))
        return 0;
    /* Relaxed: a statistic. */
    atomic_fetch_add_explicit(&s->slot_waits, 1, memory_order_relaxed);
    int err = thread_wait(self, deadline_ns, true);
    if (err == 0 || leave_queue(&s->slots, self))
        return err;
    thread_wait_out(self, err);
    return 0;
}

/* A thread for which a slot has been taken; NULL: none waits, or no slot is
 * free. */
static struct thread *serve_first(struct vthread_scheduler *s)
{
    struct slot_queue *q = &s->slots;
    struct thread *t = NULL;
    os_lock_acquire(&q->lock);
    if (!waitlist_is_empty(&q->list) && pool_take_slot(s->pool)) {
        t = waitlist_take_first(&q->list);
        count_waiting(q, -1u);
    }
    os_lock_release(&q->lock);
    return t;
}

static void give_slot(struct vthread_scheduler *s)
{
    struct thread *t;
    pool_give_slot(s->pool);
    while (is_awaited(&s->slots) && (t = serve_first(s)) != NULL)
        thread_wake(t);
}

/* ---- The bracket -------------------------------------------------------- */

static inline void pin(const struct blocking *blocking)
{
    PROBE1(call, &blocking->self->continuation);
    if (trace_is_on())
        trace_note(TRACE_CALL, 0);
    blocking->self->continuation.pins++;
    if (unlikely(blocking->inner != NULL))
        blocking->inner->pins++;
}

static inline void unpin(const struct blocking *blocking)
{
    PROBE1(call_end, &blocking->self->continuation);
    if (trace_is_on())
        trace_note(TRACE_CALL_END, 0);
    blocking->self->continuation.pins--;
    if (unlikely(blocking->inner != NULL))
        blocking->inner->pins--;
}

static bool is_pinned(const struct blocking *blocking)
{
    const struct continuation *c = &blocking->self->continuation;
    return continuation_chain_is_pinned(
        blocking->inner ? blocking->inner : c, c);
}

static int stay(const struct blocking *blocking)
{
    pin(blocking);
    carrier_call_stay(blocking->carrier);
    return 0;
}

/* With a slot, unless there are none at all; or none is free and the thread
 * is pinned, in an upcall perhaps: then it would keep its carrier while it
 * waits, which those may need who have slots, or wait before it. */
__attribute__((noinline)) static int begin_long(struct blocking *blocking,
                                                uint64_t deadline_ns)
{
    struct thread *self = blocking->self;
    struct vthread_scheduler *s = local_self()->scheduler;
    if (carrier_calls(blocking->carrier) > 0 || !pool_has_slots(s->pool))
        return stay(blocking);
    if (is_awaited(&s->slots) || !pool_take_slot(s->pool)) {
        if (deadline_ns != 0 && is_pinned(blocking))
            return stay(blocking);
        int err = wait_for_slot(s, self, deadline_ns);
        if (err != 0)
            return err;
        blocking->carrier = local_self()->carrier;
    }
    pin(blocking);
    carrier_call_block(blocking->carrier);
    return 0;
}

int blocking_enter(struct blocking *blocking, enum blocking_kind kind,
                   uint64_t deadline_ns)
{
    struct thread *self = local_thread_self();
    blocking->self = self;
    blocking->carrier = NULL;
    blocking->was_handed_off = blocking->was_busy = false;
    if (unlikely(!self))
        return ENOMEM;
    struct continuation *inner = continuation_current();
    blocking->inner = inner != &self->continuation ? inner : NULL;
    if (unlikely(self->continuation.pins == UINT16_MAX
                 || (blocking->inner && inner->pins == UINT16_MAX)))
        return EAGAIN;
    /* Relaxed: what it is never changes. */
    if (atomic_load_explicit(&self->word, memory_order_relaxed)
        & THREAD_PLATFORM) {
        pin(blocking);
        return 0;
    }
    blocking->carrier = local_self()->carrier;
    if (likely(kind == BLOCKING_SHORT
               && carrier_call_enter(blocking->carrier))) {
        pin(blocking);
        return 0;
    }
    return begin_long(blocking, deadline_ns);
}

__attribute__((noinline)) void blocking_leave_world(struct blocking *blocking)
{
    blocking->was_busy = world_leave(__builtin_frame_address(0));
}

__attribute__((noinline)) static void come_back_to_world(void)
{
    int saved = errno;
    world_come_back();
    errno = saved;
}

/* It was handed off. */
__attribute__((noinline)) static void come_back(struct blocking *blocking)
{
    int saved = errno;
    blocking->was_handed_off = true;
    give_slot(local_self()->scheduler);
    errno = saved;
}

void blocking_end(struct blocking *blocking)
{
    if (unlikely(blocking->was_busy))
        come_back_to_world();
    bool was_handed_off = blocking->carrier
                          && carrier_call_leave(blocking->carrier);
    unpin(blocking);
    if (unlikely(was_handed_off))
        come_back(blocking);
}

void blocking_abandon(struct thread *self)
{
    struct carrier *carrier = local_self()->carrier;
    if (unlikely(world_is_on))
        world_come_back();
    while (carrier_calls(carrier) > 0)
        blocking_end(&(struct blocking){.self = self, .carrier = carrier});
}

/* ---- Functions ---------------------------------------------------------- */

int vthread_block_until(void *(*fn)(void *), void *arg, void **result,
                        uint64_t deadline_ns)
{
    if (!fn)
        return EINVAL;
    struct blocking blocking;
    int err = blocking_begin(&blocking, BLOCKING_LONG, deadline_ns);
    if (err != 0)
        return err;
    trace_call((uintptr_t)fn);
    void *value = fn(arg);
    blocking_end(&blocking);
    if (result)
        *result = value;
    return 0;
}

int vthread_block(void *(*fn)(void *), void *arg, void **result)
{
    return vthread_block_until(fn, arg, result, VTHREAD_NEVER);
}
