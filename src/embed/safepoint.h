/*
 * safepoint.h - threads that are asked to come to a safepoint.
 */
#ifndef EMBED_SAFEPOINT_H
#define EMBED_SAFEPOINT_H

#include <stdint.h>

struct carrier;
struct pool_stuck;

/* From how long on the monitor is to tell of a carrier that stays at the same
 * task; hog_ns: for other reasons.  0: never. */
uint64_t safepoint_stuck_ns(uint64_t hog_ns);

/* The monitor has seen a carrier that stays at the same task. */
void safepoint_look(struct carrier *carrier, const struct pool_stuck *stuck);

#endif
