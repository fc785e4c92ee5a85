/*
 * stream.c - read, write, readv and writev: of whatever it is.
 *
 * What it is, the calls tell, the most frequent first:
 *
 *   a socket         recv and send do it, with MSG_DONTWAIT
 *   a file           says ENOTSOCK there, and fstat says so: in place
 *   pipes, eventfds  preadv2 and pwritev2 do it, with RWF_NOWAIT
 *   terminals, FIFOs say EOPNOTSUPP there: poll tells when, then in place
 *
 * Remembering what a number was is not worth its risk: libc itself closes
 * numbers behind our back (fclose), and what a wrong memory costs is a read
 * that never ends.  The attempts that fail cost some 100 ns each.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "posix/own.h"
#include "posix/real.h"
#include "posix/transfer.h"

enum { MISSES = 100 };

static bool writes(const struct transfer *t)
{
    return t->events == POLLOUT;
}

/* ---- In place ----------------------------------------------------------- */

/* A call that may block the OS thread. */
struct call {
    bool writes;
    int fd;
    const struct iovec *iov;
    size_t count;
    ssize_t result;
};

static void *make_call(void *arg)
{
    struct call *c = arg;
    c->result = c->writes ? REAL(writev)(c->fd, c->iov, (int)c->count)
                          : REAL(readv)(c->fd, c->iov, (int)c->count);
    return NULL;
}

static ssize_t call_in_place(const struct transfer *t,
                             const struct iovec *iov, size_t count)
{
    struct call c = {
        .writes = writes(t), .fd = t->fd, .iov = iov, .count = count};
    own_block(make_call, &c);
    return c.result;
}

/* ---- Attempts ----------------------------------------------------------- */

static ssize_t attempt_socket(struct transfer *t)
{
    size_t count;
    const struct iovec *iov = vector_next(&t->left, &count);
    struct msghdr message = {.msg_iov = (void *)iov, .msg_iovlen = count};
    if (count > 1)
        return writes(t) ? REAL(sendmsg)(t->fd, &message, MSG_DONTWAIT)
                         : REAL(recvmsg)(t->fd, &message, MSG_DONTWAIT);
    return writes(t) ? REAL(send)(t->fd, iov->iov_base, iov->iov_len,
                                  MSG_DONTWAIT)
                     : REAL(recv)(t->fd, iov->iov_base, iov->iov_len,
                                  MSG_DONTWAIT);
}

/* At the file's own position. */
static ssize_t attempt_without_waiting(struct transfer *t)
{
    size_t count;
    const struct iovec *iov = vector_next(&t->left, &count);
    return writes(t)
               ? REAL(pwritev2)(t->fd, iov, (int)count, -1, RWF_NOWAIT)
               : REAL(preadv2)(t->fd, iov, (int)count, -1, RWF_NOWAIT);
}

/* What the page cache has is read at once; `wants_all` sees to the rest. */
static ssize_t attempt_file(struct transfer *t)
{
    size_t count;
    ssize_t n = writes(t) ? -1 : attempt_without_waiting(t);
    const struct iovec *iov = vector_next(&t->left, &count);
    return n >= 0 ? n : call_in_place(t, iov, count);
}

static size_t size_of(const struct iovec *iov, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += iov[i].iov_len;
    return size;
}

/* A FIFO that is ready takes PIPE_BUF bytes without blocking. */
static ssize_t attempt_guarded(struct transfer *t)
{
    size_t count;
    const struct iovec *iov = vector_next(&t->left, &count);
    struct iovec piece = {.iov_base = iov->iov_base};
    if (writes(t) && size_of(iov, count) > PIPE_BUF && iov->iov_len > 0) {
        piece.iov_len = iov->iov_len < PIPE_BUF ? iov->iov_len : PIPE_BUF;
        iov = &piece;
        count = 1;
    }
    if (!own_guard(t->fd, t->events))
        return own_result(EAGAIN);
    ssize_t n = call_in_place(t, iov, count);
    own_guard_end(t->fd);
    return n;
}

/* Somebody else was faster, or, if it goes on like that, poll and RWF_NOWAIT
 * do not mean the same to a device. */
static bool has_missed(struct transfer *t)
{
    return errno == EAGAIN && t->has_waited && ++t->misses > MISSES;
}

/* Other kinds of file are asked without waiting first. */
static ssize_t attempt_other(struct transfer *t)
{
    ssize_t n = attempt_without_waiting(t);
    if (n >= 0
        || (errno != EOPNOTSUPP && errno != ENOSYS && !has_missed(t)))
        return n;
    t->attempt = attempt_guarded;
    return attempt_guarded(t);
}

static bool is_file(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0
           && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)
               || S_ISBLK(status.st_mode));
}

static ssize_t attempt_any(struct transfer *t)
{
    ssize_t n = attempt_socket(t);
    if (n >= 0 || errno != ENOTSOCK)
        return n;
    if (is_file(t->fd)) {
        /* A file takes less when the disk is full. */
        t->wants_all = !writes(t);
        t->attempt = attempt_file;
    } else {
        t->attempt = attempt_other;
    }
    return t->attempt(t);
}

static ssize_t transfer_any(int fd, struct vector left, short events)
{
    struct transfer t = {
        .attempt = attempt_any,
        .fd = fd,
        .events = events,
        .wants_all = events == POLLOUT,
        .left = left,
    };
    return transfer_perform(&t);
}

/* ---- The calls ---------------------------------------------------------- */

OWN ssize_t read(int fd, void *buffer, size_t size_bytes)
{
    if (!own_concerns_us() || size_bytes == 0)
        return REAL(read)(fd, buffer, size_bytes);
    return transfer_any(fd, vector_of_buffer(buffer, size_bytes), POLLIN);
}

OWN ssize_t write(int fd, const void *buffer, size_t size_bytes)
{
    if (!own_concerns_us() || size_bytes == 0)
        return REAL(write)(fd, buffer, size_bytes);
    return transfer_any(fd, vector_of_buffer(buffer, size_bytes), POLLOUT);
}

/* Nothing to do, or an error. */
static bool is_trivial(const struct iovec *iov, int count)
{
    return count <= 0 || count > IOV_MAX || size_of(iov, (size_t)count) == 0;
}

OWN ssize_t readv(int fd, const struct iovec *iov, int count)
{
    if (!own_concerns_us() || is_trivial(iov, count))
        return REAL(readv)(fd, iov, count);
    return transfer_any(fd, vector_of(iov, (size_t)count), POLLIN);
}

OWN ssize_t writev(int fd, const struct iovec *iov, int count)
{
    if (!own_concerns_us() || is_trivial(iov, count))
        return REAL(writev)(fd, iov, count);
    return transfer_any(fd, vector_of(iov, (size_t)count), POLLOUT);
}

OWN_ALIAS(read) ssize_t __read(int fd, void *buffer, size_t size_bytes);
OWN_ALIAS(write)
ssize_t __write(int fd, const void *buffer, size_t size_bytes);
