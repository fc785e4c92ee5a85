/*
 * pin.c - an episode: one wait of a pinned thread.
 *
 * A pinned thread waits in two steps.  On its own stack it is about to wait:
 * there pin_note takes the stack.  Its carrier finds it pinned and waits with
 * it (vthread.c: wait_with): there pin_begin writes down the rest, and pin_end
 * how long it took.  All of it is in the table of the OS thread, which both
 * run on, so nothing is allocated or locked, and a wait below the threshold
 * leaves nothing behind.
 *
 * While `wait` of the table is odd the episode stays as it is, and others may
 * read it: pin_chain.c does.
 *
 * With nobody who listens a pinned wait costs one load more.
 *
 * Not here: what is told of an episode, and to whom (pin_words.c,
 * pin_report.c).
 */
#include "inspect/pin.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include <vthread.h>

#include "carrier/pool.h"
#include "inspect/describe.h"
#include "inspect/lock_wait.h"
#include "inspect/pin_report.h"
#include "inspect/pin_ring.h"
#include "inspect/trace.h"
#include "local.h"
#include "platform/clock.h"
#include "platform/panic.h"
#include "platform/unwinder.h"
#include "scheduler.h"
#include "settings.h"
#include "sync/waitlist.h"
#include "thread.h"
#include "waiting.h"

enum {
    FRAMES = VTHREAD_PIN_FRAMES_MAX,
    AROUND_BYTES = 16 /* of an object, before and behind the list in it */
};

_Atomic uint32_t pin_listeners;

/* What pin_end compares with.  The OS thread's. */
struct before {
    struct lock_queue_time queues[VTHREAD_PIN_HOLDS_MAX];
    uint64_t spares;
};
static __thread struct before before;

_Atomic bool pin_tracks_locks;

/* ---- Listening ---------------------------------------------------------- */

bool pin_listen(void)
{
    if (settings_get()->pin == PIN_OFF)
        return false;
    atomic_fetch_add_explicit(&pin_listeners, 1, memory_order_relaxed);
    return true;
}

void pin_listen_no_more(void)
{
    atomic_fetch_sub_explicit(&pin_listeners, 1, memory_order_relaxed);
}

bool vthread_lock_track(void)
{
    if (settings_is_pin_off())
        return false;
    atomic_store_explicit(&pin_tracks_locks, true, memory_order_relaxed);
    return true;
}

bool pin_locks_are_tracked(void)
{
    return atomic_load_explicit(&pin_tracks_locks, memory_order_relaxed);
}

/* ---- Where it waits ----------------------------------------------------- */

struct walk {
    struct vthread_pin_episode *episode;
    uintptr_t functions[FRAMES]; /* where each one begins */
    unsigned skip;
};

static _Unwind_Reason_Code see_frame(struct _Unwind_Context *context,
                                     void *argument)
{
    struct walk *walk = argument;
    struct vthread_pin_episode *episode = walk->episode;
    uintptr_t pc = _Unwind_GetIP(context);
    if (walk->skip > 0) {
        walk->skip--;
        return _URC_NO_REASON;
    }
    if (pc == 0 || episode->frame_count == FRAMES)
        return _URC_END_OF_STACK;
    walk->functions[episode->frame_count] = _Unwind_GetRegionStart(context);
    episode->frames[episode->frame_count++] = pc;
    return _URC_NO_REASON;
}

/* The frame of the function that contains an address, the innermost. */
static uint32_t frame_around(const struct walk *walk, const void *site)
{
    uintptr_t function = (uintptr_t)_Unwind_FindEnclosingFunction(
        (void *)((uintptr_t)site - 1));
    uint32_t i = 0;
    while (i < walk->episode->frame_count
           && (!function || walk->functions[i] != function))
        i++;
    return i;
}

static vthread_pin_hold_t hold_of(const struct held_entry *entry)
{
    /* Relaxed, all: the OS thread's own. */
    uint32_t kind = atomic_load_explicit(&entry->kind, memory_order_relaxed);
    const void *object = atomic_load_explicit(&entry->object,
                                              memory_order_relaxed);
    return (vthread_pin_hold_t){
        .object = kind == VTHREAD_HOLD_PIN ? 0 : (uintptr_t)object,
        .site = (uintptr_t)atomic_load_explicit(&entry->site,
                                                memory_order_relaxed),
        .count = atomic_load_explicit(&entry->count, memory_order_relaxed),
        .kind = kind,
    };
}

/* The last ones taken, without those that this wait is about. */
static void note_holds(struct held *held, const struct walk *walk)
{
    struct vthread_pin_episode *episode = &held->episode;
    uint32_t count = atomic_load_explicit(&held->count, memory_order_relaxed);
    for (uint32_t i = count; i-- > 0;) {
        const struct held_entry *entry = &held->entries[i];
        vthread_pin_hold_t hold = hold_of(entry);
        bool is_pin = hold.kind == VTHREAD_HOLD_PIN;
        episode->reasons |= is_pin ? VTHREAD_PINNED_BY_PIN
                                   : VTHREAD_PINNED_BY_LOCK;
        const char *why = is_pin ? entry->object : NULL;
        if (why && !episode->why[0])
            strncpy(episode->why, why, sizeof episode->why - 1);
        if (episode->hold_count == VTHREAD_PIN_HOLDS_MAX)
            continue;
        hold.frame = frame_around(walk, (const void *)hold.site);
        episode->holds[episode->hold_count++] = hold;
    }
    episode->holds_left_out = count - episode->hold_count + held->unlisted;
}

/* `skip` frames are ours. */
static void note(struct held *held, unsigned skip)
{
    struct walk walk = {.episode = &held->episode, .skip = skip + 1};
    held_drop_given(held);
    held->episode
        = (struct vthread_pin_episode){.size_bytes = sizeof held->episode};
    _Unwind_Backtrace(see_frame, &walk);
    note_holds(held, &walk);
    held->is_noted = true;
}

__attribute__((noinline)) void pin_note(void)
{
    struct held *held = pin_is_on() ? held_self() : NULL;
    if (held)
        note(held, 1);
}

static const char *const lock_words[] = {
    [VTHREAD_HOLD_MUTEX] = "pthread mutex",
    [VTHREAD_HOLD_READ] = "pthread rwlock, to read",
    [VTHREAD_HOLD_WRITE] = "pthread rwlock, to write",
    [VTHREAD_HOLD_COND] = "pthread condition",
    [VTHREAD_HOLD_OTHER] = "lock",
};

__attribute__((noinline)) void pin_note_lock(struct held *held,
                                             const void *lock,
                                             vthread_hold_kind_t kind)
{
    struct thread *owner;
    uint32_t os_thread;
    if (!pin_is_on())
        return;
    note(held, 1);
    struct vthread_pin_episode *episode = &held->episode;
    episode->waits_on = (uintptr_t)lock;
    if (kind < sizeof lock_words / sizeof lock_words[0] && lock_words[kind])
        format_text(episode->waits_for, sizeof episode->waits_for,
                    "waits for %s", lock_words[kind]);
    if (kind != VTHREAD_HOLD_COND
        && held_find_holder(lock, &owner, &os_thread) && owner)
        episode->holder = thread_handle(owner);
}

/* ---- What it waits for -------------------------------------------------- */

/* Who has woken the thread may have freed what wait_on leads to. */
static bool copy_if_there(void *to, const void *from, size_t size_bytes)
{
    struct iovec local_range = {to, size_bytes};
    struct iovec other = {(void *)from, size_bytes};
    return process_vm_readv(getpid(), &local_range, 1, &other, 1, 0)
           == (ssize_t)size_bytes;
}

/* It waits in a list; the object around that is copied, and looked at where
 * the copy is. */
static void look_at_list(const struct waitlist *list,
                         struct vthread_pin_episode *episode)
{
    _Alignas(16) char copy[AROUND_BYTES + sizeof *list + AROUND_BYTES];
    struct waiting waiting;
    if (!copy_if_there(copy, (const char *)list - AROUND_BYTES, sizeof copy))
        return;
    waiting_of_list((const struct waitlist *)(copy + AROUND_BYTES), &waiting);
    format_text(episode->waits_for, sizeof episode->waits_for, "waits for %s",
                waiting.kind);
    episode->waits_on = (uintptr_t)list
                        + (uintptr_t)((const char *)waiting.object - copy)
                        - AROUND_BYTES;
    if (waiting.holder && thread_is_in_table(waiting.holder))
        episode->holder = thread_handle(waiting.holder);
}

void pin_look_at_wait(struct thread *t, struct vthread_pin_episode *episode)
{
    enum waits_for what = waiting_what(t);
    void *on = (void *)((uintptr_t)waitlist_wait_on(t) & ~(uintptr_t)1);
    format_text(episode->waits_for, sizeof episode->waits_for, "%s",
                describe_waits_for(what));
    if (what == FOR_END && on && thread_is_in_table(on))
        episode->holder = thread_handle(on);
    else if (what == FOR_LISTED && on)
        look_at_list(on, episode);
}

/* ---- It begins ---------------------------------------------------------- */

/* Without the lock of names: it may be a new one and an old one in one. */
NO_SANITIZE_THREAD static void copy_name(char *to, const char *from,
                                         size_t size_bytes)
{
    for (size_t i = 0; i + 1 < size_bytes; i++)
        to[i] = ((const volatile char *)from)[i];
    to[size_bytes - 1] = '\0';
}

static void note_thread(struct thread *t, struct vthread_pin_episode *episode)
{
    const struct thread_extra *extra = thread_extra(t);
    episode->thread = thread_handle(t);
    episode->entry = (uintptr_t)t->fn;
    if (extra)
        copy_name(episode->name, extra->name, sizeof episode->name);
}

static void note_carrier(const struct local *here, const struct held *held,
                         struct vthread_pin_episode *episode)
{
    episode->scheduler = here->scheduler->number;
    episode->carrier = carrier_number(here->carrier);
    /* Relaxed: the OS thread's own. */
    episode->os_thread = atomic_load_explicit(&held->os_thread,
                                              memory_order_relaxed);
    episode->locks_tracked = pin_locks_are_tracked();
    episode->ready = carrier_ready(here->carrier);
}

static void note_before(const struct local *here,
                        struct vthread_pin_episode *episode)
{
    before.spares = pool_threads_started(carrier_pool(here->carrier));
    for (uint32_t i = 0; i < episode->hold_count; i++)
        if (episode->holds[i].object)
            before.queues[i] = lock_wait_look(
                (const void *)episode->holds[i].object, episode->start_ns);
}

static void change_wait(struct held *held)
{
    /* Acquire and release: the episode is complete when the number is odd,
     * and is changed after it is even again.  Pairs with pin_chain.c. */
    atomic_fetch_add_explicit(&held->wait, 1, memory_order_acq_rel);
}

static void note_reasons(const struct local *here, const struct held *held,
                         enum pin_cause cause,
                         struct vthread_pin_episode *episode)
{
    if (carrier_calls(here->carrier) > 0 || held->upcalls > 0)
        episode->reasons |= VTHREAD_PINNED_BY_FOREIGN;
    if (cause == PIN_HAS_NO_MEMORY)
        episode->reasons |= VTHREAD_PINNED_BY_NO_MEMORY;
    if (held->unlisted > 0)
        episode->reasons |= VTHREAD_PINNED_BY_LOCK;
    if (episode->reasons == 0 && cause == PIN_WAITS)
        episode->reasons = VTHREAD_PINNED_BY_PIN;
}

void pin_begin(struct local *here, struct thread *t, enum pin_cause cause)
{
    struct held *held = pin_is_on() ? held_self() : NULL;
    if (!held)
        return;
    struct vthread_pin_episode *episode = &held->episode;
    if (!held->is_noted) {
        *episode = (struct vthread_pin_episode){.size_bytes = sizeof *episode};
        if (cause == PIN_HAS_NO_MEMORY)
            episode->frame_count = continuation_walk(
                &t->continuation, episode->frames, FRAMES);
    }
    held->is_noted = false;
    note_thread(t, episode);
    note_carrier(here, held, episode);
    note_reasons(here, held, cause, episode);
    held->is_victim = cause == PIN_WAITS_FOR_LOCK && episode->reasons == 0;
    if (cause != PIN_WAITS_FOR_LOCK)
        pin_look_at_wait(t, episode);
    episode->start_ns = clock_now_ns();
    note_before(here, episode);
    held->is_waiting = true;
    change_wait(held);
}

/* ---- It ends ------------------------------------------------------------ */

static void count_waiters(struct vthread_pin_episode *episode)
{
    uint64_t now_ns = episode->start_ns + episode->duration_ns;
    for (uint32_t i = 0; i < episode->hold_count; i++) {
        vthread_pin_hold_t *hold = &episode->holds[i];
        if (!hold->object)
            continue;
        static const struct lock_queue_time none;
        const struct lock_queue_time *then = &before.queues[i];
        struct lock_queue_time now = lock_wait_look(
            (const void *)hold->object, now_ns);
        if (now.era != then->era)
            then = &none;
        hold->waiters = (uint32_t)(now.arrivals - then->arrivals + then->now);
        hold->waited_ns = now.waited_ns - then->waited_ns;
        episode->delay_ns += hold->waited_ns;
    }
}

static void count_cost(const struct local *here,
                       struct vthread_pin_episode *episode)
{
    count_waiters(episode);
    episode->stranded = carrier_ready(here->carrier);
    uint32_t stayed = episode->stranded < episode->ready ? episode->stranded
                                                         : episode->ready;
    episode->delay_ns += stayed * episode->duration_ns;
    episode->spares = (uint32_t)(pool_threads_started(
                                     carrier_pool(here->carrier))
                                 - before.spares);
}

static void abort_with(const struct vthread_pin_episode *episode)
{
    pin_report_now(episode);
    panic("VTHREAD_PIN=abort: the thread has waited while it was pinned");
}

void pin_end(struct local *here)
{
    struct held *held = held_local_self()->held;
    if (!held || !held->is_waiting)
        return;
    struct vthread_pin_episode *episode = &held->episode;
    uint64_t now_ns = clock_now_ns();
    /* First: from here on it is changed. */
    change_wait(held);
    held->is_waiting = false;
    episode->duration_ns = now_ns - episode->start_ns;
    if (held->is_victim
        || episode->duration_ns < settings_get()->pin_ms * VTHREAD_MS)
        return;
    count_cost(here, episode);
    pin_ring_put(episode);
    trace_trigger("pin");
    if (settings_get()->pin == PIN_ABORT)
        abort_with(episode);
}
