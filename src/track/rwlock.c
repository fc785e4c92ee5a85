/*
 * rwlock.c - pthread_rwlock_*, tracked: as mutex.c.
 */
#include "track/track.h"

#include <errno.h>

static int note(int err, const void *lock, vthread_hold_kind_t kind,
                const void *site)
{
    if (TRACK_LIKELY(err == 0))
        vthread_lock_taken(lock, kind, site);
    return err;
}

/* ---- Waiting ------------------------------------------------------------ */

static int lock_to_read(void *request)
{
    const struct track_request *r = request;
    return REAL(pthread_rwlock_rdlock)(r->object);
}

static int lock_to_write(void *request)
{
    const struct track_request *r = request;
    return REAL(pthread_rwlock_wrlock)(r->object);
}

static int timed_lock_to_read(void *request)
{
    const struct track_request *r = request;
    return REAL(pthread_rwlock_timedrdlock)(r->object, &r->deadline);
}

static int timed_lock_to_write(void *request)
{
    const struct track_request *r = request;
    return REAL(pthread_rwlock_timedwrlock)(r->object, &r->deadline);
}

static int clock_lock_to_read(void *request)
{
    const struct track_request *r = request;
    return REAL(pthread_rwlock_clockrdlock)(r->object, r->clock,
                                            &r->deadline);
}

static int clock_lock_to_write(void *request)
{
    const struct track_request *r = request;
    return REAL(pthread_rwlock_clockwrlock)(r->object, r->clock,
                                            &r->deadline);
}

static __attribute__((noinline)) int wait_for(int (*fn)(void *request),
                                              vthread_hold_kind_t kind,
                                              struct track_request request)
{
    return vthread_lock_wait(request.object, NULL, kind, fn, &request,
                             sizeof request);
}

/* ---- To read ------------------------------------------------------------ */

int OURS(pthread_rwlock_rdlock)(pthread_rwlock_t *lock)
{
    if (!track_is_on)
        return REAL(pthread_rwlock_rdlock)(lock);
    int err = REAL(pthread_rwlock_tryrdlock)(lock);
    if (err == EBUSY)
        err = wait_for(lock_to_read, VTHREAD_HOLD_READ,
                       (struct track_request){.object = lock});
    return note(err, lock, VTHREAD_HOLD_READ, TRACK_SITE);
}

int OURS(pthread_rwlock_tryrdlock)(pthread_rwlock_t *lock)
{
    int err = REAL(pthread_rwlock_tryrdlock)(lock);
    return track_is_on ? note(err, lock, VTHREAD_HOLD_READ, TRACK_SITE) : err;
}

int OURS(pthread_rwlock_timedrdlock)(pthread_rwlock_t *lock,
                                     const struct timespec *deadline)
{
    if (!track_is_on)
        return REAL(pthread_rwlock_timedrdlock)(lock, deadline);
    int err = REAL(pthread_rwlock_tryrdlock)(lock);
    if (err == EBUSY)
        err = wait_for(timed_lock_to_read, VTHREAD_HOLD_READ,
                       (struct track_request){.object = lock,
                                              .deadline = *deadline});
    return note(err, lock, VTHREAD_HOLD_READ, TRACK_SITE);
}

int OURS(pthread_rwlock_clockrdlock)(pthread_rwlock_t *lock, clockid_t clock,
                                     const struct timespec *deadline)
{
    if (!track_is_on)
        return REAL(pthread_rwlock_clockrdlock)(lock, clock, deadline);
    int err = REAL(pthread_rwlock_tryrdlock)(lock);
    if (err == EBUSY)
        err = wait_for(clock_lock_to_read, VTHREAD_HOLD_READ,
                       (struct track_request){.object = lock,
                                              .clock = clock,
                                              .deadline = *deadline});
    return note(err, lock, VTHREAD_HOLD_READ, TRACK_SITE);
}

/* ---- To write ----------------------------------------------------------- */

int OURS(pthread_rwlock_wrlock)(pthread_rwlock_t *lock)
{
    if (!track_is_on)
        return REAL(pthread_rwlock_wrlock)(lock);
    int err = REAL(pthread_rwlock_trywrlock)(lock);
    if (err == EBUSY)
        err = wait_for(lock_to_write, VTHREAD_HOLD_WRITE,
                       (struct track_request){.object = lock});
    return note(err, lock, VTHREAD_HOLD_WRITE, TRACK_SITE);
}

int OURS(pthread_rwlock_trywrlock)(pthread_rwlock_t *lock)
{
    int err = REAL(pthread_rwlock_trywrlock)(lock);
    return track_is_on ? note(err, lock, VTHREAD_HOLD_WRITE, TRACK_SITE)
                       : err;
}

int OURS(pthread_rwlock_timedwrlock)(pthread_rwlock_t *lock,
                                     const struct timespec *deadline)
{
    if (!track_is_on)
        return REAL(pthread_rwlock_timedwrlock)(lock, deadline);
    int err = REAL(pthread_rwlock_trywrlock)(lock);
    if (err == EBUSY)
        err = wait_for(timed_lock_to_write, VTHREAD_HOLD_WRITE,
                       (struct track_request){.object = lock,
                                              .deadline = *deadline});
    return note(err, lock, VTHREAD_HOLD_WRITE, TRACK_SITE);
}

int OURS(pthread_rwlock_clockwrlock)(pthread_rwlock_t *lock, clockid_t clock,
                                     const struct timespec *deadline)
{
    if (!track_is_on)
        return REAL(pthread_rwlock_clockwrlock)(lock, clock, deadline);
    int err = REAL(pthread_rwlock_trywrlock)(lock);
    if (err == EBUSY)
        err = wait_for(clock_lock_to_write, VTHREAD_HOLD_WRITE,
                       (struct track_request){.object = lock,
                                              .clock = clock,
                                              .deadline = *deadline});
    return note(err, lock, VTHREAD_HOLD_WRITE, TRACK_SITE);
}

/* ---- The end ------------------------------------------------------------ */

int OURS(pthread_rwlock_unlock)(pthread_rwlock_t *lock)
{
    int err = REAL(pthread_rwlock_unlock)(lock);
    if (track_is_on && err == 0)
        vthread_lock_released(lock);
    return err;
}

int OURS(pthread_rwlock_init)(pthread_rwlock_t *lock,
                              const pthread_rwlockattr_t *attributes)
{
    if (track_is_on)
        vthread_lock_forget(lock);
    return REAL(pthread_rwlock_init)(lock, attributes);
}

int OURS(pthread_rwlock_destroy)(pthread_rwlock_t *lock)
{
    int err = REAL(pthread_rwlock_destroy)(lock);
    if (track_is_on && err == 0)
        vthread_lock_forget(lock);
    return err;
}
