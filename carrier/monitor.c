/*
 * monitor.c - looks after carriers that do not return from a task.
 *
 * A carrier polls, runs timers and wakes others between tasks.  When all
 * that are awake are busy for long, that is left undone although others
 * sleep; the monitor then wakes one, which does it.  It looks every 20 us
 * at first, and less and less often while it finds nothing to do: up to
 * every 10 ms, or every millisecond while some carriers are awake and
 * others could help them.  When no carrier has been awake for some time it
 * sleeps until one is.
 */
#include "carrier/carrier.h"
#include "platform/clock.h"

#define INTERVAL_MIN_NS 20000
#define INTERVAL_MAX_NS 10000000
#define INTERVAL_AWAKE_MAX_NS 1000000
#define QUIET_LOOKS_MAX 20

/* Wakes a sleeper that will poll and look for work, whether or not all
 * places are taken: at most until it has found none. */
static void kick(struct pool *pool)
{
    os_lock_acquire(&pool->lock);
    struct carrier *c = pool->idle_first;
    os_lock_release(&pool->lock);
    if (c)
        carrier_signal(c);
}

void pool_nudge(struct pool *pool)
{
    kick(pool);
}

static bool is_timer_due(struct pool *pool)
{
    return pool->client.next_deadline(pool) <= clock_now_ns();
}

/* What the monitor remembers of its last look. */
struct memory {
    uint32_t polls;
    uint32_t ticks[POOL_MAX_CARRIERS];
};

/* A carrier goes on and on with one task, while others wait behind it. */
static bool is_stuck(struct carrier *c, uint32_t tick_before)
{
    return atomic_load_explicit(&c->tick, memory_order_relaxed) == tick_before
           && (atomic_load_explicit(&c->next, memory_order_relaxed)
               || !deque_is_empty(&c->queue)
               || !submission_is_empty(&c->handed));
}

static bool is_any_stuck(struct pool *pool, struct memory *last)
{
    bool is_any = false;
    unsigned count = pool_carrier_count(pool);
    for (unsigned i = 0; i < count; i++) {
        struct carrier *c = pool_carrier(pool, i);
        is_any |= is_stuck(c, last->ticks[i]);
        last->ticks[i] = atomic_load_explicit(&c->tick,
                                              memory_order_relaxed);
    }
    return is_any;
}

static bool has_polled(struct pool *pool, struct memory *last)
{
    uint32_t polls = atomic_load_explicit(&pool->polls, memory_order_relaxed);
    bool has = polls != last->polls;
    last->polls = polls;
    return has;
}

/* Nobody polls: the one that slept in the poller is busy, or blocked, and
 * those who sleep elsewhere, perhaps in other pools, do not know.  True if
 * there were events. */
static bool poll_instead(struct pool *pool)
{
    return !carrier_has_poller() && pool->client.poll_events();
}

/* Work that a carrier could do, were it awake.  With all places taken it
 * could not. */
static bool is_work_left(struct pool *pool, struct memory *last)
{
    bool is_left = is_any_stuck(pool, last)
                   || !submission_is_empty(&pool->submissions);
    return is_left
           && atomic_load_explicit(&pool->awake, memory_order_relaxed)
                  < pool->parallelism;
}

/* True if something had to be done. */
static bool look(struct pool *pool, struct memory *last)
{
    bool needs_carrier = is_work_left(pool, last);
    bool polled = has_polled(pool, last);
    bool had_events = !polled && poll_instead(pool);
    bool is_time_kept
        = (polled && !is_timer_due(pool))
          || atomic_load_explicit(&pool->timekeeper, memory_order_relaxed);
    if (!needs_carrier && is_time_kept)
        return had_events;
    if (atomic_load_explicit(&pool->idle, memory_order_relaxed) > 0)
        kick(pool);
    else if (needs_carrier)
        pool_wake_if_needed(pool);
    else
        return had_events;
    return true;
}

static bool is_quiet(struct pool *pool)
{
    return atomic_load_explicit(&pool->awake, memory_order_relaxed) == 0
           && carrier_has_poller();
}

/* Sleeps until a carrier wakes. */
static void rest(struct pool *pool)
{
    atomic_store_explicit(&pool->monitor_signal, 0, memory_order_relaxed);
    /* seq_cst: before the look at awake.  A carrier that wakes in between
     * and does not see the flag is seen here, or at the next rest: then
     * the pool has gone without a monitor for one period of wakefulness
     * of which nothing was seen, no more. */
    atomic_store_explicit(&pool->monitor_sleeps, true, memory_order_seq_cst);
    if (is_quiet(pool)
        && !atomic_load_explicit(&pool->is_stopping, memory_order_seq_cst))
        futex_wait(&pool->monitor_signal, 0, CLOCK_NEVER);
    atomic_store_explicit(&pool->monitor_sleeps, false,
                          memory_order_relaxed);
    /* Or the timed waits to come would not wait.  seq_cst: before the look
     * at is_stopping, which monitor_stop's caller sets before the signal. */
    atomic_store_explicit(&pool->monitor_signal, 0, memory_order_seq_cst);
}

static uint64_t longest_interval(struct pool *pool)
{
    unsigned awake = atomic_load_explicit(&pool->awake,
                                          memory_order_relaxed);
    return awake > 0 && awake < pool->parallelism ? INTERVAL_AWAKE_MAX_NS
                                                  : INTERVAL_MAX_NS;
}

static void monitor_main(void *argument)
{
    struct pool *pool = argument;
    uint64_t interval = INTERVAL_MIN_NS;
    unsigned quiet_looks = 0;
    struct memory last = {0};
    while (!atomic_load_explicit(&pool->is_stopping, memory_order_seq_cst)) {
        futex_wait(&pool->monitor_signal, 0, clock_now_ns() + interval);
        if (look(pool, &last))
            interval = INTERVAL_MIN_NS;
        else if ((interval *= 2) > longest_interval(pool))
            interval = longest_interval(pool);
        quiet_looks = is_quiet(pool) ? quiet_looks + 1 : 0;
        if (quiet_looks > QUIET_LOOKS_MAX) {
            rest(pool);
            quiet_looks = 0;
            interval = INTERVAL_MIN_NS;
        }
    }
}

int monitor_start(struct pool *pool)
{
    return os_thread_start(&pool->monitor, "vthread-monitor", monitor_main,
                           pool);
}

void monitor_wake(struct pool *pool)
{
    if (atomic_exchange_explicit(&pool->monitor_sleeps, false,
                                 memory_order_relaxed)) {
        atomic_store_explicit(&pool->monitor_signal, 1,
                              memory_order_relaxed);
        futex_wake(&pool->monitor_signal, 1);
    }
}

void monitor_stop(struct pool *pool)
{
    atomic_store_explicit(&pool->monitor_signal, 1, memory_order_seq_cst);
    futex_wake(&pool->monitor_signal, 1);
    os_thread_join(&pool->monitor);
}
