/*
 * process.c - child processes: posix_spawn in place, and waiting by pidfd.
 *
 * Carriers block all signals, and a child inherits that; a program started
 * so could not even be interrupted.  So every child gets an empty mask and
 * default dispositions.
 *
 * The library's own descriptors are close-on-exec.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vthread.h>
#include <vthread/process.h>

#include "io/in_place.h"
#include "platform/memory.h"
#include "platform/sanitizer.h"
#include "platform/system.h"

#define PAUSE_MIN_NS (VTHREAD_MS / 4)
#define PAUSE_MAX_NS (16 * VTHREAD_MS)

#define ALL_FLAGS                                                             \
    (VTHREAD_SPAWN_GROUP | VTHREAD_SPAWN_SESSION | VTHREAD_SPAWN_CLOSE_OTHERS)

/* ---- Starting ----------------------------------------------------------- */

struct spawn {
    const char *file;
    char *const *argv;
    const vthread_spawn_attr_t *attr;
    int *sources; /* of attr->fds: what is duplicated in the child */
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    pid_t pid;
};

static int highest_target(const vthread_spawn_attr_t *attr)
{
    int highest = 2;
    for (size_t i = 0; i < attr->fd_count; i++)
        if (attr->fds[i].child_fd > highest)
            highest = attr->fds[i].child_fd;
    return highest;
}

/* The child duplicates one after the other.  A source that an earlier one
 * overwrites is taken out of the way first, here. */
static bool is_overwritten(const vthread_spawn_attr_t *attr, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (attr->fds[i].child_fd == attr->fds[index].parent_fd)
            return true;
    return false;
}

static int find_sources(struct spawn *s)
{
    const vthread_spawn_attr_t *attr = s->attr;
    int above = highest_target(attr) + 1;
    for (size_t i = 0; i < attr->fd_count; i++) {
        s->sources[i] = attr->fds[i].parent_fd;
        if (!is_overwritten(attr, i))
            continue;
        s->sources[i] = fcntl(s->sources[i], F_DUPFD_CLOEXEC, above);
        if (s->sources[i] < 0)
            return errno;
    }
    return 0;
}

static void close_sources(struct spawn *s)
{
    for (size_t i = 0; i < s->attr->fd_count; i++)
        if (s->sources[i] >= 0 && s->sources[i] != s->attr->fds[i].parent_fd)
            system_close(s->sources[i]);
}

static bool is_target(const vthread_spawn_attr_t *attr, int fd)
{
    for (size_t i = 0; i < attr->fd_count; i++)
        if (attr->fds[i].child_fd == fd)
            return true;
    return false;
}

/* It is no error to close what is not open. */
static int close_others(struct spawn *s)
{
    int err = 0, highest = highest_target(s->attr);
    for (int fd = 3; fd < highest && err == 0; fd++)
        if (!is_target(s->attr, fd))
            err = posix_spawn_file_actions_addclose(&s->actions, fd);
    if (err == 0)
        err = posix_spawn_file_actions_addclosefrom_np(&s->actions,
                                                       highest + 1);
    return err;
}

static int add_actions(struct spawn *s)
{
    const vthread_spawn_attr_t *attr = s->attr;
    int err = 0;
    for (size_t i = 0; i < attr->fd_count && err == 0; i++)
        err = posix_spawn_file_actions_adddup2(
            &s->actions, s->sources[i], attr->fds[i].child_fd);
    if (err == 0 && attr->flags & VTHREAD_SPAWN_CLOSE_OTHERS)
        err = close_others(s);
    if (err == 0 && attr->directory)
        err = posix_spawn_file_actions_addchdir_np(&s->actions,
                                                   attr->directory);
    return err;
}

static void set_attributes(struct spawn *s)
{
    short flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&s->attributes, &none);
    posix_spawnattr_setsigdefault(&s->attributes, &all);
    if (s->attr->flags & VTHREAD_SPAWN_GROUP)
        flags |= POSIX_SPAWN_SETPGROUP;
    if (s->attr->flags & VTHREAD_SPAWN_SESSION)
        flags |= POSIX_SPAWN_SETSID;
    posix_spawnattr_setflags(&s->attributes, flags);
}

static int spawn(struct spawn *s)
{
    int err = posix_spawn_file_actions_init(&s->actions);
    if (err != 0)
        return err;
    err = posix_spawnattr_init(&s->attributes);
    if (err == 0) {
        set_attributes(s);
        err = add_actions(s);
        if (err == 0)
            err = posix_spawnp(&s->pid, s->file, &s->actions, &s->attributes,
                               s->argv,
                               s->attr->env ? s->attr->env : environ);
        posix_spawnattr_destroy(&s->attributes);
    }
    posix_spawn_file_actions_destroy(&s->actions);
    return err;
}

/* Reads errno, and does not wait. */
static long make_spawn(void *arg)
{
    struct spawn *s = arg;
    for (size_t i = 0; i < s->attr->fd_count; i++)
        s->sources[i] = -1;
    int err = find_sources(s);
    if (err == 0)
        err = spawn(s);
    close_sources(s);
    errno = err;
    return err == 0 ? 0 : -1;
}

static bool is_sound(const vthread_spawn_attr_t *attr)
{
    bool is = !(attr->flags & ~ALL_FLAGS)
              && (attr->fds || attr->fd_count == 0);
    for (size_t i = 0; i < attr->fd_count && is; i++)
        is = attr->fds[i].child_fd >= 0;
    return is;
}

int vthread_spawn(pid_t *pid, const char *file, char *const argv[],
                  const vthread_spawn_attr_t *attr)
{
    static const vthread_spawn_attr_t usual;
    struct spawn s = {
        .file = file, .argv = argv, .attr = attr ? attr : &usual};
    if (!pid || !file || !argv || !is_sound(s.attr))
        return EINVAL;
    s.sources = memory_alloc((s.attr->fd_count + 1) * sizeof *s.sources);
    if (!s.sources)
        return ENOMEM;
    int err = in_place(BLOCKING_LONG, VTHREAD_NEVER, make_spawn, &s, NULL);
    memory_free(s.sources);
    if (err == 0)
        *pid = s.pid;
    return err;
}

/* ---- Waiting ------------------------------------------------------------ */

/* EAGAIN: it has not ended.  Reads errno, and does not wait. */
static __attribute__((noinline)) int reap(pid_t pid, int *status)
{
    int saved_errno = errno, how;
    pid_t found = system_waitpid(pid, &how, WNOHANG);
    int err = found < 0 ? errno : 0;
    errno = saved_errno;
    if (err != 0)
        return err;
    if (found == 0)
        return EAGAIN;
    if (status)
        *status = how;
    return 0;
}

/* The same. */
static __attribute__((noinline)) int open_process(pid_t pid, int *fd)
{
    int saved_errno = errno;
    if (sanitizer_is_valgrind) /* which would say that it does not know it */
        return ENOSYS;
    *fd = (int)syscall(SYS_pidfd_open, pid, 0);
    int err = *fd < 0 ? errno : 0;
    errno = saved_errno;
    return err == ESRCH ? ECHILD : err;
}

static int await(pid_t pid, int fd, int *status, uint64_t deadline_ns)
{
    /* Another may have waited for it just now, and the number be somebody
     * else's already: then it is no child. */
    int err = reap(pid, status);
    while (err == EAGAIN) {
        struct pollfd process = {.fd = fd, .events = POLLIN};
        unsigned ready;
        err = vthread_poll_until(&process, 1, &ready, deadline_ns);
        if (err == 0)
            err = reap(pid, status);
    }
    return err;
}

/* Before Linux 5.3 nothing tells of one child's end. */
static int look_again(pid_t pid, int *status, uint64_t deadline_ns)
{
    uint64_t pause_ns = PAUSE_MIN_NS;
    int err = 0;
    while (err == 0) {
        uint64_t next_ns = vthread_after(pause_ns);
        bool is_last = deadline_ns <= next_ns;
        err = vthread_sleep_until(is_last ? deadline_ns : next_ns);
        int found = reap(pid, status);
        if (found != EAGAIN) {
            if (err == ECANCELED)
                vthread_interrupt(vthread_self());
            return found;
        }
        if (err == 0 && is_last)
            err = ETIMEDOUT;
        if (pause_ns < PAUSE_MAX_NS)
            pause_ns *= 2;
    }
    return err;
}

int vthread_waitpid_until(pid_t pid, int *status, uint64_t deadline_ns)
{
    int fd;
    if (pid <= 0)
        return EINVAL;
    int err = reap(pid, status);
    if (err != EAGAIN)
        return err;
    err = open_process(pid, &fd);
    if (err == ENOSYS)
        return look_again(pid, status, deadline_ns);
    if (err != 0)
        return err;
    err = await(pid, fd, status, deadline_ns);
    vthread_close(fd);
    return err;
}

int vthread_waitpid(pid_t pid, int *status)
{
    return vthread_waitpid_until(pid, status, VTHREAD_NEVER);
}
