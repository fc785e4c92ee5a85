/*
 * vthread/gc.h - virtual threads in a program with the Boehm collector.
 *
 *     int main(void)
 *     {
 *         int err = vthread_gc_enable();     // first of all
 *         if (err != 0)
 *             return 1;
 *         ...
 *         struct node *n = GC_MALLOC(sizeof *n);
 *         vthread_create(&t, NULL, work, n); // n lives as long as t needs it
 *
 * Afterwards every virtual thread may allocate by GC_MALLOC and its like, and
 * keep pointers on its stack: the frames of all threads are scanned, exactly
 * as far as they are in use, wherever they are.  So are a thread's argument
 * and result, values in channels and futures, what keys and scopes hold,
 * and the arguments of foreign calls.  OS threads that call the library are
 * known to the collector from that call on, so GC_pthread_create is not
 * needed for them.
 *
 * Finalizers are run by virtual threads, after the collection that found the
 * objects, and may do what virtual threads do; a program without a scheduler
 * runs them itself, by GC_invoke_finalizers.  Carriers that have nothing to do
 * are not disturbed by collections.  A thread in a foreign call (vthread_call,
 * vthread_block) is stopped by the collector's signal like any other, so the
 * foreign function may use collected memory; one that takes long in the
 * kernel may return from there with EINTR, as in any program with this
 * collector.  Calls of this library never do.
 *
 * Not seen are pointers that only memory of malloc holds, or the __thread
 * variables of OS threads other than the first.
 *
 * Fork: the child may allocate and collect, and call nothing of this
 * library.  What other threads held is garbage there.  It may exec, as always.
 *
 * The library does not depend on libgc; the program links it, 8.0 or later
 * (-lgc).  While the collector is not enabled nothing is paid for this.
 */
#ifndef VTHREAD_GC_H
#define VTHREAD_GC_H

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Initializes the collector, unless that has been done, and makes it and
 * virtual threads work together, for good.  To be called before any thread
 * or continuation is created, by the only thread that uses the library.
 *
 * Returns  0, also if it is enabled already; EBUSY: too late, there are
 *          schedulers or continuations; ENOTSUP, with words on standard error:
 *          the program has no libgc, the library was built without it or with
 *          ThreadSanitizer, or the collector is in incremental mode, which
 *          does not go with stacks that are copied; EMFILE, ENFILE, ENOMEM.
 * Blocks   never.
 */
VTHREAD_API int vthread_gc_enable(void);

#ifdef __cplusplus
}
#endif

#endif
