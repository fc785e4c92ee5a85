/*
 * gc.c - the Boehm collector: turning it on, roots, memory.
 *
 * Not here: OS threads and the stacks they are on (gc_thread.c), what is to
 * be scanned (roots.c), finalizers (gc_finalizer.c), leaks (gc_leaks.c).
 *
 * All threads that live are roots, whether something can wake them or not:
 * what they hold stays until they end.  So a mistaken look for leaks cannot
 * take anything from anybody.  Rejected: thread objects and chunks in the
 * collected heap, marked from whatever can wake them.  A handle is a number,
 * not an address, so the collector would not see that somebody holds it.
 *
 * The collector calls push_roots while all threads that it knows have been
 * stopped, by its signal or because they sleep (collector.h).  It pushes the
 * stack each was stopped on itself; the rest is pushed here.  Eagerly: a
 * million ranges would overflow the mark stack.
 */
#include <errno.h>
#include <stdint.h>

#include <vthread/gc.h>

#include "continuation/mount.h"
#include "embed/gc.h"
#include "embed/gc_library.h"
#include "embed/leak_table.h"
#include "embed/roots.h"
#include "embed/world.h"
#include "inspect/held.h"
#include "inspect/place.h"
#include "inspect/trace.h"
#include "platform/collector.h"
#include "platform/futex.h"
#include "platform/memory.h"
#include "platform/panic.h"
#include "scheduler.h"
#include "settings.h"
#include "thread.h"

/* What we rely on came with it. */
#define VERSION_MIN 0x080000

/* So that a handle is found by its looks: two small numbers side by side are
 * none. */
#define GENERATION_FIRST UINT32_C(0x2f3a9c01)

static struct os_lock lock;
static bool is_on; /* L, and read without it afterwards */
static GC_push_other_roots_proc push_former_roots;

bool gc_is_on(void)
{
    return is_on;
}

unsigned gc_os_threads(void)
{
    int markers = is_on && GC_get_parallel ? GC_get_parallel() : 0;
    return markers > 0 ? (unsigned)markers : 0;
}

/* ---- Roots -------------------------------------------------------------- */

/* The stacks on which OS threads were stopped are the collector's own
 * affair. */
static void push(struct roots_visitor *visitor, enum root_kind kind,
                 const struct thread *owner, const void *low, const void *high)
{
    (void)visitor;
    (void)owner;
    if (kind != ROOT_STOPPED)
        GC_push_all_eager((void *)low, (void *)high);
}

static void GC_CALLBACK push_roots(void)
{
    struct roots_visitor visitor = {.range = push};
    if (GC_is_incremental_mode())
        panic("the collector has been made incremental after "
              "vthread_gc_enable: it cannot see that frames are copied");
    push_former_roots();
    gc_thread_stopped_at(__builtin_frame_address(0));
    roots_begin();
    roots_each(&visitor);
    roots_end();
    gc_thread_stopped_at(NULL);
}

/* ---- Memory ------------------------------------------------------------- */

/* Plain memory is the collector's too: so nothing of threads lies in that of
 * malloc, where a look for leaks would find it. */
static void *alloc(size_t alignment_bytes, size_t size_bytes, bool is_plain)
{
    uintptr_t slack_bytes =
        alignment_bytes > MEMORY_ALIGNMENT_BYTES ? alignment_bytes : 0;
    size_t whole_bytes;
    if (__builtin_add_overflow(size_bytes, slack_bytes, &whole_bytes))
        return NULL;
    uintptr_t block =
        (uintptr_t)(is_plain ? GC_malloc_atomic_uncollectable(whole_bytes)
                             : GC_malloc_uncollectable(whole_bytes));
    if (block && slack_bytes)
        block = (block + slack_bytes - 1) & ~(slack_bytes - 1);
    return (void *)block;
}

/* What was allocated before the collector came is no block of its. */
static bool free_block(void *block)
{
    if (!block || !GC_is_heap_ptr(block))
        return false;
    GC_free(GC_base(block));
    return true;
}

static const struct collector boehm = {
    .alloc = alloc,
    .free = free_block,
    .enter = gc_thread_enter,
    .leave = gc_thread_leave,
    .created = leak_note_creator,
    .sleep = gc_thread_sleep,
};

/* ---- Waiting ------------------------------------------------------------ */

/* While others are stopped the collector sleeps between its signals, if they
 * take long, and marks together with its own OS threads.  What it calls for
 * that may be interposed (libvthread-posix, libvthread-pin): a virtual thread
 * that left its stack there would leave everything stopped. */
static void stand_still(GC_EventType event)
{
    if (event == GC_EVENT_PRE_STOP_WORLD)
        mount_point_self()->stands_still++;
    else if (event == GC_EVENT_POST_START_WORLD)
        mount_point_self()->stands_still--;
}

/* Its locks are taken on native stacks too, and by who makes room for frames;
 * with one of them nobody can leave a stack.  As long as a lock is not tracked
 * it is not waited for but in the kernel. */
static void leave_out_locks(void)
{
    uintptr_t low;
    size_t size_bytes;
    if (place_find_variables((uintptr_t)push_former_roots, &low, &size_bytes))
        held_leave_out(low, size_bytes);
}

/* ---- The recorder ------------------------------------------------------- */

static GC_on_collection_event_proc notify_formerly;

/* With libgc's lock, and perhaps all stopped: what the recorder does takes
 * none, and these two do not either. */
static void GC_CALLBACK note_event(GC_EventType event)
{
    stand_still(event);
    if (event == GC_EVENT_START && trace_is_on())
        trace_note(TRACE_GC, 0);
    else if (event == GC_EVENT_END && trace_is_on())
        trace_note(TRACE_GC_END, GC_get_heap_size() - GC_get_free_bytes());
    if (notify_formerly)
        notify_formerly(event);
}

/* ---- Turning it on ------------------------------------------------------ */

/* 0, or ENOTSUP with words. */
static int check_library(void)
{
    if (!GC_init || !GC_get_my_stackbottom || !GC_is_init_called) {
        report("vthread_gc_enable: this program has no libgc; link it with "
               "-lgc, version 8.0 or later");
        return ENOTSUP;
    }
    if (GC_get_version() < VERSION_MIN) {
        report("vthread_gc_enable: libgc %u.%u is too old, 8.0 is needed",
               GC_get_version() >> 16, GC_get_version() >> 8 & 0xff);
        return ENOTSUP;
    }
    return 0;
}

/* The order matters: handlers for fork are installed by GC_init only; threads
 * may register after the collector has been told so; and our hooks come last,
 * when all that they call works. */
static int turn_on(void)
{
    if (!GC_is_init_called())
        GC_set_handle_fork(1);
    GC_init();
    if (GC_is_incremental_mode()) {
        report("vthread_gc_enable: the collector is in incremental mode, "
               "which protects pages and cannot see that frames are copied; "
               "leave out GC_enable_incremental, and unset "
               "GC_ENABLE_INCREMENTAL");
        return ENOTSUP;
    }
    int err = leak_table_open();
    if (err == 0)
        err = gc_finalizer_start();
    if (err != 0)
        return err;
    GC_allow_register_threads();
    roots_on(settings_get()->freeze == FREEZE_GUARD);
    thread_generation_first = GENERATION_FIRST;
    push_former_roots = GC_get_push_other_roots();
    leave_out_locks();
    GC_set_push_other_roots(push_roots);
    notify_formerly = GC_get_on_collection_event();
    GC_set_on_collection_event(note_event);
    gc_thread_start();
    collector = &boehm;
    return 0;
}

static int check_embedder(void)
{
    if (!world_is_on && !memory_source()->alloc)
        return 0;
    report("vthread_gc_enable: vthread_embed has named another collector, or "
           "an allocator");
    return ENOTSUP;
}

int vthread_gc_enable(void)
{
    if (!thread_self())
        return ENOMEM;
    os_lock_acquire(&lock);
    int err = is_on                    ? 0
              : scheduler_has_engine() ? EBUSY
                                       : check_embedder();
    if (err == 0 && !is_on)
        err = check_library();
    if (err == 0 && !is_on) {
        err = turn_on();
        is_on = err == 0;
    }
    os_lock_release(&lock);
    return err;
}
