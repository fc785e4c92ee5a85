/*
 * places.h - where an address in the code of a process is, in words.
 *
 * The files of the process are read, not its memory; what is opened while it
 * lives can be asked when it has ended.
 */
#ifndef PLACES_H
#define PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct places;

/* NULL: no names are to be had. */
struct places *places_open(pid_t pid);
void places_close(struct places *places);

/* The function that begins at that address.  Without a name for it: the
 * address, or what stands in the buffer. */
void places_entry(struct places *places, uint64_t fn, char *buffer,
                  size_t size);

/* The variable that lies at that address, "prices_lock (shop)"; "": none is
 * known, as for what is on the heap. */
void places_variable(struct places *places, uint64_t address, char *buffer,
                     size_t size);

struct place {
    char function[80]; /* never "": "0x7f.." without a name */
    char file[48];     /* of the source, without directories; "" */
    char module[48];   /* program or library; "" */
    unsigned line;     /* 0 */
};

/* What calls at that return address: the function, and if it has been made a
 * part of others by the compiler these as well, the innermost first.  Returns
 * how many there are, 1 at least; without a name it is the address.
 * *is_known: the process has code there. */
size_t places_find(struct places *places, uint64_t return_address,
                   struct place *found, size_t room, bool *is_known);

#endif
