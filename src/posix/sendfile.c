/*
 * sendfile.c - from a file to a descriptor.
 *
 * There is no flag that keeps sendfile from waiting for room.  So to a
 * descriptor that blocks and may have none (a socket, a pipe) the bytes go
 * by way of memory: read as from any file, written by our write, which
 * parks.  Rejected: O_NONBLOCK for an instant, for others may be in a read
 * of the same socket then; the call in place, for the reader at the other
 * end may be bound to the same carrier.  To a non-blocking descriptor and to
 * a file it is the call itself, in place: it may read from the disk.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "posix/own.h"
#include "posix/real.h"

enum {
    PIECE_BYTES = 64 * 1024,
    SIZE_MAX_BYTES = 0x7ffff000, /* no call of Linux transfers more */
};

struct sending {
    int to, from;
    off_t *offset;
    size_t size_bytes;
    ssize_t result;
};

static void *send_in_place(void *arg)
{
    struct sending *s = arg;
    s->result = REAL(sendfile)(s->to, s->from, s->offset, s->size_bytes);
    return NULL;
}

static bool is_storage(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0
           && (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode));
}

/* Whether it is about copying bytes, as far as can be seen, and about
 * waiting for room. */
static bool may_wait(const struct sending *s)
{
    int flags = fcntl(s->to, F_GETFL);
    return flags >= 0 && !(flags & O_NONBLOCK)
           && (flags & O_ACCMODE) != O_RDONLY && !is_storage(s->to)
           && is_storage(s->from);
}

/* From there on, all of it. */
static ssize_t copy(const struct sending *s, off_t position, char *piece)
{
    size_t sum = 0;
    ssize_t read, sent;
    do {
        size_t left = s->size_bytes - sum;
        read = pread(s->from, piece, left < PIECE_BYTES ? left : PIECE_BYTES,
                     position + (off_t)sum);
        sent = read > 0 ? write(s->to, piece, (size_t)read) : read;
        if (sent < 0)
            return own_part(sum, errno);
        sum += (size_t)sent;
    } while (sum < s->size_bytes && sent == read && read > 0);
    return (ssize_t)sum;
}

static ssize_t copy_from(const struct sending *s, off_t position)
{
    char *piece = malloc(PIECE_BYTES);
    if (!piece)
        return own_result(ENOMEM);
    ssize_t n = copy(s, position, piece);
    int saved_errno = errno;
    free(piece);
    errno = saved_errno;
    return n;
}

OWN ssize_t sendfile(int to, int from, off_t *offset, size_t size_bytes)
{
    if (!own_concerns_us() || size_bytes == 0)
        return REAL(sendfile)(to, from, offset, size_bytes);
    struct sending s = {
        .to = to, .from = from, .offset = offset, .size_bytes = size_bytes};
    if (!may_wait(&s)) {
        own_block(send_in_place, &s);
        return s.result;
    }
    if (s.size_bytes > SIZE_MAX_BYTES)
        s.size_bytes = SIZE_MAX_BYTES;
    off_t position = offset ? *offset : lseek(from, 0, SEEK_CUR);
    ssize_t n = copy_from(&s, position);
    if (n > 0 && offset)
        *offset = position + n;
    else if (n > 0)
        lseek(from, position + n, SEEK_SET);
    return n;
}

OWN_ALIAS(sendfile)
ssize_t sendfile64(int to, int from, off64_t *offset, size_t size_bytes)
    __THROW;
