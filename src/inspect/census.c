/*
 * census.c - the living threads, by entry function.
 *
 * Nothing is counted while threads run: the census walks the table of
 * threads when it is asked for, so a program that never asks pays nothing.
 * What is read of a thread is read without a right to; see vthread_census
 * for what that means to the caller, and continuation_glance for why it is
 * safe.
 *
 * Rejected: counters for each entry function, kept at each creation and each
 * copy.  They cost all for the sake of a few.
 *
 * The table of entry functions that is built here is the caller's alone.
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include <vthread.h>

#include "entry.h"
#include "platform/memory.h"
#include "thread.h"

#define SLOTS_MIN 64 /* a power of two */

struct census {
    vthread_census_entry_t *slots; /* free: fn == NULL */
    size_t size;                   /* a power of two */
    size_t used;
};

/* What was seen of one thread. */
struct seen {
    entry_fn fn;
    uint64_t word;
    struct continuation_glance glance;
};

/* ---- The table ---------------------------------------------------------- */

static vthread_census_entry_t *slot_for(struct census *census, entry_fn fn)
{
    size_t i = (size_t)(((uintptr_t)fn * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
    while (census->slots[i & (census->size - 1)].fn
           && census->slots[i & (census->size - 1)].fn != fn)
        i++;
    return &census->slots[i & (census->size - 1)];
}

static int resize(struct census *census, size_t size)
{
    struct census old = *census;
    vthread_census_entry_t *slots = memory_alloc(size * sizeof *slots);
    if (!slots)
        return ENOMEM;
    memset(slots, 0, size * sizeof *slots);
    census->slots = slots;
    census->size = size;
    for (size_t i = 0; i < old.size; i++)
        if (old.slots[i].fn)
            *slot_for(census, old.slots[i].fn) = old.slots[i];
    memory_free(old.slots);
    return 0;
}

/* NULL without memory. */
static vthread_census_entry_t *entry_for(struct census *census, entry_fn fn)
{
    vthread_census_entry_t *entry = slot_for(census, fn);
    if (entry->fn)
        return entry;
    if (census->used >= census->size / 2) {
        if (resize(census, 2 * census->size) != 0)
            return NULL;
        entry = slot_for(census, fn);
    }
    census->used++;
    entry->fn = fn;
    return entry;
}

/* ---- One thread --------------------------------------------------------- */

/* False: it has ended meanwhile, or is just being set up. */
NO_SANITIZE_THREAD static bool see(const struct thread *t, uint64_t word,
                                   struct seen *seen)
{
    seen->word = word;
    seen->fn = ((const volatile struct thread *)t)->fn;
    continuation_glance(&t->continuation, &seen->glance);
    /* A fence, for the reads above are no atomic ones: they come before the
     * look at the generation. */
    atomic_thread_fence(memory_order_acquire);
    uint64_t after = atomic_load_explicit(&t->word, memory_order_relaxed);
    return after >> 32 == word >> 32 && !(after & THREAD_FREE) && seen->fn;
}

static void add_home(vthread_census_entry_t *entry, const struct seen *seen)
{
    const struct continuation_glance *glance = &seen->glance;
    if (!glance->has_home)
        entry->homes_none++;
    else if (!(glance->flags & CONTINUATION_HAS_OWN))
        entry->homes_common++;
    else if (glance->flags & CONTINUATION_ASKED_OWN)
        entry->homes_own_asked++;
    else if (glance->flags & CONTINUATION_WANTS_OWN
             && entry_reason_of(seen->fn) == ENTRY_HOLDS)
        entry->homes_own_held++;
    else if (glance->flags & CONTINUATION_WANTS_OWN || glance->is_common)
        entry->homes_own_escaped++;
    else
        entry->homes_own_plenty++;
}

static void add_frames(vthread_census_entry_t *entry, const struct seen *seen)
{
    const struct continuation_glance *glance = &seen->glance;
    if (glance->depth_bytes == 0)
        return;
    entry->unmounted++;
    entry->depth_bytes += glance->depth_bytes;
    if (glance->depth_bytes > entry->depth_bytes_max)
        entry->depth_bytes_max = glance->depth_bytes;
    if (glance->frozen_bytes == 0)
        return;
    entry->frozen++;
    entry->frozen_bytes += glance->frozen_bytes;
}

static int add(struct census *census, const struct seen *seen)
{
    vthread_census_entry_t *entry = entry_for(census, seen->fn);
    if (!entry)
        return ENOMEM;
    if (seen->word & THREAD_DONE) {
        entry->ended++;
        return 0;
    }
    entry->threads++;
    add_home(entry, seen);
    add_frames(entry, seen);
    return 0;
}

/* ---- All of them -------------------------------------------------------- */

static int take(struct census *census)
{
    uint64_t word;
    struct seen seen;
    struct thread *t = thread_in_use_from(1, &word);
    int err = 0;
    for (; t && err == 0; t = thread_in_use_from(thread_number(t) + 1, &word))
        if (!(word & THREAD_PLATFORM) && see(t, word, &seen))
            err = add(census, &seen);
    return err;
}

static void tell(const struct census *census, vthread_census_fn *visit,
                 void *arg)
{
    for (size_t i = 0; i < census->size; i++) {
        vthread_census_entry_t *entry = &census->slots[i];
        if (!entry->fn)
            continue;
        struct entry_counts counts = entry_counts_of(entry->fn);
        entry->hogs = counts.hogs;
        entry->homes_held = counts.homes_held;
        visit(entry, arg);
    }
}

int vthread_census(vthread_census_fn *visit, void *arg)
{
    struct census census = {0};
    if (!visit)
        return EINVAL;
    thread_refuse_child();
    int err = resize(&census, SLOTS_MIN);
    if (err == 0)
        err = take(&census);
    if (err == 0)
        tell(&census, visit, arg);
    memory_free(census.slots);
    return err;
}
