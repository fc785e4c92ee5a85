/*
 * gc_thread.c - the collector and OS threads: which there are, and which
 * stack each is on, at every instruction of a switch.
 *
 * libgc stops OS threads by a signal, and scans from the sp that its handler
 * finds up to the end of the stack.  Which stack that is it must know:
 *
 *   sp in the "altstack"   up to the end of that
 *   else                   up to the stack bottom
 *
 * At rest the altstack of an OS thread is the home that it runs on, or ran on
 * last, and its stack bottom is that of its native stack.  So both sides of a
 * switch between the two are right, and no instruction in between is wrong.
 * GC_register_altstack takes libgc's lock: 20 ns for each mount that changes
 * the home.
 *
 * Between two run stacks, for continuations inside of others, that is not
 * enough: so before such a switch the stack bottom becomes the top of the
 * home to go to, and after it, when nothing of the other is on the way any
 * more, all is as at rest again:
 *
 *   run    mounting (runner's stack)   bottom = top of the inner home
 *          arrived  (inner stack)      altstack = inner home, bottom = native
 *   yield  leaving  (inner stack)      bottom = top of the runner's home
 *          unmounted (runner's stack)  altstack = runner's, bottom = native
 *
 * A yield from there to a native stack needs nothing: the altstack is right.
 *
 * Where an OS thread is stopped roots.c must know too.  libgc does not tell,
 * so its handler is called from one of ours, which notes it.
 */
#include <signal.h>
#include <stddef.h>
#include <string.h>

#include "continuation/mount.h"
#include "embed/gc.h"
#include "embed/gc_library.h"
#include "embed/roots.h"
#include "platform/panic.h"
#include "platform/registers.h"

enum { CLEARED_BYTES = 2048 };

struct gc_thread {
    struct roots_os_thread roots;
    unsigned enters; /* that have not been left */
    bool is_registered_by_us;
    bool has_other_bottom; /* not that of the native stack */
    void *handle;          /* libgc's */
    const struct run_stack *altstack;
};

__attribute__((visibility("hidden"))) __thread struct gc_thread gc_thread;

THREAD_LOCAL_SELF(struct gc_thread, gc_thread_self, gc_thread)

static struct sigaction former; /* of the signal that stops */

/* ---- Stopping ----------------------------------------------------------- */

void *gc_thread_stopped_at(void *sp)
{
    struct roots_os_thread *here = &gc_thread_self()->roots;
    /* Relaxed, both: for a collector that waits until we have stopped. */
    void *before =
        atomic_load_explicit(&here->stopped_sp, memory_order_relaxed);
    atomic_store_explicit(&here->stopped_sp, sp, memory_order_relaxed);
    return before;
}

static void stop(int number, siginfo_t *info, void *context)
{
    void *before = gc_thread_stopped_at(__builtin_frame_address(0));
    if (former.sa_flags & SA_SIGINFO)
        former.sa_sigaction(number, info, context);
    else
        former.sa_handler(number);
    gc_thread_stopped_at(before);
}

/* On the stack that it finds, so not on a signal stack. */
static void wrap_handler(void)
{
    int number = GC_get_suspend_signal();
    sigaction(number, NULL, &former);
    struct sigaction action = former;
    action.sa_sigaction = stop;
    action.sa_flags = (former.sa_flags & ~SA_ONSTACK) | SA_SIGINFO;
    if (sigaction(number, &action, NULL) != 0)
        panic("vthread_gc_enable: no handler for signal %d", number);
}

/* Our OS threads have all signals blocked; these must come. */
static void unblock_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, GC_get_suspend_signal());
    sigaddset(&set, GC_get_thr_restart_signal());
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* ---- Stacks ------------------------------------------------------------- */

static void set_altstack(struct gc_thread *here, const struct run_stack *home)
{
    if (here->altstack == home)
        return;
    here->altstack = home;
    /* The native stack's borders are known to libgc from its start. */
    GC_register_altstack(NULL, 0, home->bottom, run_stack_size(home));
}

static void set_bottom(const struct gc_thread *here, void *bottom)
{
    struct GC_stack_base base = {.mem_base = bottom};
    GC_alloc_lock();
    GC_set_stackbottom(here->handle, &base);
    GC_alloc_unlock();
}

static void set_other_bottom(struct gc_thread *here, void *bottom)
{
    set_bottom(here, bottom);
    here->has_other_bottom = true;
}

/* On the stack of the innermost continuation. */
static void rest(struct gc_thread *here)
{
    set_altstack(here, mount_point_self()->current->home);
    if (here->has_other_bottom)
        set_bottom(here, here->roots.native_bottom);
    here->has_other_bottom = false;
}

static void mounting(struct continuation *c)
{
    struct gc_thread *here = gc_thread_self();
    const struct run_stack *home = mount_point_self()->current->home;
    if (unlikely(here->enters == 0))
        panic("an OS thread runs a continuation that has first called "
              "libvthread before vthread_gc_enable");
    if (likely(!c->link))
        set_altstack(here, home);
    else
        set_other_bottom(here, home->top);
}

static void unmounted(struct continuation *c)
{
    (void)c;
    if (unlikely(mount_point_self()->current != NULL))
        rest(gc_thread_self());
}

static void leaving(struct continuation *c)
{
    if (c->link)
        set_other_bottom(gc_thread_self(), c->link->home->top);
}

static void arrived(struct continuation *c)
{
    (void)c;
    rest(gc_thread_self());
}

static const struct watcher watcher = {
    .mounting = mounting,
    .unmounted = unmounted,
    .leaving = leaving,
    .arrived = arrived,
};

/* ---- OS threads --------------------------------------------------------- */

void gc_thread_enter(void)
{
    struct gc_thread *here = gc_thread_self();
    struct GC_stack_base base;
    if (here->enters++ > 0)
        return;
    /* First of all: once it is registered it is waited for, and the calls that
     * follow wait for the collector. */
    unblock_signals();
    here->is_registered_by_us = !GC_thread_is_registered();
    if (here->is_registered_by_us
        && (GC_get_stack_base(&base) != GC_SUCCESS
            || GC_register_my_thread(&base) != GC_SUCCESS))
        panic("an OS thread cannot be made known to the collector");
    here->handle = GC_get_my_stackbottom(&base);
    here->altstack = NULL;
    roots_enter(&here->roots, base.mem_base);
}

void gc_thread_leave(void)
{
    struct gc_thread *here = gc_thread_self();
    if (here->enters == 0 || --here->enters > 0)
        return;
    roots_leave(&here->roots);
    if (here->is_registered_by_us)
        GC_unregister_my_thread();
}

struct sleep {
    void (*fn)(void *arg);
    void *arg;
};

static void *sleep_now(void *argument)
{
    const struct sleep *sleep = argument;
    sleep->fn(sleep->arg);
    return NULL;
}

/* libgc's frame for this has room that it does not fill, where the last
 * foreign call of this OS thread has left its arguments: for as long as the
 * thread is idle they would not be collected. */
static __attribute__((noinline)) void clear_below(void)
{
    char room[CLEARED_BYTES];
    memset(room, 0, sizeof room);
    __asm__ volatile("" ::"r"(room) : "memory");
}

/* Where it is stopped is noted before libgc is told: from then on it counts as
 * stopped, with whatever it has in hand. */
static __attribute__((noinline)) void sleep_stopped(struct sleep *sleep)
{
    struct gc_thread *here = gc_thread_self();
    void *before = gc_thread_stopped_at(__builtin_frame_address(0));
    here->roots.is_asleep = true;
    atomic_signal_fence(memory_order_seq_cst);
    GC_do_blocking(sleep_now, sleep);
    atomic_signal_fence(memory_order_seq_cst);
    here->roots.is_asleep = false;
    gc_thread_stopped_at(before);
}

/* With the registers of the caller on its stack, above the next frame. */
static __attribute__((noinline)) void sleep_known(struct sleep *sleep)
{
    __builtin_unwind_init();
    sleep_stopped(sleep);
    registers_frame_ends();
}

/* An OS thread that the collector does not know it does not stop either. */
void gc_thread_sleep(void (*fn)(void *arg), void *arg)
{
    if (unlikely(gc_thread_self()->enters == 0)) {
        fn(arg);
        return;
    }
    clear_below();
    sleep_known(&(struct sleep){fn, arg});
}

/* The carriers are gone.  What is mounted on the OS thread that forked, if it
 * is one that runs continuations, is all that goes on. */
static void in_forked_child(void)
{
    struct gc_thread *here = gc_thread_self();
    roots_forked(here->enters > 0 ? &here->roots : NULL);
}

void gc_thread_start(void)
{
    wrap_handler();
    if (pthread_atfork(NULL, NULL, in_forked_child) != 0)
        panic("vthread_gc_enable: pthread_atfork: out of memory");
    /* The caller is a platform thread that was attached before. */
    gc_thread_enter();
    watch_begin(WATCH_GC, &watcher);
}
