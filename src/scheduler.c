/*
 * scheduler.c - schedulers: a pool of carriers, with a station at each.
 *
 * Schedulers have numbers, so a thread names its own in one byte.  A number
 * is used again only after the scheduler has ended in order, and with it the
 * object: a vthread_create that loses the race against the shutdown of the
 * default scheduler finds it closing, not gone; what such a call has just
 * added to created_outside, and will take back, is not lost.
 *
 * What the pool asks of a scheduler is in station.c.
 *
 * How many threads live is known as a sum of counters that each have one
 * writer; nobody needs it but statistics and shutdown, which looks again
 * and again with growing pauses.
 */
#include "scheduler.h"

#include <errno.h>

#include <vthread.h>

#include "embed/safepoint.h"
#include "inspect/control.h"
#include "inspect/deadlock.h"
#include "inspect/describe.h"
#include "inspect/pin.h"
#include "inspect/trace.h"
#include "local.h"
#include "platform/clock.h"
#include "platform/fault.h"
#include "platform/futex.h"
#include "platform/memory.h"
#include "platform/os_thread.h"
#include "platform/panic.h"
#include "platform/poller.h"
#include "running.h"
#include "settings.h"
#include "thread.h"

static struct os_lock lock;
struct vthread_scheduler *_Atomic scheduler_table[SCHEDULERS_MAX + 1];
static struct vthread_scheduler *memory_of[SCHEDULERS_MAX + 1]; /* L */
static struct vthread_scheduler *_Atomic default_scheduler;
static _Atomic bool is_started; /* the engine */

struct vthread_scheduler *scheduler_at(uint8_t number)
{
    /* Relaxed: who asks has a thread of it, so it was published to it. */
    return atomic_load_explicit(&scheduler_table[number], memory_order_relaxed);
}

/* ---- Counting ----------------------------------------------------------- */

bool scheduler_thread_comes(struct vthread_scheduler *s,
                            struct station *station)
{
    if (station)
        station_count(&station->created);
    else
        /* seq_cst: before the look at is_closing; pairs with shutdown,
         * which sets it before it adds up. */
        atomic_fetch_add_explicit(&s->created_outside, 1,
                                  memory_order_seq_cst);
    /* Threads of a closing scheduler may still create others: their work
     * is under way. */
    if (station
        || !atomic_load_explicit(&s->is_closing, memory_order_seq_cst))
        return true;
    atomic_fetch_sub_explicit(&s->created_outside, 1, memory_order_seq_cst);
    return false;
}

void scheduler_thread_ends(struct station *station)
{
    station_count(&station->ended);
}

int vthread_scheduler_stats(vthread_scheduler_t *s,
                            vthread_scheduler_stats_t *stats)
{
    if (!s || !stats)
        return EINVAL;
    thread_refuse_child();
    struct pool_stats pool;
    pool_get_stats(s->pool, &pool);
    *stats = (vthread_scheduler_stats_t){
        .steals = pool.steals,
        .submissions = pool.submissions,
        .sleeps = pool.sleeps,
        .calls_handed_off = pool.handed_off,
        .calls_retaken = pool.retaken,
        .slot_waits = atomic_load_explicit(&s->slot_waits,
                                           memory_order_relaxed),
        .carriers_started = pool.started,
        .carriers_ended = pool.ended,
        .carriers = pool.carriers,
        .carriers_active = pool.carriers_active,
    };
    /* All that ended before any that was created: a thread is counted as
     * created before its creator can end, so if the sums are equal there
     * was an instant without threads. */
    struct station *station;
    unsigned count = pool_carrier_count(s->pool);
    uint64_t ended = 0;
    for (unsigned i = 0; i < count; i++)
        if ((station = scheduler_station(s, i)) != NULL)
            ended += station_read(&station->ended);
    count = pool_carrier_count(s->pool);
    os_lock_acquire(&s->counts_lock);
    for (unsigned i = 0; i < count; i++)
        if ((station = scheduler_station(s, i)) != NULL)
            station_add(station, stats);
    os_lock_release(&s->counts_lock);
    stats->created += station_read(&s->created_outside);
    stats->threads = stats->created - ended;
    return 0;
}

/* ---- Beginning ---------------------------------------------------------- */

/* Common homes for all carriers of the process. */
static unsigned homes_wanted(unsigned parallelism)
{
    static unsigned carriers;
    carriers += parallelism;
    return carriers * settings_get()->common_homes;
}

/* The pool's tasks and a home's waiters are the same thing: threads. */
static void resubmit_waiters(struct stack_waiter *waiter)
{
    while (waiter) {
        struct stack_waiter *next = waiter->next;
        thread_resubmit((struct thread *)waiter);
        waiter = next;
    }
}

static int start_engine(unsigned parallelism)
{
    if (is_started)
        return run_stack_grow_common(homes_wanted(parallelism));
    const struct settings *settings = settings_get();
    running_migrates = settings->migrate_always;
    continuation_freeze_mode = settings->freeze;
    continuation_home_released = resubmit_waiters;
    int err = continuation_init(settings->own_limit,
                                homes_wanted(parallelism));
    if (err == ENOTSUP)
        report("this processor keeps shadow stacks for the process (CET): "
               "stacks cannot be copied; build without -fcf-protection, or "
               "run with GLIBC_TUNABLES=glibc.cpu.hwcaps=-SHSTK");
    if (err == 0)
        err = poller_open();
    if (err == 0) {
        fault_install(describe_fault);
        panic_describe_self = describe_self;
        pin_start();
        trace_start_as_set();
        atomic_store_explicit(&is_started, true, memory_order_release);
        control_start_as_asked();
    }
    return err;
}

static void get_limits(const vthread_scheduler_attr_t *attr,
                       struct pool_attr *limits)
{
    const struct settings *settings = settings_get();
    limits->parallelism = attr->parallelism   ? attr->parallelism
                          : settings->parallelism ? settings->parallelism
                                                  : os_thread_processors();
    limits->max_carriers = attr->max_carriers ? attr->max_carriers
                                              : settings->max_carriers;
    if (limits->parallelism > limits->max_carriers)
        limits->parallelism = limits->max_carriers;
}

static struct vthread_scheduler *new_memory(void)
{
    struct vthread_scheduler *s = memory_reserve(sizeof *s);
    if (s && memory_commit(s, sizeof *s) != 0) {
        memory_release(s, sizeof *s);
        s = NULL;
    }
    return s;
}

/* A number and memory; under the lock. */
static struct vthread_scheduler *new_scheduler(void)
{
    unsigned number = 1;
    while (number <= SCHEDULERS_MAX && scheduler_table[number])
        number++;
    if (number > SCHEDULERS_MAX)
        return NULL;
    struct vthread_scheduler *s = memory_of[number];
    if (!s && (s = new_memory()) == NULL)
        return NULL;
    memory_of[number] = s;
    s->number = (uint8_t)number;
    return s;
}

/* Its carriers have ended; under the lock. */
static void retire(struct vthread_scheduler *s)
{
    for (unsigned i = 0; i < POOL_MAX_CARRIERS; i++)
        if (scheduler_station(s, i))
            station_close(s, &s->stations[i]);
    scheduler_table[s->number] = NULL;
}

static int create(struct vthread_scheduler **result,
                  const vthread_scheduler_attr_t *attr)
{
    struct pool_attr limits = {
        .name = attr->name ? attr->name : "vthread",
        .stuck_ns = safepoint_stuck_ns(
            hog_stuck_ns(settings_get()->hog_ms * VTHREAD_MS)),
        .idle_ns = settings_get()->idle_ms * VTHREAD_MS,
        .client = &station_client,
    };
    get_limits(attr, &limits);
    int err = start_engine(limits.parallelism);
    if (err != 0)
        return err;
    struct vthread_scheduler *s = new_scheduler();
    if (!s)
        return ENOMEM;
    limits.owner = s;
    scheduler_table[s->number] = s;
    s->slot_waits = 0;
    err = pool_create(&s->pool, &limits);
    if (err == 0 && settings_get()->migrate_always)
        (void)pool_start_all(s->pool);
    if (err == 0) {
        s->has_pool = true;
        atomic_store_explicit(&s->is_closing, false, memory_order_release);
        *result = s;
    } else {
        retire(s);
    }
    return err;
}

static bool is_valid(const vthread_scheduler_attr_t *attr)
{
    return attr->parallelism <= POOL_MAX_CARRIERS
           && attr->max_carriers <= POOL_MAX_CARRIERS
           && attr->reserved[0] == 0 && attr->reserved[1] == 0
           && attr->reserved[2] == 0 && attr->reserved[3] == 0;
}

int vthread_scheduler_create(vthread_scheduler_t **scheduler,
                             const vthread_scheduler_attr_t *attr)
{
    static const vthread_scheduler_attr_t defaults;
    if (!attr)
        attr = &defaults;
    if (!scheduler || !is_valid(attr))
        return EINVAL;
    if (!thread_self())
        return ENOMEM;
    os_lock_acquire(&lock);
    int err = create(scheduler, attr);
    os_lock_release(&lock);
    return err;
}

bool scheduler_has_engine(void)
{
    /* Pairs with the release in start_engine. */
    return atomic_load_explicit(&is_started, memory_order_acquire);
}

int scheduler_start_engine(void)
{
    thread_refuse_child();
    /* Pairs with the release in start_engine. */
    if (likely(atomic_load_explicit(&is_started, memory_order_acquire)))
        return 0;
    if (!thread_self())
        return ENOMEM;
    os_lock_acquire(&lock);
    int err = start_engine(1);
    os_lock_release(&lock);
    return err;
}

int scheduler_ensure_default(void)
{
    /* Pairs with the release below. */
    if (atomic_load_explicit(&default_scheduler, memory_order_acquire))
        return 0;
    if (!thread_self())
        return ENOMEM;
    static const vthread_scheduler_attr_t defaults;
    struct vthread_scheduler *s;
    int err = 0;
    os_lock_acquire(&lock);
    if (!default_scheduler && (err = create(&s, &defaults)) == 0)
        atomic_store_explicit(&default_scheduler, s, memory_order_release);
    os_lock_release(&lock);
    return err;
}

vthread_scheduler_t *vthread_scheduler_default(void)
{
    return scheduler_ensure_default() == 0 ? default_scheduler : NULL;
}

/* ---- Ending ------------------------------------------------------------- */

static int wait_until_empty(struct vthread_scheduler *s, uint64_t deadline_ns)
{
    uint64_t pause_ns = 20 * VTHREAD_US;
    for (;;) {
        vthread_scheduler_stats_t stats;
        vthread_scheduler_stats(s, &stats);
        if (stats.threads == 0)
            return 0;
        if (clock_now_ns() >= deadline_ns)
            return ETIMEDOUT;
        int err = vthread_sleep(pause_ns);
        if (err != 0)
            return err;
        if (pause_ns < 5 * VTHREAD_MS)
            pause_ns *= 2;
    }
}

/* One of the carriers that have ended may have been the one that sleeps in
 * the poller: those of other schedulers look whether the role is vacant. */
static void nudge_others(void)
{
    for (unsigned i = 1; i <= SCHEDULERS_MAX; i++)
        if (scheduler_table[i] && scheduler_table[i]->has_pool)
            pool_nudge(scheduler_table[i]->pool);
}

/* ---- All of them, at rest ----------------------------------------------- */

static bool are_all_there(void)
{
    for (unsigned i = 1; i <= SCHEDULERS_MAX; i++)
        if (scheduler_table[i] && !scheduler_table[i]->has_pool)
            return false;
    return true;
}

bool scheduler_try_hold_all(void)
{
    if (!os_lock_try(&lock))
        return false;
    if (are_all_there())
        return true;
    os_lock_release(&lock);
    return false;
}

void scheduler_release_all(void)
{
    os_lock_release(&lock);
}

bool scheduler_are_all_quiet(uint64_t *runs, unsigned *os_threads)
{
    *runs = *os_threads = 0;
    for (unsigned i = 1; i <= SCHEDULERS_MAX; i++) {
        uint64_t runs_here;
        struct vthread_scheduler *s = scheduler_table[i];
        if (!s)
            continue;
        if (!pool_is_quiet(s->pool, &runs_here))
            return false;
        *runs += runs_here;
        *os_threads += pool_os_threads(s->pool) + 1;
    }
    /* Relaxed: under the lock it does not go. */
    return atomic_load_explicit(&default_scheduler, memory_order_relaxed);
}

void scheduler_wake_monitor(void)
{
    os_lock_acquire(&lock);
    struct vthread_scheduler *s = default_scheduler;
    if (s && s->has_pool)
        pool_wake_monitor(s->pool);
    os_lock_release(&lock);
}

static void destroy(struct vthread_scheduler *s)
{
    struct vthread_scheduler *self = s;
    atomic_compare_exchange_strong(&default_scheduler, &self, NULL);
    os_lock_acquire(&lock);
    s->has_pool = false;
    os_lock_release(&lock);
    pool_destroy(s->pool);
    os_lock_acquire(&lock);
    retire(s);
    nudge_others();
    os_lock_release(&lock);
}

/* Its pauses have deadlines, but if the threads of the scheduler wait for ever
 * so does the caller: see deadlock.c. */
static void begin_closing(struct vthread_scheduler *s, uint64_t deadline_ns)
{
    if (deadline_ns != VTHREAD_NEVER)
        return;
    atomic_store_explicit(&s->closer, thread_self(), memory_order_release);
    deadlock_look_again();
}

static void end_closing(struct vthread_scheduler *s)
{
    deadlock_note();
    atomic_store_explicit(&s->closer, NULL, memory_order_release);
}

int vthread_scheduler_shutdown(vthread_scheduler_t *s, uint64_t deadline_ns)
{
    if (!s)
        return EINVAL;
    if (local_self()->scheduler == s)
        return EDEADLK;
    /* seq_cst: before the counters are read; pairs with
     * scheduler_thread_comes. */
    if (atomic_exchange_explicit(&s->is_closing, true, memory_order_seq_cst))
        return EBUSY;
    begin_closing(s, deadline_ns);
    int err = wait_until_empty(s, deadline_ns);
    end_closing(s);
    if (err == 0)
        destroy(s);
    else
        atomic_store_explicit(&s->is_closing, false, memory_order_release);
    return err;
}
