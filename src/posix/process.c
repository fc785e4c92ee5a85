/*
 * process.c - waiting for children.
 *
 * Not in place: a child often waits for what other threads write to it, and
 * these may be bound to the same carrier.  A child that is named has a
 * descriptor that can be polled; for one of several, and for stops, the
 * kernel has nothing but signals, and so it is asked now and then, at
 * intervals of up to 10 ms.
 */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "posix/own.h"
#include "posix/real.h"

/* A child and what is to be known of it, as for wait4 or for waitid. */
struct child_wait {
    /* Asks without waiting: -1, 0 if it is too early, or the child. */
    pid_t (*ask)(struct child_wait *w);
    pid_t pid;
    int options;
    int *status;
    struct rusage *usage;
    idtype_t type;
    siginfo_t *info;
};

/* -1 if it has none; closed on exec. */
static int open_child(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* Whether it is about the end of one child, pid. */
static bool has_descriptor(const struct child_wait *w)
{
    return w->type == P_PID && w->pid > 0
           && !(w->options & (WUNTRACED | WCONTINUED));
}

/* 0: ask again. */
static int wait_for_change(int fd, uint64_t *nap_ns)
{
    return fd >= 0 ? own_wait(fd, POLLIN, VTHREAD_NEVER)
                   : own_nap(nap_ns, VTHREAD_NEVER);
}

static pid_t ask_until(struct child_wait *w, int fd)
{
    uint64_t nap_ns = 0;
    for (;;) {
        pid_t pid = w->ask(w);
        if (pid != 0)
            return pid;
        int err = wait_for_change(fd, &nap_ns);
        if (err != 0)
            return own_result(err);
    }
}

static pid_t wait_for_child(struct child_wait *w)
{
    pid_t pid = w->ask(w);
    if (pid != 0)
        return pid;
    int fd = has_descriptor(w) ? open_child(w->pid) : -1;
    pid = ask_until(w, fd);
    int saved_errno = errno;
    if (fd >= 0)
        own_close(fd);
    errno = saved_errno;
    return pid;
}

/* ---- wait, waitpid, wait3, wait4 ---------------------------------------- */

static pid_t ask_wait4(struct child_wait *w)
{
    return REAL(wait4)(w->pid, w->status, w->options | WNOHANG, w->usage);
}

OWN pid_t wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
    if (!own_concerns_us() || options & WNOHANG)
        return REAL(wait4)(pid, status, options, usage);
    struct child_wait w = {
        .ask = ask_wait4,
        .pid = pid,
        .type = P_PID,
        .options = options,
        .status = status,
        .usage = usage,
    };
    return wait_for_child(&w);
}

OWN pid_t wait3(int *status, int options, struct rusage *usage)
{
    if (!own_concerns_us())
        return REAL(wait3)(status, options, usage);
    return wait4(-1, status, options, usage);
}

OWN pid_t waitpid(pid_t pid, int *status, int options)
{
    if (!own_concerns_us())
        return REAL(waitpid)(pid, status, options);
    return wait4(pid, status, options, NULL);
}

OWN pid_t wait(int *status)
{
    if (!own_concerns_us())
        return REAL(wait)(status);
    return wait4(-1, status, 0, NULL);
}

/* ---- waitid ------------------------------------------------------------- */

static pid_t ask_waitid(struct child_wait *w)
{
    siginfo_t unused, *info = w->info ? w->info : &unused;
    info->si_pid = 0;
    int result = REAL(waitid)(w->type, (id_t)w->pid, info,
                              w->options | WNOHANG);
    return result < 0 ? -1 : info->si_pid;
}

OWN int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    if (!own_concerns_us() || options & WNOHANG)
        return REAL(waitid)(type, id, info, options);
    struct child_wait w = {
        .ask = ask_waitid,
        .pid = (pid_t)id,
        .options = options,
        .type = type,
        .info = info,
    };
    return wait_for_child(&w) < 0 ? -1 : 0;
}

OWN_ALIAS(wait) pid_t __wait(int *status);
OWN_ALIAS(waitpid) pid_t __waitpid(pid_t pid, int *status, int options);
