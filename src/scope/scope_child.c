/*
 * scope_child.c - the children of scopes: forking them, and their end.
 *
 * A child is one block: links, arguments, result.  Small ones lie in the
 * scope itself as long as there is room.  See scope.c for the whole.
 */
#include "scope/scope_parts.h"

#include <errno.h>

#include "escape.h"
#include "lifecycle.h"
#include "platform/memory.h"
#include "platform/sanitizer.h"

/* ---- Memory, and the list; under the lock ------------------------------- */

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

const void *scope_of_child(const struct thread *t)
{
    struct child *c = child_of(t);
    return c ? c->scope : NULL;
}

struct scope_call scope_call_of(struct child *c)
{
    return (struct scope_call){c->fn, args_of(c), result_of(c)};
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
        thread_wait_for(self, FOR_SCOPE, VTHREAD_NEVER, false);
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
        scope_decide(s, outcome, c->task);
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
        scope_decide(s, c->error, c->task);
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
        scope_cancel(s, SCOPE_DECIDED);
    /* What attr->decide has left behind: its scopes end before this one. */
    if (unlikely(s->policy == VTHREAD_SCOPE_CUSTOM))
        thread_finish(thread_self());
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
        sanitizer_defined(&word, sizeof word); /* padding is looked at, too */
        if (unlikely(escape_is_suspect(self, word)))
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
    int err = scope_refuse(s);
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
    int err = scope_refuse_early(s);
    if (err == 0)
        err = check_args(self, args, args_bytes);
    if (err == 0)
        err = scope_ensure_watchdog(s);
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
