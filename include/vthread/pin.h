/*
 * vthread/pin.h - threads that wait while they are pinned: found, and told
 * with the lock, where it was taken, and whom it hurt.
 *
 * A virtual thread is pinned while it holds a pthread mutex or rwlock that is
 * tracked, between vthread_pin and vthread_unpin, in a function that foreign
 * code has called, and in a foreign call; and when there is no memory for its
 * frames.  If it waits then its OS thread waits with it, and a spare carrier
 * has to take over.  Each such wait is an episode.  One that lasts as long as
 * VTHREAD_PIN_MS (20 ms; 0: each) or longer is recorded:
 *
 *     VTHREAD_PIN=report ./server
 *     vthread: pin: thread 4294967301 'client 2' (entry serve) kept carrier 0
 *     of scheduler 1 for 50.3 ms
 *     vthread: pin:   it held mutex 0x5581e0a4c0c0 in server+0x40c0, taken
 *     at server+0x1a2b (serve), for which 2 threads waited 99.8 ms
 *     ...
 *
 * VTHREAD_PIN in the environment:
 *
 * - report: episodes are told on standard error: of those that are alike, in
 *   lock, place and reason, the first, the second, the fourth, the eighth and
 *   so on; at the end of the process a summary, the costliest first.
 * - abort: the first one ends the process, with the same words.
 * - off: nothing is recorded, and locks are not tracked: it is as without
 *   libvthread-pin.  A recursive mutex does not keep two threads of one
 *   carrier apart then.
 * - unset: they are recorded when somebody wants them, by vthread_pin_notify
 *   or through the control socket.
 *
 * Locks are tracked by libvthread-pin, which stands before the locks of libc:
 * linked in (pkg-config --libs vthread-pin), it sees the calls of what it is
 * linked with, preloaded those of all libraries.  It knows pthread_mutex_*,
 * pthread_rwlock_*, pthread_cond_*wait*, mtx_* and cnd_*wait, so std::mutex
 * too; a virtual thread that waits there for another one leaves its carrier to
 * others.  Not
 * seen are the locks inside libc, those of a static program that does not link
 * it, and linked in, what other libraries do: condition_variable::wait is
 * libstdc++'s.  Where no library tracks locks the reports say so.
 *
 * A program with locks of its own kind calls vthread_lock_taken and
 * vthread_lock_released, and vthread_lock_wait where it would block.
 */
#ifndef VTHREAD_PIN_H
#define VTHREAD_PIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Episodes ----------------------------------------------------------- */

/* Why a thread was pinned; several may hold at once. */
#define VTHREAD_PINNED_BY_LOCK 1u      /* it held locks: `holds` */
#define VTHREAD_PINNED_BY_PIN 2u       /* vthread_pin, also in `holds` */
#define VTHREAD_PINNED_BY_FOREIGN 4u   /* foreign frames lay below */
#define VTHREAD_PINNED_BY_NO_MEMORY 8u /* none for its frames */

/* What it held on to, or waited for. */
typedef enum vthread_hold_kind {
    VTHREAD_HOLD_MUTEX,
    VTHREAD_HOLD_READ,  /* an rwlock, to read, */
    VTHREAD_HOLD_WRITE, /* to write */
    VTHREAD_HOLD_PIN,   /* vthread_pin; not a lock */
    VTHREAD_HOLD_COND,  /* waited for only */
    VTHREAD_HOLD_OTHER  /* a lock of the program's own kind */
} vthread_hold_kind_t;

enum {
    VTHREAD_PIN_HOLDS_MAX = 4,
    VTHREAD_PIN_FRAMES_MAX = 32
};

/* A lock, or a pin. */
typedef struct vthread_pin_hold {
    uint64_t object;    /* the lock's address; 0: a pin */
    uint64_t site;      /* where it was taken: a return address */
    uint64_t waited_ns; /* how long others waited for it, all together, while
                           the episode lasted */
    uint32_t waiters;   /* and how many there were */
    uint32_t count;     /* how often it was taken */
    uint32_t frame;     /* frames[frame] is in the function that took it;
                           frame_count: that has returned */
    uint32_t kind;      /* vthread_hold_kind_t */
} vthread_pin_hold_t;

/* The same layout for all compilers: no padding, and all in the order of the
 * machine.  Times in ns of CLOCK_MONOTONIC. */
typedef struct vthread_pin_episode {
    uint32_t size_bytes;  /* of this struct */
    uint32_t reasons;     /* VTHREAD_PINNED_BY_* */
    uint64_t number;      /* 1.. in the process; gaps: some were dropped */
    uint64_t start_ns;
    uint64_t duration_ns;
    uint64_t thread;      /* its handle */
    uint64_t entry;       /* address of the function that it began with */
    uint32_t scheduler, carrier, os_thread; /* where it was pinned to */
    uint32_t locks_tracked; /* 0: nothing tracked locks, so none is here */
    uint32_t hold_count, holds_left_out;
    uint32_t frame_count;
    uint32_t ready;       /* threads ready to run that its carrier left to
                             others, if there were any */
    uint32_t stranded;    /* of them and of later ones, those that it alone
                             may run, or nobody had taken at the end */
    uint32_t spares;      /* spare carriers that were started meanwhile */
    uint64_t delay_ns;    /* to others: for its locks, and to the stranded */
    uint64_t waits_on;    /* address of what it waited for, or 0 */
    uint64_t holder;      /* handle of the thread that had that; 0: nobody in
                             particular, or not known */
    char waits_for[48];   /* "sleeps", "waits for mutex" and so on */
    char name[32];        /* of the thread */
    char why[64];         /* what vthread_pin_reason said */
    vthread_pin_hold_t holds[VTHREAD_PIN_HOLDS_MAX]; /* the last one first */
    uint64_t frames[VTHREAD_PIN_FRAMES_MAX]; /* where it waited: return
                                                addresses, innermost first */
} vthread_pin_episode_t;

/*
 * Has fn(arg, episode) called for each episode that is recorded from now on;
 * fn NULL: no more.  It is called on an OS thread of the library, after the
 * episode, one at a time; it may call anything, and wait as platform threads
 * do.  Episodes that come faster than it returns are dropped, and their
 * numbers missing.
 *
 * Returns  0; ENOTSUP with VTHREAD_PIN=off; EAGAIN or ENOMEM without
 *          resources for the OS thread.
 * Blocks   the OS thread, with fn NULL, until a call that is under way has
 *          returned; unless fn itself calls this.
 */
VTHREAD_API int
vthread_pin_notify(void (*fn)(void *arg,
                              const vthread_pin_episode_t *episode),
                   void *arg);

/*
 * The episode in words: lines, each ended by a newline; addresses as functions
 * of this process where they have names.  Cut to the size.
 *
 * Returns  how many bytes that is, without the final 0.
 * Blocks   perhaps, for the loader's lock.
 */
VTHREAD_API size_t
vthread_pin_describe(const vthread_pin_episode_t *episode, char *buffer,
                     size_t size_bytes);

/* As vthread_pin, and says why: for reports.  The text is kept by address
 * until vthread_unpin. */
VTHREAD_API int vthread_pin_reason(const char *why);

/* ---- Locks -------------------------------------------------------------- */

/*
 * The calling thread has taken a lock, at `site` (a return address; NULL: that
 * of the call of this function), and is pinned until it has released it; once
 * more if it had it already.  On a platform thread it is noted only, so that
 * reports can tell who has the lock.
 *
 * Blocks never.
 */
VTHREAD_API void vthread_lock_taken(const void *lock,
                                    vthread_hold_kind_t kind,
                                    const void *site);

/* It has released the lock, once.  If another thread had taken it that one is
 * told of: it is pinned no more for it when it waits next. */
VTHREAD_API void vthread_lock_released(const void *lock);

/* The lock is no more, whether it is held or not. */
VTHREAD_API void vthread_lock_forget(const void *lock);

/* Where the calling thread had taken a lock that it holds.  Zero: nowhere. */
typedef struct vthread_lock_place {
    const void *site;
    uint32_t private_[2];
} vthread_lock_place_t;

/* As vthread_lock_released for all times that the lock was taken, and back:
 * around a wait that releases the lock meanwhile.  A place that is nowhere, or
 * NULL, changes nothing. */
VTHREAD_API vthread_lock_place_t vthread_lock_suspend(const void *lock);
VTHREAD_API void vthread_lock_resume(const void *lock,
                                     const vthread_lock_place_t *place);

enum { VTHREAD_LOCK_REQUEST_MAX = 96 };

/*
 * Calls fn(request), which waits for the lock in the kernel.  On a virtual
 * thread others take over its carrier meanwhile, and fn is called on the OS
 * thread's own stack with a copy of the request: it may be as large as
 * VTHREAD_LOCK_REQUEST_MAX, and holds no addresses of the caller's locals.  If
 * the thread holds other locks that is an episode.  The time counts among the
 * delays of whoever has the lock.
 *
 * also: another object that fn will touch, or NULL.
 *
 * Returns  what fn returned; EINVAL if the request is too large.
 * Blocks   the OS thread.
 */
VTHREAD_API int vthread_lock_wait(const void *lock, const void *also,
                                  vthread_hold_kind_t kind,
                                  int (*fn)(void *request),
                                  const void *request, size_t size_bytes);

/* Said by a library that tracks locks when it is loaded: reports need not say
 * that none are.  Returns false with VTHREAD_PIN=off: it should not track. */
VTHREAD_API bool vthread_lock_track(void);

#ifdef __cplusplus
}
#endif

#endif
