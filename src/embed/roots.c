/*
 * roots.c - the enumeration of roots while all is stopped.
 *
 * Not here: how it is stopped, and what a collector does with the ranges.
 *
 * An OS thread may have been stopped at any instruction of a mount or an
 * unmount.  Two things are certain all the same:
 *
 * - it was stopped on one stack, and stopped_sp tells which.  The collector
 *   scans that stack from there, with the registers that the signal has
 *   saved on it.  Whatever the states say: is_run_on marks that home, and the
 *   continuation whose frames are in place there is left out here;
 * - the frames of any other continuation are where frozen_bytes says, from
 *   its sp on: both are stored after the copy or the switch has been made
 *   (freeze_thaw.c, switch_<cpu>.S).
 *
 * A native stack is not scanned while something is mounted on it; its own sp
 * was stored by the switch that left it.
 *
 * The lists are changed under a lock by those who come and go, and walked
 * without it while all is stopped, perhaps in the middle of a change: every
 * link is one store, and a record is complete before it is linked.
 */
#include "embed/roots.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>

#include "continuation/freeze_thaw.h"
#include "continuation/mount.h"
#include "local.h"
#include "platform/futex.h"
#include "platform/memory.h"
#include "platform/panic.h"
#include "platform/system.h"
#include "thread.h"

enum { COPY_BYTES = 64 * 1024 };

static bool is_on;
static struct os_lock lock;
static struct roots_os_thread *_Atomic os_threads; /* L; A */
static struct roots_link *_Atomic continuations;   /* L; A */
static struct roots_os_thread *forked; /* all there is, in a child */

/* Guard mode: hidden frames are read into it.  Not in .bss, which collectors
 * scan. */
static char *copy;
static int memory_fd = -1;

/* ---- Who comes and goes ------------------------------------------------- */

void roots_on(bool hides)
{
    is_on = true;
    if (!hides)
        return;
    copy = memory_reserve(COPY_BYTES);
    memory_fd = system_open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    if (!copy || memory_commit(copy, COPY_BYTES) != 0 || memory_fd < 0)
        panic("the frames of hidden stacks cannot be read "
              "(VTHREAD_FREEZE=guard with a collector)");
}

void roots_enter(struct roots_os_thread *record, void *native_bottom)
{
    *record = (struct roots_os_thread){.mount_point = mount_point_self(),
                                       .local = local_self(),
                                       .native_bottom = native_bottom};
    os_lock_acquire(&lock);
    /* Relaxed: under the lock.  Release: publishes the record, to a walk that
     * may find us here. */
    atomic_store_explicit(
        &record->next, atomic_load_explicit(&os_threads, memory_order_relaxed),
        memory_order_relaxed);
    atomic_store_explicit(&os_threads, record, memory_order_release);
    os_lock_release(&lock);
}

void roots_leave(struct roots_os_thread *record)
{
    os_lock_acquire(&lock);
    struct roots_os_thread *_Atomic *place = &os_threads;
    struct roots_os_thread *at;
    while ((at = atomic_load_explicit(place, memory_order_relaxed)) != record
           && at)
        place = &at->next;
    if (at)
        atomic_store_explicit(
            place, atomic_load_explicit(&record->next, memory_order_relaxed),
            memory_order_release);
    os_lock_release(&lock);
}

struct roots_os_thread *roots_first(void)
{
    /* Acquire: the records; pairs with roots_enter. */
    return forked ? forked
                  : atomic_load_explicit(&os_threads, memory_order_acquire);
}

void roots_add(struct roots_link *link, const struct continuation *c)
{
    if (likely(!is_on))
        return;
    link->continuation = c;
    link->previous = NULL;
    os_lock_acquire(&lock);
    struct roots_link *next =
        atomic_load_explicit(&continuations, memory_order_relaxed);
    atomic_store_explicit(&link->next, next, memory_order_relaxed);
    if (next)
        next->previous = link;
    atomic_store_explicit(&continuations, link, memory_order_release);
    os_lock_release(&lock);
}

void roots_remove(struct roots_link *link)
{
    if (likely(!is_on))
        return;
    os_lock_acquire(&lock);
    struct roots_link *next =
        atomic_load_explicit(&link->next, memory_order_relaxed);
    atomic_store_explicit(link->previous ? &link->previous->next
                                         : &continuations,
                          next, memory_order_release);
    if (next)
        next->previous = link->previous;
    os_lock_release(&lock);
}

void roots_forked(struct roots_os_thread *own)
{
    static struct roots_os_thread nobody;
    forked = own ? own : &nobody;
    /* Plain: there is one OS thread. */
    forked->next = NULL;
    lock = (struct os_lock){0}; /* whoever held it is gone */
}

void roots_hold(void)
{
    os_lock_acquire(&lock);
}

void roots_release(void)
{
    os_lock_release(&lock);
}

/* ---- While all is stopped ----------------------------------------------- */

static struct run_stack *stopped_on(const struct roots_os_thread *record)
{
    const char *sp =
        atomic_load_explicit(&record->stopped_sp, memory_order_relaxed);
    return sp ? run_stack_of_address(sp) : NULL;
}

static void mark_stopped(bool is_run_on)
{
    for (struct roots_os_thread *r = roots_first(); r; r = r->next) {
        struct run_stack *stack = stopped_on(r);
        if (stack)
            stack->is_run_on = is_run_on;
    }
}

void roots_begin(void)
{
    mark_stopped(true);
}

void roots_end(void)
{
    mark_stopped(false);
}

/* The kernel lets us read what we have hidden from ourselves. */
static void visit_hidden(struct roots_visitor *v, const struct thread *owner,
                         const struct frame_range *range)
{
    const char *at = range->low, *end = range->high;
    while (at < end) {
        size_t size =
            (size_t)(end - at) < COPY_BYTES ? (size_t)(end - at) : COPY_BYTES;
        if (system_pread(memory_fd, copy, size, (off_t)(uintptr_t)at)
            != (ssize_t)size)
            panic("cannot read the frames at %p", (const void *)at);
        v->range(v, ROOT_FRAMES, owner, copy, copy + size);
        at += size;
    }
}

static void visit_frames(struct roots_visitor *v, const struct thread *owner,
                         const struct continuation *c)
{
    struct frame_range ranges[2];
    unsigned count = frame_ranges(c, ranges);
    if (count > 0 && c->frozen_bytes == 0 && c->home->is_run_on)
        return;
    for (unsigned i = 0; i < count; i++)
        if (unlikely(c->flags & CONTINUATION_HIDDEN)
            && c->state == CONTINUATION_UNMOUNTED)
            visit_hidden(v, owner, &ranges[i]);
        else
            v->range(v, ROOT_FRAMES, owner, ranges[i].low, ranges[i].high);
}

void roots_of_thread(struct roots_visitor *v, const struct thread *t)
{
    const char *fields = (const char *)t + offsetof(struct thread, fn);
    v->range(v, ROOT_THREAD, t, fields, t->chunk);
    visit_frames(v, t, &t->continuation);
}

static void visit_native(struct roots_visitor *v,
                         const struct roots_os_thread *record)
{
    struct run_stack *stack = stopped_on(record);
    const char *sp =
        atomic_load_explicit(&record->stopped_sp, memory_order_relaxed);
    v->os_thread = record;
    if (stack)
        v->range(v, ROOT_NATIVE, NULL, record->mount_point->native_sp,
                 record->native_bottom);
    if (sp)
        v->range(v, ROOT_STOPPED, roots_stopped_in(record), sp,
                 stack ? stack->top : record->native_bottom);
}

void roots_of_others(struct roots_visitor *v)
{
    for (struct roots_os_thread *r = roots_first(); r; r = r->next)
        visit_native(v, r);
    struct roots_link *link =
        atomic_load_explicit(&continuations, memory_order_acquire);
    for (; link && !forked; link = link->next)
        visit_frames(v, NULL, link->continuation);
}

/* What runs what, on the one OS thread that a forked child has. */
static void visit_chain(struct roots_visitor *v)
{
    const struct mount_point *mp = forked->mount_point;
    for (struct continuation *c = mp ? mp->current : NULL; c; c = c->link)
        visit_frames(v, NULL, c);
}

void roots_each(struct roots_visitor *v)
{
    uint64_t word;
    roots_of_others(v);
    if (forked) {
        visit_chain(v);
        return;
    }
    if (!thread_table)
        return;
    for (struct thread *t = thread_in_use_from(1, &word); t;
         t = thread_in_use_from(thread_number(t) + 1, &word))
        roots_of_thread(v, t);
}

/* Whose frames are in place where it was stopped, be they a thread's own or
 * those of a continuation inside of it. */
const struct thread *roots_stopped_in(const struct roots_os_thread *record)
{
    if (!stopped_on(record))
        return NULL;
    /* Acquire is not needed: it is stopped. */
    return local_thread(record->local);
}
