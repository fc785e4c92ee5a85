/*
 * dump_locks.c - locks that are held or waited for, and by how many.
 */
#include "dump_locks.h"

#include <stdlib.h>

#include "dump.h"

static bool is_lock(const struct dump *dump, const struct seen_thread *t)
{
    const uint64_t *value = dump->snapshot.library.value;
    return t->waits && t->object && !t->wants_lock
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
    if (left->holder != right->holder)
        return left->holder < right->holder ? -1 : 1;
    return by_address(a, b);
}

/* Neighbours of the same address become one, but for several who hold it. */
static void merge(struct locks *locks)
{
    size_t kept = 0;
    for (size_t i = 0; i < locks->count; i++) {
        if (kept > 0 && !locks->all[i].site
            && locks->all[kept - 1].address == locks->all[i].address)
            locks->all[kept - 1].waiters++;
        else
            locks->all[kept++] = locks->all[i];
    }
    locks->count = kept;
}

static void add(struct locks *locks, struct lock lock)
{
    struct lock *added =
        snapshot_grow((void **)&locks->all, &locks->count, &locks->capacity,
                      sizeof *added);
    *added = lock;
}

static size_t count_wants(const struct snapshot *snapshot, uint64_t object)
{
    size_t count = 0;
    for (size_t i = 0; i < snapshot->want_count; i++)
        count += snapshot->wants[i].object == object;
    return count;
}

static bool is_held(const struct snapshot *snapshot, uint64_t object)
{
    for (size_t i = 0; i < snapshot->hold_count; i++)
        if (snapshot->holds[i].object == object)
            return true;
    return false;
}

/* Each that is held, as often as somebody holds it; and those that nobody is
 * known to hold, once for each who waits. */
static void collect_tracked(struct locks *locks, const struct dump *dump)
{
    const struct snapshot *snapshot = &dump->snapshot;
    for (size_t i = 0; i < snapshot->hold_count; i++) {
        const struct seen_hold *hold = &snapshot->holds[i];
        add(locks, (struct lock){hold->object,
                                 dump_lock_kind(dump, hold->kind),
                                 hold->owner,
                                 count_wants(snapshot, hold->object),
                                 hold->site});
    }
    for (size_t i = 0; i < snapshot->want_count; i++) {
        const struct seen_want *want = &snapshot->wants[i];
        if (want->kind != snapshot->library.value[IS_VTHREAD_HOLD_COND]
            && !is_held(snapshot, want->object))
            add(locks, (struct lock){want->object,
                                     dump_lock_kind(dump, want->kind), 0, 1,
                                     0});
    }
}

void locks_collect(struct locks *locks, const struct dump *dump)
{
    *locks = (struct locks){.all = NULL};
    for (size_t i = 0; i < dump->snapshot.thread_count; i++) {
        const struct seen_thread *t = &dump->snapshot.threads[i];
        if (is_lock(dump, t))
            add(locks, (struct lock){t->object, dump_wait_kind(dump, t),
                                     t->holder, 1, 0});
    }
    collect_tracked(locks, dump);
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
