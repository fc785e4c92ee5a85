/*
 * waiting.c - from a thread to what it waits for.
 *
 * A byte of the thread says what kind of wait its last one is (waits_for.h).
 * For FOR_END and FOR_LISTED wait_on says more: it is the thread that is
 * joined, or a list (waitlist.h), whose kind says in what it lies.  Nothing is
 * stored for this while threads do not wait.
 *
 * Not here: the search for cycles.
 */
#include "waiting.h"

#include "mutex.h"
#include "once.h"
#include "rwlock.h"
#include "waitlist.h"

static const char *const names[] = {
    [WAIT_UNKNOWN] = "something", [WAIT_MUTEX] = "mutex",
    [WAIT_COND] = "condition",    [WAIT_SEMAPHORE] = "semaphore",
    [WAIT_LATCH] = "latch",       [WAIT_ONCE] = "once",
    [WAIT_BARRIER] = "barrier",   [WAIT_RWLOCK] = "rwlock",
    [WAIT_SCOPE] = "scope",       [WAIT_SLOT] = "slot for a blocking call",
};

static const char *name_of(const struct waitlist *list)
{
    const size_t count = sizeof names / sizeof names[0];
    return names[list->kind < count ? list->kind : WAIT_UNKNOWN];
}

bool thread_is_in_table(const void *address)
{
    uintptr_t offset = (uintptr_t)address - (uintptr_t)thread_table;
    return offset < thread_table_size() * sizeof(struct thread);
}

static struct thread *holder_of(const struct waitlist *list)
{
    switch ((enum wait_kind)list->kind) {
    case WAIT_MUTEX:
        return mutex_holder(mutex_of_list(list));
    case WAIT_RWLOCK:
        return rwlock_writer_of_list(list);
    case WAIT_ONCE:
        return once_runner_of_list(list);
    default:
        return NULL;
    }
}

/* Where the object begins that the list lies in. */
static const void *object_of(const struct waitlist *list)
{
    switch ((enum wait_kind)list->kind) {
    case WAIT_SEMAPHORE:
    case WAIT_LATCH:
        return (const char *)list - 4;
    case WAIT_UNKNOWN:
    case WAIT_SCOPE:
    case WAIT_SLOT:
        return list;
    default:
        return (const char *)list - 8;
    }
}

enum waits_for waiting_what(const struct thread *t)
{
    /* Relaxed: its wait has been seen to begin. */
    return (enum waits_for)atomic_load_explicit(&t->waits_for,
                                                memory_order_relaxed);
}

void waiting_of_list(const struct waitlist *list, struct waiting *waiting)
{
    *waiting = (struct waiting){name_of(list), object_of(list),
                                holder_of(list)};
}

bool waiting_of(const struct thread *t, struct waiting *waiting)
{
    if (waiting_what(t) != FOR_LISTED && waiting_what(t) != FOR_END)
        return false;
    /* Without the mark of who put it there. */
    void *wait_on = (void *)((uintptr_t)waitlist_wait_on(t)
                             & ~(uintptr_t)1);
    if (!wait_on)
        return false;
    if (thread_is_in_table(wait_on))
        *waiting = (struct waiting){"join", wait_on, wait_on};
    else
        waiting_of_list(wait_on, waiting);
    return true;
}
