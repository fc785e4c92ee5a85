/*
 * epoll.c - epoll_wait and its kin.
 *
 * An epoll descriptor can be polled itself: its own events are taken
 * without waiting, and where there are none it is waited for.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>

#include "posix/own.h"
#include "posix/real.h"

static int wait_until(int fd, struct epoll_event *events, int capacity,
                      uint64_t deadline_ns)
{
    for (;;) {
        int n = REAL(epoll_wait)(fd, events, capacity, 0);
        if (n != 0)
            return n;
        int err = own_wait(fd, POLLIN, deadline_ns);
        if (err == ETIMEDOUT)
            return 0;
        if (err != 0)
            return own_result(err);
    }
}

OWN int epoll_wait(int fd, struct epoll_event *events, int capacity,
                   int timeout_ms)
{
    if (!own_concerns_us() || timeout_ms == 0)
        return REAL(epoll_wait)(fd, events, capacity, timeout_ms);
    return wait_until(fd, events, capacity, own_deadline_of_ms(timeout_ms));
}

OWN int epoll_pwait(int fd, struct epoll_event *events, int capacity,
                    int timeout_ms, const sigset_t *mask)
{
    if (!own_concerns_us())
        return REAL(epoll_pwait)(fd, events, capacity, timeout_ms, mask);
    return epoll_wait(fd, events, capacity, timeout_ms);
}

OWN int epoll_pwait2(int fd, struct epoll_event *events, int capacity,
                     const struct timespec *timeout, const sigset_t *mask)
{
    if (!own_concerns_us())
        return REAL(epoll_pwait2)(fd, events, capacity, timeout, mask);
    if (timeout && !own_is_time(timeout))
        return own_result(EINVAL);
    return wait_until(fd, events, capacity, own_deadline_of(timeout));
}
