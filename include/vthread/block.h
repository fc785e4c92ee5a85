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
 * call.  The other threads of the carrier go on elsewhere meanwhile; but for
 * those that are bound to it (VTHREAD_BOUND, vthread_bind), and those that
 * share the caller's stack, which must wait for the end of the call.
 *
 * Slots.  For each call that blocks another OS thread does the work, up to
 * max_carriers in all (vthread/scheduler.h).  So that parallelism of them are
 * always left to run what the calls may be waiting for, at most
 * max_carriers - parallelism calls block at the same time, and a few less:
 * some slots are kept for calls that were expected to be short.  Who finds no
 * slot waits for one, first come first served, like anyone who waits: other
 * threads go on.  A pinned thread, in a callback perhaps, would keep its
 * carrier while it waits: it makes the call at once, and keeps its carrier
 * for as long as that lasts.  Where max_carriers is parallelism there are no
 * slots, and all calls do.
 *
 * When calls are over the OS threads remain for later ones.  One that has not
 * been needed for VTHREAD_IDLE_MS (10,000; 0: ever) ends.
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
 *          ECANCELED while waiting for a slot; EAGAIN in a thread that is
 *          pinned 65,535 times; ENOMEM on a platform thread whose first call
 *          this is.
 * Blocks   the virtual thread, and its OS thread.
 */
VTHREAD_API int vthread_block(void *(*fn)(void *), void *arg, void **result);

/*
 * The same, and waits for a slot until deadline_ns only.  fn is not
 * interrupted when that comes.
 *
 * Returns  as vthread_block; ETIMEDOUT: there was no slot until then; EAGAIN:
 *          there is none now, and the deadline is 0.
 */
VTHREAD_API int vthread_block_until(void *(*fn)(void *), void *arg,
                                    void **result, uint64_t deadline_ns);

#ifdef __cplusplus
}
#endif

#endif
