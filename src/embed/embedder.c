/*
 * embedder.c - the language machine that embeds the library: what it is told,
 * and the pointer that each thread has for it.
 *
 * The pointer is among the rare things of a thread, so threads of programs
 * that embed nothing are no larger for it.  It is the thread's own, but before
 * the first mount, when it is the creator's.
 *
 * Not here: time slices (safepoint.c), stopping the world (world.c), stacks
 * (stack.c).
 */
#include "embed/embedder.h"

#include <errno.h>
#include <stddef.h>

#include "continuation/continuation.h"
#include "continuation/watch.h"
#include "embed/gc.h"
#include "embed/world.h"
#include "lifecycle.h"
#include "local.h"
#include "platform/memory.h"
#include "scheduler.h"
#include "thread.h"

const vthread_embedder_t *embedder;

static vthread_embedder_t copy;

/* ---- Mounting ----------------------------------------------------------- */

/* NULL: nothing that the machine knows of. */
static void *user_of(const struct continuation *c)
{
    if (!lifecycle_is_thread(c))
        return NULL;
    const struct thread_extra *extra
        = thread_extra(thread_of_continuation((struct continuation *)c));
    return extra ? extra->user : NULL;
}

static void mounting(struct continuation *c)
{
    void *user = user_of(c);
    if (user && copy.mounting)
        copy.mounting(user);
}

static void unmounted(struct continuation *c)
{
    void *user = user_of(c);
    if (!user)
        return;
    if (copy.unmounted)
        copy.unmounted(user);
    if (c->state == CONTINUATION_DONE)
        embedder_ended(thread_extra(thread_of_continuation(c)));
}

static const struct watcher watcher = {.mounting = mounting,
                                       .unmounted = unmounted};

/* ---- Saying so ---------------------------------------------------------- */

static bool is_valid(const vthread_embedder_t *e)
{
    for (size_t i = 0; i < sizeof e->reserved / sizeof *e->reserved; i++)
        if (e->reserved[i] != 0)
            return false;
    return !(e->flags & ~VTHREAD_EMBED_WORLD) && !e->alloc == !e->free
           && !e->reserve_threads == !e->commit_threads
           && (e->time_slice_ns == 0 || e->time_slice_ns >= VTHREAD_MS);
}

int vthread_embed(const vthread_embedder_t *e)
{
    if (!e || !is_valid(e))
        return EINVAL;
    if (embedder || scheduler_has_engine())
        return EBUSY;
    if ((e->flags & VTHREAD_EMBED_WORLD || e->alloc) && gc_is_on())
        return ENOTSUP;
    if (!memory_set_source(&(struct memory_source){
            e->alloc, e->free, e->reserve_threads, e->commit_threads}))
        return EBUSY;
    copy = *e;
    embedder = &copy;
    if (copy.mounting || copy.unmounted || copy.ended)
        watch_begin(WATCH_EMBED, &watcher);
    if (copy.flags & VTHREAD_EMBED_WORLD)
        world_start();
    return 0;
}

/* ---- The user pointer --------------------------------------------------- */

static void *user_of_caller(void)
{
    struct thread *self = local_thread(local_self());
    const struct thread_extra *extra = self ? thread_extra(self) : NULL;
    return extra ? extra->user : NULL;
}

void *vthread_user(void)
{
    return user_of_caller();
}

int vthread_set_user(void *user)
{
    struct thread *self = thread_self();
    struct thread_extra *extra = self ? thread_extra(self) : NULL;
    if (self && !extra && user)
        extra = thread_make_extra(self);
    if (!extra)
        return user || !self ? ENOMEM : 0;
    extra->user = user;
    return 0;
}

int embedder_created(struct thread *t)
{
    void *user = user_of_caller();
    if (embedder->created)
        user = embedder->created(user);
    if (!user)
        return 0;
    struct thread_extra *extra = thread_make_extra(t);
    if (extra)
        extra->user = user;
    else if (embedder->created && embedder->ended)
        embedder->ended(user);
    return extra ? 0 : ENOMEM;
}

void embedder_ended(struct thread_extra *extra)
{
    void *user = extra->user;
    if (!user || !embedder)
        return;
    if (embedder->ended)
        embedder->ended(user);
    extra->user = NULL;
}
