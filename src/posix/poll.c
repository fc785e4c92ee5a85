/*
 * poll.c - poll and ppoll.
 *
 * A signal mask is not heeded: carriers block signals, and the program's
 * own threads handle them.
 */
#include "posix/poll.h"

#include <errno.h>
#include <signal.h>

#include "posix/own.h"
#include "posix/real.h"

static uint32_t closes_of(const struct pollfd *fds, nfds_t count)
{
    uint32_t sum = 0;
    for (nfds_t i = 0; i < count; i++)
        if (fds[i].fd >= 0)
            sum += own_closes(fds[i].fd);
    return sum;
}

/* One of them was closed, and poll(2) says which; unless its number is in
 * use again, and that can only be looked at anew. */
static int poll_closed(struct pollfd *fds, nfds_t count)
{
    int n = REAL(poll)(fds, count, 0);
    return n != 0 ? n : own_result(EINTR);
}

int poll_until(struct pollfd *fds, nfds_t count, uint64_t deadline_ns)
{
    unsigned ready;
    uint32_t before = closes_of(fds, count);
    own_bind();
    int err = vthread_poll_until(fds, count, &ready, deadline_ns);
    if (err == 0)
        return (int)ready;
    if (err == ETIMEDOUT)
        return 0;
    if (err != ECANCELED)
        return own_result(err);
    if (closes_of(fds, count) != before)
        return poll_closed(fds, count);
    return own_result(own_why_cancelled());
}

OWN int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    if (!own_concerns_us() || timeout_ms == 0)
        return REAL(poll)(fds, count, timeout_ms);
    return poll_until(fds, count, own_deadline_of_ms(timeout_ms));
}

OWN int ppoll(struct pollfd *fds, nfds_t count,
              const struct timespec *timeout, const sigset_t *mask)
{
    if (!own_concerns_us())
        return REAL(ppoll)(fds, count, timeout, mask);
    if (timeout && !own_is_time(timeout))
        return own_result(EINVAL);
    return poll_until(fds, count, own_deadline_of(timeout));
}

OWN_ALIAS(poll)
int __poll(struct pollfd *fds, nfds_t count, int timeout_ms);
