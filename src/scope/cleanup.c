/*
 * cleanup.c - handlers that run at the end of a thread, unless popped.
 *
 * A list that only the thread itself touches, the handler pushed last first.
 * A handler is off the list and its record freed before it is called: it may
 * push others, wait, or end the thread.
 */
#include "scope/cleanup.h"

#include <errno.h>

#include <vthread/cancel.h>

#include "local.h"
#include "platform/memory.h"

struct cleanup {
    struct cleanup *next;
    void (*fn)(void *);
    void *arg;
};

int vthread_cleanup_push(void (*fn)(void *), void *arg)
{
    if (!fn)
        return EINVAL;
    struct thread *self = thread_self();
    struct thread_extra *extra = self ? thread_make_extra(self) : NULL;
    struct cleanup *cleanup = extra ? memory_alloc(sizeof *cleanup) : NULL;
    if (!cleanup)
        return ENOMEM;
    *cleanup = (struct cleanup){extra->cleanups, fn, arg};
    extra->cleanups = cleanup;
    return 0;
}

static void pop(struct thread_extra *extra, bool execute)
{
    struct cleanup taken = *extra->cleanups;
    memory_free(extra->cleanups);
    extra->cleanups = taken.next;
    if (execute)
        taken.fn(taken.arg);
}

int vthread_cleanup_pop(bool execute)
{
    thread_refuse_child();
    struct thread *self = local_thread(local_self());
    struct thread_extra *extra = self ? thread_extra(self) : NULL;
    if (!extra || !extra->cleanups)
        return EPERM;
    pop(extra, execute);
    return 0;
}

void cleanup_run_all(struct thread_extra *extra)
{
    while (extra->cleanups)
        pop(extra, true);
}
