/*
 * vthread/carrier_local.h - a pointer for each carrier.
 *
 * For caches that are too dear to have once for each thread, and too
 * contended to have once.
 *
 *     static void *new_arena(void *size) { return arena_new(*(size_t *)size); }
 *
 *     static vthread_carrier_local_t *arenas;
 *     err = vthread_carrier_local_create(&arenas, new_arena, arena_free,
 *                                        &size);
 *
 *     struct arena *a = vthread_carrier_local_get(arenas);
 *     arena_use(a);                     // no wait in between: it is mine
 *     vthread_yield();
 *     a = vthread_carrier_local_get(arenas);    // perhaps another one
 *
 * Threads of one carrier run in turns, so from the get until its next wait
 * a thread has the pointer to itself.  After a wait it may be on another
 * carrier, and others have used the first.  A platform thread has a pointer
 * of its own, like a carrier.
 */
#ifndef VTHREAD_CARRIER_LOCAL_H
#define VTHREAD_CARRIER_LOCAL_H

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How many there can be at once. */
#define VTHREAD_CARRIER_LOCALS_MAX 64

typedef struct vthread_carrier_local vthread_carrier_local_t;

/*
 * Makes one.  constructor(arg) makes a carrier's value when it is asked for
 * first; destructor (NULL: none) gets it when the carrier ends.  Neither may
 * wait.
 *
 * Returns  0; EINVAL without constructor; EAGAIN when there are
 *          VTHREAD_CARRIER_LOCALS_MAX; EFAULT for an arg on a shared stack;
 *          ENOMEM.
 * Blocks   never.
 */
VTHREAD_API int
vthread_carrier_local_create(vthread_carrier_local_t **local,
                             void *(*constructor)(void *arg),
                             void (*destructor)(void *value), void *arg);

/*
 * The value of the carrier that the caller is on.  NULL when its constructor
 * has returned that, or there is no memory; the next call tries again.
 * Blocks never.  Valid until the caller's next wait.
 */
VTHREAD_API void *
vthread_carrier_local_get(vthread_carrier_local_t *local);

/*
 * Destroys all carriers' values, and it.
 *
 * Returns  0; EINVAL for NULL.
 * Blocks   never.
 * Requires that nobody uses it or its values any more.
 */
VTHREAD_API int
vthread_carrier_local_destroy(vthread_carrier_local_t *local);

#ifdef __cplusplus
}
#endif

#endif
