/*
 * local.h - what an OS thread knows: who runs on it, and where.
 *
 * A virtual thread changes its OS thread when it waits, so this is asked
 * for anew after each wait: local_self is opaque to the compiler.
 */
#ifndef LOCAL_H
#define LOCAL_H

#include <stdatomic.h>

#include "platform/thread_local.h"

struct carrier;
struct thread;
struct station;
struct vthread_scheduler;

struct local {
    struct thread *_Atomic thread; /* the mounted virtual thread, or a
                              platform thread's own object, or NULL; others
                              may look: see local_thread */
    struct carrier *carrier;             /* NULL on a platform thread */
    struct station *station;
    struct vthread_scheduler *scheduler;
};

extern __attribute__((visibility("hidden"))) __thread struct local local;

THREAD_LOCAL_SELF(struct local, local_self, local)

/* Relaxed: to the OS thread itself they are a plain read and write.  The
 * monitor reads it too; the thread that it finds may have left, and ended,
 * meanwhile, but its object stays in the table. */
static inline struct thread *local_thread(const struct local *here)
{
    return atomic_load_explicit(&here->thread, memory_order_relaxed);
}

static inline void local_set_thread(struct local *here, struct thread *t)
{
    atomic_store_explicit(&here->thread, t, memory_order_relaxed);
}

struct thread *thread_self(void);

/* thread_self for hot paths: the first look is inline. */
static inline struct thread *local_thread_self(void)
{
    struct thread *t = local_thread(local_self());
    return __builtin_expect(t != 0, 1) ? t : thread_self();
}

#endif
