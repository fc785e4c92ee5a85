/*
 * place.h - addresses of code in words: "server+0x1a2b (serve)".
 */
#ifndef INSPECT_PLACE_H
#define INSPECT_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What an address belongs to. */
struct place {
    char file[256];      /* path of the module; "" if it is in none */
    uint64_t offset;     /* in the file, as debuggers count: what addr2line is
                            given */
    const char *function; /* or NULL: it has no name that the loader knows */
    bool is_ours;        /* it is in the library itself, if that is a module
                            of its own */
};

/* Of a return address the call before it is meant.  May wait for the loader's
 * lock. */
void place_find(uint64_t return_address, struct place *place);

/* The same of something that lies in memory: the name is that of a variable. */
void place_find_data(uint64_t address, struct place *place);

/* The variables of the shared library that has this code: all of them lie in
 * [*low, *low + *size_bytes).  False: it is in the program itself, or nowhere
 * that the loader knows. */
bool place_find_variables(uint64_t code, uintptr_t *low, size_t *size_bytes);

/* "server+0x1a2b (serve)". */
void place_describe(const struct place *place, char *buffer,
                    size_t size_bytes);

/* The variables of the shared library that has this code: all of them lie in
 * [*low, *low + *size_bytes).  False: it is in the program itself, or nowhere
 * that the loader knows. */
bool place_find_variables(uint64_t code, uintptr_t *low, size_t *size_bytes);

#endif
