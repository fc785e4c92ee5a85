/*
 * poller.h - readiness of descriptors, from the kernel (epoll).
 *
 * One poller for the process.  Edge-triggered, both directions at once; an
 * event carries the 64-bit cookie given at registration.
 */
#ifndef PLATFORM_POLLER_H
#define PLATFORM_POLLER_H

#include <stdbool.h>
#include <stdint.h>

#define POLLER_READABLE 1u
#define POLLER_WRITABLE 2u
/* The peer has closed, there is an error or urgent data: more than plain
 * data is to be found, so a read that stops short need not be the last. */
#define POLLER_HANGUP 4u

/* The one cookie that may not be given. */
#define POLLER_RESERVED_COOKIE UINT64_MAX

struct poller_event {
    uint64_t cookie;
    unsigned ready; /* POLLER_* */
};

/* Creates the poller, once; 0, EMFILE, ENFILE or ENOMEM. */
int poller_open(void);

/* Whether poller_open has succeeded. */
bool poller_is_open(void);

/* Registers a descriptor.  0; EPERM: not pollable (a regular file); EEXIST:
 * registered already; EBADF; ENOMEM; ENOSPC. */
int poller_add(int fd, uint64_t cookie);

/* Takes it out.  Errors are of no consequence. */
void poller_remove(int fd);

/* Waits for events until the deadline (absolute, monotonic; 0: only
 * looks), or until poller_interrupt, and stores up to capacity of them.
 * Returns their number; 0 on time-out, interruption or a signal. */
int poller_wait(struct poller_event *events, int capacity,
                uint64_t deadline_ns);

/* Makes one poller_wait that sleeps, or else the next that would, return.
 * Does not count for those that only look.  Nothing before poller_open. */
void poller_interrupt(void);

#endif
