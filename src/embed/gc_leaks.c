/*
 * gc_leaks.c - vthread_gc_leaks: everything is stopped, traced (leak_trace.c)
 * and goes on; then the stacks of those that were found are walked.
 *
 * What has been found waits for ever, so it is still there when all goes on.
 * If it was a mistake after all, by somebody who has hidden a handle, nothing
 * is lost: thread_hold fails for a thread that runs, and what comes while it
 * is held is seen by thread_let_go.
 */
#include <errno.h>
#include <string.h>
#include <unwind.h>

#include <vthread/gc.h>

#include "continuation/mount.h"
#include "embed/gc.h"
#include "embed/gc_library.h"
#include "embed/leak_table.h"
#include "embed/leak_trace.h"
#include "inspect/describe.h"
#include "platform/futex.h"
#include "platform/registers.h"
#include "thread.h"
#include "waiting.h"

static struct os_lock lock;          /* one look at a time */
static int plain_kind = -1;          /* L: of objects without addresses, */
static int plain_uncollectable_kind; /* L: and those that are never freed */

/* ---- The heap ----------------------------------------------------------- */

static int kind_of(void *object)
{
    return object ? GC_get_kind_and_size(object, NULL) : -1;
}

static int learn_kinds(void)
{
    if (plain_kind >= 0)
        return 0;
    void *block = GC_malloc_atomic_uncollectable(16);
    if (!block)
        return ENOMEM;
    plain_uncollectable_kind = kind_of(block);
    GC_free(block);
    plain_kind = kind_of(GC_malloc_atomic(16));
    return plain_kind >= 0 ? 0 : ENOMEM;
}

static void *base_of(void *address)
{
    return GC_base(address);
}

static size_t size_of(const void *base, bool *has_pointers)
{
    size_t size;
    int kind = GC_get_kind_and_size(base, &size);
    *has_pointers = kind != plain_kind && kind != plain_uncollectable_kind;
    return size;
}

static bool is_page(const void *page)
{
    return GC_is_heap_ptr(page);
}

/* ---- While all is stopped ----------------------------------------------- */

static __attribute__((noinline)) int run_stopped(struct leak_trace *trace)
{
    mount_point_self()->stands_still++; /* libgc tells of no event here */
    GC_stop_world_external();
    void *before = gc_thread_stopped_at(__builtin_frame_address(0));
    int err = leak_trace_run(trace);
    gc_thread_stopped_at(before);
    GC_start_world_external();
    mount_point_self()->stands_still--;
    return err;
}

/* With the registers of the caller on its stack, above the next frame. */
static __attribute__((noinline)) int run_trace(struct leak_trace *trace)
{
    __builtin_unwind_init();
    int err = run_stopped(trace);
    registers_frame_ends();
    return err;
}

/* Who has been woken since was none: somebody had hidden a handle. */
static bool still_waits(uint64_t handle)
{
    uint64_t word;
    return thread_of_handle(handle, &word)
           && word & (THREAD_PARKED | THREAD_WAITING);
}

static int keep_found(const struct leak_trace *trace)
{
    int err = leak_table_begin(trace->found_count);
    if (err != 0)
        return err;
    for (size_t i = 0; i < trace->found_count; i++) {
        uint64_t thread = trace->found[i];
        if (still_waits(thread))
            leak_table.records[leak_table.count++] =
                (struct leak_record){thread, leak_creator((uint32_t)thread)};
    }
    leak_table_end();
    return 0;
}

static int look(void)
{
    struct leak_trace trace;
    const struct leak_heap heap = {
        base_of,
        size_of,
        is_page,
        (const void *)(uintptr_t)GC_get_version,
    };
    int err = learn_kinds();
    if (err == 0)
        err = leak_trace_open(&trace, &heap);
    if (err != 0)
        return err;
    err = run_trace(&trace);
    if (err == 0)
        err = keep_found(&trace);
    leak_trace_close(&trace);
    return err;
}

/* ---- What is told of one ------------------------------------------------ */

struct walk {
    vthread_gc_leak_t *leak;
    unsigned ours; /* frames of the walk itself, to be left out */
};

static _Unwind_Reason_Code note_frame(struct _Unwind_Context *context,
                                      void *argument)
{
    struct walk *walk = argument;
    vthread_gc_leak_t *leak = walk->leak;
    if (walk->ours > 0) {
        walk->ours--;
        return _URC_NO_REASON;
    }
    void *pc = (void *)_Unwind_GetIP(context);
    if (!pc || leak->frame_count == VTHREAD_GC_LEAK_FRAMES)
        return _URC_END_OF_STACK;
    leak->frames[leak->frame_count++] = pc;
    return _URC_NO_REASON;
}

/* This function and switch_unwind come first. */
static void walk_here(void *argument)
{
    struct walk walk = {argument, 2};
    (void)_Unwind_Backtrace(note_frame, &walk);
}

static void describe(const struct leak_record *record, vthread_gc_leak_t *leak)
{
    uint64_t word, flags;
    struct waiting waiting;
    struct thread *t = thread_of_handle(record->thread, &word);
    *leak = (vthread_gc_leak_t){.thread = record->thread,
                                .created_by = record->created_by};
    if (!t || !thread_hold(t, word >> 32, &flags))
        return;
    leak->entry = t->fn;
    (void)vthread_getname(record->thread, leak->name, sizeof leak->name);
    leak->waits = describe_waits_for(waiting_what(t));
    if (waiting_of(t, &waiting)) {
        leak->object_kind = waiting.kind;
        leak->object = waiting.object;
    }
    (void)continuation_unwind(&t->continuation, walk_here, leak);
    thread_let_go(t, flags);
}

int gc_leaks_each(bool (*visit)(const vthread_gc_leak_t *leak, void *argument),
                  void *argument, size_t *count)
{
    vthread_gc_leak_t leak;
    if (!gc_is_on())
        return EPERM;
    /* Or the look would find there what an earlier one has left. */
    memset(&leak, 0, sizeof leak);
    __asm__ volatile("" ::"r"(&leak) : "memory");
    os_lock_acquire(&lock);
    int err = look();
    for (size_t i = 0; err == 0 && i < leak_table.count; i++) {
        describe(&leak_table.records[i], &leak);
        if (!visit(&leak, argument))
            break;
    }
    if (err == 0)
        *count = leak_table.count;
    os_lock_release(&lock);
    return err;
}

struct array {
    vthread_gc_leak_t *leaks;
    size_t capacity, count;
};

static bool store(const vthread_gc_leak_t *leak, void *argument)
{
    struct array *array = argument;
    if (array->count < array->capacity)
        array->leaks[array->count++] = *leak;
    return array->count < array->capacity;
}

int vthread_gc_leaks(vthread_gc_leak_t *leaks, size_t capacity, size_t *count)
{
    struct array array = {leaks, capacity, 0};
    if (!count || (capacity > 0 && !leaks))
        return EINVAL;
    if (!gc_is_on())
        return EPERM;
    if (!thread_self())
        return ENOMEM;
    /* Or it would hold handles that an earlier look has left there. */
    if (capacity > 0)
        memset(leaks, 0, capacity * sizeof *leaks);
    return gc_leaks_each(store, &array, count);
}
