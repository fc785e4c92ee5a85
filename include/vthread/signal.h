/*
 * vthread/signal.h - waiting for signals.
 *
 *     sigset_t set;
 *     int signal;
 *     sigemptyset(&set);
 *     sigaddset(&set, SIGTERM);
 *     sigaddset(&set, SIGINT);
 *     vthread_signal_take(&set);         // before anything else starts
 *     ...
 *     int err = vthread_sigwait(&set, &signal);
 *
 * A signal is the application's or the library's.  It is the library's from
 * vthread_signal_take, or the first vthread_sigwait for it, until
 * vthread_signal_release: then it does not do what it did by default, and
 * no handler is called; it is kept until a thread waits for it.  One that
 * came several times is kept once, as the kernel does, but real-time
 * signals each time.
 *
 * It is no matter whether main or other platform threads block it: blocked
 * everywhere it is read by a signalfd, else a handler of the library takes
 * it, on a thread that has it unblocked; its system calls go on, but for
 * the few that no SA_RESTART restarts (see signal(7)).  Carriers block all
 * signals in any case.  What is sent to one thread (pthread_kill) is seen if
 * that thread has it unblocked.
 *
 * Several threads may wait, for sets that have signals in common: each
 * signal goes to one of them, the one that has waited longest.  A program
 * started by vthread_spawn has all signals as they are by default.
 */
#ifndef VTHREAD_SIGNAL_H
#define VTHREAD_SIGNAL_H

#include <stdint.h>
#include <sys/select.h> /* for sigset_t; the rest is in <signal.h> */

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Takes the signals of the set from the application.  Those which are taken
 * already stay so.
 *
 * Returns  0; EINVAL if the set is empty or has a signal that nobody can
 *          wait for: SIGKILL, SIGSTOP, and those of faults (SIGSEGV, SIGBUS,
 *          SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT); EMFILE, ENFILE,
 *          ENOMEM.
 * Blocks   never.
 */
VTHREAD_API int vthread_signal_take(const sigset_t *set);

/*
 * Gives them back: what was to be done with each before it was taken is to
 * be done again.  Those that were kept are dropped.
 *
 * Returns  0; EINVAL as above; EBUSY if a thread waits for one of them.
 * Blocks   never.
 */
VTHREAD_API int vthread_signal_release(const sigset_t *set);

/*
 * Waits for one signal of the set and stores its number in *signal.
 *
 * Returns  0; what vthread_signal_take returns; ETIMEDOUT; ECANCELED.  With
 *          a deadline in the past it takes a signal that has come, if there
 *          is one.
 * Blocks   the virtual thread.
 * Orders   as sigwait: what the sender did before is not ordered by it.
 * Source   sigwait.
 */
VTHREAD_API int vthread_sigwait(const sigset_t *set, int *signal);
VTHREAD_API int vthread_sigwait_until(const sigset_t *set, int *signal,
                                      uint64_t deadline_ns);

#ifdef __cplusplus
}
#endif

#endif
