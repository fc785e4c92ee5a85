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
#include "inspect/hog.h"
#include "platform/futex.h"
#include "sync/waitlist.h"
#include "timer.h"

#define SCHEDULERS_MAX 255

/* What a carrier keeps for the threads it runs.  Counters are written by the
 * carrier only, and read by statistics.  It outlives the carrier's OS threads,
 * of which there may be one after the other. */
struct station {
    struct wheel wheel;
    struct continuation_counts *_Atomic counts; /* A, read and changed under
                                       the scheduler's counts_lock: those of
                                       the OS thread, or `past`; NULL: not
                                       open yet */
    struct continuation_counts past; /* O: of its former OS threads */
    _Atomic uint32_t bound;          /* A: threads that it alone may run */
    _Atomic uint64_t created, ended, pinned_parks;
    struct trace_ring *ring;         /* O: see inspect/trace.c; or NULL */
    const uint32_t *looks;           /* O: carrier_looks of its carrier */
    /* The monitor's, and written by it only, but for: */
    const struct local *local;          /* O: the OS thread's, while it is
                                           watched */
    _Atomic int os_thread;              /* A, written by O: the kernel's
                                           number of it; 0: it has none */
    struct hog_memory hog;
    uint32_t told_queue;                /* by the recorder: trace_queues.c */
    _Atomic uint64_t hogs, homes_held;  /* A */
    _Atomic uint32_t slice_tick;        /* A: see safepoint.c */
    _Atomic bool slice_is_over;         /* A */
};

/* Those who wait for a slot: blocking.c. */
struct slot_queue {
    struct os_lock lock;
    _Atomic uint32_t waiting; /* A, changed under L: in the list, or about to
                                 be */
    struct waitlist list;     /* L */
};

/* Field letters as in thread.h; S: set at the start. */
struct vthread_scheduler {
    struct pool *pool;            /* S */
    uint8_t number;               /* S: 1.. */
    _Atomic bool is_closing;      /* A: no new threads */
    bool has_pool;                /* under the lock of scheduler.c: its pool
                                     is there for other schedulers */
    _Atomic uint64_t created_outside; /* A: by others than its carriers */
    _Atomic uint64_t slot_waits;   /* A: threads that had to wait for one */
    struct slot_queue slots;
    struct os_lock counts_lock;    /* see struct station */
    uint64_t exhausted_ns;         /* the monitor's: see pin_chain.c */
    struct thread *_Atomic closer; /* A: waits in vthread_scheduler_shutdown,
                                     without a deadline */
    struct station stations[POOL_MAX_CARRIERS]; /* those of carriers that
                                     never started are untouched pages */
};

/* By number, from 1.  For reports from outside; others ask scheduler_at. */
extern struct vthread_scheduler *_Atomic scheduler_table[SCHEDULERS_MAX + 1];

/* The scheduler of that number; NULL if there is none. */
struct vthread_scheduler *scheduler_at(uint8_t number);

/* Prepares continuations, without any carrier.  0 or why not. */
int scheduler_start_engine(void);

/* Whether that has been done, for a scheduler or by itself. */
bool scheduler_has_engine(void);

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

/* ---- Stations: station.c ------------------------------------------------ */

/* What a scheduler is to its pool. */
extern const struct pool_client station_client;

static inline uint64_t station_read(const _Atomic uint64_t *counter)
{
    /* Acquire: what is counted has been done when the count is seen. */
    return atomic_load_explicit(counter, memory_order_acquire);
}

/* Adds its counters up, with the counts_lock. */
void station_add(const struct station *station,
                 vthread_scheduler_stats_t *stats);

/* Its carrier has ended for good. */
void station_close(struct vthread_scheduler *s, struct station *station);

/* The calling carrier's wait for events is over: it counts as awake before
 * it wakes threads. */
void scheduler_poll_returned(void);

/* A thread of it has come, from the station given or from outside (NULL);
 * false: it is closing.  A thread has ended, at a station. */
bool scheduler_thread_comes(struct vthread_scheduler *s,
                            struct station *station);
void scheduler_thread_ends(struct station *station);

#endif
