/*
 * descriptors.h - what the tests of I/O share: pairs of descriptors of all
 * kinds, and the means to see that a thread waits for one.
 */
#ifndef TESTS_DESCRIPTORS_H
#define TESTS_DESCRIPTORS_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "io/descriptor.h"
#include "tests/random.h"
#include "tests/threads.h"

/* For threads: says nothing, and costs nothing, while it holds. */
#define require(condition)                                                    \
    ((condition) ? (void)0                                                    \
                 : ck_abort_msg("%s:%d: %s", __FILE__, __LINE__, #condition))

/* ---- Threads ------------------------------------------------------------ */

/* Threads return errors. */
static inline void *as_result(int err)
{
    return (void *)(intptr_t)err;
}

static inline int as_error(void *result)
{
    return (int)(intptr_t)result;
}

/* ---- Descriptors -------------------------------------------------------- */

/* Out of the way of the numbers that tests expect to be given. */
enum { TCP_LISTENER = 500 };

enum kind { PIPE, UNIX_STREAM, TCP, KINDS };

struct pair {
    int reader, writer;
};

static inline int listen_on_loopback(struct sockaddr_in *address, int backlog)
{
    socklen_t length = sizeof *address;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    *address = (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    require(bind(fd, (struct sockaddr *)address, length) == 0);
    require(listen(fd, backlog) == 0);
    require(getsockname(fd, (struct sockaddr *)address, &length) == 0);
    return fd;
}

/* Through one listening socket, or the closed connections, which keep their
 * ports for a minute, would use up all there are. */
static inline void tcp_pair(int fds[2])
{
    static struct os_lock lock;
    static struct sockaddr_in address;
    static int listener = -1;
    int one = 1;
    os_lock_acquire(&lock);
    if (listener < 0)
        listener = fcntl(listen_on_loopback(&address, 1), F_DUPFD_CLOEXEC,
                         TCP_LISTENER);
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(fds[1] >= 0);
    require(connect(fds[1], (struct sockaddr *)&address, sizeof address) == 0);
    fds[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    require(fds[0] >= 0);
    os_lock_release(&lock);
    setsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* Blocking, as the system makes them. */
static inline struct pair open_pair(enum kind kind)
{
    int fds[2];
    if (kind == PIPE)
        require(pipe2(fds, O_CLOEXEC) == 0);
    else if (kind == UNIX_STREAM)
        require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    else
        tcp_pair(fds);
    return (struct pair){.reader = fds[0], .writer = fds[1]};
}

static inline void close_pair(struct pair pair)
{
    require(vthread_close(pair.reader) == 0);
    require(vthread_close(pair.writer) == 0);
}

/* Writes until there is no more room, and none comes for a while: TCP moves
 * on by itself.  Returns how much went in. */
static inline size_t fill(int fd)
{
    static const char zeros[4096];
    size_t sum = 0, n;
    while (vthread_write_until(fd, zeros, sizeof zeros, &n,
                               vthread_after(5 * VTHREAD_MS))
           == 0)
        sum += n;
    return sum;
}

/* ---- None to be had ----------------------------------------------------- */

/* Takes all there may be, which are few from then on; gives back what was
 * taken. */
struct scarcity {
    int taken[64], count;
};

static inline void take_descriptors(struct scarcity *s)
{
    struct rlimit limit;
    require(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = COUNT_OF(s->taken);
    require(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    s->count = 0;
    while ((s->taken[s->count] = dup(STDERR_FILENO)) >= 0)
        s->count++;
}

static inline void give_descriptors(struct scarcity *s, int count)
{
    while (s->count > 0 && count-- > 0)
        close(s->taken[--s->count]);
}

/* ---- Seeing that a thread waits ----------------------------------------- */

static inline int count_waiting(int fd, enum direction direction)
{
    struct descriptor *d = descriptor_find(fd);
    int count = 0;
    if (!d)
        return 0;
    os_lock_acquire(&d->lock);
    for (uint32_t n = d->waiting[direction].first; n != 0;
         n = thread_at(n)->wait_next)
        count++;
    os_lock_release(&d->lock);
    return count;
}

/* Whoever waits for the descriptor is on the list, if not in its wait. */
static inline void await_waiting(int fd, enum direction direction, int count)
{
    while (count_waiting(fd, direction) != count)
        vthread_yield();
}

static inline int count_watches(int fd)
{
    struct descriptor *d = descriptor_find(fd);
    int count = 0;
    if (!d)
        return 0;
    os_lock_acquire(&d->lock);
    for (struct watch *w = d->watches; w; w = w->next)
        count++;
    os_lock_release(&d->lock);
    return count;
}

static inline void await_watches(int fd, int count)
{
    while (count_watches(fd) != count)
        vthread_yield();
}

#endif
