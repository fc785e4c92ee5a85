/*
 * transfer.h - reading and writing as on a blocking descriptor, by attempts
 * that do not block.
 *
 * A blocking write writes everything, and so does a read of a stream with
 * MSG_WAITALL; an attempt may do less.  Then the rest is waited for.
 */
#ifndef POSIX_TRANSFER_H
#define POSIX_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/* What is left of a vector: `first` if it is not empty, then the others. */
struct vector {
    struct iovec first;
    const struct iovec *others;
    size_t count;
};

struct transfer {
    /* Tries once what is left: as the system call, EAGAIN if it would have
     * to wait. */
    ssize_t (*attempt)(struct transfer *t);
    int fd;
    int flags;
    short events;   /* to be waited for */
    bool wants_all; /* goes on until nothing is left */
    bool naps;      /* no event tells when to try again */
    struct vector left;
    /* Of sendto, recvfrom, sendmsg and recvmsg; used up by the first
     * attempt that transfers anything. */
    struct msghdr *message;
    const struct sockaddr *to;
    struct sockaddr *from;
    socklen_t to_length, *from_length;
    /* Found out at the first wait. */
    bool has_waited;
    uint64_t deadline_ns, nap_ns;
    unsigned misses; /* waits after which there was nothing all the same */
};

static inline struct vector vector_of_buffer(const void *buffer,
                                             size_t size_bytes)
{
    return (struct vector){.first = {(void *)buffer, size_bytes}};
}

static inline struct vector vector_of(const struct iovec *iov, size_t count)
{
    return (struct vector){.others = iov, .count = count};
}

/* What to give to the next call. */
static inline const struct iovec *vector_next(const struct vector *left,
                                              size_t *count)
{
    *count = left->first.iov_len > 0 ? 1 : left->count;
    return left->first.iov_len > 0 ? &left->first : left->others;
}

/* Returns what a blocking call would: -1 and errno, or how much. */
ssize_t transfer_perform(struct transfer *t);

#endif
