/*
 * operation.c - try, wait, try again.
 *
 * Not here: the calls themselves (io.c, poll.c), and what is known of
 * descriptors (descriptor.c).
 *
 * The idealised operation: while the call says EAGAIN, wait until the
 * descriptor is ready.  What reality adds:
 *
 * - No call while READY is clear: it would say EAGAIN.
 * - A read that returns less than was asked for has emptied the descriptor
 *   where the kind says so, and clears READY at once.  So an echo costs one
 *   read, one write and a share of one epoll_wait.  HANGUP forbids it: data
 *   and the end may have come in one event, and the end makes no other.
 * - A short write fills the descriptor, too, but leaves READY: the kernel
 *   also writes less when it runs into a bad address or out of memory, and
 *   then no event ever comes.  A read there has consumed data; a write that
 *   was short is rare and large, and one EAGAIN more costs it nothing.
 * - A call that would have to wait but for an event that is under way must
 *   not fail for it: before the first attempt a deadline that has passed,
 *   or an interrupt, leads to a last try.
 * - Who was woken passes the wake-up on; see descriptor.c, (W).
 */
#include "operation.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <vthread.h>

enum { NAP_MIN_NS = 100 * 1000, NAP_MAX_NS = 10 * 1000 * 1000 };

/* Makes the call: its result, or minus an error number.  Never inlined: see
 * descriptor.c on errno. */
static __attribute__((noinline)) ssize_t attempt(struct operation *op)
{
    int saved_errno = errno;
    ssize_t n;
    do
        n = op->attempt(op);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        n = -errno;
        errno = saved_errno;
    }
    return n;
}

/* ---- Short reads -------------------------------------------------------- */

static size_t size_of_vector(const struct iovec *iov, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += iov[i].iov_len;
    return size;
}

/* The call has succeeded, so what it was given can be read. */
static bool is_short(const struct operation *op, ssize_t n)
{
    const struct msghdr *message = op->data;
    switch ((enum measure)op->measure) {
    case MEASURE_BUFFER:
        return (size_t)n < op->size;
    case MEASURE_VECTOR:
        return (size_t)n < size_of_vector(op->data, op->size);
    case MEASURE_MESSAGE:
        return (size_t)n
               < size_of_vector(message->msg_iov, message->msg_iovlen);
    case MEASURE_NONE:
        break;
    }
    return false;
}

/* A UNIX socket ends a read where descriptors were passed, or where the
 * sender's credentials change: then control data came. */
static bool has_emptied(const struct operation *op, uint64_t state, ssize_t n)
{
    if (n <= 0 || state & STATE_HANGUP || !is_short(op, n))
        return false;
    return op->kind == KIND_TCP || op->kind == KIND_PIPE
           || (op->kind == KIND_UNIX && !op->has_control);
}

/* ---- Waiting ------------------------------------------------------------ */

static int nap(struct operation *op, uint64_t *nap_ns)
{
    uint64_t now = vthread_now();
    if (op->deadline_ns <= now)
        return ETIMEDOUT;
    if (op->deadline_ns - now < *nap_ns)
        return vthread_sleep_until(op->deadline_ns);
    int err = vthread_sleep_until(now + *nap_ns);
    if (*nap_ns < NAP_MAX_NS)
        *nap_ns *= 2;
    return err;
}

void operation_put_back_interrupt(void)
{
    vthread_interrupt(vthread_self());
}

/* The wait has failed before there was any attempt. */
static int try_last(struct operation *op, int err, ssize_t *result)
{
    *result = attempt(op);
    if (*result == -EAGAIN || *result == -ERESTART)
        return err;
    if (err == ECANCELED)
        operation_put_back_interrupt();
    op->was_interrupted = false;
    return 0;
}

/* What the attempts so far have come to. */
struct progress {
    struct descriptor *d;
    uint64_t state;
    uint64_t nap_ns;
    bool has_tried, has_waited;
};

/* READY is clear.  0 also when the last try has stored a result that is not
 * -EAGAIN. */
static int wait_for_event(struct operation *op, struct progress *p,
                          ssize_t *result)
{
    uint32_t generation = state_generation(p->state);
    int err = descriptor_wait(p->d, op->fd, op->direction, generation,
                              op->deadline_ns);
    p->state = descriptor_state(p->d, op->direction);
    p->has_waited |= err == 0;
    op->was_interrupted = err == ECANCELED;
    if (state_generation(p->state) != generation || p->has_tried
        || (err != ETIMEDOUT && err != ECANCELED))
        return err;
    return try_last(op, err, result);
}

/* READY is set, or it does not matter. */
static int try_now(struct operation *op, struct progress *p, ssize_t *result)
{
    op->kind = state_kind(p->state);
    p->has_tried = true;
    *result = attempt(op);
    if (*result == -ERESTART) {
        *result = -EAGAIN;
        int err = nap(op, &p->nap_ns);
        op->was_interrupted = err == ECANCELED;
        p->state = descriptor_state(p->d, op->direction);
        return err;
    }
    if (*result == -EAGAIN)
        descriptor_clear(p->d, op->direction, &p->state,
                         STATE_READY | STATE_HANGUP);
    else if (has_emptied(op, p->state, *result))
        descriptor_clear(p->d, op->direction, &p->state, STATE_READY);
    return 0;
}

/* Until *result is not -EAGAIN. */
static int repeat(struct operation *op, struct progress *p, bool sets_up,
                  ssize_t *result)
{
    uint32_t generation = state_generation(p->state);
    int err = 0;
    *result = -EAGAIN;
    while (err == 0 && *result == -EAGAIN) {
        if (state_generation(p->state) != generation)
            return ECANCELED; /* closed */
        if (sets_up && state_kind(p->state) == KIND_UNKNOWN) {
            err = descriptor_set_up(p->d, op->fd);
            p->state = descriptor_state(p->d, op->direction);
        } else if (p->state & STATE_READY) {
            err = try_now(op, p, result);
            if (*result == -EAGAIN
                && state_kind(p->state) == KIND_IN_PLACE)
                break; 
        } else {
            err = wait_for_event(op, p, result);
        }
    }
    return err;
}
