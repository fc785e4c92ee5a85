/*
 * world.c - stopping all virtual threads where they can be looked at.
 *
 * An OS thread is `busy` while it runs a thread or a continuation, or copies
 * frames.  It is not while it is idle, between two threads, waits with a
 * pinned one, sleeps in the kernel, or is in a foreign call.  Who becomes busy
 * and who stops the world meet like this:
 *
 *   who becomes busy                 who stops
 *     (1) busy = true                  (1) is_stopped = true
 *     (2) looks at is_stopped          (2) looks at each busy, and waits
 *         set: busy = false, wakes         while it is true
 *         the other, waits, again
 *
 * All four are seq_cst, so one of the two sees the other's (1).  A thread
 * comes to (2) again at each safepoint.
 *
 *   busy = true    claiming: before frames are copied, or who is mounted is
 *                  changed; the end of a foreign call or a sleep
 *   busy = false   unmounted, or settled where frames may be copied after
 *                  that; the beginning of a foreign call or a sleep
 *
 * An OS thread that is not busy with frames on its stack tells from where on
 * they stay as they are.  Registers that a call preserves belong to the
 * callers: they are in a frame above that (blocking.h, or pushed here).
 *
 * Who has stopped the world may not wait: its carrier could not run the next
 * thread, nor itself again.
 *
 * Not here: what platform threads do outside of continuations; the machine has
 * to stop that itself.
 */
#include "embed/world.h"

#include <errno.h>

#include "continuation/mount.h"
#include "embed/embedder.h"
#include "embed/roots.h"
#include "local.h"
#include "platform/clock.h"
#include "platform/collector.h"
#include "platform/futex.h"
#include "platform/os_thread.h"
#include "platform/panic.h"
#include "platform/registers.h"
#include "settings.h"
#include "thread.h"

bool world_is_on;

static struct {
    struct os_lock lock;         /* who stops it */
    _Atomic uint32_t is_stopped; /* A: carriers wait while it is 1 */
    _Atomic uint32_t progress;   /* A: changes when a carrier is not busy any
                                    more that had to be waited for */
    const struct thread *_Atomic stopper; /* A, changed under L */
    struct roots_os_thread *own; /* L: that of its OS thread */
} world;

/* The record of an OS thread, and how often it has entered. */
struct world_thread {
    struct roots_os_thread roots;
    unsigned enters;
};

__attribute__((visibility("hidden"))) __thread struct world_thread
    world_thread;

THREAD_LOCAL_SELF(struct world_thread, world_thread_self, world_thread)

/* Relaxed: whether it is the caller itself, who has written it. */
static bool is_stopper(void)
{
    const struct thread *stopper =
        atomic_load_explicit(&world.stopper, memory_order_relaxed);
    return stopper && stopper == local_thread(local_self());
}

bool world_is_stopped_by_caller(void)
{
    return is_stopper();
}

bool world_is_stopped(void)
{
    /* Relaxed: a hint, for who makes nothing of it. */
    return atomic_load_explicit(&world.is_stopped, memory_order_relaxed);
}

/* ---- Busy or not -------------------------------------------------------- */

static struct roots_os_thread *record_self(void)
{
    return &world_thread_self()->roots;
}

static void set_busy(struct roots_os_thread *record, bool is_busy)
{
    atomic_store_explicit(&record->is_busy, is_busy, memory_order_seq_cst);
}

static bool is_busy(const struct roots_os_thread *record)
{
    return atomic_load_explicit(&record->is_busy, memory_order_seq_cst);
}

/* An address below all that the caller's frame has pushed. */
__attribute__((noinline)) static void *below_caller(void)
{
    return __builtin_frame_address(0);
}

/* From sp on its frames may be looked at; NULL: there are none. */
static void be_idle(struct roots_os_thread *record, void *sp)
{
    atomic_store_explicit(&record->stopped_sp, sp, memory_order_relaxed);
    /* (2) of who stops; publishes the sp and all that the thread did. */
    set_busy(record, false);
    if (likely(!atomic_load_explicit(&world.is_stopped,
                                     memory_order_seq_cst)))
        return;
    atomic_fetch_add_explicit(&world.progress, 1, memory_order_release);
    futex_wake(&world.progress, INT32_MAX);
}

static void wait_for_start(void)
{
    if (is_stopper())
        panic("a thread waits that has stopped the world");
    while (atomic_load_explicit(&world.is_stopped, memory_order_seq_cst))
        futex_wait(&world.is_stopped, 1, CLOCK_NEVER);
}

static void be_busy(struct roots_os_thread *record, void *sp)
{
    set_busy(record, true);
    while (unlikely(atomic_load_explicit(&world.is_stopped,
                                         memory_order_seq_cst))) {
        be_idle(record, sp);
        wait_for_start();
        set_busy(record, true);
    }
}

/* ---- OS threads --------------------------------------------------------- */

static void enter(void)
{
    struct world_thread *here = world_thread_self();
    void *low, *high;
    if (here->enters++ > 0)
        return;
    if (os_thread_stack(&low, &high) != 0)
        panic("the stack of an OS thread cannot be found");
    roots_enter(&here->roots, high);
}

static void leave(void)
{
    struct world_thread *here = world_thread_self();
    if (here->enters > 0 && --here->enters == 0)
        roots_leave(&here->roots);
}

/* With a continuation on a platform thread. */
__attribute__((noinline)) static void sleep_busy(void (*fn)(void *arg),
                                                 void *arg)
{
    __builtin_unwind_init();
    void *sp = below_caller();
    be_idle(record_self(), sp);
    fn(arg);
    be_busy(record_self(), sp);
    registers_frame_ends();
}

static void sleep(void (*fn)(void *arg), void *arg)
{
    if (is_busy(record_self()))
        sleep_busy(fn, arg);
    else
        fn(arg);
}

static const struct collector world_collector = {
    .enter = enter,
    .leave = leave,
    .sleep = sleep,
};

/* ---- Mounting ----------------------------------------------------------- */

static void claiming(void)
{
    struct world_thread *here = world_thread_self();
    if (unlikely(here->enters == 0))
        enter(); /* it has called us before the machine did */
    /* Who has stopped it looks at others' frames where they belong. */
    if (!is_busy(&here->roots) && !is_stopper())
        be_busy(&here->roots, NULL);
}

static void settled(void)
{
    if (!mount_point_self()->current && !is_stopper())
        be_idle(record_self(), NULL);
}

static void mounting(struct continuation *c)
{
    (void)c;
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
    collector = &world_collector;
    roots_on(settings_get()->freeze == FREEZE_GUARD);
    watch_begin(WATCH_WORLD, &watcher);
}

/* ---- Calls, safepoints -------------------------------------------------- */

bool world_leave(void *sp)
{
    if (!is_busy(record_self()))
        return false;
    be_idle(record_self(), sp);
    return true;
}

void world_come_back(void)
{
    struct roots_os_thread *record = record_self();
    if (!is_busy(record))
        be_busy(record, atomic_load_explicit(&record->stopped_sp,
                                             memory_order_relaxed));
}

__attribute__((noinline)) void world_wait(void)
{
    __builtin_unwind_init();
    if (world_leave(below_caller()))
        world_come_back();
    registers_frame_ends();
}

/* ---- Stopping ----------------------------------------------------------- */

/* Another one that is busy; the records are not held on to, for who is busy
 * may have to change their list before it can stop. */
static bool is_any_busy(const struct roots_os_thread *own)
{
    bool found = false;
    roots_hold();
    for (struct roots_os_thread *r = roots_first(); r && !found; r = r->next)
        found = r != own && is_busy(r);
    roots_release();
    return found;
}

static void wait_until_all_are_idle(const struct roots_os_thread *own)
{
    for (;;) {
        uint32_t seen = atomic_load_explicit(&world.progress,
                                             memory_order_acquire);
        if (!is_any_busy(own))
            return;
        futex_wait(&world.progress, seen, CLOCK_NEVER);
    }
}

/* Others may be at it: they are to be found idle meanwhile. */
__attribute__((noinline)) static void take_turn(void)
{
    __builtin_unwind_init();
    if (os_lock_try(&world.lock))
        return;
    bool was_busy = world_leave(below_caller());
    os_lock_acquire(&world.lock);
    if (was_busy)
        set_busy(record_self(), true); /* nobody stops it but the caller */
    registers_frame_ends();
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
    take_turn();
    atomic_store_explicit(&world.stopper, self, memory_order_relaxed);
    world.own = record_self();
    atomic_store_explicit(&world.is_stopped, 1, memory_order_seq_cst);
    __atomic_fetch_add(&vthread_safepoint_requests, 1, __ATOMIC_RELAXED);
    wait_until_all_are_idle(world.own);
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
    if (kind == ROOT_NATIVE)
        return; /* of the library only */
    visit->fn(visit->arg, owner ? thread_handle(owner) : 0,
              owner ? thread_user(owner) : NULL, low, high);
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
    if (is_busy(world.own))
        atomic_store_explicit(&world.own->stopped_sp, below_caller(),
                              memory_order_relaxed);
    roots_hold();
    roots_begin();
    roots_each(&visit.visitor);
    roots_end();
    roots_release();
    return 0;
}
