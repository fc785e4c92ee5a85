/*
 * own.h - what the functions of libvthread-posix share: whether a call
 * concerns us, waiting, and blocking in place.
 *
 * Everything here is for virtual threads.  Platform threads are sent on to
 * the real function first thing:
 *
 *     OWN ssize_t read(int fd, void *buffer, size_t size_bytes)
 *     {
 *         if (!own_concerns_us())
 *             return REAL(read)(fd, buffer, size_bytes);
 *
 * errno may be used as anywhere else: before it waits for the first time a
 * thread is bound to its carrier, and so to its OS thread.
 */
#ifndef POSIX_OWN_H
#define POSIX_OWN_H

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include <vthread.h>

/* What stands in the place of libc's. */
#define OWN __attribute__((visibility("default")))

/* Another name that libc has for it. */
#define OWN_ALIAS(name) OWN __attribute__((alias(#name)))

static inline bool own_concerns_us(void)
{
    return __builtin_expect(vthread_is_virtual(), 0);
}

/* Ours, whatever the process calls by the name __read_chk. */
ssize_t own_read_chk(int fd, void *buffer, size_t size_bytes, size_t room);

/* Stores err, if it is one, in errno: 0 or -1. */
int own_result(int err);

/* open's third argument. */
static inline bool own_needs_mode(int flags)
{
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
}

/* ---- Time --------------------------------------------------------------- */

/* False if it is none. */
bool own_is_time(const struct timespec *time);

uint64_t own_nanoseconds(const struct timespec *time);
struct timespec own_timespec(uint64_t duration_ns);

/* How long until then; 0 if it has passed. */
uint64_t own_left(uint64_t deadline_ns);

/* poll's time-out: negative is for ever. */
uint64_t own_deadline_of_ms(int timeout_ms);
/* ppoll's: NULL is for ever. */
uint64_t own_deadline_of(const struct timespec *timeout);

/* ---- Waiting ------------------------------------------------------------ */

/* To be called before any wait: the thread stays on this OS thread. */
void own_bind(void);

/* Lets others run. */
void own_yield(void);

/* As vthread_poll_until, and as vthread_close. */
int own_poll(struct pollfd *fds, nfds_t count, unsigned *ready,
             uint64_t deadline_ns);
int own_close(int fd);

/* What a transfer returns that has met an error: how much there was before
 * it, and the error is left to the next call, as is an interrupt; or, if
 * there was nothing, -1. */
ssize_t own_part(size_t sum, int err);

/* A wait has been told ECANCELED, and no descriptor was closed: EINTR for an
 * interrupt, which is over with this; ECANCELED if the thread's scope has
 * been cancelled. */
int own_why_cancelled(void);

/* Sleeps: 0, EINTR or ECANCELED. */
int own_sleep_until(uint64_t deadline_ns);

/* Waits until poll(2) has something to say of the descriptor.
 * 0; ETIMEDOUT; EBADF if it has been closed meanwhile; EINTR; ECANCELED;
 * ENOMEM. */
int own_wait(int fd, short events, uint64_t deadline_ns);

/* For what no event tells of: sleeps longer and longer, up to 10 ms.  *nap_ns
 * is 0 at first.  As own_wait. */
int own_nap(uint64_t *nap_ns, uint64_t deadline_ns);

/* The program has made it non-blocking. */
bool own_is_nonblocking(int fd);

/* For a call that blocks unless the descriptor is ready, and has no form
 * that does not: true, the call may be made, in place; then own_guard_end
 * follows.  Virtual threads do this one after the other for each number, so
 * none takes from another what that one has seen. */
bool own_guard(int fd, short events);
void own_guard_end(int fd);

/* The number is about to be closed, and has been; those in own_wait will
 * know. */
void own_close_begins(int fd);
void own_close_ends(int fd);

/* Whoever begins to wait when `ended` closes had ended, and is woken when more
 * have begun, may have been woken by a close. */
uint32_t own_closes_ended(int fd);
uint32_t own_closes_begun(int fd);

/* ---- Blocking ----------------------------------------------------------- */

/* Calls fn(arg) on this OS thread while others run elsewhere.  Cannot fail,
 * and is not cancelled.  Only for what waits for a device or another
 * process's goodwill: threads that are bound to this carrier wait as well,
 * so it must not wait for one of them. */
void own_block(void *(*fn)(void *), void *arg);

#endif
