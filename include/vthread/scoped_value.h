/*
 * vthread/scoped_value.h - values bound while a function runs.
 *
 * The children of a scope inherit them.
 *
 *     static vthread_scoped_t user = {.otherwise = "nobody"};
 *
 *     static void serve(void *request)
 *     {
 *         puts(vthread_scoped_get(&user));     // also in the children of
 *     }                                        // scopes that it opens
 *
 *     err = vthread_scoped_run(&user, "alice", serve, request);
 *
 * A binding never changes; a second run of the same key hides it until that
 * run is over.  A scope captures the bindings of the thread that opens it,
 * and its children begin with these, whoever forks them.  Threads made by
 * vthread_create begin with none.  Platform threads may bind and get too.
 *
 * A key is known by its address: make it static.
 */
#ifndef VTHREAD_SCOPED_VALUE_H
#define VTHREAD_SCOPED_VALUE_H

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A key.  Zero is valid. */
typedef struct vthread_scoped {
    void *otherwise; /* its value where it is not bound */
} vthread_scoped_t;

/*
 * Calls fn(arg) with the key bound to the value, and returns after it.  What
 * the value points to must last until all scopes opened in fn are closed.
 *
 * Returns  0; EINVAL; ENOMEM; EFAULT when key or value lies on a stack that
 *          others share (see doc/rules.md); with an error fn has not been
 *          called.
 * Blocks   as fn does.
 * Source   java.lang.ScopedValue.
 */
VTHREAD_API int vthread_scoped_run(const vthread_scoped_t *key, void *value,
                                   void (*fn)(void *arg), void *arg);

/* The value that the key is bound to; key->otherwise if it is not.  Looks
 * through the bindings, the last first: few keys are meant.  Blocks never. */
VTHREAD_API void *vthread_scoped_get(const vthread_scoped_t *key);

#ifdef __cplusplus
}
#endif

#endif
