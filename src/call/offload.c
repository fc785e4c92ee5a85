/*
 * offload.c - OS threads that make calls for others: a queue, a limit, and an
 * end for those that have had nothing to do for long.
 *
 * Not here: what a job is (request.c).
 *
 * A job goes to an idle worker, the one that was busy last; else to a new
 * worker, within the limit (VTHREAD_CALL_THREADS); else into the queue.  When
 * no OS thread can be started those that are there do the work.
 *
 * Invariant, under the lock: if a job is queued then there are workers, and
 * none is idle.  So a worker that comes back looks at the queue before it
 * rests, and no job is left behind.
 *
 * A worker is started under the lock.  That takes 20 us, at most as often as
 * the limit says; in return there is no worker of which nobody knows whether
 * it comes to be, with jobs that rely on it.
 */
#include "call/offload.h"

#include <errno.h>
#include <stddef.h>

#include "local.h"
#include "platform/clock.h"
#include "platform/futex.h"
#include "platform/os_thread.h"
#include "settings.h"

/* On the native stack of its OS thread. */
struct worker {
    struct worker *next, *prev; /* L: among the idle */
    struct offload_job *job;    /* L: what it was given */
    bool is_counted;            /* L: in idle_plain */
    _Atomic uint32_t signal;    /* A: it was given a job */
};

static struct os_lock lock;

/* L, all of it. */
static struct {
    struct offload_job *first, *last; /* queued */
    struct worker *idle;              /* the last one to rest comes first */
    unsigned workers, idle_count, idle_plain, queued;
    uint64_t started, changes, idle_ns;
} pool = {.idle_ns = 0};

/* ---- The queue, under the lock ------------------------------------------ */

static void enqueue(struct offload_job *job)
{
    job->next = NULL;
    job->prev = pool.last;
    if (pool.last)
        pool.last->next = job;
    else
        pool.first = job;
    pool.last = job;
    job->is_queued = true;
    pool.queued++;
}

static void dequeue(struct offload_job *job)
{
    if (job->prev)
        job->prev->next = job->next;
    else
        pool.first = job->next;
    if (job->next)
        job->next->prev = job->prev;
    else
        pool.last = job->prev;
    job->is_queued = false;
    pool.queued--;
}

/* ---- The idle, under the lock ------------------------------------------- */

/* One whose OS thread has become a platform thread is counted as such. */
static void begin_idle(struct worker *w)
{
    w->job = NULL;
    /* Relaxed: the lock orders. */
    atomic_store_explicit(&w->signal, 0, memory_order_relaxed);
    w->is_counted = !local_thread(local_self());
    w->prev = NULL;
    w->next = pool.idle;
    if (pool.idle)
        pool.idle->prev = w;
    pool.idle = w;
    pool.idle_count++;
    pool.idle_plain += w->is_counted;
    pool.changes++;
}

static void end_idle(struct worker *w)
{
    if (w->prev)
        w->prev->next = w->next;
    else
        pool.idle = w->next;
    if (w->next)
        w->next->prev = w->prev;
    pool.idle_count--;
    pool.idle_plain -= w->is_counted;
    pool.changes++;
}

/* ---- Workers ------------------------------------------------------------ */

/* Waits for a job, without the lock; NULL: none came for long, and w is no
 * worker any more. */
static struct offload_job *rest(struct worker *w, uint64_t idle_ns)
{
    uint64_t deadline_ns = idle_ns == CLOCK_NEVER
                               ? CLOCK_NEVER
                               : clock_now_ns() + idle_ns;
    struct offload_job *job;
    /* Acquire: observes the job; pairs with hand_over. */
    while (atomic_load_explicit(&w->signal, memory_order_acquire) == 0)
        if (futex_wait_idle(&w->signal, 0, deadline_ns) == ETIMEDOUT)
            break;
    os_lock_acquire(&lock);
    job = w->job;
    if (!job) {
        end_idle(w);
        pool.workers--;
    }
    os_lock_release(&lock);
    return job;
}

static struct offload_job *next_job(struct worker *w)
{
    os_lock_acquire(&lock);
    struct offload_job *job = pool.first;
    uint64_t idle_ns = pool.idle_ns;
    if (job)
        dequeue(job);
    else
        begin_idle(w);
    os_lock_release(&lock);
    return job ? job : rest(w, idle_ns);
}

static void work(void *unused)
{
    struct worker w = {.job = NULL};
    struct offload_job *job;
    (void)unused;
    while ((job = next_job(&w)) != NULL)
        job->run(job);
}

/* Under the lock; the new one finds the job in the queue. */
static bool start_worker(void)
{
    struct os_thread thread;
    if (pool.idle_ns == 0)
        pool.idle_ns = settings_get()->idle_ms > 0
                           ? (uint64_t)settings_get()->idle_ms * 1000000
                           : CLOCK_NEVER;
    if (pool.workers >= settings_get()->call_threads
        || os_thread_start(&thread, "vthread-call", work, NULL) != 0)
        return false;
    os_thread_detach(&thread);
    pool.workers++;
    pool.started++;
    pool.changes++;
    return true;
}

/* Under the lock; to be woken after it. */
static struct worker *hand_over(struct offload_job *job)
{
    struct worker *w = pool.idle;
    if (!w)
        return NULL;
    end_idle(w);
    w->job = job;
    /* Release: publishes the job; pairs with rest. */
    atomic_store_explicit(&w->signal, 1, memory_order_release);
    return w;
}

int offload_submit(struct offload_job *job, bool now)
{
    int err = 0;
    job->is_queued = false;
    os_lock_acquire(&lock);
    struct worker *w = hand_over(job);
    if (!w && !start_worker()) {
        if (pool.workers == 0)
            err = ENOMEM;
        else if (now)
            err = EAGAIN;
    }
    if (!w && err == 0)
        enqueue(job);
    os_lock_release(&lock);
    /* It may have gone on, and its stack with it: then nobody sleeps there. */
    if (w)
        futex_wake(&w->signal, 1);
    return err;
}

bool offload_remove(struct offload_job *job)
{
    os_lock_acquire(&lock);
    bool is_queued = job->is_queued;
    if (is_queued)
        dequeue(job);
    os_lock_release(&lock);
    return is_queued;
}

/* ---- Counts ------------------------------------------------------------- */

unsigned offload_idle(uint64_t *changes)
{
    os_lock_acquire(&lock);
    unsigned idle = pool.idle_plain;
    *changes = pool.changes;
    os_lock_release(&lock);
    return idle;
}

struct offload_counts offload_counts(void)
{
    os_lock_acquire(&lock);
    struct offload_counts counts = {pool.workers, pool.idle_count,
                                    pool.queued, pool.started};
    os_lock_release(&lock);
    return counts;
}

void offload_set_idle_ns(uint64_t ns)
{
    os_lock_acquire(&lock);
    pool.idle_ns = ns;
    os_lock_release(&lock);
}
