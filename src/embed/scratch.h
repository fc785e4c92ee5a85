/*
 * scratch.h - memory for work that is done while all is stopped: malloc is
 * out of the question then, for somebody may have been stopped inside.
 */
#ifndef EMBED_SCRATCH_H
#define EMBED_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A range that is used from its start on. */
struct scratch {
    char *start;
    size_t reserved_bytes, committed_bytes, used_bytes;
};

/* Reserves address space; 0 or ENOMEM. */
int scratch_open(struct scratch *s);
void scratch_close(struct scratch *s);

/* The next so many bytes, zero the first time, aligned to 16.  NULL: no
 * memory. */
void *scratch_take(struct scratch *s, size_t size_bytes);

/* A set of words other than 0, each with a number: 0 at first. */
struct word_map {
    struct scratch *memory;
    struct word_number {
        uintptr_t word;
        uint32_t number;
    } * slots;
    size_t size, count; /* size: a power of two, or 0 */
};

/* Where the word's number is, which has been added if need be; *is_new says
 * whether.  NULL: no memory.  Valid until the next addition. */
uint32_t *word_map_add(struct word_map *map, uintptr_t word, bool *is_new);

/* NULL: it is not there. */
uint32_t *word_map_find(const struct word_map *map, uintptr_t word);

#endif
