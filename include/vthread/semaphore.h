/*
 * vthread/semaphore.h - a number of permits, that threads take and give.
 *
 * 12 bytes; a zeroed one is valid and has no permits, and there is nothing
 * to destroy: the memory may be reused when nobody waits, and at once by the
 * thread whose wait has returned last.
 *
 *     static vthread_semaphore_t slots = VTHREAD_SEMAPHORE_INITIALIZER(8);
 *
 *     vthread_semaphore_wait(&slots);            // eight at a time
 *     err = fetch(url);
 *     vthread_semaphore_post(&slots);
 *
 * A virtual thread that waits is parked, a platform thread sleeps in the
 * kernel.  Threads are served in the order in which they came: while somebody
 * waits there is no permit to be taken, for a post hands its permit to the
 * one that has waited longest.
 *
 * Any thread may post.  A semaphore on the stack of a thread that shares its
 * home with others is refused with EFAULT, see doc/rules.md.
 */
#ifndef VTHREAD_SEMAPHORE_H
#define VTHREAD_SEMAPHORE_H

#include <stdint.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* So many permits at most. */
#define VTHREAD_SEMAPHORE_MAX UINT32_C(0x3fffffff)

/* Its fields are the library's own. */
typedef struct vthread_semaphore {
    uint32_t word;
    uint32_t waiting[2];
} vthread_semaphore_t;

#define VTHREAD_SEMAPHORE_INITIALIZER(value) {(uint32_t)(value) << 2, {0, 0}}

/*
 * Makes a semaphore with so many permits.
 * Returns  0; EINVAL for more than VTHREAD_SEMAPHORE_MAX.  Blocks never.
 */
VTHREAD_API int vthread_semaphore_init(vthread_semaphore_t *semaphore,
                                       uint32_t value);

/*
 * Takes a permit, waiting until there is one.  A cancellation point when it
 * has to wait.
 *
 * Returns  0; ETIMEDOUT and ECANCELED without a permit: one that comes with
 *          the deadline or the cancellation is taken, and the interrupt then
 *          sticks; EFAULT; ENOMEM when a platform thread cannot be made
 *          known.
 * Blocks   the virtual thread.
 * Orders   what happened before a post happens before the return of the wait
 *          that takes its permit.
 * Source   sem_wait, sem_clockwait.
 */
VTHREAD_API int vthread_semaphore_wait(vthread_semaphore_t *semaphore);
VTHREAD_API int vthread_semaphore_wait_until(vthread_semaphore_t *semaphore,
                                             uint64_t deadline_ns);

/*
 * Takes a permit if there is one.
 * Returns  0; EAGAIN; EFAULT.  Blocks never.
 * Orders   with 0 as vthread_semaphore_wait.
 */
VTHREAD_API int vthread_semaphore_trywait(vthread_semaphore_t *semaphore);

/*
 * Gives a permit: to the thread that has waited longest, or to keep.
 * Returns  0; EOVERFLOW when VTHREAD_SEMAPHORE_MAX are kept; EFAULT.
 * Blocks   never.
 * Orders   see vthread_semaphore_wait.
 * Source   sem_post.
 */
VTHREAD_API int vthread_semaphore_post(vthread_semaphore_t *semaphore);

/*
 * Stores the number of permits, 0 while threads wait; it may have changed
 * since.  Returns 0.  Blocks never.
 */
VTHREAD_API int
vthread_semaphore_getvalue(const vthread_semaphore_t *semaphore,
                           uint32_t *value);

#ifdef __cplusplus
}
#endif

#endif
