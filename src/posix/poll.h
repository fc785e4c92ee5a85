/*
 * poll.h - poll(2) for virtual threads: what poll, ppoll, select and
 * pselect come to.
 */
#ifndef POSIX_POLL_H
#define POSIX_POLL_H

#include <poll.h>
#include <stdint.h>

/* As poll(2): -1 and errno, 0 when the time is over, or the number of
 * entries that are ready. */
int poll_until(struct pollfd *fds, nfds_t count, uint64_t deadline_ns);

#endif
