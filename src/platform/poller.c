/*
 * poller.c - epoll, and an eventfd that interrupts it.
 *
 * Not here: who waits for which descriptor, and what a cookie means (io.c).
 *
 * The eventfd is level-triggered and stays ready until a waiter that sleeps
 * has read it.  Edge-triggered it would save that read, but then a carrier
 * that only looks (deadline 0) could carry off the one event meant for
 * another that sleeps.
 *
 * Invariant: if is_interrupted is false, the eventfd will be written by the
 * next interruption; if true, it has been or is about to be, and the waiter
 * that reads it has yet to return.
 */
#include "poller.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <time.h>

#include "clock.h"
#include "futex.h"
#include "sanitizer.h"
#include "system.h"

enum { BATCH = 128 };

static struct os_lock opening;
static _Atomic int epoll_fd = -1; /* written once, with release */
static int event_fd = -1;         /* I: before epoll_fd */
static _Atomic bool is_interrupted;

/* Acquire, pairs with publish: event_fd is valid if this is. */
static int epoll(void)
{
    return atomic_load_explicit(&epoll_fd, memory_order_acquire);
}

static int add(int epoll, int fd, uint32_t mask, uint64_t cookie)
{
    struct epoll_event event = {.events = mask, .data.u64 = cookie};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

/* Release, pairs with epoll(). */
static void publish(int created)
{
    atomic_store_explicit(&epoll_fd, created, memory_order_release);
}

/* Returns 0 or an error, having closed what was opened. */
static int create(void)
{
    int created = epoll_create1(EPOLL_CLOEXEC);
    int error = 0;

    if (created < 0)
        return errno;
    event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event_fd >= 0 &&
        add(created, event_fd, EPOLLIN, POLLER_RESERVED_COOKIE) == 0) {
        publish(created);
        return 0;
    }
    error = errno;
    if (event_fd >= 0)
        system_close(event_fd);
    system_close(created);
    return error;
}

int poller_open(void)
{
    int error = 0;

    os_lock_acquire(&opening);
    if (epoll() < 0)
        error = create();
    os_lock_release(&opening);
    /* ENODEV and ENOSPC: the kernel or a limit of it is short of something
     * else; to the caller it is the same. */
    return error == 0 || error == EMFILE || error == ENFILE ? error : ENOMEM;
}

bool poller_is_open(void)
{
    return epoll() >= 0;
}

int poller_add(int fd, uint64_t cookie)
{
    int saved_errno = errno;
    int error = 0;

    if (add(epoll(), fd,
            EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET, cookie) < 0)
        error = errno;
    errno = saved_errno;
    return error;
}

void poller_remove(int fd)
{
    int saved_errno = errno;
    epoll_ctl(epoll(), EPOLL_CTL_DEL, fd, NULL);
    errno = saved_errno;
}

/* Waiting. */

/* For kernels before 5.11: whole milliseconds, never too early. */
static int wait_milliseconds(struct epoll_event *events, int capacity,
                             uint64_t timeout_ns)
{
    uint64_t timeout_ms = timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);
    return system_epoll_wait(epoll(), events, capacity,
                      timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms);
}

static int wait_nanoseconds(struct epoll_event *events, int capacity,
                            uint64_t timeout_ns)
{
    static _Atomic bool is_missing; /* relaxed: a hint, true for ever */
    struct timespec timeout = {.tv_sec = (time_t)(timeout_ns / 1000000000),
                               .tv_nsec = (long)(timeout_ns % 1000000000)};
    int count;

    if (atomic_load_explicit(&is_missing, memory_order_relaxed) ||
        sanitizer_is_valgrind) /* which would say that it does not know it */
        return wait_milliseconds(events, capacity, timeout_ns);
    count = system_epoll_pwait2(epoll(), events, capacity, &timeout);
    if (count < 0 && errno == ENOSYS) {
        atomic_store_explicit(&is_missing, true, memory_order_relaxed);
        return wait_milliseconds(events, capacity, timeout_ns);
    }
    return count;
}

static int wait_until(struct epoll_event *events, int capacity,
                      uint64_t deadline_ns)
{
    uint64_t now;

    if (deadline_ns == 0)
        return system_epoll_wait(epoll(), events, capacity, 0);
    if (deadline_ns == CLOCK_NEVER)
        return system_epoll_wait(epoll(), events, capacity, -1);
    now = clock_now_ns();
    return wait_nanoseconds(events, capacity,
                            deadline_ns > now ? deadline_ns - now : 0);
}

static unsigned readiness(uint32_t mask)
{
    unsigned ready = 0;

    if (mask & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        ready |= POLLER_READABLE;
    if (mask & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        ready |= POLLER_WRITABLE;
    if (mask & (EPOLLPRI | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        ready |= POLLER_HANGUP;
    return ready;
}

/*
 * Two interrupters and a waiter W:
 *
 *   interrupter   1. what it has to say   2. exchange true   3. write
 *   waiter        4. read                 5. store false     6. looks around
 *
 * One that finds true at 2 leaves out 3: the exchange at 2 comes before
 * that at 5 in the order of is_interrupted, so 6 sees its 1 (release at 2,
 * acquire at 5).  Were 5 before 4, the read could swallow the write of an
 * interrupter that came in between, with true left standing: no write would
 * ever follow.
 */
static void consume_interruption(void)
{
    uint64_t count;
    ssize_t size = system_read(event_fd, &count, sizeof count);

    (void)size; /* EAGAIN: another waiter was faster, which is fine */
    atomic_exchange_explicit(&is_interrupted, false, memory_order_acq_rel);
}

void poller_interrupt(void)
{
    if (epoll() >= 0
        && !atomic_exchange_explicit(&is_interrupted, true,
                                     memory_order_acq_rel))
        system_signal_event(event_fd);
}

int poller_wait(struct poller_event *events, int capacity, uint64_t deadline_ns)
{
    struct epoll_event found[BATCH];
    int count =
        wait_until(found, capacity < BATCH ? capacity : BATCH, deadline_ns);
    int stored = 0;

    for (int i = 0; i < count; i++) {
        if (found[i].data.u64 != POLLER_RESERVED_COOKIE) {
            events[stored].cookie = found[i].data.u64;
            events[stored++].ready = readiness(found[i].events);
        } else if (deadline_ns != 0) {
            consume_interruption();
        }
    }
    return stored;
}
