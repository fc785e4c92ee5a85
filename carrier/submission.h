/*
 * submission.h - tasks handed in from outside: any OS thread pushes, a
 * carrier takes them all.
 *
 * A stack that is turned round when it is taken, so the order is kept; as
 * everything is taken at once there is no ABA.
 */
#ifndef CARRIER_SUBMISSION_H
#define CARRIER_SUBMISSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "carrier/task.h"

struct submission {
    struct task *_Atomic newest;
};

static inline bool submission_is_empty(const struct submission *s)
{
    return atomic_load_explicit(&s->newest, memory_order_relaxed) == NULL;
}

/* seq_cst: the pusher looks at the sleepers next, see pool.c. */
static inline void submission_push(struct submission *s, struct task *task)
{
    struct task *newest = atomic_load_explicit(&s->newest,
                                               memory_order_relaxed);
    do
        task->next = newest;
    /* Releases the task; pairs with submission_take_all. */
    while (!atomic_compare_exchange_weak_explicit(&s->newest, &newest, task,
                                                  memory_order_seq_cst,
                                                  memory_order_relaxed));
}

/* All of them, linked, oldest first; or NULL. */
static inline struct task *submission_take_all(struct submission *s)
{
    if (submission_is_empty(s))
        return NULL;
    /* Acquires the tasks; pairs with submission_push. */
    struct task *newest = atomic_exchange_explicit(&s->newest, NULL,
                                                   memory_order_acquire);
    struct task *oldest = NULL;
    while (newest) {
        struct task *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

#endif
