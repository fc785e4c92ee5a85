/*
 * vthread/barrier.h - a place where a number of threads wait for each other.
 *
 * 16 bytes; a zeroed one is valid, for one thread: nobody waits there.  There
 * is nothing to destroy: the memory may be reused when all waits have
 * returned.
 *
 *     static vthread_barrier_t step_done = VTHREAD_BARRIER_INITIALIZER(4);
 *
 *     for (int step = 0; step < 100; step++) {   // in each of four threads
 *         compute(part, step);
 *         bool is_last;
 *         vthread_barrier_wait(&step_done, &is_last);
 *         if (is_last)
 *             print(step);
 *     }
 *
 * A virtual thread that waits is parked, a platform thread sleeps in the
 * kernel.  When the last one comes all go on, and the barrier is as new at
 * once: who comes next waits for the next round.
 *
 * Who leaves early, by deadline or cancellation, is not counted any more; the
 * barrier stays whole, and the others wait for one more to come.
 *
 * A barrier on the stack of a thread that shares its home with others is
 * refused with EFAULT, see doc/rules.md.
 */
#ifndef VTHREAD_BARRIER_H
#define VTHREAD_BARRIER_H

#include <stdbool.h>
#include <stdint.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Its fields are the library's own. */
typedef struct vthread_barrier {
    uint32_t word;
    uint32_t count;
    uint32_t waiting[2];
} vthread_barrier_t;

#define VTHREAD_BARRIER_INITIALIZER(count) {0, (count), {0, 0}}

/*
 * Makes a barrier for so many threads.
 * Returns  0; EINVAL for 0, or more than 2^31 - 1.  Blocks never.
 */
VTHREAD_API int vthread_barrier_init(vthread_barrier_t *barrier,
                                     uint32_t count);

/*
 * Waits until as many threads have come as the barrier is for.  Stores in
 * *is_last (unless NULL) whether the caller was the last of them: true for
 * exactly one of each round.  A cancellation point when it has to wait.
 *
 * Returns  0; ETIMEDOUT and ECANCELED: then the caller has left.  If the last
 *          one comes together with the deadline or the cancellation the
 *          result is 0, and the interrupt sticks.  EFAULT; ENOMEM when a
 *          platform thread cannot be made known.
 * Blocks   the virtual thread.
 * Orders   what happened before each wait of a round happens before the
 *          return of all of them.
 * Source   pthread_barrier_wait.
 */
VTHREAD_API int vthread_barrier_wait(vthread_barrier_t *barrier,
                                     bool *is_last);
VTHREAD_API int vthread_barrier_wait_until(vthread_barrier_t *barrier,
                                           bool *is_last,
                                           uint64_t deadline_ns);

/*
 * Comes as the last one, and lets the others go on, if all others wait.
 * Returns  0; EBUSY if more are missing; EFAULT.  Blocks never.
 * Orders   with 0 as vthread_barrier_wait.
 */
VTHREAD_API int vthread_barrier_trywait(vthread_barrier_t *barrier);

#ifdef __cplusplus
}
#endif

#endif
