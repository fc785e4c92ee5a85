/*
 * places_none.c - without libdw places are addresses, or what the process
 * itself calls them.
 */
#include "places.h"

#include <inttypes.h>
#include <stdio.h>

struct places *places_open(pid_t pid)
{
    (void)pid;
    return NULL;
}

void places_close(struct places *places)
{
    (void)places;
}

void places_entry(struct places *places, uint64_t fn, char *buffer,
                  size_t size)
{
    (void)places;
    if (fn && !*buffer)
        snprintf(buffer, size, "%#" PRIx64, fn);
}

void places_variable(struct places *places, uint64_t address, char *buffer,
                     size_t size)
{
    (void)places;
    (void)address;
    (void)size;
    *buffer = '\0';
}

size_t places_find(struct places *places, uint64_t return_address,
                   struct place *found, size_t room, bool *is_known)
{
    (void)places;
    (void)room;
    *found = (struct place){.line = 0};
    snprintf(found->function, sizeof found->function, "%#" PRIx64,
             return_address);
    *is_known = false;
    return 1;
}
