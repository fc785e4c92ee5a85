/*
 * ring.h - threads that wait for a transfer which the kernel makes by
 * itself.
 */
#ifndef RING_H
#define RING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* Whether the calling thread may wait for a transfer: it is virtual, not
 * pinned, and there is a ring. */
bool ring_is_usable(void);

/* Transfers up to the sum of the buffers, at the offset, and parks
 * meanwhile.  Returns the number of bytes, which may be less, or minus an
 * error number; -ECANCELED and -ETIMEDOUT: nothing has been transferred;
 * -EOPNOTSUPP: not in this way. */
ssize_t ring_transfer(int fd, const struct iovec *iov, unsigned count,
                      off_t offset, bool writes, uint64_t deadline_ns);

#endif
