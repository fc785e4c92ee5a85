/*
 * file.c - files: opening, reading and writing at a position.
 *
 * Not here: what is done to a file as a whole (storage.c).
 *
 * In place, for a library may hold a lock of its own meanwhile, and files
 * cannot be polled.  What the page cache has is read without the bracket.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/uio.h>
#include <unistd.h>

#include "posix/own.h"
#include "posix/real.h"

_Static_assert(sizeof(off_t) == 8, "pread64 is pread");

/* ---- Reading and writing ------------------------------------------------ */

struct file_transfer {
    int fd, flags;
    const struct iovec *iov;
    int count;
    off_t offset;
    ssize_t result;
};

static void *read_in_place(void *arg)
{
    struct file_transfer *t = arg;
    t->result = REAL(preadv2)(t->fd, t->iov, t->count, t->offset, t->flags);
    return NULL;
}

static void *write_in_place(void *arg)
{
    struct file_transfer *t = arg;
    t->result = REAL(pwritev2)(t->fd, t->iov, t->count, t->offset, t->flags);
    return NULL;
}

static ssize_t transfer(void *(*fn)(void *), int fd, const struct iovec *iov,
                        int count, off_t offset, int flags)
{
    struct file_transfer t = {.fd = fd,
                              .flags = flags,
                              .iov = iov,
                              .count = count,
                              .offset = offset};
    own_block(fn, &t);
    return t.result;
}

OWN ssize_t pread(int fd, void *buffer, size_t size_bytes, off_t offset)
{
    if (!own_concerns_us() || size_bytes == 0 || offset < 0)
        return REAL(pread)(fd, buffer, size_bytes, offset);
    struct iovec iov = {buffer, size_bytes};
    ssize_t n = REAL(preadv2)(fd, &iov, 1, offset, RWF_NOWAIT);
    /* Less may be the end of the file, or of what the cache has. */
    if (n == (ssize_t)size_bytes)
        return n;
    return transfer(read_in_place, fd, &iov, 1, offset, 0);
}

OWN ssize_t pwrite(int fd, const void *buffer, size_t size_bytes,
                   off_t offset)
{
    if (!own_concerns_us())
        return REAL(pwrite)(fd, buffer, size_bytes, offset);
    struct iovec iov = {(void *)buffer, size_bytes};
    return transfer(write_in_place, fd, &iov, 1, offset, 0);
}

OWN ssize_t preadv(int fd, const struct iovec *iov, int count, off_t offset)
{
    if (!own_concerns_us())
        return REAL(preadv)(fd, iov, count, offset);
    return transfer(read_in_place, fd, iov, count, offset, 0);
}

OWN ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset)
{
    if (!own_concerns_us())
        return REAL(pwritev)(fd, iov, count, offset);
    return transfer(write_in_place, fd, iov, count, offset, 0);
}

/* -1 is the file's own position, and the file may be a socket then. */
OWN ssize_t preadv2(int fd, const struct iovec *iov, int count, off_t offset,
                    int flags)
{
    if (!own_concerns_us() || flags & RWF_NOWAIT)
        return REAL(preadv2)(fd, iov, count, offset, flags);
    if (offset == -1 && flags == 0)
        return readv(fd, iov, count);
    return transfer(read_in_place, fd, iov, count, offset, flags);
}

OWN ssize_t pwritev2(int fd, const struct iovec *iov, int count,
                     off_t offset, int flags)
{
    if (!own_concerns_us() || flags & RWF_NOWAIT)
        return REAL(pwritev2)(fd, iov, count, offset, flags);
    if (offset == -1 && flags == 0)
        return writev(fd, iov, count);
    return transfer(write_in_place, fd, iov, count, offset, flags);
}

/* ---- Opening ------------------------------------------------------------ */

struct opening {
    int directory;
    const char *path;
    int flags;
    mode_t mode;
    int result;
};

static void *open_in_place(void *arg)
{
    struct opening *o = arg;
    o->result = REAL(openat)(o->directory, o->path, o->flags, o->mode);
    return NULL;
}

static int open_at(int directory, const char *path, int flags, mode_t mode)
{
    struct opening o = {
        .directory = directory, .path = path, .flags = flags, .mode = mode};
    own_block(open_in_place, &o);
    return o.result;
}

OWN int open(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = own_needs_mode(flags) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return own_concerns_us() ? open_at(AT_FDCWD, path, flags, mode)
                             : REAL(open)(path, flags, mode);
}

OWN int openat(int directory, const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = own_needs_mode(flags) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return own_concerns_us() ? open_at(directory, path, flags, mode)
                             : REAL(openat)(directory, path, flags, mode);
}

OWN int creat(const char *path, mode_t mode)
{
    return own_concerns_us()
               ? open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode)
               : REAL(creat)(path, mode);
}

OWN_ALIAS(pread)
ssize_t pread64(int fd, void *buffer, size_t size_bytes, off64_t offset);
OWN_ALIAS(pread)
ssize_t __pread64(int fd, void *buffer, size_t size_bytes, off64_t offset);
OWN_ALIAS(pwrite)
ssize_t pwrite64(int fd, const void *buffer, size_t size_bytes,
                 off64_t offset);
OWN_ALIAS(pwrite)
ssize_t __pwrite64(int fd, const void *buffer, size_t size_bytes,
                   off64_t offset);
OWN_ALIAS(preadv)
ssize_t preadv64(int fd, const struct iovec *iov, int count, off64_t offset);
OWN_ALIAS(pwritev)
ssize_t pwritev64(int fd, const struct iovec *iov, int count,
                  off64_t offset);
OWN_ALIAS(preadv2)
ssize_t preadv64v2(int fd, const struct iovec *iov, int count,
                   off64_t offset, int flags);
OWN_ALIAS(pwritev2)
ssize_t pwritev64v2(int fd, const struct iovec *iov, int count,
                    off64_t offset, int flags);
OWN_ALIAS(creat) int creat64(const char *path, mode_t mode) __nonnull((1));
OWN_ALIAS(open) int open64(const char *path, int flags, ...);
OWN_ALIAS(openat) int openat64(int directory, const char *path, int flags,
                               ...);
OWN_ALIAS(open) int __open(const char *path, int flags, ...) __nonnull((1));
OWN_ALIAS(open)
int __open64(const char *path, int flags, ...) __nonnull((1));
