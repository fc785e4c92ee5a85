/*
 * connection.c - connect and accept, which have no MSG_DONTWAIT.
 *
 * connect: there is no way but O_NONBLOCK to begin a connection without
 * waiting for it, so the socket has that flag for the one system call, and
 * is as the program has made it while its thread waits.  Rejected: in place,
 * for thousands of threads that connect would need thousands of OS threads;
 * MSG_FASTOPEN, which begins one by sendmsg, for it changes what is sent.
 *
 * accept: not so, for others may wait in accept for the same socket.  A
 * socket that is ready is accepted from in place, see own_guard.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "posix/own.h"
#include "posix/real.h"
#include "posix/transfer.h"

/* ---- Accepting ---------------------------------------------------------- */

struct acceptance {
    struct transfer transfer; /* first */
    int flags;
    int accepted;
};

static void *accept_in_place(void *arg)
{
    struct acceptance *a = arg;
    a->accepted = REAL(accept4)(a->transfer.fd, a->transfer.from,
                                a->transfer.from_length, a->flags);
    return NULL;
}

/* What else it is, accept itself says at once. */
static bool is_listening(int fd)
{
    int listens = 0;
    socklen_t size = sizeof listens;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0
           && listens;
}

static ssize_t attempt_accept(struct transfer *t)
{
    struct acceptance *a = (struct acceptance *)t;
    if (!own_guard(t->fd, POLLIN)) {
        if (is_listening(t->fd))
            return own_result(EAGAIN);
        accept_in_place(a);
        return a->accepted < 0 ? -1 : 0;
    }
    own_block(accept_in_place, a);
    own_guard_end(t->fd);
    return a->accepted < 0 ? -1 : 0;
}

OWN int accept4(int fd, struct sockaddr *address, socklen_t *length,
                int flags)
{
    /* Others are an error, which is told without waiting. */
    if (!own_concerns_us() || flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
        return REAL(accept4)(fd, address, length, flags);
    struct acceptance a = {
        .transfer = {
            .attempt = attempt_accept,
            .fd = fd,
            .events = POLLIN,
            .from = address,
            .from_length = length,
        },
        .flags = flags,
    };
    return transfer_perform(&a.transfer) < 0 ? -1 : a.accepted;
}

OWN int accept(int fd, struct sockaddr *address, socklen_t *length)
{
    if (!own_concerns_us())
        return REAL(accept)(fd, address, length);
    return accept4(fd, address, length, 0);
}

/* ---- Connecting --------------------------------------------------------- */

static void set_nonblocking(int fd, bool nonblocking)
{
    int saved_errno = errno;
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0)
        fcntl(fd, F_SETFL,
              nonblocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
    errno = saved_errno;
}

/* As connect of a non-blocking socket. */
static int begin(int fd, const struct sockaddr *address, socklen_t length)
{
    set_nonblocking(fd, true);
    int result = REAL(connect)(fd, address, length);
    set_nonblocking(fd, false);
    return result;
}

static bool is_internet(const struct sockaddr *address)
{
    return address->sa_family == AF_INET || address->sa_family == AF_INET6;
}

/* connect itself tells what the one before has come to, and not before that
 * does the kernel know that it is over: the next one would be told instead,
 * success on a connected socket, or ECONNABORTED by who tries again after an
 * error. */
static int result_by_connect(const struct transfer *t)
{
    if (begin(t->fd, t->to, t->to_length) == 0 || errno == EISCONN)
        return 0;
    return errno == EALREADY || errno == EINPROGRESS ? EAGAIN : errno;
}

/* Elsewhere it might begin anew. */
static int result_by_option(const struct transfer *t)
{
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0
               ? error
               : errno;
}

/* What has come of it: EAGAIN as long as nothing has. */
static ssize_t attempt_finish(struct transfer *t)
{
    struct pollfd entry = {.fd = t->fd, .events = POLLOUT};
    int n = REAL(poll)(&entry, 1, 0);
    if (n <= 0)
        return own_result(n == 0 ? EAGAIN : errno);
    return own_result(is_internet(t->to) ? result_by_connect(t)
                                         : result_by_option(t));
}

/* The backlog of a UNIX socket may be full: that is EAGAIN, and nothing has
 * begun. */
static ssize_t attempt_begin(struct transfer *t)
{
    return begin(t->fd, t->to, t->to_length);
}

OWN int connect(int fd, const struct sockaddr *address, socklen_t length)
{
    if (!own_concerns_us() || own_is_nonblocking(fd))
        return REAL(connect)(fd, address, length);
    struct transfer t = {
        .attempt = attempt_begin,
        .fd = fd,
        .events = POLLOUT,
        .naps = true,
        .to = address,
        .to_length = length,
    };
    int result = (int)transfer_perform(&t);
    if (result == 0 || (errno != EINPROGRESS && errno != EALREADY))
        return result;
    t.attempt = attempt_finish;
    t.naps = false;
    result = (int)transfer_perform(&t);
    /* SO_SNDTIMEO is over: the attempt goes on, as Linux has it. */
    if (result < 0 && errno == EAGAIN)
        errno = EINPROGRESS;
    return result;
}

OWN_ALIAS(connect)
int __connect(int fd, const struct sockaddr *address, socklen_t length);
