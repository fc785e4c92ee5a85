/*
 * vthread/scheduler.h - the carriers that virtual threads run on.
 *
 * Most programs need none of this: the first vthread_create starts the
 * default scheduler with as many carriers as the process may use
 * processors.  A scheduler of one's own keeps a part of a program apart:
 *
 *     vthread_scheduler_t *s;
 *     vthread_scheduler_attr_t sa = {.name = "batch", .parallelism = 1};
 *     int err = vthread_scheduler_create(&s, &sa);
 *     vthread_attr_t ta = {.scheduler = s};
 *     err = vthread_create(&t, &ta, work, NULL);
 *     ...
 *     err = vthread_scheduler_shutdown(s, VTHREAD_NEVER);
 */
#ifndef VTHREAD_SCHEDULER_H
#define VTHREAD_SCHEDULER_H

#include <stdint.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vthread_scheduler vthread_scheduler_t;

/* Zero is valid and means the defaults. */
typedef struct vthread_scheduler_attr {
    const char *name;      /* copied; NULL: "vthread"; names its carriers */
    unsigned parallelism;  /* carriers that run at once; 0: the environment's
                              VTHREAD_PARALLELISM, else the processors */
    unsigned max_carriers; /* with the spare ones; 0: VTHREAD_MAX_CARRIERS,
                              else 256, which is the most there can be; see
                              vthread/block.h */
    unsigned reserved[4];  /* 0 */
} vthread_scheduler_attr_t;

/* A snapshot; counters only grow. */
typedef struct vthread_scheduler_stats {
    uint64_t threads;         /* live now: created and not yet ended */
    uint64_t created;         /* since the start */
    uint64_t mounts;          /* continuations mounted */
    uint64_t freezes;         /* frames copied to a chunk */
    uint64_t frozen_bytes;    /* the bytes of these copies */
    uint64_t home_waits;      /* mounts that waited for a claimed home */
    uint64_t steals;          /* tasks taken from another carrier */
    uint64_t submissions;     /* tasks handed in from outside */
    uint64_t sleeps;          /* times a carrier went to sleep */
    uint64_t pinned_parks;    /* parks that blocked a carrier */
    uint64_t hogs;            /* times that a thread kept its carrier for
                                 VTHREAD_HOG_MS while others were ready to
                                 run and no carrier was free */
    uint64_t homes_held;      /* times that a thread stayed on a common home
                                 for VTHREAD_HOG_MS while others waited for
                                 that home */
    uint64_t calls_handed_off; /* blocking calls during which others did the
                                 carrier's work from the beginning, */
    uint64_t calls_retaken;   /* and those that proved long */
    uint64_t slot_waits;      /* calls that had to wait for a slot */
    uint64_t carriers_started; /* OS threads of carriers that began, */
    uint64_t carriers_ended;  /* and that ended for want of work */
    unsigned carriers;        /* OS threads now */
    unsigned carriers_active; /* of these, neither asleep nor blocked */
} vthread_scheduler_stats_t;

/* What threads that start with the same function have in common.  Of those
 * that live now (`threads`): */
typedef struct vthread_census_entry {
    void *(*fn)(void *);        /* entry function */
    uint64_t threads;           /* started and not ended */
    uint64_t ended;             /* ended, and neither joined nor detached */
    uint64_t homes_none;        /* have not run yet */
    uint64_t homes_common;      /* share a home with others */
    uint64_t homes_own_plenty;  /* have their own: fewer than
                                   VTHREAD_OWN_LIMIT did when they began, or
                                   a mode gives one to all */
    uint64_t homes_own_asked;   /* ... by VTHREAD_STACK_OWN or a large size */
    uint64_t homes_own_escaped; /* ... a pointer into such a stack escaped */
    uint64_t homes_own_held;    /* ... such a thread held a common home */
    uint64_t unmounted;         /* do not run now: of these, */
    uint64_t depth_bytes;       /* the stack in use, in all, */
    uint64_t depth_bytes_max;   /* and of the deepest */
    uint64_t frozen;            /* have their frames in heap chunks, */
    uint64_t frozen_bytes;      /* so many bytes in all */
    uint64_t hogs;              /* as in vthread_scheduler_stats_t, since */
    uint64_t homes_held;        /* the start, of threads that ended too */
} vthread_census_entry_t;

/* Is given one entry after the other; *entry is valid until it returns. */
typedef void vthread_census_fn(const vthread_census_entry_t *entry,
                               void *arg);

/*
 * Starts a scheduler.  Its first carrier runs when it returns, the others
 * start when there is work for them.
 *
 * Returns  0; EINVAL; ENOMEM; EAGAIN when no OS thread can be had or there
 *          are 255 schedulers already.
 * Blocks   never for long.
 */
VTHREAD_API int vthread_scheduler_create(vthread_scheduler_t **scheduler,
                                         const vthread_scheduler_attr_t *attr);

/* The default scheduler, started if need be; NULL if that fails. */
VTHREAD_API vthread_scheduler_t *vthread_scheduler_default(void);

/*
 * Ends a scheduler in order: no new threads, waits for those it has, stops
 * its carriers and frees it.  With ETIMEDOUT or ECANCELED it goes on as
 * before, and accepts threads again.  The default scheduler may be shut
 * down too; a later vthread_create starts it anew.
 *
 * Returns  0; EDEADLK when called by a thread of that scheduler; EBUSY when
 *          another call is at it; ETIMEDOUT; ECANCELED.
 * Blocks   the virtual thread.
 */
VTHREAD_API int vthread_scheduler_shutdown(vthread_scheduler_t *scheduler,
                                           uint64_t deadline_ns);

/* Fills *stats.  Returns 0 or EINVAL.  Blocks never. */
VTHREAD_API int vthread_scheduler_stats(vthread_scheduler_t *scheduler,
                                        vthread_scheduler_stats_t *stats);

/*
 * Counts the virtual threads of the process by entry function, and calls
 * visit(entry, arg) for each of these, in no order.  It walks over all
 * threads, some 100 ns for each, and costs nothing while it is not called.
 *
 * Threads may go on, begin and end meanwhile.  One that lives all the while
 * is counted once; one that begins or ends may be, or not.  How a thread is
 * doing (home, depth, frozen) is as it was at some instant of the walk, and
 * may be wrong for one that is just mounted or unmounted.  Bare continuations
 * and platform threads are not counted.
 *
 * Returns  0; EINVAL without visit; ENOMEM, and visit has not been called.
 * Blocks   never, but visit may.
 */
VTHREAD_API int vthread_census(vthread_census_fn *visit, void *arg);

#ifdef __cplusplus
}
#endif

#endif
