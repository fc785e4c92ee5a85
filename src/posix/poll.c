/*
 * poll.c - poll and ppoll.
 *
 * A signal mask is not heeded: carriers block signals, and the program's
 * own threads handle them.
 */
#include "posix/poll.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "posix/own.h"
#include "posix/real.h"

enum { FEW = 4, MANY = 4096 };

static uint32_t closes_begun(const struct pollfd *entry)
{
    return entry->fd < 0 ? 0 : own_closes_begun(entry->fd);
}

static uint32_t closes_ended(const struct pollfd *entry)
{
    return entry->fd < 0 ? 0 : own_closes_ended(entry->fd);
}

/* Those who wait are woken before the number is really closed, and then it
 * may be in use again; so poll(2) cannot be asked. */
static int mark_closed(struct pollfd *fds, nfds_t count,
                       const uint32_t *before)
{
    int closed = 0;
    for (nfds_t i = 0; i < count; i++) {
        bool is_closed = closes_begun(&fds[i]) != before[i];
        fds[i].revents = is_closed ? POLLNVAL : 0;
        closed += is_closed;
    }
    return closed;
}

static int poll_noting(struct pollfd *fds, nfds_t count, uint32_t *before,
                       uint64_t deadline_ns)
{
    unsigned ready;
    for (nfds_t i = 0; i < count; i++)
        before[i] = closes_ended(&fds[i]);
    int err = own_poll(fds, count, &ready, deadline_ns);
    if (err == 0)
        return (int)ready;
    if (err == ETIMEDOUT)
        return 0;
    if (err != ECANCELED)
        return own_result(err);
    int closed = mark_closed(fds, count, before);
    return closed > 0 ? closed : own_result(own_why_cancelled());
}

static int poll_more(struct pollfd *fds, nfds_t count, uint64_t deadline_ns)
{
    /* More than there can be is an error, and not to be looked at. */
    int n = count > MANY ? REAL(poll)(fds, count, 0) : 0;
    if (n != 0)
        return n;
    uint32_t *before = malloc(count * sizeof *before);
    if (!before)
        return own_result(ENOMEM);
    n = poll_noting(fds, count, before, deadline_ns);
    int saved_errno = errno;
    free(before);
    errno = saved_errno;
    return n;
}

int poll_until(struct pollfd *fds, nfds_t count, uint64_t deadline_ns)
{
    uint32_t before[FEW];
    return count > FEW ? poll_more(fds, count, deadline_ns)
                       : poll_noting(fds, count, before, deadline_ns);
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
