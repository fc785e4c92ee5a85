/*
 * c11.c - mtx_* and cnd_*wait of <threads.h>, tracked: as mutex.c and cond.c.
 *
 * glibc's call their pthread namesakes inside libc, where nothing that stands
 * before those sees it.
 */
#include "track/track.h"

static int note(int result, const void *mutex, const void *site)
{
    if (TRACK_LIKELY(result == thrd_success))
        vthread_lock_taken(mutex, VTHREAD_HOLD_MUTEX, site);
    return result;
}

/* ---- Mutexes ------------------------------------------------------------ */

static int lock(void *request)
{
    const struct track_request *r = request;
    return REAL(mtx_lock)(r->object);
}

static int timed_lock(void *request)
{
    const struct track_request *r = request;
    return REAL(mtx_timedlock)(r->object, &r->deadline);
}

static __attribute__((noinline)) int wait_for(int (*fn)(void *request),
                                              struct track_request request)
{
    return vthread_lock_wait(request.object, NULL, VTHREAD_HOLD_MUTEX, fn,
                             &request, sizeof request);
}

int OURS(mtx_lock)(mtx_t *mutex)
{
    if (!track_is_on)
        return REAL(mtx_lock)(mutex);
    int result = REAL(mtx_trylock)(mutex);
    if (result != thrd_success)
        result = wait_for(lock, (struct track_request){.object = mutex});
    return note(result, mutex, TRACK_SITE);
}

int OURS(mtx_trylock)(mtx_t *mutex)
{
    if (!track_is_on)
        return REAL(mtx_trylock)(mutex);
    return note(REAL(mtx_trylock)(mutex), mutex, TRACK_SITE);
}

int OURS(mtx_timedlock)(mtx_t *mutex, const struct timespec *deadline)
{
    if (!track_is_on)
        return REAL(mtx_timedlock)(mutex, deadline);
    int result = REAL(mtx_trylock)(mutex);
    if (result != thrd_success)
        result = wait_for(
            timed_lock,
            (struct track_request){.object = mutex, .deadline = *deadline});
    return note(result, mutex, TRACK_SITE);
}

int OURS(mtx_unlock)(mtx_t *mutex)
{
    if (!track_is_on)
        return REAL(mtx_unlock)(mutex);
    int result = REAL(mtx_unlock)(mutex);
    if (result == thrd_success)
        vthread_lock_released(mutex);
    return result;
}

int OURS(mtx_init)(mtx_t *mutex, int type)
{
    if (track_is_on)
        vthread_lock_forget(mutex);
    return REAL(mtx_init)(mutex, type);
}

void OURS(mtx_destroy)(mtx_t *mutex)
{
    REAL(mtx_destroy)(mutex);
    if (track_is_on)
        vthread_lock_forget(mutex);
}

/* ---- Conditions --------------------------------------------------------- */

static int wait_for_ever(void *request)
{
    const struct track_request *r = request;
    return REAL(cnd_wait)(r->object, r->mutex);
}

static int timed_wait(void *request)
{
    const struct track_request *r = request;
    return REAL(cnd_timedwait)(r->object, r->mutex, &r->deadline);
}

static int wait_in(int (*fn)(void *request), struct track_request request)
{
    vthread_lock_place_t place = vthread_lock_suspend(request.mutex);
    int result =
        vthread_lock_wait(request.object, request.mutex, VTHREAD_HOLD_COND, fn,
                          &request, sizeof request);
    vthread_lock_resume(request.mutex, &place);
    return result;
}

int OURS(cnd_wait)(cnd_t *cond, mtx_t *mutex)
{
    if (!track_is_on)
        return REAL(cnd_wait)(cond, mutex);
    return wait_in(wait_for_ever,
                   (struct track_request){.object = cond, .mutex = mutex});
}

int OURS(cnd_timedwait)(cnd_t *cond, mtx_t *mutex,
                        const struct timespec *deadline)
{
    if (!track_is_on)
        return REAL(cnd_timedwait)(cond, mutex, deadline);
    return wait_in(timed_wait, (struct track_request){.object = cond,
                                                      .mutex = mutex,
                                                      .deadline = *deadline});
}
