/*
 * scope.c - structured concurrency: scopes, and the children that end before
 * they do.
 *
 * Here: opening, joining, closing; the rest is in scope_child.c (forking, the
 * end of a child) and scope_cancel.c (cancelling, deadlines).
 *
 * In none of them: how a request to cancel meets a wait (vthread.c), the
 * order of things at the end of a thread (lifecycle.c), scoped values.
 *
 *   owner --extra->scopes--> scope --tasks--> child --> child --> .
 *                              |  ^             |
 *                         subs |  | parent      | its thread, by handle
 *                              v  |             v
 *                            scope of a child, whose thread has it open
 *
 * A child is one block: links, arguments, result.  Small ones lie in the
 * scope itself as long as there is room, so a scope of ten children takes
 * one or two requests to the allocator; a thread names its child in
 * thread->argument.
 *
 * The end of a scope.  `pending` is twice the number of children that have
 * not ended, plus 1 while the owner waits for them.  A child takes 2 off as
 * its very last act, on its carrier after its stack has been left; if that
 * leaves just the 1, it wakes the owner.  After the last subtraction nobody
 * but the owner touches the scope, so it may be freed at once.
 *
 * Cancel reaches everything below.  Whoever sets `cancelled` first (and
 * nobody else, ever) walks: under the scope's lock its children are
 * cancelled, by handle, and the scopes that they have open are marked and
 * put on the walker's list; then these are walked.  A list, not recursion:
 * scopes may nest deeper than a stack is.  A scope on the list is kept by a
 * reference, for its owner may close it meanwhile.  Nothing slips through:
 *
 *   fork    looks at `cancelled` and links the child under the lock that
 *           the walk takes after it has been set
 *   open    links the scope under its parent's lock, then looks at its own
 *           thread's CANCEL, which the walk sets under that lock
 *
 * Deadlines.  A scope with one has a watchdog: a virtual thread that sleeps
 * until then and cancels, started by the first fork.  So the deadline comes
 * while the owner computes, or waits for something else.  Rejected: the
 * deadline in the owner's join, which it may never reach; a timer for the
 * scope itself, a second kind of node in the wheel, for which every other
 * timer would pay.  It costs a sleeping thread, 256 bytes.
 */
#include "scope/scope_parts.h"

#include <errno.h>

#include <vthread/cancel.h>

#include "escape.h"
#include "lifecycle.h"
#include "platform/memory.h"
#include "scope/scoped_value.h"

struct binding *scope_bindings(const struct thread *t)
{
    struct child *c = child_of(t);
    return c ? c->scope->bindings : NULL;
}

/* ---- Joining ------------------------------------------------------------ */

bool scope_has_no_children(const struct waitlist *joining)
{
    const vthread_scope_t *s =
        (const vthread_scope_t *)((const char *)joining
                                  - offsetof(vthread_scope_t, joining));
    /* Relaxed: for reports. */
    return atomic_load_explicit(&s->pending, memory_order_relaxed) < 2;
}

/* The wait has ended early.  0: the last child was quicker. */
static int stop_waiting(vthread_scope_t *s, struct thread *self, int err)
{
    uint32_t pending = atomic_load_explicit(&s->pending,
                                            memory_order_relaxed);
    while (pending > 1)
        if (atomic_compare_exchange_weak_explicit(
                &s->pending, &pending, pending & ~1u, memory_order_relaxed,
                memory_order_relaxed))
            return err;
    thread_wait_out(self, err);
    return 0;
}

/* Until all have ended: 0; ETIMEDOUT; ECANCELED if cancellable. */
static int wait_for_children(vthread_scope_t *s, uint64_t deadline_ns,
                             bool cancellable)
{
    struct thread *self = s->owner;
    /* Acquires what children did who have ended, as in scope_child_ended;
     * release for the one who will wake it. */
    if (atomic_fetch_or_explicit(&s->pending, 1, memory_order_acq_rel) < 2) {
        atomic_store_explicit(&s->pending, 0, memory_order_relaxed);
        return 0;
    }
    /* Relaxed: for reports. */
    atomic_store_explicit(&self->wait_on, &s->joining, memory_order_relaxed);
    int err = thread_wait(self, deadline_ns, cancellable);
    if (err != 0)
        err = stop_waiting(s, self, err);
    atomic_store_explicit(&self->wait_on, NULL, memory_order_relaxed);
    if (err == 0)
        /* They have all ended: relaxed, thread_wake has ordered it. */
        atomic_store_explicit(&s->pending, 0, memory_order_relaxed);
    return err;
}

/* All have ended. */
static int outcome_of(vthread_scope_t *s)
{
    if (s->is_decided || s->policy == VTHREAD_SCOPE_CUSTOM)
        return s->outcome;
    if (s->policy == VTHREAD_SCOPE_FIRST_SUCCESS && s->error == 0)
        return ECHILD;
    return s->error;
}

int vthread_scope_join_until(vthread_scope_t *s, uint64_t deadline_ns)
{
    if (!s)
        return EINVAL;
    if (thread_self() != s->owner)
        return EPERM;
    int err = living(s) > 0 ? wait_for_children(s, deadline_ns, true) : 0;
    if (err != 0)
        return err;
    os_lock_acquire(&s->lock);
    err = outcome_of(s);
    os_lock_release(&s->lock);
    return err;
}

int vthread_scope_join(vthread_scope_t *s)
{
    return vthread_scope_join_until(s, VTHREAD_NEVER);
}

/* The table may be growing, unless no child is left that would fork. */
static struct child *find_task(vthread_scope_t *s, uint32_t task)
{
    bool is_quiet = living(s) == 0;
    if (!is_quiet)
        os_lock_acquire(&s->lock);
    struct child *c = task < s->count ? s->table[task] : NULL;
    if (!is_quiet)
        os_lock_release(&s->lock);
    return c;
}

int vthread_scope_result(vthread_scope_t *s, uint32_t task, void *result,
                         size_t size_bytes)
{
    if (!s)
        return EINVAL;
    if (!find_member(s))
        return EPERM;
    struct child *c = find_task(s, task);
    if (!c || c->result_bytes != size_bytes || (!result && size_bytes > 0))
        return EINVAL;
    /* Acquires error and result; pairs with scope_child_ended. */
    if (!atomic_load_explicit(&c->has_ended, memory_order_acquire))
        return EAGAIN;
    if (c->error == 0 && size_bytes > 0)
        memcpy(result, result_of(c), size_bytes);
    return c->error;
}

int vthread_scope_first(vthread_scope_t *s, uint32_t *task)
{
    if (!s || !task)
        return EINVAL;
    os_lock_acquire(&s->lock);
    uint32_t first = s->first;
    os_lock_release(&s->lock);
    if (first == VTHREAD_SCOPE_NO_TASK)
        return ESRCH;
    *task = first;
    return 0;
}

/* ---- Opening and closing ------------------------------------------------ */

static void link_sub(vthread_scope_t *parent, vthread_scope_t *s)
{
    s->prev = NULL;
    s->next = parent->subs;
    if (s->next)
        s->next->prev = s;
    parent->subs = s;
}

static void unlink_sub(vthread_scope_t *parent, vthread_scope_t *s)
{
    if (s->prev)
        s->prev->next = s->next;
    else
        parent->subs = s->next;
    if (s->next)
        s->next->prev = s->prev;
}

void scope_release(vthread_scope_t *s)
{
    /* Release what was done to it, acquire what others did: the last one
     * frees it. */
    if (atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel)
        > 1)
        return;
    for (struct child *c = s->children, *next; c; c = next) {
        next = c->next;
        if (c->is_block)
            memory_free(c);
    }
    if (s->table != s->table_first)
        memory_free(s->table);
    scoped_value_release(s->bindings);
    memory_free(s->options);
    memory_free(s);
}

static bool is_valid(const vthread_scope_attr_t *attr)
{
    return attr->policy <= VTHREAD_SCOPE_CUSTOM && attr->reserved == 0
           && (attr->policy == VTHREAD_SCOPE_CUSTOM) == (attr->decide != NULL)
           && lifecycle_is_valid(&attr->children)
           && !(attr->children.flags & VTHREAD_DETACHED);
}

static bool is_default(const vthread_scope_attr_t *attr)
{
    const vthread_attr_t *children = &attr->children;
    return attr->deadline_ns == 0 && !attr->decide && !children->name
           && children->stack_size_bytes == 0 && children->flags == 0
           && !children->scheduler;
}

static struct options *new_options(const vthread_scope_attr_t *attr)
{
    struct options *options = memory_alloc(sizeof *options);
    if (!options)
        return NULL;
    memset(options, 0, sizeof *options);
    options->attr = *attr;
    if (attr->children.name) {
        strncpy(options->name, attr->children.name, sizeof options->name - 1);
        options->attr.children.name = options->name;
    }
    return options;
}

/* As the scope above has it; after it has been linked there. */
static void inherit_cancel(vthread_scope_t *s, const struct thread *owner)
{
    os_lock_acquire(&s->parent->lock);
    link_sub(s->parent, s);
    /* Under the lock: see the top. */
    bool is_late = word_of(owner) & THREAD_CANCEL;
    os_lock_release(&s->parent->lock);
    if (is_late)
        scope_mark_cancelled(s, ECANCELED);
}

static vthread_scope_t *new_scope(struct thread *self,
                                  const vthread_scope_attr_t *attr)
{
    vthread_scope_t *s = memory_alloc(SCOPE_BYTES);
    struct options *options = NULL;
    if (!s)
        return NULL;
    if (!is_default(attr) && (options = new_options(attr)) == NULL) {
        memory_free(s);
        return NULL;
    }
    memset(s, 0, offsetof(vthread_scope_t, table_first));
    s->references = 1;
    s->joining.kind = WAIT_SCOPE;
    s->policy = (uint8_t)attr->policy;
    s->first = VTHREAD_SCOPE_NO_TASK;
    s->capacity = TABLE_FIRST;
    s->table = s->table_first;
    s->owner = self;
    s->options = options;
    s->bindings = scoped_value_capture(self);
    return s;
}

int vthread_scope_open(vthread_scope_t **scope,
                       const vthread_scope_attr_t *attr)
{
    static const vthread_scope_attr_t defaults;
    if (!attr)
        attr = &defaults;
    if (!scope || !is_valid(attr))
        return EINVAL;
    int err = escape_check(attr->decide_arg, "vthread_scope_open");
    if (err != 0)
        return err;
    struct thread *self = thread_self();
    struct thread_extra *extra = self ? thread_make_extra(self) : NULL;
    vthread_scope_t *s = extra ? new_scope(self, attr) : NULL;
    if (!s)
        return ENOMEM;
    s->next_open = extra->scopes;
    extra->scopes = s;
    struct child *c = child_of(self);
    if (c && !(word_of(self) & THREAD_MASKED)) {
        s->parent = c->scope;
        inherit_cancel(s, self);
    }
    *scope = s;
    return 0;
}

static void take_off(struct thread_extra *extra, vthread_scope_t *s)
{
    vthread_scope_t **link = &extra->scopes;
    while (*link != s)
        link = &(*link)->next_open;
    *link = s->next_open;
}

static void close_scope(struct thread_extra *extra, vthread_scope_t *s)
{
    if (living(s) > 0) {
        scope_cancel(s, ECANCELED);
        wait_for_children(s, VTHREAD_NEVER, false);
    }
    if (s->options) {
        bool is_masked = vthread_cancel_disable() == 0;
        scope_stop_watchdog(s);
        if (is_masked)
            vthread_cancel_enable();
    }
    if (s->parent) {
        os_lock_acquire(&s->parent->lock);
        unlink_sub(s->parent, s);
        os_lock_release(&s->parent->lock);
    }
    take_off(extra, s);
    scope_release(s);
}

int vthread_scope_close(vthread_scope_t *s)
{
    if (!s)
        return EINVAL;
    struct thread *self = thread_self();
    if (self != s->owner)
        return EPERM;
    close_scope(thread_extra(self), s);
    return 0;
}

void scope_close_all(struct thread_extra *extra)
{
    while (extra->scopes)
        close_scope(extra, extra->scopes);
}
