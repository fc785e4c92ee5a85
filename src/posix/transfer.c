/*
 * transfer.c - attempts, and waiting between them.
 *
 * Not here: the attempts (socket.c, stream.c).
 *
 * Only an attempt that says EAGAIN costs more than the call itself: then
 * the descriptor is asked whether its user wants to wait, and how long.
 * Remembering the answers was rejected: whoever shares the open file, another
 * process even, may change them at any time.
 */
#include "posix/transfer.h"

#include <errno.h>
#include <poll.h>
#include <sys/time.h>

#include "posix/own.h"

/* SO_RCVTIMEO or SO_SNDTIMEO; none is for ever. */
static uint64_t deadline_of(const struct transfer *t)
{
    struct timeval limit = {0};
    socklen_t size = sizeof limit;
    int option = t->events == POLLOUT ? SO_SNDTIMEO : SO_RCVTIMEO;
    if (getsockopt(t->fd, SOL_SOCKET, option, &limit, &size) != 0
        || (limit.tv_sec == 0 && limit.tv_usec == 0))
        return VTHREAD_NEVER;
    return vthread_after((uint64_t)limit.tv_sec * VTHREAD_SECOND
                         + (uint64_t)limit.tv_usec * VTHREAD_US);
}

/* 0: try again. */
static int wait_for_turn(struct transfer *t)
{
    if (!t->has_waited) {
        if (own_is_nonblocking(t->fd))
            return EAGAIN;
        t->deadline_ns = deadline_of(t);
        t->has_waited = true;
    }
    int err = t->naps ? own_nap(&t->nap_ns, t->deadline_ns)
                      : own_wait(t->fd, t->events, t->deadline_ns);
    return err == ETIMEDOUT ? EAGAIN : err;
}

/* Takes n bytes off.  False if nothing is left. */
static bool advance(struct vector *left, size_t n)
{
    for (;;) {
        if (n < left->first.iov_len) {
            left->first.iov_base = (char *)left->first.iov_base + n;
            left->first.iov_len -= n;
            return true;
        }
        n -= left->first.iov_len;
        left->first.iov_len = 0;
        if (left->count == 0)
            return false;
        left->first = *left->others++;
        left->count--;
    }
}

ssize_t transfer_perform(struct transfer *t)
{
    size_t sum = 0;
    for (;;) {
        ssize_t n = t->attempt(t);
        int err = n < 0 ? errno : 0;
        if (n > 0)
            sum += (size_t)n;
        if (n == 0 || (n > 0 && !(t->wants_all && advance(&t->left, n))))
            return (ssize_t)sum;
        if (err == EAGAIN)
            err = wait_for_turn(t);
        if (err != 0)
            return own_part(sum, err);
    }
}
