/*
 * entry_names_none.c - without libdw functions are addresses, or what the
 * process itself calls them.
 */
#include "entry_names.h"

#include <inttypes.h>
#include <stdio.h>

struct entry_names *entry_names_open(pid_t pid)
{
    (void)pid;
    return NULL;
}

void entry_names_close(struct entry_names *names)
{
    (void)names;
}

void entry_names_find(struct entry_names *names, uint64_t fn, char *buffer,
                      size_t size)
{
    (void)names;
    if (fn && !*buffer)
        snprintf(buffer, size, "%#" PRIx64, fn);
}
