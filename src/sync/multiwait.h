/*
 * multiwait.h - one thread that waits for several things at once.
 *
 * A thread object is on one list at most; who waits for more has a node on
 * the heap for each.  A list of nodes belongs to a channel or a future and
 * is guarded by its lock, like the plain waitlist beside it.
 */
#ifndef MULTIWAIT_H
#define MULTIWAIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "thread.h"

struct multiwait;

/* Zero-valid: empty. */
struct multiwait_list {
    struct multiwait_node *first, *last;
};

/* Field letters: I before it is entered, L under the lock of its list. */
struct multiwait_node {
    struct multiwait_node *next, *prev; /* L */
    struct multiwait_list *list;        /* L: where it is, or NULL */
    struct multiwait *wait;             /* I */
    void *object;                       /* I: whose list that is */
    void *slot;       /* L: what is handed over */
    uint32_t index;   /* I: the caller's */
    uint32_t outcome; /* L: written by who has claimed it: 0 or an error */
};

struct multiwait {
    _Atomic uint64_t word; /* A: see multiwait.c */
    struct thread *thread; /* I */
    uint32_t count;        /* I: of nodes */
    struct multiwait_node nodes[];
};

static inline bool multiwait_list_is_empty(const struct multiwait_list *list)
{
    return list->first == NULL;
}

/* A wait of self with `count` nodes, zero but for wait and index, which is
 * 0, 1..., and after them extra_bytes for the caller.  It ends with the
 * `enough`th event, or one that decides.  NULL without memory. */
struct multiwait *multiwait_create(struct thread *self, size_t count,
                                   size_t extra_bytes, uint32_t enough);

/* The extra bytes. */
static inline void *multiwait_extra(struct multiwait *m)
{
    return &m->nodes[m->count];
}

/* All its nodes have left their lists. */
void multiwait_free(struct multiwait *m);

/* Puts the node at the end; takes it out if it is there; takes the first of
 * the list out, or NULL. */
void multiwait_enter(struct multiwait_list *list, struct multiwait_node *node);
void multiwait_leave(struct multiwait_node *node);
struct multiwait_node *multiwait_take_first(struct multiwait_list *list);

/* An event for the node, which the caller has under its lock.  True: it ends
 * the wait and the caller must call thread_wake, once, for the thread.
 * False: the node may be gone as soon as the lock is released. */
bool multiwait_claim(struct multiwait_node *node, bool decides);

/* Whether that has been claimed, or given up.  Relaxed: for reports. */
static inline bool multiwait_is_over(const struct multiwait *m)
{
    return atomic_load_explicit(&m->word, memory_order_relaxed) >> 32 != 0;
}

/* Waits; 0 when an event has ended it, else ETIMEDOUT or ECANCELED and none
 * has or will. */
int multiwait_wait(struct multiwait *m, uint64_t deadline_ns);

/* After 0: the node whose event it was. */
struct multiwait_node *multiwait_winner(struct multiwait *m);

#endif
