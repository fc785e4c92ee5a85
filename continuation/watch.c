/*
 * watch.c - those who look on as continuations are mounted and unmounted.
 *
 * A bit is set after its watcher has been stored, and the pointer stays when
 * the bit is cleared: who has seen the bit finds a watcher, at worst one that
 * has ended by now.
 */
#include "continuation/watch.h"

#include <stddef.h>

#include "continuation/mount.h"

_Atomic uint32_t watch_bits;

static const struct watcher *_Atomic watchers[WATCH_KINDS];

static uint32_t bits_of(enum watch_kind kind)
{
    return 1u << kind | 1u << (WATCH_KINDS + kind);
}

void watch_begin(enum watch_kind kind, const struct watcher *watcher)
{
    bool is_told_claims = watcher->claiming || watcher->settled;
    /* Release: what the watcher relies on is ready.  Pairs with
     * watcher_of. */
    atomic_store_explicit(&watchers[kind], watcher, memory_order_release);
    atomic_fetch_or_explicit(&watch_bits,
                             is_told_claims ? bits_of(kind) : 1u << kind,
                             memory_order_release);
}

void watch_end(enum watch_kind kind)
{
    /* Relaxed: nothing is taken away that others may still use. */
    atomic_fetch_and_explicit(&watch_bits, ~bits_of(kind),
                              memory_order_relaxed);
}

/* NULL: so new that this OS thread does not see it. */
static inline const struct watcher *watcher_of(unsigned kind)
{
    /* Acquire: pairs with watch_begin. */
    return atomic_load_explicit(&watchers[kind], memory_order_acquire);
}

const struct watcher *watch_of(enum watch_kind kind)
{
    return watch_is_on(kind) ? watcher_of(kind) : NULL;
}

/* ---- Telling them ------------------------------------------------------- */

enum { ALL_KINDS = (1 << WATCH_KINDS) - 1 };

static inline uint32_t kinds_on(void)
{
    return watch_now() & ALL_KINDS;
}

/* The next of the kinds in order, or in reverse; it is taken out. */
static inline const struct watcher *take_first(uint32_t *kinds)
{
    unsigned kind = (unsigned)__builtin_ctz(*kinds);
    *kinds &= *kinds - 1;
    return watcher_of(kind);
}

static inline const struct watcher *take_last(uint32_t *kinds)
{
    unsigned kind = 31 - (unsigned)__builtin_clz(*kinds);
    *kinds &= ~(1u << kind);
    return watcher_of(kind);
}

/* Mostly there is one, and it is told without a frame for the loop. */
static inline bool is_one_at_most(uint32_t kinds)
{
    return likely((kinds & (kinds - 1)) == 0);
}

__attribute__((noinline)) static void tell_mounting(struct continuation *c,
                                                    uint32_t kinds)
{
    while (kinds) {
        const struct watcher *watcher = take_first(&kinds);
        if (watcher)
            watcher->mounting(c);
    }
}

void watch_mounting(struct continuation *c)
{
    struct mount_point *mp = mount_point_self();
    uint32_t kinds = kinds_on();
    mp->stands_still++;
    if (is_one_at_most(kinds)) {
        const struct watcher *watcher = kinds ? take_first(&kinds) : NULL;
        if (likely(watcher))
            watcher->mounting(c);
    } else {
        tell_mounting(c, kinds);
    }
    mp->stands_still--;
}

__attribute__((noinline)) static void tell_unmounted(struct continuation *c,
                                                     uint32_t kinds)
{
    while (kinds) {
        const struct watcher *watcher = take_last(&kinds);
        if (watcher)
            watcher->unmounted(c);
    }
}

void watch_unmounted(struct continuation *c)
{
    uint32_t kinds = kinds_on();
    if (is_one_at_most(kinds)) {
        const struct watcher *watcher = kinds ? take_first(&kinds) : NULL;
        if (likely(watcher))
            watcher->unmounted(c);
    } else {
        tell_unmounted(c, kinds);
    }
}

__attribute__((cold)) void watch_leaving(struct continuation *c)
{
    for (uint32_t kinds = kinds_on(); kinds;) {
        const struct watcher *watcher = take_last(&kinds);
        if (watcher && watcher->leaving)
            watcher->leaving(c);
    }
}

__attribute__((cold)) void watch_arrived(struct continuation *c)
{
    for (uint32_t kinds = kinds_on(); kinds;) {
        const struct watcher *watcher = take_first(&kinds);
        if (watcher && watcher->arrived)
            watcher->arrived(c);
    }
}

__attribute__((cold)) void watch_claiming(void)
{
    for (uint32_t kinds = kinds_on(); kinds;) {
        const struct watcher *watcher = take_first(&kinds);
        if (watcher && watcher->claiming)
            watcher->claiming();
    }
}

__attribute__((cold)) void watch_settled(void)
{
    for (uint32_t kinds = kinds_on(); kinds;) {
        const struct watcher *watcher = take_last(&kinds);
        if (watcher && watcher->settled)
            watcher->settled();
    }
}
