/*
 * recording.h - reading what the flight recorder of a process has written.
 */
#ifndef RECORDING_H
#define RECORDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/inspect/trace_format.h"

/* Who has recorded events: a carrier, or another OS thread. */
struct source {
    bool is_carrier;
    uint32_t scheduler, carrier; /* of a carrier */
    uint32_t os_thread;
    char name[17]; /* of a carrier's OS thread */
};

struct event {
    uint64_t ns;
    uint64_t what;
    uint32_t source; /* number */
    uint32_t kind;   /* enum trace_kind */
};

struct recording {
    uint32_t pid;
    bool is_complete; /* it ends as it should */
    uint64_t lost;    /* events that were overwritten before they were read */
    uint64_t events;
    uint64_t begin_ns, end_ns;
    char reason[128];             /* why it was written; "" */
    char *maps;                   /* text of /proc/PID/maps, the last */
    struct trace_thread *threads; /* those at the end, or in the middle */
    size_t thread_count;
    struct source *sources;
    size_t source_count;
    /* Its own: */
    char *bytes;
    size_t size;
    struct ring *rings;
    struct trace_clock first, last;
    size_t maps_size;
    uint32_t last_kind; /* of a block */
};

/* Whether the file is one. */
bool recording_is(const char *path);

/* STATUS_FINE; else it has complained, and there is nothing to close. */
int recording_open(struct recording *recording, const char *path);
void recording_close(struct recording *recording);

/* The events in the order of time, from the first one again after
 * recording_rewind.  False: there are no more. */
void recording_rewind(struct recording *recording);
bool recording_next(struct recording *recording, struct event *event);

#endif
