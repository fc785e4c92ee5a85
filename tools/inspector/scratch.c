/*
 * scratch.c - a file without a name.
 *
 * It never has one where the file system can do that; else it has for an
 * instant.
 */
#include "scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int directory_of(const char *path, char *directory, size_t size_bytes)
{
    const char *slash = strrchr(path, '/');
    int length = slash ? (int)(slash - path) + 1 : 1;
    if ((size_t)length >= size_bytes)
        return ENAMETOOLONG;
    snprintf(directory, size_bytes, "%.*s", length, slash ? path : ".");
    return 0;
}

static int open_and_unlink(const char *directory)
{
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/.vthread-XXXXXX", directory);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    return fd;
}

/* EISDIR: a kernel that does not know O_TMPFILE. */
static int open_nameless(const char *directory)
{
    int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)
               ? open_and_unlink(directory)
               : fd;
}

int scratch_open(struct scratch *scratch, const char *beside)
{
    char directory[PATH_MAX];
    int err = directory_of(beside, directory, sizeof directory);
    if (err != 0)
        return err;
    scratch->fd = open_nameless(directory);
    snprintf(scratch->path, sizeof scratch->path, "/proc/%d/fd/%d",
             (int)getpid(), scratch->fd);
    return scratch->fd >= 0 ? 0 : errno;
}

void scratch_close(struct scratch *scratch)
{
    close(scratch->fd);
}

size_t scratch_size_bytes(const struct scratch *scratch)
{
    struct stat status;
    return fstat(scratch->fd, &status) == 0 ? (size_t)status.st_size : 0;
}
