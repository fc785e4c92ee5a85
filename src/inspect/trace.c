/*
 * trace.c - the rings of the recorder, and what is put into them.
 *
 * A carrier has a ring of its own, in which only its OS thread of the moment
 * writes; the place of an event is head, and head is moved on when the event
 * is there.  All other OS threads share ring 0.  There an event takes two
 * places, which a writer gets by adding 2 to head: one says whose it is.
 *
 * A reader copies places while they may be overwritten, and finds out
 * afterwards which of them were:
 *
 *     carrier                        reader
 *     1. head = n (release)          1. reads places
 *     2. fence                       2. fence
 *     3. writes place n % size       3. reads head
 *
 * If it has read something of the event n that overwrites event n - size it
 * sees head >= n, and drops that one and all before it.
 *
 * In ring 0 the first of the two places is taken by an exchange with BUSY, and
 * written last: a reader that finds anything but the number it expects there,
 * before and after, drops both.  A writer that finds BUSY has been overtaken
 * by a whole turn of the ring: its event is lost, and is missed by its number.
 *
 * Reading the counter is the dear part of an event, and a carrier unmounts one
 * thread to mount the next.  So the mount has the time of the unmount, where
 * nothing came between the two: no other event, no look at what others have
 * ready, and nobody else who watches.  What the carrier does then, counts as
 * the next thread's time.
 *
 * Why a thread is unmounted is known without an event of its own: what it
 * waits for is stored in the thread before each wait, so the recorder puts
 * FOR_NOTHING there when it mounts it, and looks what has become of that.
 *
 * Once there the rings stay: an OS thread may be at them when it is stopped.
 *
 * Not here: reading, see trace_write.c.
 */
#include "inspect/trace.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "continuation/continuation.h"
#include "inspect/describe.h"
#include "local.h"
#include "platform/cycles.h"
#include "platform/memory.h"
#include "platform/os_thread.h"
#include "scheduler.h"
#include "scope/scope.h"
#include "thread.h"

/* No event: when is 56 bits of ticks. */
#define BUSY UINT64_MAX

/* The carrier of a ring that is counted, and not yet its owner's. */
#define NOBODYS UINT32_MAX

/* The kinds of waits_for.h are numbers of the format. */
_Static_assert((int)FOR_LISTED == TRACE_FOR_LIST
                   && (int)FOR_UNPARK == TRACE_FOR_UNPARK
                   && (int)FOR_TIME == TRACE_FOR_TIME
                   && (int)FOR_END == TRACE_FOR_END
                   && (int)FOR_CHANNEL == TRACE_FOR_CHANNEL
                   && (int)FOR_SEVERAL == TRACE_FOR_SEVERAL
                   && (int)FOR_FUTURE == TRACE_FOR_FUTURE
                   && (int)FOR_SCOPE == TRACE_FOR_SCOPE
                   && (int)FOR_DESCRIPTOR == TRACE_FOR_DESCRIPTOR
                   && (int)FOR_POLL == TRACE_FOR_POLL
                   && (int)FOR_FILE == TRACE_FOR_FILE
                   && (int)FOR_SIGNAL == TRACE_FOR_SIGNAL
                   && (int)FOR_CALL == TRACE_FOR_CALL
                   && (int)FOR_CERTAIN == TRACE_FOR_CERTAIN
                   && (int)FOR_KINDS == TRACE_WAITS,
               "TRACE_WAIT + waits_for");

static struct trace_ring rings[TRACE_RINGS_MAX];
static _Atomic unsigned ring_count; /* A */
static size_t places;               /* in each; S, like these: */
static bool has_cycles;
static uint64_t first_ticks;
static struct trace_clock first_clock; /* by ticks since first_ticks */

unsigned trace_ring_count(void)
{
    unsigned count = atomic_load_explicit(&ring_count, memory_order_acquire);
    return count < TRACE_RINGS_MAX ? count : TRACE_RINGS_MAX;
}

struct trace_ring *trace_ring_at(unsigned number)
{
    return &rings[number];
}

size_t trace_ring_places(void)
{
    return places;
}

uint64_t trace_ticks(void)
{
    return (has_cycles ? cycles_now() : clock_now_ns()) - first_ticks;
}

void trace_clock_now(struct trace_clock *clock)
{
    struct timespec real;
    clock_gettime(CLOCK_REALTIME, &real);
    *clock = (struct trace_clock){
        .ticks = trace_ticks(),
        .monotonic_ns = clock_now_ns(),
        .real_ns = (uint64_t)real.tv_sec * 1000000000 + (uint64_t)real.tv_nsec,
    };
}

void trace_first_clock(struct trace_clock *clock)
{
    *clock = first_clock;
}

/* By how many of them there were since the beginning. */
uint64_t trace_ticks_ago(uint64_t ns)
{
    uint64_t ticks = trace_ticks();
    uint64_t all_ns = clock_now_ns() - first_clock.monotonic_ns;
    if (ns >= all_ns)
        return 0;
    return ticks - (uint64_t)((double)ticks / (double)all_ns * (double)ns);
}

static inline uint64_t at(uint64_t ticks, enum trace_kind kind)
{
    return ticks << TRACE_KIND_BITS | (uint64_t)kind;
}

static inline uint64_t now(enum trace_kind kind)
{
    return at(trace_ticks(), kind);
}

/* ---- Whose ring --------------------------------------------------------- */

static void note_writer(struct trace_ring *ring)
{
    uint64_t name[2] = {0};
    prctl(PR_GET_NAME, name);
    /* Relaxed, all: for whoever reads it, at any time. */
    atomic_store_explicit(&ring->name[0], name[0], memory_order_relaxed);
    atomic_store_explicit(&ring->name[1], name[1], memory_order_relaxed);
    atomic_store_explicit(&ring->os_thread, (uint32_t)os_thread_number(),
                          memory_order_relaxed);
}

/* The one that this carrier had before, if a scheduler of the same number
 * had one; else a new one; NULL: there are no more. */
static struct trace_ring *find_ring(uint32_t scheduler, uint32_t carrier)
{
    unsigned count = trace_ring_count();
    for (unsigned i = 1; i < count; i++)
        /* Acquire: with the scheduler that belongs to it. */
        if (atomic_load_explicit(&rings[i].carrier, memory_order_acquire)
                == carrier
            && atomic_load_explicit(&rings[i].scheduler, memory_order_relaxed)
                   == scheduler)
            return &rings[i];
    if (count >= TRACE_RINGS_MAX)
        return NULL;
    /* Release: pairs with trace_ring_count. */
    unsigned number =
        atomic_fetch_add_explicit(&ring_count, 1, memory_order_acq_rel);
    if (number >= TRACE_RINGS_MAX)
        return NULL;
    atomic_store_explicit(&rings[number].scheduler, scheduler,
                          memory_order_relaxed);
    /* Release: pairs with the look above, by carriers of that number. */
    atomic_store_explicit(&rings[number].carrier, carrier,
                          memory_order_release);
    return &rings[number];
}

/* Where those write that have none of their own. */
static struct trace_ring *claim_ring(struct local *here)
{
    struct station *station = here->station;
    unsigned number = (unsigned)(station - here->scheduler->stations);
    struct trace_ring *ring = find_ring(here->scheduler->number, number);
    station->ring = ring ? ring : &rings[0];
    if (ring)
        note_writer(ring);
    return station->ring;
}

static inline struct trace_ring *ring_of(struct local *here)
{
    if (unlikely(!here->station))
        return &rings[0];
    struct trace_ring *ring = here->station->ring;
    return likely(ring != NULL) ? ring : claim_ring(here);
}

/* The usual case, for which the places that are passed often need no frame: a
 * carrier with a ring of its own, and a counter.  NULL: it is another one. */
static inline struct trace_ring *usual_ring(const struct local *here)
{
    struct trace_ring *ring =
        likely(here->station) ? here->station->ring : NULL;
    return likely(ring && ring->is_simple) ? ring : NULL;
}

static inline uint64_t usual_now(const struct trace_ring *ring,
                                 enum trace_kind kind)
{
    return at(cycles_now() - ring->first_ticks, kind);
}

void trace_carrier_enters(struct station *station)
{
    if (station->ring && station->ring != &rings[0])
        note_writer(station->ring);
}

/* ---- Putting ------------------------------------------------------------ */

/* Stores to a place are relaxed: see the head of the file. */
static inline void set(struct trace_place *place, uint64_t when, uint64_t what)
{
    atomic_store_explicit(&place->when, when, memory_order_relaxed);
    atomic_store_explicit(&place->what, what, memory_order_relaxed);
}

static inline void put_own(struct trace_ring *ring, uint64_t when,
                           uint64_t what)
{
    /* Relaxed: its own. */
    uint64_t n = atomic_load_explicit(&ring->head, memory_order_relaxed);
    /* The store of head by the last event, then this one's place. */
    atomic_thread_fence(memory_order_release);
    set(&ring->places[n & ring->mask], when, what);
    /* Publishes the event; pairs with copy_own in trace_write.c. */
    atomic_store_explicit(&ring->head, n + 1, memory_order_release);
}

__attribute__((noinline)) static void put_shared(uint64_t when, uint64_t what)
{
    struct trace_ring *ring = &rings[0];
    uint64_t n =
        atomic_fetch_add_explicit(&ring->head, 2, memory_order_acq_rel);
    struct trace_place *place = &ring->places[n & ring->mask];
    /* Acquire and release: the second place is this writer's until the
     * first says something else. */
    if (atomic_exchange_explicit(&place->when, BUSY, memory_order_acq_rel)
        == BUSY)
        return;
    atomic_thread_fence(memory_order_release);
    set(place + 1, when, what);
    atomic_store_explicit(&place->what,
                          n / 2 << 32 | (uint32_t)os_thread_number(),
                          memory_order_relaxed);
    /* Publishes both; pairs with copy_shared in trace_write.c. */
    atomic_store_explicit(
        &place->when, (when >> TRACE_KIND_BITS << TRACE_KIND_BITS) | TRACE_BY,
        memory_order_release);
}

static inline void put(struct trace_ring *ring, uint64_t when, uint64_t what)
{
    if (likely(ring != &rings[0]))
        put_own(ring, when, what);
    else
        put_shared(when, what);
}

__attribute__((noinline)) static void note_unusual(enum trace_kind kind,
                                                   uint64_t what)
{
    put(ring_of(local_self()), now(kind), what);
}

void trace_note(enum trace_kind kind, uint64_t what)
{
    struct trace_ring *ring = usual_ring(local_self());
    if (likely(ring != NULL))
        put_own(ring, usual_now(ring, kind), what);
    else
        note_unusual(kind, what);
}

/* ---- Who a thread is ---------------------------------------------------- */

static void put_name(struct trace_ring *ring, uint64_t ticks,
                     const struct thread *t)
{
    uint64_t letters[4];
    if (!describe_try_name(t, (char *)letters, sizeof letters))
        return;
    for (unsigned i = 0; i < 4; i++)
        if (*(const char *)&letters[i])
            put(ring, ticks | TRACE_IS_NAMED, letters[i]);
}

static void put_who(struct trace_ring *ring, uint64_t when,
                    const struct thread *t)
{
    uint64_t ticks = when >> TRACE_KIND_BITS << TRACE_KIND_BITS;
    const void *scope = scope_of_child(t);
    put(ring, ticks | TRACE_IS, thread_handle(t));
    put(ring, ticks | TRACE_IS_FUNCTION, (uintptr_t)t->fn);
    if (scope)
        put(ring, ticks | TRACE_IS_CHILD, (uintptr_t)scope);
    if (thread_extra(t))
        put_name(ring, ticks, t);
}

void trace_created(const struct thread *t)
{
    struct trace_ring *ring = ring_of(local_self());
    uint64_t when = now(TRACE_CREATE);
    put(ring, when, thread_handle(t));
    put_who(ring, when, t);
}

void trace_named(const struct thread *t)
{
    uint64_t when = now(TRACE_IS);
    struct trace_ring *ring = ring_of(local_self());
    put(ring, when, thread_handle(t));
    put_name(ring, when >> TRACE_KIND_BITS << TRACE_KIND_BITS, t);
}

/* ---- Watching ----------------------------------------------------------- */

/* NULL: a continuation that is no thread. */
static struct thread *thread_that_is(struct continuation *c)
{
    return likely(c->kind->describe == describe_continuation)
               ? thread_of_continuation(c)
               : NULL;
}

/* Whether the carrier has done nothing since it unmounted another thread: then
 * t has been in its own queue since before that.  A thread that it has itself
 * unmounted may have been away, for a call on the native stack. */
static inline bool follows(const struct local *here,
                           const struct trace_ring *ring,
                           const struct thread *t)
{
    /* Relaxed: its own. */
    return likely(atomic_load_explicit(&ring->head, memory_order_relaxed)
                      == ring->left.head
                  && ring->left.thread != t
                  && ring->left_looks == *here->station->looks
                  && watch_is_alone(WATCH_TRACE));
}

static void mounting(struct continuation *c)
{
    struct thread *t = thread_that_is(c);
    if (!t)
        return;
    struct local *here = local_self();
    struct trace_ring *ring = usual_ring(here);
    /* Relaxed: the thread's own, which is about to run. */
    atomic_store_explicit(&t->waits_for, FOR_NOTHING, memory_order_relaxed);
    if (likely(ring != NULL) && follows(here, ring, t))
        put_own(ring, at(ring->left.ticks, TRACE_MOUNT), thread_handle(t));
    else
        trace_note(TRACE_MOUNT, thread_handle(t));
}

__attribute__((noinline)) static void
note_unmount_unusual(const struct thread *t, enum trace_kind kind)
{
    struct trace_ring *ring = ring_of(local_self());
    uint64_t when = now(kind);
    put(ring, when, thread_handle(t));
    if (kind == TRACE_FINISH)
        put_who(ring, when, t);
}

static inline enum trace_kind kind_of_unmount(const struct continuation *c,
                                              const struct thread *t)
{
    /* Relaxed: by the thread, which ran here just now. */
    uint8_t what = atomic_load_explicit(&t->waits_for, memory_order_relaxed);
    if (unlikely(c->state == CONTINUATION_DONE))
        return TRACE_FINISH;
    return what == FOR_NOTHING ? TRACE_YIELD
                               : (enum trace_kind)(TRACE_WAIT + what);
}

static void unmounted(struct continuation *c)
{
    struct thread *t = thread_that_is(c);
    if (!t)
        return;
    struct local *here = local_self();
    struct trace_ring *ring = usual_ring(here);
    enum trace_kind kind = kind_of_unmount(c, t);
    if (unlikely(!ring || kind == TRACE_FINISH)) {
        note_unmount_unusual(t, kind);
        return;
    }
    uint64_t when = usual_now(ring, kind);
    put_own(ring, when, thread_handle(t));
    ring->left.ticks = when >> TRACE_KIND_BITS;
    ring->left.thread = t;
    /* Relaxed: its own. */
    ring->left.head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    ring->left_looks = *here->station->looks;
}

/* ---- On and off --------------------------------------------------------- */

static void make_ring(unsigned number, struct trace_place *first)
{
    struct trace_ring *ring = &rings[number];
    ring->places = first;
    ring->mask = places - 1;
    ring->first_ticks = first_ticks;
    ring->left.head = UINT64_MAX; /* never */
    ring->is_simple = has_cycles && number != 0;
    /* Relaxed: published with the count. */
    atomic_store_explicit(&ring->carrier, NOBODYS, memory_order_relaxed);
}

static int make_rings(size_t events)
{
    size_t bytes = events * sizeof(struct trace_place);
    char *start = memory_reserve(TRACE_RINGS_MAX * bytes);
    if (!start)
        return ENOMEM;
    if (memory_commit(start, TRACE_RINGS_MAX * bytes) != 0) {
        memory_release(start, TRACE_RINGS_MAX * bytes);
        return ENOMEM;
    }
    places = events;
    has_cycles = cycles_are_even();
    first_ticks = trace_ticks();
    for (unsigned i = 0; i < TRACE_RINGS_MAX; i++)
        make_ring(i, (struct trace_place *)(start + i * bytes));
    trace_clock_now(&first_clock);
    /* Release: pairs with trace_ring_count. */
    atomic_store_explicit(&ring_count, 1, memory_order_release);
    return 0;
}

int trace_begin(size_t events)
{
    static const struct watcher watcher = {.mounting = mounting,
                                           .unmounted = unmounted};
    int err = places > 0 ? 0 : make_rings(events);
    if (err == 0)
        watch_begin(WATCH_TRACE, &watcher);
    return err;
}

void trace_stop(void)
{
    watch_end(WATCH_TRACE);
}
