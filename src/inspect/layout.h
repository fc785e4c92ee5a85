/*
 * layout.h - where everything is, for those who look at the process from
 * outside: the tool, gdb, or whoever reads a core file.
 *
 * The library exports one object, vthread_layout: a table of names and
 * numbers, made by the compiler from the structures themselves.  So a reader
 * that was built with another version of the library finds out what has
 * moved, and says so when something has gone.
 *
 *     "thread.word"        where the field is in the object, and its size
 *     "sizeof thread"      the size of an object
 *     "THREAD_PARKED"      a constant
 *     "&thread_table"      the address of a variable
 *
 * The object can be found without symbols: it begins with the magic, aligned
 * to 16 bytes, and `self` is its own address.
 *
 * This header has no code, and includes nothing of ours: readers include it,
 * too.
 */
#ifndef INSPECT_LAYOUT_H
#define INSPECT_LAYOUT_H

#include <stdint.h>

#define LAYOUT_MAGIC "libvthread layout"

/* Another one when the meaning of a name changes. */
#define LAYOUT_VERSION 1

struct layout_entry {
    char name[40];
    uint32_t size_bytes; /* of a field; else 0 */
    uint32_t reserved;
    uint64_t value;
};

/* Their order in the table of a library of the same version.  A reader goes
 * by the names. */
enum layout_number {
#define LAYOUT_SIZE(object) SIZE_##object,
#define LAYOUT_FIELD(object, field) AT_##object##_##field,
#define LAYOUT_CONSTANT(constant) IS_##constant,
#define LAYOUT_ADDRESS(variable) ADDRESS_##variable,
#include "layout_entries.h"
    LAYOUT_ENTRIES
};
#undef LAYOUT_SIZE
#undef LAYOUT_FIELD
#undef LAYOUT_CONSTANT
#undef LAYOUT_ADDRESS

struct vthread_layout {
    char magic[24];
    uint32_t version;     /* LAYOUT_VERSION */
    uint32_t entry_bytes; /* from one to the next */
    const struct vthread_layout *self;
    char library[16];     /* the version of the library */
    uint32_t entries;
    uint32_t reserved;
    struct layout_entry entry[LAYOUT_ENTRIES];
} __attribute__((aligned(16)));

extern __attribute__((visibility("default")))
const struct vthread_layout vthread_layout;

#endif
