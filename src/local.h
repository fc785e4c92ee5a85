/*
 * local.h - what an OS thread knows: who runs on it, and where.
 *
 * A virtual thread changes its OS thread when it waits, so this is asked
 * for anew after each wait: local_self is opaque to the compiler.
 */
#ifndef LOCAL_H
#define LOCAL_H

#include "platform/thread_local.h"

struct carrier;
struct thread;
struct station;
struct vthread_scheduler;

struct local {
    struct thread *thread; /* the mounted virtual thread, or a platform
                              thread's own object, or NULL */
    struct carrier *carrier;             /* NULL on a platform thread */
    struct station *station;
    struct vthread_scheduler *scheduler;
};

extern __attribute__((visibility("hidden"))) __thread struct local local;

THREAD_LOCAL_SELF(struct local, local_self, local)

#endif
