/*
 * vthread/rwlock.h - a lock that many readers hold at a time, or one writer.
 *
 * 16 bytes; a zeroed one is valid, and there is nothing to destroy: the
 * memory may be reused when nobody holds it or waits for it.
 *
 *     static vthread_rwlock_t lock = VTHREAD_RWLOCK_INITIALIZER;
 *
 *     vthread_rwlock_rdlock(&lock);
 *     entry = find(table, key);
 *     vthread_rwlock_unlock(&lock);
 *
 *     vthread_rwlock_wrlock(&lock);
 *     insert(table, key, value);
 *     vthread_rwlock_unlock(&lock);
 *
 * States: free; held by readers; held by a writer.  A virtual thread that
 * waits is parked, a platform thread sleeps in the kernel.  It may be held
 * across any wait.
 *
 * Fairness.  Whoever has to wait is served in the order of coming: a reader
 * that comes while a writer waits, waits behind it; when a writer unlocks, or
 * gives up waiting, all readers ahead of the next writer go on together.
 * Nobody passes those who wait.  So a thread that holds it as a reader must not
 * read-lock it again: a writer that waits meanwhile would be waited for, and
 * wait itself.
 *
 * Waiting for it is not cancellable: an interrupt sticks until the next wait
 * that is.
 *
 * A lock on the stack of a thread that shares its home with others is refused
 * with EFAULT, see doc/rules.md.
 */
#ifndef VTHREAD_RWLOCK_H
#define VTHREAD_RWLOCK_H

#include <stdint.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Its fields are the library's own. */
typedef struct vthread_rwlock {
    uint32_t word;
    uint32_t writer;
    uint32_t waiting[2];
} vthread_rwlock_t;

#define VTHREAD_RWLOCK_INITIALIZER {0, 0, {0, 0}}

/*
 * Locks it as a reader, waiting until no writer holds it or is ahead.  Not a
 * cancellation point.
 *
 * Returns  0; EDEADLK when the caller holds it as the writer; EAGAIN when
 *          there are too many readers (2^28); ETIMEDOUT; EFAULT; ENOMEM when
 *          a platform thread cannot be made known.
 * Blocks   the virtual thread.
 * Orders   what happened before the last unlock of a writer happens before
 *          the return.
 * Source   pthread_rwlock_rdlock, pthread_rwlock_clockrdlock.
 */
VTHREAD_API int vthread_rwlock_rdlock(vthread_rwlock_t *rwlock);
VTHREAD_API int vthread_rwlock_rdlock_until(vthread_rwlock_t *rwlock,
                                            uint64_t deadline_ns);

/*
 * Locks it as the writer, waiting until it is free.  Not a cancellation
 * point.
 *
 * Returns  0; EDEADLK when the caller holds it as the writer; ETIMEDOUT;
 *          EFAULT; ENOMEM.
 * Blocks   the virtual thread.
 * Requires  the caller does not hold it as a reader: it would wait for itself.
 * Orders   what happened before all unlocks so far happens before the
 *          return.
 * Source   pthread_rwlock_wrlock, pthread_rwlock_clockwrlock.
 */
VTHREAD_API int vthread_rwlock_wrlock(vthread_rwlock_t *rwlock);
VTHREAD_API int vthread_rwlock_wrlock_until(vthread_rwlock_t *rwlock,
                                            uint64_t deadline_ns);

/*
 * Lock it, as a reader or as the writer, if nobody is in the way.
 * Returns  0; EBUSY; EAGAIN for too many readers; EFAULT; ENOMEM.
 * Blocks   never.
 * Orders   with 0 as the forms that wait.
 */
VTHREAD_API int vthread_rwlock_tryrdlock(vthread_rwlock_t *rwlock);
VTHREAD_API int vthread_rwlock_trywrlock(vthread_rwlock_t *rwlock);

/*
 * Unlocks it: as the writer if the caller is that, else as a reader.
 *
 * Returns  0.
 * Blocks   never.
 * Requires  the caller holds it: an unlock of a free lock, or of one that
 *          another thread holds as the writer, ends the process.  Which
 *          threads are readers is not known.
 * Orders   what happened before happens before the next lock by a writer
 *          returns, and if the caller was the writer by a reader too.
 * Source   pthread_rwlock_unlock.
 */
VTHREAD_API int vthread_rwlock_unlock(vthread_rwlock_t *rwlock);

#ifdef __cplusplus
}
#endif

#endif
