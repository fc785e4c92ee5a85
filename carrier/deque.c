/*
 * deque.c - a work-stealing queue, first in first out.
 *
 *          head                    tail
 *           v                       v
 *    . . . [a] [b] [c] [d] [e] [f]  . . .        slots of a ring, a power
 *     owner and thieves   owner pushes            of two, index & mask
 *      take here             here
 *
 * The idealised operation: push writes a slot and moves tail; take reads
 * slots from head and moves head by compare-and-swap.  What reality adds:
 *
 * - Who moves head from h has read slot h before.  The owner may overwrite
 *   a slot only when head has passed it, and then the compare-and-swap of
 *   a slower reader fails, so what it read does not matter.  Indices have
 *   64 bits and never come back.
 * - The ring grows.  The owner copies [head, tail) to a larger one and
 *   publishes it; the old one stays as it is until the deque is destroyed,
 *   so a thief that still reads it reads what was there.  All rings together
 *   are at most twice the largest.
 *
 * First in first out, unlike Chase and Lev: threads are peers that expect
 * their turn, not subtasks of the one that pushed them.  The price is that
 * the owner too takes by compare-and-swap, about 7 ns; rejected were a
 * batch of private tasks, which a thief could not reach while the owner is
 * busy with the first, and an asymmetric fence (membarrier), whose 2 us
 * every thief would pay.
 */
#include "carrier/deque.h"

#include <errno.h>
#include <stddef.h>

#include "platform/memory.h"

#define RING_FIRST 256
#define STEAL_MAX 128

struct ring {
    struct ring *previous; /* the one it replaced; freed at the end */
    uint64_t mask;
    struct task *_Atomic slots[];
};

static struct ring *ring_new(uint64_t size, struct ring *previous)
{
    struct ring *ring = memory_alloc(sizeof *ring
                                     + size * sizeof ring->slots[0]);
    if (ring) {
        ring->previous = previous;
        ring->mask = size - 1;
    }
    return ring;
}

/* Relaxed throughout: tail (C) publishes what a slot holds. */
static struct task *slot_get(struct ring *ring, uint64_t i)
{
    return atomic_load_explicit(&ring->slots[i & ring->mask],
                                memory_order_relaxed);
}

static void slot_set(struct ring *ring, uint64_t i, struct task *task)
{
    atomic_store_explicit(&ring->slots[i & ring->mask], task,
                          memory_order_relaxed);
}

int deque_init(struct deque *d)
{
    struct ring *ring = ring_new(RING_FIRST, NULL);
    if (!ring)
        return ENOMEM;
    atomic_store_explicit(&d->ring, ring, memory_order_relaxed);
    return 0;
}

void deque_destroy(struct deque *d)
{
    struct ring *ring = atomic_load_explicit(&d->ring, memory_order_relaxed);
    while (ring) {
        struct ring *previous = ring->previous;
        memory_free(ring);
        ring = previous;
    }
}

static struct ring *grow(struct deque *d, struct ring *old, uint64_t head,
                         uint64_t tail)
{
    struct ring *ring = ring_new((old->mask + 1) * 2, old);
    if (!ring)
        return NULL;
    for (uint64_t i = head; i < tail; i++)
        slot_set(ring, i, slot_get(old, i));
    /* Publishes the copies; pairs with the acquire of deque_steal. */
    atomic_store_explicit(&d->ring, ring, memory_order_release);
    return ring;
}

bool deque_push(struct deque *d, struct task *task)
{
    /* Relaxed: tail and ring are the owner's, and an old head only makes
     * the ring look fuller than it is. */
    uint64_t tail = atomic_load_explicit(&d->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&d->head, memory_order_relaxed);
    struct ring *ring = atomic_load_explicit(&d->ring, memory_order_relaxed);
    if (unlikely(tail - head > ring->mask)) {
        ring = grow(d, ring, head, tail);
        if (!ring)
            return false;
    }
    slot_set(ring, tail, task);
    /* (C) publishes the slot and the task; pairs with deque_steal (D). */
    atomic_store_explicit(&d->tail, tail + 1, memory_order_release);
    return true;
}

struct task *deque_pop(struct deque *d)
{
    uint64_t tail = atomic_load_explicit(&d->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&d->head, memory_order_relaxed);
    struct ring *ring = atomic_load_explicit(&d->ring, memory_order_relaxed);
    while (head < tail) {
        struct task *task = slot_get(ring, head);
        /* seq_cst: orders the owner's push before its later look at the
         * sleepers, see pool.c.  The task itself was the owner's own. */
        if (likely(atomic_compare_exchange_weak_explicit(
                &d->head, &head, head + 1, memory_order_seq_cst,
                memory_order_relaxed)))
            return task;
    }
    return NULL;
}

struct task *deque_steal(struct deque *victim, struct deque *to,
                         unsigned *stolen)
{
    struct task *batch[STEAL_MAX];
    for (;;) {
        /* Head first: a tail read later is not behind it.  Then the ring:
         * one that holds all below that tail. */
        uint64_t head = atomic_load_explicit(&victim->head,
                                             memory_order_acquire);
        /* (D) acquires slots and tasks; pairs with deque_push (C). */
        uint64_t tail = atomic_load_explicit(&victim->tail,
                                             memory_order_acquire);
        struct ring *ring = atomic_load_explicit(&victim->ring,
                                                 memory_order_acquire);
        if (head >= tail)
            return NULL;
        uint64_t n = (tail - head + 1) / 2;
        if (n > STEAL_MAX)
            n = STEAL_MAX;
        for (uint64_t i = 0; i < n; i++)
            batch[i] = slot_get(ring, head + i);
        if (!atomic_compare_exchange_strong_explicit(
                &victim->head, &head, head + n, memory_order_seq_cst,
                memory_order_relaxed))
            continue;
        /* The thief's queue is empty and its ring holds STEAL_MAX. */
        for (uint64_t i = 1; i < n; i++)
            deque_push(to, batch[i]);
        *stolen += (unsigned)n;
        return batch[0];
    }
}

struct task *deque_peek(struct deque *d, unsigned i)
{
    uint64_t head = atomic_load_explicit(&d->head, memory_order_relaxed) + i;
    if (head >= atomic_load_explicit(&d->tail, memory_order_relaxed))
        return NULL;
    return slot_get(atomic_load_explicit(&d->ring, memory_order_relaxed),
                    head);
}
