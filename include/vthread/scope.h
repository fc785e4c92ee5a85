/*
 * vthread/scope.h - structured concurrency.
 *
 * A scope holds threads that belong together, and that are gone when it is
 * closed.
 *
 *     static int fetch(const void *args, void *result);
 *
 *     vthread_scope_t *scope;
 *     uint32_t tasks[2];
 *     int err = vthread_scope_open(&scope, NULL);
 *     if (err != 0)
 *         return err;
 *     for (int i = 0; i < 2 && err == 0; i++)
 *         err = vthread_scope_fork(scope, &tasks[i], fetch, &urls[i],
 *                                  sizeof urls[i], sizeof(struct page));
 *     if (err == 0)
 *         err = vthread_scope_join(scope);
 *     if (err == 0)
 *         err = vthread_scope_result(scope, tasks[0], &page, sizeof page);
 *     vthread_scope_close(scope);
 *
 * The thread that opens a scope is its owner; it forks children, joins them
 * and closes the scope.  A child is a virtual thread that runs fn(args,
 * result) on copies of the arguments and with room for a result, both on the
 * heap, and returns 0 or an error.  So nothing in a scope points into a
 * stack, and the owner may be any thread, virtual or platform.
 *
 * A scope is
 *
 * - open: children are forked, by the owner and by other children; then
 * - cancelled, perhaps: no more forks; the children that still run are
 *   cancelled for good (vthread/cancel.h), and so are the children of scopes
 *   that they have open, and so on.  By vthread_scope_cancel, by the policy,
 *   by the deadline, by the end of the owner, or from above, because the
 *   scope that the owner is a child of is cancelled; and in the end
 * - closed: all children have ended.
 *
 * The policy says what the end of a child means for the others, and what
 * join returns:
 *
 * - VTHREAD_SCOPE_ALL, the default: the first error cancels the others and
 *   is returned.
 * - VTHREAD_SCOPE_FIRST_SUCCESS: the first success cancels the others, and 0
 *   is returned; without any the first error; without children ECHILD.
 * - VTHREAD_SCOPE_WAIT_ALL: all go on; 0 or the first error is returned.
 * - VTHREAD_SCOPE_CUSTOM: a function of one's own decides.
 *
 * A scope that is left early, because its owner ends, is cancelled and
 * closed on the way.  A scope that is opened while its owner has disabled
 * cancellation is shielded: it is not cancelled from above.
 *
 * Children begin with the scoped values that the owner had when it opened
 * the scope (vthread/scoped_value.h).  Of children that are ready the
 * youngest runs first, which keeps few of them alive at a time; other
 * threads that are ready go before them.
 */
#ifndef VTHREAD_SCOPE_H
#define VTHREAD_SCOPE_H

#include <vthread.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vthread_scope vthread_scope_t;

/* See above. */
enum vthread_scope_policy {
    VTHREAD_SCOPE_ALL,
    VTHREAD_SCOPE_FIRST_SUCCESS,
    VTHREAD_SCOPE_WAIT_ALL,
    VTHREAD_SCOPE_CUSTOM,
};

/* The index of no task. */
#define VTHREAD_SCOPE_NO_TASK UINT32_MAX

/* What a new scope is like.  Zero is valid and means the defaults. */
typedef struct vthread_scope_attr {
    enum vthread_scope_policy policy;
    unsigned reserved;    /* 0 */
    uint64_t deadline_ns; /* when it is cancelled; 0: never */
    /* With VTHREAD_SCOPE_CUSTOM: called for each child that ends, with its
     * task (NO_TASK if it was forked without) and error, on the child's
     * stack, one call at a time; may wait.  Returns true to cancel the
     * others.  *outcome, 0 at first, is what join will return. */
    bool (*decide)(void *arg, uint32_t task, int error, int *outcome);
    void *decide_arg;
    vthread_attr_t children; /* what they are like; not detached */
} vthread_scope_attr_t;

/*
 * Opens a scope, owned by the calling thread; attr may be NULL.
 *
 * Returns  0; EINVAL for a bad attribute; EFAULT when decide_arg lies on a
 *          stack that others share; ENOMEM.
 * Blocks   never.
 * Ownership  the owner closes it, or its end does.
 */
VTHREAD_API int vthread_scope_open(vthread_scope_t **scope,
                                   const vthread_scope_attr_t *attr);

/*
 * Starts a child that runs fn(args, result): args is a copy of args_bytes
 * bytes, result points to result_bytes zeros; each NULL if its size is 0.
 * What it returns, or passes to vthread_exit as an integer, is its error.
 * Unless task is NULL, *task is its index for vthread_scope_result, and its
 * record is kept until the scope is closed; otherwise it is freed when the
 * child ends, so a scope may go on for ever.
 *
 * Returns  0; ECANCELED once the scope is cancelled, ETIMEDOUT if its
 *          deadline has done that; EPERM when the caller
 *          is neither the owner nor a child of this scope; EINVAL without fn,
 *          without args where args_bytes is not 0, or for sizes out of all
 *          reason; EFAULT when a word of args points into a stack that
 *          others share; ENOMEM; EAGAIN when no OS thread can be had or the
 *          scheduler shuts down.
 * Blocks   never; not a cancellation point.
 * Orders   what the caller did before happens before fn.
 * Source   java.util.concurrent.StructuredTaskScope.
 */
VTHREAD_API int vthread_scope_fork(vthread_scope_t *scope, uint32_t *task,
                                   int (*fn)(const void *args, void *result),
                                   const void *args, size_t args_bytes,
                                   size_t result_bytes);

/*
 * Waits until all children have ended, with all their cleaning up.  May be
 * called again after more forks.
 *
 * Returns  0 or an error as the policy says; ETIMEDOUT if the scope's
 *          deadline has cancelled children or refused one, ECANCELED if
 *          anything else has;
 *          EPERM unless the caller is the owner.  With the wait itself
 *          cancelled (ECANCELED), or at the deadline of the wait
 *          (ETIMEDOUT), the children go on: join again, or close.
 * Blocks   the virtual thread.
 * Orders   all that the children did happens before the return.
 */
VTHREAD_API int vthread_scope_join(vthread_scope_t *scope);
VTHREAD_API int vthread_scope_join_until(vthread_scope_t *scope,
                                         uint64_t deadline_ns);

/*
 * Copies the result of a child that has returned 0.
 *
 * Returns  0; EAGAIN while it runs; EINVAL if there is no such task or size
 *          is not its result_bytes; EPERM for a stranger; else the child's
 *          error.
 * Blocks   never.
 * Orders   all that the child did happens before the return.
 */
VTHREAD_API int vthread_scope_result(vthread_scope_t *scope, uint32_t task,
                                     void *result, size_t size_bytes);

/*
 * Tells which child decided the outcome: of the first error, or the first
 * success with VTHREAD_SCOPE_FIRST_SUCCESS; with VTHREAD_SCOPE_CUSTOM the
 * one for which decide returned true.
 *
 * Returns  0; ESRCH if none has, or it was forked without a task.
 * Blocks   never.
 */
VTHREAD_API int vthread_scope_first(vthread_scope_t *scope, uint32_t *task);

/*
 * Cancels the scope: see above.  A child that heeds it returns soon; join or
 * close wait for that.  Called by anybody who knows that the scope is not
 * closed meanwhile.
 *
 * Returns  0.
 * Blocks   never.
 */
VTHREAD_API int vthread_scope_cancel(vthread_scope_t *scope);

/*
 * Cancels the children that still run, waits until all have ended, and frees
 * the scope.  Results are gone then.
 *
 * Returns  0; EPERM unless the caller is the owner.
 * Blocks   the virtual thread; not a cancellation point.
 */
VTHREAD_API int vthread_scope_close(vthread_scope_t *scope);

#ifdef __cplusplus
}
#endif

#endif
