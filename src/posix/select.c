/*
 * select.c - select and pselect, by poll.
 *
 * The sets may be larger than FD_SETSIZE, as far as the kernel goes: they
 * are arrays of long, as long as the highest number asks for.  But that one
 * may be the number of descriptors that a process can have, with sets of
 * FD_SETSIZE: the kernel looks no farther than its own table goes.
 */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/time.h>
#include <unistd.h>

#include "posix/own.h"
#include "posix/poll.h"
#include "posix/real.h"

enum { SETS = 3, LONG_BITS = CHAR_BIT * sizeof(long) };

/* What each set asks for, and what is an answer to it. */
static const short asked[SETS] = {POLLIN, POLLOUT, POLLPRI};
static const short answers[SETS] = {
    POLLRDNORM | POLLRDBAND | POLLIN | POLLHUP | POLLERR,
    POLLWRBAND | POLLWRNORM | POLLOUT | POLLERR,
    POLLPRI,
};

static long *word_of(fd_set *set, int fd)
{
    return (long *)set + fd / LONG_BITS;
}

static unsigned long bit_of(int fd)
{
    return 1ul << fd % LONG_BITS;
}

static short events_of(fd_set *const sets[SETS], int fd)
{
    short events = 0;
    for (int i = 0; i < SETS; i++)
        if (sets[i] && *word_of(sets[i], fd) & bit_of(fd))
            events |= asked[i];
    return events;
}

static nfds_t count_asked(fd_set *const sets[SETS], int limit)
{
    nfds_t count = 0;
    for (int fd = 0; fd < limit; fd++)
        count += events_of(sets, fd) != 0;
    return count;
}

static void fill(struct pollfd *fds, fd_set *const sets[SETS], int limit)
{
    for (int fd = 0; fd < limit; fd++) {
        short events = events_of(sets, fd);
        if (events != 0)
            *fds++ = (struct pollfd){.fd = fd, .events = events};
    }
}

static void clear(fd_set *const sets[SETS], int limit)
{
    size_t words = ((size_t)limit + LONG_BITS - 1) / LONG_BITS;
    for (int i = 0; i < SETS; i++)
        if (sets[i])
            memset(sets[i], 0, words * sizeof(long));
}

/* Stores what is ready and returns how many bits that makes. */
static int store(const struct pollfd *fds, nfds_t count,
                 fd_set *const sets[SETS])
{
    int bits = 0;
    for (nfds_t n = 0; n < count; n++) {
        for (int i = 0; i < SETS; i++) {
            if (fds[n].events & asked[i] && fds[n].revents & answers[i]) {
                *word_of(sets[i], fds[n].fd) |= bit_of(fds[n].fd);
                bits++;
            }
        }
    }
    return bits;
}

static bool is_any_closed(const struct pollfd *fds, nfds_t count)
{
    for (nfds_t n = 0; n < count; n++)
        if (fds[n].revents & POLLNVAL)
            return true;
    return false;
}

/* How many entries the kernel's table has; it grows with the highest number
 * in use.  INT_MAX if that cannot be known. */
static int table_size(void)
{
    static const char key[] = "\nFDSize:";
    char text[4096];
    int fd = REAL(open)("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? 0 : REAL(read)(fd, text, sizeof text - 1);
    if (fd >= 0)
        REAL(close)(fd);
    text[size > 0 ? size : 0] = '\0';
    const char *found = strstr(text, key);
    int entries = found ? atoi(found + sizeof key - 1) : 0;
    return entries > 0 ? entries : INT_MAX;
}

static int clamp(int limit)
{
    if (limit <= FD_SETSIZE)
        return limit;
    int entries = table_size();
    return limit < entries ? limit : entries;
}

/* The sets are as they were unless it succeeds. */
static int select_among(struct pollfd *fds, nfds_t count,
                        fd_set *const sets[SETS], int limit,
                        uint64_t deadline_ns)
{
    int n = poll_until(fds, count, deadline_ns);
    if (n < 0)
        return n;
    if (is_any_closed(fds, count))
        return own_result(EBADF);
    clear(sets, limit);
    return n == 0 ? 0 : store(fds, count, sets);
}

static int select_below(int limit, fd_set *const sets[SETS],
                        uint64_t deadline_ns)
{
    nfds_t count = count_asked(sets, limit);
    struct pollfd *fds = malloc((count + 1) * sizeof *fds);
    if (!fds)
        return own_result(ENOMEM);
    fill(fds, sets, limit);
    int result = select_among(fds, count, sets, limit, deadline_ns);
    int saved_errno = errno;
    free(fds);
    errno = saved_errno;
    return result;
}

/* A number that is not open is an error, but not beyond the table: nobody
 * looks there.  How long the table is costs too much to be asked first. */
static int select_until(int limit, fd_set *const sets[SETS],
                        uint64_t deadline_ns)
{
    if (limit < 0)
        return own_result(EINVAL);
    limit = clamp(limit);
    int result = select_below(limit, sets, deadline_ns);
    if (result >= 0 || errno != EBADF)
        return result;
    int entries = table_size();
    return entries < limit ? select_below(entries, sets, deadline_ns)
                           : own_result(EBADF);
}

/* EINVAL, or the time it will be then. */
static int deadline_of(const struct timeval *timeout, uint64_t *deadline_ns)
{
    *deadline_ns = VTHREAD_NEVER;
    if (!timeout)
        return 0;
    if (timeout->tv_sec < 0 || timeout->tv_usec < 0)
        return EINVAL;
    uint64_t seconds = (uint64_t)timeout->tv_sec
                       + (uint64_t)timeout->tv_usec / 1000000;
    if (seconds < VTHREAD_NEVER / VTHREAD_SECOND)
        *deadline_ns = vthread_after(seconds * VTHREAD_SECOND
                                     + (uint64_t)timeout->tv_usec % 1000000
                                           * VTHREAD_US);
    return 0;
}

/* Linux tells how much of the time is left. */
static void store_left(struct timeval *timeout, uint64_t deadline_ns)
{
    uint64_t left_ns = own_left(deadline_ns);
    timeout->tv_sec = (time_t)(left_ns / VTHREAD_SECOND);
    timeout->tv_usec = (suseconds_t)(left_ns % VTHREAD_SECOND / VTHREAD_US);
}

OWN int select(int limit, fd_set *reads, fd_set *writes, fd_set *others,
               struct timeval *timeout)
{
    if (!own_concerns_us())
        return REAL(select)(limit, reads, writes, others, timeout);
    uint64_t deadline_ns;
    int err = deadline_of(timeout, &deadline_ns);
    if (err != 0)
        return own_result(err);
    int result = select_until(
        limit, (fd_set *[SETS]){reads, writes, others}, deadline_ns);
    if (timeout && deadline_ns != VTHREAD_NEVER)
        store_left(timeout, deadline_ns);
    return result;
}

OWN int pselect(int limit, fd_set *reads, fd_set *writes, fd_set *others,
                const struct timespec *timeout, const sigset_t *mask)
{
    if (!own_concerns_us())
        return REAL(pselect)(limit, reads, writes, others, timeout, mask);
    if (timeout && !own_is_time(timeout))
        return own_result(EINVAL);
    return select_until(limit, (fd_set *[SETS]){reads, writes, others},
                        own_deadline_of(timeout));
}

OWN_ALIAS(select)
int __select(int limit, fd_set *reads, fd_set *writes, fd_set *others,
             struct timeval *timeout);
