/*
 * process_memory.h - memory of the program outside of stacks and collected
 * heaps, found while all is stopped.
 */
#ifndef EMBED_PROCESS_MEMORY_H
#define EMBED_PROCESS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

struct process_memory_visitor {
    /* A range that may hold anything of the program's. */
    void (*range)(struct process_memory_visitor *visitor, const void *low,
                  const void *high);
    /* Whether the page belongs to somebody who sees to it himself. */
    bool (*is_foreign)(const void *page);
    /* An address in a library whose own data are left out. */
    const void *left_out;
};

/* Static data, and what malloc manages, freed or not: with glibc its heap,
 * its arenas and the blocks that have a mapping each.  No lock is taken and
 * nothing allocated.  0, or why /proc/self/maps cannot be read. */
int process_memory_each(struct process_memory_visitor *visitor);

/* The end of the mapping that the address lies in; NULL: none does. */
const void *process_memory_end(const void *address);

#endif
