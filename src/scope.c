/*
 * scope.c - structured concurrency: scopes, and the children that end before
 * they do.
 *
 * Not here: how a request to cancel meets a wait (vthread.c), the order of
 * things at the end of a thread (lifecycle.c), scoped values.
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
 * Cancel reaches everything below.  Whoever sets is_cancelled first (and
 * nobody else, ever) walks: under the scope's lock its children are
 * cancelled, by handle, and the scopes that they have open are marked and
 * put on the walker's list; then these are walked.  A list, not recursion:
 * scopes may nest deeper than a stack is.  A scope on the list is kept by a
 * reference, for its owner may close it meanwhile.  Nothing slips through:
 *
 *   fork    looks at is_cancelled and links the child under the lock that
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
#include "scope.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include <vthread/cancel.h>
#include <vthread/scope.h>

#include "escape.h"
#include "lifecycle.h"
#include "local.h"
#include "platform/clock.h"
#include "platform/futex.h"
#include "platform/memory.h"
#include "scoped_value.h"
#include "waitlist.h"

/* With the small ones within it a scope is as large as the allocator is
 * still quick about. */
#define SCOPE_BYTES 1024
#define TABLE_FIRST 12
#define CHILD_BYTES_MAX ((size_t)1 << 30)

/* Field letters: I before publication, L under the scope's lock, O the
 * child's thread or its carrier, A atomic. */
struct child {
    struct child *next, *prev;     /* L */
    vthread_scope_t *scope;        /* I */
    vthread_t thread;              /* I */
    int (*fn)(const void *args, void *result); /* I */
    uint32_t task;                 /* I: VTHREAD_SCOPE_NO_TASK: none */
    uint32_t args_bytes;           /* I */
    uint32_t result_bytes;         /* I */
    int error;                     /* O */
    bool is_block;                 /* I: a block of its own */
    bool has_returned;             /* O: its error counts */
    bool decides;                  /* O: it is in attr->decide */
    _Atomic bool has_ended;        /* A: error and result are there */
} __attribute__((aligned(16)));

/* What few scopes have. */
struct options {
    vthread_scope_attr_t attr;     /* I */
    char name[32];                 /* I */
    vthread_t watchdog;            /* L, then the owner's: 0: none */
    bool is_watched;               /* L */
    bool is_deciding;              /* L: a child is in attr.decide */
    struct waitlist deciders;      /* L: and these want to */
};

struct vthread_scope {
    struct os_lock lock;
    _Atomic uint32_t references;   /* A: the owner's, the walkers' */
    _Atomic uint32_t pending;      /* A: see above */
    _Atomic bool is_cancelled;     /* A */
    uint8_t policy;                /* I */
    bool is_decided;               /* L: outcome is what join returns */
    int outcome;                   /* L */
    int error;                     /* L: the first of a child */
    uint32_t first;                /* L: the task that decided */
    uint32_t count, capacity;      /* L: of the table */
    uint32_t space_used;           /* L */
    struct thread *owner;          /* I */
    vthread_scope_t *next_open;    /* the owner's: the one opened before */
    vthread_scope_t *parent;       /* I: which cancels it, or NULL */
    vthread_scope_t *subs;         /* L: scopes that children have opened */
    vthread_scope_t *next, *prev;  /* under the parent's lock: in its subs */
    vthread_scope_t *walk_next;    /* the walker's */
    struct child *children;        /* L: the last one is first */
    struct child **table;          /* L: by task */
    struct binding *bindings;      /* I */
    struct options *options;       /* I: NULL: all defaults */
    struct child *table_first[TABLE_FIRST];
    _Alignas(16) char space[];
};

/* ---- Children's memory -------------------------------------------------- */

static size_t align(size_t size, size_t alignment)
{
    return (size + alignment - 1) & ~(alignment - 1);
}

static void *args_of(struct child *c)
{
    return c->args_bytes > 0 ? c + 1 : NULL;
}

static void *result_of(struct child *c)
{
    char *after_args = (char *)(c + 1) + align(c->args_bytes, 16);
    return c->result_bytes > 0 ? after_args : NULL;
}

struct scope_call scope_call_of(struct child *c)
{
    return (struct scope_call){c->fn, args_of(c), result_of(c)};
}

static size_t child_size(size_t args_bytes, size_t result_bytes)
{
    return sizeof(struct child) + align(args_bytes, 16)
           + align(result_bytes, 16);
}

/* Of the scope itself, or NULL.  Under the lock. */
static struct child *take_space(vthread_scope_t *s, size_t size)
{
    if (size > SCOPE_BYTES - sizeof *s - s->space_used)
        return NULL;
    struct child *c = (struct child *)&s->space[s->space_used];
    s->space_used += (uint32_t)size;
    c->is_block = false;
    return c;
}

static struct child *new_block(size_t size)
{
    struct child *c = memory_alloc(size);
    if (c)
        c->is_block = true;
    return c;
}

/* Room for one more task in the table.  Under the lock; 0 or ENOMEM. */
static int grow_table(vthread_scope_t *s)
{
    if (s->count < s->capacity)
        return 0;
    struct child **table = memory_alloc(2 * s->capacity * sizeof *table);
    if (!table)
        return ENOMEM;
    memcpy(table, s->table, s->count * sizeof *table);
    if (s->table != s->table_first)
        memory_free(s->table);
    s->table = table;
    s->capacity *= 2;
    return 0;
}

/* ---- Lists; under the lock ---------------------------------------------- */

static void link_child(vthread_scope_t *s, struct child *c)
{
    c->prev = NULL;
    c->next = s->children;
    if (c->next)
        c->next->prev = c;
    s->children = c;
}

static void unlink_child(vthread_scope_t *s, struct child *c)
{
    if (c->prev)
        c->prev->next = c->next;
    else
        s->children = c->next;
    if (c->next)
        c->next->prev = c->prev;
}

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

/* ---- Who is who --------------------------------------------------------- */

static uint64_t word_of(const struct thread *t)
{
    /* Relaxed: its own flags, or those it has had from the beginning. */
    return atomic_load_explicit(&t->word, memory_order_relaxed);
}

static struct child *child_of(const struct thread *t)
{
    return word_of(t) & THREAD_CHILD ? t->argument : NULL;
}

struct binding *scope_bindings(const struct thread *t)
{
    struct child *c = child_of(t);
    return c ? c->scope->bindings : NULL;
}

/* The calling thread if it is the owner or a child; else NULL. */
static struct thread *find_member(vthread_scope_t *s)
{
    struct thread *self = local_thread(local_self());
    if (likely(self && self == s->owner))
        return self;
    thread_refuse_child();
    struct child *c = self ? child_of(self) : NULL;
    return c && c->scope == s ? self : NULL;
}

/* Acquires all that children who have ended did; pairs with the subtraction
 * in scope_child_ended. */
static uint32_t living(vthread_scope_t *s)
{
    return atomic_load_explicit(&s->pending, memory_order_acquire) / 2;
}

static bool is_cancelled(vthread_scope_t *s)
{
    /* Relaxed: an early answer, or under a lock; see the top. */
    return atomic_load_explicit(&s->is_cancelled, memory_order_relaxed);
}

/* ---- Cancelling --------------------------------------------------------- */

static void release(vthread_scope_t *s)
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

/* What join returns, unless that has been decided.  Under the lock. */
static void decide(vthread_scope_t *s, int outcome, uint32_t task)
{
    if (s->is_decided)
        return;
    s->is_decided = true;
    s->outcome = outcome;
    s->first = task;
}

/* True for the one who is to walk.  For children that have all ended the
 * cancel comes too late to be their outcome. */
static bool mark_cancelled(vthread_scope_t *s, int outcome)
{
    /* Relaxed: the lock orders it, see the top. */
    if (atomic_exchange_explicit(&s->is_cancelled, true,
                                 memory_order_relaxed))
        return false;
    os_lock_acquire(&s->lock);
    if (living(s) > 0)
        decide(s, outcome, VTHREAD_SCOPE_NO_TASK);
    os_lock_release(&s->lock);
    return true;
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
        if (!mark_cancelled(sub, ECANCELED))
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
        release(sub);
    }
}

static void cancel(vthread_scope_t *s, int outcome)
{
    if (mark_cancelled(s, outcome))
        walk(s);
}

int vthread_scope_cancel(vthread_scope_t *s)
{
    if (!s)
        return EINVAL;
    thread_refuse_child();
    cancel(s, ECANCELED);
    return 0;
}

/* ---- The deadline ------------------------------------------------------- */

static void *watch(void *scope)
{
    vthread_scope_t *s = scope;
    if (vthread_sleep_until(s->options->attr.deadline_ns) == 0)
        cancel(s, ETIMEDOUT);
    return NULL;
}

static int start_watchdog(vthread_scope_t *s)
{
    const vthread_scope_attr_t *attr = &s->options->attr;
    vthread_attr_t watchdog = {.name = "scope deadline",
                               .scheduler = attr->children.scheduler};
    if (attr->deadline_ns <= clock_now_ns()) {
        cancel(s, ETIMEDOUT);
        return ECANCELED;
    }
    return vthread_create(&s->options->watchdog, &watchdog, watch, s);
}

/* Before the first fork. */
static int ensure_watchdog(vthread_scope_t *s)
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
static void stop_watchdog(vthread_scope_t *s)
{
    if (!s->options || s->options->watchdog == 0)
        return;
    vthread_interrupt(s->options->watchdog);
    vthread_join(s->options->watchdog, NULL);
}

/* ---- The end of a child ------------------------------------------------- */

/* Waits for the child's turn to call attr->decide; the outcome so far. */
static int begin_decision(vthread_scope_t *s, struct thread *self)
{
    struct options *options = s->options;
    os_lock_acquire(&s->lock);
    if (options->is_deciding) {
        waitlist_append(&options->deciders, self);
        os_lock_release(&s->lock);
        thread_wait(self, VTHREAD_NEVER, false);
        os_lock_acquire(&s->lock);
    }
    options->is_deciding = true;
    int outcome = s->outcome;
    os_lock_release(&s->lock);
    return outcome;
}

static void end_decision(vthread_scope_t *s)
{
    struct options *options = s->options;
    os_lock_acquire(&s->lock);
    struct thread *next = waitlist_take_first(&options->deciders);
    options->is_deciding = next != NULL;
    os_lock_release(&s->lock);
    if (next)
        thread_wake(next);
}

/* True: the others are to be cancelled. */
static bool ask(vthread_scope_t *s, struct child *c)
{
    const vthread_scope_attr_t *attr = &s->options->attr;
    int outcome = begin_decision(s, thread_self());
    c->decides = true;
    bool is_enough = attr->decide(attr->decide_arg, c->task, c->error,
                                  &outcome);
    os_lock_acquire(&s->lock);
    if (!s->is_decided)
        s->outcome = outcome;
    if (is_enough)
        decide(s, outcome, c->task);
    os_lock_release(&s->lock);
    c->decides = false;
    end_decision(s);
    return is_enough;
}

/* The same for the other policies, where there is something to decide. */
static bool judge(vthread_scope_t *s, struct child *c)
{
    bool is_enough = (s->policy == VTHREAD_SCOPE_ALL && c->error != 0)
                     || (s->policy == VTHREAD_SCOPE_FIRST_SUCCESS
                         && c->error == 0);
    os_lock_acquire(&s->lock);
    if (is_enough)
        decide(s, c->error, c->task);
    if (s->error == 0 && c->error != 0) {
        s->error = c->error;
        if (!s->is_decided)
            s->first = c->task;
    }
    os_lock_release(&s->lock);
    return is_enough;
}

/* On the child's stack, when all of its own has been cleaned up. */
static void returns(struct child *c, int error)
{
    vthread_scope_t *s = c->scope;
    if (c->decides) /* it has left attr->decide by vthread_exit */
        end_decision(s);
    c->decides = false;
    if (c->has_returned)
        return;
    c->has_returned = true;
    c->error = error;
    bool is_enough = false;
    if (unlikely(s->policy == VTHREAD_SCOPE_CUSTOM))
        is_enough = ask(s, c);
    else if (error != 0 || s->policy == VTHREAD_SCOPE_FIRST_SUCCESS)
        is_enough = judge(s, c);
    if (is_enough)
        cancel(s, 0); /* the outcome has been decided */
}

void *scope_child_returns(struct thread *self, int error)
{
    struct child *c = child_of(self);
    returns(c, error);
    return c;
}

void *scope_child_exits(struct thread *self, void *result)
{
    if (!child_of(self))
        return result;
    return scope_child_returns(self, (int)(intptr_t)result);
}

void scope_child_ended(struct child *c)
{
    vthread_scope_t *s = c->scope;
    struct thread *owner = s->owner;
    if (c->task != VTHREAD_SCOPE_NO_TASK) {
        /* Publishes error and result; pairs with vthread_scope_result. */
        atomic_store_explicit(&c->has_ended, true, memory_order_release);
    } else {
        os_lock_acquire(&s->lock);
        unlink_child(s, c);
        os_lock_release(&s->lock);
        if (c->is_block)
            memory_free(c);
    }
    /* Releases all that the child did, acquires the owner's 1.  Pairs with
     * wait_for_children and living. */
    if (atomic_fetch_sub_explicit(&s->pending, 2, memory_order_acq_rel) == 3)
        thread_wake(owner);
}

/* ---- Forking ------------------------------------------------------------ */

/* Each word that is an address on a stack is as an argument by itself. */
static int check_args(const struct thread *self, const void *args,
                      size_t args_bytes)
{
    const void *word;
    int err = 0;
    for (size_t i = 0; err == 0 && i + sizeof word <= args_bytes;
         i += sizeof word) {
        memcpy(&word, (const char *)args + i, sizeof word);
        if (unlikely(continuation_contains(&self->continuation, word)
                     || run_stack_is_common_address(word)))
            err = escape_check(word, "vthread_scope_fork");
    }
    return err;
}

static void fill(struct child *c, const struct child *model,
                 const void *args)
{
    bool is_block = c->is_block;
    *c = *model;
    c->is_block = is_block;
    if (args_of(c))
        memcpy(args_of(c), args, c->args_bytes);
    /* A call is dear for what is mostly a number. */
    if (c->result_bytes > 16)
        memset(result_of(c), 0, c->result_bytes);
    else if (c->result_bytes > 0)
        memset(result_of(c), 0, 16);
}

/* NULL without memory.  Under the lock, which it releases for the allocator
 * and for large copies. */
static struct child *new_child(vthread_scope_t *s, const struct child *model,
                               const void *args)
{
    size_t size = child_size(model->args_bytes, model->result_bytes);
    struct child *c = take_space(s, size);
    if (c) {
        fill(c, model, args);
        return c;
    }
    os_lock_release(&s->lock);
    c = new_block(size);
    if (c)
        fill(c, model, args);
    os_lock_acquire(&s->lock);
    return c;
}

/* Takes a task in the table.  Under the lock; 0 or ENOMEM. */
static int take_task(vthread_scope_t *s, struct child *c)
{
    int err = grow_table(s);
    if (err == 0) {
        c->task = s->count;
        s->table[s->count++] = c;
    }
    return err;
}

/* Makes the child known to the scope, if that still takes any. */
static int admit(vthread_scope_t *s, struct child *c, bool has_task)
{
    int err = is_cancelled(s) ? ECANCELED : 0;
    c->task = VTHREAD_SCOPE_NO_TASK;
    if (err == 0 && has_task)
        err = take_task(s, c);
    if (err != 0)
        return err;
    link_child(s, c);
    atomic_fetch_add_explicit(&s->pending, 2, memory_order_relaxed);
    return 0;
}

/* Its thread could not be started after all.  The caller is a member, so the
 * owner does not wait for the last child. */
static void expel(vthread_scope_t *s, struct child *c)
{
    os_lock_acquire(&s->lock);
    unlink_child(s, c);
    if (c->task != VTHREAD_SCOPE_NO_TASK)
        s->table[c->task] = NULL;
    os_lock_release(&s->lock);
    atomic_fetch_sub_explicit(&s->pending, 2, memory_order_relaxed);
}

/* Puts the child in and starts its thread, or frees both. */
static int start_child(vthread_scope_t *s, struct child *c, struct thread *t,
                       uint32_t *task)
{
    uint32_t number;
    c->thread = thread_handle(t);
    t->argument = c;
    int err = admit(s, c, task != NULL);
    number = c->task;
    os_lock_release(&s->lock);
    if (err == 0 && (err = lifecycle_start_child(t)) != 0)
        expel(s, c);
    if (err == 0 && task)
        *task = number;
    if (err != 0) {
        lifecycle_discard_child(t);
        if (c->is_block)
            memory_free(c);
    }
    return err;
}

/* Everything is in order but for memory. */
static int fork_child(vthread_scope_t *s, uint32_t *task,
                      const struct child *model, const void *args)
{
    static const vthread_attr_t defaults;
    struct thread *t;
    int err = lifecycle_new_child(
        &t, s->options ? &s->options->attr.children : &defaults,
        (void *(*)(void *))(void (*)(void))model->fn);
    if (err != 0)
        return err;
    os_lock_acquire(&s->lock);
    struct child *c = new_child(s, model, args);
    if (c)
        return start_child(s, c, t, task);
    os_lock_release(&s->lock);
    lifecycle_discard_child(t);
    return ENOMEM;
}

int vthread_scope_fork(vthread_scope_t *s, uint32_t *task,
                       int (*fn)(const void *args, void *result),
                       const void *args, size_t args_bytes,
                       size_t result_bytes)
{
    if (!s || !fn || (!args && args_bytes > 0)
        || args_bytes > CHILD_BYTES_MAX || result_bytes > CHILD_BYTES_MAX)
        return EINVAL;
    struct thread *self = find_member(s);
    if (!self)
        return EPERM;
    int err = is_cancelled(s) ? ECANCELED : check_args(self, args, args_bytes);
    if (err == 0)
        err = ensure_watchdog(s);
    if (err != 0)
        return err;
    struct child model = {
        .scope = s,
        .fn = fn,
        .args_bytes = (uint32_t)args_bytes,
        .result_bytes = (uint32_t)result_bytes,
    };
    return fork_child(s, task, &model, args);
}

/* ---- Joining ------------------------------------------------------------ */

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
    self->wait_on = s;
    int err = thread_wait(self, deadline_ns, cancellable);
    if (err != 0)
        err = stop_waiting(s, self, err);
    self->wait_on = NULL;
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
        mark_cancelled(s, ECANCELED);
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
        cancel(s, ECANCELED);
        wait_for_children(s, VTHREAD_NEVER, false);
    }
    if (s->options) {
        bool is_masked = vthread_cancel_disable() == 0;
        stop_watchdog(s);
        if (is_masked)
            vthread_cancel_enable();
    }
    if (s->parent) {
        os_lock_acquire(&s->parent->lock);
        unlink_sub(s->parent, s);
        os_lock_release(&s->parent->lock);
    }
    take_off(extra, s);
    release(s);
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
