/*
 * dump_locks.h - what threads wait for that somebody holds.
 *
 * Of the library's locks only those are known that are waited for: a thread
 * keeps no list of what it holds.
 */
#ifndef DUMP_LOCKS_H
#define DUMP_LOCKS_H

#include <stddef.h>
#include <stdint.h>

struct dump;

struct lock {
    uint64_t address;
    const char *kind;
    uint32_t holder; /* a thread's number; 0: nobody's in particular */
    size_t waiters;
};

struct locks {
    struct lock *all; /* those that most wait for first */
    size_t count, capacity;
};

void locks_collect(struct locks *locks, const struct dump *dump);
void locks_free(struct locks *locks);

#endif
