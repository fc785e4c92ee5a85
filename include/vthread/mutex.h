/*
 * vthread/mutex.h - a lock that one thread holds at a time.
 *
 * 16 bytes; a zeroed one is a valid normal mutex, and there is nothing to
 * destroy: the memory may be reused when nobody holds it or waits for it,
 * and at once by the thread that has unlocked it last.
 *
 *     static vthread_mutex_t lock = VTHREAD_MUTEX_INITIALIZER;
 *     static long balance;
 *
 *     void deposit(long amount)
 *     {
 *         vthread_mutex_lock(&lock);
 *         balance += amount;
 *         vthread_mutex_unlock(&lock);
 *     }
 *
 * States: free; held by a thread.  A virtual thread that waits is parked, a
 * platform thread sleeps in the kernel; both may use the same mutex.  It may
 * be held across any wait.  A thread should not end while it holds one:
 * nobody else can unlock it.
 *
 * Fairness.  A free mutex goes to whoever asks first, even while others are
 * just being woken: that is fast.  But those who wait are served in their
 * order, and the first of them is passed over a bounded number of times: when
 * it has been woken in vain, or others were faster 64 times since it was woken,
 * the mutex is handed to it.
 *
 * Waiting for a mutex is not cancellable: an interrupt sticks until the next
 * wait that is.
 *
 * A mutex on the stack of a thread that shares its home with others is
 * refused with EFAULT, see doc/rules.md.
 */
#ifndef VTHREAD_MUTEX_H
#define VTHREAD_MUTEX_H

#include <stdbool.h>
#include <stdint.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What happens when the thread that holds a mutex locks it again, or another
 * one unlocks it: */
#define VTHREAD_MUTEX_NORMAL 0     /* the process ends with a message */
#define VTHREAD_MUTEX_RECURSIVE 1  /* locks count, up to 65,536; EPERM */
#define VTHREAD_MUTEX_ERRORCHECK 2 /* EDEADLK; EPERM */

/* Its fields are the library's own. */
typedef struct vthread_mutex {
    uint32_t word;
    uint16_t depth;
    uint8_t kind;
    uint8_t bypassed;
    uint32_t waiting[2];
} vthread_mutex_t;

#define VTHREAD_MUTEX_INITIALIZER {0, 0, VTHREAD_MUTEX_NORMAL, 0, {0, 0}}
#define VTHREAD_MUTEX_RECURSIVE_INITIALIZER                                   \
    {0, 0, VTHREAD_MUTEX_RECURSIVE, 0, {0, 0}}
#define VTHREAD_MUTEX_ERRORCHECK_INITIALIZER                                  \
    {0, 0, VTHREAD_MUTEX_ERRORCHECK, 0, {0, 0}}

/*
 * Makes a free mutex of that kind.
 * Returns  0 or EINVAL.  Blocks never.
 */
VTHREAD_API int vthread_mutex_init(vthread_mutex_t *mutex, int kind);

/*
 * Locks the mutex, waiting until it is free.  Not a cancellation point.
 *
 * Returns  0; EDEADLK (error-checking) or EAGAIN (recursive, too deep) when
 *          the caller holds it already; ETIMEDOUT; EFAULT; ENOMEM when a
 *          platform thread cannot be made known.
 * Blocks   the virtual thread.
 * Requires  a normal mutex is not held by the caller: that ends the process,
 *          with or without a deadline.
 * Orders   what happened before the last unlock happens before the return.
 * Source   pthread_mutex_lock, pthread_mutex_clocklock.
 */
VTHREAD_API int vthread_mutex_lock(vthread_mutex_t *mutex);
VTHREAD_API int vthread_mutex_lock_until(vthread_mutex_t *mutex,
                                         uint64_t deadline_ns);

/*
 * Locks the mutex if nobody holds it (or, recursive, the caller).
 *
 * Returns  0; EBUSY; EAGAIN (recursive, too deep); EFAULT; ENOMEM.
 * Blocks   never.
 * Orders   with 0 as vthread_mutex_lock.
 * Source   pthread_mutex_trylock.
 */
VTHREAD_API int vthread_mutex_trylock(vthread_mutex_t *mutex);

/*
 * Unlocks the mutex, or takes back one lock of a recursive one.
 *
 * Returns  0; EPERM when the caller does not hold it (recursive,
 *          error-checking).
 * Blocks   never.
 * Requires  a normal mutex is held by the caller: else the process ends.
 * Orders   what happened before happens before the next lock returns.
 * Source   pthread_mutex_unlock.
 */
VTHREAD_API int vthread_mutex_unlock(vthread_mutex_t *mutex);

/*
 * Whether the caller holds the mutex.  For assertions, and for language
 * machines whose programs must be told that they do not.
 *
 * Blocks   never.
 * Source   java.lang.Thread.holdsLock.
 */
VTHREAD_API bool vthread_mutex_is_held(const vthread_mutex_t *mutex);

#ifdef __cplusplus
}
#endif

#endif
