/*
 * snapshot_locks.c - pthread locks, and others that are tracked: who holds
 * them, and who waits.
 *
 * The library has a table for each OS thread that has held one, or waited:
 * src/inspect/held.h.  They are read anew in each slice, with the process
 * stopped, so what a thread of the slice waits for is there.
 *
 * An OS thread that has never called the library is no thread of it.  If it
 * holds such a lock, or waits for one, it gets a number beyond those of
 * threads, and is told of like one: it may be part of a deadlock.
 */
#include "snapshot_batch.h"

#include <stdlib.h>

#include "image.h"
#include "stacks.h"

/* A broken process may have any number. */
enum { TABLES_MAX = 65536 };

/* ---- Numbers ------------------------------------------------------------ */

static uint32_t first_number(const struct snapshot *snapshot)
{
    return UINT32_C(1) << snapshot->library.value[IS_THREAD_NUMBER_BITS];
}

static bool is_platform(const struct seen_thread *t)
{
    return t->state == STATE_PLATFORM || t->state == STATE_PLATFORM_WAITS;
}

/* The number of the thread at that address; if there was none when the table
 * was written, that of the OS thread. */
static uint32_t number_of(const struct snapshot *snapshot, uint64_t thread,
                          pid_t os_thread)
{
    if (thread)
        return snapshot_number_at(snapshot, thread);
    for (size_t i = 0; i < snapshot->thread_count; i++)
        if (is_platform(&snapshot->threads[i])
            && snapshot->threads[i].os_thread == os_thread)
            return snapshot_number(&snapshot->threads[i]);
    return first_number(snapshot) + (uint32_t)os_thread;
}

/* ---- Tables ------------------------------------------------------------- */

static void read_entry(struct snapshot *snapshot, const char *entry,
                       pid_t os_thread)
{
    const struct library *library = &snapshot->library;
    uint64_t object = library_field(library, entry, AT_held_entry_object);
    uint64_t kind = library_field(library, entry, AT_held_entry_kind);
    if (kind == library->value[IS_VTHREAD_HOLD_PIN]
        || library_field(library, entry, AT_held_entry_given) == object)
        return;
    struct seen_hold *hold =
        snapshot_grow((void **)&snapshot->holds, &snapshot->hold_count,
                      &snapshot->hold_capacity, sizeof *hold);
    *hold = (struct seen_hold){
        .object = object,
        .site = library_field(library, entry, AT_held_entry_site),
        .owner = number_of(snapshot,
                           library_field(library, entry, AT_held_entry_owner),
                           os_thread),
        .kind = (uint32_t)kind,
        .count = (uint32_t)library_field(library, entry, AT_held_entry_count),
    };
}

static void read_want(struct snapshot *snapshot, const char *table,
                      pid_t os_thread)
{
    const struct library *library = &snapshot->library;
    uint64_t object = library_field(library, table, AT_held_wanted);
    if (!object)
        return;
    struct seen_want *want =
        snapshot_grow((void **)&snapshot->wants, &snapshot->want_count,
                      &snapshot->want_capacity, sizeof *want);
    *want = (struct seen_want){
        .object = object,
        .number =
            number_of(snapshot, library_field(library, table, AT_held_wanter),
                      os_thread),
        .kind = (uint32_t)library_field(library, table, AT_held_wanted_kind),
        .waited_ns = snapshot_since(
            snapshot,
            (uint32_t)library_field(library, table, AT_held_wanted_since)),
    };
}

static void read_table(struct snapshot *snapshot, const char *table)
{
    const struct library *library = &snapshot->library;
    const char *entries = table + library->value[AT_held_entries];
    uint64_t count = library_field(library, table, AT_held_count);
    pid_t os_thread = (pid_t)library_field(library, table, AT_held_os_thread);
    if (os_thread == 0)
        return;
    for (uint64_t i = 0; i < count && i < library->value[IS_HELD_MAX]; i++)
        read_entry(snapshot, entries + i * library->value[SIZE_held_entry],
                   os_thread);
    read_want(snapshot, table, os_thread);
}

void snapshot_read_locks(struct snapshot *snapshot)
{
    const struct library *library = &snapshot->library;
    size_t size = library->value[SIZE_held];
    uint64_t address = 0;
    uint8_t is_tracked = 0;
    char *table = snapshot_need(malloc(size));
    snapshot->hold_count = snapshot->want_count = 0;
    image_read(snapshot->image, library->value[ADDRESS_pin_tracks_locks],
               &is_tracked, sizeof is_tracked);
    snapshot->are_locks_tracked = is_tracked;
    image_read(snapshot->image, library->value[ADDRESS_held_tables], &address,
               sizeof address);
    for (unsigned i = 0; address && i < TABLES_MAX; i++) {
        if (!image_read(snapshot->image, address, table, size))
            break;
        read_table(snapshot, table);
        address = library_field(library, table, AT_held_next);
    }
    free(table);
}

const struct seen_want *snapshot_want_of(const struct snapshot *snapshot,
                                         uint32_t number)
{
    for (size_t i = 0; i < snapshot->want_count; i++)
        if (snapshot->wants[i].number == number)
            return &snapshot->wants[i];
    return NULL;
}

uint32_t snapshot_holder_of(const struct snapshot *snapshot,
                            const struct seen_want *want)
{
    for (size_t i = 0; i < snapshot->hold_count; i++)
        if (snapshot->holds[i].object == want->object
            && snapshot->holds[i].owner != want->number)
            return snapshot->holds[i].owner;
    return 0;
}

void snapshot_take_want(const struct snapshot *snapshot, struct seen_thread *t,
                        const struct seen_want *want)
{
    t->waits = t->wants_lock = true;
    t->lock_kind = (uint8_t)want->kind;
    t->object = want->object;
    t->waited_ns = want->waited_ns;
    t->holder = snapshot_holder_of(snapshot, want);
}

/* ---- OS threads --------------------------------------------------------- */

struct natives {
    struct chain **chains;
    uint32_t *numbers;
    size_t count;
};

static void see(struct snapshot *snapshot, struct natives *natives,
                uint32_t number)
{
    if (number < first_number(snapshot))
        return;
    for (size_t i = 0; i < natives->count; i++)
        if (natives->numbers[i] == number)
            return;
    pid_t os_thread = (pid_t)(number - first_number(snapshot));
    natives->numbers[natives->count] = number;
    natives->chains[natives->count++] = chain_of_native(snapshot, os_thread);
}

static int by_number(const void *a, const void *b)
{
    const struct seen_thread *left = a, *right = b;
    return snapshot_number(left) < snapshot_number(right) ? -1 : 1;
}

struct natives *snapshot_see_natives(struct snapshot *snapshot)
{
    size_t most = snapshot->hold_count + snapshot->want_count + 1;
    struct natives *natives = snapshot_need(calloc(1, sizeof *natives));
    natives->chains = snapshot_need(calloc(most, sizeof *natives->chains));
    natives->numbers = snapshot_need(calloc(most, sizeof *natives->numbers));
    for (size_t i = 0; i < snapshot->hold_count; i++)
        see(snapshot, natives, snapshot->holds[i].owner);
    for (size_t i = 0; i < snapshot->want_count; i++)
        see(snapshot, natives, snapshot->wants[i].number);
    return natives;
}

/* The OS thread has turned out to be one that the library knows. */
static void rename_native(struct snapshot *snapshot, uint32_t from,
                          uint32_t to)
{
    for (size_t i = 0; i < snapshot->hold_count; i++)
        if (snapshot->holds[i].owner == from)
            snapshot->holds[i].owner = to;
    for (size_t i = 0; i < snapshot->thread_count; i++)
        if (snapshot->threads[i].holder == from)
            snapshot->threads[i].holder = to;
}

static void add_native(struct snapshot *snapshot, uint32_t number,
                       const struct chain *chain)
{
    const struct seen_want *want = snapshot_want_of(snapshot, number);
    struct seen_thread *t =
        snapshot_grow((void **)&snapshot->threads, &snapshot->thread_count,
                      &snapshot->thread_capacity, sizeof *t);
    t->handle = number;
    t->is_native = true;
    t->os_thread = (pid_t)(number - first_number(snapshot));
    t->state = want ? STATE_PLATFORM_WAITS : STATE_PLATFORM;
    t->stack = STACK_NONE;
    if (want)
        snapshot_take_want(snapshot, t, want);
    if (chain && snapshot->stacks)
        t->stack =
            stacks_of_chain(snapshot->stacks, chain->registers, chain->parts,
                            chain->ranges, chain->range_count);
}

void snapshot_take_natives(struct snapshot *snapshot, struct natives *natives)
{
    size_t first = snapshot->thread_count;
    for (size_t i = 0; i < natives->count; i++) {
        uint32_t from = natives->numbers[i];
        uint32_t to =
            number_of(snapshot, 0, (pid_t)(from - first_number(snapshot)));
        if (to == from)
            add_native(snapshot, from, natives->chains[i]);
        else
            rename_native(snapshot, from, to);
        if (natives->chains[i])
            chain_free(natives->chains[i]);
    }
    if (snapshot->thread_count > first)
        qsort(&snapshot->threads[first], snapshot->thread_count - first,
              sizeof *snapshot->threads, by_number);
    free(natives->chains);
    free(natives->numbers);
    free(natives);
}
