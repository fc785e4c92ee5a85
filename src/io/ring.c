/*
 * ring.c - threads that wait for a transfer which the kernel makes by
 * itself.
 *
 * Not here: io_uring (platform/ring_uring.c), and when it is worth it
 * (file_io.c).
 *
 * The kernel reads and writes while the thread is parked, and another may
 * run on its home.  So the request is on the heap, the vector in it, and a
 * buffer that lies on a home which is not the thread's own is replaced by
 * one on the heap and copied: a few hundred ns for 4 KiB, beside the many
 * thousand of a disk.
 *
 * A thread that is cancelled, or late, asks for its request back and waits
 * until it has it: the kernel must not write into a buffer that has been
 * given back.
 */
#include "io/ring.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include <vthread.h>

#include "escape.h"
#include "platform/clock.h"
#include "platform/memory.h"
#include "platform/ring.h"
#include "settings.h"
#include "thread.h"

enum {
    VECTOR_MAX = 64,                /* longer ones in pieces */
    BOUNCE_MAX_BYTES = 128 * 1024,  /* and so is what is copied */
};

struct transfer {
    struct ring_request request;
    struct thread *thread;
    struct iovec iov[];
    /* and the buffer that takes the place of the caller's, if need be */
};

bool ring_is_usable(void)
{
    struct thread *self = thread_self();
    if (!self || !settings_get()->io_uring)
        return false;
    /* Relaxed: said before the thread ran. */
    uint64_t word = atomic_load_explicit(&self->word, memory_order_relaxed);
    return !(word & THREAD_PLATFORM) && self->continuation.pins == 0
           && ring_is_open();
}

/* ---- Buffers ------------------------------------------------------------ */

static bool all_stay_valid(const struct thread *self,
                           const struct iovec *iov, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!escape_stays_valid(self, iov[i].iov_base))
            return false;
    return true;
}

static size_t sum_up_to(const struct iovec *iov, unsigned count,
                        size_t limit_bytes)
{
    size_t sum = 0;
    for (unsigned i = 0; i < count && sum < limit_bytes; i++)
        sum += iov[i].iov_len;
    return sum < limit_bytes ? sum : limit_bytes;
}

/* Copies between the caller's buffers and `flat`, for so many bytes. */
static void copy(const struct iovec *iov, char *flat, size_t size_bytes,
                 bool to_flat)
{
    for (; size_bytes > 0; iov++) {
        size_t n = iov->iov_len < size_bytes ? iov->iov_len : size_bytes;
        memcpy(to_flat ? flat : iov->iov_base,
               to_flat ? iov->iov_base : flat, n);
        flat += n;
        size_bytes -= n;
    }
}

/* ---- The request -------------------------------------------------------- */

/* Files opened with O_DIRECT want buffers aligned like this. */
#define ALIGNMENT ((size_t)4096)

static struct transfer *create_direct(const struct iovec *iov,
                                      unsigned count)
{
    struct transfer *t = memory_alloc(sizeof *t + count * sizeof *iov);
    if (!t)
        return NULL;
    memcpy(t->iov, iov, count * sizeof *iov);
    t->request = (struct ring_request){.iov = t->iov, .count = count};
    return t;
}

static struct transfer *create_bouncing(const struct iovec *iov,
                                        unsigned count, bool writes)
{
    size_t size = sum_up_to(iov, count, BOUNCE_MAX_BYTES);
    struct transfer *t
        = memory_alloc_aligned(ALIGNMENT, ALIGNMENT + (size + ALIGNMENT - 1)
                                                          / ALIGNMENT
                                                          * ALIGNMENT);
    if (!t)
        return NULL;
    char *flat = (char *)t + ALIGNMENT;
    t->iov[0] = (struct iovec){.iov_base = flat, .iov_len = size};
    t->request = (struct ring_request){.iov = t->iov, .count = 1};
    if (writes)
        copy(iov, flat, size, true);
    return t;
}

_Static_assert(sizeof(struct transfer) + sizeof(struct iovec) <= ALIGNMENT,
               "the buffer begins after the request");

/* ---- Waiting ------------------------------------------------------------ */

/* On the ring's thread. */
static void wake(struct ring_request *request)
{
    thread_wake(((struct transfer *)request)->thread);
}

/* Until the kernel has let go of it.  The result is that of the request; an
 * interrupt that has ended it is seen by that. */
static int await(struct transfer *t, uint64_t deadline_ns)
{
    struct thread *self = t->thread;
    int err = thread_wait_for(self, FOR_FILE, deadline_ns, true);
    if (err == 0)
        return t->request.result;
    ring_cancel(&t->request);
    thread_wait_out(self, err);
    if (t->request.result != -ECANCELED)
        return t->request.result;
    if (err == ECANCELED)
        vthread_interrupted();
    return -err;
}

ssize_t ring_transfer(int fd, const struct iovec *iov, unsigned count,
                      off_t offset, bool writes, uint64_t deadline_ns)
{
    struct thread *self = thread_self();
    if (deadline_ns != VTHREAD_NEVER && deadline_ns <= clock_now_ns())
        return -ETIMEDOUT;
    if (count > VECTOR_MAX)
        count = VECTOR_MAX;
    bool bounces = !all_stay_valid(self, iov, count);
    struct transfer *t = bounces ? create_bouncing(iov, count, writes)
                                 : create_direct(iov, count);
    if (!t)
        return -EOPNOTSUPP; /* in place it takes no memory */
    t->thread = self;
    t->request.done = wake;
    t->request.fd = fd;
    t->request.offset = offset;
    t->request.writes = writes;
    ring_submit(&t->request);
    ssize_t result = await(t, deadline_ns);
    if (bounces && !writes && result > 0)
        copy(iov, t->iov[0].iov_base, (size_t)result, false);
    memory_free(t);
    return result;
}
