/*
 * vthread/cancel.h - being cancelled, and cleaning up.
 *
 * A thread is asked to stop in two ways, both seen by its cancellable waits
 * (each function says whether its wait is one):
 *
 * - once, by vthread_interrupt: one wait returns ECANCELED, and the request
 *   is gone;
 * - for good, by the cancel of a scope: each call that would have to wait
 *   returns ECANCELED until the thread ends.
 *
 * Nothing is ever stopped from outside: the thread sees ECANCELED and
 * returns, or calls vthread_exit.  What must be undone then is pushed as a
 * cleanup handler:
 *
 *     int err = vthread_cleanup_push(close_file, file);
 *     if (err == 0) {
 *         err = copy_all(file);         may wait, and be cancelled
 *         vthread_cleanup_pop(true);    closes it in any case
 *     }
 *
 * The end of a thread, by vthread_exit or by the return of its function, on
 * the thread's own stack:
 *
 * - cancellation is disabled, for good: what follows may wait;
 * - cleanup handlers run, the one pushed last first;
 * - scopes that are still open are closed, the one opened last first;
 * - values of keys are destroyed (vthread/key.h);
 * - the thread has ended, and who joins it learns of it.
 *
 * Handlers and destructors may use all of these again; what they leave is
 * dealt with as well.  Platform threads do the same when they end, or call
 * vthread_exit; not when the process does.
 */
#ifndef VTHREAD_CANCEL_H
#define VTHREAD_CANCEL_H

#include <stdbool.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Disables the cancellation of the calling thread until the matching
 * vthread_cancel_enable.  Calls nest.  Requests stay pending meanwhile: both
 * kinds, and vthread_interrupt reports no error.  A scope that is opened
 * while cancellation is disabled is shielded: a cancel that comes from above
 * does not reach it (see vthread/scope.h).
 *
 * Returns  0; EAGAIN after 254 calls without enable; ENOMEM on a platform
 *          thread whose first call this is.
 * Blocks   never.
 * Source   pthread_setcancelstate.
 */
VTHREAD_API int vthread_cancel_disable(void);

/*
 * Takes one vthread_cancel_disable back.
 *
 * Returns  0; EPERM if there was none.
 * Blocks   never; a pending request is seen by the next wait.
 */
VTHREAD_API int vthread_cancel_enable(void);

/*
 * Asks whether the calling thread is cancelled, as a cancellable wait would,
 * without waiting; for loops that compute.  An interrupt is taken by it.
 *
 * Returns  0; ECANCELED, never while cancellation is disabled.
 * Blocks   never.
 * Source   pthread_testcancel, which does not return.
 */
VTHREAD_API int vthread_testcancel(void);

/*
 * Has fn(arg) called when the thread ends, unless it is popped before.
 * Handlers may wait.  One that calls vthread_exit ends there; the next one
 * runs.  arg may point to a local variable if the function that it belongs
 * to pops the handler before it returns.
 *
 * Returns  0; EINVAL without fn; ENOMEM.
 * Blocks   never.
 * Source   pthread_cleanup_push, which is a macro and needs no memory.
 */
VTHREAD_API int vthread_cleanup_push(void (*fn)(void *), void *arg);

/*
 * Takes the handler pushed last off, and calls it if execute is true: with
 * cancellation as it is.
 *
 * Returns  0; EPERM if there is none.
 * Blocks   as the handler does.
 */
VTHREAD_API int vthread_cleanup_pop(bool execute);

#ifdef __cplusplus
}
#endif

#endif
