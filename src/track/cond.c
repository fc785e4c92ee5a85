/*
 * cond.c - pthread_cond_*wait, tracked.
 *
 * The wait releases the mutex and takes it again, inside libc; meanwhile it
 * is out of the table.  Signals and broadcasts never wait, so they are left
 * alone.
 */
#include "track/track.h"

#include <errno.h>

static int wait_for_ever(void *request)
{
    const struct track_request *r = request;
    return REAL(pthread_cond_wait)(r->object, r->mutex);
}

static int timed_wait(void *request)
{
    const struct track_request *r = request;
    return REAL(pthread_cond_timedwait)(r->object, r->mutex, &r->deadline);
}

static int clock_wait(void *request)
{
    const struct track_request *r = request;
    return REAL(pthread_cond_clockwait)(r->object, r->mutex, r->clock,
                                        &r->deadline);
}

static int wait_in(int (*fn)(void *request), struct track_request request)
{
    vthread_lock_place_t place = vthread_lock_suspend(request.mutex);
    int err = vthread_lock_wait(request.object, request.mutex,
                                VTHREAD_HOLD_COND, fn, &request,
                                sizeof request);
    /* Of a robust mutex that nobody has repaired nobody has it. */
    if (err != ENOTRECOVERABLE)
        vthread_lock_resume(request.mutex, &place);
    return err;
}

int OURS(pthread_cond_wait)(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    if (!track_is_on)
        return REAL(pthread_cond_wait)(cond, mutex);
    return wait_in(wait_for_ever, (struct track_request){.object = cond,
                                                         .mutex = mutex});
}

int OURS(pthread_cond_timedwait)(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                 const struct timespec *deadline)
{
    if (!track_is_on)
        return REAL(pthread_cond_timedwait)(cond, mutex, deadline);
    return wait_in(timed_wait, (struct track_request){.object = cond,
                                                      .mutex = mutex,
                                                      .deadline = *deadline});
}

int OURS(pthread_cond_clockwait)(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                 clockid_t clock,
                                 const struct timespec *deadline)
{
    if (!track_is_on)
        return REAL(pthread_cond_clockwait)(cond, mutex, clock, deadline);
    return wait_in(clock_wait, (struct track_request){.object = cond,
                                                      .mutex = mutex,
                                                      .clock = clock,
                                                      .deadline = *deadline});
}
