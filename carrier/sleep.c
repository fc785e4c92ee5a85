/*
 * sleep.c - what a carrier does when there is nothing to do.
 *
 * It sleeps on its own futex, or in the poller, of which there is one for all
 * carriers of the process; one carrier of each pool sleeps until the next
 * timer.  See pool.c, "Time", and for why no wake-up is lost; spare.c for
 * those that have slept long.
 *
 * Invariant: who is asleep is on the idle list, so whoever has work finds it
 * there, or has been taken off it and signalled.
 */
#include "carrier/carrier.h"

#include "platform/clock.h"

/* Of all carriers of the process, the one that sleeps in the poller. */
static struct carrier *_Atomic poller;

/* ---- Sleeping ----------------------------------------------------------- */

void carrier_signal(struct carrier *c)
{
    /* seq_cst: before the look at is_polling; pairs with fall_asleep,
     * which sets is_polling before it looks at the signal. */
    if (atomic_exchange_explicit(&c->signal, 1, memory_order_seq_cst) == 1)
        return;
    if (atomic_load_explicit(&c->is_polling, memory_order_seq_cst))
        c->pool->client.poll_interrupt(c);
    else
        futex_wake(&c->signal, 1);
}

static void go_idle(struct carrier *c)
{
    struct pool *pool = c->pool;
    os_lock_acquire(&pool->lock);
    c->is_idle = true;
    c->next_idle = pool->idle_first;
    pool->idle_first = c;
    atomic_fetch_add_explicit(&pool->idle, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&pool->awake, 1, memory_order_relaxed);
    os_lock_release(&pool->lock);
}

/* Back from sleep, by whatever cause.  Idempotent. */
void carrier_awake(struct carrier *c)
{
    struct pool *pool = c->pool;
    os_lock_acquire(&pool->lock);
    if (pool_take_off_idle(c))
        atomic_fetch_add_explicit(&pool->awake, 1, memory_order_relaxed);
    os_lock_release(&pool->lock);
    monitor_wake_if_asleep(pool);
}

/* Becomes the timekeeper if there is none, and says until when to sleep. */
static uint64_t keep_time(struct carrier *c)
{
    struct pool *pool = c->pool;
    struct carrier *none = NULL;
    if (!atomic_compare_exchange_strong_explicit(
            &pool->timekeeper, &none, c, memory_order_seq_cst,
            memory_order_relaxed))
        return CLOCK_NEVER;
    /* Until the deadline is known every timer counts as earlier. */
    atomic_store_explicit(&pool->keeper_until, CLOCK_NEVER,
                          memory_order_relaxed);
    /* Pairs with the fence in pool_deadline_moved: a timer armed before
     * the next line is seen by it, one armed later sees the timekeeper. */
    atomic_thread_fence(memory_order_seq_cst);
    uint64_t deadline_ns = pool->client.next_deadline(pool);
    atomic_store_explicit(&pool->keeper_until, deadline_ns,
                          memory_order_relaxed);
    return deadline_ns;
}

static void stop_keeping_time(struct carrier *c)
{
    struct carrier *self = c;
    atomic_compare_exchange_strong_explicit(&c->pool->timekeeper, &self, NULL,
                                            memory_order_relaxed,
                                            memory_order_relaxed);
}

/* Whether a carrier, of whatever pool, sleeps in the poller. */
bool carrier_has_poller(void)
{
    return atomic_load_explicit(&poller, memory_order_relaxed) != NULL;
}

static void sleep_in_poller(struct carrier *c, uint64_t deadline_ns)
{
    /* seq_cst: before the look at the signal; see carrier_signal. */
    atomic_store_explicit(&c->is_polling, true, memory_order_seq_cst);
    if (atomic_load_explicit(&c->signal, memory_order_seq_cst) == 0)
        c->pool->client.poll(c, deadline_ns);
    atomic_store_explicit(&c->is_polling, false, memory_order_seq_cst);
    atomic_fetch_add_explicit(&c->pool->polls, 1, memory_order_relaxed);
}

static void fall_asleep(struct carrier *c)
{
    uint64_t deadline_ns = keep_time(c);
    uint64_t idle_end_ns = spare_idle_end(c);
    uint64_t until_ns = deadline_ns < idle_end_ns ? deadline_ns : idle_end_ns;
    struct carrier *nobody = NULL;
    if (atomic_compare_exchange_strong_explicit(&poller, &nobody, c,
                                                memory_order_acquire,
                                                memory_order_relaxed)) {
        sleep_in_poller(c, until_ns);
        atomic_store_explicit(&poller, NULL, memory_order_release);
    } else {
        futex_wait_idle(&c->signal, 0, until_ns);
    }
    stop_keeping_time(c);
    if (idle_end_ns != CLOCK_NEVER && clock_now_ns() >= idle_end_ns
        && spare_retire(c))
        return;
    carrier_awake(c);
    /* It slept until the next timer: the poller has seen to that, the futex
     * has not. */
    uint64_t now_ns = clock_now_ns();
    clock_note(now_ns);
    if (deadline_ns <= now_ns)
        carrier_poll_now(c);
}

/* Work that those who are awake do not see to.  With all places taken they
 * do: none of them sleeps without a look at all queues. */
static bool is_needed(struct pool *pool)
{
    return atomic_load_explicit(&pool->awake, memory_order_relaxed)
               < pool->parallelism
           && pool_has_work(pool);
}

void carrier_sleep(struct carrier *c)
{
    struct pool *pool = c->pool;
    if (c->is_searching)
        carrier_end_search(c);
    atomic_store_explicit(&c->signal, 0, memory_order_relaxed);
    go_idle(c);
    /* (A), see pool.c. */
    atomic_thread_fence(memory_order_seq_cst);
    if (is_needed(pool) || carrier_has_handed(c)
        || atomic_load_explicit(&pool->is_stopping, memory_order_relaxed)) {
        carrier_awake(c);
        return;
    }
    carrier_count(&c->sleeps, 1);
    deque_trim(&c->queue);
    fall_asleep(c);
}
