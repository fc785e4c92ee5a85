/*
 * socket.c - recv, send and their kin.
 *
 * Each attempt is the call itself with MSG_DONTWAIT, which leaves the
 * socket as the program has made it.  For the common case, data is there or
 * there is room, that is all.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "posix/own.h"
#include "posix/real.h"
#include "posix/socket.h"
#include "posix/transfer.h"

/* ---- Receiving ---------------------------------------------------------- */

/* Waiting for more while what is there stays where it is: nothing tells
 * when there is more. */
static bool peeks_for_all(int flags)
{
    return (flags & (MSG_PEEK | MSG_WAITALL)) == (MSG_PEEK | MSG_WAITALL);
}

/* Of other sockets one message is all. */
static bool waits_for_all(int fd, int flags)
{
    return flags & MSG_WAITALL && !(flags & MSG_PEEK) && socket_is_stream(fd);
}

static ssize_t attempt_recv(struct transfer *t)
{
    int flags = t->flags | MSG_DONTWAIT;
    struct iovec *rest = &t->left.first;
    if (!t->from)
        return REAL(recv)(t->fd, rest->iov_base, rest->iov_len, flags);
    return REAL(recvfrom)(t->fd, rest->iov_base, rest->iov_len, flags,
                          t->from, t->from_length);
}

static ssize_t receive(int fd, void *buffer, size_t size_bytes, int flags,
                       struct sockaddr *from, socklen_t *length)
{
    struct transfer t = {
        .attempt = attempt_recv,
        .fd = fd,
        .flags = flags,
        .events = POLLIN,
        .wants_all = waits_for_all(fd, flags),
        .left = vector_of_buffer(buffer, size_bytes),
        .from = from,
        .from_length = length,
    };
    return transfer_perform(&t);
}

/* The next attempt, if there is one, is for data only. */
static ssize_t attempt_recvmsg(struct transfer *t)
{
    size_t count;
    struct msghdr more = {0}, *message = t->message ? t->message : &more;
    struct iovec *iov = message->msg_iov;
    size_t iov_count = message->msg_iovlen;
    message->msg_iov = (struct iovec *)vector_next(&t->left, &count);
    message->msg_iovlen = count;
    ssize_t n = REAL(recvmsg)(t->fd, message, t->flags | MSG_DONTWAIT);
    if (t->message) {
        message->msg_iov = iov;
        message->msg_iovlen = iov_count;
    }
    if (n <= 0 || !t->message)
        return n;
    /* Descriptors that were passed come with the bytes they were sent
     * with. */
    if (message->msg_controllen > 0 || message->msg_flags & MSG_CTRUNC)
        t->wants_all = false;
    t->message = NULL;
    return n;
}

/* ---- Peeking for all ---------------------------------------------------- */

struct peek {
    int fd, flags;
    struct msghdr *message;
    ssize_t result;
};

static void *peek(void *arg)
{
    struct peek *p = arg;
    p->result = REAL(recvmsg)(p->fd, p->message, p->flags);
    return NULL;
}

static ssize_t peek_for_all(int fd, struct msghdr *message, int flags)
{
    struct peek p = {.fd = fd, .flags = flags, .message = message};
    own_block(peek, &p);
    return p.result;
}

static ssize_t peek_for_buffer(int fd, void *buffer, size_t size_bytes,
                               int flags, struct sockaddr *from,
                               socklen_t *length)
{
    struct iovec iov = {buffer, size_bytes};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    message.msg_name = from;
    message.msg_namelen = from && length ? *length : 0;
    ssize_t n = peek_for_all(fd, &message, flags);
    if (n >= 0 && from && length)
        *length = message.msg_namelen;
    return n;
}

/* ---- The calls that receive --------------------------------------------- */

OWN ssize_t recvfrom(int fd, void *buffer, size_t size_bytes, int flags,
                     struct sockaddr *from, socklen_t *length)
{
    if (!own_concerns_us() || socket_never_waits(flags))
        return REAL(recvfrom)(fd, buffer, size_bytes, flags, from, length);
    if (peeks_for_all(flags))
        return peek_for_buffer(fd, buffer, size_bytes, flags, from, length);
    return receive(fd, buffer, size_bytes, flags, from, length);
}

OWN ssize_t recv(int fd, void *buffer, size_t size_bytes, int flags)
{
    if (!own_concerns_us() || socket_never_waits(flags))
        return REAL(recv)(fd, buffer, size_bytes, flags);
    return recvfrom(fd, buffer, size_bytes, flags, NULL, NULL);
}

OWN ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    if (!own_concerns_us() || socket_never_waits(flags))
        return REAL(recvmsg)(fd, message, flags);
    if (peeks_for_all(flags))
        return peek_for_all(fd, message, flags);
    struct transfer t = {
        .attempt = attempt_recvmsg,
        .fd = fd,
        .flags = flags,
        .events = POLLIN,
        .wants_all = waits_for_all(fd, flags),
        .left = vector_of(message->msg_iov, message->msg_iovlen),
        .message = message,
    };
    return transfer_perform(&t);
}

/* ---- Sending ------------------------------------------------------------ */

static ssize_t attempt_send(struct transfer *t)
{
    int flags = t->flags | MSG_DONTWAIT;
    struct iovec *rest = &t->left.first;
    if (!t->to)
        return REAL(send)(t->fd, rest->iov_base, rest->iov_len, flags);
    return REAL(sendto)(t->fd, rest->iov_base, rest->iov_len, flags, t->to,
                        t->to_length);
}

/* What goes with the message goes with its first byte. */
static ssize_t attempt_sendmsg(struct transfer *t)
{
    size_t count;
    struct msghdr message = {0};
    if (t->message)
        message = *t->message;
    message.msg_iov = (struct iovec *)vector_next(&t->left, &count);
    message.msg_iovlen = count;
    ssize_t n = REAL(sendmsg)(t->fd, &message, t->flags | MSG_DONTWAIT);
    if (n > 0)
        t->message = NULL;
    return n;
}

OWN ssize_t sendto(int fd, const void *buffer, size_t size_bytes, int flags,
                   const struct sockaddr *to, socklen_t length)
{
    if (!own_concerns_us() || flags & MSG_DONTWAIT)
        return REAL(sendto)(fd, buffer, size_bytes, flags, to, length);
    struct transfer t = {
        .attempt = attempt_send,
        .fd = fd,
        .flags = flags,
        .events = POLLOUT,
        .wants_all = true,
        .naps = socket_names_unix(to, length),
        .left = vector_of_buffer(buffer, size_bytes),
        .to = to,
        .to_length = length,
    };
    return transfer_perform(&t);
}

OWN ssize_t send(int fd, const void *buffer, size_t size_bytes, int flags)
{
    if (!own_concerns_us() || flags & MSG_DONTWAIT)
        return REAL(send)(fd, buffer, size_bytes, flags);
    return sendto(fd, buffer, size_bytes, flags, NULL, 0);
}

OWN ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (!own_concerns_us() || flags & MSG_DONTWAIT)
        return REAL(sendmsg)(fd, message, flags);
    struct transfer t = {
        .attempt = attempt_sendmsg,
        .fd = fd,
        .flags = flags,
        .events = POLLOUT,
        .wants_all = true,
        .naps = socket_names_unix(message->msg_name, message->msg_namelen),
        .left = vector_of(message->msg_iov, message->msg_iovlen),
        .message = (struct msghdr *)message,
    };
    return transfer_perform(&t);
}

OWN_ALIAS(send) ssize_t __send(int fd, const void *buffer, size_t size_bytes,
                               int flags);
