/*
 * ring.h - transfers from and to files that the kernel makes by itself
 * (io_uring), where it can.
 *
 * One ring for the process, and one OS thread that hands requests in and
 * takes completions out.
 */
#ifndef PLATFORM_RING_H
#define PLATFORM_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct ring_request;

/* On its way to the ring's thread. */
struct ring_link {
    struct ring_link *next, **link;
    struct ring_request *request;
};

/* Memory that stays where it is until `done` is called, as do the vector and
 * its buffers. */
struct ring_request {
    /* Once, on the ring's thread, its last touch of the request. */
    void (*done)(struct ring_request *request);
    const struct iovec *iov;
    unsigned count;
    int fd;
    off_t offset;
    bool writes;
    int result; /* bytes, or minus an error number; for `done` */

    /* The ring's own. */
    struct ring_link submission, cancellation;
    _Atomic int stage;
    bool is_in_ring;
    bool has_completed;
    bool is_cancellation_seen;
};

/* Whether there is a ring; sets it up at the first call. */
bool ring_is_open(void);

/* Hands a request in.  Only if ring_is_open. */
void ring_submit(struct ring_request *request);

/* Asks that a request which has been handed in be given up, if it has not
 * begun: its result is -ECANCELED then.  `done` is called in any case.  At
 * most once, and not after `done`, by the one who handed it in. */
void ring_cancel(struct ring_request *request);

/* The OS threads that it has started: 0 or 1. */
unsigned ring_os_threads(void);

#endif
