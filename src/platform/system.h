/*
 * system.h - the system calls that the library makes for its threads,
 * straight to the kernel.
 *
 * libvthread-posix puts functions of its own in the place of libc's read,
 * poll and so on, and these call the library when a virtual thread is
 * mounted.  The library itself must not come back to where it was called
 * from: whatever it does with a thread mounted (locks that spin included)
 * goes through here, and tests/posix_exports_test.sh sees to that.  It costs
 * nothing: a wrapper of libc does more, being a cancellation point of
 * pthread_cancel (some 20 ns in a process of several OS threads).
 *
 * The sanitizers take libc's place as well, and must see what is read and
 * written.  In their builds the names are libc's.
 *
 * As in libc: -1 and errno if it fails.
 */
#ifndef PLATFORM_SYSTEM_H
#define PLATFORM_SYSTEM_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "platform/libc.h"
#include "platform/sanitizer.h"

#define SYSTEM_CALL(name, ...)                                                \
    (SANITIZER_WATCHES_CALLS ? name(__VA_ARGS__)                              \
                             : syscall(SYS_##name, __VA_ARGS__))

static inline ssize_t system_read(int fd, void *buffer, size_t size_bytes)
{
    return SYSTEM_CALL(read, fd, buffer, size_bytes);
}

static inline ssize_t system_write(int fd, const void *buffer,
                                   size_t size_bytes)
{
    return SYSTEM_CALL(write, fd, buffer, size_bytes);
}

/* Adds one to an eventfd of the library's own.  Past the sanitizers as well:
 * with them write is libvthread-posix's, and the caller may be in the middle of
 * that, or of a lock that it takes. */
static inline void system_signal_event(int fd)
{
    static const uint64_t one = 1;
    int saved_errno = errno;
    (void)!syscall(SYS_write, fd, &one, sizeof one); /* cannot be full */
    errno = saved_errno;
}

static inline ssize_t system_pread(int fd, void *buffer, size_t size_bytes,
                                   off_t offset)
{
    if (SANITIZER_WATCHES_CALLS)
        return pread(fd, buffer, size_bytes, offset);
    return syscall(SYS_pread64, fd, buffer, size_bytes, offset);
}

static inline ssize_t system_readv(int fd, const struct iovec *iov,
                                   int count)
{
    return SYSTEM_CALL(readv, fd, iov, count);
}

static inline ssize_t system_writev(int fd, const struct iovec *iov,
                                    int count)
{
    return SYSTEM_CALL(writev, fd, iov, count);
}

static inline ssize_t system_recvmsg(int fd, struct msghdr *message,
                                     int flags)
{
    return SYSTEM_CALL(recvmsg, fd, message, flags);
}

static inline ssize_t system_sendmsg(int fd, const struct msghdr *message,
                                     int flags)
{
    return SYSTEM_CALL(sendmsg, fd, message, flags);
}

static inline int system_accept4(int fd, struct sockaddr *address,
                                 socklen_t *length, int flags)
{
    return (int)SYSTEM_CALL(accept4, fd, address, length, flags);
}

static inline int system_connect(int fd, const struct sockaddr *address,
                                 socklen_t length)
{
    return (int)SYSTEM_CALL(connect, fd, address, length);
}

/* poll(2) without waiting; the call of that name is not everywhere. */
static inline int system_poll_now(struct pollfd *fds, nfds_t count)
{
    static const struct timespec none;
    if (SANITIZER_WATCHES_CALLS)
        return poll(fds, count, 0);
    struct timespec timeout = none; /* the kernel stores what is left */
    return (int)syscall(SYS_ppoll, fds, count, &timeout, NULL, 0);
}

/* Negative: without end. */
static inline int system_poll(struct pollfd *fds, nfds_t count,
                              int timeout_ms)
{
    if (SANITIZER_WATCHES_CALLS)
        return poll(fds, count, timeout_ms);
    struct timespec timeout = {timeout_ms / 1000,
                               timeout_ms % 1000 * 1000000L};
    return (int)syscall(SYS_ppoll, fds, count,
                        timeout_ms < 0 ? NULL : &timeout, NULL, 0);
}

static inline int system_epoll_wait(int fd, struct epoll_event *events,
                                    int capacity, int timeout_ms)
{
    if (SANITIZER_WATCHES_CALLS)
        return epoll_wait(fd, events, capacity, timeout_ms);
    return (int)syscall(SYS_epoll_pwait, fd, events, capacity, timeout_ms,
                        NULL, 0);
}

static inline int system_epoll_pwait2(int fd, struct epoll_event *events,
                                      int capacity,
                                      const struct timespec *timeout)
{
    if (SANITIZER_WATCHES_CALLS)
        return epoll_pwait2(fd, events, capacity, timeout, NULL);
    return (int)syscall(SYS_epoll_pwait2, fd, events, capacity, timeout, NULL,
                        0);
}

/* These are not inline: tests put themselves in their place. */
int system_close(int fd);
ssize_t system_recv(int fd, void *buffer, size_t size_bytes, int flags);
ssize_t system_send(int fd, const void *buffer, size_t size_bytes,
                    int flags);

/* No sanitizer stands in the place of these. */
static inline ssize_t system_sendfile(int out_fd, int in_fd, off_t *offset,
                                      size_t size_bytes)
{
    return syscall(SYS_sendfile, out_fd, in_fd, offset, size_bytes);
}

/* Without flags by the older call, which every kernel and emulator has. */
static inline ssize_t system_preadv2(int fd, const struct iovec *iov,
                                     int count, off_t offset, int flags)
{
    return flags == 0
               ? syscall(SYS_preadv, fd, iov, count, offset, 0)
               : syscall(SYS_preadv2, fd, iov, count, offset, 0, flags);
}

static inline ssize_t system_pwritev(int fd, const struct iovec *iov,
                                     int count, off_t offset)
{
    return syscall(SYS_pwritev, fd, iov, count, offset, 0);
}

static inline int system_openat(int directory, const char *path, int flags,
                                mode_t mode)
{
    return (int)SYSTEM_CALL(openat, directory, path, flags, mode);
}

static inline int system_open(const char *path, int flags)
{
    return system_openat(AT_FDCWD, path, flags, 0);
}

static inline int system_fsync(int fd)
{
    return (int)SYSTEM_CALL(fsync, fd);
}

static inline int system_fdatasync(int fd)
{
    return (int)SYSTEM_CALL(fdatasync, fd);
}

static inline int system_ftruncate(int fd, off_t size_bytes)
{
    return (int)SYSTEM_CALL(ftruncate, fd, size_bytes);
}

static inline pid_t system_waitpid(pid_t pid, int *status, int options)
{
    if (SANITIZER_WATCHES_CALLS)
        return waitpid(pid, status, options);
    return (pid_t)syscall(SYS_wait4, pid, status, options, NULL);
}

static inline void system_nanosleep(const struct timespec *duration)
{
    syscall(SYS_nanosleep, duration, NULL);
}

static inline void system_yield(void)
{
#if defined SANITIZER_SIMULATED
    sched_yield(); /* the simulated machine has its own */
#else
    syscall(SYS_sched_yield);
#endif
}

#endif
