/*
 * vthread/latch.h - a gate that opens when a count has come down to zero.
 *
 * 12 bytes; a zeroed one is valid and open, and there is nothing to destroy:
 * the memory may be reused when nobody waits, and at once by the thread whose
 * wait has returned last.
 *
 *     vthread_latch_t *done = calloc(1, sizeof *done);
 *     vthread_attr_t detached = {.flags = VTHREAD_DETACHED};
 *     for (int i = 0; i < n; i++) {
 *         vthread_latch_add(done, 1);
 *         vthread_create(NULL, &detached, work, done);
 *     }                          // work ends with vthread_latch_count_down
 *     vthread_latch_wait(done);
 *
 * States: open (the count is zero); closed.  A virtual thread that waits is
 * parked, a platform thread sleeps in the kernel.  Opening lets all go that
 * wait at that moment.  An open latch may be closed again by adding to it.
 *
 * A latch on the stack of a thread that shares its home with others is
 * refused with EFAULT, see doc/rules.md.
 */
#ifndef VTHREAD_LATCH_H
#define VTHREAD_LATCH_H

#include <stdint.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The highest count. */
#define VTHREAD_LATCH_MAX UINT32_C(0x3fffffff)

/* Its fields are the library's own. */
typedef struct vthread_latch {
    uint32_t word;
    uint32_t waiting[2];
} vthread_latch_t;

#define VTHREAD_LATCH_INITIALIZER(count) {(uint32_t)(count) << 2, {0, 0}}

/*
 * Makes a latch with that count.
 * Returns  0; EINVAL for more than VTHREAD_LATCH_MAX.  Blocks never.
 */
VTHREAD_API int vthread_latch_init(vthread_latch_t *latch, uint32_t count);

/*
 * Raises the count by n.
 * Returns  0; EOVERFLOW above VTHREAD_LATCH_MAX; EFAULT.  Blocks never.
 */
VTHREAD_API int vthread_latch_add(vthread_latch_t *latch, uint32_t n);

/*
 * Lowers the count by n; at zero the latch opens.
 * Returns  0; EINVAL if the count is less than n; EFAULT.
 * Blocks   never.
 * Orders   what happened before all the calls that brought the count to zero
 *          happens before the return of every wait that this lets go.
 * Source   java.util.concurrent.CountDownLatch, std::latch.
 */
VTHREAD_API int vthread_latch_count_down(vthread_latch_t *latch, uint32_t n);

/*
 * Waits until the latch is open.  A cancellation point when it has to wait.
 *
 * Returns  0; ETIMEDOUT; ECANCELED; EFAULT; ENOMEM when a platform thread
 *          cannot be made known.  If it opens together with the deadline or
 *          the cancellation the result is 0, and the interrupt sticks.
 * Blocks   the virtual thread.
 * Orders   see vthread_latch_count_down.
 */
VTHREAD_API int vthread_latch_wait(vthread_latch_t *latch);
VTHREAD_API int vthread_latch_wait_until(vthread_latch_t *latch,
                                         uint64_t deadline_ns);

/*
 * Whether the latch is open.
 * Returns  0 or EBUSY; EFAULT.  Blocks never.
 * Orders   with 0 as vthread_latch_wait.
 */
VTHREAD_API int vthread_latch_trywait(vthread_latch_t *latch);

#ifdef __cplusplus
}
#endif

#endif
