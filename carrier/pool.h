/*
 * pool.h - a pool of carriers: OS threads that run tasks.
 *
 * The pool runs tasks through one function and never looks into them.  See
 * pool.c for how work is found, and how carriers sleep and wake.
 */
#ifndef CARRIER_POOL_H
#define CARRIER_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "carrier/task.h"

struct carrier;
struct pool;

#define POOL_MAX_CARRIERS 256

/* What the monitor has seen of a carrier that does not return.  The times
 * are those during which the monitor itself looked on: a process that was
 * stopped is nobody's fault. */
struct pool_stuck {
    uint32_t tick;       /* carrier_tick, all the time */
    uint64_t held_ns;    /* so long, at least */
    uint64_t starved_ns; /* so long, up to now, others waited besides, and
                            no carrier was free to take them */
    unsigned waiting;    /* how many wait now, at least */
};

/* What the floor above lends to a pool. */
struct pool_client {
    /* Runs the tasks that carrier_next hands out until that returns NULL. */
    void (*work)(struct carrier *carrier);
    /* Looks for events and expired timers and pushes what they wake to the
     * carrier.  Waits for the first until deadline_ns (0: not at all).
     * Several carriers may call it; only one at a time with a deadline. */
    void (*poll)(struct carrier *carrier, uint64_t deadline_ns);
    /* Looks for events on behalf of all pools, from any OS thread; whether
     * there were any. */
    bool (*poll_events)(void);
    /* Makes a poll of another carrier return now. */
    void (*poll_interrupt)(struct carrier *carrier);
    /* When the next timer of the pool is due; CLOCK_NEVER if none is. */
    uint64_t (*next_deadline)(struct pool *pool);
    /* A carrier has been at the same task for stuck_ns or more, or asleep,
     * or blocked.  On the monitor's OS thread, at each of its looks. */
    void (*stuck)(struct carrier *carrier, const struct pool_stuck *stuck);
    /* Tasks are ready, all carriers that there may be are blocked, and have
     * been at each look for so long; 0: this is the first one.  On the
     * monitor's OS thread, at each look.  NULL: nobody wants to know. */
    void (*exhausted)(struct pool *pool, uint64_t lasted_ns);
    /* No carrier of the pool has been awake for some time, and its monitor
     * is about to sleep until one is.  On the monitor's OS thread.  Returns
     * when to look again if none is until then; CLOCK_NEVER. */
    uint64_t (*quiet)(struct pool *pool);
    /* Whether the carrier's OS thread may end: no task is, or will be, for
     * this carrier only.  Called by it, perhaps under a lock. */
    bool (*may_retire)(struct carrier *carrier);
    /* The calling carrier has taken tasks from another one: so many, or 0:
     * those that had been handed to that one. */
    void (*stolen)(struct carrier *victim, unsigned count);
    /* On each carrier's OS thread, first and last thing.  A carrier may
     * enter again, with another OS thread, when it has left. */
    void (*carrier_enter)(struct carrier *carrier);
    void (*carrier_leave)(struct carrier *carrier);
};

struct pool_attr {
    const char *name;
    unsigned parallelism;
    unsigned max_carriers;
    uint64_t stuck_ns; /* when the client is told; 0: never */
    uint64_t idle_ns;  /* how long a carrier sleeps before its OS thread ends,
                          if there are more than parallelism, not counting
                          those that are blocked; 0: for ever */
    const struct pool_client *client;
    void *owner;
};

struct pool_stats {
    uint64_t steals, submissions, sleeps;
    uint64_t blockings;           /* times that a carrier left its place by
                                     itself: for calls, and pinned waits */
    uint64_t handed_off, retaken; /* calls: by the carrier, the monitor */
    uint64_t started, ended;      /* OS threads of carriers */
    unsigned carriers, carriers_active;
};

/* Starts a pool with one carrier.  0, ENOMEM or EAGAIN. */
int pool_create(struct pool **pool, const struct pool_attr *attr);

/* Stops and joins all carriers, and frees the pool.  No task is left, and
 * none comes.  Not called by one of its carriers. */
void pool_destroy(struct pool *pool);

/* Wakes a sleeper, if there is one, to look whether a role is vacant. */
void pool_nudge(struct pool *pool);

/* Hands in a task from anywhere: to the calling carrier's own queue if it
 * belongs to the pool, else to the submission queue.  Wakes a carrier if
 * one is needed. */
void pool_submit(struct pool *pool, struct task *task);

/* The same for a task that is a part of the work of the one that runs: its
 * carrier runs the newest first, when nothing else is ready; thieves take
 * the oldest. */
void pool_submit_forked(struct pool *pool, struct task *task);

/* The same for a task that has just been woken and should run soon. */
void pool_submit_next(struct pool *pool, struct task *task);

/* Hands in a task that only this carrier may run. */
void pool_submit_to(struct carrier *carrier, struct task *task);

/* Hands in a task that this carrier should run, if it is free. */
void pool_submit_near(struct carrier *carrier, struct task *task);

/* Starts all carriers that parallelism allows, now.  0, ENOMEM, EAGAIN. */
int pool_start_all(struct pool *pool);

/* A timer is due earlier than all before: whoever sleeps for the next one
 * must know. */
void pool_deadline_moved(struct pool *pool, uint64_t deadline_ns);

enum carrier_state {
    CARRIER_RUNS,     /* a task */
    CARRIER_SEARCHES, /* for one */
    CARRIER_SLEEPS,
    CARRIER_POLLS,    /* sleeps, until events or a timer come */
    CARRIER_IN_CALL,  /* a foreign call, and others do its work */
    CARRIER_BLOCKED,  /* with a pinned thread that waits */
    CARRIER_RESTS,    /* has no OS thread now */
};

struct carrier_look {
    enum carrier_state state;
    uint32_t tick;
    uint64_t queued, forked; /* tasks that wait for it, or a thief */
    uint64_t steals;
    uint64_t calls; /* that may block, begun so far */
};

typedef void pool_look_fn(struct carrier *carrier,
                          const struct carrier_look *look, void *arg);

/* Calls visit for each carrier, from any OS thread.  While it is called an OS
 * thread that the carrier has does not end. */
void pool_look(struct pool *pool, pool_look_fn *visit, void *arg);

void pool_get_stats(struct pool *pool, struct pool_stats *stats);
unsigned pool_carrier_count(struct pool *pool); /* it only grows */
unsigned pool_os_threads(struct pool *pool);    /* of carriers, now */
uint64_t pool_threads_started(struct pool *pool); /* in all */

/* Whether no carrier is awake or in a call; and a number that changes when
 * one runs a task, or comes back from blocking.  If both are as they were no
 * carrier has done anything between the two calls.  What carriers did
 * before, they do not do any more, and the caller sees. */
bool pool_is_quiet(struct pool *pool, uint64_t *runs);

/* Has the monitor look again before it sleeps, if it does. */
void pool_wake_monitor(struct pool *pool);
void *pool_owner(struct pool *pool);
unsigned pool_parallelism(struct pool *pool);
const char *pool_name(const struct pool *pool);

/* The carrier that the caller runs on, or NULL.  Reads anew at each call:
 * good across a switch. */
struct carrier *carrier_self(void);
struct pool *carrier_pool(const struct carrier *carrier);
unsigned carrier_number(const struct carrier *carrier); /* 0.. in its pool */
/* Tasks that are ready and in the calling carrier's own queues; one whose
 * length cannot be seen counts as one. */
unsigned carrier_ready(const struct carrier *carrier);
/* Another number for each task that it runs, and after each block. */
uint32_t carrier_tick(const struct carrier *carrier);
/* Another number, at this place, each time that it has done more than to take
 * the next task from its own queue: then time may have passed, and the task
 * may have come from elsewhere meanwhile.  For the carrier itself. */
const uint32_t *carrier_looks(const struct carrier *carrier);
struct carrier *pool_carrier(struct pool *pool, unsigned number); /* or NULL */

/* The next task for the calling carrier, which sleeps until there is one;
 * NULL: the pool stops.  The task last handed out may be gone or queued
 * anew. */
struct task *carrier_next(struct carrier *carrier);

/* What it will hand out next, and soon after, as far as that is known now:
 * for prefetching.  NULL, or a task that may be gone. */
struct task *carrier_peek(struct carrier *carrier, unsigned distance);

/* Puts a task at the end of the calling carrier's own queue.  No wake-up:
 * the carrier looks at its queue next, and sees to that. */
void carrier_requeue(struct carrier *carrier, struct task *task);

/* Said by the client's poll when its wait is over, before it wakes any
 * tasks: the carrier counts as awake from here on. */
void carrier_awake(struct carrier *carrier);

/* The calling carrier is about to wait in the kernel with a pinned thread,
 * and is back.  A spare carrier takes its place meanwhile, within
 * max_carriers.  They nest, and may take place within a call. */
void carrier_block_begin(struct carrier *carrier);
void carrier_block_end(struct carrier *carrier);

/* ---- Foreign calls, see call.c ------------------------------------------ */

/* Slots for calls that are handed off.  Whether there are any at all; takes
 * one, if one is free; gives it back: a full fence, so the caller may look
 * then who has announced before that he waits for one. */
bool pool_has_slots(const struct pool *pool);
bool pool_take_slot(struct pool *pool);
void pool_give_slot(struct pool *pool);

/* The task of the calling carrier is about to call what may block, and stays
 * where it is.  The task last handed out is still the carrier's.
 *
 *   enter   the call may be short: the monitor hands off if it lasts.  False,
 *           and nothing has happened: to be made as one that blocks
 *   block   it will block, and has a slot: others take over at once
 *   stay    there is no slot, or this one lies within another one: it is a
 *           part of the task's time, or of that call
 *   leave   it is over.  True: it was handed off, and the caller gives the
 *           slot back */
bool carrier_call_enter(struct carrier *carrier);
void carrier_call_block(struct carrier *carrier);
void carrier_call_stay(struct carrier *carrier);
bool carrier_call_leave(struct carrier *carrier);

/* Those of the carrier that have not ended. */
unsigned carrier_calls(const struct carrier *carrier);

#endif
