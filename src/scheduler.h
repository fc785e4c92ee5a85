/*
 * scheduler.h - a pool of carriers and what its virtual threads need there:
 * timers, polling, counters.  Inside the library.
 */
#ifndef SCHEDULER_H
#define SCHEDULER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <vthread/scheduler.h>

#include "carrier/pool.h"
#include "continuation/continuation.h"
#include "hog.h"
#include "timer.h"

#define SCHEDULERS_MAX 255

/* What a carrier keeps for the threads it runs.  Counters are written by the
 * carrier only, and read by statistics. */
struct station {
    struct wheel wheel;
    struct continuation_counts *_Atomic counts; /* A: NULL: not open yet */
    _Atomic uint64_t created, ended, pinned_parks;
    /* The monitor's, and written by it only, but for: */
    const struct local *local;          /* I: the carrier's */
    struct hog_memory hog;
    _Atomic uint64_t hogs, homes_held;  /* A */
};

/* Field letters as in thread.h; S: set at the start. */
struct vthread_scheduler {
    struct pool *pool;            /* S */
    uint8_t number;               /* S: 1.. */
    _Atomic bool is_closing;      /* A: no new threads */
    bool has_pool;                /* under the lock of scheduler.c: its pool
                                     is there for other schedulers */
    _Atomic uint64_t created_outside; /* A: by others than its carriers */
    struct thread *_Atomic closer; /* A: waits in vthread_scheduler_shutdown,
                                     without a deadline */
    struct station stations[POOL_MAX_CARRIERS]; /* those of carriers that
                                     never started are untouched pages */
};

/* The scheduler of that number; NULL if there is none. */
struct vthread_scheduler *scheduler_at(uint8_t number);

/* Prepares continuations, without any carrier.  0 or why not. */
int scheduler_start_engine(void);

/* Between the two no scheduler comes or goes.  False: one does, or somebody
 * else has called it. */
bool scheduler_try_hold_all(void);
void scheduler_release_all(void);

/* In between: whether there is a default scheduler, and no carrier of any is
 * awake; see pool_is_quiet.  *os_threads: carriers and monitors. */
bool scheduler_are_all_quiet(uint64_t *runs, unsigned *os_threads);

/* Has the default scheduler's monitor look again before it sleeps. */
void scheduler_wake_monitor(void);

/* Starts the default scheduler unless it runs.  0 or why not. */
int scheduler_ensure_default(void);

/* The station of a carrier, or NULL: there is no such carrier yet. */
static inline struct station *
scheduler_station(struct vthread_scheduler *s, unsigned number)
{
    struct station *station = &s->stations[number];
    /* Pairs with the release in carrier_enter: the station is complete. */
    return atomic_load_explicit(&station->counts, memory_order_acquire)
               ? station
               : NULL;
}

/* The calling carrier's wait for events is over: it counts as awake before
 * it wakes threads. */
void scheduler_poll_returned(void);

/* A thread of it has come, from the station given or from outside (NULL);
 * false: it is closing.  A thread has ended, at a station. */
bool scheduler_thread_comes(struct vthread_scheduler *s,
                            struct station *station);
void scheduler_thread_ends(struct station *station);

#endif
