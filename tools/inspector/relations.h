/*
 * relations.h - who waits for whom: circles among the threads of a snapshot.
 */
#ifndef RELATIONS_H
#define RELATIONS_H

#include <stddef.h>
#include <stdint.h>

struct snapshot;

struct circle {
    size_t count;
    uint32_t *numbers; /* each waits for the next, the last for the first */
};

struct circles {
    struct circle *all;
    size_t count, capacity;
};

/* Finds all of them.  In a process that was let go in between they are
 * looked at again, in one stop: only what is still the same counts.
 * STATUS_FINE, or a status and a complaint. */
int relations_find_circles(struct snapshot *snapshot,
                           struct circles *circles);
void relations_free_circles(struct circles *circles);

#endif
