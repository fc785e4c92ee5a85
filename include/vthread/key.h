/*
 * vthread/key.h - thread-local values.
 *
 * Each thread, virtual or platform, has a pointer of its own under a key
 * that all share.
 *
 *     static vthread_key_t cache;
 *     int err = vthread_key_create(&cache, free);      // once
 *
 *     struct buffer *b = vthread_key_get(cache);       // in any thread
 *     if (!b && (b = malloc(sizeof *b)) != NULL)
 *         err = vthread_key_set(cache, b);
 *
 * A thread that sets a value pays some 16 bytes for each key that there is,
 * used by it or not; one that sets none pays nothing.  At the end of a
 * thread the destructors of its values run on its own stack, and may wait
 * (see vthread/cancel.h for the order).  Key 0 is never valid.
 *
 * Before choosing this: a value that children should see is a scoped value
 * (vthread/scoped_value.h); a cache that is too dear to have once for each
 * of a million threads is carrier-local (vthread/carrier_local.h).
 */
#ifndef VTHREAD_KEY_H
#define VTHREAD_KEY_H

#include <stdint.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How many keys there can be at once. */
#define VTHREAD_KEYS_MAX 1024

/* How often a thread that ends goes over its values: destructors may set
 * values anew. */
#define VTHREAD_DESTRUCTOR_ROUNDS 4

typedef uint64_t vthread_key_t;

/*
 * Makes a key; all threads have the value NULL.  Unless destructor is NULL
 * it is called at the end of each thread whose value is not NULL, with that
 * value, when the value has been set to NULL.
 *
 * Returns  0; EAGAIN when there are VTHREAD_KEYS_MAX; EINVAL without key.
 * Blocks   never.
 * Source   pthread_key_create.
 */
VTHREAD_API int vthread_key_create(vthread_key_t *key,
                                   void (*destructor)(void *value));

/*
 * Takes the key back.  Values that threads have are forgotten, and no
 * destructor is called for them.  The number is not used again: later calls
 * with the key fail.
 *
 * Returns  0; EINVAL if there is no such key.
 * Blocks   never.
 */
VTHREAD_API int vthread_key_delete(vthread_key_t key);

/*
 * Sets the calling thread's value.
 *
 * Returns  0; EINVAL if there is no such key; ENOMEM.
 * Blocks   never.
 */
VTHREAD_API int vthread_key_set(vthread_key_t key, void *value);

/* The calling thread's value; NULL if it has none, or there is no such key.
 * Blocks never. */
VTHREAD_API void *vthread_key_get(vthread_key_t key);

#ifdef __cplusplus
}
#endif

#endif
