/*
 * pool.c - how work meets carriers.
 *
 * The idealised operation: a carrier runs tasks from its own queue; when it
 * is empty it takes from the submission queue, steals half of another
 * carrier's queue, or sleeps; whoever adds a task wakes a sleeper.
 *
 * What reality adds:
 *
 * Searching.  Waking a carrier for each task would wake all of them for a
 * burst that one can handle, and have them fight over it.  So a wake-up
 * happens only when nobody is searching; a searcher that finds work wakes
 * the next before it runs it, if it was the last searcher.
 *
 * No lost wake-up.  A task is published, then the sleepers are looked at;
 * a sleeper is published, then the queues are looked at.  With a full fence
 * between the two on both sides, one sees the other:
 *
 *     who adds                          who goes to sleep
 *     1. task into a queue              1. searching--, idle++, awake--
 *     2. full fence             (B)     2. full fence                (A)
 *     3. nobody searching and           3. any queue not empty?
 *        awake < parallelism?              then off the list, search
 *        wake one                       4. sleep until signalled
 *
 * Waking costs more than a short task.  So what a carrier adds to its own
 * queue is worth a wake-up only if the queue then holds 50 us of work, by
 * the length of the carrier's tasks of late, or 5 us when it has had work
 * for longer than those 50.  The rest it runs itself; should the task that
 * it runs first prove long, the monitor sees to the others.  (Before, an
 * echo server of 100 connections on two carriers slept and woke once for
 * every two messages, and lost a quarter of its throughput by that.)
 *
 * A carrier that requeues the task it has just run needs no fence: it takes
 * the next task from the same queue by compare-and-swap, a full fence, and
 * looks at the sleepers after that (pool_wake_for).
 *
 * Limits.  `awake` counts carriers that are neither asleep nor blocked in
 * the kernel, and is kept at parallelism: one that blocks leaves the count,
 * and another is woken or started in its place; one that comes back when
 * the place is taken hands over its queue and sleeps.
 *
 * Time.  The first carrier to sleep is the timekeeper: it sleeps until the
 * next deadline of the pool's timers, and is told when an earlier one is
 * armed.  Of all carriers of the process one may sleep in the poller, so
 * that an interrupt meets the right one.  While a timekeeper is awake it
 * polls itself, now and then; the monitor sees to it when it does not.
 *
 * Rejected: a poller thread (an event would change threads once more); a
 * wake-up for each added task (a futex call of 2 us and up each); spinning
 * for long before sleeping (the machine is shared).
 */
#include "carrier/carrier.h"

#include <errno.h>
#include <string.h>

#include "platform/clock.h"
#include "platform/memory.h"

/* ---- Waking ------------------------------------------------------------- */

bool pool_take_off_idle(struct carrier *c)
{
    struct carrier **link = &c->pool->idle_first;
    if (!c->is_idle)
        return false;
    while (*link != c)
        link = &(*link)->next_idle;
    *link = c->next_idle;
    c->is_idle = false;
    atomic_fetch_sub_explicit(&c->pool->idle, 1, memory_order_relaxed);
    return true;
}

/* Takes the carrier that slept last off the list.  Under the lock. */
static struct carrier *take_idle(struct pool *pool)
{
    struct carrier *c = pool->idle_first;
    if (!c)
        return NULL;
    pool->idle_first = c->next_idle;
    c->is_idle = false;
    c->is_searching = true;
    atomic_fetch_sub_explicit(&pool->idle, 1, memory_order_relaxed);
    return c;
}

/* Counts one more awake, if there is a place.  Under the lock. */
static bool take_place(struct pool *pool)
{
    if (atomic_load_explicit(&pool->awake, memory_order_relaxed)
        >= pool->parallelism)
        return false;
    atomic_fetch_add_explicit(&pool->awake, 1, memory_order_relaxed);
    return true;
}

static void leave_place(struct pool *pool)
{
    atomic_fetch_sub_explicit(&pool->awake, 1, memory_order_relaxed);
}

void pool_wake_one(struct pool *pool)
{
    uint32_t none = 0;
    /* Only one waker at a time: what it wakes is the searcher. */
    if (!atomic_compare_exchange_strong_explicit(
            &pool->searching, &none, 1, memory_order_seq_cst,
            memory_order_relaxed))
        return;
    os_lock_acquire(&pool->lock);
    bool has_place = take_place(pool);
    struct carrier *c = has_place ? take_idle(pool) : NULL;
    os_lock_release(&pool->lock);
    if (c) {
        carrier_signal(c);
    } else if (!has_place || pool_start_carrier(pool) != 0) {
        if (has_place)
            leave_place(pool);
        atomic_fetch_sub_explicit(&pool->searching, 1, memory_order_seq_cst);
        /* Who added work meanwhile saw a searcher, and relied on it; and a
         * carrier may have gone to sleep since. */
        fence_after_rmw();
        if (atomic_load_explicit(&pool->idle, memory_order_relaxed) > 0
            && pool_has_work(pool))
            pool_wake_if_needed(pool);
        return;
    }
    monitor_wake_if_asleep(pool);
}

bool pool_has_work(struct pool *pool)
{
    if (!submission_is_empty(&pool->submissions))
        return true;
    uint32_t count = atomic_load_explicit(&pool->count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++) {
        struct carrier *c = pool_carrier(pool, i);
        if (!deque_is_empty(&c->queue) || !deque_is_empty(&c->forked)
            || !submission_is_empty(&c->handed))
            return true;
    }
    return false;
}

/* ---- Submitting --------------------------------------------------------- */

/* Who hands in a task from outside may still be at it when the task has run
 * and the pool, empty now, is destroyed: pool_destroy waits for the visitor.
 * Relaxed: ordered before the task is published, and so before its end. */
static bool visit(struct pool *pool)
{
    struct carrier *self = carrier_self();
    if (self && self->pool == pool)
        return false;
    atomic_fetch_add_explicit(&pool->submitted, 1, memory_order_relaxed);
    return true;
}

/* Releases the pool; pairs with wait_for_visitors. */
static void leave(struct pool *pool, bool is_visitor)
{
    if (is_visitor)
        atomic_fetch_add_explicit(&pool->returned, 1, memory_order_release);
}

static void wait_for_visitors(struct pool *pool)
{
    while (atomic_load_explicit(&pool->returned, memory_order_acquire)
           != atomic_load_explicit(&pool->submitted, memory_order_relaxed))
        cpu_relax();
}

static void submit_outside(struct pool *pool, struct task *task)
{
    bool is_visitor = visit(pool);
    submission_push(&pool->submissions, task);
    /* (B): the push was a seq_cst read-modify-write. */
    fence_after_rmw();
    pool_wake_if_needed(pool);
    leave(pool, is_visitor);
}

void carrier_requeue(struct carrier *carrier, struct task *task)
{
    if (unlikely(!deque_push(&carrier->queue, task)))
        submit_outside(carrier->pool, task);
}

/* There is one more in a queue of the calling carrier. */
static void wake_for_one_more(struct pool *pool, struct carrier *self)
{
    /* Looked at before the fence, which is dear: a carrier that goes to
     * sleep at this instant may be missed.  Then this one wakes it when it
     * takes its next task (pool_wake_for), or the monitor does. */
    if (atomic_load_explicit(&pool->awake, memory_order_relaxed)
            < pool->parallelism
        && carrier_backlog(self) > self->backlog_worth) {
        /* (B) */
        atomic_thread_fence(memory_order_seq_cst);
        pool_wake_if_needed(pool);
    }
}

void pool_submit(struct pool *pool, struct task *task)
{
    struct carrier *self = carrier_self();
    if (!self || self->submits_to != pool) {
        submit_outside(pool, task);
        return;
    }
    carrier_requeue(self, task);
    wake_for_one_more(pool, self);
}

void pool_submit_forked(struct pool *pool, struct task *task)
{
    struct carrier *self = carrier_self();
    if (!self || self->submits_to != pool
        || !deque_push(&self->forked, task)) {
        submit_outside(pool, task);
        return;
    }
    wake_for_one_more(pool, self);
}

void pool_submit_next(struct pool *pool, struct task *task)
{
    struct carrier *self = carrier_self();
    if (!self || self->submits_to != pool) {
        submit_outside(pool, task);
        return;
    }
    /* Relaxed load, then an exchange only if there is something: thieves
     * take from the slot but never put anything in. */
    struct task *before = atomic_load_explicit(&self->next,
                                               memory_order_relaxed);
    if (!before) {
        /* Releases the task to a thief; pairs with steal_next. */
        atomic_store_explicit(&self->next, task, memory_order_release);
        return;
    }
    before = atomic_exchange_explicit(&self->next, task,
                                      memory_order_acq_rel);
    if (before)
        pool_submit(pool, before);
}

void pool_submit_to(struct carrier *carrier, struct task *task)
{
    struct pool *pool = carrier->pool;
    bool is_visitor = visit(pool);
    submission_push(&carrier->inbox, task);
    fence_after_rmw();
    carrier_signal(carrier);
    leave(pool, is_visitor);
}

void pool_submit_near(struct carrier *carrier, struct task *task)
{
    struct pool *pool = carrier->pool;
    bool is_visitor = visit(pool);
    submission_push(&carrier->handed, task);
    fence_after_rmw();
    carrier_signal(carrier);
    pool_wake_if_needed(pool);
    leave(pool, is_visitor);
}

/* The other half of the agreement is in sleep.c, keep_time. */
void pool_deadline_moved(struct pool *pool, uint64_t deadline_ns)
{
    /* Orders the arming of the timer before the look at the timekeeper;
     * pairs with the fence in keep_time. */
    atomic_thread_fence(memory_order_seq_cst);
    /* Acquires the carrier itself; pairs with keep_time. */
    struct carrier *keeper = atomic_load_explicit(&pool->timekeeper,
                                                  memory_order_acquire);
    if (keeper
        && deadline_ns < atomic_load_explicit(&pool->keeper_until,
                                              memory_order_relaxed))
        carrier_signal(keeper);
}

/* ---- Life --------------------------------------------------------------- */

int pool_create(struct pool **result, const struct pool_attr *attr)
{
    struct pool *pool = memory_alloc_plain(CACHE_LINE, sizeof *pool);
    if (!pool)
        return ENOMEM;
    memset(pool, 0, sizeof *pool);
    pool->client = *attr->client;
    pool->owner = attr->owner;
    strncpy(pool->name, attr->name, sizeof pool->name - 1);
    pool->parallelism = attr->parallelism;
    pool->max_carriers = attr->max_carriers;
    pool->stuck_ns = attr->stuck_ns;
    pool->idle_ns = attr->idle_ns;
    call_init_slots(pool);
    /* Its owner learns of the pool before its first carrier does. */
    *result = pool;
    atomic_store_explicit(&pool->awake, 1, memory_order_relaxed);
    atomic_store_explicit(&pool->searching, 1, memory_order_relaxed);
    int err = pool_start_carrier(pool);
    if (err == 0) {
        err = monitor_start(pool);
        pool->has_monitor = err == 0;
    }
    if (err != 0) {
        pool_destroy(pool);
        *result = NULL;
    }
    return err;
}

static void stop_carriers(struct pool *pool)
{
    os_lock_acquire(&pool->lock);
    atomic_store_explicit(&pool->is_stopping, true, memory_order_seq_cst);
    os_lock_release(&pool->lock);
    /* First the monitor, which looks at what carriers keep in their
     * thread-locals. */
    if (pool->has_monitor)
        monitor_stop(pool);
    spare_join_all(pool);
}

void pool_destroy(struct pool *pool)
{
    wait_for_visitors(pool);
    stop_carriers(pool);
    for (uint32_t i = 0; i < pool->count; i++)
        spare_free(pool_carrier(pool, i));
    memory_free(pool);
}

/* ---- Telling ------------------------------------------------------------ */

void pool_get_stats(struct pool *pool, struct pool_stats *stats)
{
    *stats = (struct pool_stats){
        .submissions = atomic_load_explicit(&pool->submitted,
                                            memory_order_relaxed),
        .retaken = atomic_load_explicit(&pool->retaken,
                                        memory_order_relaxed),
        .carriers = pool_os_threads(pool),
        .carriers_active = atomic_load_explicit(&pool->awake,
                                                memory_order_relaxed),
    };
    os_lock_acquire(&pool->lock);
    stats->started = pool_threads_started(pool);
    stats->ended = pool->ended;
    os_lock_release(&pool->lock);
    unsigned count = pool_carrier_count(pool);
    for (unsigned i = 0; i < count; i++) {
        struct carrier *c = pool_carrier(pool, i);
        stats->steals += atomic_load_explicit(&c->steals,
                                              memory_order_relaxed);
        stats->sleeps += atomic_load_explicit(&c->sleeps,
                                              memory_order_relaxed);
        stats->blockings += atomic_load_explicit(&c->blockings,
                                                 memory_order_relaxed);
        stats->handed_off += atomic_load_explicit(&c->handed_off,
                                                  memory_order_relaxed);
    }
}

/* Acquire: what a carrier did before it was counted. */
static uint64_t sum_of_ticks(struct pool *pool)
{
    uint64_t sum = 0;
    unsigned count = pool_carrier_count(pool);
    for (unsigned i = 0; i < count; i++)
        sum += atomic_load_explicit(&pool_carrier(pool, i)->tick,
                                    memory_order_acquire);
    return sum;
}

static bool is_any_in_call(struct pool *pool)
{
    unsigned count = pool_carrier_count(pool);
    for (unsigned i = 0; i < count; i++)
        if (call_is_handed(pool_carrier(pool, i)))
            return true;
    return false;
}

/*
 * The lock acquires what those did who went idle under it.
 *
 *     who looks              who comes back       who hands off a call
 *     1. ticks, acquired     1. awake++           1. the state of the call
 *     2. awake               2. tick++            2. awake--
 *     3. states of calls     3. the state
 *     4. ticks, the same?
 *
 * Claim: if so, then at 2 nobody ran, nor was in a call.  Who was in a call
 * at 2 has left the count by 2 (else awake is not 0), so 3 sees its state, or
 * that it has come back since: then 4 sees its tick, which 1 has not seen,
 * for otherwise 2 would have seen it awake.  And so on, if it has begun
 * another call since.
 *
 * Ticks come before awake for the caller's sake too: who compares two looks
 * must see the tick of one who has come back from a pinned wait.
 */
bool pool_is_quiet(struct pool *pool, uint64_t *runs)
{
    os_lock_acquire(&pool->lock);
    *runs = sum_of_ticks(pool);
    /* Acquire: before the states. */
    bool is_quiet = atomic_load_explicit(&pool->awake, memory_order_acquire)
                        == 0
                    && !is_any_in_call(pool) && sum_of_ticks(pool) == *runs;
    os_lock_release(&pool->lock);
    return is_quiet;
}

void pool_wake_monitor(struct pool *pool)
{
    monitor_wake(pool);
}

unsigned pool_carrier_count(struct pool *pool)
{
    /* Pairs with the release in spare.c, publish. */
    return atomic_load_explicit(&pool->count, memory_order_acquire);
}

unsigned pool_os_threads(struct pool *pool)
{
    /* Relaxed: at some instant it is or was so. */
    return atomic_load_explicit(&pool->alive, memory_order_relaxed);
}

uint64_t pool_threads_started(struct pool *pool)
{
    /* Relaxed: likewise. */
    return atomic_load_explicit(&pool->started, memory_order_relaxed);
}

void *pool_owner(struct pool *pool)
{
    return pool->owner;
}

unsigned pool_parallelism(struct pool *pool)
{
    return pool->parallelism;
}

struct carrier *pool_carrier(struct pool *pool, unsigned number)
{
    /* Pairs with the release in spare.c, publish. */
    return atomic_load_explicit(&pool->carriers[number],
                                memory_order_acquire);
}
