/*
 * scoped_value.c - bindings of scoped values.
 *
 *   extra->bindings --> [key, value] --> [key, value] --> 0
 *                         own              inherited, or own
 *
 * An immutable list, the last binding first.  A thread's own bindings come
 * before those that it has inherited, which are its scope's; a scope keeps
 * the list that it has captured alive.  References: one for the run that
 * made the binding, one for each binding before it, one for each scope.
 *
 * Bindings are on the heap: a thread that looks through them may do so while
 * the one that made them is parked, and its frames are elsewhere.
 */
#include "scope/scoped_value.h"

#include <errno.h>
#include <stdatomic.h>

#include <vthread/scoped_value.h>

#include "escape.h"
#include "local.h"
#include "platform/memory.h"
#include "scope/scope.h"

struct binding {
    _Atomic uint32_t references;
    const vthread_scoped_t *key;
    void *value;
    struct binding *outer;
};

static struct binding *bindings_of(struct thread *self)
{
    struct thread_extra *extra = thread_extra(self);
    return extra && extra->bindings ? extra->bindings : scope_bindings(self);
}

static struct binding *reference(struct binding *binding)
{
    /* Relaxed: who gets one has one, or its scope has. */
    if (binding)
        atomic_fetch_add_explicit(&binding->references, 1,
                                  memory_order_relaxed);
    return binding;
}

struct binding *scoped_value_capture(struct thread *self)
{
    return reference(bindings_of(self));
}

void scoped_value_release(struct binding *binding)
{
    /* Release what was read, acquire what others have: the last one frees
     * it. */
    while (binding
           && atomic_fetch_sub_explicit(&binding->references, 1,
                                        memory_order_acq_rel)
                  == 1) {
        struct binding *outer = binding->outer;
        memory_free(binding);
        binding = outer;
    }
}

static int check(const vthread_scoped_t *key, void *value)
{
    int err = escape_check(key, "vthread_scoped_run");
    return err != 0 ? err : escape_check(value, "vthread_scoped_run");
}

int vthread_scoped_run(const vthread_scoped_t *key, void *value,
                       void (*fn)(void *arg), void *arg)
{
    if (!key || !fn)
        return EINVAL;
    struct thread *self = thread_self();
    struct thread_extra *extra = self ? thread_make_extra(self) : NULL;
    int err = extra ? check(key, value) : ENOMEM;
    if (err != 0)
        return err;
    struct binding *binding = memory_alloc(sizeof *binding);
    if (!binding)
        return ENOMEM;
    *binding = (struct binding){1, key, value, scoped_value_capture(self)};
    struct binding *before = extra->bindings;
    extra->bindings = binding;
    fn(arg);
    extra->bindings = before;
    scoped_value_release(binding);
    return 0;
}

void *vthread_scoped_get(const vthread_scoped_t *key)
{
    struct thread *self = local_thread(local_self());
    if (unlikely(!self))
        thread_refuse_child();
    struct binding *binding = self ? bindings_of(self) : NULL;
    while (binding && binding->key != key)
        binding = binding->outer;
    return binding ? binding->value : key->otherwise;
}

void scoped_value_leave(struct thread *self, struct thread_extra *extra)
{
    struct binding *binding = extra->bindings;
    extra->bindings = NULL;
    while (binding && binding != scope_bindings(self)) {
        struct binding *outer = binding->outer;
        scoped_value_release(binding);
        binding = outer;
    }
}
