/*
 * vthread/block.h - calls that block the OS thread.
 *
 *     static void *resolve(void *name)
 *     {
 *         return gethostbyname(name);    // blocks; parks nobody but us
 *     }
 *
 *     void *host;
 *     int err = vthread_block(resolve, "example.org", &host);
 *
 * The call is made by the thread itself, on its own stack and OS thread, so
 * pointers to locals, errno and thread-locals are what they are in any
 * call.  The other threads of the carrier go on elsewhere meanwhile.
 */
#ifndef VTHREAD_BLOCK_H
#define VTHREAD_BLOCK_H

#include <stdint.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Calls fn(arg), which may block, and stores what it returns in *result
 * (unless NULL).  fn may call all of this library; where it would park, it
 * blocks its OS thread, as a pinned thread does.
 *
 * Returns  0, and fn has been called; else it has not: EINVAL without fn;
 *          ENOMEM on a platform thread whose first call this is.
 * Blocks   the virtual thread, and its OS thread.
 */
VTHREAD_API int vthread_block(void *(*fn)(void *), void *arg, void **result);

#ifdef __cplusplus
}
#endif

#endif
