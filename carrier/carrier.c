/*
 * carrier.c - what a carrier does all day: find a task, and run it.
 *
 * Where it looks, in this order: the tasks bound to it, the one woken last,
 * its own queue, tasks forked here, the submission queue, other carriers'
 * queues, the poller.
 * Every 32nd task it looks at the submission queue first, and at the clock,
 * to poll when it has not for 50 us, and to look after the tasks of carriers
 * that do not come back: so nobody starves behind a queue that never gets
 * empty.
 *
 * The invariants: a carrier that is awake is counted in pool->awake; one
 * that is_searching is counted in pool->searching; one that is_idle is on
 * the pool's list, and in neither count.
 *
 * See sleep.c for what it does when there is none, and pool.c for why no
 * wake-up is lost.
 */
#include "carrier/carrier.h"

#include "platform/clock.h"
#include "platform/probe.h"

#define LOOK_TICKS 32
#define POLL_INTERVAL_NS 50000
#define FORKED_INTERVAL_NS 1000000
#define NEXT_RUNS_MAX 8
#define SEARCH_ROUNDS 4
#define OTHERS_AT_ONCE 8
#define BURST_WORTH_NS 50000
#define LASTING_WORTH_NS 5000

static __thread struct carrier *current_carrier;

/* Out of line and opaque: after a switch the OS thread may be another. */
__attribute__((noinline)) struct carrier *carrier_self(void)
{
    struct carrier *c = current_carrier;
    __asm__ volatile("" : "+r"(c));
    return c;
}

struct pool *carrier_pool(const struct carrier *carrier)
{
    return carrier->pool;
}

unsigned carrier_number(const struct carrier *carrier)
{
    return carrier->number;
}

unsigned carrier_ready(const struct carrier *c)
{
    uint64_t ready = carrier_backlog(c) + !submission_is_empty(&c->handed)
                     + !submission_is_empty(&c->inbox)
                     + (c->bound_first != NULL)
                     /* Relaxed: whether there is one. */
                     + (atomic_load_explicit(&c->next, memory_order_relaxed)
                        != NULL);
    return ready < UINT32_MAX ? (unsigned)ready : UINT32_MAX;
}

uint32_t carrier_tick(const struct carrier *carrier)
{
    /* Relaxed: a number that is compared with what it was. */
    return atomic_load_explicit(&carrier->tick, memory_order_relaxed);
}

const uint32_t *carrier_looks(const struct carrier *carrier)
{
    return &carrier->looks;
}

static void queue_oldest_forked(struct carrier *c, unsigned limit);
static void see_to_others(struct carrier *c);

/* ---- Polling ------------------------------------------------------------ */

void carrier_poll_now(struct carrier *c)
{
    atomic_fetch_add_explicit(&c->pool->polls, 1, memory_order_relaxed);
    c->pool->client.poll(c, 0);
}

static void poll_at_times(struct carrier *c, uint64_t now)
{
    if (now - c->polled_ns < POLL_INTERVAL_NS)
        return;
    c->polled_ns = now;
    carrier_poll_now(c);
    see_to_others(c);
    if (now - c->forked_ns < FORKED_INTERVAL_NS)
        return;
    c->forked_ns = now;
    queue_oldest_forked(c, 1);
}

/* ---- Forked tasks ------------------------------------------------------- */

/* They come after the queue, and the newest before the oldest; so that none
 * waits for ever, some go to the end of the queue: */
static void queue_oldest_forked(struct carrier *c, unsigned limit)
{
    struct task *task;
    while (limit-- > 0 && (task = deque_pop(&c->forked)) != NULL)
        carrier_requeue(c, task);
}

/* - when none of them has run since the last look, behind a queue that never
 *   gets empty; the others, one in FORKED_INTERVAL_NS, are seen to above. */
static void see_to_forked(struct carrier *c, uint64_t now)
{
    if (c->forked_runs == c->forked_seen)
        queue_oldest_forked(c, LOOK_TICKS);
    c->forked_seen = c->forked_runs;
    /* How many there are tells little of how much work they are; how long
     * it has gone on tells more. */
    if (now - c->stretch_ns > BURST_WORTH_NS
        && atomic_load_explicit(&c->pool->awake, memory_order_relaxed)
               < c->pool->parallelism) {
        atomic_thread_fence(memory_order_seq_cst); /* (B), see pool.c */
        pool_wake_if_needed(c->pool);
    }
}

static struct task *take_forked(struct carrier *c)
{
    c->forked_runs++;
    return deque_pop_newest(&c->forked);
}

/* ---- What a backlog is worth -------------------------------------------- */

/* How many tasks in the queue are that much work. */
static uint32_t tasks_of(const struct carrier *c, uint32_t work_ns)
{
    return c->task_ns ? work_ns / c->task_ns : 0;
}

/* The carrier has had nothing to do, and has something now. */
static void begin_stretch(struct carrier *c)
{
    c->stretch_ns = c->measured_ns = clock_now_ns();
    c->measured_tick = carrier_tick(c);
    c->backlog_worth = tasks_of(c, BURST_WORTH_NS);
}

/* Learns from the tasks since the last look how long one takes; half of what
 * it knew before stays. */
static void measure_stretch(struct carrier *c, uint64_t now, uint32_t tick)
{
    uint64_t length_ns = now - c->measured_ns;
    uint32_t tasks = tick - c->measured_tick;
    if (tasks > 0 && length_ns / tasks < BURST_WORTH_NS)
        c->task_ns = (c->task_ns + (uint32_t)(length_ns / tasks) + 1) / 2;
    else
        c->task_ns = BURST_WORTH_NS;
    c->measured_ns = now;
    c->measured_tick = tick;
    c->backlog_worth = tasks_of(c, now - c->stretch_ns < BURST_WORTH_NS
                                       ? BURST_WORTH_NS
                                       : LASTING_WORTH_NS);
}

/* ---- Finding a task ----------------------------------------------------- */

static void queue_all(struct carrier *c, struct task *task)
{
    while (task) {
        struct task *next = task->next;
        carrier_requeue(c, task);
        task = next;
    }
}

/* All tasks of a submission queue; the first is returned, the rest goes to
 * the own queue, from where others steal. */
static struct task *take_submissions(struct carrier *c, struct submission *s)
{
    struct task *first = submission_take_all(s);
    if (first)
        queue_all(c, first->next);
    return first;
}

static void empty_inbox(struct carrier *c)
{
    struct task *first = submission_take_all(&c->inbox);
    if (!first)
        return;
    if (c->bound_first)
        c->bound_last->next = first;
    else
        c->bound_first = first;
    while (first->next)
        first = first->next;
    c->bound_last = first;
}

static struct task *take_bound(struct carrier *c)
{
    struct task *task = c->bound_first;
    if (task)
        c->bound_first = task->next;
    return task;
}

/* The task woken last, unless that has had its share of turns: then it
 * goes to the end of the queue. */
static struct task *take_next(struct carrier *c)
{
    if (!atomic_load_explicit(&c->next, memory_order_relaxed)) {
        c->next_runs = 0;
        return NULL;
    }
    /* An exchange, for a thief may be at it too; full fence. */
    struct task *task = atomic_exchange_explicit(&c->next, NULL,
                                                 memory_order_seq_cst);
    if (task && c->next_runs++ >= NEXT_RUNS_MAX) {
        c->next_runs = 0;
        carrier_requeue(c, task);
        return NULL;
    }
    return task;
}

/* Every 32nd task: what others must not wait for too long. */
static struct task *look_around(struct carrier *c, uint32_t tick)
{
    uint64_t now = clock_now_ns();
    c->looks++;
    measure_stretch(c, now, tick);
    poll_at_times(c, now);
    if (!deque_is_empty(&c->forked))
        see_to_forked(c, now);
    return take_submissions(c, &c->pool->submissions);
}

/* Tasks that others have handed to this carrier: those that a thief may
 * take go to the end of the queue, a bound one may be next. */
static struct task *take_handed(struct carrier *c, uint32_t tick)
{
    c->looks++;
    queue_all(c, submission_take_all(&c->handed));
    empty_inbox(c);
    return tick % 2 == 0 || deque_is_empty(&c->queue) ? take_bound(c) : NULL;
}

static inline struct task *find_here(struct carrier *c)
{
    struct task *task;
    uint32_t tick = atomic_load_explicit(&c->tick, memory_order_relaxed);
    if (unlikely(tick % LOOK_TICKS == 0)
        && (task = look_around(c, tick)) != NULL)
        return task;
    if (unlikely(carrier_has_handed(c))
        && (task = take_handed(c, tick)) != NULL)
        return task;
    if ((task = take_next(c)) != NULL)
        return task;
    return deque_pop(&c->queue);
}

/* ---- Searching ---------------------------------------------------------- */

static uint64_t next_random(struct carrier *c)
{
    /* xorshift64: good enough to spread thieves. */
    uint64_t x = c->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return c->random = x;
}

static void begin_search(struct carrier *c)
{
    if (c->is_searching)
        return;
    c->is_searching = true;
    atomic_fetch_add_explicit(&c->pool->searching, 1, memory_order_seq_cst);
}

bool carrier_end_search(struct carrier *c)
{
    c->is_searching = false;
    return atomic_fetch_sub_explicit(&c->pool->searching, 1,
                                     memory_order_seq_cst)
           == 1;
}

/* The task that another carrier has just woken, if that carrier is busy
 * with something else: it has not begun a task since seen_tick. */
static struct task *steal_next(struct carrier *victim, uint32_t seen_tick)
{
    if (atomic_load_explicit(&victim->tick, memory_order_relaxed)
            != seen_tick
        || !atomic_load_explicit(&victim->next, memory_order_relaxed))
        return NULL;
    /* Acquires the task; pairs with pool_submit_next. */
    return atomic_exchange_explicit(&victim->next, NULL,
                                    memory_order_acq_rel);
}

static struct task *steal_from(struct carrier *c, struct carrier *victim)
{
    unsigned stolen = 0;
    struct task *task = deque_steal(&victim->queue, &c->queue, &stolen);
    carrier_count(&c->steals, stolen);
    if (!task && (task = deque_steal_one(&victim->forked)) != NULL) {
        stolen = 1;
        carrier_count(&c->steals, stolen);
    }
    if (task) {
        PROBE3(steal, c->number, victim->number, stolen);
        c->pool->client.stolen(victim, stolen);
    }
    return task ? task : take_submissions(c, &victim->handed);
}

static struct task *search_once(struct carrier *c)
{
    struct task *task = take_submissions(c, &c->pool->submissions);
    uint32_t n = atomic_load_explicit(&c->pool->count, memory_order_acquire);
    uint32_t start = (uint32_t)(next_random(c) % n);
    for (uint32_t i = 0; i < n && !task; i++) {
        struct carrier *victim = pool_carrier(c->pool, (start + i) % n);
        if (victim != c)
            task = steal_from(c, victim);
    }
    return task;
}

static struct task *search_slots(struct carrier *c, const uint32_t *ticks,
                                 uint32_t n)
{
    struct task *task = NULL;
    for (uint32_t i = 0; i < n && !task; i++) {
        struct carrier *victim = pool_carrier(c->pool, i);
        if (victim != c)
            task = steal_next(victim, ticks[i]);
    }
    return task;
}

static struct task *search(struct carrier *c)
{
    uint32_t ticks[POOL_MAX_CARRIERS];
    uint32_t n = atomic_load_explicit(&c->pool->count, memory_order_acquire);
    for (uint32_t i = 0; i < n; i++)
        ticks[i] = atomic_load_explicit(&pool_carrier(c->pool, i)->tick,
                                        memory_order_relaxed);
    struct task *task = NULL;
    for (int round = 0; round < SEARCH_ROUNDS && !task; round++) {
        task = search_once(c);
        for (int i = 0; i < 16 && !task; i++)
            cpu_relax();
    }
    return task ? task : search_slots(c, ticks, n);
}

/* ---- Others that do not come back ---------------------------------------- */

/* A carrier that is at one task for long, or blocked, leaves others in its
 * queues, and with all places taken nobody searches there.  So one that is
 * busy looks at some of the others, each time that it polls; what waits with
 * one that has not begun a task since it looked there last it takes.  A
 * carrier whose queues are empty is passed over. */
static void see_to_others(struct carrier *c)
{
    uint32_t n = atomic_load_explicit(&c->pool->count, memory_order_acquire);
    struct carrier *victim = pool_carrier(c->pool, c->watched % n);
    if (victim != c && carrier_tick(victim) == c->watched_tick) {
        struct task *task = steal_from(c, victim);
        if (task || (task = steal_next(victim, c->watched_tick)) != NULL)
            carrier_requeue(c, task);
    }
    for (int i = 0; i < OTHERS_AT_ONCE; i++) {
        victim = pool_carrier(c->pool, ++c->watched % n);
        if (carrier_backlog(victim) > 0
            || !submission_is_empty(&victim->handed)
            || atomic_load_explicit(&victim->next, memory_order_relaxed))
            break;
    }
    c->watched_tick = carrier_tick(victim);
}

/* ---- The day ------------------------------------------------------------ */

/* One that came back from blocking finds its place taken: others run its
 * tasks, and it sleeps. */
static bool is_surplus(struct carrier *c)
{
    struct pool *pool = c->pool;
    return unlikely(atomic_load_explicit(&pool->awake, memory_order_relaxed)
                    > pool->parallelism);
}

static void hand_over(struct carrier *c)
{
    struct task *task;
    while ((task = deque_pop(&c->queue)) != NULL
           || (task = deque_pop(&c->forked)) != NULL)
        submission_push(&c->pool->submissions, task);
}

static struct task *find_elsewhere(struct carrier *c)
{
    begin_search(c);
    struct task *task = search(c);
    if (task && carrier_end_search(c)) {
        /* The last searcher has found something: there may be more. */
        fence_after_rmw();
        pool_wake_if_needed(c->pool);
    }
    return task;
}

/* Looks everywhere, and sleeps when there is nothing. */
static struct task *find_or_sleep(struct carrier *c)
{
    struct pool *pool = c->pool;
    c->looks++;
    while (!atomic_load_explicit(&pool->is_stopping, memory_order_relaxed)) {
        struct task *task = find_here(c);
        if (task || (task = take_forked(c)) != NULL)
            return task;
        if (!is_surplus(c) && (task = find_elsewhere(c)) != NULL)
            return task;
        carrier_sleep(c);
        if (unlikely(c->is_retired))
            return NULL;
        if (is_surplus(c))
            hand_over(c);
    }
    return NULL;
}

struct task *carrier_next(struct carrier *c)
{
    if (is_surplus(c))
        hand_over(c);
    struct task *task = find_here(c);
    if (unlikely(!task) && (task = take_forked(c)) == NULL) {
        task = find_or_sleep(c);
        begin_stretch(c);
    }
    if (unlikely(c->is_searching) && carrier_end_search(c)) {
        c->looks++;
        /* As in find_elsewhere: others relied on this searcher. */
        fence_after_rmw();
        if (pool_has_work(c->pool))
            pool_wake_if_needed(c->pool);
    }
    pool_wake_for(c);
    /* Relaxed: thieves only compare it with what it was. */
    atomic_store_explicit(
        &c->tick, atomic_load_explicit(&c->tick, memory_order_relaxed) + 1,
        memory_order_relaxed);
    return task;
}

struct task *carrier_peek(struct carrier *c, unsigned distance)
{
    return deque_peek(&c->queue, distance);
}

void carrier_main(void *carrier)
{
    struct carrier *c = carrier;
    /* Not before it is published. */
    os_lock_acquire(&c->pool->lock);
    os_lock_release(&c->pool->lock);
    current_carrier = c;
    clock_note(clock_now_ns());
    c->pool->client.carrier_enter(c);
    spare_watch(c, true);
    c->pool->client.work(c);
    spare_watch(c, false);
    /* What destructors hand in has to go where somebody looks. */
    current_carrier = NULL;
    c->pool->client.carrier_leave(c);
    spare_rest(c);
}
