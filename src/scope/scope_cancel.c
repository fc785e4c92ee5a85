/*
 * scope_cancel.c - cancelling scopes and all that is below them, by request
 * and at their deadlines.  See scope.c for why nothing slips through.
 */
#include "scope/scope_parts.h"

#include <errno.h>

#include "platform/clock.h"

/* ---- Cancelling --------------------------------------------------------- */

/* What join returns, unless that has been decided.  Under the lock. */
void scope_decide(vthread_scope_t *s, int outcome, uint32_t task)
{
    if (s->is_decided)
        return;
    s->is_decided = true;
    s->outcome = outcome;
    s->first = task;
}

/* True for the one who is to walk.  For children that have all ended the
 * cancel comes too late to be their outcome. */
bool scope_mark_cancelled(vthread_scope_t *s, int reason)
{
    int none = 0;
    /* Relaxed: the lock orders it, see scope.c. */
    if (!atomic_compare_exchange_strong_explicit(&s->cancelled, &none, reason,
                                                 memory_order_relaxed,
                                                 memory_order_relaxed))
        return false;
    os_lock_acquire(&s->lock);
    if (living(s) > 0 && reason != SCOPE_DECIDED)
        scope_decide(s, reason, VTHREAD_SCOPE_NO_TASK);
    os_lock_release(&s->lock);
    return true;
}

int scope_refuse(vthread_scope_t *s)
{
    /* Relaxed: see is_cancelled. */
    int reason = atomic_load_explicit(&s->cancelled, memory_order_relaxed);
    if (reason == 0)
        return 0;
    if (reason == SCOPE_DECIDED)
        return ECANCELED;
    scope_decide(s, reason, VTHREAD_SCOPE_NO_TASK);
    return reason;
}

int scope_refuse_early(vthread_scope_t *s)
{
    if (!is_cancelled(s))
        return 0;
    os_lock_acquire(&s->lock);
    int err = scope_refuse(s);
    os_lock_release(&s->lock);
    return err;
}

/* Cancels the children, and puts the scopes that they have open on the
 * list. */
static void walk_one(vthread_scope_t *s, vthread_scope_t **list)
{
    os_lock_acquire(&s->lock);
    for (struct child *c = s->children; c; c = c->next)
        if (!atomic_load_explicit(&c->has_ended, memory_order_relaxed))
            thread_cancel(c->thread);
    for (vthread_scope_t *sub = s->subs; sub; sub = sub->next) {
        if (!scope_mark_cancelled(sub, ECANCELED))
            continue;
        atomic_fetch_add_explicit(&sub->references, 1, memory_order_relaxed);
        sub->walk_next = *list;
        *list = sub;
    }
    os_lock_release(&s->lock);
}

/* The caller has marked it, and keeps it. */
static void walk(vthread_scope_t *s)
{
    vthread_scope_t *list = NULL;
    walk_one(s, &list);
    while (list) {
        vthread_scope_t *sub = list;
        list = sub->walk_next;
        walk_one(sub, &list);
        scope_release(sub);
    }
}

void scope_cancel(vthread_scope_t *s, int reason)
{
    if (scope_mark_cancelled(s, reason))
        walk(s);
}

int vthread_scope_cancel(vthread_scope_t *s)
{
    if (!s)
        return EINVAL;
    thread_refuse_child();
    scope_cancel(s, ECANCELED);
    return 0;
}

/* ---- The deadline ------------------------------------------------------- */

static void *watch(void *scope)
{
    vthread_scope_t *s = scope;
    if (vthread_sleep_until(s->options->attr.deadline_ns) == 0)
        scope_cancel(s, ETIMEDOUT);
    return NULL;
}

/* On the owner's scheduler: children that compute keep all the carriers of
 * theirs until they are told. */
static int start_watchdog(vthread_scope_t *s)
{
    vthread_attr_t watchdog = {.name = "scope deadline"};
    if (s->options->attr.deadline_ns <= clock_now_ns()) {
        scope_cancel(s, ETIMEDOUT);
        return scope_refuse_early(s);
    }
    return vthread_create(&s->options->watchdog, &watchdog, watch, s);
}

/* Before the first fork. */
int scope_ensure_watchdog(vthread_scope_t *s)
{
    struct options *options = s->options;
    if (likely(!options) || options->attr.deadline_ns == 0)
        return 0;
    os_lock_acquire(&s->lock);
    bool was_watched = options->is_watched;
    options->is_watched = true;
    os_lock_release(&s->lock);
    int err = was_watched ? 0 : start_watchdog(s);
    if (err != 0) {
        os_lock_acquire(&s->lock);
        options->is_watched = false;
        os_lock_release(&s->lock);
    }
    return err;
}

/* All children have ended, so nobody starts one.  Cancellation is masked. */
void scope_stop_watchdog(vthread_scope_t *s)
{
    if (!s->options || s->options->watchdog == 0)
        return;
    vthread_interrupt(s->options->watchdog);
    vthread_join(s->options->watchdog, NULL);
}
