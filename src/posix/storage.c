/*
 * storage.c - files as a whole: making sure of them, their size and room,
 * and copying from one to another.
 *
 * In place, like reading and writing them (file.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

#include "posix/own.h"
#include "posix/real.h"

struct storage_call {
    int fd;
    int mode; /* or flags */
    const char *path;
    off_t offset, size;
    int to_fd; /* of a copy: from fd to this */
    off_t *from_offset, *to_offset;
    ssize_t result;
};

static ssize_t call(void *(*fn)(void *), struct storage_call *c)
{
    own_block(fn, c);
    return c->result;
}

/* ---- Making sure -------------------------------------------------------- */

static void *sync_file(void *arg)
{
    struct storage_call *c = arg;
    c->result = REAL(fsync)(c->fd);
    return NULL;
}

static void *sync_data(void *arg)
{
    struct storage_call *c = arg;
    c->result = REAL(fdatasync)(c->fd);
    return NULL;
}

static void *sync_range(void *arg)
{
    struct storage_call *c = arg;
    c->result = REAL(sync_file_range)(c->fd, c->offset, c->size,
                                      (unsigned)c->mode);
    return NULL;
}

static void *sync_system(void *arg)
{
    struct storage_call *c = arg;
    c->result = REAL(syncfs)(c->fd);
    return NULL;
}

OWN int fsync(int fd)
{
    if (!own_concerns_us())
        return REAL(fsync)(fd);
    return (int)call(sync_file, &(struct storage_call){.fd = fd});
}

OWN int fdatasync(int fd)
{
    if (!own_concerns_us())
        return REAL(fdatasync)(fd);
    return (int)call(sync_data, &(struct storage_call){.fd = fd});
}

OWN int sync_file_range(int fd, off_t offset, off_t size, unsigned flags)
{
    if (!own_concerns_us())
        return REAL(sync_file_range)(fd, offset, size, flags);
    return (int)call(sync_range, &(struct storage_call){.fd = fd,
                                                        .offset = offset,
                                                        .size = size,
                                                        .mode = (int)flags});
}

OWN int syncfs(int fd)
{
    if (!own_concerns_us())
        return REAL(syncfs)(fd);
    return (int)call(sync_system, &(struct storage_call){.fd = fd});
}

/* ---- Size and room ------------------------------------------------------ */

static void *resize(void *arg)
{
    struct storage_call *c = arg;
    c->result = c->path ? REAL(truncate)(c->path, c->size)
                        : REAL(ftruncate)(c->fd, c->size);
    return NULL;
}

static void *make_room(void *arg)
{
    struct storage_call *c = arg;
    c->result = REAL(fallocate)(c->fd, c->mode, c->offset, c->size);
    return NULL;
}

/* Its result is the error. */
static void *ensure_room(void *arg)
{
    struct storage_call *c = arg;
    c->result = REAL(posix_fallocate)(c->fd, c->offset, c->size);
    return NULL;
}

OWN int ftruncate(int fd, off_t size)
{
    if (!own_concerns_us())
        return REAL(ftruncate)(fd, size);
    return (int)call(resize, &(struct storage_call){.fd = fd, .size = size});
}

OWN int truncate(const char *path, off_t size)
{
    if (!own_concerns_us())
        return REAL(truncate)(path, size);
    return (int)call(resize,
                     &(struct storage_call){.path = path, .size = size});
}

OWN int fallocate(int fd, int mode, off_t offset, off_t size)
{
    if (!own_concerns_us())
        return REAL(fallocate)(fd, mode, offset, size);
    return (int)call(make_room, &(struct storage_call){.fd = fd,
                                                       .mode = mode,
                                                       .offset = offset,
                                                       .size = size});
}

OWN int posix_fallocate(int fd, off_t offset, off_t size)
{
    if (!own_concerns_us())
        return REAL(posix_fallocate)(fd, offset, size);
    return (int)call(ensure_room,
                     &(struct storage_call){
                         .fd = fd, .offset = offset, .size = size});
}

/* ---- Copying ------------------------------------------------------------ */

static void *copy_range(void *arg)
{
    struct storage_call *c = arg;
    c->result = REAL(copy_file_range)(c->fd, c->from_offset, c->to_fd,
                                      c->to_offset, (size_t)c->size,
                                      (unsigned)c->mode);
    return NULL;
}

OWN ssize_t copy_file_range(int from, off_t *from_offset, int to,
                            off_t *to_offset, size_t size_bytes,
                            unsigned flags)
{
    if (!own_concerns_us())
        return REAL(copy_file_range)(from, from_offset, to, to_offset,
                                     size_bytes, flags);
    struct storage_call c = {
        .fd = from,
        .from_offset = from_offset,
        .to_fd = to,
        .to_offset = to_offset,
        .size = (off_t)size_bytes,
        .mode = (int)flags,
    };
    return call(copy_range, &c);
}

OWN_ALIAS(ftruncate) int ftruncate64(int fd, off64_t size) __THROW;
OWN_ALIAS(truncate)
int truncate64(const char *path, off64_t size) __THROW __nonnull((1));
OWN_ALIAS(fallocate)
int fallocate64(int fd, int mode, off64_t offset, off64_t size);
OWN_ALIAS(posix_fallocate)
int posix_fallocate64(int fd, off64_t offset, off64_t size);
