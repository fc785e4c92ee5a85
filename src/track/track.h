/*
 * track.h - what the functions of libvthread-pin share.
 *
 * They are compiled twice, with one of two headers as TRACK_REAL:
 *
 *   real_preload.h   ours have libc's names, and stand before them: the
 *                    library is preloaded, and the real ones are looked for
 *   real_wrap.h      ours are __wrap_NAME, and the linker's option --wrap
 *                    sends the program's calls to them; the real ones are
 *                    __real_NAME
 *
 * Both define OURS(name) and REAL(name).
 */
#ifndef TRACK_TRACK_H
#define TRACK_TRACK_H

#include <pthread.h>
#include <stdbool.h>
#include <threads.h>
#include <time.h>

#include <vthread/pin.h>

#define TRACK_FUNCTIONS(X)                                                    \
    X(cnd_timedwait)                                                          \
    X(cnd_wait)                                                               \
    X(mtx_destroy)                                                            \
    X(mtx_init)                                                               \
    X(mtx_lock)                                                               \
    X(mtx_timedlock)                                                          \
    X(mtx_trylock)                                                            \
    X(mtx_unlock)                                                             \
    X(pthread_cond_clockwait)                                                 \
    X(pthread_cond_timedwait)                                                 \
    X(pthread_cond_wait)                                                      \
    X(pthread_mutex_clocklock)                                                \
    X(pthread_mutex_destroy)                                                  \
    X(pthread_mutex_init)                                                     \
    X(pthread_mutex_lock)                                                     \
    X(pthread_mutex_timedlock)                                                \
    X(pthread_mutex_trylock)                                                  \
    X(pthread_mutex_unlock)                                                   \
    X(pthread_rwlock_clockrdlock)                                             \
    X(pthread_rwlock_clockwrlock)                                             \
    X(pthread_rwlock_destroy)                                                 \
    X(pthread_rwlock_init)                                                    \
    X(pthread_rwlock_rdlock)                                                  \
    X(pthread_rwlock_timedrdlock)                                             \
    X(pthread_rwlock_timedwrlock)                                             \
    X(pthread_rwlock_tryrdlock)                                               \
    X(pthread_rwlock_trywrlock)                                               \
    X(pthread_rwlock_unlock)                                                  \
    X(pthread_rwlock_wrlock)

#define TRACK_EXPORT __attribute__((visibility("default")))
#define TRACK_LIKELY(condition) __builtin_expect(!!(condition), 1)

#include TRACK_REAL

/* Not with VTHREAD_PIN=off: then the real function is called, and no more.
 * Set before main. */
extern bool track_is_on;

/* The real functions track: ours leave it to them. */
bool real_tracks(void);

/* A call that waits, with all that it needs. */
struct track_request {
    void *object;       /* mutex, rwlock or condition */
    void *mutex;        /* a condition's */
    clockid_t clock;
    struct timespec deadline;
};

/* The function has been called from there. */
#define TRACK_SITE __builtin_return_address(0)

#endif
