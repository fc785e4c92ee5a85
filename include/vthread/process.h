/*
 * vthread/process.h - child processes: starting them, waiting for them.
 *
 *     char *argv[] = {"sort", "-u", NULL};
 *     vthread_spawn_fd_t fds[] = {{0, in[0]}, {1, out[1]}};
 *     vthread_spawn_attr_t attr = {.fds = fds, .fd_count = 2};
 *     pid_t pid;
 *     int status, err = vthread_spawn(&pid, "sort", argv, &attr);
 *     if (err == 0)
 *         err = vthread_waitpid(pid, &status);
 *
 * A child gets the signals as a shell would give them: none blocked, none
 * ignored, none handled, whatever the caller's OS thread has blocked.  Open
 * pipes with O_CLOEXEC (pipe2), and give the child its ends by `fds`.
 */
#ifndef VTHREAD_PROCESS_H
#define VTHREAD_PROCESS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* child_fd in the child is what parent_fd is in the caller. */
typedef struct vthread_spawn_fd {
    int child_fd;
    int parent_fd;
} vthread_spawn_fd_t;

/* The child leads a process group of its own. */
#define VTHREAD_SPAWN_GROUP 1u
/* It leads a session of its own, without a terminal. */
#define VTHREAD_SPAWN_SESSION 2u
/* It gets 0, 1, 2 and what `fds` names; nothing else, close-on-exec or
 * not.  ENOSYS where the C library cannot do it (musl). */
#define VTHREAD_SPAWN_CLOSE_OTHERS 4u

/* Zero is valid and means: the caller's environment, directory and
 * descriptors that are not close-on-exec. */
typedef struct vthread_spawn_attr {
    char *const *env;              /* ends with NULL; NULL: environ */
    const char *directory;         /* NULL: the caller's */
    const vthread_spawn_fd_t *fds; /* as if all at once: {0, 1} and {1, 0}
                                      exchange two */
    size_t fd_count;
    unsigned flags;                /* VTHREAD_SPAWN_GROUP and so on */
} vthread_spawn_attr_t;

/*
 * Starts a program, found by PATH if its name has no slash, with the
 * arguments argv, which ends with NULL.  Stores its number in *pid.  attr
 * may be NULL.
 *
 * Returns  0; EINVAL for a bad attribute or a NULL; EBADF; ENOENT, EACCES,
 *          E2BIG and whatever else exec reports; EAGAIN, ENOMEM, EMFILE;
 *          ECANCELED while it waits for its turn.
 * Blocks   the virtual thread, and its OS thread until the program has been
 *          loaded.
 * Source   posix_spawnp.
 */
VTHREAD_API int vthread_spawn(pid_t *pid, const char *file,
                              char *const argv[],
                              const vthread_spawn_attr_t *attr);

/*
 * Waits until that child has ended and stores how in *status (unless NULL),
 * for WIFEXITED and so on (sys/wait.h).  The child may have been started by
 * anyone.
 *
 * Returns  0; EINVAL unless pid is above 0; ECHILD if there is no such
 *          child, or somebody else has waited for it; EMFILE, ENFILE,
 *          ENOMEM: waiting takes a descriptor, unless the child has ended;
 *          ETIMEDOUT, ECANCELED: it is still to be waited for.
 * Blocks   the virtual thread.
 * Source   waitpid, without groups and options.
 */
VTHREAD_API int vthread_waitpid(pid_t pid, int *status);
VTHREAD_API int vthread_waitpid_until(pid_t pid, int *status,
                                      uint64_t deadline_ns);

#ifdef __cplusplus
}
#endif

#endif
