/*
 * pin_ring.h - the last episodes, for readers that come after.
 */
#ifndef INSPECT_PIN_RING_H
#define INSPECT_PIN_RING_H

#include <stdbool.h>
#include <stdint.h>

#include <vthread/pin.h>

/* Gives the episode its number, stores it, and wakes readers.  From any OS
 * thread; never waits. */
void pin_ring_put(struct vthread_pin_episode *episode);

/* The number that the next episode gets. */
uint64_t pin_ring_next(void);

/* The first episode of that number or a later one; false: there is none yet.
 * The number of what is passed over is the number of those dropped. */
bool pin_ring_get(uint64_t from, struct vthread_pin_episode *episode);

/* Sleeps until there is an episode of that number, the deadline has come, or
 * pin_ring_wake_readers is called. */
void pin_ring_wait(uint64_t number, uint64_t deadline_ns);
void pin_ring_wake_readers(void);

#endif
