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

#include <stddef.h>
#include <stdint.h>

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

#define VTHREAD_GC_LEAK_FRAMES 24

/* A thread that nothing can ever wake. */
typedef struct vthread_gc_leak {
    uint64_t thread;          /* its handle */
    void *(*entry)(void *);   /* what it was started with */
    const void *created_by;   /* where vthread_create returned to; NULL: not
                                 known, as for the threads of scopes */
    const char *waits;        /* what it does: "is parked", "waits at a
                                 channel"; never freed */
    const char *object_kind;  /* "mutex" and so on, or NULL */
    const void *object;       /* the address of that, or NULL */
    unsigned frame_count;     /* of its stack, where it waits: */
    void *frames[VTHREAD_GC_LEAK_FRAMES]; /* return addresses, the innermost
                                 first; 0 on processors that cannot tell */
    char name[32];
} vthread_gc_leak_t;

/*
 * Finds the threads that nothing can ever wake: which wait without a deadline
 * and for nothing from outside, whose handle nobody has who could, and what
 * they wait for neither; threads in cycles of such waits among them.  Stores
 * the first `capacity` of them, and how many there are.  Everything stands
 * still meanwhile, for about as long as a collection takes.
 *
 * Handles, and what is waited for, are looked for in the stacks of all
 * threads that can still run, static data, collected memory that is in use,
 * and the memory of malloc (with glibc).  What only other memory holds, mapped
 * by the program or kept uncollectable by nothing but the collector, is not
 * found, nor is a handle that is kept in disguise, on the stack of an OS thread
 * that has never called this library, or in an object that only its finalizer
 * will see.  The leaks array itself does not count, and is cleared first.
 * A carrier that has just left a thread may hide it for a moment, with what it
 * leads to: the next call finds it.
 *
 * `vthread dump --leaked` shows what the last call has found, with the names
 * of functions.  The threads stay as they are.
 *
 * Returns  0; EPERM: the collector is not enabled; EINVAL for a capacity
 *          without leaks, or no count; ENOMEM, EMFILE, ENFILE: *count is not
 *          changed.
 * Blocks   the OS thread, while everything stands still.
 */
VTHREAD_API int vthread_gc_leaks(vthread_gc_leak_t *leaks, size_t capacity,
                                 size_t *count);

#ifdef __cplusplus
}
#endif

#endif
