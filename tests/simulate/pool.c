/*
 * pool.c - the simulated pool: carrier/pool.h without OS threads.
 *
 * A task is given to the first carrier that has nothing to do, as soon as it
 * is handed in; when all have something it waits in a queue.  With as many
 * carriers as threads each thread that can run has a carrier that can run
 * it, so the choice among carriers is the choice among threads, and no two
 * schedules differ only in which carrier runs what.
 *
 * The timekeeper is here as well: when it is chosen the time of the next
 * timer has come, and it expires what is due as a carrier would.
 *
 * Not here: queues that are stolen from, sleeping and waking carriers: they
 * have their own tests and models.
 */
#include "tests/simulate/machine.h"

#include <stdlib.h>

#include "continuation/run_stack.h"
#include "platform/panic.h"
#include "scheduler.h"
#include "thread.h"

/* More than a carrier lets the timers of another one wait. */
#define LATE_NS 200000

struct carrier {
    struct pool *pool;
    unsigned number;
    struct context *context;
    bool is_idle;
    struct task *first, *last; /* given to it, oldest first */
    struct order order;        /* who gave them */
};

struct pool {
    struct pool_client client;
    void *owner;
    struct carrier carriers[MACHINE_CARRIERS];
    unsigned limit;
    struct task *first, *last; /* given to nobody yet, oldest first */
    struct order order;
};

struct pool *pool_simulated;

/* ---- Carriers and time -------------------------------------------------- */

static void carrier_main(void)
{
    struct carrier *c = machine_current->carrier;
    c->pool->client.carrier_enter(c);
    /* What an OS thread keeps to itself would be kept by all: they share
     * what they take from under the locks. */
    thread_table_leave();
    run_stack_thread_leave();
    c->pool->client.work(c);
    machine_fail("a carrier has stopped");
}

/* As the client tells it, but this is asked for at each point. */
uint64_t pool_next_deadline(void)
{
    uint64_t earliest = CLOCK_NEVER;
    if (!pool_simulated)
        return earliest;
    struct vthread_scheduler *s = pool_simulated->owner;
    for (unsigned i = 0; i < pool_simulated->limit; i++) {
        uint64_t next_ns = wheel_next_ns(&s->stations[i].wheel);
        if (s->stations[i].wheel.count > 0 && next_ns < earliest)
            earliest = next_ns;
    }
    return earliest;
}

static void timekeeper_main(void)
{
    for (;;) {
        machine_block("a timer", MACHINE_NEXT_TIMER);
        uint64_t next_ns = pool_next_deadline();
        if (machine_now_ns < next_ns + LATE_NS)
            machine_now_ns = next_ns + LATE_NS;
        pool_simulated->client.poll(&pool_simulated->carriers[0], 0);
    }
}

int pool_create(struct pool **result, const struct pool_attr *attr)
{
    struct pool *pool = calloc(1, sizeof *pool);
    if (!pool || pool_simulated)
        machine_fail("one scheduler is simulated, no more");
    pool->client = *attr->client;
    pool->owner = attr->owner;
    pool->limit = MACHINE_CARRIERS;
    *result = pool_simulated = pool;
    machine_quiet++;
    for (unsigned i = 0; i < MACHINE_CARRIERS; i++) {
        struct carrier *c = &pool->carriers[i];
        c->pool = pool;
        c->number = i;
        c->context = machine_start(i, (char)('a' + i), carrier_main);
        c->context->carrier = c;
        machine_run();
    }
    machine_start(MACHINE_TIMEKEEPER, 't', timekeeper_main);
    machine_run();
    machine_quiet--;
    return 0;
}

void pool_limit(unsigned carriers)
{
    pool_simulated->limit = carriers;
}

/* ---- Tasks -------------------------------------------------------------- */

static void append(struct task **first, struct task **last,
                   struct task *task)
{
    task->next = NULL;
    if (*first)
        (*last)->next = task;
    else
        *first = task;
    *last = task;
}

static struct task *take(struct task **first)
{
    struct task *task = *first;
    if (task)
        *first = task->next;
    return task;
}

static void give(struct carrier *c, struct task *task)
{
    append(&c->first, &c->last, task);
    order_release(&c->order);
    if (c->is_idle) {
        c->is_idle = false;
        context_ready(c->context);
    }
}

static struct carrier *idle_carrier(struct pool *pool)
{
    for (unsigned i = 0; i < pool->limit; i++)
        if (pool->carriers[i].is_idle)
            return &pool->carriers[i];
    return NULL;
}

void pool_submit(struct pool *pool, struct task *task)
{
    machine_point(task, "submit", __builtin_return_address(0));
    if (machine_current)
        order_drain(machine_current);
    struct carrier *c = idle_carrier(pool);
    if (c) {
        give(c, task);
    } else {
        append(&pool->first, &pool->last, task);
        order_release(&pool->order);
    }
}

void pool_submit_next(struct pool *pool, struct task *task)
{
    pool_submit(pool, task);
}

void pool_submit_forked(struct pool *pool, struct task *task)
{
    pool_submit(pool, task);
}

void pool_submit_to(struct carrier *c, struct task *task)
{
    machine_point(task, "submit", __builtin_return_address(0));
    give(c, task);
}

void pool_submit_near(struct carrier *c, struct task *task)
{
    pool_submit(c->pool, task);
}

void carrier_requeue(struct carrier *c, struct task *task)
{
    struct pool *pool = c->pool;
    append(&pool->first, &pool->last, task);
    order_release(&pool->order);
    machine_yield();
}

static struct task *find(struct carrier *c)
{
    struct task *task = take(&c->first);
    if (task) {
        order_acquire(&c->order);
    } else if (c->number < c->pool->limit
               && (task = take(&c->pool->first)) != NULL) {
        order_acquire(&c->pool->order);
    }
    return task;
}

struct task *carrier_next(struct carrier *c)
{
    struct task *task;
    while ((task = find(c)) == NULL) {
        c->is_idle = true;
        machine_block("work", CLOCK_NEVER);
    }
    return task;
}

/* Nothing is prefetched, so nothing is read that others write. */
struct task *carrier_peek(struct carrier *c, unsigned distance)
{
    (void)c, (void)distance;
    return NULL;
}

/* ---- The rest of the interface ------------------------------------------ */

void pool_destroy(struct pool *pool)
{
    (void)pool;
    machine_fail("the simulated scheduler stays");
}

/* Without monitors nobody looks for deadlocks; the machine itself sees them. */
bool pool_is_quiet(struct pool *pool, uint64_t *runs)
{
    (void)pool;
    *runs = 0;
    return false;
}

void pool_wake_monitor(struct pool *pool)
{
    (void)pool;
}

void pool_nudge(struct pool *pool)
{
    (void)pool;
}

int pool_start_all(struct pool *pool)
{
    (void)pool;
    return 0;
}

/* The timekeeper looks for itself. */
void pool_deadline_moved(struct pool *pool, uint64_t deadline_ns)
{
    (void)pool, (void)deadline_ns;
}

void pool_get_stats(struct pool *pool, struct pool_stats *stats)
{
    (void)pool;
    *stats = (struct pool_stats){.carriers = MACHINE_CARRIERS};
}

unsigned pool_os_threads(struct pool *pool)
{
    (void)pool;
    return MACHINE_CARRIERS;
}

uint64_t pool_threads_started(struct pool *pool)
{
    return pool_os_threads(pool);
}

unsigned pool_carrier_count(struct pool *pool)
{
    return pool->limit;
}

void *pool_owner(struct pool *pool)
{
    return pool->owner;
}

unsigned pool_parallelism(struct pool *pool)
{
    return pool->limit;
}

struct carrier *carrier_self(void)
{
    return machine_current ? machine_current->carrier : NULL;
}

struct pool *carrier_pool(const struct carrier *c)
{
    return c->pool;
}

unsigned carrier_number(const struct carrier *c)
{
    return c->number;
}

/* For the recorder, which is off. */
const uint32_t *carrier_looks(const struct carrier *c)
{
    static const uint32_t never;
    (void)c;
    return &never;
}

/* Nobody looks in from outside. */
void pool_look(struct pool *pool, pool_look_fn *visit, void *arg)
{
    (void)pool;
    (void)visit;
    (void)arg;
}

const char *pool_name(const struct pool *pool)
{
    (void)pool;
    return "simulated";
}

/* Nobody looks whether carriers return. */
/* For reports only, of which there are none. */
unsigned carrier_ready(const struct carrier *c)
{
    (void)c;
    return 0;
}

uint32_t carrier_tick(const struct carrier *c)
{
    (void)c;
    return 0;
}

struct carrier *pool_carrier(struct pool *pool, unsigned number)
{
    return number < MACHINE_CARRIERS ? &pool->carriers[number] : NULL;
}

void carrier_awake(struct carrier *c)
{
    (void)c;
}

/* A spare carrier need not be started: there are enough. */
void carrier_block_begin(struct carrier *c)
{
    (void)c;
}

void carrier_block_end(struct carrier *c)
{
    (void)c;
}

/* Calls keep their carrier. */
bool pool_has_slots(const struct pool *pool)
{
    (void)pool;
    return false;
}

bool pool_take_slot(struct pool *pool)
{
    (void)pool;
    return false;
}

void pool_give_slot(struct pool *pool)
{
    (void)pool;
}

bool carrier_call_enter(struct carrier *c)
{
    (void)c;
    return false;
}

void carrier_call_block(struct carrier *c)
{
    (void)c;
}

void carrier_call_stay(struct carrier *c)
{
    (void)c;
}

bool carrier_call_leave(struct carrier *c)
{
    (void)c;
    return false;
}

unsigned carrier_calls(const struct carrier *c)
{
    (void)c;
    return 0;
}
