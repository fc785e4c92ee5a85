/*
 * pin_ring.c - the last episodes of the process, overwritten in turn.
 *
 * Writers are carriers whose thread has been pinned; they neither lock nor
 * wait.  Each takes a number, and with it a slot.  The slot's word tells who
 * has it:
 *
 *   2 * number + 1   is being written
 *   2 * number       is there
 *
 * A writer that finds its slot being written, by one that was stopped there
 * for as long as the others went round, leaves its episode out: the number is
 * missing.  A reader copies, and looks whether the word is as it was.
 */
#include "inspect/pin_ring.h"

#include <string.h>

#include "platform/atomics.h"
#include "platform/clock.h"
#include "platform/futex.h"
#include "platform/sanitizer.h"

enum {
    SLOTS = 256,
    WORDS = sizeof(struct vthread_pin_episode) / sizeof(uint64_t)
};

_Static_assert(sizeof(struct vthread_pin_episode) % sizeof(uint64_t) == 0,
               "an episode is whole words");

struct slot {
    _Atomic uint64_t word;
    _Atomic uint64_t words[WORDS];
};

static struct slot slots[SLOTS];
static _Atomic uint64_t last; /* numbers given */
static _Atomic uint32_t signal_word, readers;

/* ---- Writing ------------------------------------------------------------ */

static bool take_slot(struct slot *slot, uint64_t number)
{
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    /* Acquire: the words are written after the last writer's. */
    return !(word & 1) && word < 2 * number
           && atomic_compare_exchange_strong_explicit(
               &slot->word, &word, 2 * number + 1, memory_order_acquire,
               memory_order_relaxed);
}

static void fill(struct slot *slot, const struct vthread_pin_episode *episode)
{
    uint64_t words[WORDS];
    memcpy(words, episode, sizeof words);
    /* Release: the odd word comes before; pairs with the fence in copy. */
    atomic_thread_fence(memory_order_release);
    for (unsigned i = 0; i < WORDS; i++)
        atomic_store_explicit(&slot->words[i], words[i],
                              memory_order_relaxed);
}

void pin_ring_put(struct vthread_pin_episode *episode)
{
    /* Relaxed: a number, no more. */
    uint64_t number = atomic_fetch_add_explicit(&last, 1,
                                                memory_order_relaxed)
                      + 1;
    struct slot *slot = &slots[number % SLOTS];
    episode->number = number;
    if (!take_slot(slot, number))
        return;
    fill(slot, episode);
    /* Release: it is complete; pairs with copy. */
    atomic_store_explicit(&slot->word, 2 * number, memory_order_release);
    pin_ring_wake_readers();
}

/* ---- Reading ------------------------------------------------------------ */

uint64_t pin_ring_next(void)
{
    return atomic_load_explicit(&last, memory_order_relaxed) + 1;
}

/* False: it is not there any more, or not yet, or is no more at the end. */
static bool copy(uint64_t number, struct vthread_pin_episode *episode)
{
    uint64_t words[WORDS];
    const struct slot *slot = &slots[number % SLOTS];
    /* Acquire: pairs with the release in pin_ring_put. */
    if (atomic_load_explicit(&slot->word, memory_order_acquire)
        != 2 * number)
        return false;
    for (unsigned i = 0; i < WORDS; i++)
        words[i] = atomic_load_explicit(&slot->words[i],
                                        memory_order_relaxed);
    /* Acquire: the words before the second look; pairs with fill. */
    atomic_thread_fence(memory_order_acquire);
    if (atomic_load_explicit(&slot->word, memory_order_relaxed)
        != 2 * number)
        return false;
    memcpy(episode, words, sizeof words);
    return true;
}

bool pin_ring_get(uint64_t from, struct vthread_pin_episode *episode)
{
    uint64_t next = pin_ring_next();
    if (from + SLOTS < next)
        from = next - SLOTS;
    for (; from < next; from++)
        if (copy(from, episode))
            return true;
    return false;
}

void pin_ring_wake_readers(void)
{
    /* seq_cst: the number or whatever else has changed before the look at
     * the readers; pairs with pin_ring_wait. */
    atomic_fetch_add_explicit(&signal_word, 1, memory_order_seq_cst);
    fence_after_rmw();
    if (atomic_load_explicit(&readers, memory_order_seq_cst) > 0)
        futex_wake(&signal_word, INT32_MAX);
}

void pin_ring_wait(uint64_t number, uint64_t deadline_ns)
{
    atomic_fetch_add_explicit(&readers, 1, memory_order_seq_cst);
    fence_after_rmw();
    uint32_t signal = atomic_load_explicit(&signal_word,
                                           memory_order_seq_cst);
    struct vthread_pin_episode episode;
    if (!pin_ring_get(number, &episode))
        futex_wait(&signal_word, signal, sanitizer_sleep_limit(deadline_ns));
    atomic_fetch_sub_explicit(&readers, 1, memory_order_relaxed);
}
