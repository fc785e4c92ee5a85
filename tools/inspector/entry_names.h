/*
 * entry_names.h - the names of functions in a process, where the process
 * itself does not know them: static ones.
 */
#ifndef ENTRY_NAMES_H
#define ENTRY_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct entry_names;

/* NULL: no names are to be had. */
struct entry_names *entry_names_open(pid_t pid);
void entry_names_close(struct entry_names *names);

/* The function that begins at that address, or the address in words. */
void entry_names_find(struct entry_names *names, uint64_t fn, char *buffer,
                      size_t size);

#endif
