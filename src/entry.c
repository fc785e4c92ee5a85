/*
 * entry.c - what is known of entry functions.
 *
 * Two tables, for they are asked at different times: each creation looks
 * whether the function is in `own`, and finds it empty as a rule; `seen` is
 * the monitor's and the census's.
 *
 * Not here: who finds out (escape.c, hog.c), and what follows from it
 * (lifecycle.c).
 *
 * A table only grows, is searched without a lock, and when it is full
 * forgets nothing: it takes no more.
 */
#include "entry.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>

#include "platform/panic.h"

#define ENTRIES ENTRY_SLOTS
#define NO_SLOT ENTRIES

/* Relaxed everywhere: numbers that publish nothing but themselves. */
typedef _Atomic(uintptr_t) slots[ENTRIES];

slots entry_own;
_Atomic uint8_t entry_reasons[ENTRIES]; /* enum entry_reason, of own */

slots entry_seen;
_Atomic uint32_t entry_hogs[ENTRIES], entry_homes_held[ENTRIES]; /* of seen */

static unsigned slot_of(uintptr_t fn)
{
    return (unsigned)((fn * UINT64_C(0x9e3779b97f4a7c15)) >> 54) % ENTRIES;
}

/* Where it is, or NO_SLOT. */
static inline unsigned find(slots table, uintptr_t key)
{
    for (unsigned i = slot_of(key), n = 0; n < ENTRIES; n++) {
        uintptr_t entry = atomic_load_explicit(&table[(i + n) % ENTRIES],
                                               memory_order_relaxed);
        if (entry == key)
            return (i + n) % ENTRIES;
        if (entry == 0)
            break;
    }
    return NO_SLOT;
}

/* Where it is from now on, or NO_SLOT: no room. */
static unsigned add(slots table, uintptr_t key, bool *is_new)
{
    *is_new = false;
    for (unsigned i = slot_of(key), n = 0; n < ENTRIES; n++) {
        uintptr_t entry = 0;
        *is_new = atomic_compare_exchange_strong_explicit(
            &table[(i + n) % ENTRIES], &entry, key, memory_order_relaxed,
            memory_order_relaxed);
        if (*is_new || entry == key)
            return (i + n) % ENTRIES;
    }
    return NO_SLOT;
}

/* ---- Own homes ---------------------------------------------------------- */

bool entry_needs_own(entry_fn fn)
{
    return find(entry_own, (uintptr_t)fn) != NO_SLOT;
}

bool entry_remember(entry_fn fn, enum entry_reason reason)
{
    bool is_new;
    unsigned slot = add(entry_own, (uintptr_t)fn, &is_new);
    /* A census at this instant calls it an escape, which is the first of
     * the reasons. */
    if (is_new)
        atomic_store_explicit(&entry_reasons[slot], (uint8_t)reason,
                              memory_order_relaxed);
    return is_new;
}

enum entry_reason entry_reason_of(entry_fn fn)
{
    unsigned slot = find(entry_own, (uintptr_t)fn);
    return slot == NO_SLOT ? ENTRY_ESCAPES
                           : (enum entry_reason)atomic_load_explicit(
                               &entry_reasons[slot], memory_order_relaxed);
}

/* ---- Counts ------------------------------------------------------------- */

static uint32_t count(_Atomic uint32_t *counters, entry_fn fn)
{
    bool is_new;
    unsigned slot = add(entry_seen, (uintptr_t)fn, &is_new);
    return slot == NO_SLOT ? 0
                           : atomic_fetch_add_explicit(&counters[slot], 1,
                                                       memory_order_relaxed)
                                 + 1;
}

uint32_t entry_count_hog(entry_fn fn)
{
    return count(entry_hogs, fn);
}

uint32_t entry_count_home_held(entry_fn fn)
{
    return count(entry_homes_held, fn);
}

struct entry_counts entry_counts_of(entry_fn fn)
{
    unsigned slot = find(entry_seen, (uintptr_t)fn);
    if (slot == NO_SLOT)
        return (struct entry_counts){0};
    return (struct entry_counts){
        .hogs = atomic_load_explicit(&entry_hogs[slot], memory_order_relaxed),
        .homes_held = atomic_load_explicit(&entry_homes_held[slot],
                                           memory_order_relaxed),
    };
}

/* ---- Words -------------------------------------------------------------- */

void entry_describe(entry_fn fn, char *buffer, size_t size_bytes)
{
    Dl_info info;
    void *address = (void *)(uintptr_t)fn;
    if (dladdr(address, &info) == 0 || !info.dli_fname) {
        format_text(buffer, size_bytes, "%p", address);
    } else if (info.dli_sname && info.dli_saddr == address) {
        format_text(buffer, size_bytes, "%s", info.dli_sname);
    } else {
        const char *slash = strrchr(info.dli_fname, '/');
        format_text(buffer, size_bytes, "%p (%s+0x%lx)", address,
                    slash ? slash + 1 : info.dli_fname,
                    (unsigned long)((uintptr_t)address
                                    - (uintptr_t)info.dli_fbase));
    }
}
