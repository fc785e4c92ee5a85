/*
 * messages.c - recvmmsg and sendmmsg: several messages in one call.
 *
 * Each attempt takes as many as there are without waiting; what the call is
 * to wait for is the next message.  An error after the first of them ends
 * the call with what has been transferred: the next call meets it again.
 * (libc's recvmmsg has the socket remember it, which only the kernel can.)
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "posix/own.h"
#include "posix/real.h"
#include "posix/socket.h"
#include "posix/transfer.h"

/* A part of an array of messages. */
struct batch {
    struct transfer transfer; /* first */
    struct mmsghdr *next;
    unsigned count;
};

/* ---- Receiving ---------------------------------------------------------- */

static ssize_t attempt_recvmmsg(struct transfer *t)
{
    struct batch *b = (struct batch *)t;
    return REAL(recvmmsg)(t->fd, b->next, b->count, t->flags | MSG_DONTWAIT,
                          NULL);
}

/* One that waits for all its bytes. */
static int receive_one(int fd, struct mmsghdr *message, int flags)
{
    ssize_t n = recvmsg(fd, &message->msg_hdr, flags);
    message->msg_len = n < 0 ? 0 : (unsigned)n;
    return n < 0 ? -1 : 1;
}

static int receive_some(int fd, struct mmsghdr *messages, unsigned count,
                        int flags)
{
    if (flags & MSG_DONTWAIT)
        return REAL(recvmmsg)(fd, messages, count, flags, NULL);
    if (flags & MSG_WAITALL)
        return receive_one(fd, messages, flags);
    struct batch b = {
        .transfer = {
            .attempt = attempt_recvmmsg,
            .fd = fd,
            .flags = flags,
            .events = POLLIN,
        },
        .next = messages,
        .count = count,
    };
    return (int)transfer_perform(&b.transfer);
}

/* As Linux does it, the time is looked at after each message, and told. */
static bool is_over(struct timespec *timeout, uint64_t deadline_ns)
{
    uint64_t left_ns = own_left(deadline_ns);
    if (!timeout)
        return false;
    *timeout = own_timespec(left_ns);
    return left_ns == 0;
}

OWN int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags,
                 struct timespec *timeout)
{
    if (!own_concerns_us() || count == 0 || socket_never_waits(flags))
        return REAL(recvmmsg)(fd, messages, count, flags, timeout);
    if (timeout && !own_is_time(timeout))
        return own_result(EINVAL);
    uint64_t deadline_ns = own_deadline_of(timeout);
    int each = flags & ~MSG_WAITFORONE;
    unsigned sum = 0;
    do {
        int n = receive_some(fd, messages + sum, timeout ? 1 : count - sum,
                             each);
        if (n < 0)
            return (int)own_part(sum, errno);
        sum += (unsigned)n;
        if (flags & MSG_WAITFORONE)
            each |= MSG_DONTWAIT;
    } while (sum < count && !is_over(timeout, deadline_ns)
             && !(messages[sum - 1].msg_hdr.msg_flags & MSG_OOB));
    return (int)sum;
}

/* ---- Sending ------------------------------------------------------------ */

static ssize_t attempt_sendmmsg(struct transfer *t)
{
    struct batch *b = (struct batch *)t;
    return REAL(sendmmsg)(t->fd, b->next, b->count, t->flags | MSG_DONTWAIT);
}

/* Of a stream: all its bytes. */
static int send_one(int fd, struct mmsghdr *message, int flags)
{
    ssize_t n = sendmsg(fd, &message->msg_hdr, flags);
    message->msg_len = n < 0 ? 0 : (unsigned)n;
    return n < 0 ? -1 : 1;
}

static int send_some(int fd, struct mmsghdr *messages, unsigned count,
                     int flags)
{
    const struct msghdr *first = &messages->msg_hdr;
    struct batch b = {
        .transfer = {
            .attempt = attempt_sendmmsg,
            .fd = fd,
            .flags = flags,
            .events = POLLOUT,
            .naps = socket_names_unix(first->msg_name, first->msg_namelen),
        },
        .next = messages,
        .count = count,
    };
    return (int)transfer_perform(&b.transfer);
}

OWN int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    if (!own_concerns_us() || count == 0 || flags & MSG_DONTWAIT)
        return REAL(sendmmsg)(fd, messages, count, flags);
    bool is_stream = socket_is_stream(fd);
    unsigned sum = 0;
    do {
        int n = is_stream ? send_one(fd, messages + sum, flags)
                          : send_some(fd, messages + sum, count - sum, flags);
        if (n < 0)
            return (int)own_part(sum, errno);
        sum += (unsigned)n;
    } while (sum < count);
    return (int)sum;
}
