/*
 * spare.c - OS threads of carriers: begin, end when they have long had
 * nothing to do, and begin again.
 *
 * A carrier outlives its OS thread.  Its number, its queues and what the
 * client keeps for it stay; it is dormant then, and is revived before a new
 * one is made.
 *
 *   asleep    idle_ns over, more carriers than parallelism besides those
 *             that are blocked, nothing that only it can do: retires.  From
 *             here on it is on no list, and counts neither as alive nor as
 *             awake
 *   retired   its OS thread leaves the client
 *   dormant   the last thing its OS thread does: it is on the dormant list
 *   revived   off that list; the old OS thread is joined, a new one started
 *
 * Invariants: a carrier has at most one OS thread that has not been joined,
 * so there are never more of these than carriers; `owns_thread` says that
 * there is one to join.  Thieves and the monitor go on looking at a dormant
 * carrier's queues: what somebody hands it while it retires is found there,
 * as it would be with a carrier that is busy.  What nobody else could run,
 * bound tasks, does not come: the client's may_retire sees to that.
 *
 * Who goes to sleep for good has to do what going to sleep takes (A, see
 * pool.c): after it has left the count it looks for work that somebody added
 * who relied on it, and wakes another in its place; also if it had a role.
 *
 * The monitor, and nobody else, looks at what an OS thread has in its
 * thread-locals; is_watched says whether it may, under its own lock.
 */
#include "carrier/carrier.h"

#include <errno.h>
#include <string.h>

#include "platform/clock.h"
#include "platform/memory.h"

/* ---- Objects ------------------------------------------------------------ */

static struct carrier *new_carrier(struct pool *pool)
{
    struct carrier *c = memory_alloc_plain(CACHE_LINE, sizeof *c);
    if (!c)
        return NULL;
    memset(c, 0, sizeof *c);
    c->pool = c->submits_to = pool;
    c->random = (uintptr_t)c ^ clock_now_ns();
    if (deque_init(&c->queue) == 0) {
        if (deque_init(&c->forked) == 0)
            return c;
        deque_destroy(&c->queue);
    }
    memory_free(c);
    return NULL;
}

void spare_free(struct carrier *c)
{
    deque_destroy(&c->queue);
    deque_destroy(&c->forked);
    memory_free(c);
}

/* ---- Beginning ---------------------------------------------------------- */

/* Starts its OS thread; under the lock.  The carrier is searching, and its
 * caller has counted it as awake. */
static int start(struct carrier *c)
{
    struct pool *pool = c->pool;
    int err = pool->is_stopping
                  ? EAGAIN
                  : os_thread_start(&c->os_thread, pool->name, carrier_main,
                                    c);
    if (err == 0) {
        c->owns_thread = true;
        /* Relaxed: a number that is compared with limits. */
        atomic_fetch_add_explicit(&pool->alive, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&pool->started, 1, memory_order_relaxed);
    }
    return err;
}

/* *to_join: whether its last OS thread is still to be joined, which is the
 * caller's affair now.  It is not if no other could be had before. */
static struct carrier *take_dormant(struct pool *pool, bool *to_join)
{
    os_lock_acquire(&pool->lock);
    struct carrier *c = pool->dormant_first;
    if (c) {
        pool->dormant_first = c->next_idle;
        *to_join = c->owns_thread;
        c->owns_thread = false;
    }
    os_lock_release(&pool->lock);
    return c;
}

static void put_dormant(struct carrier *c)
{
    c->next_idle = c->pool->dormant_first;
    c->pool->dormant_first = c;
}

static int revive(struct carrier *c, bool to_join)
{
    struct pool *pool = c->pool;
    /* Without the lock: it has nothing left to do for us, but destructors of
     * the program's own thread-locals may. */
    if (to_join)
        os_thread_join(&c->os_thread);
    os_lock_acquire(&pool->lock);
    c->is_searching = true;
    c->is_retired = false;
    int err = start(c);
    if (err != 0)
        put_dormant(c);
    os_lock_release(&pool->lock);
    return err;
}

/* Publishes a carrier whose OS thread has been started; under the lock, for
 * which that thread waits. */
static void publish(struct carrier *c)
{
    struct pool *pool = c->pool;
    /* Pair with pool_carrier, and with pool_has_work and others. */
    atomic_store_explicit(&pool->carriers[c->number], c,
                          memory_order_release);
    atomic_store_explicit(&pool->count, c->number + 1, memory_order_release);
}

static int start_new(struct pool *pool)
{
    if (pool_carrier_count(pool) >= pool->max_carriers)
        return EAGAIN;
    struct carrier *c = new_carrier(pool);
    if (!c)
        return ENOMEM;
    c->is_searching = true;
    os_lock_acquire(&pool->lock);
    c->number = pool_carrier_count(pool);
    int err = c->number < pool->max_carriers ? start(c) : EAGAIN;
    if (err == 0)
        publish(c);
    os_lock_release(&pool->lock);
    if (err != 0)
        spare_free(c);
    return err;
}

int pool_start_carrier(struct pool *pool)
{
    bool to_join = false;
    struct carrier *c = take_dormant(pool, &to_join);
    int err = c ? revive(c, to_join) : start_new(pool);
    /* Relaxed: for the monitor, which looks again and again. */
    atomic_store_explicit(&pool->has_failed_start, err != 0,
                          memory_order_relaxed);
    return err;
}

int pool_start_all(struct pool *pool)
{
    int err = 0;
    while (err == 0 && pool_carrier_count(pool) < pool->parallelism) {
        atomic_fetch_add_explicit(&pool->awake, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&pool->searching, 1, memory_order_seq_cst);
        err = pool_start_carrier(pool);
    }
    if (err != 0) {
        atomic_fetch_sub_explicit(&pool->searching, 1, memory_order_seq_cst);
        atomic_fetch_sub_explicit(&pool->awake, 1, memory_order_relaxed);
    }
    return err;
}

/* ---- Ending ------------------------------------------------------------- */

uint64_t spare_idle_end(struct carrier *c)
{
    struct pool *pool = c->pool;
    /* Relaxed: one that sleeps without an end because of an old number is
     * among the first `parallelism`, which may stay. */
    return pool->idle_ns > 0
                   && atomic_load_explicit(&pool->alive,
                                           memory_order_relaxed)
                          > pool->parallelism
                   && pool->client.may_retire(c)
               ? clock_now_ns() + pool->idle_ns
               : CLOCK_NEVER;
}

/* Those that are blocked do not count: somebody must be there for what
 * happens meanwhile.  Relaxed: who is not yet counted comes back awake, and
 * sleeps later. */
static bool is_spare(const struct pool *pool)
{
    return atomic_load_explicit(&pool->awake, memory_order_relaxed)
               + atomic_load_explicit(&pool->idle, memory_order_relaxed)
           > pool->parallelism;
}

static bool has_anything(struct carrier *c)
{
    return !deque_is_empty(&c->queue) || !deque_is_empty(&c->forked)
           || carrier_has_handed(c)
           /* Relaxed: only the carrier itself puts anything there. */
           || atomic_load_explicit(&c->next, memory_order_relaxed);
}

/* Under the lock: whether nobody has woken it or counts on it. */
static bool may_retire(struct carrier *c)
{
    struct pool *pool = c->pool;
    return !c->is_searching && !pool->is_stopping && !has_anything(c)
           && atomic_load_explicit(&c->signal, memory_order_relaxed) == 0
           && is_spare(pool) && pool->client.may_retire(c);
}

bool spare_retire(struct carrier *c)
{
    struct pool *pool = c->pool;
    os_lock_acquire(&pool->lock);
    bool retires = may_retire(c);
    if (retires) {
        /* It may have been counted as awake by its own poll. */
        if (!pool_take_off_idle(c))
            atomic_fetch_sub_explicit(&pool->awake, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&pool->alive, 1, memory_order_relaxed);
        c->is_retired = true;
        pool->ended++;
    }
    os_lock_release(&pool->lock);
    if (!retires)
        return false;
    atomic_thread_fence(memory_order_seq_cst); /* (A), see pool.c */
    if (pool_has_work(pool))
        pool_wake_if_needed(pool);
    else
        pool_nudge(pool);
    return true;
}

/* ---- The OS thread ------------------------------------------------------ */

void spare_watch(struct carrier *c, bool is_watched)
{
    os_lock_acquire(&c->pool->watch);
    c->is_watched = is_watched;
    os_lock_release(&c->pool->watch);
}

void spare_rest(struct carrier *c)
{
    os_lock_acquire(&c->pool->lock);
    if (c->is_retired)
        put_dormant(c);
    os_lock_release(&c->pool->lock);
}

void spare_join_all(struct pool *pool)
{
    uint32_t count = pool_carrier_count(pool);
    for (uint32_t i = 0; i < count; i++)
        carrier_signal(pool_carrier(pool, i));
    for (uint32_t i = 0; i < count; i++)
        if (pool_carrier(pool, i)->owns_thread)
            os_thread_join(&pool_carrier(pool, i)->os_thread);
}
