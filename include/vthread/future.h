/*
 * vthread/future.h - futures: a result that is set once and awaited by many.
 *
 * States: pending; then, for good, fulfilled with a value or failed with an
 * error.  Zero is valid and means pending; there is nothing to destroy.
 *
 *     struct job { vthread_future_t done; ... };
 *
 *     vthread_future_set(&job->done, page);      (one thread)
 *
 *     void *page;                                (any number of others)
 *     int err = vthread_future_await(&job->done, &page);
 *
 * A virtual thread that waits is unmounted, a platform thread sleeps in the
 * kernel.  A future is used by several threads: it must not lie on a stack
 * that is shared with others (EFAULT, see doc/rules.md).  It may be freed as
 * soon as no other thread is about to await it: when an await has returned,
 * vthread_future_set does not touch it any more.
 */
#ifndef VTHREAD_FUTURE_H
#define VTHREAD_FUTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Zero is valid.  Its fields are the library's own. */
typedef struct vthread_future {
    uint32_t word;       /* state and lock */
    uint32_t error;      /* 0: fulfilled, with value */
    void *value;
    uint32_t waiting[2]; /* threads */
    void *watching[2];   /* those who wait for other futures as well */
} vthread_future_t;

/*
 * Fulfils the future with a value, or lets it fail with an error, which is
 * a positive errno value (ECANCELED and ETIMEDOUT are better left to the
 * waits).  Wakes all who await it.
 *
 * Returns  0; EALREADY if it was set or has failed before; EINVAL for an
 *          error that is not positive; EFAULT if the future or the value is
 *          an address on a shared stack.
 * Blocks   never.
 * Orders   what happened before it happens before the return of each await.
 */
VTHREAD_API int vthread_future_set(vthread_future_t *future, void *value);
VTHREAD_API int vthread_future_fail(vthread_future_t *future, int error);

/*
 * Waits until the future is set and stores its value in *value (unless
 * NULL).
 *
 * Returns  0; the error with which it has failed; ETIMEDOUT; ECANCELED;
 *          EFAULT if it lies on a shared stack; ENOMEM.
 * Blocks   the virtual thread.  Cancellable.
 * Orders   what happened before the set happens before the return.
 */
VTHREAD_API int vthread_future_await(vthread_future_t *future, void **value);
VTHREAD_API int vthread_future_await_until(vthread_future_t *future,
                                           void **value,
                                           uint64_t deadline_ns);

/* Whether it has been set or has failed; then an await does not wait.
 * Blocks never.  Orders: with true, as an await. */
VTHREAD_API bool vthread_future_is_done(const vthread_future_t *future);

/*
 * Waits until all the futures are fulfilled, or the first of them fails.
 * The values can then be had from each by vthread_future_await, at once.
 *
 *     vthread_future_t *parts[] = {&left->done, &right->done};
 *     size_t failed;
 *     int err = vthread_future_all(parts, 2, &failed, VTHREAD_NEVER);
 *
 * A future may be there several times.  None at all are all fulfilled.
 *
 * Returns  0; the error of the first that failed, whose index is stored in
 *          *index (unless NULL); ETIMEDOUT; ECANCELED; EFAULT; ENOMEM.  With
 *          these four, and with 0, *index is left alone.
 * Blocks   the virtual thread.  Cancellable.
 * Orders   as an await of each that was done.
 * Source   Promise.all of ECMAScript.
 */
VTHREAD_API int vthread_future_all(vthread_future_t *const *futures,
                                   size_t count, size_t *index,
                                   uint64_t deadline_ns);

/*
 * Waits until one of the futures is fulfilled, or all have failed.
 *
 * Returns  0 and the index of the first that was fulfilled in *index (unless
 *          NULL); if all have failed the error of the last to fail, and its
 *          index; EINVAL if there are none; ETIMEDOUT, ECANCELED, EFAULT and
 *          ENOMEM, with *index left alone.
 * Blocks   the virtual thread.  Cancellable.
 * Orders   as an await of each that was done.
 * Source   Promise.any of ECMAScript.
 */
VTHREAD_API int vthread_future_any(vthread_future_t *const *futures,
                                   size_t count, size_t *index,
                                   uint64_t deadline_ns);

/*
 * Waits until one of the futures is done, in whatever way.
 *
 * Returns  0 or its error, and the index of the first that was done in
 *          *index (unless NULL); EINVAL if there are none; ETIMEDOUT,
 *          ECANCELED, EFAULT and ENOMEM, with *index left alone.
 * Blocks   the virtual thread.  Cancellable.
 * Orders   as an await of the one.
 * Source   Promise.race of ECMAScript.
 */
VTHREAD_API int vthread_future_race(vthread_future_t *const *futures,
                                    size_t count, size_t *index,
                                    uint64_t deadline_ns);

#ifdef __cplusplus
}
#endif

#endif
