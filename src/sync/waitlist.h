/*
 * waitlist.h - threads that wait for the same thing, in order.
 *
 * Doubly linked through wait_next and wait_prev of the thread object, by
 * number; so a list is eight bytes, zero-valid, and a thread is on one list
 * at most.  The caller holds the lock of whatever the list belongs to.
 */
#ifndef WAITLIST_H
#define WAITLIST_H

#include <stdbool.h>
#include <stdint.h>

#include "thread.h"

/* What a list belongs to: for reports about those who wait.  Set when the
 * first of them comes. */
enum wait_kind {
    WAIT_UNKNOWN,
    WAIT_MUTEX,
    WAIT_COND,
    WAIT_SEMAPHORE,
    WAIT_LATCH,
    WAIT_ONCE,
    WAIT_BARRIER,
    WAIT_RWLOCK,
    WAIT_SCOPE,
    WAIT_SLOT, /* for a call that blocks */
};

struct waitlist {
    uint32_t first;
    uint32_t last : THREAD_NUMBER_BITS;
    uint32_t kind : 32 - THREAD_NUMBER_BITS; /* enum wait_kind */
};

_Static_assert(sizeof(struct waitlist) == 8, "");

static inline bool waitlist_is_empty(const struct waitlist *list)
{
    return list->first == 0;
}

/* Relaxed: who asks whether t is on a list holds the lock of that list, under
 * which t came and goes; what else may be there does not matter. */
static inline void *waitlist_wait_on(const struct thread *t)
{
    return atomic_load_explicit(&t->wait_on, memory_order_relaxed);
}

/* Puts t at the end. t->wait_on becomes `list`: that it is on the list. */
void waitlist_append(struct waitlist *list, struct thread *t);

/* The same with a mark of the caller's, which waitlist_is_marked tells: it
 * is the lowest bit of wait_on. */
void waitlist_append_marked(struct waitlist *list, struct thread *t);

static inline bool waitlist_is_marked(const struct thread *t)
{
    return (uintptr_t)waitlist_wait_on(t) & 1;
}

/* Whether t is on that list. */
static inline bool waitlist_has(const struct waitlist *list,
                                const struct thread *t)
{
    return ((uintptr_t)waitlist_wait_on(t) & ~(uintptr_t)1)
           == (uintptr_t)list;
}

/* The first, which stays; NULL if there is none. */
static inline struct thread *waitlist_first(const struct waitlist *list)
{
    return list->first == 0 ? NULL : thread_at(list->first);
}

/* Takes the first, or NULL; its wait_on becomes NULL.  It is a chain of
 * one. */
struct thread *waitlist_take_first(struct waitlist *list);

/* Takes all, and returns the first of a chain: see waitlist_chain_next.
 * Nobody is on the list any more, so a chain belongs to who has taken it. */
struct thread *waitlist_take_all(struct waitlist *list);

/* Takes those ahead of the first that is marked, as a chain; counts them. */
struct thread *waitlist_take_unmarked(struct waitlist *list,
                                      uint32_t *count);

/* The one after t in a chain, NULL at its end.  To be asked before t is
 * woken or put on a list. */
static inline struct thread *waitlist_chain_next(const struct thread *t)
{
    return t->wait_next == 0 ? NULL : thread_at(t->wait_next);
}

/* Wakes all in a chain, in their order. */
void waitlist_wake_chain(struct thread *first);

/* Takes t out if it is on the list, and says whether it was. */
bool waitlist_remove(struct waitlist *list, struct thread *t);

#endif
