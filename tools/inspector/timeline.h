/*
 * timeline.h - from a recording to the tracks that Perfetto shows.
 */
#ifndef TIMELINE_H
#define TIMELINE_H

#include <stdbool.h>
#include <stddef.h>

struct perfetto;
struct recording;
struct symbols;

struct timeline_counts {
    size_t threads;  /* that have tracks */
    size_t left_out; /* that did nothing, beyond some thousands */
};

/* Writes all of it; symbols NULL: functions are told by their addresses.
 * False: no memory. */
bool timeline_write(struct recording *recording, struct symbols *symbols,
                    struct perfetto *perfetto, struct timeline_counts *counts);

#endif
