/*
 * monitor.c - looks after carriers that do not return from a task.
 *
 * A carrier polls, runs timers and wakes others between tasks.  When all
 * that are awake are busy for long, that is left undone although others
 * sleep; the monitor then wakes one, which does it.  It looks every 20 us
 * at first, and less and less often while it finds nothing to do: up to
 * every 10 ms, or every millisecond while some carriers are awake and
 * others could help them.  When no carrier has been awake for some time it
 * tells the client, and sleeps until one is.
 *
 * It retakes the work of a carrier that it has seen twice in the same foreign
 * call, if that work waits and no other carrier may take it, or if the call
 * has lasted for 10 ms (call.c).  A call seen for the first time is looked at
 * again after 20 us, whatever the interval is; but not twice in a row, or a
 * thread that makes one short call after the other would keep the monitor
 * busy.  So a call in the way of others is retaken 20 us and up to an
 * interval after it began.
 *
 * It also tells the client of carriers that have been at one task for long,
 * and how long others have waited meanwhile without a carrier to take them.
 * Who that is, and what is to be said, the client knows.  Only what it sees
 * itself counts: a look that comes late, because the process was stopped or
 * the machine is loaded, adds LOOK_MAX_NS and no more.
 */
#include "carrier/carrier.h"
#include "platform/clock.h"
#include "platform/sanitizer.h"

#define INTERVAL_MIN_NS 20000
#define INTERVAL_MAX_NS 10000000
#define INTERVAL_AWAKE_MAX_NS 1000000
#define QUIET_LOOKS_MAX 20
#define BACKLOG_NS 1000000
#define LOOK_MAX_NS (2 * (uint64_t)INTERVAL_MAX_NS)

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
    uint64_t looked_ns;
    bool is_any_left;   /* work for a carrier that could not be had */
    bool has_young;     /* a carrier was in a call that may be long */
    bool looks_again;   /* and is looked at for that reason */
    bool is_exhausted;  /* no carrier was left for what is ready, */
    uint64_t exhausted_ns; /* for so long */
    struct {
        struct call_memory call;
        uint32_t tick;
        uint32_t ran;        /* tasks begun between the last two looks */
        uint64_t held_ns;    /* see struct pool_stuck */
        uint64_t starved_ns;
    } carriers[POOL_MAX_CARRIERS];
};

/* ---- Carriers that do not return ---------------------------------------- */

/* What has changed since the last look; returns how long ago that was. */
static uint64_t note_ticks(struct pool *pool, struct memory *last)
{
    uint64_t now_ns = clock_now_ns();
    clock_note(now_ns);
    uint64_t elapsed_ns = now_ns - last->looked_ns;
    if (elapsed_ns > LOOK_MAX_NS)
        elapsed_ns = LOOK_MAX_NS;
    last->looked_ns = now_ns;
    unsigned count = pool_carrier_count(pool);
    for (unsigned i = 0; i < count; i++) {
        uint32_t tick = carrier_tick(pool_carrier(pool, i));
        last->carriers[i].ran = tick - last->carriers[i].tick;
        last->carriers[i].tick = tick;
    }
    return elapsed_ns;
}

/* The owner's own field, asked for nothing but whether it is NULL. */
NO_SANITIZE_THREAD static bool has_bound(const struct carrier *c)
{
    return ((const volatile struct carrier *)c)->bound_first != NULL;
}

/* Tasks that nobody but this carrier can run; a queue whose length cannot
 * be seen from outside counts as one. */
static unsigned bound_waiting(const struct carrier *c)
{
    return (unsigned)!submission_is_empty(&c->inbox) + has_bound(c);
}

/* The same of tasks that any carrier could run; a timer that is due is one
 * too, for it takes a carrier to expire it. */
static unsigned any_waiting(struct pool *pool)
{
    uint64_t waiting = (uint64_t)!submission_is_empty(&pool->submissions)
                       + is_timer_due(pool);
    unsigned count = pool_carrier_count(pool);
    for (unsigned i = 0; i < count; i++) {
        struct carrier *c = pool_carrier(pool, i);
        /* Relaxed: whether there is one; it is not touched. */
        waiting += deque_length(&c->queue) + !submission_is_empty(&c->handed)
                   + (atomic_load_explicit(&c->next, memory_order_relaxed)
                      != NULL);
    }
    return waiting < UINT32_MAX ? (unsigned)waiting : UINT32_MAX;
}

/* Whether one is looking for work, or could be woken or started.  Relaxed:
 * at the next look it is seen again. */
static bool is_carrier_free(struct pool *pool)
{
    if (atomic_load_explicit(&pool->searching, memory_order_relaxed) > 0)
        return true;
    return atomic_load_explicit(&pool->awake, memory_order_relaxed)
               < pool->parallelism
           && (atomic_load_explicit(&pool->idle, memory_order_relaxed) > 0
               || pool_os_threads(pool) < pool->max_carriers);
}

/* With the watch lock: the client looks at what OS threads keep. */
static void tell_stuck(struct pool *pool, struct memory *last,
                       uint64_t elapsed_ns)
{
    unsigned shared = is_carrier_free(pool) ? 0 : any_waiting(pool);
    unsigned count = pool_carrier_count(pool);
    for (unsigned i = 0; i < count; i++) {
        struct carrier *c = pool_carrier(pool, i);
        /* One that has handed off a call is in nobody's way, but for those
         * that it alone may run. */
        unsigned waiting = (call_is_handed(c) ? 0 : shared)
                           + bound_waiting(c);
        bool is_same = last->carriers[i].ran == 0;
        uint64_t *held_ns = &last->carriers[i].held_ns;
        uint64_t *starved_ns = &last->carriers[i].starved_ns;
        *held_ns = is_same ? *held_ns + elapsed_ns : 0;
        *starved_ns = is_same && waiting ? *starved_ns + elapsed_ns : 0;
        if (*held_ns >= pool->stuck_ns && c->is_watched)
            pool->client.stuck(c, &(struct pool_stuck){
                                      .tick = last->carriers[i].tick,
                                      .held_ns = *held_ns,
                                      .starved_ns = *starved_ns,
                                      .waiting = waiting,
                                  });
    }
}

/* ---- Work that is left undone ------------------------------------------- */

/* A carrier goes on and on with one task, while others wait behind it; or
 * those in its queues would take it longer than BACKLOG_NS, at the pace of
 * the time since the last look.  What it thinks a backlog is worth
 * (carrier.c) it has learnt from tasks that may have been much shorter. */
static bool is_stuck(struct carrier *c, uint32_t ran, uint64_t elapsed_ns)
{
    uint64_t backlog = carrier_backlog(c);
    if (backlog * elapsed_ns > ran * (uint64_t)BACKLOG_NS)
        return true;
    return ran == 0
           && (backlog > 0 || !submission_is_empty(&c->handed)
               || atomic_load_explicit(&c->next, memory_order_relaxed));
}

static bool is_any_stuck(struct pool *pool, struct memory *last,
                         uint64_t elapsed_ns)
{
    bool is_any = false;
    unsigned count = pool_carrier_count(pool);
    for (unsigned i = 0; i < count; i++) {
        struct carrier *c = pool_carrier(pool, i);
        is_any |= is_stuck(c, last->carriers[i].ran, elapsed_ns);
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
static bool is_work_left(struct pool *pool, struct memory *last,
                         uint64_t elapsed_ns)
{
    bool is_left = is_any_stuck(pool, last, elapsed_ns)
                   || !submission_is_empty(&pool->submissions);
    return is_left
           && atomic_load_explicit(&pool->awake, memory_order_relaxed)
                  < pool->parallelism;
}

/* True if a call was handed off. */
static bool look_at_calls(struct pool *pool, struct memory *last)
{
    bool has_retaken = false;
    unsigned count = pool_carrier_count(pool);
    last->has_young = false;
    for (unsigned i = 0; i < count; i++) {
        enum call_seen seen = call_look(pool_carrier(pool, i),
                                        &last->carriers[i].call,
                                        last->looked_ns);
        last->has_young |= seen == CALL_YOUNG;
        has_retaken |= seen == CALL_RETAKEN;
    }
    return has_retaken;
}

static bool has_keeper(struct pool *pool)
{
    return atomic_load_explicit(&pool->timekeeper, memory_order_relaxed);
}

/* Without a keeper a timer that is due needs a carrier. */
static bool is_any_late(struct pool *pool)
{
    return atomic_load_explicit(&pool->awake, memory_order_relaxed)
               < pool->parallelism
           && !has_keeper(pool) && is_timer_due(pool);
}

static void tell_client(struct pool *pool, struct memory *last,
                        uint64_t elapsed_ns)
{
    if (pool->stuck_ns == 0)
        return;
    os_lock_acquire(&pool->watch);
    tell_stuck(pool, last, elapsed_ns);
    os_lock_release(&pool->watch);
}

/* No carrier can be had, and none is free to come back by itself: each waits
 * in the kernel for something. */
static bool is_exhausted(struct pool *pool)
{
    return atomic_load_explicit(&pool->awake, memory_order_relaxed) == 0
           && atomic_load_explicit(&pool->idle, memory_order_relaxed) == 0
           && pool_os_threads(pool) >= pool->max_carriers;
}

static bool has_any_run(struct pool *pool, const struct memory *last)
{
    unsigned count = pool_carrier_count(pool);
    bool has = false;
    for (unsigned i = 0; i < count; i++)
        has |= last->carriers[i].ran != 0;
    return has;
}

/* It counts from the first look that has seen it, while nobody runs. */
static void tell_exhausted(struct pool *pool, struct memory *last,
                           bool needs_carrier, uint64_t elapsed_ns)
{
    bool is_so = needs_carrier && is_exhausted(pool);
    bool goes_on = is_so && last->is_exhausted && !has_any_run(pool, last);
    last->is_exhausted = is_so;
    last->exhausted_ns = goes_on ? last->exhausted_ns + elapsed_ns : 0;
    if (is_so && pool->client.exhausted)
        pool->client.exhausted(pool, last->exhausted_ns);
}

/* True if something had to be done, and was. */
static bool look(struct pool *pool, struct memory *last)
{
    uint64_t elapsed_ns = note_ticks(pool, last);
    tell_client(pool, last, elapsed_ns);
    bool has_retaken = look_at_calls(pool, last);
    bool needs_carrier = is_work_left(pool, last, elapsed_ns)
                         || is_any_late(pool);
    tell_exhausted(pool, last, needs_carrier, elapsed_ns);
    bool polled = has_polled(pool, last);
    bool had_events = !polled && poll_instead(pool);
    bool is_time_kept = (polled && !is_timer_due(pool)) || has_keeper(pool);
    bool did = had_events || has_retaken;
    last->is_any_left = needs_carrier;
    if (!needs_carrier && is_time_kept)
        return did;
    if (atomic_load_explicit(&pool->idle, memory_order_relaxed) > 0)
        kick(pool);
    else if (needs_carrier)
        pool_wake_if_needed(pool);
    else
        return did;
    /* There is no hurry when none can be had. */
    return did || !needs_carrier
           || !atomic_load_explicit(&pool->has_failed_start,
                                    memory_order_relaxed);
}

static bool is_quiet(struct pool *pool)
{
    return atomic_load_explicit(&pool->awake, memory_order_relaxed) == 0;
}

/* Sleeps until a carrier wakes, unless it is needed to poll. */
static void rest(struct pool *pool)
{
    atomic_store_explicit(&pool->monitor_signal, 0, memory_order_relaxed);
    /* Release: after the signal of the last rest is gone. */
    atomic_store_explicit(&pool->monitor_sleeps, true, memory_order_release);
    /* (A) The flag, then the look at awake; pairs with monitor_wake_if_asleep
     * (B).  A carrier that wakes in between and does not see the flag is seen
     * here. */
    atomic_thread_fence(memory_order_seq_cst);
    uint64_t until_ns = pool->client.quiet(pool);
    if (is_quiet(pool) && carrier_has_poller() && has_keeper(pool)
        && !atomic_load_explicit(&pool->is_stopping, memory_order_seq_cst))
        futex_wait_idle(&pool->monitor_signal, 0, until_ns);
    atomic_store_explicit(&pool->monitor_sleeps, false,
                          memory_order_relaxed);
}

static uint64_t longest_interval(struct pool *pool,
                                 const struct memory *last)
{
    unsigned awake = atomic_load_explicit(&pool->awake,
                                          memory_order_relaxed);
    return last->has_young || (awake > 0 && awake < pool->parallelism)
               ? INTERVAL_AWAKE_MAX_NS
               : INTERVAL_MAX_NS;
}

/* How long to wait before the next look. */
static uint64_t next_wait(struct memory *last, uint64_t interval)
{
    last->looks_again = last->has_young && !last->looks_again;
    return last->looks_again ? INTERVAL_MIN_NS : interval;
}

static void monitor_main(void *argument)
{
    struct pool *pool = argument;
    uint64_t interval = INTERVAL_MIN_NS, wait_ns = INTERVAL_MIN_NS;
    unsigned quiet_looks = 0;
    struct memory last = {.looked_ns = clock_now_ns()};
    while (!atomic_load_explicit(&pool->is_stopping, memory_order_seq_cst)) {
        futex_wait_idle(&pool->monitor_signal, 0,
                        clock_now_ns() + wait_ns);
        /* Or the waits to come would not wait: a signal may come long after
         * the rest that it was to end.  seq_cst: before the look at
         * is_stopping, which monitor_stop's caller sets before the signal. */
        atomic_store_explicit(&pool->monitor_signal, 0, memory_order_seq_cst);
        if (look(pool, &last))
            interval = INTERVAL_MIN_NS;
        else if ((interval *= 2) > longest_interval(pool, &last))
            interval = longest_interval(pool, &last);
        wait_ns = next_wait(&last, interval);
        quiet_looks = is_quiet(pool) && !last.is_any_left ? quiet_looks + 1
                                                          : 0;
        if (quiet_looks > QUIET_LOOKS_MAX) {
            rest(pool);
            quiet_looks = 0;
            interval = wait_ns = INTERVAL_MIN_NS;
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
