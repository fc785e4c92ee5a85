/*
 * timeline_data.h - what timeline.c and timeline_threads.c share.
 */
#ifndef TIMELINE_DATA_H
#define TIMELINE_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event;
struct perfetto;
struct recording;
struct symbols;

enum { NAME_BYTES = 96, FRAMES_MAX = 16 };

enum state { UNKNOWN, READY, RUNS, CALLS, WAITS, PINNED, ENDED, STATES };

struct thread {
    uint64_t handle; /* 0: an empty place */
    uint64_t fn, scope;
    char given[33];
    size_t letters;            /* of it, so far */
    bool is_platform, is_idle; /* it has no events */
    enum state state;
    const char *waits_for;
    uint64_t track, flow;
    char name[NAME_BYTES];
};

/* What is known of a source of events while they are read. */
struct place {
    struct thread *subject; /* whom the last IS told of */
    struct thread *mounted;
    uint64_t track, calls_track; /* 0: not there yet */
    unsigned calls;              /* open slices there */
    bool is_pinned;              /* a slice is open on its track for that */
    bool has_call;               /* one has begun, of which nothing is told */
    uint64_t call_ns;
    uint64_t frames[FRAMES_MAX]; /* of whom the next event tells */
    unsigned frame_count;
};

/* Of a carrier's queue. */
struct queue {
    uint32_t carrier; /* scheduler << 16 | number */
    uint64_t track;
};

struct group {
    uint64_t key, track;
};

struct timeline {
    struct recording *recording;
    struct symbols *symbols;
    struct perfetto *out;
    struct thread *threads;
    size_t size, used; /* size: a power of two */
    struct place *places;
    size_t place_count;
    struct group *groups;
    size_t group_count;
    uint64_t last_track, last_flow;
    uint64_t carriers, calls, collector, heap;
    struct queue *queues;
    size_t queue_count;
    uint64_t counters[STATES];
    int64_t counts[STATES], told[STATES];
    uint64_t told_ns;
    bool has_failed;
};

/* ---- Who is who: timeline_threads.c ------------------------------------- */

/* Goes through the events; t->has_failed: no memory. */
void timeline_learn(struct timeline *t);

/* The thread, or an empty place. */
struct thread *timeline_slot_of(const struct timeline *t, uint64_t handle);

/* Whether the argument of such an event is a thread. */
bool timeline_is_of_thread(uint32_t kind);

/* "waits: channel": what such an event says of it. */
const char *timeline_wait_named(uint32_t kind);

/* ---- Names and tracks: timeline_threads.c ------------------------------- */

void timeline_name_function(struct timeline *t, uint64_t fn, char *name,
                            size_t size_bytes);
uint64_t timeline_new_track(struct timeline *t, uint64_t parent,
                            const char *name);

/* Gives it a name and a track below those of its scope or function. */
void timeline_place_thread(struct timeline *t, struct thread *thread);

#endif
