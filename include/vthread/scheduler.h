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
                              else 256, which is the most there can be */
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
    unsigned carriers;        /* OS threads now */
    unsigned carriers_active; /* of these, neither asleep nor blocked */
} vthread_scheduler_stats_t;

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

#ifdef __cplusplus
}
#endif

#endif
