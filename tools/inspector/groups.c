/*
 * groups.c - equal stacks, equal states, equal waits.
 */
#include "groups.h"

#include <stdlib.h>

#include "inspector.h"

#define SLOTS_MIN 256 /* a power of two */

struct table {
    uint32_t *slots; /* group + 1 */
    size_t size;
};

static bool are_alike(const struct seen_thread *a,
                      const struct seen_thread *b)
{
    return a->state == b->state && a->stack == b->stack
           && a->entry == b->entry && a->created_by == b->created_by
           && a->waits_for == b->waits_for
           && a->list_kind == b->list_kind
           && a->wants_lock == b->wants_lock && a->lock_kind == b->lock_kind
           && a->scheduler == b->scheduler
           && a->has_deadline == b->has_deadline;
}

static uint64_t hash_of(const struct seen_thread *t)
{
    uint64_t hash = t->entry * 31 + t->stack;
    hash = hash * 31 + t->state;
    hash = hash * 31 + t->waits_for;
    hash = hash * 31 + t->list_kind;
    return hash * UINT64_C(0x9e3779b97f4a7c15) >> 24;
}

static uint32_t *slot_of(const struct table *table,
                         const struct groups *groups,
                         const struct snapshot *snapshot,
                         const struct seen_thread *t)
{
    size_t i = hash_of(t) & (table->size - 1);
    while (table->slots[i]
           && !are_alike(
               &snapshot->threads[groups->all[table->slots[i] - 1].first], t))
        i = (i + 1) & (table->size - 1);
    return &table->slots[i];
}

static void make_table(struct table *table, const struct groups *groups,
                       const struct snapshot *snapshot, size_t size)
{
    free(table->slots);
    table->size = size;
    table->slots = calloc(size, sizeof *table->slots);
    if (!table->slots) {
        complain("there is no memory");
        exit(STATUS_FAILED);
    }
    for (size_t i = 0; i < groups->count; i++)
        *slot_of(table, groups, snapshot,
                 &snapshot->threads[groups->all[i].first]) =
            (uint32_t)i + 1;
}

static struct group *begin_group(struct groups *groups,
                                 const struct seen_thread *t, uint32_t index)
{
    struct group *group =
        snapshot_grow((void **)&groups->all, &groups->count,
                      &groups->capacity, sizeof *group);
    *group = (struct group){
        .first = index,
        .last = index,
        .count = 1,
        .has_one_object = t->object != 0,
        .has_one_holder = t->holder != 0,
        .are_due = t->has_deadline,
        .due_first_ns = t->deadline_ns,
        .due_last_ns = t->deadline_ns,
        .waited_least_ns = t->waited_ns,
        .waited_most_ns = t->waited_ns,
    };
    return group;
}

static void join_group(struct groups *groups, struct group *group,
                       const struct snapshot *snapshot, uint32_t index)
{
    const struct seen_thread *first = &snapshot->threads[group->first];
    const struct seen_thread *t = &snapshot->threads[index];
    groups->next[group->last] = index;
    group->last = index;
    group->count++;
    if (t->object != first->object)
        group->has_one_object = false;
    if (t->holder != first->holder)
        group->has_one_holder = false;
    if (t->deadline_ns < group->due_first_ns)
        group->due_first_ns = t->deadline_ns;
    if (t->deadline_ns > group->due_last_ns)
        group->due_last_ns = t->deadline_ns;
    if (t->waited_ns < group->waited_least_ns)
        group->waited_least_ns = t->waited_ns;
    if (t->waited_ns > group->waited_most_ns)
        group->waited_most_ns = t->waited_ns;
}

/* ---- In order ----------------------------------------------------------- */

/* qsort passes nothing along. */
static const struct snapshot *sorted;

static int in_order(const void *a, const void *b)
{
    const struct group *left = a, *right = b;
    const struct seen_thread *l = &sorted->threads[left->first];
    const struct seen_thread *r = &sorted->threads[right->first];
    if (l->state != r->state)
        return l->state < r->state ? -1 : 1;
    if (left->count != right->count)
        return left->count > right->count ? -1 : 1;
    return left->first < right->first ? -1 : left->first > right->first;
}

void groups_make(struct groups *groups, const struct snapshot *snapshot,
                 bool each)
{
    struct table table = {.slots = NULL};
    *groups = (struct groups){.all = NULL};
    groups->next = malloc((snapshot->thread_count + 1)
                          * sizeof *groups->next);
    make_table(&table, groups, snapshot, SLOTS_MIN);
    for (size_t i = 0; groups->next && i < snapshot->thread_count; i++) {
        const struct seen_thread *t = &snapshot->threads[i];
        uint32_t *slot = each ? NULL
                              : slot_of(&table, groups, snapshot, t);
        groups->next[i] = GROUP_END;
        if (slot && *slot) {
            join_group(groups, &groups->all[*slot - 1], snapshot,
                       (uint32_t)i);
            continue;
        }
        begin_group(groups, t, (uint32_t)i);
        if (slot)
            *slot = (uint32_t)groups->count;
        if (!each && groups->count >= table.size / 2)
            make_table(&table, groups, snapshot, 2 * table.size);
    }
    free(table.slots);
    sorted = snapshot;
    if (groups->count > 0)
        qsort(groups->all, groups->count, sizeof *groups->all, in_order);
}

void groups_free(struct groups *groups)
{
    free(groups->all);
    free(groups->next);
}
