/*
 * own.c - time, waiting and blocking for all functions of libvthread-posix.
 *
 * Not here: what is waited for.
 *
 * Invariant: what may switch threads, or orders what they do, is called here
 * alone, and on a detour.
 */
#include "posix/own.h"

#include <errno.h>
#include <stdatomic.h>

#include "posix/detour.h"
#include "posix/real.h"

enum { NAP_MIN_NS = 100 * 1000, NAP_MAX_NS = 10 * 1000 * 1000 };

int own_result(int err)
{
    if (err == 0)
        return 0;
    errno = err;
    return -1;
}

/* ---- Time --------------------------------------------------------------- */

bool own_is_time(const struct timespec *time)
{
    return time->tv_sec >= 0 && time->tv_nsec >= 0
           && time->tv_nsec < (long)VTHREAD_SECOND;
}

uint64_t own_nanoseconds(const struct timespec *time)
{
    uint64_t seconds = (uint64_t)time->tv_sec;
    if (seconds >= VTHREAD_NEVER / VTHREAD_SECOND)
        return VTHREAD_NEVER;
    return seconds * VTHREAD_SECOND + (uint64_t)time->tv_nsec;
}

struct timespec own_timespec(uint64_t duration_ns)
{
    return (struct timespec){
        .tv_sec = (time_t)(duration_ns / VTHREAD_SECOND),
        .tv_nsec = (long)(duration_ns % VTHREAD_SECOND),
    };
}

uint64_t own_left(uint64_t deadline_ns)
{
    uint64_t now = vthread_now();
    return deadline_ns > now ? deadline_ns - now : 0;
}

uint64_t own_deadline_of_ms(int timeout_ms)
{
    return timeout_ms < 0 ? VTHREAD_NEVER
                          : vthread_after((uint64_t)timeout_ms * VTHREAD_MS);
}

uint64_t own_deadline_of(const struct timespec *timeout)
{
    return timeout ? vthread_after(own_nanoseconds(timeout)) : VTHREAD_NEVER;
}

/* ---- Waiting ------------------------------------------------------------ */

/* It can fail on a platform thread only. */
void own_bind(void)
{
    struct detour detour = detour_begin();
    vthread_bind();
    detour_end(detour);
}

void own_yield(void)
{
    own_bind();
    struct detour detour = detour_begin();
    vthread_yield();
    detour_end(detour);
}

static void put_back_interrupt(void)
{
    struct detour detour = detour_begin();
    vthread_interrupt(vthread_self());
    detour_end(detour);
}

ssize_t own_part(size_t sum, int err)
{
    if (sum == 0)
        return own_result(err);
    if (err == EINTR)
        put_back_interrupt();
    return (ssize_t)sum;
}

static bool was_interrupted(void)
{
    struct detour detour = detour_begin();
    bool was = vthread_interrupted();
    detour_end(detour);
    return was;
}

/* A cancelled scope is seen by every look, an interrupt by one; the second
 * look may have taken an interrupt that came since. */
int own_why_cancelled(void)
{
    if (!was_interrupted())
        return EINTR;
    if (was_interrupted())
        return ECANCELED;
    put_back_interrupt();
    return EINTR;
}

int own_sleep_until(uint64_t deadline_ns)
{
    own_bind();
    struct detour detour = detour_begin();
    int err = vthread_sleep_until(deadline_ns);
    detour_end(detour);
    return err == 0 ? 0 : own_why_cancelled();
}

int own_poll(struct pollfd *fds, nfds_t count, unsigned *ready,
             uint64_t deadline_ns)
{
    own_bind();
    struct detour detour = detour_begin();
    int err = vthread_poll_until(fds, count, ready, deadline_ns);
    detour_end(detour);
    return err;
}

int own_close(int fd)
{
    struct detour detour = detour_begin();
    int err = vthread_close(fd);
    detour_end(detour);
    return err;
}

/*
 * How many closes of a number have begun, and how many have ended, as far as
 * we know.  Numbers beyond share the counts of lower ones; then an interrupt
 * that comes together with a close of that one is told as EBADF.
 */
enum { COUNTS = 1 << 16 };
static struct {
    _Atomic uint32_t begun, ended;
} closes[COUNTS];

void own_close_begins(int fd)
{
    /* Release: see own_wait. */
    atomic_fetch_add_explicit(&closes[(unsigned)fd % COUNTS].begun, 1,
                              memory_order_release);
}

void own_close_ends(int fd)
{
    /* Release: who sees that it has ended sees that it had begun; pairs with
     * own_closes_ended. */
    atomic_fetch_add_explicit(&closes[(unsigned)fd % COUNTS].ended, 1,
                              memory_order_release);
}

uint32_t own_closes_begun(int fd)
{
    return atomic_load_explicit(&closes[(unsigned)fd % COUNTS].begun,
                                memory_order_acquire);
}

uint32_t own_closes_ended(int fd)
{
    return atomic_load_explicit(&closes[(unsigned)fd % COUNTS].ended,
                                memory_order_acquire);
}

/* A close that is under way when the wait begins may still end it. */
int own_wait(int fd, short events, uint64_t deadline_ns)
{
    struct pollfd entry = {.fd = fd, .events = events};
    unsigned ready;
    uint32_t ended = own_closes_ended(fd), begun = own_closes_begun(fd);
    int err = own_poll(&entry, 1, &ready, deadline_ns);
    /* Acquire, pairs with own_close_begins: that comes before the close, and
     * so before whatever the close has told us. */
    uint32_t begun_since = own_closes_begun(fd);
    if (begun_since != (err == ECANCELED ? ended : begun))
        return EBADF;
    return err == ECANCELED ? own_why_cancelled() : err;
}

int own_nap(uint64_t *nap_ns, uint64_t deadline_ns)
{
    uint64_t left_ns = own_left(deadline_ns);
    if (left_ns == 0)
        return ETIMEDOUT;
    if (*nap_ns < NAP_MAX_NS)
        *nap_ns = *nap_ns == 0 ? NAP_MIN_NS : *nap_ns * 2;
    return own_sleep_until(
        vthread_after(left_ns < *nap_ns ? left_ns : *nap_ns));
}

static bool is_ready(int fd, short events)
{
    struct pollfd entry = {.fd = fd, .events = events};
    return REAL(poll)(&entry, 1, 0) > 0;
}

/* Numbers may share one. */
enum { GUARDS = 64 };
static struct {
    vthread_mutex_t mutex;
} __attribute__((aligned(64))) guards[GUARDS];

bool own_guard(int fd, short events)
{
    own_bind();
    struct detour detour = detour_begin();
    vthread_mutex_lock(&guards[(unsigned)fd % GUARDS].mutex);
    detour_end(detour);
    if (is_ready(fd, events))
        return true;
    own_guard_end(fd);
    return false;
}

void own_guard_end(int fd)
{
    int saved_errno = errno;
    struct detour detour = detour_begin();
    vthread_mutex_unlock(&guards[(unsigned)fd % GUARDS].mutex);
    detour_end(detour);
    errno = saved_errno;
}

bool own_is_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && flags & O_NONBLOCK;
}

/* ---- Blocking ----------------------------------------------------------- */

/* Without OS threads or memory for more the call is made all the same, and
 * the carrier's other threads wait with us. */
void own_block(void *(*fn)(void *), void *arg)
{
    own_bind();
    struct detour detour = detour_begin();
    bool is_disabled = vthread_cancel_disable() == 0;
    int err = vthread_block(fn, arg, NULL);
    if (err != 0)
        fn(arg);
    int saved_errno = errno;
    if (is_disabled)
        vthread_cancel_enable();
    detour_end(detour);
    errno = saved_errno;
}
