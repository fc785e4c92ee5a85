/*
 * directory.c - reading directories.
 *
 * Entries come from the kernel in batches, as getdents64 stores them, which
 * is as struct dirent has them here; only a batch may block.
 */
#include <dirent.h>
#include <errno.h>
#include <stddef.h>

#include <vthread/file.h>
#include <vthread/io.h>
#include <vthread/time.h>

#include "io/in_place.h"
#include "platform/memory.h"

enum { BATCH_BYTES = 32 * 1024 };

struct vthread_dir {
    int fd;
    size_t size_bytes; /* of the present batch */
    size_t next;       /* entry in it, where it begins */
    _Alignas(struct dirent) char batch[BATCH_BYTES];
};

_Static_assert(sizeof(struct dirent) == sizeof(struct dirent64)
                   && offsetof(struct dirent, d_name)
                          == offsetof(struct dirent64, d_name),
               "the kernel's entries are struct dirent");

int vthread_opendir(const char *path, vthread_dir_t **dir)
{
    if (!dir)
        return EINVAL;
    vthread_dir_t *created = memory_alloc(sizeof *created);
    if (!created)
        return ENOMEM;
    int err = vthread_open(path, O_RDONLY | O_DIRECTORY, 0, &created->fd);
    if (err != 0) {
        memory_free(created);
        return err;
    }
    created->size_bytes = created->next = 0;
    *dir = created;
    return 0;
}

static long fetch(void *arg)
{
    vthread_dir_t *dir = arg;
    return getdents64(dir->fd, (void *)dir->batch, sizeof dir->batch);
}

int vthread_readdir(vthread_dir_t *dir, const struct dirent **entry)
{
    if (!dir || !entry)
        return EINVAL;
    *entry = NULL;
    if (dir->next == dir->size_bytes) {
        long size;
        int err = in_place(BLOCKING_SHORT, VTHREAD_NEVER, fetch, dir, &size);
        if (err == ENOENT)
            return 0; /* it has been removed, and so is empty */
        if (err != 0)
            return err;
        dir->size_bytes = (size_t)size;
        dir->next = 0;
        if (size == 0)
            return 0;
    }
    const struct dirent *found = (const void *)(dir->batch + dir->next);
    dir->next += found->d_reclen;
    *entry = found;
    return 0;
}

int vthread_dirfd(const vthread_dir_t *dir)
{
    return dir->fd;
}

int vthread_closedir(vthread_dir_t *dir)
{
    if (!dir)
        return EINVAL;
    int err = vthread_close(dir->fd);
    memory_free(dir);
    return err;
}
