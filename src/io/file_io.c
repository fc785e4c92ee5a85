/*
 * file_io.c - reading and writing at an offset: vthread_pread and its kin.
 *
 * The ways to read, tried in this order:
 *
 *   1. preadv2 with RWF_NOWAIT, in place: what is cached costs one call.
 *      Less than was asked for may be all that is cached; the rest goes on.
 *   2. io_uring, which costs half the CPU time of a thread that blocks:
 *      the virtual thread parks, and no OS thread waits.
 *   3. preadv in place, while others take over.
 *
 * What is not cached so passes the page cache three times: 1 starts the
 * disk, 2 finds the page under way, and once more when it is there; a thread
 * that blocks passes once, but changes threads twice.  Together 1.0 to 1.35
 * times its CPU time.  Rejected: 2 without 1, for the cold case gains nothing
 * (6.2 to 6.7 us of CPU against 6.4 to 6.9), and one that is cached costs
 * five times as much.  Rejected as well: a worker of the pool for detached
 * calls where there is no io_uring: the thread parks, and the read takes 19 per
 * cent longer than by 3 (11.8 us against 9.9), for the same CPU time (11.3 and
 * 11.7).
 *
 * A file opened with O_DIRECT is never cached, and RWF_NOWAIT waits for its
 * disk all the same: it begins with 2.  So do its writes; others are made in
 * place (3), for they go to the cache, and most file systems refuse them
 * with RWF_NOWAIT.
 *
 * Reading at the position of the file (vthread_read) is one system call in
 * place: two would tear apart what threads that share the descriptor read,
 * and io_uring does not even lock the position.
 */
#include "io/file_io.h"

#include <errno.h>

#include <vthread.h>
#include <vthread/file.h>

#include "io/descriptor.h"
#include "io/in_place.h"
#include "io/operation.h"
#include "io/ring.h"
#include "platform/libc.h"
#include "platform/system.h"

/* ---- How far it has come ------------------------------------------------ */

/* What the next call is given: the rest of a buffer, or whole buffers. */
static void aim(struct file_io *io)
{
    while (io->count > 0 && io->skip == io->iov->iov_len) {
        io->iov++;
        io->count--;
        io->skip = 0;
    }
    io->next = io->iov;
    io->next_count = io->count;
    if (io->skip > 0) {
        io->rest = (struct iovec){
            .iov_base = (char *)io->iov->iov_base + io->skip,
            .iov_len = io->iov->iov_len - io->skip};
        io->next = &io->rest;
        io->next_count = 1;
    }
}

static void advance(struct file_io *io, size_t size_bytes)
{
    io->offset += (off_t)size_bytes;
    io->left_bytes -= size_bytes;
    while (size_bytes > 0) {
        size_t left = io->iov->iov_len - io->skip;
        size_t n = size_bytes < left ? size_bytes : left;
        io->skip += n;
        size_bytes -= n;
        if (size_bytes > 0) {
            io->iov++;
            io->count--;
            io->skip = 0;
        }
    }
}

/* ---- The ways ----------------------------------------------------------- */

static long attempt(void *arg)
{
    struct file_io *io = arg;
    return io->writes
               ? system_pwritev(io->fd, io->next, io->next_count, io->offset)
               : system_preadv2(io->fd, io->next, io->next_count,
                                io->offset, io->flags);
}

/* Bytes, or minus an error number, as from all ways. */
static ssize_t call(struct file_io *io, enum blocking_kind kind, int flags)
{
    long result;
    io->flags = flags;
    int err = in_place(kind, io->deadline_ns, attempt, io, &result);
    return err != 0 ? -err : result;
}

static ssize_t by_ring(struct file_io *io)
{
    if (!ring_is_usable())
        return -EOPNOTSUPP;
    return ring_transfer(io->fd, io->next, (unsigned)io->next_count,
                         io->offset, io->writes, io->deadline_ns);
}

/* What the ring is not fit for is done in place. */
static ssize_t from_disk(struct file_io *io)
{
    ssize_t result = by_ring(io);
    if (result == -EOPNOTSUPP || result == -EAGAIN || result == -EINVAL)
        result = call(io, BLOCKING_LONG, 0);
    return result;
}

static ssize_t read_some(struct file_io *io, bool is_direct)
{
    if (is_direct)
        return from_disk(io);
    ssize_t result = call(io, BLOCKING_SHORT, RWF_NOWAIT);
    if (result == -EAGAIN)
        return from_disk(io);
    /* Old kernels lack the call; some say that the file ends where its cache
     * does. */
    if (result == -EOPNOTSUPP || result == -ENOSYS || result == 0)
        return call(io, BLOCKING_SHORT, 0);
    return result;
}

static ssize_t write_some(struct file_io *io, bool is_direct)
{
    return is_direct ? from_disk(io) : call(io, BLOCKING_SHORT, 0);
}

/* ---- All of it ---------------------------------------------------------- */

/* Whether it was opened with O_DIRECT, as far as is known: if that is wrong
 * the transfer is slower, no more. */
static bool is_direct(int fd)
{
    struct descriptor *d;
    if (descriptor_get(fd, &d) != 0)
        return false;
    uint64_t state = descriptor_state(d, DIRECTION_READ);
    if (state_kind(state) == KIND_UNKNOWN && descriptor_set_up(d, fd) == 0)
        state = descriptor_state(d, DIRECTION_READ);
    return state_kind(state) == KIND_DIRECT;
}

int file_io_perform(struct file_io *io, size_t *done)
{
    bool direct = is_direct(io->fd);
    size_t sum = 0;
    ssize_t n;
    do {
        aim(io);
        n = io->writes ? write_some(io, direct) : read_some(io, direct);
        if (n > 0) {
            advance(io, (size_t)n);
            sum += (size_t)n;
        }
    } while (n > 0 && io->left_bytes > 0);
    if (n < 0 && sum == 0)
        return (int)-n;
    if (n == -ECANCELED)
        operation_put_back_interrupt();
    *done = sum;
    return 0;
}

/* The kernel looks at the sum, the addresses and, in the end, at count. */
static int transfer(struct file_io *io, size_t *done)
{
    if (io->offset < 0 || io->count < 0 || !done)
        return EINVAL;
    if (!io->iov && io->count > 0)
        return EFAULT;
    for (int i = 0; i < io->count; i++)
        io->left_bytes += io->iov[i].iov_len;
    return file_io_perform(io, done);
}

/* ---- The calls ---------------------------------------------------------- */

int vthread_preadv_until(int fd, const struct iovec *iov, int count,
                         off_t offset, size_t *done, uint64_t deadline_ns)
{
    struct file_io io = {.fd = fd,
                         .iov = iov,
                         .count = count,
                         .offset = offset,
                         .deadline_ns = deadline_ns};
    return transfer(&io, done);
}

int vthread_pwritev_until(int fd, const struct iovec *iov, int count,
                          off_t offset, size_t *done, uint64_t deadline_ns)
{
    struct file_io io = {.fd = fd,
                         .writes = true,
                         .iov = iov,
                         .count = count,
                         .offset = offset,
                         .deadline_ns = deadline_ns};
    return transfer(&io, done);
}

int vthread_pread_until(int fd, void *buffer, size_t size_bytes,
                        off_t offset, size_t *done, uint64_t deadline_ns)
{
    struct iovec iov = {.iov_base = buffer, .iov_len = size_bytes};
    return vthread_preadv_until(fd, &iov, 1, offset, done, deadline_ns);
}

int vthread_pwrite_until(int fd, const void *buffer, size_t size_bytes,
                         off_t offset, size_t *done, uint64_t deadline_ns)
{
    struct iovec iov = {.iov_base = (void *)buffer, .iov_len = size_bytes};
    return vthread_pwritev_until(fd, &iov, 1, offset, done, deadline_ns);
}

int vthread_pread(int fd, void *buffer, size_t size_bytes, off_t offset,
                  size_t *done)
{
    return vthread_pread_until(fd, buffer, size_bytes, offset, done,
                               VTHREAD_NEVER);
}

int vthread_pwrite(int fd, const void *buffer, size_t size_bytes,
                   off_t offset, size_t *done)
{
    return vthread_pwrite_until(fd, buffer, size_bytes, offset, done,
                                VTHREAD_NEVER);
}

int vthread_preadv(int fd, const struct iovec *iov, int count, off_t offset,
                   size_t *done)
{
    return vthread_preadv_until(fd, iov, count, offset, done, VTHREAD_NEVER);
}

int vthread_pwritev(int fd, const struct iovec *iov, int count, off_t offset,
                    size_t *done)
{
    return vthread_pwritev_until(fd, iov, count, offset, done,
                                 VTHREAD_NEVER);
}
