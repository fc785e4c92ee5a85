/*
 * call.c - carriers that wait in the kernel: a pinned thread's wait, and
 * foreign calls that block, made in place.
 *
 * Such a carrier leaves the count `awake`, and another one does its work.
 * Its queues stay where they are, and thieves take from them; the slot of
 * the task woken last is emptied, for that is taken from a carrier that runs
 * only.  What the thread wakes or creates inside a call goes to the
 * submission queue (submits_to is NULL meanwhile), so nothing is put where
 * nobody looks until the call ends.
 *
 * A call that is known to block is handed off by the carrier itself.  Most
 * do not block, and are only marked; the monitor retakes the work of a
 * carrier whose call lasts.  The word `call` of a carrier:
 *
 *   n, OUT       in no call, n have been begun
 *   n, IN        in the n-th, counted as awake
 *   n, HANDED    in the n-th, not counted: others do its work
 *
 *   from     to             who          when
 *   -------  -------------  -----------  --------------------------------
 *   n OUT    n+1 IN         the carrier  enter
 *   n OUT    n+1 HANDED     the carrier  block; then awake--
 *   n IN     n HANDED       the monitor  it has seen n IN at its last look
 *                                        too, and work waits; or for 10 ms:
 *                                        it is not awake. Then awake--
 *   n IN     n OUT          the carrier  leave
 *   n HANDED n OUT          the carrier  leave; awake++ before
 *   n IN     n OUT          the carrier  the thread waits inside, pinned;
 *                                        then awake--
 *   n HANDED n OUT          the carrier  likewise, it is not counted
 *   n OUT    n+1 IN/HANDED  the carrier  that wait is over: as before it
 *
 * Leaving is a compare-and-swap for the monitor's sake: one of the two
 * changes the word, and the carrier knows whether it is still counted.
 *
 *     the monitor                      the carrier
 *     1. n IN -> n HANDED              1. n IN -> n OUT: fails
 *     2. awake--, a slot taken         2. awake++
 *     3. full fence                    3. n HANDED -> n OUT
 *     4. work, and awake < parallelism? 4. goes on
 *        wake one
 *
 * Should the carrier be at 3 before the monitor is at 2, awake is one too
 * many for that instant, and so may be the free slots.  Who adds work then
 * and wakes nobody for that reason is made good by the monitor's step 4.
 * With awake-- first it could be one too few for ever, when 1 fails.
 *
 * Slots.  No more than max_carriers - parallelism carriers may have handed
 * off a call, so that parallelism of them are left to run what the calls may
 * be waiting for.  Some slots are kept for the monitor: as many as there can
 * be calls that are only marked (they do not begin when awake >
 * parallelism), or half of all, so it never finds a carrier in a call and no
 * slot for it while others must run.  Who waits for a slot, and how, is the
 * client's affair.
 *
 * After a call the thread goes on at once, whether its carrier's place is
 * taken or not: a thread that makes call after call would sleep and wake its
 * OS thread each time.  At its next wait the carrier finds itself surplus
 * (carrier.c).
 */
#include "carrier/carrier.h"

#include <errno.h>

#define LONG_NS 10000000

enum {
    OUT = 0,
    IN = CALL_IN,
    HANDED = CALL_HANDED,
    STATE = CALL_STATE,
    ONE_CALL = 4
};

/* Relaxed: its own; what the monitor makes of it, it makes once. */
static uint64_t word_of(const struct carrier *c)
{
    return atomic_load_explicit(&c->call, memory_order_relaxed);
}

static void set_state(struct carrier *c, uint64_t state)
{
    /* Release: what the carrier did before is seen by who sees the state;
     * pairs with pool_is_quiet, and with call_look. */
    atomic_store_explicit(&c->call, (word_of(c) & ~(uint64_t)STATE) | state,
                          memory_order_release);
}

/* The same for a call that begins, or begins again. */
static void begin(struct carrier *c, uint64_t state)
{
    atomic_store_explicit(
        &c->call, (word_of(c) & ~(uint64_t)STATE) + ONE_CALL + state,
        memory_order_release);
}

/* ---- Slots -------------------------------------------------------------- */

void call_init_slots(struct pool *pool)
{
    int32_t all = (int32_t)(pool->max_carriers - pool->parallelism);
    int32_t kept = (int32_t)pool->parallelism;
    pool->slots_kept = kept < all / 2 ? kept : all / 2;
    atomic_store_explicit(&pool->slots, all - pool->slots_kept,
                          memory_order_relaxed);
}

bool pool_has_slots(const struct pool *pool)
{
    return pool->max_carriers > pool->parallelism;
}

bool pool_take_slot(struct pool *pool)
{
    /* seq_cst: its failure comes after what the caller has announced; pairs
     * with pool_give_slot. */
    int32_t slots = atomic_load_explicit(&pool->slots, memory_order_seq_cst);
    while (slots > 0)
        if (atomic_compare_exchange_weak_explicit(
                &pool->slots, &slots, slots - 1, memory_order_seq_cst,
                memory_order_seq_cst))
            return true;
    return false;
}

void pool_give_slot(struct pool *pool)
{
    /* seq_cst: before the look at those who wait; pairs with
     * pool_take_slot. */
    atomic_fetch_add_explicit(&pool->slots, 1, memory_order_seq_cst);
    fence_after_rmw();
}

/* ---- Leaving the count, and coming back --------------------------------- */

/* After awake-- and a full fence: somebody must do the work, and also keep
 * time and poll while this carrier cannot. */
static void wake_successor(struct pool *pool)
{
    if (atomic_load_explicit(&pool->awake, memory_order_relaxed)
        >= pool->parallelism)
        return;
    if (pool_has_work(pool) || !carrier_has_poller()
        || !atomic_load_explicit(&pool->timekeeper, memory_order_relaxed))
        pool_wake_if_needed(pool);
}

static struct task *take_next_of(struct carrier *c)
{
    /* Acquires the task; pairs with pool_submit_next. */
    return atomic_load_explicit(&c->next, memory_order_relaxed)
               ? atomic_exchange_explicit(&c->next, NULL,
                                          memory_order_acq_rel)
               : NULL;
}

static void leave_count(struct carrier *c)
{
    struct task *next = take_next_of(c);
    if (next)
        carrier_requeue(c, next);
    atomic_fetch_sub_explicit(&c->pool->awake, 1, memory_order_seq_cst);
    fence_after_rmw();
    wake_successor(c->pool);
}

/* The monitor must not take the time for the task's, and who asks whether
 * all are quiet must see that somebody was not.  Release: after the carrier
 * counts as awake, or as being in a call; pairs with pool_is_quiet. */
static void count_return(struct carrier *c)
{
    atomic_store_explicit(&c->tick, carrier_tick(c) + 1,
                          memory_order_release);
}

static void join_count(struct carrier *c)
{
    struct pool *pool = c->pool;
    atomic_fetch_add_explicit(&pool->awake, 1, memory_order_seq_cst);
    count_return(c);
    monitor_wake_if_asleep(pool);
}

/* ---- Foreign calls ------------------------------------------------------ */

static void enter(struct carrier *c, uint64_t state)
{
    c->calls = 1;
    c->submits_to = NULL;
    begin(c, state);
}

bool carrier_call_enter(struct carrier *c)
{
    struct pool *pool = c->pool;
    /* Relaxed: a guess is good enough, see "Slots" above.  Where none can be
     * kept for the monitor, slots_kept is 0. */
    if (unlikely(c->calls > 0 || pool->slots_kept == 0
                 || atomic_load_explicit(&pool->slots, memory_order_relaxed)
                        <= 0
                 || atomic_load_explicit(&pool->awake, memory_order_relaxed)
                        > pool->parallelism))
        return false;
    enter(c, IN);
    return true;
}

void carrier_call_block(struct carrier *c)
{
    carrier_count(&c->blockings, 1);
    carrier_count(&c->handed_off, 1);
    /* First the state, then awake--: see pool_is_quiet. */
    enter(c, HANDED);
    leave_count(c);
}

void carrier_call_stay(struct carrier *c)
{
    if (c->calls > 0)
        c->calls++;
    else
        enter(c, IN);
}

unsigned carrier_calls(const struct carrier *c)
{
    return c->calls;
}

/* Keeps errno. */
__attribute__((noinline)) static void take_place_back(struct carrier *c)
{
    int saved = errno;
    join_count(c);
    set_state(c, OUT);
    errno = saved;
}

bool carrier_call_leave(struct carrier *c)
{
    uint64_t word = word_of(c);
    if (unlikely(--c->calls > 0))
        return false;
    c->submits_to = c->pool;
    /* Acquire and release for form's sake; what has to be known is who was
     * first.  Pairs with retake. */
    if (likely((word & STATE) == IN
               && atomic_compare_exchange_strong_explicit(
                   &c->call, &word, word - IN, memory_order_acq_rel,
                   memory_order_acquire)))
        return false;
    take_place_back(c);
    return true;
}

/* ---- What the monitor does about them ----------------------------------- */

/* Work that only this carrier would do. */
static bool has_work_behind(const struct carrier *c)
{
    return !deque_is_empty(&c->queue) || !deque_is_empty(&c->forked)
           || !submission_is_empty(&c->handed)
           || atomic_load_explicit(&c->next, memory_order_relaxed);
}

/* Something that any carrier would do, and none is free for. */
static bool is_any_missed(struct pool *pool)
{
    return !submission_is_empty(&pool->submissions) || !carrier_has_poller()
           || !atomic_load_explicit(&pool->timekeeper, memory_order_relaxed);
}

/* Only the monitor takes of the slots that are kept for it, so what it has
 * found is still there when it takes it. */
static bool has_slot(struct pool *pool)
{
    return atomic_load_explicit(&pool->slots, memory_order_relaxed)
           > -pool->slots_kept;
}

/* False: the call has just ended. */
static bool retake(struct carrier *c, uint64_t word)
{
    struct pool *pool = c->pool;
    /* Release: before awake--, see pool_is_quiet.  Pairs with
     * carrier_call_leave. */
    if (!atomic_compare_exchange_strong_explicit(
            &c->call, &word, word - IN + HANDED, memory_order_acq_rel,
            memory_order_relaxed))
        return false;
    atomic_fetch_sub_explicit(&pool->slots, 1, memory_order_seq_cst);
    struct task *next = take_next_of(c);
    if (next)
        submission_push(&pool->submissions, next);
    /* Relaxed: a statistic. */
    atomic_fetch_add_explicit(&pool->retaken, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&pool->awake, 1, memory_order_seq_cst);
    fence_after_rmw();
    wake_successor(pool);
    return true;
}

/* Others cannot go on without this carrier's place. */
static bool is_in_the_way(struct carrier *c)
{
    struct pool *pool = c->pool;
    return atomic_load_explicit(&pool->awake, memory_order_relaxed)
               >= pool->parallelism
           && (has_work_behind(c) || is_any_missed(pool));
}

enum call_seen call_look(struct carrier *c, struct call_memory *last,
                         uint64_t now_ns)
{
    /* Acquire: its queues are those of this call or a later one; pairs with
     * begin. */
    uint64_t word = atomic_load_explicit(&c->call, memory_order_acquire);
    bool is_old = word == last->word;
    if (!is_old)
        *last = (struct call_memory){.word = word, .since_ns = now_ns};
    if ((word & STATE) != IN)
        return CALL_NONE;
    bool in_the_way = is_in_the_way(c);
    if (is_old && (in_the_way || now_ns - last->since_ns >= LONG_NS))
        return has_slot(c->pool) && retake(c, word) ? CALL_RETAKEN
                                                    : CALL_NONE;
    return in_the_way ? CALL_YOUNG : CALL_NONE;
}

/* A foreign call, and not a wait of its thread inside, keeps it. */
bool call_is_handed(const struct carrier *c)
{
    /* Acquire: pairs with set_state and begin. */
    return (atomic_load_explicit(&c->call, memory_order_acquire) & STATE)
           == HANDED;
}

/* ---- Waits of a pinned thread ------------------------------------------- */

/* In a call its thread waits: that is not the call's doing any more, and
 * ends when another thread says so.  True if the carrier is still counted. */
static bool suspend(struct carrier *c)
{
    uint64_t word = word_of(c);
    /* As in carrier_call_leave. */
    bool is_counted = (word & STATE) == IN
                      && atomic_compare_exchange_strong_explicit(
                          &c->call, &word, word - IN, memory_order_acq_rel,
                          memory_order_acquire);
    if (!is_counted)
        set_state(c, OUT);
    return is_counted;
}

void carrier_block_begin(struct carrier *c)
{
    if (c->blocks++ > 0)
        return;
    c->resumes_handed = c->calls > 0 && !suspend(c);
    if (c->resumes_handed)
        return;
    carrier_count(&c->blockings, 1);
    leave_count(c);
}

void carrier_block_end(struct carrier *c)
{
    if (--c->blocks > 0)
        return;
    if (c->resumes_handed) {
        begin(c, HANDED);
        count_return(c);
        return;
    }
    join_count(c);
    if (c->calls > 0)
        begin(c, IN);
}
