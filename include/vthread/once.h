/*
 * vthread/once.h - something that is done once, by whoever needs it first.
 *
 * 24 bytes; a zeroed one is valid, and there is nothing to destroy.
 *
 *     static vthread_once_t once = VTHREAD_ONCE_INITIALIZER;
 *     static struct table *table;
 *
 *     static int load(void *path)
 *     {
 *         return table_read(&table, path);       // 0, or an error
 *     }
 *
 *     int err = vthread_once(&once, load, "/etc/services");
 *     if (err == 0)
 *         use(table);
 *
 * States: not done; being done by a thread; done.  A thread that finds it
 * being done waits: a virtual one is parked, a platform one sleeps in the
 * kernel.  The function may wait too.
 *
 * A function that fails, which is one that returns something else than 0 or
 * leaves by vthread_exit, has not done it: the thread that has waited longest
 * tries next, with the function that it has brought; or else the next caller.
 *
 * A once on the stack of a thread that shares its home with others is
 * refused with EFAULT, see doc/rules.md.
 */
#ifndef VTHREAD_ONCE_H
#define VTHREAD_ONCE_H

#include <stdbool.h>
#include <stdint.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Its fields are the library's own. */
typedef struct vthread_once {
    uint32_t word;
    uint32_t reserved;
    uint32_t waiting[2];
    void *next;
} vthread_once_t;

#define VTHREAD_ONCE_INITIALIZER {0, 0, {0, 0}, 0}

/*
 * Has it done: calls fn(arg) unless it has been done, or waits for the thread
 * that is at it.  A cancellation point when it has to wait.
 *
 * Returns  0 when it is done; what fn returned, if that was not 0; EDEADLK
 *          when fn calls this with the same once; ETIMEDOUT and ECANCELED
 *          when the wait has ended, never once fn has been called: the
 *          deadline is not fn's.  If it is done, or becomes the caller's to
 *          do, together with the deadline or the cancellation, then that
 *          counts, and the interrupt sticks.  EFAULT; ENOMEM when a platform
 *          thread cannot be made known.
 * Blocks   the virtual thread.
 * Orders   what the successful fn did happens before every return of 0.
 * Source   pthread_once; retried as Rust's OnceCell::get_or_try_init.
 */
VTHREAD_API int vthread_once(vthread_once_t *once, int (*fn)(void *),
                             void *arg);
VTHREAD_API int vthread_once_until(vthread_once_t *once, int (*fn)(void *),
                                   void *arg, uint64_t deadline_ns);

/*
 * The same, but does not wait for another thread that is at it.
 * Returns  as vthread_once; EBUSY when another thread is at it.
 * Blocks   never, unless fn does.
 * Orders   with 0 as vthread_once.
 */
VTHREAD_API int vthread_tryonce(vthread_once_t *once, int (*fn)(void *),
                                void *arg);

/*
 * Whether it has been done.  Blocks never.
 * Orders   with true as vthread_once.
 */
VTHREAD_API bool vthread_once_is_done(const vthread_once_t *once);

#ifdef __cplusplus
}
#endif

#endif
