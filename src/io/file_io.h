/*
 * file_io.h - reading and writing at an offset.
 */
#ifndef FILE_IO_H
#define FILE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

/* What is to be transferred, and how far it has come. */
struct file_io {
    int fd;
    bool writes;
    off_t offset;
    uint64_t deadline_ns;
    const struct iovec *iov; /* what is left: from here, */
    int count;
    size_t skip;             /* but for the first bytes of the first */
    size_t left_bytes;

    /* The next system call. */
    struct iovec rest;       /* of a buffer that was begun */
    const struct iovec *next;
    int next_count;
    int flags;
};

/* Transfers it.  0 with the number of bytes in *done, or an error and
 * nothing has been transferred. */
int file_io_perform(struct file_io *io, size_t *done);

#endif
