/*
 * world.h - stopping all virtual threads, for a collector of the machine's
 * own.
 */
#ifndef EMBED_WORLD_H
#define EMBED_WORLD_H

#include <stdbool.h>

/* Whether the machine has said that it will do so. */
extern __attribute__((visibility("hidden"))) bool world_is_on;

/* With that, before there are threads. */
void world_start(void);

/* Whether it is stopped now; and by the calling thread. */
bool world_is_stopped(void);
bool world_is_stopped_by_caller(void);

/* The calling OS thread is about to call what may block.  The frames from sp
 * on do not change meanwhile, and hold the registers.  False: it was not busy.
 * It comes back afterwards, and waits while the world is stopped. */
bool world_leave(void *sp);
void world_come_back(void);

/* At a safepoint: waits while the world is stopped. */
void world_wait(void);

#endif
