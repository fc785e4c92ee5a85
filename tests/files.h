/*
 * files.h - files for tests: with known contents, in the cache or not.
 */
#ifndef TESTS_FILES_H
#define TESTS_FILES_H

#include <vthread/file.h>

#include "tests/descriptors.h"

enum { BLOCK_BYTES = 4096 };

static inline int temporary_file(void)
{
    char path[] = "/tmp/vthread-file-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    require(fd >= 0);
    unlink(path);
    return fd;
}

/* What stands at the offset of a file that was filled. */
static inline unsigned char byte_at(size_t offset)
{
    return (unsigned char)((offset * 2654435761u) >> 13);
}

static inline int file_of(unsigned blocks)
{
    unsigned char block[BLOCK_BYTES];
    int fd = temporary_file();
    for (size_t i = 0; i < blocks; i++) {
        for (size_t j = 0; j < sizeof block; j++)
            block[j] = byte_at(i * BLOCK_BYTES + j);
        require(pwrite(fd, block, sizeof block, (off_t)(i * BLOCK_BYTES))
                == (ssize_t)sizeof block);
    }
    return fd;
}

/* Out of the cache, where there is a disk behind it. */
static inline void cool(int fd)
{
    require(fsync(fd) == 0);
    require(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
    require(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM) == 0);
}

/* The same file anew, past the cache; -1: not on this file system. */
static inline int open_direct(int fd)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
}

static inline bool holds(const unsigned char *bytes, size_t size,
                         size_t offset)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != byte_at(offset + i))
            return false;
    return true;
}

#endif
