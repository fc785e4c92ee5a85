/*
 * trace.h - the flight recorder: what threads and carriers do, event by
 * event, in rings that are overwritten.
 *
 *   trace.c        the rings; what is put into them
 *   trace_queues.c what of them is looked at now and then only
 *   trace_write.c  how they are written out, while others go on
 *   trace_run.c    when: the environment, triggers, <vthread/trace.h>
 *
 * While it is off a place that tells it something pays a load and a branch.
 */
#ifndef INSPECT_TRACE_H
#define INSPECT_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "continuation/watch.h"
#include "inspect/trace_format.h"
#include "platform/atomics.h"

struct station;
struct thread;

/* ---- Telling: trace.c --------------------------------------------------- */

static inline bool trace_is_on(void)
{
    return watch_is_on(WATCH_TRACE);
}

/* One event, of whoever is mounted on the calling OS thread, or of that
 * itself.  Neither allocates, locks, nor waits.  Only if it is on. */
void trace_note(enum trace_kind kind, uint64_t what);

/* What the call is that has just begun. */
static inline void trace_call(uintptr_t fn)
{
    if (trace_is_on())
        trace_note(TRACE_CALL_IS, fn);
}

/* A thread is about to be submitted for the first time. */
void trace_created(const struct thread *t);

/* A thread that is not the caller's has a new name. */
void trace_named(const struct thread *t);

/* Notes how long the carriers' queues are, where that is not what was noted
 * before, or of all.  By one OS thread at a time. */
void trace_queues(bool is_first);

/* The calling OS thread is the station's from now on. */
void trace_carrier_enters(struct station *station);

/* ---- Rings: trace.c ----------------------------------------------------- */

enum { TRACE_RINGS_MAX = 257 };

/* Ring 0 has many writers, the others one each: see trace.c.  What an event
 * needs is in the first cache line. */
struct trace_ring {
    _Atomic uint64_t head;      /* A: how many events were ever begun */
    struct trace_place *places; /* I */
    uint64_t mask;              /* I: of head: the place */
    uint64_t first_ticks;       /* I: that of the recorder's beginning */
    /* The last unmount there, the writer's own: see trace.c, follows. */
    struct {
        const struct thread *thread;
        uint64_t ticks, head;
    } left;
    uint32_t left_looks;        /* belongs to it */
    bool is_simple;             /* I: it is one writer's, by a counter */
    /* A: its writer. */
    _Atomic uint32_t os_thread __attribute__((aligned(CACHE_LINE)));
    _Atomic uint32_t scheduler, carrier; /* A: set once */
    _Atomic uint64_t name[2];            /* A: of the writer */
} __attribute__((aligned(CACHE_LINE)));

_Static_assert(offsetof(struct trace_ring, os_thread) == CACHE_LINE,
               "an event needs one line of it");

/* A struct trace_event that is written while others read. */
struct trace_place {
    _Atomic uint64_t when, what; /* A */
};

/* Begins to record, in rings of that many events (a power of two; those of
 * the first time stay).  0 or ENOMEM. */
int trace_begin(size_t events);
void trace_stop(void);

/* Those that there are; places in each. */
unsigned trace_ring_count(void);
struct trace_ring *trace_ring_at(unsigned number);
size_t trace_ring_places(void);

/* Now, and so long ago (0 at the least), in ticks. */
uint64_t trace_ticks(void);
uint64_t trace_ticks_ago(uint64_t ns);

/* This moment, and that of the first tick. */
void trace_clock_now(struct trace_clock *clock);
void trace_first_clock(struct trace_clock *clock);

/* ---- Writing: trace_write.c --------------------------------------------- */

/* Where it goes; false: no more is wanted. */
struct trace_sink {
    bool (*send)(struct trace_sink *sink, const void *data, size_t bytes);
};

enum { TRACE_BATCH = 512 };

/* How far a reader has come.  Large: static. */
struct trace_reader {
    struct trace_sink *sink;
    bool has_failed;
    bool is_last;   /* waits for no writer that has been interrupted */
    uint64_t since; /* ticks: events before that are left out */
    uint64_t lost;  /* events, in all */
    uint64_t next[TRACE_RINGS_MAX];
    struct {
        struct trace_block block;
        struct trace_part part;
        struct trace_event events[TRACE_BATCH];
    } out;
};

/* From the events that are there and not older than `since`; or, if it is
 * UINT64_MAX, from the next one on. */
void trace_reader_init(struct trace_reader *reader, struct trace_sink *sink,
                       uint64_t since);

/* All of these work in a signal handler. */
void trace_write_header(struct trace_reader *reader);
/* A clock, where code lies, and the threads that live. */
void trace_write_state(struct trace_reader *reader);
/* What has been recorded since the last call. */
void trace_write_events(struct trace_reader *reader);
void trace_write_text(struct trace_reader *reader, enum trace_block_kind kind,
                      const char *text);
void trace_write_block(struct trace_reader *reader, enum trace_block_kind kind,
                       const void *data, size_t bytes);

/* ---- Running: trace_run.c ----------------------------------------------- */

/* What the environment asks for; at the start of the engine. */
void trace_start_as_set(void);

/* Something has happened that the last seconds before are wanted for.
 * `reason` stays.  trace_trigger has another OS thread write them;
 * trace_write_now returns when that is done: the process is about to end. */
void trace_trigger(const char *reason);
void trace_write_now(const char *reason);

/* For a client of the control socket: records until the end, and sends it what
 * there is as often as it is told to go on; or, with last_ns, the last so many
 * nanoseconds at the end.  0; EBUSY: it is on already; ENOMEM. */
int trace_serve_begin(struct trace_sink *sink, uint64_t last_ns);
/* Returns after how many nanoseconds to do so again, given what it has returned
 * before (0 at first); 0: it is time to end, for something has happened. */
uint64_t trace_serve_go_on(uint64_t interval_ns);
void trace_serve_end(void);

/* OS threads of the recorder: for deadlock.c. */
unsigned trace_os_threads(void);

#endif
