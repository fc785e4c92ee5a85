/*
 * signal.c - waiting for signals.
 *
 * A signal that is taken has a handler of ours and is in the set of our
 * signalfd.  It comes by either: the handler runs if a platform thread has
 * it unblocked, and counts it; else it stays pending until the signalfd is
 * read.  (The handler is needed in any case: the kernel drops SIGCHLD and
 * SIGWINCH at once where they are ignored by default.)  An eventfd tells of
 * the handler's.  Both descriptors are polled with all others, and the
 * carrier that finds them ready hands the signals out.
 *
 * A waiter is a record on the heap: who hands out reads and writes it while
 * the thread's frames may be elsewhere.
 *
 * Invariant, under the lock: no signal is kept for which somebody waits.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <vthread/signal.h>
#include <vthread/time.h>

#include "io/descriptor.h"
#include "platform/futex.h"
#include "platform/memory.h"
#include "platform/system.h"
#include "thread.h"

/* Signal n is bit n - 1 of a mask. */
enum { SIGNALS = 64 };

struct waiter {
    struct waiter *next, **link; /* L */
    struct thread *thread;
    uint64_t mask;               /* what it waits for */
    int signal;                  /* L: what it has got; 0: nothing yet */
};

static struct os_lock lock;
static struct waiter *first, **last = &first; /* L */
static uint64_t taken;                        /* L */
static unsigned kept[SIGNALS + 1];            /* L: so many of each */
static struct sigaction former[SIGNALS + 1];  /* L: of those taken */
static int signal_fd = -1;                    /* L: or there is none yet */

/* The handler's.  event_fd is there before any handler. */
static int event_fd = -1;
static _Atomic unsigned arrived[SIGNALS + 1];

static uint64_t bit(int signal)
{
    return (uint64_t)1 << (signal - 1);
}

/* ---- Sets --------------------------------------------------------------- */

static bool is_refused(int signal)
{
    static const int refused[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE,
                                  SIGILL,  SIGTRAP, SIGSYS,  SIGABRT};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        if (signal == refused[i])
            return true;
    return false;
}

/* libc's own are left out, as by libc itself. */
static int mask_of(const sigset_t *set, uint64_t *mask)
{
    *mask = 0;
    for (int signal = 1; signal <= SIGNALS; signal++) {
        if (sigismember(set, signal) != 1
            || (signal > SIGSYS && signal < SIGRTMIN))
            continue;
        if (is_refused(signal))
            return EINVAL;
        *mask |= bit(signal);
    }
    return *mask != 0 ? 0 : EINVAL;
}

static sigset_t set_of(uint64_t mask)
{
    sigset_t set;
    sigemptyset(&set);
    for (int signal = 1; signal <= SIGNALS; signal++)
        if (mask & bit(signal))
            sigaddset(&set, signal);
    return set;
}

/* ---- Coming in ---------------------------------------------------------- */

static void handle(int signal)
{
    static const uint64_t one = 1;
    int saved_errno = errno;
    /* Release: it is counted before the eventfd tells of it.  Pairs with
     * collect_handled; the write orders it as well. */
    atomic_fetch_add_explicit(&arrived[signal], 1, memory_order_release);
    ssize_t size = system_write(event_fd, &one, sizeof one);
    (void)size; /* cannot be full */
    errno = saved_errno;
}

/* Under the lock, as the rest of this part. */
static void keep(int signal, unsigned count)
{
    kept[signal] += count;
    if (signal < SIGRTMIN && kept[signal] > 1)
        kept[signal] = 1;
}

static void collect_handled(void)
{
    uint64_t count;
    ssize_t size = system_read(event_fd, &count, sizeof count);
    (void)size;
    for (int signal = 1; signal <= SIGNALS; signal++)
        /* Relaxed, a hint; acquire: pairs with handle. */
        if (atomic_load_explicit(&arrived[signal], memory_order_relaxed) != 0)
            keep(signal, atomic_exchange_explicit(&arrived[signal], 0,
                                                  memory_order_acquire));
}

static void collect_pending(void)
{
    struct signalfd_siginfo info;
    while (system_read(signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        keep((int)info.ssi_signo, 1);
}

/* ---- Handing out, under the lock ---------------------------------------- */

/* The signal of the mask with the lowest number that is kept; 0: none. */
static int take_kept(uint64_t mask)
{
    for (int signal = 1; signal <= SIGNALS; signal++)
        if (mask & bit(signal) && kept[signal] > 0) {
            kept[signal]--;
            return signal;
        }
    return 0;
}

static void append(struct waiter *waiter)
{
    waiter->next = NULL;
    waiter->link = last;
    *last = waiter;
    last = &waiter->next;
}

static void take_out(struct waiter *waiter)
{
    *waiter->link = waiter->next;
    if (waiter->next)
        waiter->next->link = waiter->link;
    else
        last = waiter->link;
}

static void hand_out(void)
{
    struct waiter *next;
    for (struct waiter *w = first; w; w = next) {
        next = w->next;
        w->signal = take_kept(w->mask);
        if (w->signal == 0)
            continue;
        take_out(w);
        thread_wake(w->thread);
    }
}

static __attribute__((noinline)) void collect(void)
{
    int saved_errno = errno;
    collect_handled();
    collect_pending();
    errno = saved_errno;
    hand_out();
}

/* One of the two descriptors is ready. */
static void hear(void)
{
    os_lock_acquire(&lock);
    collect();
    os_lock_release(&lock);
}

/* ---- Taking and giving back, under the lock ----------------------------- */

static int open_event(void)
{
    if (event_fd >= 0)
        return 0;
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return errno;
    int err = descriptor_listen(fd, hear);
    if (err != 0)
        system_close(fd);
    else
        event_fd = fd;
    return err;
}

/* Has the signalfd read the signals of the mask, and no others. */
static int set_signal_fd(uint64_t mask)
{
    sigset_t set = set_of(mask);
    int fd = signalfd(signal_fd, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return errno;
    if (signal_fd >= 0)
        return 0;
    int err = descriptor_listen(fd, hear);
    if (err != 0)
        system_close(fd);
    else
        signal_fd = fd;
    return err;
}

static void install(int signal)
{
    struct sigaction action = {.sa_handler = handle,
                               .sa_flags = SA_RESTART | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    kept[signal] = 0;
    sigaction(signal, &action, &former[signal]);
}

static __attribute__((noinline)) int take(uint64_t mask)
{
    uint64_t new = mask & ~taken;
    if (new == 0)
        return 0;
    int saved_errno = errno;
    int err = open_event();
    if (err == 0)
        err = set_signal_fd(taken | new);
    for (int signal = 1; signal <= SIGNALS && err == 0; signal++)
        if (new & bit(signal))
            install(signal);
    if (err == 0)
        taken |= new;
    errno = saved_errno;
    return err;
}

static __attribute__((noinline)) int give_back(uint64_t mask)
{
    int saved_errno = errno;
    mask &= taken;
    for (struct waiter *w = first; w; w = w->next)
        if (w->mask & mask)
            return EBUSY;
    if (mask == 0)
        return 0;
    for (int signal = 1; signal <= SIGNALS; signal++)
        if (mask & bit(signal))
            sigaction(signal, &former[signal], NULL);
    taken &= ~mask;
    set_signal_fd(taken);
    errno = saved_errno;
    return 0;
}

static int change(const sigset_t *set, int (*make)(uint64_t mask))
{
    uint64_t mask;
    thread_refuse_child();
    int err = mask_of(set, &mask);
    if (err != 0)
        return err;
    os_lock_acquire(&lock);
    err = make(mask);
    os_lock_release(&lock);
    return err;
}

int vthread_signal_take(const sigset_t *set)
{
    return change(set, take);
}

int vthread_signal_release(const sigset_t *set)
{
    return change(set, give_back);
}

/* ---- Waiting ------------------------------------------------------------ */

/* 0: it has got a signal; EINPROGRESS: it is on the list. */
static int enter(struct waiter *waiter)
{
    os_lock_acquire(&lock);
    int err = take(waiter->mask);
    if (err == 0) {
        append(waiter);
        collect();
        if (waiter->signal == 0)
            err = EINPROGRESS;
    }
    os_lock_release(&lock);
    return err;
}

/* The wait has ended with an error.  One that has got a signal counts as
 * woken. */
static int leave(struct waiter *waiter, int err)
{
    os_lock_acquire(&lock);
    bool was_there = waiter->signal == 0;
    if (was_there)
        take_out(waiter);
    os_lock_release(&lock);
    if (was_there)
        return err;
    thread_wait_out(waiter->thread, err);
    return 0;
}

static int await(struct waiter *waiter, uint64_t deadline_ns)
{
    int err = enter(waiter);
    if (err == 0) {
        /* It was on the list for a moment, and has been woken. */
        thread_wait_out(waiter->thread, 0);
        return 0;
    }
    if (err != EINPROGRESS)
        return err;
    err = thread_wait_for(waiter->thread, FOR_SIGNAL, deadline_ns, true);
    return err == 0 ? 0 : leave(waiter, err);
}

int vthread_sigwait_until(const sigset_t *set, int *signal,
                          uint64_t deadline_ns)
{
    uint64_t mask;
    if (!signal)
        return EINVAL;
    struct thread *self = thread_self();
    int err = descriptor_ensure_polled(self);
    if (err == 0)
        err = mask_of(set, &mask);
    if (err != 0)
        return err;
    struct waiter *waiter = memory_alloc(sizeof *waiter);
    if (!waiter)
        return ENOMEM;
    *waiter = (struct waiter){.thread = self, .mask = mask};
    err = await(waiter, deadline_ns);
    if (err == 0)
        *signal = waiter->signal;
    memory_free(waiter);
    return err;
}

int vthread_sigwait(const sigset_t *set, int *signal)
{
    return vthread_sigwait_until(set, signal, VTHREAD_NEVER);
}
