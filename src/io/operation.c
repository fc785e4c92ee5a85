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
 * - A short write leaves READY.  The kernel also writes less when it runs
 *   into a bad address or out of memory, and then no event would come.
 *   Short writes are rare and large; one EAGAIN more costs them nothing.
 * - A call that only seems to have to wait, because an event is under way,
 *   must not fail for it: a deadline that has passed, or an interrupt,
 *   before the first attempt leads to a last one.
 * - Who was woken passes on what it leaves; see descriptor.c, (W).
 */
#include "io/operation.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <vthread.h>

#include "io/in_place.h"
#include "platform/clock.h"

enum { NAP_MIN_NS = 100 * 1000, NAP_MAX_NS = 10 * 1000 * 1000 };

/* ---- Short reads -------------------------------------------------------- */

static size_t size_of_vector(const struct iovec *iov, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += iov[i].iov_len;
    return size;
}

/* The call has succeeded, so what it was given can be read. */
static bool is_short(const struct operation *op)
{
    const struct msghdr *message = op->data;
    size_t result = (size_t)op->result;
    switch ((enum measure)op->measure) {
    case MEASURE_BUFFER:
        return result < op->size;
    case MEASURE_VECTOR:
        return result < size_of_vector(op->data, op->size);
    case MEASURE_MESSAGE:
        return result < size_of_vector(message->msg_iov, message->msg_iovlen);
    case MEASURE_NONE:
        break;
    }
    return false;
}

/* A UNIX socket ends a read where descriptors were passed, or where the
 * sender's credentials change: then control data came. */
static bool has_emptied(const struct operation *op)
{
    if (op->result <= 0 || op->state & STATE_HANGUP || !is_short(op))
        return false;
    return op->kind == KIND_TCP
           || (op->kind == KIND_UNIX && !op->has_control);
}

/* ---- Trying ------------------------------------------------------------- */

/* Makes the call.  Never inlined: see descriptor.c on errno. */
static __attribute__((noinline)) void attempt(struct operation *op)
{
    int saved_errno = errno;
    op->kind = state_kind(op->state);
    do
        op->result = op->attempt(op);
    while (op->result < 0 && errno == EINTR);
    if (unlikely(op->result < 0)) {
        op->result = -errno;
        errno = saved_errno;
    }
    op->has_tried = true;
    op->is_done = op->result != -EAGAIN && op->result != -ERESTART;
}

/* 0, or why it was not made. */
static __attribute__((noinline)) int attempt_in_place(struct operation *op)
{
    struct blocking blocking;
    bool is_long = state_kind(op->state) == KIND_DIRECT;
    int err = in_place_begin(&blocking,
                             is_long ? BLOCKING_LONG : BLOCKING_SHORT,
                             op->deadline_ns);
    if (err != 0)
        return err;
    attempt(op);
    blocking_end(&blocking);
    return 0;
}

static int make_attempt(struct operation *op)
{
    if (kind_is_in_place(state_kind(op->state)) || op->may_block)
        return attempt_in_place(op);
    attempt(op);
    return 0;
}

static void look(struct operation *op)
{
    op->state = descriptor_state(op->descriptor, op->direction);
}

/* What no event tells of is tried again: at longer and longer intervals, up
 * to 10 ms. */
static int nap(struct operation *op)
{
    uint64_t now = clock_now_ns();
    if (op->deadline_ns <= now)
        return ETIMEDOUT;
    if (op->nap_ns < NAP_MAX_NS)
        op->nap_ns = op->nap_ns == 0 ? NAP_MIN_NS : op->nap_ns * 2;
    uint64_t left_ns = op->deadline_ns - now;
    int err = vthread_sleep_until(
        now + (left_ns < op->nap_ns ? left_ns : op->nap_ns));
    op->was_interrupted = err == ECANCELED;
    look(op);
    return err;
}

/* READY is set. */
static int try(struct operation *op)
{
    int err = make_attempt(op);
    if (err != 0)
        return err;
    if (op->result == -ERESTART)
        return nap(op);
    if (op->result != -EAGAIN) {
        if (has_emptied(op))
            descriptor_clear(op->descriptor, op->direction, &op->state,
                             STATE_READY);
    } else if (kind_is_in_place(op->kind)) {
        /* Nobody can wait for it, and it was opened non-blocking. */
        op->is_done = true;
    } else {
        descriptor_clear(op->descriptor, op->direction, &op->state,
                         STATE_READY | STATE_HANGUP);
    }
    return 0;
}

/* ---- Waiting ------------------------------------------------------------ */

void operation_put_back_interrupt(void)
{
    vthread_interrupt(vthread_self());
}

/* The wait has ended with err before there was any attempt. */
static int try_last(struct operation *op, int err)
{
    attempt(op);
    if (!op->is_done)
        return err;
    if (op->was_interrupted)
        operation_put_back_interrupt();
    return 0;
}

/* READY is clear. */
static int wait(struct operation *op)
{
    uint32_t generation = state_generation(op->state);
    int err = descriptor_wait(op->descriptor, op->fd, op->direction,
                              generation, op->deadline_ns);
    op->has_waited |= err == 0;
    op->was_interrupted = err == ECANCELED;
    look(op);
    if ((err == ETIMEDOUT || err == ECANCELED) && !op->has_tried
        && state_generation(op->state) == generation)
        return try_last(op, err);
    return err;
}

static int set_up(struct operation *op)
{
    int err = descriptor_set_up(op->descriptor, op->fd);
    look(op);
    return err;
}

static bool is_unknown(const struct operation *op)
{
    return state_kind(op->state) == KIND_UNKNOWN && !op->only_looks;
}

/* Until the call has an answer. */
static int repeat(struct operation *op)
{
    uint32_t generation = state_generation(op->state);
    int err = 0;
    while (err == 0 && !op->is_done) {
        if (state_generation(op->state) != generation)
            err = ECANCELED; /* it has been closed */
        else if (unlikely(is_unknown(op)))
            err = set_up(op);
        else if (op->state & STATE_READY)
            err = try(op);
        else
            err = wait(op);
    }
    return err;
}

/* ---- All of it ---------------------------------------------------------- */

int operation_perform_from(struct operation *op)
{
    int err = repeat(op);
    if (op->has_waited)
        descriptor_pass_on(op->descriptor, op->direction);
    if (err != 0)
        return err;
    return op->result < 0 ? (int)-op->result : 0;
}

int operation_perform(struct operation *op)
{
    if (op->is_immediate) {
        attempt(op);
        return op->result < 0 ? (int)-op->result : 0;
    }
    int err = descriptor_get(op->fd, &op->descriptor);
    if (err != 0)
        return err;
    look(op);
    return operation_perform_from(op);
}
