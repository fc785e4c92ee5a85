/*
 * carrier.h - a pool and its carriers, inside this floor.
 *
 * Field letters: I before publication, O the carrier itself, L under the
 * pool's lock, A atomic.
 */
#ifndef CARRIER_CARRIER_H
#define CARRIER_CARRIER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "carrier/deque.h"
#include "carrier/pool.h"
#include "carrier/submission.h"
#include "platform/futex.h"
#include "platform/os_thread.h"

struct carrier {
    struct pool *pool;          /* I */
    struct pool *submits_to;    /* O: the same; NULL in a foreign call */
    unsigned number;            /* I */
    _Atomic uint32_t tick;      /* A, written by O: counts tasks run, and
                                   returns from blocking */
    uint32_t looks;             /* O: see carrier_looks */
    unsigned next_runs;         /* O: tasks run from `next` in a row */
    struct task *_Atomic next;  /* A: the task woken last */
    struct task *bound_first;   /* O: tasks only for this carrier, */
    struct task *bound_last;    /* O: oldest first */
    uint64_t polled_ns;         /* O: when it last polled */
    uint64_t stretch_ns;        /* O: since when it has had tasks */
    uint64_t measured_ns;       /* O: when it measured them last, */
    uint32_t measured_tick;     /* O: and what tick was then */
    uint32_t task_ns;           /* O: how long its tasks take, on average */
    uint32_t watched;           /* O: number of a carrier it looks after, */
    uint32_t watched_tick;      /* O: and what that one's tick was */
    uint32_t backlog_worth;     /* O: more tasks than that in its queue are
                                   worth the waking of another carrier */
    uint64_t random;            /* O: state of its generator */
    struct deque queue;         /* oldest first */
    struct deque forked;        /* parts of its tasks' work, newest first */
    uint32_t forked_runs;       /* O: how many of these it has run, */
    uint32_t forked_seen;       /* O: and had when it looked last */
    uint64_t forked_ns;         /* O: when it has seen to the oldest */
    struct submission inbox;    /* A: tasks for this carrier only */
    struct submission handed;   /* A: tasks for this carrier, or a thief */

    _Atomic uint32_t signal;    /* A: 1: wake up; a futex */
    _Atomic bool is_polling;    /* A: sleeps in poll, not on the futex */
    bool is_searching;          /* O, L: counted in pool->searching */
    bool is_idle;               /* L: on the list of idle carriers */
    bool is_retired;            /* O, L: its OS thread is to end, or has */
    bool owns_thread;           /* L: os_thread is to be joined */
    bool is_watched;            /* under pool->watch */
    bool resumes_handed;        /* O: when its thread's wait is over, the
                                   call around it is handed off again */
    struct carrier *next_idle;  /* L: on that list, or among the dormant */
    struct os_thread os_thread; /* L */

    _Atomic uint64_t call;      /* A: the state of its call, see call.c */
    unsigned calls;             /* O: foreign calls that have not ended */
    unsigned blocks;            /* O: calls of carrier_block_begin that
                                   have not ended */

    _Atomic uint64_t steals, sleeps, blockings, handed_off; /* A, written
                                                               by O */
} __attribute__((aligned(CACHE_LINE)));

struct pool {
    struct pool_client client; /* I */
    void *owner;               /* I */
    char name[16];             /* I */
    unsigned parallelism;      /* I */
    unsigned max_carriers;     /* I */
    uint64_t stuck_ns;         /* I: 0: never */
    uint64_t idle_ns;          /* I: 0: never */
    int32_t slots_kept;        /* I: so far below 0 the monitor takes them */

    /* Read at every wake-up, written when carriers sleep and wake. */
    _Atomic uint32_t awake     /* A: neither idle nor blocked */
        __attribute__((aligned(CACHE_LINE)));
    _Atomic uint32_t searching; /* A: of these, looking for work */
    _Atomic uint32_t idle;      /* A: asleep, on the list */
    _Atomic uint32_t count;     /* A: carriers that exist */
    _Atomic int32_t slots;      /* A: for calls that are handed off */
    struct carrier *_Atomic timekeeper; /* A: sleeps until the next timer */
    _Atomic uint64_t keeper_until;      /* A: that time */
    _Atomic bool is_stopping;           /* A */
    bool has_monitor;                   /* I */

    struct submission submissions __attribute__((aligned(CACHE_LINE)));
    _Atomic uint64_t submitted; /* A: tasks handed in from outside, */
    _Atomic uint64_t returned;  /* A: and how many who did have left */
    _Atomic uint32_t polls;     /* A: times that anybody has polled */

    struct os_lock lock __attribute__((aligned(CACHE_LINE)));
    struct carrier *idle_first; /* L: the one that slept last is first */
    struct carrier *dormant_first; /* L: those without an OS thread */
    _Atomic uint64_t started;   /* A, written under L: OS threads, */
    uint64_t ended;             /* L: and those that have ended */
    _Atomic uint32_t alive;     /* A, written under L: OS threads now */
    _Atomic uint64_t retaken;   /* A: calls that the monitor has handed off */
    _Atomic bool has_failed_start; /* A: the last OS thread could not be
                                      had */
    struct os_lock watch; /* while the monitor looks at thread-locals */

    _Atomic uint32_t monitor_signal; /* A: a futex */
    _Atomic bool monitor_sleeps;     /* A */
    struct os_thread monitor;        /* I */

    struct carrier *_Atomic carriers[POOL_MAX_CARRIERS]; /* A: set once */
};

/* pool.c */
void pool_wake_one(struct pool *pool);
bool pool_has_work(struct pool *pool);
/* Under the lock.  False: it was not on the list. */
bool pool_take_off_idle(struct carrier *carrier);

/* spare.c */
/* Starts a carrier that is searching and awake: the caller has counted it.
 * 0, ENOMEM, or EAGAIN: there are max_carriers, or no OS thread. */
int pool_start_carrier(struct pool *pool);
/* When a carrier that goes to sleep now has slept enough for ever. */
uint64_t spare_idle_end(struct carrier *carrier);
/* That time has come.  True: the carrier is retired, and its OS thread must
 * return from carrier_next. */
bool spare_retire(struct carrier *carrier);
/* Whether the monitor may look at what its OS thread keeps. */
void spare_watch(struct carrier *carrier, bool is_watched);
/* The last thing that its OS thread does. */
void spare_rest(struct carrier *carrier);
/* The pool stops: waits for the OS threads. */
void spare_join_all(struct pool *pool);
void spare_free(struct carrier *carrier);

/* call.c: of the word `call`, in its lowest bits. */
enum { CALL_IN = 1, CALL_HANDED = 2, CALL_STATE = 3 };
enum call_seen { CALL_NONE, CALL_YOUNG, CALL_RETAKEN };
void call_init_slots(struct pool *pool);
/* What the monitor has seen of a carrier: the call, and since when. */
struct call_memory {
    uint64_t word, since_ns;
};
/* The monitor looks at a carrier.  YOUNG: in a call that should be retaken if
 * it lasts; RETAKEN: and it was. */
enum call_seen call_look(struct carrier *carrier, struct call_memory *last,
                         uint64_t now_ns);
bool call_is_handed(const struct carrier *carrier);

/* carrier.c */
void carrier_main(void *carrier);
void carrier_poll_now(struct carrier *carrier);
/* True if it was the last searcher. */
bool carrier_end_search(struct carrier *carrier);

/* sleep.c */
void carrier_signal(struct carrier *carrier);
bool carrier_has_poller(void);
/* Nothing was found.  Sleeps unless something has come meanwhile. */
void carrier_sleep(struct carrier *carrier);

/* monitor.c */
int monitor_start(struct pool *pool);
void monitor_stop(struct pool *pool);
void monitor_wake(struct pool *pool);

/* After awake++, by a read-modify-write or before one. */
static inline void monitor_wake_if_asleep(struct pool *pool)
{
    /* (B) awake, then the flag; pairs with rest (A) in monitor.c. */
    fence_after_rmw();
    if (unlikely(atomic_load_explicit(&pool->monitor_sleeps,
                                      memory_order_relaxed)))
        monitor_wake(pool);
}

/* After work has been published and a full fence: wakes a carrier unless
 * one is looking for work already. */
static inline void pool_wake_if_needed(struct pool *pool)
{
    /* Relaxed: the caller's fence orders them, see pool.c (B). */
    if (atomic_load_explicit(&pool->searching, memory_order_relaxed) == 0
        && atomic_load_explicit(&pool->awake, memory_order_relaxed)
               < pool->parallelism)
        pool_wake_one(pool);
}

/* Tasks that others have handed to this carrier. */
static inline bool carrier_has_handed(struct carrier *carrier)
{
    return !submission_is_empty(&carrier->inbox)
           || !submission_is_empty(&carrier->handed) || carrier->bound_first;
}

/* Relaxed, no read-modify-write: only the carrier writes its counters. */
static inline void carrier_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(
        counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
        memory_order_relaxed);
}

static inline uint64_t carrier_backlog(const struct carrier *carrier)
{
    return deque_length(&carrier->queue) + deque_length(&carrier->forked);
}

/* The carrier is about to run a task and has just done a full fence (the
 * compare-and-swap that took it): if it leaves enough work behind, others
 * may be needed. */
static inline void pool_wake_for(struct carrier *carrier)
{
    struct pool *pool = carrier->pool;
    fence_after_rmw();
    if (unlikely(atomic_load_explicit(&pool->awake, memory_order_relaxed)
                 < pool->parallelism)
        && carrier_backlog(carrier) > carrier->backlog_worth) {
        carrier->looks++;
        pool_wake_if_needed(pool);
    }
}

#endif
