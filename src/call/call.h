/*
 * call.h - foreign calls, inside the library.
 */
#ifndef CALL_H
#define CALL_H

#include <stdbool.h>
#include <stdint.h>

#include "call/blocking.h"
#include "call/call_site.h"
#include "call/interruptible.h"
#include "call/signature.h"
#include "platform/thread_local.h"

/* A call in place that is under way, on the stack of who makes it.  The OS
 * thread knows the innermost, but for what upcalls have interrupted. */
struct call_frame {
    struct blocking blocking;
    bool is_open;                        /* the bracket */
    bool was_handed_off;                 /* in the whole: see blocking.h */
    struct interruptible *interruptible; /* or NULL */
    struct call_frame *outer;
    uint64_t *upcalls_ns;                /* what they took; NULL: it is not
                                            timed */
};

/* What an OS thread knows of calls.  A virtual thread may change its OS thread
 * until the bracket is open, so it asks anew. */
struct call_local {
    struct call_frame *frame; /* the innermost */
    uint64_t chance;          /* see call_is_chosen */
};

extern __attribute__((visibility("hidden"))) __thread struct call_local
    call_local;

THREAD_LOCAL_SELF(struct call_local, call_local_self, call_local)

/* For what runs in the middle of a call, and is no part of it; errno stays as
 * it is.  The calling thread is pinned in between. */
void call_frame_suspend(struct call_frame *frame);
void call_frame_resume(struct call_frame *frame);

/* A detached call: request.c.  The site has been checked. */
int request_call(struct site *site, struct vthread_signature *signature,
                 void (*fn)(void), void *result, void *const args[],
                 int *error, uint64_t deadline_ns);

#endif
