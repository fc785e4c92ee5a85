/*
 * channel.c - channels: sending, receiving, closing.
 *
 * Here: a channel by itself.  Not here: waiting for several (select.c).
 *
 * Invariants, under the lock:
 *
 *   (V) values are in the buffer only if no receiver waits
 *   (S) a sender waits only if the buffer is full
 *   (C) nobody is put on a closed channel's lists
 *
 * A stale node of a select that has been ended elsewhere counts as nobody.
 *
 * Handing over.  Whoever finds a waiter of the other side does the whole
 * exchange, under the lock, and wakes the waiter after it:
 *
 *   the one that waits                    the one that finds it
 *   1. lock; nobody is there
 *   2. says where: its slot
 *   3. goes on the list; unlock
 *   4. thread_wait                        1. lock; takes it off the list
 *                                         2. copies the value to or from
 *                                            the slot, sets the outcome
 *                                         3. unlock; thread_wake
 *   5. reads outcome and slot
 *
 * The outcome of a thread is in wait_next: the links of a thread that is on
 * no list mean nothing else.  Its 4 acquires what the other's 3 releases.
 *
 * An interrupt at 4: it locks, and if it is still on the list
 * takes itself off, and nothing was handed over.  If it is not, the other is
 * past 1: the value has been handed over, the wake-up will come, is waited
 * for (thread_wait_out), and the call has succeeded.  So being on the list
 * decides, under the lock, and a value is neither lost nor given twice.
 *
 * The slot of a thread is deadline_ns, which nothing else needs in a wait
 * without a deadline.  A wait with one is a select of one case: dearer by an
 * allocation, and a time-out is select.c's affair.  Rejected: argument,
 * which is the child's record in a scope, and task and the links, which are
 * written to when a wait ends early, while the value must still be there.
 *
 * A word holds values of up to eight bytes.  For larger ones it
 * holds an address that the other writes or reads: the caller's own, where
 * that stays valid while it waits (heap, own home, platform thread), else
 * that of a copy on the heap, which lives as long as the wait.  A buffer
 * kept with each thread instead was rejected: it would cost memory for the
 * rest of the thread's life, to save 20 ns of a wait.
 *
 * Threads and nodes of selects are in two lists for each side.  Where both
 * wait they take turns, so neither kind starves.
 */
#include "sync/channel.h"

#include <errno.h>
#include <string.h>

#include "escape.h"
#include "local.h"
#include "platform/memory.h"
#include "wait_inline.h"

enum { SENDERS = VTHREAD_SELECT_SEND, RECEIVERS = VTHREAD_SELECT_RECEIVE };

/* ---- Beginning and end -------------------------------------------------- */

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) & ~(unit - 1);
}

int vthread_channel_create(vthread_channel_t **channel, size_t element_bytes,
                           size_t capacity)
{
    size_t size_bytes;
    struct vthread_channel *c;
    thread_refuse_child();
    if (!channel)
        return EINVAL;
    if (__builtin_mul_overflow(element_bytes, capacity, &size_bytes)
        || __builtin_add_overflow(size_bytes, sizeof *c, &size_bytes)
        || size_bytes > SIZE_MAX - CACHE_LINE
        || !(c = memory_alloc_aligned(CACHE_LINE,
                                      round_up(size_bytes, CACHE_LINE))))
        return ENOMEM;
    memset(c, 0, sizeof *c);
    c->element_bytes = element_bytes;
    c->capacity = capacity;
    *channel = c;
    return 0;
}

static bool side_is_empty(const struct channel_side *side)
{
    return waitlist_is_empty(&side->threads)
           && multiwait_list_is_empty(&side->nodes);
}

int vthread_channel_destroy(vthread_channel_t *c)
{
    thread_refuse_child();
    if (!c)
        return 0;
    spin_lock_acquire(&c->lock);
    bool is_idle = side_is_empty(&c->sides[SENDERS])
                   && side_is_empty(&c->sides[RECEIVERS]);
    spin_lock_release(&c->lock);
    if (!is_idle)
        return EBUSY;
    memory_free(c);
    return 0;
}

/* ---- Waiters, under the lock -------------------------------------------- */

static struct channel_peer take_thread(struct channel_side *side)
{
    struct thread *t = waitlist_take_first(&side->threads);
    return (struct channel_peer){t, t ? &t->deadline_ns : NULL,
                                 t ? &t->wait_next : NULL};
}

/* Nodes whose wait has been ended elsewhere are dropped. */
static struct channel_peer take_node(struct channel_side *side)
{
    struct multiwait_node *node;
    while ((node = multiwait_take_first(&side->nodes)) != NULL)
        if (multiwait_claim(node, true))
            return (struct channel_peer){node->wait->thread, &node->slot,
                                         &node->outcome};
    return (struct channel_peer){NULL, NULL, NULL};
}

/* Out of line: selects wait here. */
__attribute__((noinline)) static struct channel_peer
take_either(struct vthread_channel *c, int which)
{
    struct channel_side *side = &c->sides[which];
    struct channel_peer peer = {NULL, NULL, NULL};
    bool nodes_turn = c->nodes_turn[which];
    if (nodes_turn || waitlist_is_empty(&side->threads))
        peer = take_node(side);
    c->nodes_turn[which] = !peer.thread;
    return peer.thread ? peer : take_thread(side);
}

static inline struct channel_peer take_peer(struct vthread_channel *c,
                                            int which)
{
    if (unlikely(!multiwait_list_is_empty(&c->sides[which].nodes)))
        return take_either(c, which);
    return take_thread(&c->sides[which]);
}

/* Where the value of a slot is. */
static inline void *place(const struct vthread_channel *c, void *slot)
{
    void *address;
    if (channel_fits_slot(c))
        return slot;
    memcpy(&address, slot, sizeof address);
    return address;
}

/* ---- The buffer, under the lock ----------------------------------------- */

static void *value_at(struct vthread_channel *c, size_t index)
{
    return &c->values[index * c->element_bytes];
}

static void append(struct vthread_channel *c, const void *value)
{
    size_t last = c->first + c->length;
    channel_copy(c, value_at(c, last < c->capacity ? last : last - c->capacity),
                 value);
    c->length++;
}

static void take_oldest(struct vthread_channel *c, void *value)
{
    channel_copy(c, value, value_at(c, c->first));
    c->first = c->first + 1 < c->capacity ? c->first + 1 : 0;
    c->length--;
}

/* ---- Both ends, under the lock ------------------------------------------ */

static inline int put(struct vthread_channel *c, const void *value,
                      struct thread **wake)
{
    if (unlikely(c->is_closed))
        return EPIPE;
    struct channel_peer receiver = take_peer(c, RECEIVERS);
    *wake = receiver.thread;
    if (receiver.thread) {
        channel_copy(c, place(c, receiver.slot), value);
        *receiver.outcome = 0;
        return 0;
    }
    if (c->length == c->capacity)
        return EAGAIN;
    append(c, value);
    return 0;
}

static inline int get(struct vthread_channel *c, void *value,
                      struct thread **wake)
{
    size_t before = c->length;
    if (before > 0)
        take_oldest(c, value);
    struct channel_peer sender = take_peer(c, SENDERS);
    *wake = sender.thread;
    if (!sender.thread)
        return before > 0 ? 0 : c->is_closed ? EPIPE : EAGAIN;
    if (before > 0)
        append(c, place(c, sender.slot));
    else
        channel_copy(c, value, place(c, sender.slot));
    *sender.outcome = 0;
    return 0;
}

int channel_put(struct vthread_channel *c, const void *value,
                struct thread **wake)
{
    return put(c, value, wake);
}

int channel_get(struct vthread_channel *c, void *value, struct thread **wake)
{
    return get(c, value, wake);
}

/* ---- Waiting ------------------------------------------------------------ */

/* The wait was ended early.  False: somebody was faster, and the exchange
 * has taken place. */
__attribute__((noinline)) static bool leave(struct vthread_channel *c,
                                            int which, struct thread *self,
                                            int err)
{
    spin_lock_acquire(&c->lock);
    bool was_there = waitlist_remove(&c->sides[which].threads, self);
    spin_lock_release(&c->lock);
    if (!was_there)
        thread_wait_out(self, err);
    return was_there;
}

/* Its slot is set; the lock is held, and released here. */
__attribute__((always_inline)) static inline int
wait_in(struct vthread_channel *c, int which, struct thread *self)
{
    waitlist_append(&c->sides[which].threads, self);
    spin_lock_release(&c->lock);
    int err = thread_wait_inline(self, FOR_CHANNEL);
    if (unlikely(err != 0) && leave(c, which, self, err))
        return err;
    return (int)self->wait_next;
}

/* Whether the other may reach the value where it is while self waits. */
static inline bool is_reachable(const struct vthread_channel *c,
                                struct thread *self, const void *value)
{
    return channel_fits_slot(c) || escape_stays_valid(self, value);
}

/* With a deadline: a select of one case, whose node has the slot. */
__attribute__((noinline)) static int wait_until(struct vthread_channel *c,
                                                int which, const void *value,
                                                uint64_t deadline_ns)
{
    vthread_select_case_t only = {
        .channel = c, .op = which, .value = (void *)value};
    size_t chosen;
    spin_lock_release(&c->lock);
    int err = vthread_select_until(&only, 1, &chosen, deadline_ns);
    return err == 0 ? only.result : err;
}

/* ---- Sending ------------------------------------------------------------ */

/* The value is on a stack that others will use meanwhile. */
__attribute__((noinline)) static int send_copy(struct vthread_channel *c,
                                               const void *value)
{
    void *copy = memory_alloc(c->element_bytes);
    if (!copy)
        return ENOMEM;
    memcpy(copy, value, c->element_bytes);
    int err = vthread_channel_send(c, copy);
    memory_free(copy);
    return err;
}

/* The lock is held, and released here.  Out of line, like its three likes
 * below: what they keep is not saved by those who do not wait, and what a
 * thread that waits keeps is this frame only. */
__attribute__((noinline)) static int
send_later(struct vthread_channel *c, const void *value, struct thread *self,
           uint64_t deadline_ns)
{
    if (unlikely(deadline_ns != VTHREAD_NEVER))
        return wait_until(c, SENDERS, value, deadline_ns);
    if (unlikely(!is_reachable(c, self, value))) {
        spin_lock_release(&c->lock);
        return send_copy(c, value);
    }
    if (channel_fits_slot(c))
        channel_copy(c, &self->deadline_ns, value);
    else
        memcpy(&self->deadline_ns, &value, sizeof value);
    return wait_in(c, SENDERS, self);
}

__attribute__((noinline)) static int send_now(struct vthread_channel *c,
                                              const void *value,
                                              struct thread *self,
                                              uint64_t deadline_ns)
{
    struct thread *wake = NULL;
    int err = put(c, value, &wake);
    if (unlikely(err == EAGAIN))
        /* Those who seemed to wait were stale nodes of selects. */
        return send_later(c, value, self, deadline_ns);
    spin_lock_release(&c->lock);
    if (wake)
        thread_wake(wake);
    return err;
}

int vthread_channel_send_until(vthread_channel_t *c, const void *value,
                               uint64_t deadline_ns)
{
    struct thread *self = local_thread_self();
    int err = channel_check_send(c, value, self, "vthread_channel_send");
    if (unlikely(err != 0))
        return err;
    spin_lock_acquire(&c->lock);
    bool waits = c->length == c->capacity && !c->is_closed
                 && side_is_empty(&c->sides[RECEIVERS]);
    return waits ? send_later(c, value, self, deadline_ns)
                 : send_now(c, value, self, deadline_ns);
}

int vthread_channel_send(vthread_channel_t *c, const void *value)
{
    return vthread_channel_send_until(c, value, VTHREAD_NEVER);
}

int vthread_channel_trysend(vthread_channel_t *c, const void *value)
{
    struct thread *wake = NULL;
    int err = channel_check_send(c, value, local_thread_self(),
                                 "vthread_channel_trysend");
    if (err != 0)
        return err;
    spin_lock_acquire(&c->lock);
    err = put(c, value, &wake);
    spin_lock_release(&c->lock);
    if (wake)
        thread_wake(wake);
    return err;
}

/* ---- Receiving ---------------------------------------------------------- */

__attribute__((noinline)) static int receive_copy(struct vthread_channel *c,
                                                  void *value)
{
    void *copy = memory_alloc(c->element_bytes);
    if (!copy)
        return ENOMEM;
    int err = vthread_channel_receive(c, copy);
    if (err == 0)
        memcpy(value, copy, c->element_bytes);
    memory_free(copy);
    return err;
}

__attribute__((noinline)) static int
receive_later(struct vthread_channel *c, void *value, struct thread *self,
              uint64_t deadline_ns)
{
    if (unlikely(deadline_ns != VTHREAD_NEVER))
        return wait_until(c, RECEIVERS, value, deadline_ns);
    if (unlikely(!is_reachable(c, self, value))) {
        spin_lock_release(&c->lock);
        return receive_copy(c, value);
    }
    memcpy(&self->deadline_ns, &value, sizeof value);
    int err = wait_in(c, RECEIVERS, self);
    if (err == 0 && channel_fits_slot(c))
        channel_copy(c, value, &self->deadline_ns);
    return err;
}

__attribute__((noinline)) static int receive_now(struct vthread_channel *c,
                                                 void *value,
                                                 struct thread *self,
                                                 uint64_t deadline_ns)
{
    struct thread *wake = NULL;
    int err = get(c, value, &wake);
    if (unlikely(err == EAGAIN))
        return receive_later(c, value, self, deadline_ns);
    spin_lock_release(&c->lock);
    if (wake)
        thread_wake(wake);
    return err;
}

int vthread_channel_receive_until(vthread_channel_t *c, void *value,
                                  uint64_t deadline_ns)
{
    struct thread *self = local_thread_self();
    int err = channel_check_receive(c, value, self);
    if (unlikely(err != 0))
        return err;
    spin_lock_acquire(&c->lock);
    bool waits = c->length == 0 && !c->is_closed
                 && side_is_empty(&c->sides[SENDERS]);
    return waits ? receive_later(c, value, self, deadline_ns)
                 : receive_now(c, value, self, deadline_ns);
}

int vthread_channel_receive(vthread_channel_t *c, void *value)
{
    return vthread_channel_receive_until(c, value, VTHREAD_NEVER);
}

int vthread_channel_tryreceive(vthread_channel_t *c, void *value)
{
    struct thread *wake = NULL;
    int err = channel_check_receive(c, value, local_thread_self());
    if (err != 0)
        return err;
    spin_lock_acquire(&c->lock);
    err = get(c, value, &wake);
    spin_lock_release(&c->lock);
    if (wake)
        thread_wake(wake);
    return err;
}

/* ---- Closing, looking --------------------------------------------------- */

/* Those who wait when the channel is closed, in two chains. */
struct dismissed {
    struct thread *threads;       /* by wait_next */
    struct multiwait_node *nodes; /* by next; their waits are claimed */
};

/* All who wait at that side.  Nodes that are not claimed are not touched
 * after the lock is gone. */
static struct dismissed take_all(struct channel_side *side)
{
    struct dismissed all = {.threads = waitlist_take_all(&side->threads)};
    struct multiwait_node **link = &all.nodes, *node;
    while ((node = multiwait_take_first(&side->nodes)) != NULL)
        if (multiwait_claim(node, true)) {
            node->outcome = EPIPE;
            *link = node;
            link = &node->next;
        }
    *link = NULL;
    return all;
}

/* A thread and its node are gone when it has been woken. */
static void dismiss(struct dismissed all)
{
    for (struct thread *t = all.threads, *next; t; t = next) {
        next = waitlist_chain_next(t);
        t->wait_next = EPIPE; /* its outcome */
        thread_wake(t);
    }
    for (struct multiwait_node *node = all.nodes, *next; node; node = next) {
        next = node->next;
        thread_wake(node->wait->thread);
    }
}

/* All in one step, and the lock's release is the last touch: whoever gets
 * EPIPE, having waited or not, may destroy the channel. */
int vthread_channel_close(vthread_channel_t *c)
{
    thread_refuse_child();
    spin_lock_acquire(&c->lock);
    bool was_closed = c->is_closed;
    c->is_closed = true;
    struct dismissed senders = take_all(&c->sides[SENDERS]);
    struct dismissed receivers = take_all(&c->sides[RECEIVERS]);
    spin_lock_release(&c->lock);
    dismiss(senders);
    dismiss(receivers);
    return was_closed ? EPIPE : 0;
}

size_t vthread_channel_length(vthread_channel_t *c)
{
    thread_refuse_child();
    spin_lock_acquire(&c->lock);
    size_t length = c->length;
    spin_lock_release(&c->lock);
    return length;
}

size_t vthread_channel_capacity(const vthread_channel_t *c)
{
    thread_refuse_child();
    return c->capacity;
}
