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
 *   publishes it.  A thief may still be reading the old one, so that stays
 *   mapped until the deque is destroyed; but a large one gives its pages
 *   back at once, and then reads as zero: a thief looks at the ring again
 *   after it has read slots, and starts anew if it is not the same.
 * - A large ring that has become empty gives its pages back too, for a
 *   burst of a million tasks would leave 8 MB behind.  Who reads its slots
 *   then has seen an older head, so its compare-and-swap fails.
 *
 * First in first out, unlike Chase and Lev: threads are peers that expect
 * their turn, not subtasks of the one that pushed them.  The price is that
 * the owner too takes by compare-and-swap, about 7 ns; rejected were a
 * batch of private tasks, which a thief could not reach while the owner is
 * busy with the first, and an asymmetric fence (membarrier), whose 2 us
 * every thief would pay.
 *
 * Parts of one piece of work are another matter, and have a deque of their
 * own, as that of Chase and Lev: the owner takes the newest, so few of them
 * are alive at a time and their memory is in the cache; thieves take the
 * oldest, the largest pieces, one at a time.  The owner moves tail back and
 * then looks at head, a thief looks at head and then at tail, with a full
 * fence in between on both sides, so they see each other but for the last
 * task, for which both move head.  (A thief that took several at once, up
 * to a tail that it has read, could take one that the owner has popped.)
 * Modelled in tests/models/forked_deque.pml; simulate_deque_test.c runs it.
 */
#include "carrier/deque.h"

#include <errno.h>
#include <stddef.h>

#include "platform/memory.h"

#define RING_FIRST 256
#define STEAL_MAX 128
#define LARGE_RING_BYTES ((size_t)64 * 1024)
#define TRIM_AFTER 65536 /* pushes since the last time */

static size_t ring_bytes(const struct ring *ring)
{
    return sizeof *ring + (ring->mask + 1) * sizeof ring->slots[0];
}

/* Large rings are pages of their own, small ones blocks of the heap. */
static bool is_large(const struct ring *ring)
{
    return ring_bytes(ring) >= LARGE_RING_BYTES;
}

static struct ring *ring_new(uint64_t size, struct ring *previous)
{
    struct ring model = {.previous = previous, .mask = size - 1};
    struct ring *ring;
    if (!is_large(&model)) {
        ring = memory_alloc_plain(CACHE_LINE, ring_bytes(&model));
    } else {
        ring = memory_reserve(ring_bytes(&model));
        if (ring && memory_commit(ring, ring_bytes(&model)) != 0) {
            memory_release(ring, ring_bytes(&model));
            return NULL;
        }
    }
    if (ring) {
        ring->previous = model.previous;
        ring->mask = model.mask;
    }
    return ring;
}

static void ring_free(struct ring *ring)
{
    if (is_large(ring))
        memory_release(ring, ring_bytes(ring));
    else
        memory_free(ring);
}

/* All pages but the first, which has the size. */
static void discard_slots(struct ring *ring)
{
    size_t page_bytes = memory_page_bytes();
    size_t whole_bytes = ring_bytes(ring) & ~(page_bytes - 1);
    if (is_large(ring) && whole_bytes > page_bytes)
        memory_discard((char *)ring + page_bytes, whole_bytes - page_bytes);
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
        ring_free(ring);
        ring = previous;
    }
}

void deque_trim(struct deque *d)
{
    uint64_t tail = atomic_load_explicit(&d->tail, memory_order_relaxed);
    if (tail - d->trimmed < TRIM_AFTER)
        return;
    d->trimmed = tail;
    if (deque_is_empty(d))
        discard_slots(atomic_load_explicit(&d->ring, memory_order_relaxed));
}

struct ring *deque_grow(struct deque *d)
{
    uint64_t head = atomic_load_explicit(&d->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&d->tail, memory_order_relaxed);
    struct ring *old = atomic_load_explicit(&d->ring, memory_order_relaxed);
    struct ring *ring = ring_new((old->mask + 1) * 2, old);
    if (!ring)
        return NULL;
    for (uint64_t i = head; i < tail; i++)
        ring_set(ring, i, ring_get(old, i));
    /* Publishes the copies; pairs with the acquire of deque_steal. */
    atomic_store_explicit(&d->ring, ring, memory_order_release);
    discard_slots(old);
    return ring;
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
            batch[i] = ring_get(ring, head + i);
        /* The fence orders the slots before the second look at the ring;
         * pairs with the store in deque_grow, which comes before the pages
         * go. */
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&victim->ring, memory_order_relaxed) != ring)
            continue;
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

struct task *deque_steal_one(struct deque *victim)
{
    for (;;) {
        uint64_t head = atomic_load_explicit(&victim->head,
                                             memory_order_acquire);
        /* (F): head before tail; pairs with (E) in deque_pop_newest. */
        atomic_thread_fence(memory_order_seq_cst);
        /* Acquires slot and task; pairs with deque_push (C). */
        uint64_t tail = atomic_load_explicit(&victim->tail,
                                             memory_order_acquire);
        struct ring *ring = atomic_load_explicit(&victim->ring,
                                                 memory_order_acquire);
        if (head >= tail)
            return NULL;
        struct task *task = ring_get(ring, head);
        /* As in deque_steal. */
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&victim->ring, memory_order_relaxed) == ring
            && atomic_compare_exchange_strong_explicit(
                &victim->head, &head, head + 1, memory_order_seq_cst,
                memory_order_relaxed))
            return task;
    }
}
