/*
 * dump_locks.h - what somebody holds, and what threads wait for.
 *
 * Tracked locks are known while they are held.  Of the library's own only
 * those are that are waited for: a thread keeps no list of what it holds.
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
    uint64_t site;   /* the return address of the call that took it; 0 */
};

struct locks {
    struct lock *all; /* those that most wait for first, each
                         holder of a lock in a row */
    size_t count, capacity;
};

void locks_collect(struct locks *locks, const struct dump *dump);
void locks_free(struct locks *locks);

#endif
