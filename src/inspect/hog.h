/*
 * hog.h - threads that keep what others wait for: their carrier, or a
 * common home.
 */
#ifndef HOG_H
#define HOG_H

#include <stdbool.h>
#include <stdint.h>

struct carrier;
struct pool_stuck;

/* What was said already of the task that a carrier is at.  The monitor's. */
struct hog_memory {
    uint32_t tick;
    bool hogs, holds_home;
    uint64_t held_ns; /* when it was first looked at, */
    uint64_t ran_ns;  /* and how long its OS thread had run then */
};

/* From when on it wants to look, with a limit of so much. */
static inline uint64_t hog_stuck_ns(uint64_t limit_ns)
{
    return limit_ns / 2;
}

/* A pool_client's `stuck`. */
void hog_look(struct carrier *carrier, const struct pool_stuck *stuck);

#endif
