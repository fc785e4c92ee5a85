/*
 * world.c - stopping all virtual threads where they can be looked at.
 *
 * A carrier is `busy` while it runs a thread, or copies frames.  It is not
 * while it is idle, between two threads, waits with a pinned one, or is in a
 * foreign call.  Who becomes busy and who stops the world meet like this:
 *
 *   a carrier                        who stops
 *     (1) busy = true                  (1) is_stopped = true
 *     (2) looks at is_stopped          (2) looks at each busy, and waits
 *         set: busy = false, wakes         while it is true
 *         the other, waits, again
 *
 * All four are seq_cst, so one of the two sees the other's (1).  A thread
 * comes to (2) again at each safepoint.
 *
 *   busy = true    claiming (before frames are copied), mounting where there
 *                  is nothing to claim, the end of a foreign call
 *   busy = false   unmounted, or settled where frames may be copied after
 *                  that; the beginning of a foreign call
 *
 * Who has stopped the world may not wait: its carrier could not run the next
 * thread, nor itself again.
 *
 * Not here: platform threads, which the machine has to stop itself.
 */
#include "embed/world.h"

#include <errno.h>

#include "continuation/mount.h"
#include "embed/embedder.h"
#include "embed/roots.h"
#include "local.h"
#include "platform/clock.h"
#include "platform/futex.h"
#include "platform/os_thread.h"
#include "platform/panic.h"
#include "scheduler.h"
#include "settings.h"
#include "thread.h"

bool world_is_on;

static struct {
    struct os_lock lock;         /* who stops it */
    _Atomic uint32_t is_stopped; /* A: carriers wait while it is 1 */
    _Atomic uint32_t progress;   /* A: changes when a carrier is not busy any
                                    more that had to be waited for */
    const struct thread *_Atomic stopper; /* A, changed under L */
    struct roots_os_thread *own; /* L: its record, or NULL */
} world;

__attribute__((visibility("hidden"))) __thread struct roots_os_thread
    world_record;

THREAD_LOCAL_SELF(struct roots_os_thread, record_self, world_record)

bool world_is_stopped(void)
{
    /* Relaxed: a hint, for who makes nothing of it. */
    return atomic_load_explicit(&world.is_stopped, memory_order_relaxed);
}

/* ---- Busy or not -------------------------------------------------------- */

static struct station *own_station(void)
{
    return local_self()->station;
}

static bool is_busy(const struct station *station)
{
    return atomic_load_explicit(&station->is_busy, memory_order_seq_cst);
}

/* From sp on its frames may be looked at; NULL: there are none. */
static void be_idle(struct station *station, void *sp)
{
    atomic_store_explicit(&record_self()->stopped_sp, sp,
                          memory_order_relaxed);
    /* (2) of who stops; publishes the sp and all that the thread did. */
    atomic_store_explicit(&station->is_busy, false, memory_order_seq_cst);
    if (likely(!atomic_load_explicit(&world.is_stopped,
                                     memory_order_seq_cst)))
        return;
    atomic_fetch_add_explicit(&world.progress, 1, memory_order_release);
    futex_wake(&world.progress, INT32_MAX);
}

/* Relaxed: whether it is the caller itself, who has written it. */
static bool is_stopper(void)
{
    const struct thread *stopper =
        atomic_load_explicit(&world.stopper, memory_order_relaxed);
    return stopper && stopper == local_thread(local_self());
}

static void wait_for_start(void)
{
    if (is_stopper())
        panic("a thread waits that has stopped the world");
    while (atomic_load_explicit(&world.is_stopped, memory_order_seq_cst))
        futex_wait(&world.is_stopped, 1, CLOCK_NEVER);
}

static void be_busy(struct station *station, void *sp)
{
    atomic_store_explicit(&station->is_busy, true, memory_order_seq_cst);
    while (unlikely(atomic_load_explicit(&world.is_stopped,
                                         memory_order_seq_cst))) {
        be_idle(station, sp);
        wait_for_start();
        atomic_store_explicit(&station->is_busy, true, memory_order_seq_cst);
    }
}

/* ---- Mounting ----------------------------------------------------------- */

static void claiming(void)
{
    struct station *station = own_station();
    if (station && !is_busy(station))
        be_busy(station, NULL);
}

static void settled(void)
{
    struct station *station = own_station();
    if (station && !mount_point_self()->current)
        be_idle(station, NULL);
}

/* What runs inside of a thread changes nothing. */
static void mounting(struct continuation *c)
{
    if (!c->link)
        claiming();
}

static void unmounted(struct continuation *c)
{
    if (mount_is_simple(c))
        settled();
}

static const struct watcher watcher = {
    .claiming = claiming,
    .mounting = mounting,
    .unmounted = unmounted,
    .settled = settled,
};

void world_start(void)
{
    world_is_on = true;
    roots_on(settings_get()->freeze == FREEZE_GUARD);
    watch_begin(WATCH_WORLD, &watcher);
}

/* ---- Carriers, calls, safepoints ---------------------------------------- */

void world_carrier_enter(struct station *station)
{
    void *low, *high;
    if (os_thread_stack(&low, &high) != 0)
        panic("the stack of an OS thread cannot be found");
    roots_enter(record_self(), high);
    atomic_store_explicit(&station->is_busy, false, memory_order_relaxed);
}

void world_carrier_leave(struct station *station)
{
    (void)station;
    roots_leave(record_self());
}

bool world_leave(void *sp)
{
    struct station *station = own_station();
    if (!station || !is_busy(station))
        return false;
    be_idle(station, sp);
    return true;
}

void world_come_back(void)
{
    void *sp = atomic_load_explicit(&record_self()->stopped_sp,
                                    memory_order_relaxed);
    be_busy(own_station(), sp);
}

/* Callee-saved registers belong to the callers: they are pushed, so that they
 * lie above the sp that is told. */
__attribute__((noinline)) void world_wait(void)
{
    struct station *station = own_station();
    if (!station || !is_busy(station) || !world_is_stopped())
        return;
    __builtin_unwind_init();
    be_idle(station, __builtin_frame_address(0));
    wait_for_start();
    be_busy(station, __builtin_frame_address(0));
}

/* ---- Stopping ----------------------------------------------------------- */

static void wait_until_idle(const struct station *station)
{
    for (;;) {
        uint32_t seen = atomic_load_explicit(&world.progress,
                                             memory_order_acquire);
        if (!is_busy(station))
            return;
        futex_wait(&world.progress, seen, CLOCK_NEVER);
    }
}

/* Its pool is not asked how many there are: it may be going. */
static void wait_until_all_are_idle(const struct station *own)
{
    for (unsigned number = 1; number <= SCHEDULERS_MAX; number++) {
        struct vthread_scheduler *s = scheduler_at((uint8_t)number);
        for (unsigned i = 0; s && i < POOL_MAX_CARRIERS; i++)
            if (&s->stations[i] != own)
                wait_until_idle(&s->stations[i]);
    }
}

/* Others may be at it: they are to be found idle meanwhile. */
__attribute__((noinline)) static void take_turn(struct station *station)
{
    __builtin_unwind_init();
    if (os_lock_try(&world.lock))
        return;
    bool was_busy = station && world_leave(__builtin_frame_address(0));
    os_lock_acquire(&world.lock);
    if (was_busy)
        /* Nobody stops it but the caller. */
        atomic_store_explicit(&station->is_busy, true, memory_order_seq_cst);
}

int vthread_world_stop(void)
{
    struct thread *self = thread_self();
    if (!self)
        return ENOMEM;
    if (!world_is_on)
        return ENOTSUP;
    if (is_stopper())
        return EDEADLK;
    int err = vthread_pin();
    if (err != 0)
        return err;
    struct station *station = own_station();
    take_turn(station);
    atomic_store_explicit(&world.stopper, self, memory_order_relaxed);
    world.own = station ? record_self() : NULL;
    atomic_store_explicit(&world.is_stopped, 1, memory_order_seq_cst);
    __atomic_fetch_add(&vthread_safepoint_requests, 1, __ATOMIC_RELAXED);
    wait_until_all_are_idle(station);
    if (embedder->world_stopped)
        embedder->world_stopped();
    return 0;
}

int vthread_world_start(void)
{
    if (!is_stopper())
        return EPERM;
    if (embedder->world_starting)
        embedder->world_starting();
    atomic_store_explicit(&world.stopper, NULL, memory_order_relaxed);
    __atomic_fetch_sub(&vthread_safepoint_requests, 1, __ATOMIC_RELAXED);
    /* Releases what the collector did. */
    atomic_store_explicit(&world.is_stopped, 0, memory_order_seq_cst);
    futex_wake(&world.is_stopped, INT32_MAX);
    os_lock_release(&world.lock);
    (void)vthread_unpin();
    return 0;
}

/* ---- Roots -------------------------------------------------------------- */

struct visit {
    struct roots_visitor visitor;
    vthread_roots_fn *fn;
    void *arg;
};

static void visit_range(struct roots_visitor *visitor, enum root_kind kind,
                        const struct thread *owner, const void *low,
                        const void *high)
{
    const struct visit *visit = (const struct visit *)visitor;
    const struct thread_extra *extra = owner ? thread_extra(owner) : NULL;
    if (kind == ROOT_NATIVE)
        return; /* of the library only */
    visit->fn(visit->arg, owner ? thread_handle(owner) : 0,
              extra ? extra->user : NULL, low, high);
}

__attribute__((noinline)) int vthread_world_roots(vthread_roots_fn *fn,
                                                  void *arg)
{
    if (!fn)
        return EINVAL;
    if (!is_stopper())
        return EPERM;
    struct visit visit = {.visitor = {.range = visit_range},
                          .fn = fn,
                          .arg = arg};
    __builtin_unwind_init();
    if (world.own)
        atomic_store_explicit(&world.own->stopped_sp,
                              __builtin_frame_address(0),
                              memory_order_relaxed);
    roots_hold();
    roots_begin();
    roots_each(&visit.visitor);
    roots_end();
    roots_release();
    return 0;
}
