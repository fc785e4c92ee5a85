/*
 * file.c - the calls of <vthread/file.h> that are made in place: opening,
 * names, what is known of a file.
 *
 * Each has what it is called with in one structure, and a function that
 * makes the system call.  Most find what they want in the kernel's caches
 * and are short; fsync goes to the disk.
 *
 * Not here: reading and writing (file_io.c), directories (directory.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vthread/file.h>
#include <vthread/time.h>

#include "io/descriptor.h"
#include "io/in_place.h"
#include "platform/system.h"

struct file_call {
    const char *path;
    const char *to;
    void *status;
    off_t size_bytes;
    int fd;
    int flags;
    unsigned mode; /* or a mask */
};

static int brief(long (*make)(void *), struct file_call *call)
{
    return in_place(BLOCKING_SHORT, VTHREAD_NEVER, make, call, NULL);
}

static int lasting(long (*make)(void *), struct file_call *call)
{
    return in_place(BLOCKING_LONG, VTHREAD_NEVER, make, call, NULL);
}

/* ---- Opening ------------------------------------------------------------ */

static long make_open(void *arg)
{
    struct file_call *c = arg;
    return system_openat(c->fd, c->path, c->flags | O_CLOEXEC,
                         (mode_t)c->mode);
}

int vthread_openat(int directory, const char *path, int flags, mode_t mode,
                   int *fd)
{
    struct file_call call = {
        .fd = directory, .path = path, .flags = flags, .mode = mode};
    long opened;
    if (!fd)
        return EINVAL;
    int err = in_place(BLOCKING_SHORT, VTHREAD_NEVER, make_open, &call,
                       &opened);
    if (err != 0)
        return err;
    *fd = (int)opened;
    /* The number may have been that of one that was closed by close(2). */
    descriptor_adopt(*fd, KIND_UNKNOWN);
    return 0;
}

int vthread_open(const char *path, int flags, mode_t mode, int *fd)
{
    return vthread_openat(AT_FDCWD, path, flags, mode, fd);
}

/* ---- To the disk -------------------------------------------------------- */

static long make_fsync(void *arg)
{
    return system_fsync(((struct file_call *)arg)->fd);
}

static long make_fdatasync(void *arg)
{
    return system_fdatasync(((struct file_call *)arg)->fd);
}

static long make_ftruncate(void *arg)
{
    struct file_call *c = arg;
    return system_ftruncate(c->fd, c->size_bytes);
}

int vthread_fsync(int fd)
{
    struct file_call call = {.fd = fd};
    return lasting(make_fsync, &call);
}

int vthread_fdatasync(int fd)
{
    struct file_call call = {.fd = fd};
    return lasting(make_fdatasync, &call);
}

int vthread_ftruncate(int fd, off_t size_bytes)
{
    struct file_call call = {.fd = fd, .size_bytes = size_bytes};
    return brief(make_ftruncate, &call);
}

/* ---- What is known of a file -------------------------------------------- */

static long make_fstatat(void *arg)
{
    struct file_call *c = arg;
    return fstatat(c->fd, c->path, c->status, c->flags);
}

static long make_fstat(void *arg)
{
    struct file_call *c = arg;
    return fstat(c->fd, c->status);
}

static long make_statx(void *arg)
{
    struct file_call *c = arg;
    return statx(c->fd, c->path, c->flags, c->mode, c->status);
}

int vthread_fstatat(int directory, const char *path, struct stat *status,
                    int flags)
{
    struct file_call call = {
        .fd = directory, .path = path, .status = status, .flags = flags};
    return brief(make_fstatat, &call);
}

int vthread_stat(const char *path, struct stat *status)
{
    return vthread_fstatat(AT_FDCWD, path, status, 0);
}

int vthread_lstat(const char *path, struct stat *status)
{
    return vthread_fstatat(AT_FDCWD, path, status, AT_SYMLINK_NOFOLLOW);
}

int vthread_fstat(int fd, struct stat *status)
{
    struct file_call call = {.fd = fd, .status = status};
    return brief(make_fstat, &call);
}

int vthread_statx(int directory, const char *path, int flags, unsigned mask,
                  struct statx *status)
{
    struct file_call call = {.fd = directory,
                             .path = path,
                             .flags = flags,
                             .mode = mask,
                             .status = status};
    return brief(make_statx, &call);
}

/* ---- Names -------------------------------------------------------------- */

static long make_rename(void *arg)
{
    struct file_call *c = arg;
    return rename(c->path, c->to);
}

static long make_unlink(void *arg)
{
    return unlink(((struct file_call *)arg)->path);
}

static long make_mkdir(void *arg)
{
    struct file_call *c = arg;
    return mkdir(c->path, (mode_t)c->mode);
}

static long make_rmdir(void *arg)
{
    return rmdir(((struct file_call *)arg)->path);
}

int vthread_rename(const char *from, const char *to)
{
    struct file_call call = {.path = from, .to = to};
    return brief(make_rename, &call);
}

int vthread_unlink(const char *path)
{
    struct file_call call = {.path = path};
    return brief(make_unlink, &call);
}

int vthread_mkdir(const char *path, mode_t mode)
{
    struct file_call call = {.path = path, .mode = mode};
    return brief(make_mkdir, &call);
}

int vthread_rmdir(const char *path)
{
    struct file_call call = {.path = path};
    return brief(make_rmdir, &call);
}
