/*
 * pin_episodes.h - collecting the episodes of pinned threads, for tests.
 */
#ifndef TESTS_PIN_EPISODES_H
#define TESTS_PIN_EPISODES_H

#include <vthread/pin.h>

#include "platform/unwinder.h"
#include "tests/threads.h"

enum { EPISODES_MAX = 64 };

static vthread_pin_episode_t episodes[EPISODES_MAX];
static atomic_int episode_count;

static inline void collect_episode(void *arg,
                                   const vthread_pin_episode_t *episode)
{
    (void)arg;
    int n = atomic_load(&episode_count);
    ck_assert_int_lt(n, EPISODES_MAX);
    episodes[n] = *episode;
    atomic_store(&episode_count, n + 1);
}

/* Every one, however short, from now on. */
static inline void collect_episodes(void)
{
    setenv("VTHREAD_PIN_MS", "0", 1);
    ck_assert_int_eq(vthread_pin_notify(collect_episode, NULL), 0);
}

/* Until there are so many. */
static inline void until_episodes(int count)
{
    while (atomic_load(&episode_count) < count)
        sched_yield();
}

/* Whether a return address lies in that function. */
static inline bool is_in(uint64_t address, void *fn)
{
    return _Unwind_FindEnclosingFunction((void *)(uintptr_t)(address - 1))
           == fn;
}

static inline bool waits_in(const vthread_pin_episode_t *episode, void *fn)
{
    for (uint32_t i = 0; i < episode->frame_count; i++)
        if (is_in(episode->frames[i], fn))
            return true;
    return false;
}

/* Without these the compiler may leave frames out. */
#define OWN_FRAME __attribute__((noinline))

static inline void end_of_frame(void)
{
    __asm__ volatile("" ::: "memory");
}

#endif
