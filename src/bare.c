/*
 * bare.c - <vthread/continuation.h>: the engine without threads.
 *
 * Here is what a bare continuation has besides: a scope, and a word that
 * says whether it may be run, so that running it twice at once is an error
 * and not a disaster.
 */
#include <errno.h>
#include <string.h>

#include <vthread.h>

#include "continuation/mount.h"
#include "embed/roots.h"
#include "embed/walk.h"
#include "inspect/held.h"
#include "lifecycle.h"
#include "platform/fault.h"
#include "platform/memory.h"
#include "platform/panic.h"
#include "scheduler.h"
#include "thread.h"

enum bare_state { BARE_READY, BARE_RUNNING, BARE_DONE };

struct vthread_continuation {
    struct continuation continuation;
    const void *scope;
    void (*fn)(void *);
    void *argument;
    _Atomic int state; /* A: enum bare_state */
    struct roots_link link;
};

static struct vthread_continuation *bare_of(const struct continuation *c)
{
    return (struct vthread_continuation *)c;
}

static void bare_main(void *continuation)
{
    struct vthread_continuation *c = continuation;
    continuation_begun(&c->continuation);
    if (watch_any())
        watch_arrived(&c->continuation);
    c->fn(c->argument);
    if (c->continuation.pins > 0)
        held_continuation_ends(&c->continuation);
    if (watch_any())
        watch_leaving(&c->continuation);
    continuation_end(&c->continuation, 0);
}

/* What ran it has ended, and it with that. */
static void bare_abandon(struct continuation *c)
{
    atomic_store_explicit(&bare_of(c)->state, BARE_DONE,
                          memory_order_release);
}

static void bare_describe(const struct continuation *c, char *buffer,
                          size_t size_bytes)
{
    format_text(buffer, size_bytes, "continuation %p (function %p)",
                (const void *)c, (void *)bare_of(c)->fn);
}

static const struct continuation_kind bare_kind = {
    .main = bare_main,
    .abandon = bare_abandon,
    .describe = bare_describe,
};

/* ---- Life --------------------------------------------------------------- */

static bool is_valid(const vthread_continuation_attr_t *attr)
{
    return lifecycle_is_stack_size(attr->stack_size_bytes)
           && !(attr->flags & ~VTHREAD_STACK_OWN) && attr->reserved == 0;
}

static int set_home(struct vthread_continuation *c,
                    const vthread_continuation_attr_t *attr)
{
    if (!(attr->flags & VTHREAD_STACK_OWN)
        && attr->stack_size_bytes <= VTHREAD_STACK_SIZE_DEFAULT
        && !continuation_current())
        return 0;
    c->continuation.flags |= CONTINUATION_WANTS_OWN;
    return continuation_take_own_home(&c->continuation,
                                      attr->stack_size_bytes);
}

int vthread_continuation_create(vthread_continuation_t **result,
                                const vthread_continuation_attr_t *attr,
                                void (*fn)(void *), void *arg)
{
    static const vthread_continuation_attr_t defaults;
    if (!attr)
        attr = &defaults;
    if (!result || !fn || !is_valid(attr))
        return EINVAL;
    int err = scheduler_start_engine();
    if (err != 0)
        return err;
    struct vthread_continuation *c = memory_alloc(sizeof *c);
    if (!c)
        return ENOMEM;
    memset(c, 0, sizeof *c);
    c->scope = attr->scope;
    c->fn = fn;
    c->argument = arg;
    continuation_setup(&c->continuation, &bare_kind);
    err = set_home(c, attr);
    if (err == 0) {
        roots_add(&c->link, &c->continuation);
        *result = c;
        return 0;
    }
    continuation_teardown(&c->continuation);
    memory_free(c);
    return err;
}

int vthread_continuation_destroy(vthread_continuation_t *c)
{
    if (!c)
        return 0;
    if (c->continuation.state == CONTINUATION_MOUNTED
        || atomic_load_explicit(&c->state, memory_order_acquire)
               == BARE_RUNNING)
        return EBUSY;
    roots_remove(&c->link);
    continuation_teardown(&c->continuation);
    memory_free(c);
    return 0;
}

/* ---- Running ------------------------------------------------------------ */

/* Takes the right to run it. */
static int take(struct vthread_continuation *c)
{
    int state = BARE_READY;
    /* Acquires what the last run did; pairs with leave. */
    if (atomic_compare_exchange_strong_explicit(&c->state, &state,
                                                BARE_RUNNING,
                                                memory_order_acquire,
                                                memory_order_relaxed))
        return 0;
    return state == BARE_DONE ? ESRCH : EBUSY;
}

static void leave(struct vthread_continuation *c)
{
    bool is_done = c->continuation.state == CONTINUATION_DONE;
    atomic_store_explicit(&c->state, is_done ? BARE_DONE : BARE_READY,
                          memory_order_release);
}

/* An OS thread runs its first continuation. */
static bool enter(void)
{
    if (!thread_self())
        return false;
    continuation_thread_enter();
    /* Without an alternate stack an overflow is fatal without words. */
    (void)fault_thread_enter();
    return true;
}

/* What runs inside another stays mounted, and its home claimed, while that
 * one is parked: so its home must be its own. */
static bool may_nest(struct continuation *c)
{
    if (!continuation_current() || c->flags & CONTINUATION_HAS_OWN)
        return true;
    c->flags |= CONTINUATION_WANTS_OWN;
    return c->home == NULL; /* it gets one at the first mount */
}

/* Has the yield that it goes on from return `told`. */
static int run(struct vthread_continuation *c, int told)
{
    if (unlikely(!mount_point_self()->is_entered) && !enter())
        return ENOMEM;
    int err = take(c);
    if (err != 0)
        return err;
    if (!may_nest(&c->continuation)
        || (told != 0 && c->continuation.state == CONTINUATION_NEW)) {
        leave(c);
        return EPERM;
    }
    uintptr_t value = (uintptr_t)told;
    /* What the caller handles is no business of c's. */
    struct exceptions handled
        = exceptions_take(mount_point_self()->exceptions);
    enum run_status status = continuation_run(mount_point_self(),
                                              &c->continuation, NULL, &value);
    while (status == RUN_UNSETTLED) {
        /* The yield goes back to who called it, with ENOMEM. */
        value = ENOMEM;
        status = continuation_resume(mount_point_self(), &c->continuation,
                                     &value);
    }
    exceptions_put(mount_point_self()->exceptions, &handled);
    leave(c);
    switch (status) {
    case RUN_BUSY:
        return EAGAIN;
    case RUN_NO_MEMORY:
        return ENOMEM;
    default:
        return 0;
    }
}

int vthread_continuation_run(vthread_continuation_t *c)
{
    return c ? run(c, 0) : EINVAL;
}

int vthread_continuation_cancel(vthread_continuation_t *c, int error)
{
    return c && error > 0 ? run(c, error) : EINVAL;
}

int vthread_continuation_walk(vthread_continuation_t *c, vthread_frame_fn *fn,
                              void *arg)
{
    if (!c || !fn)
        return EINVAL;
    if (unlikely(!mount_point_self()->is_entered) && !enter())
        return ENOMEM;
    int err = take(c);
    if (err != 0)
        return err;
    err = walk_frames(&c->continuation, fn, arg);
    leave(c);
    return err == EBUSY ? EAGAIN : err;
}

/* A thread is not a bare continuation: its scope is its scheduler's. */
static struct continuation *find(const void *scope)
{
    struct continuation *c = continuation_current();
    while (c && (c->kind != &bare_kind || bare_of(c)->scope != scope))
        c = c->link;
    return c;
}

/* Out of line, for the yield below is a tail call. */
__attribute__((noinline, cold)) static int
yield_watched(struct continuation *c)
{
    watch_leaving(c);
    int value = (int)continuation_yield(c, 0);
    watch_arrived(c);
    return value;
}

int vthread_continuation_yield(const void *scope)
{
    struct continuation *c = find(scope);
    if (!c)
        return EINVAL;
    if (mount_is_pinned(mount_point_self(), c))
        return EBUSY;
    if (watch_any())
        return yield_watched(c);
    return (int)continuation_yield(c, 0);
}

bool vthread_continuation_is_done(const vthread_continuation_t *c)
{
    return atomic_load_explicit(&c->state, memory_order_acquire)
           == BARE_DONE;
}

vthread_continuation_t *vthread_continuation_current(const void *scope)
{
    struct continuation *c = find(scope);
    return c ? bare_of(c) : NULL;
}

int vthread_continuation_pin(void)
{
    struct continuation *c = continuation_current();
    if (!c)
        return EPERM;
    if (c->pins == UINT16_MAX)
        return EAGAIN;
    c->pins++;
    held_pin(NULL, __builtin_return_address(0));
    return 0;
}

int vthread_continuation_unpin(void)
{
    struct continuation *c = continuation_current();
    if (!c || c->pins == 0)
        return EPERM;
    c->pins--;
    held_unpin();
    return 0;
}
