/*
 * vthread/control.h - lets tools look into the running process.
 *
 * The tool vthread(1) asks a process about its threads through a socket that
 * is off unless the environment says VTHREAD_CONTROL=1, or the program turns
 * it on:
 *
 *     int err = vthread_control_start();
 *     if (err != 0)
 *         fprintf(stderr, "no control socket: %s\n", strerror(err));
 *
 * Only processes of the same user, and root's, are let in.  They can look,
 * and change nothing.  An OS thread of the library's own serves them, so what
 * they ask for costs no virtual thread its carrier; there are at most eight at
 * a time, their requests are short lines, and one that hangs or dies is left
 * behind.  While nobody asks the socket costs nothing.
 *
 * The socket has no file: its name is in the abstract namespace,
 * "vthread/UID/PID".  A forked child does not have it.
 */
#ifndef VTHREAD_CONTROL_H
#define VTHREAD_CONTROL_H

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Opens the socket.  It stays until vthread_control_stop, or the end of the
 * process; whoever is being served then gets what is left, for a second at
 * most.
 *
 * Returns  0; EALREADY when it is open; EADDRINUSE when another process has
 *          taken the name; EAGAIN when no OS thread can be had; EMFILE and
 *          the like.
 * Blocks   never for long.
 */
VTHREAD_API int vthread_control_start(void);

/*
 * Closes it, and the connections of all who are being served.
 *
 * Returns  0; EALREADY when it is not open.
 * Blocks   the carrier, until those who serve have noticed.
 */
VTHREAD_API int vthread_control_stop(void);

#ifdef __cplusplus
}
#endif

#endif
