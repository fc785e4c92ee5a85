/*
 * io.c - the calls of <vthread/io.h>, but for vthread_poll (poll.c).
 *
 * Each is an operation: the attempt, which makes the system call, and what
 * it is called with.  Not here: how an operation waits (operation.c).
 *
 * Invariant: an attempt does not wait, neither in the library nor in the
 * kernel: descriptors are non-blocking once they are set up.  Files are the
 * exception; operation.c puts the bracket of blocking.c around these.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <vthread/io.h>
#include <vthread/time.h>

#include "io/descriptor.h"
#include "io/operation.h"
#include "platform/system.h"

/* Performs an operation whose result is a number of bytes. */
static int transfer(struct operation *op, size_t *done)
{
    if (unlikely(!done))
        return EINVAL;
    int err = operation_perform(op);
    if (err == 0)
        *done = (size_t)op->result;
    return err;
}

/* ---- Attempts ----------------------------------------------------------- */

/* Receives, and notes whether control data came: for UNIX sockets; see
 * has_emptied in operation.c. */
static ssize_t receive_message(struct operation *op, struct msghdr *message,
                               int flags)
{
    ssize_t n = system_recvmsg(op->fd, message, flags);
    op->has_control = n >= 0
                      && (message->msg_controllen > 0
                          || message->msg_flags & MSG_CTRUNC);
    return n;
}

static ssize_t receive_vector(struct operation *op, struct iovec *iov,
                              size_t count, int flags)
{
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = count};
    return receive_message(op, &message, flags);
}

static ssize_t receive_buffer(struct operation *op, int flags)
{
    struct iovec iov = {.iov_base = op->data, .iov_len = op->size};
    return receive_vector(op, &iov, 1, flags);
}

/* recv is 40 ns faster than read, which is as much faster than recvmsg.  So
 * only UNIX sockets, where a short read without that knowledge proves
 * nothing, take the latter: it is cheaper than the EAGAIN it saves
 * (120 ns). */
static ssize_t attempt_read(struct operation *op)
{
    if (op->kind == KIND_TCP)
        return system_recv(op->fd, op->data, op->size, 0);
    if (op->kind == KIND_UNIX)
        return receive_buffer(op, 0);
    return system_read(op->fd, op->data, op->size);
}

static ssize_t attempt_readv(struct operation *op)
{
    if (op->kind == KIND_UNIX)
        return receive_vector(op, op->data, op->size, 0);
    return system_readv(op->fd, op->data, (int)op->size);
}

static ssize_t attempt_recv(struct operation *op)
{
    if (op->kind == KIND_UNIX)
        return receive_buffer(op, op->flags);
    return system_recv(op->fd, op->data, op->size, op->flags);
}

static ssize_t attempt_recvmsg(struct operation *op)
{
    return receive_message(op, op->data, op->flags);
}

static ssize_t attempt_write(struct operation *op)
{
    if (op->kind == KIND_TCP || op->kind == KIND_UNIX)
        return system_send(op->fd, op->data, op->size, 0);
    return system_write(op->fd, op->data, op->size);
}

static ssize_t attempt_writev(struct operation *op)
{
    return system_writev(op->fd, op->data, (int)op->size);
}

static ssize_t attempt_send(struct operation *op)
{
    return system_send(op->fd, op->data, op->size, op->flags);
}

/* A UNIX datagram socket that names the receiver hears nothing of room in
 * that one's queue: only a connected one does. */
static ssize_t attempt_sendmsg(struct operation *op)
{
    const struct msghdr *message = op->data;
    ssize_t n = system_sendmsg(op->fd, message, op->flags);
    if (n < 0 && errno == EAGAIN && !op->is_immediate
        && message->msg_namelen >= sizeof(sa_family_t)
        && ((struct sockaddr *)message->msg_name)->sa_family == AF_UNIX)
        errno = ERESTART;
    return n;
}

static ssize_t attempt_sendfile(struct operation *op)
{
    return system_sendfile(op->fd, op->flags, op->more, op->size);
}

/* A connection that was given up before it could be accepted is no news. */
static ssize_t attempt_accept(struct operation *op)
{
    int fd;
    do
        fd = system_accept4(op->fd, op->data, op->more,
                            SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (fd < 0 && errno == ECONNABORTED);
    return fd;
}

static int socket_error(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    return error;
}

/* Called again it tells how far the connection has come, so a wake-up
 * without cause does no harm. */
static ssize_t attempt_connect(struct operation *op)
{
    int error = op->has_begun ? socket_error(op->fd) : 0;
    if (error != 0) {
        errno = error;
        return -1;
    }
    if (system_connect(op->fd, op->data, (socklen_t)op->size) == 0)
        return 0;
    if (errno == EISCONN && op->has_begun)
        return 0;
    if (errno == EINPROGRESS || errno == EALREADY) {
        op->has_begun = true;
        errno = EAGAIN;
    } else if (errno == EAGAIN) {
        errno = ERESTART; /* the backlog of a UNIX socket is full */
    }
    return -1;
}

/* ---- Reading ------------------------------------------------------------ */

int vthread_read_until(int fd, void *buffer, size_t size_bytes, size_t *done,
                       uint64_t deadline_ns)
{
    struct operation op = {
        .attempt = attempt_read,
        .fd = fd,
        .data = buffer,
        .size = size_bytes,
        .measure = MEASURE_BUFFER,
        .deadline_ns = deadline_ns,
        .is_immediate = size_bytes == 0,
    };
    return transfer(&op, done);
}

int vthread_read(int fd, void *buffer, size_t size_bytes, size_t *done)
{
    return vthread_read_until(fd, buffer, size_bytes, done, VTHREAD_NEVER);
}

int vthread_readv_until(int fd, const struct iovec *iov, int count,
                        size_t *done, uint64_t deadline_ns)
{
    struct operation op = {
        .attempt = attempt_readv,
        .fd = fd,
        .data = (void *)iov,
        .size = (size_t)count,
        .measure = MEASURE_VECTOR,
        .deadline_ns = deadline_ns,
    };
    return count < 0 ? EINVAL : transfer(&op, done);
}

int vthread_readv(int fd, const struct iovec *iov, int count, size_t *done)
{
    return vthread_readv_until(fd, iov, count, done, VTHREAD_NEVER);
}

/* What is received with these flags says nothing of what is left. */
static uint8_t measure_with(int flags, enum measure measure)
{
    return flags & MSG_PEEK ? MEASURE_NONE : measure;
}

/* Neither urgent data nor the error queue is ever waited for. */
static bool is_immediate(int flags)
{
    return flags & (MSG_DONTWAIT | MSG_OOB | MSG_ERRQUEUE);
}

static int receive(struct operation *op, int flags, size_t *done)
{
    op->flags = flags;
    op->measure = measure_with(flags, op->measure);
    op->is_immediate = is_immediate(flags);
    return transfer(op, done);
}

static bool is_stream(const struct operation *op)
{
    return op->kind == KIND_TCP || op->kind == KIND_UNIX
           || op->kind == KIND_STREAM;
}

/* MSG_WAITALL, which the kernel does not heed for a non-blocking socket.
 * What has been received is not lost: an error after it is not told.  Not
 * inlined: others need not carry its frame while they wait. */
static __attribute__((noinline)) int
receive_all(const struct operation *first, int flags, size_t *done)
{
    struct operation op;
    size_t n, sum = 0;
    int err;
    if (!done)
        return EINVAL;
    do {
        op = *first;
        op.data = (char *)first->data + sum;
        op.size = first->size - sum;
        err = receive(&op, flags & ~MSG_WAITALL, &n);
        if (err == 0)
            sum += n;
    } while (err == 0 && n > 0 && sum < first->size && is_stream(&op));
    if (err != 0 && sum == 0)
        return err;
    if (err != 0 && op.was_interrupted)
        operation_put_back_interrupt();
    *done = sum;
    return 0;
}

int vthread_recv_until(int fd, void *buffer, size_t size_bytes, int flags,
                       size_t *done, uint64_t deadline_ns)
{
    struct operation op = {
        .attempt = attempt_recv,
        .fd = fd,
        .data = buffer,
        .size = size_bytes,
        .measure = MEASURE_BUFFER,
        .deadline_ns = deadline_ns,
    };
    if (flags & MSG_WAITALL && !(flags & MSG_PEEK) && !is_immediate(flags))
        return receive_all(&op, flags, done);
    return receive(&op, flags, done);
}

int vthread_recv(int fd, void *buffer, size_t size_bytes, int flags,
                 size_t *done)
{
    return vthread_recv_until(fd, buffer, size_bytes, flags, done,
                              VTHREAD_NEVER);
}

int vthread_recvmsg_until(int fd, struct msghdr *message, int flags,
                          size_t *done, uint64_t deadline_ns)
{
    struct operation op = {
        .attempt = attempt_recvmsg,
        .fd = fd,
        .data = message,
        .measure = MEASURE_MESSAGE,
        .deadline_ns = deadline_ns,
    };
    return receive(&op, flags, done);
}

int vthread_recvmsg(int fd, struct msghdr *message, int flags, size_t *done)
{
    return vthread_recvmsg_until(fd, message, flags, done, VTHREAD_NEVER);
}

/* ---- Writing ------------------------------------------------------------ */

int vthread_write_until(int fd, const void *buffer, size_t size_bytes,
                        size_t *done, uint64_t deadline_ns)
{
    struct operation op = {
        .attempt = attempt_write,
        .direction = DIRECTION_WRITE,
        .fd = fd,
        .data = (void *)buffer,
        .size = size_bytes,
        .deadline_ns = deadline_ns,
    };
    return transfer(&op, done);
}

int vthread_write(int fd, const void *buffer, size_t size_bytes,
                  size_t *done)
{
    return vthread_write_until(fd, buffer, size_bytes, done, VTHREAD_NEVER);
}

int vthread_write_all_until(int fd, const void *buffer, size_t size_bytes,
                            uint64_t deadline_ns)
{
    const char *rest = buffer;
    while (size_bytes > 0) {
        size_t n = 0;
        int err = vthread_write_until(fd, rest, size_bytes, &n, deadline_ns);
        if (err != 0)
            return err;
        if (n == 0)
            return EIO; /* a device that takes nothing and says nothing */
        rest += n;
        size_bytes -= n;
    }
    return 0;
}

int vthread_write_all(int fd, const void *buffer, size_t size_bytes)
{
    return vthread_write_all_until(fd, buffer, size_bytes, VTHREAD_NEVER);
}

int vthread_writev_until(int fd, const struct iovec *iov, int count,
                         size_t *done, uint64_t deadline_ns)
{
    struct operation op = {
        .attempt = attempt_writev,
        .direction = DIRECTION_WRITE,
        .fd = fd,
        .data = (void *)iov,
        .size = (size_t)count,
        .deadline_ns = deadline_ns,
    };
    return count < 0 ? EINVAL : transfer(&op, done);
}

int vthread_writev(int fd, const struct iovec *iov, int count, size_t *done)
{
    return vthread_writev_until(fd, iov, count, done, VTHREAD_NEVER);
}

int vthread_send_until(int fd, const void *buffer, size_t size_bytes,
                       int flags, size_t *done, uint64_t deadline_ns)
{
    struct operation op = {
        .attempt = attempt_send,
        .direction = DIRECTION_WRITE,
        .fd = fd,
        .data = (void *)buffer,
        .size = size_bytes,
        .flags = flags,
        .is_immediate = flags & MSG_DONTWAIT,
        .deadline_ns = deadline_ns,
    };
    return transfer(&op, done);
}

int vthread_send(int fd, const void *buffer, size_t size_bytes, int flags,
                 size_t *done)
{
    return vthread_send_until(fd, buffer, size_bytes, flags, done,
                              VTHREAD_NEVER);
}

int vthread_sendmsg_until(int fd, const struct msghdr *message, int flags,
                          size_t *done, uint64_t deadline_ns)
{
    struct operation op = {
        .attempt = attempt_sendmsg,
        .direction = DIRECTION_WRITE,
        .fd = fd,
        .data = (void *)message,
        .flags = flags,
        .is_immediate = flags & MSG_DONTWAIT,
        .deadline_ns = deadline_ns,
    };
    return transfer(&op, done);
}

int vthread_sendmsg(int fd, const struct msghdr *message, int flags,
                    size_t *done)
{
    return vthread_sendmsg_until(fd, message, flags, done, VTHREAD_NEVER);
}

int vthread_sendfile_until(int out_fd, int in_fd, off_t *offset,
                           size_t size_bytes, size_t *done,
                           uint64_t deadline_ns)
{
    struct operation op = {
        .attempt = attempt_sendfile,
        .direction = DIRECTION_WRITE,
        .fd = out_fd,
        .flags = in_fd,
        .more = offset,
        .size = size_bytes,
        .may_block = true, /* reading the file */
        .deadline_ns = deadline_ns,
    };
    return transfer(&op, done);
}

int vthread_sendfile(int out_fd, int in_fd, off_t *offset, size_t size_bytes,
                     size_t *done)
{
    return vthread_sendfile_until(out_fd, in_fd, offset, size_bytes, done,
                                  VTHREAD_NEVER);
}

/* ---- Connections -------------------------------------------------------- */

int vthread_accept_until(int fd, struct sockaddr *address, socklen_t *length,
                         int *accepted, uint64_t deadline_ns)
{
    struct operation op = {
        .attempt = attempt_accept,
        .fd = fd,
        .data = address,
        .more = length,
        .deadline_ns = deadline_ns,
    };
    if (!accepted)
        return EINVAL;
    int err = operation_perform(&op);
    if (err == 0) {
        *accepted = (int)op.result;
        /* Of the same kind as the socket it came from. */
        descriptor_adopt(*accepted, (enum descriptor_kind)op.kind);
    }
    return err;
}

int vthread_accept(int fd, struct sockaddr *address, socklen_t *length,
                   int *accepted)
{
    return vthread_accept_until(fd, address, length, accepted,
                                VTHREAD_NEVER);
}

int vthread_connect_until(int fd, const struct sockaddr *address,
                          socklen_t length, uint64_t deadline_ns)
{
    struct operation op = {
        .attempt = attempt_connect,
        .direction = DIRECTION_WRITE,
        .fd = fd,
        .data = (void *)address,
        .size = length,
        .deadline_ns = deadline_ns,
    };
    struct descriptor *d;
    int err = descriptor_get(fd, &d);
    if (err != 0)
        return err;
    /* A new socket often has the number of one that was just closed, and
     * not always by vthread_close. */
    descriptor_verify(d, fd);
    return operation_perform(&op);
}

int vthread_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    return vthread_connect_until(fd, address, length, VTHREAD_NEVER);
}

int vthread_close(int fd)
{
    return descriptor_close(fd);
}
