/*
 * relations.c - circles of waiting.
 *
 * A thread waits for one other at most, so whoever is followed from a thread
 * is a path that ends, or runs into a circle.
 */
#include "relations.h"

#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "inspector.h"
#include "snapshot.h"

enum { LIST_BYTES = 16 };

static const struct seen_thread *next_of(const struct snapshot *snapshot,
                                         const struct seen_thread *t)
{
    return t->waits && t->holder ? snapshot_thread(snapshot, t->holder)
                                 : NULL;
}

static void add_circle(const struct snapshot *snapshot,
                       struct circles *circles, const struct seen_thread *t)
{
    struct circle *circle =
        snapshot_grow((void **)&circles->all, &circles->count,
                      &circles->capacity, sizeof *circle);
    const struct seen_thread *other = t;
    size_t capacity = 0;
    do {
        uint32_t *number =
            snapshot_grow((void **)&circle->numbers, &circle->count,
                          &capacity, sizeof *number);
        *number = snapshot_number(other);
        other = next_of(snapshot, other);
    } while (other != t);
}

/* Marks each thread with the walk that has come to it first: who meets his
 * own mark has gone round. */
static void find(const struct snapshot *snapshot, struct circles *circles)
{
    const struct seen_thread *first = snapshot->threads;
    uint32_t *marks = calloc(snapshot->thread_count + 1, sizeof *marks);
    for (size_t i = 0; marks && i < snapshot->thread_count; i++) {
        const struct seen_thread *t = &first[i];
        while (t && marks[t - first] == 0) {
            marks[t - first] = (uint32_t)i + 1;
            t = next_of(snapshot, t);
        }
        if (t && marks[t - first] == i + 1)
            add_circle(snapshot, circles, t);
    }
    free(marks);
}

/* ---- A second look ------------------------------------------------------ */

/* For a tracked lock, of which the tables have been read again. */
static bool still_wants(const struct snapshot *snapshot,
                        const struct seen_thread *then)
{
    const struct seen_want *want =
        snapshot_want_of(snapshot, snapshot_number(then));
    return want && want->object == then->object
           && snapshot_holder_of(snapshot, want) == then->holder;
}

/* The process is stopped.  Whether the thread waits for what it did, in the
 * same life. */
static bool still_waits(const struct snapshot *snapshot, uint32_t number)
{
    const struct library *library = &snapshot->library;
    const struct seen_thread *then = snapshot_thread(snapshot, number);
    if (then->wants_lock)
        return still_wants(snapshot, then);
    size_t size = library->value[SIZE_thread];
    char around[LIST_BYTES];
    uint64_t table;
    char *object = malloc(size);
    struct seen_thread now = {.handle = 0};
    bool is_same =
        object
        && image_read(snapshot->image, library->value[ADDRESS_thread_table],
                      &table, sizeof table)
        && image_read(snapshot->image, table + number * size, object, size);
    if (is_same) {
        uint64_t on = library_field(library, object, AT_thread_wait_on)
                      & ~UINT64_C(1);
        bool has_list = image_read(snapshot->image, on - LIST_BYTES / 2,
                                   around, sizeof around);
        uint64_t word = library_field(library, object, AT_thread_word);
        now.word = (uint32_t)word;
        now.handle = (word & 0xffffffff00000000u) | number;
        snapshot_read_wait(snapshot, &now, object, has_list ? around : NULL);
        is_same = now.handle == then->handle && now.word == then->word
                  && now.object == then->object
                  && now.holder == then->holder;
    }
    free(object);
    return is_same;
}

static bool still_stands(const struct snapshot *snapshot,
                         const struct circle *circle)
{
    for (size_t i = 0; i < circle->count; i++)
        if (!still_waits(snapshot, circle->numbers[i]))
            return false;
    return true;
}

static int look_again(struct snapshot *snapshot, struct circles *circles)
{
    size_t kept = 0;
    int status = stop_begin(&snapshot->stop);
    if (status != STATUS_FINE)
        return status;
    snapshot_read_locks(snapshot);
    for (size_t i = 0; i < circles->count; i++) {
        if (still_stands(snapshot, &circles->all[i]))
            circles->all[kept++] = circles->all[i];
        else
            free(circles->all[i].numbers);
    }
    circles->count = kept;
    stop_end(&snapshot->stop);
    return STATUS_FINE;
}

int relations_find_circles(struct snapshot *snapshot,
                           struct circles *circles)
{
    *circles = (struct circles){.all = NULL};
    find(snapshot, circles);
    if (circles->count > 0 && !image_is_core(snapshot->image))
        return look_again(snapshot, circles);
    return STATUS_FINE;
}

void relations_free_circles(struct circles *circles)
{
    for (size_t i = 0; i < circles->count; i++)
        free(circles->all[i].numbers);
    free(circles->all);
}
