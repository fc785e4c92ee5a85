/*
 * vthread/deadlock.h - when all threads wait and nothing could wake one.
 *
 * A program in which every thread waits for another does not hang in
 * silence.  The default scheduler reports who waits for what, and which
 * threads wait for each other in a circle, and ends the process with
 * status 2:
 *
 *     vthread: deadlock: all 2 threads wait, and nothing is left that could
 *     wake one
 *     vthread: platform thread 4294967297 waits for the end of thread
 *     4294967298 'reader'
 *     vthread: thread 4294967298 'reader', entry read_all, is parked
 *
 * It is a deadlock when all threads, virtual ones and platform threads, wait
 * in functions of this library, none of them for a time, a descriptor or
 * anything else that comes from outside, and the process has no other OS
 * threads that could do something.  So a thread that computes, sleeps or is
 * in a system call keeps the process going, and a platform thread that never
 * called the library does so too.  Signals do not count: a handler cannot wake
 * threads.
 *
 * It is looked for when nothing has run for a while, and costs nothing
 * otherwise.  A program without the default scheduler, because it has started
 * none or its own only, is left alone.
 *
 * VTHREAD_DEADLOCK in the environment: exit (the default), report (and go
 * on), off.
 */
#ifndef VTHREAD_DEADLOCK_H
#define VTHREAD_DEADLOCK_H

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Has fn(arg, report) called when a deadlock is found, instead of the report
 * on standard error and the end of the process; fn NULL: as before.  The
 * report is text in lines, gone when fn returns.  fn runs on an OS thread of
 * the library, and may end the process, or a wait, by vthread_unpark or
 * vthread_interrupt; it may not wait.  It is called again when threads have
 * run since, and all wait anew.  Not called with VTHREAD_DEADLOCK=off.
 *
 * Returns  0.
 * Blocks   never.
 * Orders   all that the threads did before they waited happens before fn.
 */
VTHREAD_API int vthread_deadlock_handler(void (*fn)(void *arg,
                                                    const char *report),
                                         void *arg);

#ifdef __cplusplus
}
#endif

#endif
