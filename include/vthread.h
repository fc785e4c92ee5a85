/*
 * vthread.h - virtual threads for C.
 *
 * A virtual thread runs plain blocking code and costs a few hundred bytes
 * while it waits.  Many of them share a few OS threads, the carriers: a
 * thread that waits is unmounted (its frames are copied to the heap when
 * its stack is needed by another), and mounted again, on whichever carrier
 * is free, when it may go on.
 *
 *     static void *greet(void *name)
 *     {
 *         vthread_sleep(100 * VTHREAD_MS);
 *         printf("hello, %s\n", (char *)name);
 *         return NULL;
 *     }
 *
 *     vthread_t t;
 *     int err = vthread_create(&t, NULL, greet, "world");
 *     if (err == 0)
 *         err = vthread_join(t, NULL);
 *
 * Rules that hold for every function of the library:
 *
 * - The result is 0 or a positive errno value.  errno is neither set nor
 *   read.  A failed call changes nothing.  NULL for where a result is to
 *   be stored is EINVAL, unless the function says that it may be NULL.
 * - Platform threads (those of pthread_create, and main) may call
 *   everything.  Where a virtual thread would park, a platform thread
 *   sleeps in the kernel.
 * - The process ends when main returns, whatever virtual threads are left:
 *   join them, or wait otherwise.
 * - Deadlines are absolute times of vthread_now(), in nanoseconds;
 *   VTHREAD_NEVER means none.  A deadline in the past makes a call that
 *   would have to wait return ETIMEDOUT at once.
 * - A wait is cancellable, unless its function says that it is not (as
 *   for a mutex): vthread_interrupt() makes it return ECANCELED.  See
 *   vthread/cancel.h.
 * - Misuse that no return value can report (a corrupted stack, a call in a
 *   forked child) ends the process with a message that names the thread,
 *   its state and what was expected.
 * - Some addresses do not survive a wait: read doc/rules.md once.
 */
#ifndef VTHREAD_H
#define VTHREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vthread/api.h>
#include <vthread/barrier.h>
#include <vthread/block.h>
#include <vthread/cancel.h>
#include <vthread/carrier_local.h>
#include <vthread/channel.h>
#include <vthread/cond.h>
#include <vthread/continuation.h>
#include <vthread/control.h>
#include <vthread/deadlock.h>
#include <vthread/file.h>
#include <vthread/future.h>
#include <vthread/gc.h>
#include <vthread/io.h>
#include <vthread/key.h>
#include <vthread/latch.h>
#include <vthread/library.h>
#include <vthread/mutex.h>
#include <vthread/netdb.h>
#include <vthread/once.h>
#include <vthread/pin.h>
#include <vthread/posix.h>
#include <vthread/process.h>
#include <vthread/rwlock.h>
#include <vthread/scheduler.h>
#include <vthread/scoped_value.h>
#include <vthread/semaphore.h>
#include <vthread/signal.h>
#include <vthread/time.h>
#include <vthread/trace.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Names a thread: the handle and the id in one.  Never reused within the
 * life of the process, so a handle that outlives its thread is recognised:
 * every function answers it with ESRCH.  0 names no thread.  Copy and
 * compare it freely.
 */
typedef uint64_t vthread_t;

/* A home of its own: the thread's frames are never copied and pointers to
 * its locals stay valid while it is parked.  Costs a page or more. */
#define VTHREAD_STACK_OWN 1u
/* The thread stays on the carrier that first mounts it, and waits with it
 * when a pinned thread blocks that carrier. */
#define VTHREAD_BOUND 2u
/* Nobody joins the thread: it is freed when it ends. */
#define VTHREAD_DETACHED 4u

/* Default size of a run stack.  Touched pages only are paid for. */
#define VTHREAD_STACK_SIZE_DEFAULT ((size_t)256 * 1024)
/* The smallest size that vthread_create accepts. */
#define VTHREAD_STACK_SIZE_MIN ((size_t)16 * 1024)
/* The largest. */
#define VTHREAD_STACK_SIZE_MAX ((size_t)1024 * 1024 * 1024)

/*
 * What a new thread is like.  Zero is valid and means the defaults:
 *
 *     vthread_attr_t attr = {.name = "reader", .flags = VTHREAD_DETACHED};
 */
typedef struct vthread_attr {
    const char *name;            /* copied; NULL: none */
    size_t stack_size_bytes;     /* 0: VTHREAD_STACK_SIZE_DEFAULT; else a
                                    multiple of 4096; more than the default
                                    implies a home of its own */
    unsigned flags;              /* VTHREAD_STACK_OWN and so on */
    unsigned reserved;           /* 0 */
    vthread_scheduler_t *scheduler; /* NULL: the creator's own, or the
                                    default scheduler */
} vthread_attr_t;

/*
 * Starts a thread that runs fn(arg) and stores its handle in *thread
 * (unless NULL) before it begins.  The first call of all starts the default
 * scheduler.
 *
 * Returns  0; EINVAL for a bad attribute; EFAULT when arg points into the
 *          caller's stack and that stack is shared with others (see
 *          doc/rules.md: pass the value, use the heap or VTHREAD_STACK_OWN);
 *          ENOMEM; EAGAIN when no OS thread can be had to run it or the
 *          scheduler shuts down.
 * Blocks   never.
 * Orders   what the caller did before happens before fn.
 * Source   pthread_create.
 */
VTHREAD_API int vthread_create(vthread_t *thread, const vthread_attr_t *attr,
                               void *(*fn)(void *), void *arg);

/*
 * Waits until the thread has ended, stores what it returned in *result
 * (unless NULL) and frees it.
 *
 * Returns  0; ESRCH if there is no such thread (any more); EINVAL if it is
 *          detached or another thread is joining it; EDEADLK if it is the
 *          caller; ETIMEDOUT and ECANCELED leave it as it was.
 * Blocks   the virtual thread.
 * Orders   all that the thread did happens before the return.
 * Source   pthread_join.
 */
VTHREAD_API int vthread_join(vthread_t thread, void **result);
VTHREAD_API int vthread_join_until(vthread_t thread, void **result,
                                   uint64_t deadline_ns);

/*
 * Lets the thread free itself when it ends.  Returns 0, ESRCH, or EINVAL
 * if it is detached already or being joined.  Blocks never.
 */
VTHREAD_API int vthread_detach(vthread_t thread);

/*
 * The calling thread.  A platform thread gets a handle of its own at its
 * first call, for as long as it lives.  0 only when out of memory.
 */
VTHREAD_API vthread_t vthread_self(void);

/* True on a virtual thread, false on a platform thread; false too in what a
 * virtual thread has called that may not wait: callbacks on the OS thread's
 * own stack (vthread/embed.h), and those of a collector that has stopped all
 * others.  Blocks never. */
VTHREAD_API bool vthread_is_virtual(void);

/*
 * Ends the calling virtual thread with that result, from any depth.
 * Frames are dropped, not unwound; cleanup handlers run, open scopes are
 * closed, values of keys destroyed.  On a platform thread: pthread_exit
 * after these.  When main does so the process ends with its last thread, of
 * whatever kind; until then signals to the process find nobody, for carriers
 * block them.
 */
VTHREAD_API _Noreturn void vthread_exit(void *result);

/*
 * A name for reports and dumps, copied, cut to 31 bytes.  NULL or "" takes
 * it away.  Returns 0, ESRCH or ENOMEM.  Blocks never.
 */
VTHREAD_API int vthread_setname(vthread_t thread, const char *name);

/*
 * Stores the name and a final 0 in buffer; "" if it has none.
 * Returns 0, ESRCH, or ERANGE if size_bytes is too small.
 */
VTHREAD_API int vthread_getname(vthread_t thread, char *buffer,
                                size_t size_bytes);

/*
 * Lets other threads that are ready run first.  On a platform thread:
 * sched_yield.  Blocks never for long; not a cancellation point.
 */
VTHREAD_API void vthread_yield(void);

/*
 * Waits for a time or until one.  A permit given meanwhile is kept.
 * Returns  0 when the time has come, or ECANCELED.
 * Blocks   the virtual thread.
 */
VTHREAD_API int vthread_sleep(uint64_t duration_ns);
VTHREAD_API int vthread_sleep_until(uint64_t deadline_ns);

/*
 * Waits for the calling thread's permit and takes it.  vthread_unpark gives
 * it, before or after; there is at most one.  No spurious returns.
 *
 * Returns  0 with the permit taken; ETIMEDOUT; ECANCELED.  With a deadline
 *          in the past it takes the permit if there is one.
 * Blocks   the virtual thread.
 * Orders   what happened before the unpark happens before the return.
 * Source   java.util.concurrent.locks.LockSupport.
 */
VTHREAD_API int vthread_park(void);
VTHREAD_API int vthread_park_until(uint64_t deadline_ns);

/* Gives the thread its permit.  Returns 0 or ESRCH.  Blocks never.  May be
 * called by anyone, but not by a signal handler. */
VTHREAD_API int vthread_unpark(vthread_t thread);

/*
 * Cancels the thread's present cancellable wait, or its next one: that
 * returns ECANCELED, once.  Until then the request sticks; while the thread
 * disables cancellation too.
 * Returns 0 or ESRCH.  Blocks never.
 */
VTHREAD_API int vthread_interrupt(vthread_t thread);

/* Whether the calling thread has an interrupt pending; takes it back.  True
 * for good once its scope has been cancelled. */
VTHREAD_API bool vthread_interrupted(void);

/*
 * Keeps the calling thread on its OS thread until the matching unpin: a
 * wait then blocks the carrier too, and a spare one takes its place.  Calls
 * nest.  For code that depends on the OS thread: thread-locals,
 * pthread_self, locks that others see.
 *
 * Returns  0; pin: EAGAIN after 65,535 calls without unpin, ENOMEM on a
 *          platform thread whose first call this is; unpin: EPERM without
 *          pin.
 * Blocks   never.
 */
VTHREAD_API int vthread_pin(void);
VTHREAD_API int vthread_unpin(void);

/*
 * Keeps the calling thread on its present carrier for good, as
 * VTHREAD_BOUND does from the first.  It may park: the carrier goes on with
 * others, and no other carrier will run it.  On a platform thread, which
 * never changes, it does nothing.
 *
 * Returns  0, or ENOMEM on a platform thread whose first call this is.
 * Blocks   never.
 */
VTHREAD_API int vthread_bind(void);

/*
 * errno as it is now on this OS thread.  Compilers keep the address of
 * errno across calls, so after a wait, which may change the OS thread,
 * plain errno may be another thread's; this function is never inlined.
 */
VTHREAD_API int vthread_errno(void);

#ifdef __cplusplus
}
#endif

/* These need what is above. */
#include <vthread/scope.h>

#endif
