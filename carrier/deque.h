/*
 * deque.h - a carrier's own queue: pushed to by its owner, taken from, in
 * the same order, by its owner and by thieves.  See deque.c.
 */
#ifndef CARRIER_DEQUE_H
#define CARRIER_DEQUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "carrier/task.h"
#include "platform/atomics.h"

struct ring;

struct deque {
    _Atomic uint64_t head __attribute__((aligned(CACHE_LINE)));
    _Atomic uint64_t tail __attribute__((aligned(CACHE_LINE)));
    struct ring *_Atomic ring;
};

/* 0 or ENOMEM. */
int deque_init(struct deque *d);
void deque_destroy(struct deque *d);

/* Owner only.  False: full, and no memory to grow. */
bool deque_push(struct deque *d, struct task *task);

/* Takes the oldest, or NULL.  Owner only (thieves take by halves).  A full
 * fence when it returns a task: see fence_after_rmw. */
struct task *deque_pop(struct deque *d);

/* Takes about half of the victim's tasks, the oldest: returns the first and
 * pushes the rest to `to`, the thief's own.  *stolen counts them. */
struct task *deque_steal(struct deque *victim, struct deque *to,
                         unsigned *stolen);

/* The i-th oldest, for prefetching only: it may be gone, or NULL. */
struct task *deque_peek(struct deque *d, unsigned i);

static inline bool deque_is_empty(const struct deque *d)
{
    return atomic_load_explicit(&d->head, memory_order_relaxed)
           >= atomic_load_explicit(&d->tail, memory_order_relaxed);
}

#endif
