/*
 * poll.c - vthread_poll.
 *
 * poll(2) itself decides what is ready, always without waiting; here is
 * only how to wait until it is worth asking again.  For one descriptor and
 * one direction, which is what most callers want, that is an operation like
 * any other.  For several, a watch hangs on the record of each.
 *
 * Foreign libraries that are driven by poll close their sockets with
 * close(2).  So before any wait the kernel is asked whether what is known
 * of a number is still about the same file (descriptor_verify), and
 * descriptors are not made non-blocking.
 *
 * The wait, and an event that comes at the same time:
 *
 *   the watcher                       who delivers an event
 *   1. watches; is_called is false    1. the descriptor has become ready
 *   2. poll(2)                        2. is_called to true; was false:
 *   3. waits to be called                thread_wake
 *   4. is_called to false; again 2
 *
 * An event whose 2 comes before 4 may wake nobody, but then the poll(2)
 * that follows 4 sees what it told of.
 */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>

#include <vthread/io.h>
#include <vthread/time.h>

#include "io/descriptor.h"
#include "io/operation.h"
#include "platform/memory.h"
#include "platform/poller.h"
#include "platform/system.h"
#include "thread.h"

/* As poll(2) with time-out 0; nothing ready is EAGAIN. */
static ssize_t attempt_poll(struct operation *op)
{
    int n = system_poll_now(op->data, (nfds_t)op->size);
    if (n == 0) {
        errno = EAGAIN;
        n = -1;
    }
    return n;
}

/* ---- One descriptor ----------------------------------------------------- */

/* Whether a wait in one direction will do, and poll(2) finding nothing
 * means that nothing is there in this direction. */
static bool has_one_direction(const struct pollfd *fds, nfds_t count,
                              enum direction *direction)
{
    if (count != 1 || !fds || fds->fd < 0)
        return false;
    bool reads = fds->events & (POLLIN | POLLRDNORM);
    bool writes = fds->events & (POLLOUT | POLLWRNORM | POLLWRBAND);
    bool others = fds->events & ~(POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM);
    *direction = reads ? DIRECTION_READ : DIRECTION_WRITE;
    return reads != writes && !others;
}

static int poll_one(struct operation *op)
{
    int err = descriptor_get(op->fd, &op->descriptor);
    if (err != 0)
        return err;
    descriptor_verify(op->descriptor, op->fd);
    op->state = descriptor_state(op->descriptor, op->direction);
    return operation_perform_from(op);
}

/* ---- Several ------------------------------------------------------------ */

/* One block of heap: those who call look at it while the caller's frames
 * may be elsewhere. */
struct poll_wait {
    struct poll_watcher watcher;
    nfds_t count; /* of watches that have begun */
    struct watch watches[];
};

static unsigned readiness_for(short events)
{
    unsigned ready = 0;
    if (events & (POLLIN | POLLRDNORM | POLLPRI | POLLRDBAND | POLLRDHUP))
        ready |= POLLER_READABLE;
    if (events & (POLLOUT | POLLWRNORM | POLLWRBAND))
        ready |= POLLER_WRITABLE;
    return ready;
}

static int begin_watch(struct poll_wait *wait, const struct pollfd *fd)
{
    struct descriptor *d;
    struct watch *watch = &wait->watches[wait->count];
    if (fd->fd < 0)
        return 0; /* to be ignored */
    int err = descriptor_get(fd->fd, &d);
    if (err != 0)
        return err;
    descriptor_verify(d, fd->fd);
    watch->watcher = &wait->watcher;
    watch->ready = readiness_for(fd->events);
    err = descriptor_watch(watch, d, fd->fd);
    if (err == 0)
        wait->count++;
    return err;
}

static int begin_watches(struct poll_wait *wait, const struct operation *op)
{
    const struct pollfd *fds = op->data;
    int err = 0;
    for (size_t i = 0; i < op->size && err == 0; i++)
        err = begin_watch(wait, &fds[i]);
    return err;
}

/* Afterwards nobody calls any more; one call may be left to hear. */
static void end_watches(struct poll_wait *wait)
{
    for (nfds_t i = 0; i < wait->count; i++)
        descriptor_unwatch(&wait->watches[i]);
    /* Relaxed: the locks of the records order the calls before this. */
    if (atomic_load_explicit(&wait->watcher.is_called, memory_order_relaxed))
        thread_wait_out(wait->watcher.thread, 0);
}

/* After a call: ready for the next. */
static void hear(struct poll_watcher *watcher)
{
    /* Acquire: what all calls so far were about is seen by the poll(2) that
     * follows.  Pairs with call in descriptor.c. */
    atomic_exchange_explicit(&watcher->is_called, false,
                             memory_order_acquire);
}

/* Not left to poll(2), which says POLLNVAL, or finds another file. */
static bool has_closed(struct poll_watcher *watcher)
{
    /* Relaxed: it was set before the descriptor was closed, and looked at
     * after poll(2), which may have seen that. */
    return atomic_load_explicit(&watcher->has_closed, memory_order_relaxed);
}

static int wait_for_call(struct operation *op, struct poll_watcher *watcher)
{
    for (;;) {
        int err = operation_perform(op);
        if (has_closed(watcher))
            return ECANCELED;
        if (err != EAGAIN)
            return err;
        err = thread_wait_for(watcher->thread, FOR_POLL, op->deadline_ns,
                              true);
        if (err != 0)
            return err;
        hear(watcher);
    }
}

static int poll_several(struct operation *op)
{
    struct thread *self = thread_self();
    int err = descriptor_ensure_polled(self);
    if (err != 0)
        return err;
    struct poll_wait *wait = memory_alloc(
        sizeof *wait + op->size * sizeof wait->watches[0]);
    if (!wait)
        return ENOMEM;
    wait->watcher = (struct poll_watcher){.thread = self};
    wait->count = 0;
    err = begin_watches(wait, op);
    if (err == 0)
        err = wait_for_call(op, &wait->watcher);
    end_watches(wait);
    memory_free(wait);
    return err;
}

/* ---- Both --------------------------------------------------------------- */

int vthread_poll_until(struct pollfd *fds, nfds_t count, unsigned *ready,
                       uint64_t deadline_ns)
{
    if (!ready)
        return EINVAL;
    if (!fds && count > 0)
        return EFAULT;
    enum direction direction;
    bool is_one = has_one_direction(fds, count, &direction);
    struct operation op = {
        .attempt = attempt_poll,
        .data = fds,
        .size = count,
        .fd = is_one ? fds->fd : -1,
        .deadline_ns = deadline_ns,
        .only_looks = true,
        .is_immediate = true,
    };
    int err = operation_perform(&op);
    if (err == EAGAIN && !is_one) {
        err = poll_several(&op);
    } else if (err == EAGAIN) {
        op.direction = (uint8_t)direction;
        err = poll_one(&op);
    }
    if (err == 0)
        *ready = (unsigned)op.result;
    return err;
}

int vthread_poll(struct pollfd *fds, nfds_t count, unsigned *ready)
{
    return vthread_poll_until(fds, count, ready, VTHREAD_NEVER);
}
