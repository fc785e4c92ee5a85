/*
 * groups.h - threads that are in the same state at the same place.
 */
#ifndef GROUPS_H
#define GROUPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot.h"

/* No member, or no next one. */
#define GROUP_END UINT32_MAX

struct group {
    uint32_t first, last;  /* members: indices of snapshot->threads, */
    size_t count;          /* linked by groups->next */
    bool has_one_object;   /* all wait for the same thing */
    bool has_one_holder;   /* and for the same thread */
    uint64_t due_first_ns, due_last_ns; /* deadlines, where all have one */
    uint64_t waited_least_ns, waited_most_ns; /* where none has one */
    bool are_due;
};

struct groups {
    struct group *all; /* those that run first, then the largest first */
    size_t count, capacity;
    uint32_t *next;    /* by index of the thread */
};

/* `each`: every thread is a group of its own. */
void groups_make(struct groups *groups, const struct snapshot *snapshot,
                 bool each);
void groups_free(struct groups *groups);

#endif
