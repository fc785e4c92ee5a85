/*
 * mutex.c - pthread_mutex_*, tracked.
 *
 * A mutex that is free is taken by trylock, which is right for every type:
 * recursive, error-checking, robust (EOWNERDEAD: it is ours, to be repaired)
 * and those with priority inheritance.  One that is not (EBUSY) is waited for
 * by the real function, on the native stack; what else trylock has to say,
 * the real function would have said too.
 *
 * It is out of the table a little after it has been released, and in it a
 * little after it was taken: in between no one can wait.
 */
#include "track/track.h"

#include <errno.h>

static bool is_taken(int err)
{
    return err == 0 || err == EOWNERDEAD;
}

static int note(int err, const void *mutex, const void *site)
{
    if (TRACK_LIKELY(is_taken(err)))
        vthread_lock_taken(mutex, VTHREAD_HOLD_MUTEX, site);
    return err;
}

/* ---- Waiting ------------------------------------------------------------ */

static int lock(void *request)
{
    const struct track_request *r = request;
    return REAL(pthread_mutex_lock)(r->object);
}

static int timed_lock(void *request)
{
    const struct track_request *r = request;
    return REAL(pthread_mutex_timedlock)(r->object, &r->deadline);
}

static int clock_lock(void *request)
{
    const struct track_request *r = request;
    return REAL(pthread_mutex_clocklock)(r->object, r->clock, &r->deadline);
}

static int wait_for(int (*fn)(void *request), struct track_request request)
{
    return vthread_lock_wait(request.object, NULL, VTHREAD_HOLD_MUTEX, fn,
                             &request, sizeof request);
}

__attribute__((noinline, cold)) static int wait_for_ever(void *mutex)
{
    return wait_for(lock, (struct track_request){.object = mutex});
}

/* ---- Locking ------------------------------------------------------------ */

int OURS(pthread_mutex_lock)(pthread_mutex_t *mutex)
{
    if (!TRACK_LIKELY(track_is_on))
        return REAL(pthread_mutex_lock)(mutex);
    int err = REAL(pthread_mutex_trylock)(mutex);
    if (!TRACK_LIKELY(err != EBUSY))
        err = wait_for_ever(mutex);
    return note(err, mutex, TRACK_SITE);
}

int OURS(pthread_mutex_trylock)(pthread_mutex_t *mutex)
{
    int err = REAL(pthread_mutex_trylock)(mutex);
    return TRACK_LIKELY(track_is_on) ? note(err, mutex, TRACK_SITE) : err;
}

int OURS(pthread_mutex_timedlock)(pthread_mutex_t *mutex,
                                  const struct timespec *deadline)
{
    if (!track_is_on)
        return REAL(pthread_mutex_timedlock)(mutex, deadline);
    int err = REAL(pthread_mutex_trylock)(mutex);
    if (err == EBUSY)
        err = wait_for(timed_lock,
                       (struct track_request){.object = mutex,
                                              .deadline = *deadline});
    return note(err, mutex, TRACK_SITE);
}

int OURS(pthread_mutex_clocklock)(pthread_mutex_t *mutex, clockid_t clock,
                                  const struct timespec *deadline)
{
    if (!track_is_on)
        return REAL(pthread_mutex_clocklock)(mutex, clock, deadline);
    int err = REAL(pthread_mutex_trylock)(mutex);
    if (err == EBUSY)
        err = wait_for(clock_lock,
                       (struct track_request){.object = mutex,
                                              .clock = clock,
                                              .deadline = *deadline});
    return note(err, mutex, TRACK_SITE);
}

int OURS(pthread_mutex_unlock)(pthread_mutex_t *mutex)
{
    int err = REAL(pthread_mutex_unlock)(mutex);
    if (TRACK_LIKELY(track_is_on && err == 0))
        vthread_lock_released(mutex);
    return err;
}

/* ---- Beginning and end -------------------------------------------------- */

int OURS(pthread_mutex_init)(pthread_mutex_t *mutex,
                             const pthread_mutexattr_t *attributes)
{
    if (track_is_on)
        vthread_lock_forget(mutex);
    return REAL(pthread_mutex_init)(mutex, attributes);
}

int OURS(pthread_mutex_destroy)(pthread_mutex_t *mutex)
{
    int err = REAL(pthread_mutex_destroy)(mutex);
    if (track_is_on && err == 0)
        vthread_lock_forget(mutex);
    return err;
}
