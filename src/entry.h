/*
 * entry.h - what is known of entry functions: whose threads turned out to
 * need homes of their own, and who has been seen to keep what others wait
 * for.
 */
#ifndef ENTRY_H
#define ENTRY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef void *(*entry_fn)(void *);

/* The tables of entry.c, for those who look from outside: two of functions,
 * and what is known of each at the same place.  A power of two. */
#define ENTRY_SLOTS 1024
extern _Atomic(uintptr_t) entry_own[ENTRY_SLOTS], entry_seen[ENTRY_SLOTS];
extern _Atomic uint8_t entry_reasons[ENTRY_SLOTS]; /* of entry_own */
extern _Atomic uint32_t entry_hogs[ENTRY_SLOTS],
    entry_homes_held[ENTRY_SLOTS]; /* of entry_seen */

/* Why threads that start with a function get own homes. */
enum entry_reason {
    ENTRY_ESCAPES, /* one handed out a pointer into its stack */
    ENTRY_HOLDS,   /* one stayed on a common home that others waited for */
};

/* From now on threads that start with fn get own homes.  True if that is
 * new; false if it was so, or there is no room to remember it. */
bool entry_remember(entry_fn fn, enum entry_reason reason);

/* Whether threads that start with fn should have own homes; and why, of one
 * that should: the reason that came first. */
bool entry_needs_own(entry_fn fn);
enum entry_reason entry_reason_of(entry_fn fn);

/* How often threads that start with a function have been seen to keep a
 * carrier, and a common home, that others waited for. */
struct entry_counts {
    uint32_t hogs;
    uint32_t homes_held;
};

/* Count one more; return how many that makes, 0 if there is no room. */
uint32_t entry_count_hog(entry_fn fn);
uint32_t entry_count_home_held(entry_fn fn);
struct entry_counts entry_counts_of(entry_fn fn);

/* "digs", or "0x55d0c0de1230 (program+0x1230)" where the function has no
 * name that the loader knows.  May wait for the loader's lock. */
void entry_describe(entry_fn fn, char *buffer, size_t size_bytes);

#endif
