/*
 * deque.h - a carrier's own queues: pushed to by their owner; taken from, in
 * the same order, by their owner and by thieves; or by the owner in the
 * opposite order.  See deque.c.
 */
#ifndef CARRIER_DEQUE_H
#define CARRIER_DEQUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "carrier/task.h"
#include "platform/atomics.h"

struct ring {
    struct ring *previous; /* the one it replaced; freed at the end */
    uint64_t mask;
    struct task *_Atomic slots[];
};

struct deque {
    _Atomic uint64_t head __attribute__((aligned(CACHE_LINE)));
    _Atomic uint64_t tail __attribute__((aligned(CACHE_LINE)));
    struct ring *_Atomic ring;
    uint64_t trimmed; /* O: tail when it was trimmed last */
};

/* 0 or ENOMEM. */
int deque_init(struct deque *d);
void deque_destroy(struct deque *d);

/* Gives memory back that a burst has taken, if the deque is empty.  Owner
 * only; to be called when there is time. */
void deque_trim(struct deque *d);

/* A larger ring with the same tasks; NULL without memory.  Owner only. */
struct ring *deque_grow(struct deque *d);

/* Takes about half of the victim's tasks, the oldest: returns the first and
 * pushes the rest to `to`, the thief's own.  *stolen counts them. */
struct task *deque_steal(struct deque *victim, struct deque *to,
                         unsigned *stolen);

/* Takes the oldest, or NULL. */
struct task *deque_steal_one(struct deque *victim);

static inline bool deque_is_empty(const struct deque *d)
{
    return atomic_load_explicit(&d->head, memory_order_relaxed)
           >= atomic_load_explicit(&d->tail, memory_order_relaxed);
}

/* How many there are, about: from any OS thread. */
static inline uint64_t deque_length(const struct deque *d)
{
    uint64_t head = atomic_load_explicit(&d->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&d->tail, memory_order_relaxed);
    return head < tail ? tail - head : 0;
}

/* ---- The hot path ------------------------------------------------------- */

/* Relaxed both: tail (C) publishes what a slot holds. */
static inline struct task *ring_get(struct ring *ring, uint64_t i)
{
    return atomic_load_explicit(&ring->slots[i & ring->mask],
                                memory_order_relaxed);
}

static inline void ring_set(struct ring *ring, uint64_t i, struct task *task)
{
    atomic_store_explicit(&ring->slots[i & ring->mask], task,
                          memory_order_relaxed);
}

/* Owner only.  False: full, and no memory to grow. */
static inline bool deque_push(struct deque *d, struct task *task)
{
    /* Relaxed: tail and ring are the owner's, and an old head only makes
     * the ring look fuller than it is. */
    uint64_t tail = atomic_load_explicit(&d->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&d->head, memory_order_relaxed);
    struct ring *ring = atomic_load_explicit(&d->ring, memory_order_relaxed);
    if (unlikely(tail - head > ring->mask)
        && (ring = deque_grow(d)) == NULL)
        return false;
    ring_set(ring, tail, task);
    /* (C) publishes the slot and the task; pairs with deque_steal (D). */
    atomic_store_explicit(&d->tail, tail + 1, memory_order_release);
    return true;
}

/* Takes the oldest, or NULL.  Owner only (thieves take by halves).  A full
 * fence when it returns a task: see fence_after_rmw. */
static inline struct task *deque_pop(struct deque *d)
{
    uint64_t tail = atomic_load_explicit(&d->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&d->head, memory_order_relaxed);
    struct ring *ring = atomic_load_explicit(&d->ring, memory_order_relaxed);
    while (head < tail) {
        struct task *task = ring_get(ring, head);
        /* seq_cst: orders the owner's push before its later look at the
         * sleepers, see pool.c.  The task itself was the owner's own. */
        if (likely(atomic_compare_exchange_weak_explicit(
                &d->head, &head, head + 1, memory_order_seq_cst,
                memory_order_relaxed)))
            return task;
    }
    return NULL;
}

/* Takes the newest, or NULL.  Owner only, and only where thieves take one at
 * a time.  A full fence when it returns a task. */
static inline struct task *deque_pop_newest(struct deque *d)
{
    uint64_t tail = atomic_load_explicit(&d->tail, memory_order_relaxed);
    struct ring *ring = atomic_load_explicit(&d->ring, memory_order_relaxed);
    if (deque_is_empty(d))
        return NULL;
    /* (E) seq_cst: tail has gone back before head is looked at; a thief who
     * has read the old tail moves head first, or fails.  Pairs with the
     * fence (F) in deque_steal_one. */
    atomic_exchange_explicit(&d->tail, --tail, memory_order_seq_cst);
    fence_after_rmw();
    uint64_t head = atomic_load_explicit(&d->head, memory_order_relaxed);
    struct task *task = head <= tail ? ring_get(ring, tail) : NULL;
    if (likely(head < tail))
        return task;
    /* The last one, which a thief may be taking too. */
    if (head == tail
        && !atomic_compare_exchange_strong_explicit(
            &d->head, &head, head + 1, memory_order_seq_cst,
            memory_order_relaxed))
        task = NULL;
    atomic_store_explicit(&d->tail, tail + 1, memory_order_relaxed);
    return task;
}

/* The i-th oldest, for prefetching only: it may be gone, or NULL. */
static inline struct task *deque_peek(struct deque *d, unsigned i)
{
    uint64_t head = atomic_load_explicit(&d->head, memory_order_relaxed) + i;
    if (head >= atomic_load_explicit(&d->tail, memory_order_relaxed))
        return NULL;
    return ring_get(atomic_load_explicit(&d->ring, memory_order_relaxed),
                    head);
}

#endif
