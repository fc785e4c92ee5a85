/*
 * dump_leaks.c - `vthread dump --leaked`: of all threads those that nothing
 * can ever wake.
 *
 * The library finds them, where it works with the Boehm collector and is asked
 * to: vthread_gc_leaks.  What its last look has found is a table in memory,
 * which is told of by names that a library without it does not have.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "dump.h"
#include "image.h"
#include "inspector.h"

enum { LEAKS_MAX = 1 << 28, LOOKS = 100 };

/* Where it is what the library tells. */
struct place {
    uint64_t table, looks, count, records;   /* leak_table */
    uint64_t size_bytes, thread, created_by; /* leak_record */
};

struct leak {
    uint64_t thread, created_by;
};

struct leaks {
    uint64_t looks, count;
    struct leak *all;
};

static bool find_place(const struct dump *dump, struct place *place)
{
    const struct {
        const char *name;
        uint64_t *value;
    } names[] = {
        {"&leak_table", &place->table},
        {"leak_table.looks", &place->looks},
        {"leak_table.count", &place->count},
        {"leak_table.records", &place->records},
        {"sizeof leak_record", &place->size_bytes},
        {"leak_record.thread", &place->thread},
        {"leak_record.created_by", &place->created_by},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!library_look_up(dump->snapshot.image, dump->layout, names[i].name,
                             names[i].value))
            return false;
    return true;
}

static uint64_t number_at(const struct image *image, uint64_t address)
{
    uint64_t number = 0;
    image_read(image, address, &number, sizeof number);
    return number;
}

static bool read_records(const struct image *image, const struct place *place,
                         struct leaks *leaks)
{
    uint64_t records = number_at(image, place->table + place->records);
    free(leaks->all);
    leaks->all = NULL;
    if (leaks->count > LEAKS_MAX || place->size_bytes > 4096)
        return false;
    char *copy = malloc(leaks->count * place->size_bytes + 1);
    leaks->all = malloc((leaks->count + 1) * sizeof *leaks->all);
    bool is_read = copy && leaks->all
                   && (leaks->count == 0
                       || image_read(image, records, copy,
                                     leaks->count * place->size_bytes));
    for (uint64_t i = 0; is_read && i < leaks->count; i++) {
        const char *record = copy + i * place->size_bytes;
        memcpy(&leaks->all[i].thread, record + place->thread, 8);
        memcpy(&leaks->all[i].created_by, record + place->created_by, 8);
    }
    free(copy);
    return is_read;
}

/* The table of one look: while the number is odd there is another one. */
static bool read_leaks(const struct image *image, const struct place *place,
                       struct leaks *leaks)
{
    for (unsigned i = 0; i < LOOKS; i++) {
        leaks->looks = number_at(image, place->table + place->looks);
        leaks->count = number_at(image, place->table + place->count);
        if (leaks->looks % 2 == 0 && read_records(image, place, leaks)
            && number_at(image, place->table + place->looks) == leaks->looks)
            return true;
        if (image_is_core(image))
            return false;
        usleep(10000);
    }
    return false;
}

static int by_thread(const void *a, const void *b)
{
    const struct leak *left = a, *right = b;
    return left->thread < right->thread ? -1 : left->thread > right->thread;
}

/* The other threads are forgotten. */
static void keep_leaked(struct dump *dump, const struct leaks *leaks)
{
    struct snapshot *snapshot = &dump->snapshot;
    size_t kept = 0;
    for (size_t i = 0; i < snapshot->thread_count; i++) {
        struct leak wanted = {snapshot->threads[i].handle, 0};
        const struct leak *leak = bsearch(&wanted, leaks->all, leaks->count,
                                          sizeof wanted, by_thread);
        if (!leak)
            continue;
        snapshot->threads[kept] = snapshot->threads[i];
        snapshot->threads[kept++].created_by = leak->created_by;
    }
    snapshot->thread_count = kept;
}

int dump_keep_leaked(struct dump *dump)
{
    struct place place;
    struct leaks leaks = {.all = NULL};
    int status = STATUS_TARGET;
    dump->thread_count = dump->snapshot.thread_count;
    if (!find_place(dump, &place)) {
        complain("libvthread %s there does not look for leaks",
                 dump->snapshot.library.version);
    } else if (!read_leaks(dump->snapshot.image, &place, &leaks)) {
        complain("what the last look for leaks has found cannot be read");
    } else if (leaks.looks == 0) {
        complain("nobody has looked for leaks there: the program does, by "
                 "vthread_gc_leaks(3)");
    } else {
        qsort(leaks.all, leaks.count, sizeof *leaks.all, by_thread);
        keep_leaked(dump, &leaks);
        status = STATUS_FINE;
    }
    free(leaks.all);
    return status;
}
