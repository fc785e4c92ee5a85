/*
 * vthread/io.h - blocking I/O that parks the thread, not the carrier.
 *
 *     size_t n;
 *     int err;
 *     while ((err = vthread_read(fd, buffer, sizeof buffer, &n)) == 0
 *            && n > 0)
 *         err = vthread_write_all(fd, buffer, n);
 *     vthread_close(fd);
 *
 * The call itself is made by the thread, on its own stack, when the
 * descriptor is ready: buffers may be locals.  Sockets (TCP, UDP, UNIX),
 * pipes, FIFOs, eventfds, terminals and whatever else epoll knows make the
 * thread wait; regular files, directories and devices that cannot be polled
 * are read and written in place, while the other threads of the carrier go
 * on elsewhere (see vthread/file.h); a deadline or an interrupt does not end
 * such a call.
 *
 * At its first use, but for vthread_poll, a descriptor is made non-blocking
 * (O_NONBLOCK), which all that share its open file see; at its first wait
 * it is registered with the process's poller.  So close it with
 * vthread_close: it wakes whoever waits, and forgets what was known of the
 * number.  A number that was closed by close(2) instead may be used again
 * with vthread_open, vthread_accept, vthread_connect and vthread_poll, which
 * find out; any other use may then wait for events of a file that is no
 * more.
 *
 * All functions but close: cancellable.  They return 0 or a positive errno
 * value: whatever the system call reports (EINTR never, EAGAIN only where
 * it was asked for with MSG_DONTWAIT and the like), ETIMEDOUT, ECANCELED
 * when the thread is interrupted or the descriptor is closed while it
 * waits, ENOMEM.  They block the virtual thread; on a platform thread, the
 * OS thread.  Counts are stored only with result 0.
 *
 * Writing to a pipe or a stream whose reader has gone raises SIGPIPE, as in
 * write(2), before EPIPE is returned: ignore the signal, or use vthread_send
 * with MSG_NOSIGNAL.
 */
#ifndef VTHREAD_IO_H
#define VTHREAD_IO_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* As read(2) and so on.  *done is the number of bytes transferred, which
 * may be less than asked for; 0 from a read is the end of the stream. */
VTHREAD_API int vthread_read(int fd, void *buffer, size_t size_bytes,
                             size_t *done);
VTHREAD_API int vthread_read_until(int fd, void *buffer, size_t size_bytes,
                                   size_t *done, uint64_t deadline_ns);
VTHREAD_API int vthread_write(int fd, const void *buffer, size_t size_bytes,
                              size_t *done);
VTHREAD_API int vthread_write_until(int fd, const void *buffer,
                                    size_t size_bytes, size_t *done,
                                    uint64_t deadline_ns);

/* Writes everything.  After an error an unknown part has been written. */
VTHREAD_API int vthread_write_all(int fd, const void *buffer,
                                  size_t size_bytes);
VTHREAD_API int vthread_write_all_until(int fd, const void *buffer,
                                        size_t size_bytes,
                                        uint64_t deadline_ns);

VTHREAD_API int vthread_readv(int fd, const struct iovec *iov, int count,
                              size_t *done);
VTHREAD_API int vthread_readv_until(int fd, const struct iovec *iov,
                                    int count, size_t *done,
                                    uint64_t deadline_ns);
VTHREAD_API int vthread_writev(int fd, const struct iovec *iov, int count,
                               size_t *done);
VTHREAD_API int vthread_writev_until(int fd, const struct iovec *iov,
                                     int count, size_t *done,
                                     uint64_t deadline_ns);

/* As recv(2) and so on.  MSG_DONTWAIT, MSG_OOB and MSG_ERRQUEUE never wait:
 * they return EAGAIN.  MSG_WAITALL is heeded by vthread_recv, unless with
 * MSG_PEEK: what it has received before an error, a deadline or an
 * interrupt is returned with result 0.  MSG_ZEROCOPY must not be given
 * buffers on a thread's stack. */
VTHREAD_API int vthread_recv(int fd, void *buffer, size_t size_bytes,
                             int flags, size_t *done);
VTHREAD_API int vthread_recv_until(int fd, void *buffer, size_t size_bytes,
                                   int flags, size_t *done,
                                   uint64_t deadline_ns);
VTHREAD_API int vthread_send(int fd, const void *buffer, size_t size_bytes,
                             int flags, size_t *done);
VTHREAD_API int vthread_send_until(int fd, const void *buffer,
                                   size_t size_bytes, int flags, size_t *done,
                                   uint64_t deadline_ns);
VTHREAD_API int vthread_recvmsg(int fd, struct msghdr *message, int flags,
                                size_t *done);
VTHREAD_API int vthread_recvmsg_until(int fd, struct msghdr *message,
                                      int flags, size_t *done,
                                      uint64_t deadline_ns);
VTHREAD_API int vthread_sendmsg(int fd, const struct msghdr *message,
                                int flags, size_t *done);
VTHREAD_API int vthread_sendmsg_until(int fd, const struct msghdr *message,
                                      int flags, size_t *done,
                                      uint64_t deadline_ns);

/* From a file to a socket without a copy, as sendfile(2); *offset is moved
 * on (NULL: the file's own position). */
VTHREAD_API int vthread_sendfile(int out_fd, int in_fd, off_t *offset,
                                 size_t size_bytes, size_t *done);
VTHREAD_API int vthread_sendfile_until(int out_fd, int in_fd, off_t *offset,
                                       size_t size_bytes, size_t *done,
                                       uint64_t deadline_ns);

/* Stores the new descriptor (close-on-exec, non-blocking) in *accepted.
 * address and length may be NULL, as in accept(2).  Any number of threads
 * may wait for the same socket: a connection wakes one of them. */
VTHREAD_API int vthread_accept(int fd, struct sockaddr *address,
                               socklen_t *length, int *accepted);
VTHREAD_API int vthread_accept_until(int fd, struct sockaddr *address,
                                     socklen_t *length, int *accepted,
                                     uint64_t deadline_ns);

/* Returns 0 when connected.  Waits for room in the backlog of a UNIX socket,
 * too.  After ETIMEDOUT or ECANCELED the attempt goes on in the kernel:
 * close the socket. */
VTHREAD_API int vthread_connect(int fd, const struct sockaddr *address,
                                socklen_t length);
VTHREAD_API int vthread_connect_until(int fd, const struct sockaddr *address,
                                      socklen_t length, uint64_t deadline_ns);

/* As poll(2): fills in revents and stores the number of ready entries in
 * *ready, which is at least 1 with result 0.  Leaves the descriptors
 * blocking if they are, so it serves to drive libraries that do their own
 * I/O. */
VTHREAD_API int vthread_poll(struct pollfd *fds, nfds_t count,
                             unsigned *ready);
VTHREAD_API int vthread_poll_until(struct pollfd *fds, nfds_t count,
                                   unsigned *ready, uint64_t deadline_ns);

/* Closes the descriptor, exactly once.  Every thread that waits for it gets
 * ECANCELED.  Returns 0 or the error of close(2), never EINTR.  Not
 * cancellable.  Blocks never, but for what close(2) itself does (SO_LINGER,
 * network file systems). */
VTHREAD_API int vthread_close(int fd);

#ifdef __cplusplus
}
#endif

#endif
