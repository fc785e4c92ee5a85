/*
 * posix.h - for the tests of libvthread-posix: threads by the public
 * functions, for the tests are linked as any program is, and pairs of
 * descriptors.
 */
#ifndef TESTS_POSIX_H
#define TESTS_POSIX_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pty.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <vthread.h>

#include "tests/support.h"

/* For threads: says nothing while it holds. */
#define require(condition)                                                    \
    ((condition) ? (void)0                                                    \
                 : ck_abort_msg("%s:%d: %s", __FILE__, __LINE__, #condition))

/* The call fails with that errno, which is looked at right after it. */
#define fails(error, call) (errno = 0, (call) == -1 && errno == (error))

/* ---- Threads ------------------------------------------------------------ */

static inline vthread_t start(void *(*fn)(void *), void *arg)
{
    vthread_t t = 0;
    ck_assert_int_eq(vthread_create(&t, NULL, fn, arg), 0);
    return t;
}

static inline void *join(vthread_t t)
{
    void *result = NULL;
    ck_assert_int_eq(vthread_join(t, &result), 0);
    return result;
}

/* Claims that are made on a virtual thread. */
static inline void on_virtual(void *(*fn)(void *))
{
    join(start(fn, NULL));
}

struct count {
    void *(*fn)(void *);
    uint64_t unmounted;
};

static inline void count_entry(const vthread_census_entry_t *entry, void *arg)
{
    struct count *c = arg;
    if (entry->fn == c->fn)
        c->unmounted = entry->unmounted - entry->homes_none;
}

static inline uint64_t count_unmounted(void *(*fn)(void *))
{
    struct count c = {.fn = fn};
    ck_assert_int_eq(vthread_census(count_entry, &c), 0);
    return c.unmounted;
}

/* Until so many threads that were started with fn have begun and do not run:
 * they wait, if they have done nothing before that could be waited for. */
static inline void until_waiting(void *(*fn)(void *), uint64_t count)
{
    while (count_unmounted(fn) < count)
        vthread_yield();
}

static inline void until(atomic_int *flag)
{
    while (!atomic_load(flag))
        vthread_yield();
}

static inline void *as_pointer(intptr_t value)
{
    return (void *)value;
}

static inline intptr_t as_number(void *pointer)
{
    return (intptr_t)pointer;
}

/* ---- Descriptors -------------------------------------------------------- */

/* All that can be read at one end when it is written at the other. */
enum kind { PIPE, UNIX_STREAM, TCP, TERMINAL, STREAMS = 3, KINDS = 4 };

struct pair {
    int reader, writer;
};

static inline struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
}

static inline int listen_on_loopback(struct sockaddr_in *address, int backlog)
{
    socklen_t length = sizeof *address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(fd >= 0);
    *address = loopback(0);
    require(bind(fd, (struct sockaddr *)address, length) == 0);
    require(listen(fd, backlog) == 0);
    require(getsockname(fd, (struct sockaddr *)address, &length) == 0);
    return fd;
}

static inline void tcp_pair(int fds[2])
{
    struct sockaddr_in address;
    int room = 32768, listener = listen_on_loopback(&address, 1);
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(fds[1] >= 0);
    require(connect(fds[1], (struct sockaddr *)&address, sizeof address)
            == 0);
    fds[0] = accept(listener, NULL, NULL);
    require(fds[0] >= 0);
    /* Or the kernel takes megabytes. */
    setsockopt(fds[0], SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    close(listener);
}

/* Blocking, as the system makes them.  A raw terminal. */
static inline struct pair open_pair(enum kind kind)
{
    int fds[2];
    struct termios raw;
    cfmakeraw(memset(&raw, 0, sizeof raw));
    raw.c_cc[VMIN] = 1;
    if (kind == PIPE)
        require(pipe2(fds, O_CLOEXEC) == 0);
    else if (kind == UNIX_STREAM)
        require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
    else if (kind == TCP)
        tcp_pair(fds);
    else
        require(openpty(&fds[1], &fds[0], NULL, &raw, NULL) == 0);
    return (struct pair){.reader = fds[0], .writer = fds[1]};
}

static inline void close_pair(struct pair pair)
{
    require(close(pair.reader) == 0);
    require(close(pair.writer) == 0);
}

static inline void set_nonblocking(int fd)
{
    require(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0);
}

static inline void set_limit(int fd, int option, unsigned ms)
{
    struct timeval limit = {.tv_sec = ms / 1000,
                            .tv_usec = ms % 1000 * 1000};
    require(setsockopt(fd, SOL_SOCKET, option, &limit, sizeof limit) == 0);
}

/* Bytes that tell where they belong. */
static inline void fill_pattern(unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(i * 31 + i / 251);
}

#endif
