/*
 * vthread/cond.h - a condition variable: waiting, under a mutex, until
 * another thread says that something has changed.
 *
 * 24 bytes; a zeroed one is valid, and there is nothing to destroy: the
 * memory may be reused when nobody waits.
 *
 *     vthread_mutex_lock(&queue->lock);
 *     while (queue->length == 0 && err == 0)
 *         err = vthread_cond_wait_until(&queue->not_empty, &queue->lock,
 *                                       deadline_ns);
 *     if (err == 0)
 *         item = take(queue);
 *     vthread_mutex_unlock(&queue->lock);
 *
 *     vthread_mutex_lock(&queue->lock);          // and elsewhere
 *     put(queue, item);
 *     vthread_cond_signal(&queue->not_empty);
 *     vthread_mutex_unlock(&queue->lock);
 *
 * A virtual thread that waits is parked, a platform thread sleeps in the
 * kernel.  Who is signalled goes over to those who wait for the mutex, so a
 * broadcast wakes them one by one, as the mutex becomes free.  No return
 * without cause; but between the signal and the return others may have held
 * the mutex, so the loop is needed all the same.
 *
 * The mutex may be of any kind; a recursive one is released wholly, and is
 * held as often as before on return.
 *
 * A condition variable on the stack of a thread that shares its home with
 * others is refused with EFAULT, see doc/rules.md.
 */
#ifndef VTHREAD_COND_H
#define VTHREAD_COND_H

#include <stdint.h>

#include <vthread/api.h>
#include <vthread/mutex.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Its fields are the library's own. */
typedef struct vthread_cond {
    uint32_t word;
    uint32_t reserved;
    uint32_t waiting[2];
    void *mutex;
} vthread_cond_t;

#define VTHREAD_COND_INITIALIZER {0, 0, {0, 0}, 0}

/*
 * Releases the mutex, waits for a signal, and locks the mutex again.  A
 * cancellation point; the lock afterwards is none.  There is no try form: a
 * deadline in the past releases the mutex and locks it again.
 *
 * Returns  0 when signalled; ETIMEDOUT; ECANCELED.  A signal that comes with
 *          the deadline or the cancellation wins, and the interrupt then
 *          sticks: no signal is lost.  In all three cases the mutex is held.
 *          EPERM when the caller does not hold the mutex (recursive,
 *          error-checking); EINVAL while others wait with another mutex;
 *          EFAULT; ENOMEM: these change nothing.
 * Blocks   the virtual thread.
 * Requires  a normal mutex is held by the caller: else the process ends.
 * Orders   as unlock and lock of the mutex; what happened before the signal
 *          happens before the return.
 * Source   pthread_cond_wait, pthread_cond_clockwait.
 */
VTHREAD_API int vthread_cond_wait(vthread_cond_t *cond,
                                  vthread_mutex_t *mutex);
VTHREAD_API int vthread_cond_wait_until(vthread_cond_t *cond,
                                        vthread_mutex_t *mutex,
                                        uint64_t deadline_ns);

/*
 * Signals the thread that has waited longest, or all that wait.  Nothing is
 * kept when nobody waits.  The caller may hold the mutex or not.
 *
 * Returns  0 or EFAULT.
 * Blocks   never.
 * Orders   see vthread_cond_wait.
 * Source   pthread_cond_signal, pthread_cond_broadcast.
 */
VTHREAD_API int vthread_cond_signal(vthread_cond_t *cond);
VTHREAD_API int vthread_cond_broadcast(vthread_cond_t *cond);

#ifdef __cplusplus
}
#endif

#endif
