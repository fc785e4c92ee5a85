/*
 * vthread/posix.h - libraries that know nothing of virtual threads.
 *
 * libvthread-posix is a second library, which stands before libc.  Linked or
 * preloaded, it makes the calls that block do what those of <vthread/io.h>
 * do: the virtual thread waits, and its carrier goes on with others.  Called
 * on a platform thread they are libc's.  So a database client or an HTTP
 * library runs in thousands of virtual threads as it is:
 *
 *     cc program.c $(pkg-config --cflags --libs vthread-posix libpq)
 *     LD_PRELOAD=libvthread-posix.so.0 program      without linking it
 *
 *     static void *ask(void *arg)
 *     {
 *         PGconn *c = PQconnectdb(arg);             waits for the server
 *         PGresult *r = PQexec(c, "select 1");      and here
 *         ...
 *
 * What it stands for, and what waits:
 *
 * - read, readv, write, writev; recv, recvfrom, recvmsg, recvmmsg, send,
 *   sendto, sendmsg, sendmmsg, sendfile; accept, accept4, connect; poll,
 *   ppoll, select, pselect; epoll_wait, epoll_pwait, epoll_pwait2; sleep,
 *   usleep, nanosleep, clock_nanosleep, sched_yield; wait, waitpid, wait3,
 *   wait4, waitid: the thread parks.
 * - open, openat, creat, read and write of files, pread, pwrite, preadv,
 *   pwritev, preadv2, pwritev2, copy_file_range, fsync, fdatasync,
 *   sync_file_range, syncfs, truncate, ftruncate, fallocate,
 *   posix_fallocate; getaddrinfo, getnameinfo, gethostbyname and its kin:
 *   the OS thread makes the call, as in vthread_block; the carrier's other
 *   threads go on elsewhere.
 * - close: wakes every virtual thread that waits for the descriptor; they
 *   get EBADF.
 *
 * Under these names, their 64-bit ones and those of _FORTIFY_SOURCE.  What
 * libc calls inside itself is not seen: stdio, system, pclose block the OS
 * thread.  Nor are splice, tee and vmsplice, stat and directories, message
 * queues, and locks: flock, fcntl with F_SETLKW, those of pthreads.
 *
 * A thread that parks in one of these calls is bound to its carrier from
 * then on, as by vthread_bind.  It must be: the caller was compiled for
 * pthreads, and keeps the addresses of errno and of thread-locals across the
 * call; after it errno must be where the caller looks for it.  Others run on
 * the carrier meanwhile, so the values of thread-locals may have changed, but
 * errno is right after each call.
 *
 * A library that holds a pthread mutex while it waits stops the carrier when
 * another of its threads wants the same mutex, for good if the holder is
 * bound to it as well; with a recursive mutex it does not keep the two apart.
 * Track its locks (<vthread/pin.h>), or give each virtual thread its own
 * connection, and use vthread_mutex_t where threads share one.
 *
 * Otherwise they behave as libc's do, errno included, and:
 *
 * - O_NONBLOCK, MSG_DONTWAIT, SO_RCVTIMEO and SO_SNDTIMEO are heeded, and
 *   fcntl shows no flag that the program has not set; but connect sets
 *   O_NONBLOCK for the instant in which it begins.
 * - vthread_interrupt makes the call return EINTR, once: a library that tries
 *   again on EINTR swallows it.  When the thread's scope has been cancelled,
 *   each call that would park returns ECANCELED, and sleep what is left.
 *   Calls made in place are not cancelled.
 * - SO_RCVLOWAT is not heeded: a receive returns what there is.
 * - An error after the first message of recvmmsg is told by the next call
 *   only if it is still there then.
 * - sendfile to a descriptor that blocks reads and writes, by way of 64 KiB
 *   of memory: there is no other way to do it without waiting in the kernel.
 * - close on a platform thread, and dup2 to a number that is in use, do not
 *   wake those who wait for the descriptor.
 * - The signal masks of ppoll, pselect and epoll_pwait are not used: carriers
 *   block signals.
 * - Before Linux 6.4 a pipe, and always a FIFO or terminal, of which another
 *   process or a platform thread reads as well, may block the OS thread when
 *   that one is faster; the same goes for accept.
 *
 * A program that is linked statically, and a library that was loaded with
 * RTLD_DEEPBIND, are not reached by it.
 */
#ifndef VTHREAD_POSIX_H
#define VTHREAD_POSIX_H

#include <stdbool.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Whether the calls of the process reach libvthread-posix: false if something
 * else stands before it.  In the library -lvthread-posix.  Blocks never.
 */
VTHREAD_API bool vthread_posix_is_active(void);

#ifdef __cplusplus
}
#endif

#endif
