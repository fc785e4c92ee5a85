/*
 * fortified.c - what calls become in libraries that were compiled with
 * _FORTIFY_SOURCE: the same, with the size of the buffer.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include "posix/own.h"

/* libc's names, which no header declares unless it uses them. */
_Noreturn void __chk_fail(void);
OWN ssize_t __read_chk(int fd, void *buffer, size_t size_bytes, size_t room);
OWN ssize_t __pread_chk(int fd, void *buffer, size_t size_bytes,
                        off_t offset, size_t room);
OWN ssize_t __pread64_chk(int fd, void *buffer, size_t size_bytes,
                          off64_t offset, size_t room);
OWN ssize_t __recv_chk(int fd, void *buffer, size_t size_bytes, size_t room,
                       int flags);
OWN ssize_t __recvfrom_chk(int fd, void *buffer, size_t size_bytes,
                           size_t room, int flags, struct sockaddr *from,
                           socklen_t *length);
OWN int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms,
                   size_t room);
OWN int __ppoll_chk(struct pollfd *fds, nfds_t count,
                    const struct timespec *timeout, const sigset_t *mask,
                    size_t room);
OWN int __open_2(const char *path, int flags);
OWN int __open64_2(const char *path, int flags);
OWN int __openat_2(int directory, const char *path, int flags);
OWN int __openat64_2(int directory, const char *path, int flags);

/* As libc does it: ends the process with a message. */
static void require(bool fits)
{
    if (!fits)
        __chk_fail();
}

ssize_t __read_chk(int fd, void *buffer, size_t size_bytes, size_t room)
{
    require(size_bytes <= room);
    return read(fd, buffer, size_bytes);
}

ssize_t __pread_chk(int fd, void *buffer, size_t size_bytes, off_t offset,
                    size_t room)
{
    require(size_bytes <= room);
    return pread(fd, buffer, size_bytes, offset);
}

ssize_t __pread64_chk(int fd, void *buffer, size_t size_bytes,
                      off64_t offset, size_t room)
{
    return __pread_chk(fd, buffer, size_bytes, offset, room);
}

ssize_t __recv_chk(int fd, void *buffer, size_t size_bytes, size_t room,
                   int flags)
{
    require(size_bytes <= room);
    return recv(fd, buffer, size_bytes, flags);
}

ssize_t __recvfrom_chk(int fd, void *buffer, size_t size_bytes, size_t room,
                       int flags, struct sockaddr *from, socklen_t *length)
{
    require(size_bytes <= room);
    return recvfrom(fd, buffer, size_bytes, flags, from, length);
}

int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t room)
{
    require(count <= room / sizeof *fds);
    return poll(fds, count, timeout_ms);
}

int __ppoll_chk(struct pollfd *fds, nfds_t count,
                const struct timespec *timeout, const sigset_t *mask,
                size_t room)
{
    require(count <= room / sizeof *fds);
    return ppoll(fds, count, timeout, mask);
}

/* A flag that wants a mode, and none was given. */
int __open_2(const char *path, int flags)
{
    require(!own_needs_mode(flags));
    return open(path, flags);
}

int __open64_2(const char *path, int flags)
{
    return __open_2(path, flags);
}

int __openat_2(int directory, const char *path, int flags)
{
    require(!own_needs_mode(flags));
    return openat(directory, path, flags);
}

int __openat64_2(int directory, const char *path, int flags)
{
    return __openat_2(directory, path, flags);
}

ssize_t own_read_chk(int fd, void *buffer, size_t size_bytes, size_t room)
    __attribute__((alias("__read_chk")));
