/*
 * pin_chain.c - no carrier is left: who waits for what, held by whom.
 *
 * Each carrier that there may be is blocked, with a pinned thread or with one
 * that waits for a lock, and threads are ready to run.  If what the pinned
 * ones wait for has to be done by one that is ready, that is for ever; mostly
 * it is a server that stands still for as long as the slowest lock is held.
 * The monitor says so at its second look (carrier/monitor.c).  With
 * VTHREAD_PIN=report or abort it is told then; without, when it has lasted for
 * a second, since few have carriers to spare by chance.
 *
 * What is known of a pinned thread is in the table of its OS thread, and stays
 * while its number `wait` is odd and does not change; who has the lock is
 * asked anew, for that may have changed.
 */
#include "inspect/pin_chain.h"

#include <string.h>

#include <vthread.h>

#include "carrier/pool.h"
#include "inspect/held.h"
#include "inspect/pin.h"
#include "inspect/pin_report.h"
#include "inspect/pin_words.h"
#include "platform/panic.h"
#include "scheduler.h"
#include "settings.h"
#include "thread.h"

enum { TEXT_BYTES = 8192, LINES_MAX = 16 };

#define PATIENCE_NS VTHREAD_SECOND

/* ---- What is known ------------------------------------------------------ */

/* False: the OS thread does not wait, or has begun or ended to meanwhile. */
NO_SANITIZE_THREAD static bool copy_wait(const struct held *held,
                                         vthread_pin_episode_t *episode)
{
    /* Acquire: the episode is complete; pairs with change_wait in pin.c. */
    uint32_t wait = atomic_load_explicit(&held->wait, memory_order_acquire);
    if (!(wait & 1))
        return false;
    const volatile uint64_t *from = (const volatile void *)&held->episode;
    uint64_t *to = (void *)episode;
    for (unsigned i = 0; i < sizeof *episode / sizeof *to; i++)
        to[i] = from[i];
    /* Acquire: the copy comes before the second look. */
    atomic_thread_fence(memory_order_acquire);
    return atomic_load_explicit(&held->wait, memory_order_relaxed) == wait;
}

/* Who has what it waits for, as it is now. */
static void look_for_holder(vthread_pin_episode_t *episode)
{
    uint64_t word;
    uint32_t os_thread;
    struct thread *owner = NULL;
    struct thread *t = thread_of_handle(episode->thread, &word);
    if (t && word & (THREAD_PARKED | THREAD_WAITING)) {
        episode->holder = episode->waits_on = 0;
        pin_look_at_wait(t, episode);
    } else if (held_find_holder((const void *)(uintptr_t)episode->waits_on,
                                &owner, &os_thread)) {
        episode->holder = owner ? thread_handle(owner) : 0;
    }
}

/* ---- Words -------------------------------------------------------------- */

static void add_thread(struct words *words, vthread_pin_episode_t *episode)
{
    look_for_holder(episode);
    words_add(words, "  thread %lu%s%s%s ", (unsigned long)episode->thread,
              *episode->name ? " '" : "", episode->name,
              *episode->name ? "'" : "");
    words_add_reason(words, episode);
    words_add(words, episode->reasons ? "; it " : "");
    words_add_wait(words, episode);
    words_add(words, "\n");
}

/* One that holds what a pinned thread waits for, and is not pinned itself:
 * it may be among those that have no carrier. */
static void add_holder(struct words *words, uint64_t handle)
{
    char text[120];
    uint64_t word;
    struct thread *t = thread_of_handle(handle, &word);
    if (!t || word & THREAD_KERNEL)
        return;
    thread_describe(t, text, sizeof text);
    words_add(words, "  %s is the one that is waited for\n", text);
}

/* How many there are. */
static unsigned add_pinned(struct words *words, unsigned scheduler)
{
    unsigned count = 0;
    for (struct held *held = held_first(); held; held = held_next(held)) {
        vthread_pin_episode_t episode;
        if (!copy_wait(held, &episode) || episode.scheduler != scheduler)
            continue;
        if (count++ >= LINES_MAX)
            continue;
        add_thread(words, &episode);
        if (episode.holder)
            add_holder(words, episode.holder);
    }
    if (count > LINES_MAX)
        words_add(words, "  and %u more\n", count - LINES_MAX);
    return count;
}

static void tell(const struct vthread_scheduler *s, uint64_t lasted_ns)
{
    static char text[TEXT_BYTES]; /* with the lock below */
    struct words words = {text, sizeof text, 0};
    words_add(&words, "no carrier is left: all %u of scheduler %u have been "
                      "blocked for ",
              pool_os_threads(s->pool), s->number);
    words_add_time(&words, lasted_ns);
    words_add(&words, ", and threads are ready to run "
                      "(VTHREAD_MAX_CARRIERS)\n");
    if (!pin_is_on())
        words_add(&words, "  VTHREAD_PIN=report tells who blocks them\n");
    else if (add_pinned(&words, s->number) == 0)
        words_add(&words, "  by foreign calls: no thread is pinned\n");
    if (!pin_locks_are_tracked())
        words_add(&words, "  pthread locks are not tracked: see "
                          "vthread_pin(7)\n");
    pin_report_lines(text);
}

/* ---- When --------------------------------------------------------------- */

static uint64_t patience_ns(void)
{
    switch (settings_get()->pin) {
    case PIN_OFF:
        return VTHREAD_NEVER;
    case PIN_QUIET:
        return PATIENCE_NS;
    default:
        return 1;
    }
}

void pin_chain_look(struct pool *pool, uint64_t lasted_ns)
{
    static struct os_lock lock; /* each scheduler has a monitor */
    struct vthread_scheduler *s = pool_owner(pool);
    uint64_t before_ns = s->exhausted_ns, limit_ns = patience_ns();
    s->exhausted_ns = lasted_ns;
    if (lasted_ns < limit_ns || (before_ns >= limit_ns && before_ns > 0))
        return;
    os_lock_acquire(&lock);
    tell(s, lasted_ns);
    os_lock_release(&lock);
    if (settings_get()->pin == PIN_ABORT)
        panic("VTHREAD_PIN=abort: no carrier is left");
}
