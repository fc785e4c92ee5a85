/*
 * detour.h - where the library is called from inside one of TSan's functions.
 *
 * TSan's functions stand before ours: its poll calls the next one of that
 * name, and takes that for libc's.  While a function is libc's and blocks,
 * atomics order nothing for TSan, which is right for libc; but ours calls
 * the library, and other threads run meanwhile.  Then it reports races
 * between two that hold the same lock.  So the library is called on a fiber
 * of its own, to which TSan's function is unknown.
 *
 *     struct detour detour = detour_begin();
 *     ...
 *     detour_end(detour);
 *
 * Without TSan it is nothing.
 */
#ifndef POSIX_DETOUR_H
#define POSIX_DETOUR_H

/* gcc defines the name, clang answers when asked. */
#if defined __has_feature
#if __has_feature(thread_sanitizer) && !defined __SANITIZE_THREAD__
#define __SANITIZE_THREAD__ 1
#endif
#endif

#if defined __SANITIZE_THREAD__

#include <sanitizer/tsan_interface.h>

struct detour {
    void *outside, *inside;
};

/* Inline: TSan counts calls and returns for each fiber, so a function must
 * return on the fiber that has called it. */
__attribute__((always_inline)) static inline struct detour detour_begin(void)
{
    struct detour detour = {.outside = __tsan_get_current_fiber(),
                            .inside = __tsan_create_fiber(0)};
    __tsan_switch_to_fiber(detour.inside, 0);
    return detour;
}

__attribute__((always_inline)) static inline void
detour_end(struct detour detour)
{
    __tsan_switch_to_fiber(detour.outside, 0);
    __tsan_destroy_fiber(detour.inside);
}

#else

struct detour {};

static inline struct detour detour_begin(void)
{
    return (struct detour){};
}

static inline void detour_end(struct detour detour)
{
    (void)detour;
}

#endif

#endif
