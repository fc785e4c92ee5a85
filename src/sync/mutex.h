/*
 * mutex.h - the mutex, inside the library: what a condition variable needs
 * of it.
 */
#ifndef MUTEX_H
#define MUTEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vthread/mutex.h>

#include "sync/waitlist.h"
#include "thread.h"

/* The holder's number lies above the flags of the word. */
#define MUTEX_HOLDER_SHIFT 4

/* vthread_mutex_t as the library sees it.  B: under BUSY of the word; H by
 * the thread that holds it. */
struct mutex {
    _Atomic uint32_t word;   /* A: see mutex.c */
    uint16_t depth;          /* H: locks but the first */
    uint8_t kind;            /* I */
    uint8_t bypassed;        /* H: unlocks since the first was woken */
    struct waitlist waiting; /* B */
};

_Static_assert(sizeof(struct mutex) == sizeof(vthread_mutex_t)
                   && sizeof(struct mutex) == 16,
               "the public mutex is the same");

static inline struct mutex *mutex_of(vthread_mutex_t *mutex)
{
    return (struct mutex *)mutex;
}

/* The mutex that the list lies in. */
static inline const struct mutex *mutex_of_list(const struct waitlist *list)
{
    return (const struct mutex *)((const char *)list
                                  - offsetof(struct mutex, waiting));
}

/* 0 if self holds it; else as vthread_mutex_unlock, in the name of
 * `function`. */
int mutex_check_holder(const struct mutex *m, struct thread *self,
                       const char *function);

/* Unlocks it wholly, and returns its depth for mutex_restore. */
uint16_t mutex_give_up(struct mutex *m);

/* Locks it again, to that depth. */
void mutex_restore(struct mutex *m, struct thread *self, uint16_t depth);

/* Lets t, which waits for something else, wait for the mutex instead.  True:
 * the caller has to wake it now; else an unlock will. */
bool mutex_enqueue(struct mutex *m, struct thread *t);

/* mutex_restore for a thread that mutex_enqueue was called for, and that has
 * been woken since. */
void mutex_restore_woken(struct mutex *m, struct thread *self,
                         uint16_t depth);

/* The thread that holds it, or NULL: for reports. */
struct thread *mutex_holder(const struct mutex *m);

#endif
