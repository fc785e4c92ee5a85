/*
 * mount.h - running and yielding: the hot path of the engine, inline.
 *
 * What happens around a switch, on which stack, in this order:
 *
 *   run     [runner]  the home is claimed, others' frames frozen, c's thawed;
 *                     those who watch are told
 *   switch  ------->  c goes on
 *   yield   [c]       the chain is unlinked: what ran c is current again
 *   switch  <-------  the runner goes on
 *   settle  [runner]  those who watch are told; eager: frames frozen; else
 *                     memory for a freeze found; the home is released, and
 *                     its waiters resubmitted
 *
 * So nobody can mount c, or copy its frames, before it has left its stack.
 *
 * A chain.  A runs B, B runs C: C->link == B, B->link == A, A->link == NULL
 * (a native stack runs A).  yield(A) in C makes A->link = C, the innermost,
 * and leaves the links of B and C alone; run(A) takes C from there, puts
 * its own runner in A->link, and goes on in C.
 *
 * Why inline: after a switch the processor's stack of return addresses is
 * that of the other side, so each return up the chain of callers is guessed
 * wrong, at 8 ns.  A carrier's loop with all of this in it returns nowhere.
 */
#ifndef CONTINUATION_MOUNT_H
#define CONTINUATION_MOUNT_H

#include "continuation/continuation.h"
#include "continuation/exceptions.h"
#include "continuation/switch.h"
#include "continuation/watch.h"
#include "platform/probe.h"
#include "platform/thread_local.h"

/* What an OS thread knows of the continuations it has mounted. */
struct mount_point {
    struct continuation *current; /* innermost running, or NULL */
    void *native_sp;              /* of the stack that ran the outermost */
    struct sanitizer_stack native;
    struct exceptions *exceptions; /* of C++; NULL: there is no C++ */
    bool is_entered;
    unsigned stands_still; /* not 0: what counts as current may not yield: it
                              is just being mounted, or a collector that it
                              has called has stopped all others */
    struct continuation_counts counts;
};

extern __attribute__((visibility("hidden"))) __thread struct mount_point
    mount_point;

THREAD_LOCAL_SELF(struct mount_point, mount_point_self, mount_point)

/* ---- Slow paths, in continuation.c -------------------------------------- */

/* All but: an own home that is not hidden, mounted before. */
enum run_status mount_enter(struct continuation *c,
                            struct stack_waiter *waiter);

/* All but: it has yielded, on an own home that is not hidden.  False: it
 * could not be unmounted. */
bool mount_settle(struct continuation *c);

/* continuation_yield while exceptions are handled. */
uintptr_t mount_yield_handling(struct continuation *c, uintptr_t value);

/* ---- Switching ---------------------------------------------------------- */

static inline struct sanitizer_stack *mount_sanitizer(struct mount_point *mp,
                                                      struct continuation *c)
{
    return c ? &c->sanitizer : &mp->native;
}

/* Sanitizer builds only: else its result is unused and it is not there. */
static inline size_t mount_range(const struct continuation *c,
                                 const void **bottom)
{
    *bottom = c ? c->home->bottom : NULL;
    return c ? run_stack_size(c->home) : 0;
}

/* From c (NULL: the native stack), which runs now, to `to`, which has been
 * made current.  A native stack stays with its OS thread, so mp is right
 * afterwards where it is used. */
__attribute__((always_inline)) static inline uintptr_t
mount_change_stack(struct mount_point *mp, struct continuation *c,
                   struct continuation *to, uintptr_t value)
{
    const void *bottom;
    size_t size_bytes = mount_range(to, &bottom);
    sanitizer_switch(mount_sanitizer(mp, c), mount_sanitizer(mp, to), bottom,
                     size_bytes);
    value = switch_stacks(c ? &c->sp : &mp->native_sp,
                          to ? to->sp : mp->native_sp, value);
    sanitizer_switched(mount_sanitizer(mp, c));
    return value;
}

/* Own, in place, not hidden: nothing to do before or after a switch. */
static inline bool mount_is_simple(const struct continuation *c)
{
    return likely(c->state == CONTINUATION_UNMOUNTED
                  && (c->flags & (CONTINUATION_HAS_OWN | CONTINUATION_HIDDEN))
                         == CONTINUATION_HAS_OWN);
}

/* continuation_chain_is_pinned for c mounted here. */
static inline bool mount_is_pinned(const struct mount_point *mp,
                                   const struct continuation *c)
{
    return continuation_chain_is_pinned(mp->current, c);
}

/* The same for c unmounted. */
static inline bool continuation_is_pinned(const struct continuation *c)
{
    return continuation_chain_is_pinned(c->link, c);
}

/* ---- The interface ------------------------------------------------------ */

__attribute__((always_inline)) static inline enum run_status
continuation_resume(struct mount_point *mp, struct continuation *c,
                    uintptr_t *value)
{
    uint32_t watched = watch_now();
    if (unlikely(watched) && watch_tells_claims(watched))
        watch_claiming();
    struct continuation *runner = mp->current;
    struct continuation *inner = c->link;
    c->link = runner;
    c->state = CONTINUATION_MOUNTED;
    mp->current = inner;
    if (unlikely(watched))
        watch_mounting(c);
    PROBE1(mount, c);
    *value = mount_change_stack(mp, runner, inner, *value);
    PROBE2(unmount, c, *value);
    if (watch_any())
        watch_unmounted(c);
    return mount_is_simple(c) || mount_settle(c) ? RUN_RETURNED
                                                 : RUN_UNSETTLED;
}

__attribute__((always_inline)) static inline enum run_status
continuation_run(struct mount_point *mp, struct continuation *c,
                 struct stack_waiter *waiter, uintptr_t *value)
{
    if (!mount_is_simple(c)) {
        enum run_status status = mount_enter(c, waiter);
        if (unlikely(status != RUN_RETURNED))
            return status;
    }
    /* Relaxed, no read-modify-write: only this OS thread writes it. */
    atomic_store_explicit(&mp->counts.mounts,
                          atomic_load_explicit(&mp->counts.mounts,
                                               memory_order_relaxed)
                              + 1,
                          memory_order_relaxed);
    return continuation_resume(mp, c, value);
}

/* A tail call all the way down in ordinary builds: the frame that the switch
 * leaves is the caller's. */
__attribute__((always_inline)) static inline uintptr_t
continuation_yield(struct continuation *c, uintptr_t value)
{
    struct mount_point *mp = mount_point_self();
    if (unlikely(exceptions_any(mp->exceptions)))
        return mount_yield_handling(c, value);
    struct continuation *inner = mp->current;
    struct continuation *runner = c->link;
    c->link = inner;
    c->state = CONTINUATION_UNMOUNTED;
    mp->current = runner;
    return mount_change_stack(mp, inner, runner, value);
}

#endif
