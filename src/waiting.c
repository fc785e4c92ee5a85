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

#include "scope/scope.h"
#include "sync/multiwait.h"
#include "sync/mutex.h"
#include "sync/once.h"
#include "sync/rwlock.h"
#include "sync/waitlist.h"

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
    *waiting =
        (struct waiting){name_of(list), object_of(list), holder_of(list)};
}

/* Without the mark of who put it there. */
static void *wait_on_of(const struct thread *t)
{
    return (void *)((uintptr_t)waitlist_wait_on(t) & ~(uintptr_t)1);
}

bool waiting_of(const struct thread *t, struct waiting *waiting)
{
    if (waiting_what(t) != FOR_LISTED && waiting_what(t) != FOR_END)
        return false;
    void *wait_on = wait_on_of(t);
    if (!wait_on)
        return false;
    if (thread_is_in_table(wait_on))
        *waiting = (struct waiting){"join", wait_on, wait_on};
    else
        waiting_of_list(wait_on, waiting);
    return true;
}

static bool has_ended(const struct thread *t)
{
    /* Relaxed: nobody runs. */
    return atomic_load_explicit(&t->word, memory_order_relaxed) & THREAD_DONE;
}

/* A mutex with a list and without a holder: its first has been chosen, and
 * stays in the list until it runs. */
static bool list_is_ending(const struct waitlist *list)
{
    switch ((enum wait_kind)list->kind) {
    case WAIT_MUTEX:
        return !mutex_holder(mutex_of_list(list));
    case WAIT_SCOPE:
        return scope_has_no_children(list);
    default:
        return false;
    }
}

/* In all that is not here whoever ends a wait first takes the thread out of
 * the list. */
bool waiting_is_ending(const struct thread *t)
{
    void *wait_on = wait_on_of(t);
    if (!wait_on)
        return waiting_what(t) != FOR_UNPARK;
    switch (waiting_what(t)) {
    case FOR_SEVERAL:
        return multiwait_is_over(wait_on);
    case FOR_END:
        return has_ended(wait_on);
    case FOR_LISTED:
        return list_is_ending(wait_on);
    default:
        return false;
    }
}
