/*
 * dump_locks.c - locks that are waited for, and by how many.
 */
#include "dump_locks.h"

#include <stdlib.h>

#include "dump.h"

static bool is_lock(const struct dump *dump, const struct seen_thread *t)
{
    const uint64_t *value = dump->snapshot.library.value;
    return t->waits && t->object
           && t->waits_for == value[IS_FOR_LISTED]
           && (t->list_kind == value[IS_WAIT_MUTEX]
               || t->list_kind == value[IS_WAIT_RWLOCK]
               || t->list_kind == value[IS_WAIT_ONCE]);
}

static int by_address(const void *a, const void *b)
{
    const struct lock *left = a, *right = b;
    return left->address < right->address ? -1
                                          : left->address > right->address;
}

static int by_waiters(const void *a, const void *b)
{
    const struct lock *left = a, *right = b;
    if (left->waiters != right->waiters)
        return left->waiters > right->waiters ? -1 : 1;
    return by_address(a, b);
}

/* Neighbours of the same address become one. */
static void merge(struct locks *locks)
{
    size_t kept = 0;
    for (size_t i = 0; i < locks->count; i++) {
        if (kept > 0
            && locks->all[kept - 1].address == locks->all[i].address)
            locks->all[kept - 1].waiters++;
        else
            locks->all[kept++] = locks->all[i];
    }
    locks->count = kept;
}

void locks_collect(struct locks *locks, const struct dump *dump)
{
    *locks = (struct locks){.all = NULL};
    for (size_t i = 0; i < dump->snapshot.thread_count; i++) {
        const struct seen_thread *t = &dump->snapshot.threads[i];
        if (!is_lock(dump, t))
            continue;
        struct lock *lock =
            snapshot_grow((void **)&locks->all, &locks->count,
                          &locks->capacity, sizeof *lock);
        *lock = (struct lock){t->object, dump_wait_kind(dump, t), t->holder,
                              1};
    }
    if (locks->count == 0)
        return;
    qsort(locks->all, locks->count, sizeof *locks->all, by_address);
    merge(locks);
    qsort(locks->all, locks->count, sizeof *locks->all, by_waiters);
}

void locks_free(struct locks *locks)
{
    free(locks->all);
}
