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

struct waitlist {
    uint32_t first, last;
};

static inline bool waitlist_is_empty(const struct waitlist *list)
{
    return list->first == 0;
}

/* Puts t at the end. t->wait_on becomes `list`: that it is on the list. */
void waitlist_append(struct waitlist *list, struct thread *t);

/* Takes the first, or NULL; its wait_on becomes NULL. */
struct thread *waitlist_take_first(struct waitlist *list);

/* Takes t out if it is on the list, and says whether it was. */
bool waitlist_remove(struct waitlist *list, struct thread *t);

#endif
