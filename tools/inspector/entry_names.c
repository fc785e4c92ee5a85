/*
 * entry_names.c - names of functions, by libdw.
 */
#include "entry_names.h"

#include <inttypes.h>
#include <stdio.h>

#include "symbols.h"

struct entry_names *entry_names_open(pid_t pid)
{
    const char *why;
    return (struct entry_names *)symbols_of_process(pid, &why);
}

void entry_names_close(struct entry_names *names)
{
    if (names)
        symbols_close((struct symbols *)names);
}

void entry_names_find(struct entry_names *names, uint64_t fn, char *buffer,
                      size_t size)
{
    const struct symbol *symbol =
        fn && names ? symbols_find((struct symbols *)names, fn) : NULL;
    if (symbol && symbol->function)
        snprintf(buffer, size, "%s", symbol->function);
    else if (fn)
        snprintf(buffer, size, "%#" PRIx64, fn);
}
