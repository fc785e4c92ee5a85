/*
 * sample.h - a process as it is now, in numbers: for vthread top.
 *
 * Taken through the control socket where that is on, else by reading the
 * memory of the process; neither stops it.  Names mean the same in both.
 */
#ifndef SAMPLE_H
#define SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "places.h"
#include "target.h"

#define SAMPLE_THREADS_MAX 100000 /* of more the first ones are listed */

enum sample_state {
    SAMPLE_RUNNING,
    SAMPLE_RUNNABLE,
    SAMPLE_NEW,
    SAMPLE_PARKED,
    SAMPLE_TIMED_PARKED,
    SAMPLE_PINNED,
    SAMPLE_TERMINATED,
    SAMPLE_STATES
};

/* "RUNNING" and so on. */
extern const char *const sample_state_names[SAMPLE_STATES];

struct sample_scheduler {
    unsigned number, parallelism;
    char name[20];
};

struct sample_carrier {
    unsigned scheduler, number;
    int os_thread;                        /* 0: none now */
    char state[12];                       /* "running" */
    uint64_t runs, steals, calls, pinned; /* so far */
    uint64_t queued, forked;              /* now */
    uint64_t cpu_ticks;                   /* of its OS thread, so far */
    uint64_t thread;                      /* handle of the one mounted, or 0 */
    char name[32], entry[64];
};

struct sample_thread {
    uint64_t handle;
    enum sample_state state;
    uint32_t depth_bytes, frozen_bytes;
    char name[32], entry[64], waits_for[48], home[8];
};

struct sample {
    bool by_socket;
    uint64_t time_ns; /* when it was taken, on our clock */
    uint64_t states[SAMPLE_STATES];
    uint64_t platform;     /* threads that are none of the library's */
    uint64_t thread_total; /* virtual ones */
    struct sample_scheduler *schedulers;
    size_t scheduler_count;
    struct sample_carrier *carriers;
    size_t carrier_count;
    struct sample_thread *threads;
    size_t thread_count;
};

struct sampler;

/* Which way is found out here.  STATUS_FINE, or a status and a complaint. */
int sampler_open(struct sampler **sampler, const struct target *target);
void sampler_close(struct sampler *sampler);

/* With the threads one by one if they are wanted.  STATUS_FINE, or a status
 * and a complaint: STATUS_DIED. */
int sample_take(struct sampler *sampler, struct sample *sample,
                bool with_threads);
void sample_free(struct sample *sample);

/* The same carrier in another sample, or NULL. */
const struct sample_carrier *
sample_carrier_in(const struct sample *sample,
                  const struct sample_carrier *carrier);

/* One more element, zero; ends the tool without memory. */
void *sample_grow(void *array, size_t *count, size_t size_bytes);

/* ---- The two ways ------------------------------------------------------- */

int sample_by_socket(const struct target *target, struct places *names,
                     struct sample *sample, bool with_threads, bool *is_there);

struct sample_memory;
/* STATUS_FINE, or a status and a complaint. */
int sample_memory_open(struct sample_memory **memory,
                       const struct target *target);
void sample_memory_close(struct sample_memory *memory);
int sample_by_memory(struct sample_memory *memory, struct places *names,
                     struct sample *sample, bool with_threads);

#endif
