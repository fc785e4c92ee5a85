/*
 * pin_format.h - what the command `pin` of the control socket sends.
 *
 *     pin          the episodes that are still known, and all that follow
 *
 * First a header, then episodes (vthread_pin_episode_t in <vthread/pin.h>),
 * each of `episode_bytes`, until the client or the process ends.  A reader
 * takes of an episode what it knows, and passes over the rest.  A number that
 * is missing is an episode that was dropped.
 *
 * Addresses are those of the process: with its /proc/PID/maps, read while it
 * lives, they become offsets in files.  `site` and `frames` are return
 * addresses: the call is before them.
 *
 * This header has no code: tools include it, too.
 */
#ifndef INSPECT_PIN_FORMAT_H
#define INSPECT_PIN_FORMAT_H

#include <stdint.h>

#include <vthread/pin.h>

#define PIN_FORMAT_MAGIC 0x736e697076747631u
#define PIN_FORMAT_VERSION 1

struct pin_header {
    uint64_t magic;
    uint32_t version;       /* larger: a reader that knows less may go on */
    uint32_t header_bytes;
    uint32_t episode_bytes;
    uint32_t locks_tracked; /* 0: nothing tracks pthread locks */
    uint64_t threshold_ns;  /* shorter episodes are left out */
    uint64_t monotonic_ns;  /* one instant by the clock of the episodes */
    uint64_t realtime_ns;   /* and by the calendar, since 1970 */
};

#endif
