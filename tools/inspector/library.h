/*
 * library.h - libvthread in a target: where everything is, as its
 * vthread_layout says.
 */
#ifndef LIBRARY_H
#define LIBRARY_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "inspect/layout.h"

struct image;

struct library {
    char version[16];
    uint64_t value[LAYOUT_ENTRIES];
    uint32_t size_bytes[LAYOUT_ENTRIES];
};

/* The address of vthread_layout, found by what it looks like: for core files
 * and stripped programs.  0: it is not there. */
uint64_t library_find(const struct image *image);

/* Reads the layout at that address.  STATUS_FINE; STATUS_TARGET, with a
 * complaint, if it is none, or lacks something that is needed here. */
int library_open(struct library *library, const struct image *image,
                 uint64_t address);

/* What the layout there says of a name that is not among those that every
 * library has to know; false: nothing. */
bool library_look_up(const struct image *image, uint64_t address,
                     const char *name, uint64_t *value);

/* A number out of the copy of an object. */
static inline uint64_t library_field(const struct library *library,
                                     const void *object,
                                     enum layout_number field)
{
    uint64_t value = 0;
    uint32_t size = library->size_bytes[field];
    memcpy(&value, (const char *)object + library->value[field],
           size < sizeof value ? size : sizeof value);
    return value;
}

/* The same of an object in the target; 0 if it cannot be read. */
uint64_t library_peek(const struct library *library, const struct image *image,
                      uint64_t object, enum layout_number field);

#endif
