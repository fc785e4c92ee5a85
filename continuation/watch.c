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

void watch_begin(enum watch_kind kind, const struct watcher *watcher)
{
    /* Release: what the watcher relies on is ready.  Pairs with watch_of. */
    atomic_store_explicit(&watchers[kind], watcher, memory_order_release);
    atomic_fetch_or_explicit(&watch_bits, 1u << kind, memory_order_release);
}

void watch_end(enum watch_kind kind)
{
    /* Relaxed: nothing is taken away that others may still use. */
    atomic_fetch_and_explicit(&watch_bits, ~(1u << kind),
                              memory_order_relaxed);
}

/* NULL: that kind is off, or so new that this OS thread does not see it. */
const struct watcher *watch_of(enum watch_kind kind)
{
    return watch_is_on(kind) ? atomic_load_explicit(&watchers[kind],
                                                    memory_order_acquire)
                             : NULL;
}

__attribute__((cold)) void watch_mounting(struct continuation *c)
{
    struct mount_point *mp = mount_point_self();
    mp->stands_still++;
    for (unsigned kind = 0; kind < WATCH_KINDS; kind++) {
        const struct watcher *watcher = watch_of(kind);
        if (watcher)
            watcher->mounting(c);
    }
    mp->stands_still--;
}

__attribute__((cold)) void watch_unmounted(struct continuation *c)
{
    for (unsigned kind = WATCH_KINDS; kind-- > 0;) {
        const struct watcher *watcher = watch_of(kind);
        if (watcher)
            watcher->unmounted(c);
    }
}

__attribute__((cold)) void watch_leaving(struct continuation *c)
{
    for (unsigned kind = WATCH_KINDS; kind-- > 0;) {
        const struct watcher *watcher = watch_of(kind);
        if (watcher && watcher->leaving)
            watcher->leaving(c);
    }
}

__attribute__((cold)) void watch_arrived(struct continuation *c)
{
    for (unsigned kind = 0; kind < WATCH_KINDS; kind++) {
        const struct watcher *watcher = watch_of(kind);
        if (watcher && watcher->arrived)
            watcher->arrived(c);
    }
}

__attribute__((cold)) void watch_claiming(void)
{
    for (unsigned kind = 0; kind < WATCH_KINDS; kind++) {
        const struct watcher *watcher = watch_of(kind);
        if (watcher && watcher->claiming)
            watcher->claiming();
    }
}

__attribute__((cold)) void watch_settled(void)
{
    for (unsigned kind = WATCH_KINDS; kind-- > 0;) {
        const struct watcher *watcher = watch_of(kind);
        if (watcher && watcher->settled)
            watcher->settled();
    }
}
