/*
 * dump_census.c - threads by entry function: how many, where their homes are
 * and why, how deep they park, what has been copied.
 *
 * The same as vthread_census() counts inside the process.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "dump.h"
#include "image.h"
#include "json.h"

struct entry {
    uint64_t fn;
    size_t threads, ended, unmounted, frozen;
    size_t common, plenty, asked, escaped, held, none;
    uint64_t depth_bytes, depth_bytes_max, frozen_bytes;
    uint32_t hogs, homes_held;
};

struct census {
    struct entry *all; /* the largest first */
    size_t count, capacity;
};

/* ---- What the library knows of functions -------------------------------- */

/* The place of the function in a table of the library's; its size: none. */
static uint64_t find(const struct dump *dump, enum layout_number table,
                     uint64_t fn)
{
    const struct library *library = &dump->snapshot.library;
    uint64_t count = library->value[IS_ENTRY_SLOTS], entry;
    for (uint64_t i = 0; i < count; i++)
        if (image_read(dump->snapshot.image,
                       library->value[table] + i * sizeof entry, &entry,
                       sizeof entry)
            && entry == fn)
            return i;
    return count;
}

static bool is_held(const struct dump *dump, uint64_t fn)
{
    const struct library *library = &dump->snapshot.library;
    uint64_t i = find(dump, ADDRESS_entry_own, fn);
    uint8_t reason;
    return i < library->value[IS_ENTRY_SLOTS]
           && image_read(dump->snapshot.image,
                         library->value[ADDRESS_entry_reasons] + i, &reason,
                         sizeof reason)
           && reason == library->value[IS_ENTRY_HOLDS];
}

static void read_counts(const struct dump *dump, struct entry *entry)
{
    const struct library *library = &dump->snapshot.library;
    uint64_t i = find(dump, ADDRESS_entry_seen, entry->fn);
    if (i == library->value[IS_ENTRY_SLOTS])
        return;
    i *= sizeof entry->hogs;
    image_read(dump->snapshot.image,
               library->value[ADDRESS_entry_hogs] + i, &entry->hogs,
               sizeof entry->hogs);
    image_read(dump->snapshot.image,
               library->value[ADDRESS_entry_homes_held] + i,
               &entry->homes_held, sizeof entry->homes_held);
}

/* ---- Counting ----------------------------------------------------------- */

static int by_function(const void *a, const void *b)
{
    const struct seen_thread *const *left = a, *const *right = b;
    return (*left)->entry < (*right)->entry
               ? -1
               : (*left)->entry > (*right)->entry;
}

static int by_threads(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    if (left->threads != right->threads)
        return left->threads > right->threads ? -1 : 1;
    return left->fn < right->fn ? -1 : left->fn > right->fn;
}

static void add_home(const struct dump *dump, struct entry *entry,
                     const struct seen_thread *t, bool is_held_kind)
{
    const uint64_t *value = dump->snapshot.library.value;
    bool wants = t->flags & value[IS_CONTINUATION_WANTS_OWN];
    if (!t->has_home)
        entry->none++;
    else if (!(t->flags & value[IS_CONTINUATION_HAS_OWN]))
        entry->common++;
    else if (t->flags & value[IS_CONTINUATION_ASKED_OWN])
        entry->asked++;
    else if (wants && is_held_kind)
        entry->held++;
    else if (wants || t->is_common)
        entry->escaped++;
    else
        entry->plenty++;
}

static void add(const struct dump *dump, struct entry *entry,
                const struct seen_thread *t, bool is_held_kind)
{
    if (t->state == STATE_ENDED) {
        entry->ended++;
        return;
    }
    entry->threads++;
    add_home(dump, entry, t, is_held_kind);
    if (t->depth_bytes == 0)
        return;
    entry->unmounted++;
    entry->depth_bytes += t->depth_bytes;
    if (t->depth_bytes > entry->depth_bytes_max)
        entry->depth_bytes_max = t->depth_bytes;
    entry->frozen += t->frozen_bytes > 0;
    entry->frozen_bytes += t->frozen_bytes;
}

static void collect(struct census *census, const struct dump *dump)
{
    const struct snapshot *snapshot = &dump->snapshot;
    const struct seen_thread **sorted =
        calloc(snapshot->thread_count + 1, sizeof *sorted);
    struct entry *entry = NULL;
    bool is_held_kind = false;
    size_t count = 0;
    *census = (struct census){.all = NULL};
    for (size_t i = 0; sorted && i < snapshot->thread_count; i++)
        if (snapshot->threads[i].entry)
            sorted[count++] = &snapshot->threads[i];
    if (count > 0)
        qsort(sorted, count, sizeof *sorted, by_function);
    for (size_t i = 0; i < count; i++) {
        if (!entry || entry->fn != sorted[i]->entry) {
            entry = snapshot_grow((void **)&census->all, &census->count,
                                  &census->capacity, sizeof *entry);
            entry->fn = sorted[i]->entry;
            is_held_kind = is_held(dump, entry->fn);
            read_counts(dump, entry);
        }
        add(dump, entry, sorted[i], is_held_kind);
    }
    if (census->count > 0)
        qsort(census->all, census->count, sizeof *census->all, by_threads);
    free(sorted);
}

/* ---- Text and JSON ------------------------------------------------------ */

static uint64_t mean_of(const struct entry *entry)
{
    return entry->unmounted ? entry->depth_bytes / entry->unmounted : 0;
}

void dump_census_text(struct dump *dump)
{
    struct census census;
    char name[120];
    collect(&census, dump);
    printf("\n%8s %8s %8s %7s %7s %7s %7s %7s %7s %9s %10s  %s\n", "threads",
           "ended", "common", "own", "asked", "escaped", "held", "depth",
           "deepest", "frozen", "in chunks", "entry function");
    for (size_t i = 0; i < census.count; i++) {
        const struct entry *e = &census.all[i];
        dump_function(dump, e->fn, name, sizeof name);
        printf("%8zu %8zu %8zu %7zu %7zu %7zu %7zu %7" PRIu64 " %7" PRIu64
               " %9zu %10" PRIu64 "  %s",
               e->threads, e->ended, e->common, e->plenty, e->asked,
               e->escaped, e->held, mean_of(e), e->depth_bytes_max,
               e->frozen, e->frozen_bytes, name);
        if (e->hogs > 0)
            printf(", %" PRIu32 " times a hog", e->hogs);
        if (e->homes_held > 0)
            printf(", held a home %" PRIu32 " times", e->homes_held);
        printf("\n");
    }
    free(census.all);
}

static void put_entry(struct dump *dump, struct json *json,
                      const struct entry *e)
{
    char name[120];
    dump_function(dump, e->fn, name, sizeof name);
    json_open_object(json, NULL);
    json_text(json, "entry", name);
    json_address(json, "address", e->fn);
    json_unsigned(json, "threads", e->threads);
    json_unsigned(json, "ended", e->ended);
    json_open_object(json, "homes");
    json_unsigned(json, "none", e->none);
    json_unsigned(json, "common", e->common);
    json_unsigned(json, "own", e->plenty);
    json_unsigned(json, "asked", e->asked);
    json_unsigned(json, "escaped", e->escaped);
    json_unsigned(json, "held", e->held);
    json_close_object(json);
    json_unsigned(json, "unmounted", e->unmounted);
    json_unsigned(json, "depth_bytes", e->depth_bytes);
    json_unsigned(json, "depth_bytes_max", e->depth_bytes_max);
    json_unsigned(json, "frozen", e->frozen);
    json_unsigned(json, "frozen_bytes", e->frozen_bytes);
    json_unsigned(json, "hogs", e->hogs);
    json_unsigned(json, "homes_held", e->homes_held);
    json_close_object(json);
}

void dump_census_json(struct dump *dump, struct json *json)
{
    struct census census;
    collect(&census, dump);
    json_open_array(json, "census");
    for (size_t i = 0; i < census.count; i++)
        put_entry(dump, json, &census.all[i]);
    json_close_array(json);
    free(census.all);
}
