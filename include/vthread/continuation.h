/*
 * vthread/continuation.h - the bare engine: one-shot continuations.
 *
 * A continuation is a function that can stop in the middle and go on
 * later, on the same OS thread or on another.  No scheduler is involved:
 * whoever runs it decides when.  For generators, and for language virtual
 * machines that bring a scheduler of their own; threads need none of it.
 *
 *     static const char numbers[] = "numbers";   // a scope: any address
 *     static void count(void *out)
 *     {
 *         for (int i = 1; i <= 3; i++) {
 *             *(int *)out = i;
 *             vthread_continuation_yield(numbers);
 *         }
 *     }
 *
 *     vthread_continuation_attr_t attr = {.scope = numbers};
 *     vthread_continuation_create(&c, &attr, count, &value);
 *     while (vthread_continuation_run(c) == 0
 *            && !vthread_continuation_is_done(c))
 *         printf("%d\n", value);
 *     vthread_continuation_destroy(c);
 *
 * States: NEW -> MOUNTED <-> UNMOUNTED, MOUNTED -> DONE.
 *
 * Continuations nest: A runs B, B runs C.  A yield names a scope, and all
 * continuations from the running one out to the innermost of that scope are
 * unmounted together; running the outermost of them again goes on in the
 * innermost.
 */
#ifndef VTHREAD_CONTINUATION_H
#define VTHREAD_CONTINUATION_H

#include <stdbool.h>
#include <stddef.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct vthread_continuation vthread_continuation_t;

/* Zero is valid and means the defaults. */
typedef struct vthread_continuation_attr {
    const void *scope;       /* what a yield names; any address, or NULL */
    size_t stack_size_bytes; /* as in vthread_attr_t */
    unsigned flags;          /* VTHREAD_STACK_OWN; implied when it is made
                                inside another continuation or thread */
    unsigned reserved;       /* 0 */
} vthread_continuation_attr_t;

/*
 * Makes a continuation that will run fn(arg).
 * Returns  0; EINVAL; ENOMEM.  Blocks never.
 */
VTHREAD_API int
vthread_continuation_create(vthread_continuation_t **continuation,
                            const vthread_continuation_attr_t *attr,
                            void (*fn)(void *), void *arg);

/*
 * Mounts the continuation on the calling OS thread and runs it until it
 * yields to its scope (or one farther out) or ends.
 *
 * Returns  0 when it yielded or ended: vthread_continuation_is_done tells;
 *          EBUSY when it is mounted, here or elsewhere; ESRCH when it is
 *          done; EAGAIN when its home is held by another continuation that
 *          is mounted now, so try again later; EPERM when it is run
 *          inside another continuation or thread but has run outside of
 *          any before, on a home that it shares; ENOMEM when no home can be
 *          had.  All of these change nothing.
 * Blocks   as long as its code runs.
 * Orders   what happened before a yield happens before the next run
 *          returns or goes on, provided the runs themselves are ordered.
 */
VTHREAD_API int vthread_continuation_run(vthread_continuation_t *continuation);

/*
 * The same, but the yield that it goes on from returns `error`, a positive
 * errno value: so the code inside can tell that it is to clean up and end.
 * Returns  as vthread_continuation_run; also EINVAL if error is not positive,
 *          EPERM if it has not run yet: there is no yield to return from.
 */
VTHREAD_API int
vthread_continuation_cancel(vthread_continuation_t *continuation, int error);

/*
 * Unmounts the running continuations out to the innermost one of that
 * scope.  Returns when they are run again.
 *
 * Returns  0 after having been unmounted; EINVAL when no such scope is
 *          mounted on this OS thread; EBUSY when one of those to unmount
 *          is pinned, or in a call that blocks (vthread_block, vthread_call)
 *          or an upcall of one; ENOMEM when its frames could not be copied
 *          away.  All of these change nothing.  Any other value is what
 *          vthread_continuation_cancel was given.
 */
VTHREAD_API int vthread_continuation_yield(const void *scope);

/* Whether its function has returned. */
VTHREAD_API bool
vthread_continuation_is_done(const vthread_continuation_t *continuation);

/* The innermost running continuation of that scope on this OS thread, or
 * NULL. */
VTHREAD_API vthread_continuation_t *
vthread_continuation_current(const void *scope);

/*
 * Forbid the innermost running continuation to be unmounted, and allow it
 * again.  Calls nest.  Return 0, or EPERM without a continuation or with
 * more unpins than pins.
 */
VTHREAD_API int vthread_continuation_pin(void);
VTHREAD_API int vthread_continuation_unpin(void);

/*
 * Frees a continuation that is not mounted; its frames are dropped, not
 * unwound.  NULL is allowed.  Returns 0 or EBUSY.
 */
VTHREAD_API int
vthread_continuation_destroy(vthread_continuation_t *continuation);

#ifdef __cplusplus
}
#endif

#endif
