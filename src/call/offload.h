/*
 * offload.h - OS threads that make calls for others.
 */
#ifndef OFFLOAD_H
#define OFFLOAD_H

#include <stdbool.h>
#include <stdint.h>

/* Embedded in what is to be done.  The worker does not touch it any more once
 * run has been called. */
struct offload_job {
    struct offload_job *next, *prev;
    void (*run)(struct offload_job *job);
    bool is_queued;
};

/* Has run(job) called on an OS thread of the pool, soon.  `now`: only if one
 * is free or can be started.  0; EAGAIN: none is; ENOMEM: there is not one,
 * and none can be started. */
int offload_submit(struct offload_job *job, bool now);

/* Takes back a job that no OS thread has yet.  False: one has, or had. */
bool offload_remove(struct offload_job *job);

/* OS threads of the pool that have nothing to do, and are no platform threads
 * either; *changes is another number whenever that has changed in between.
 * For deadlock.c. */
unsigned offload_idle(uint64_t *changes);

/* For tests. */
struct offload_counts {
    unsigned workers, idle, queued;
    uint64_t started;
};
struct offload_counts offload_counts(void);

/* For tests: how long a worker stays with nothing to do. */
void offload_set_idle_ns(uint64_t ns);

#endif
