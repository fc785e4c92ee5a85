/*
 * continuation.c - mounting, yielding and ending.
 *
 * What happens around a switch, on which stack, in this order:
 *
 *   run     [runner]  the home is claimed, others' frames frozen, c's thawed
 *   switch  ------->  c goes on
 *   yield   [c]       the chain is unlinked: what ran c is current again
 *   switch  <-------  the runner goes on
 *   settle  [runner]  eager: frames frozen; else memory for a freeze found;
 *                     the home is released, and its waiters resubmitted
 *
 * So nobody can mount c, or copy its frames, before it has left its stack.
 *
 * A chain.  A runs B, B runs C: C->link == B, B->link == A, A->link == NULL
 * (a native stack runs A).  yield(A) in C makes A->link = C, the innermost,
 * and leaves the links of B and C alone; run(A) takes C from there, puts
 * its own runner in A->link, and goes on in C.
 *
 * The state is plain: whoever calls run must have a right to.  For threads
 * that follows from their word (vthread.c), for bare continuations a flag
 * sees to it (bare.c).
 */
#include "continuation/continuation.h"

#include <errno.h>

#include "continuation/chunk.h"
#include "continuation/freeze_thaw.h"
#include "continuation/switch.h"
#include "continuation/verify.h"
#include "platform/panic.h"

enum freeze_mode continuation_freeze_mode;
void (*continuation_home_released)(struct stack_waiter *oldest);

/* What an OS thread knows of the continuations it has mounted. */
struct mount_point {
    struct continuation *current; /* innermost running, or NULL */
    void *native_sp;              /* of the stack that ran the outermost */
    struct sanitizer_stack native;
    bool is_entered;
    struct continuation_counts counts;
};

static __thread struct mount_point mount_point;

/* Out of line and opaque: after a switch the OS thread may be another, and
 * a compiler would keep the address of a thread-local across it. */
__attribute__((noinline)) static struct mount_point *here(void)
{
    struct mount_point *mp = &mount_point;
    __asm__ volatile("" : "+r"(mp));
    return mp;
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    /* Relaxed, no read-modify-write: only this OS thread writes it. */
    atomic_store_explicit(
        counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
        memory_order_relaxed);
}

struct continuation_counts *continuation_counts_self(void)
{
    return &here()->counts;
}

/* ---- Set-up ------------------------------------------------------------- */

int continuation_init(unsigned own_limit, unsigned common_count)
{
    if (switch_has_shadow_stack())
        return ENOTSUP;
    return run_stack_init(own_limit, common_count);
}

void continuation_setup(struct continuation *c,
                        const struct continuation_kind *kind)
{
    c->kind = kind;
    c->state = CONTINUATION_NEW;
    sanitizer_stack_init(&c->sanitizer);
}

static void adopt_own(struct continuation *c, struct run_stack *stack)
{
    c->home = stack;
    c->flags |= CONTINUATION_HAS_OWN;
    stack->resident = c;
}

int continuation_take_own_home(struct continuation *c,
                               size_t stack_size_bytes)
{
    struct run_stack *stack = run_stack_take_own(stack_size_bytes, true);
    if (!stack)
        return ENOMEM;
    adopt_own(c, stack);
    return 0;
}

static void give_back_home(struct continuation *c)
{
    if (!c->home)
        return;
    if (c->flags & CONTINUATION_HIDDEN && c->state == CONTINUATION_UNMOUNTED)
        verify_show(c);
    if (c->home->is_common && !(c->flags & CONTINUATION_HAS_OWN)) {
        /* Others may be about to freeze what lies there. */
        while (!run_stack_try_claim(c->home))
            cpu_relax();
        if (c->home->resident == c)
            c->home->resident = NULL;
        struct stack_waiter *waiters = run_stack_release(c->home);
        if (waiters)
            continuation_home_released(waiters);
    }
    run_stack_give_back(c->home);
    c->home = NULL;
}

void continuation_teardown(struct continuation *c)
{
    give_back_home(c);
    chunk_free(c->chunk);
    c->chunk = NULL;
    sanitizer_stack_destroy(&c->sanitizer);
}

/* ---- Mounting ----------------------------------------------------------- */

/* The home for life, at the first mount. */
static bool find_home(struct continuation *c)
{
    bool insist = c->flags & CONTINUATION_WANTS_OWN
                  || continuation_freeze_mode == FREEZE_GUARD;
    struct run_stack *stack = run_stack_take_own(0, insist);
    if (stack) {
        if (!(c->flags & CONTINUATION_WANTS_OWN)
            && continuation_freeze_mode == FREEZE_GUARD)
            c->flags |= CONTINUATION_HIDDEN;
        adopt_own(c, stack);
        return true;
    }
    if (!insist)
        c->home = run_stack_take_common();
    return c->home != NULL;
}

/* Claims a common home and clears it for c. */
static enum run_status occupy(struct continuation *c,
                              struct stack_waiter *waiter)
{
    struct run_stack *home = c->home;
    if (!(waiter ? run_stack_claim(home, waiter) : run_stack_try_claim(home)))
        return waiter ? RUN_WAITS : RUN_BUSY;
    struct continuation *resident = home->resident;
    if (resident != c) {
        if (resident) {
            struct mount_point *mp = here();
            freeze(resident);
            count(&mp->counts.freezes, 1);
            count(&mp->counts.frozen_bytes, resident->frozen_bytes);
        }
        home->resident = c;
    }
    if (c->frozen_bytes)
        thaw(c);
    home->poisoned = NULL;
    return RUN_RETURNED;
}

/* First on every new stack. */
static void begin(void *continuation)
{
    struct continuation *c = continuation;
    sanitizer_switched(&c->sanitizer);
    c->kind->main(c);
    panic("a continuation's main function has returned");
}

static enum run_status enter(struct continuation *c,
                             struct stack_waiter *waiter)
{
    if (unlikely(!c->home) && !find_home(c))
        return RUN_NO_MEMORY;
    if (!(c->flags & CONTINUATION_HAS_OWN)) {
        enum run_status status = occupy(c, waiter);
        if (unlikely(status != RUN_RETURNED))
            return status;
    } else if (unlikely(c->flags & CONTINUATION_HIDDEN)
               && c->state != CONTINUATION_NEW) {
        verify_show(c);
    }
    if (unlikely(c->state == CONTINUATION_NEW)) {
        c->sp = switch_prepare(c->home->top, begin, c);
        c->link = c;
    }
    return RUN_RETURNED;
}

/* ---- Switching ---------------------------------------------------------- */

static struct sanitizer_stack *sanitizer_of(struct mount_point *mp,
                                            struct continuation *c)
{
    return c ? &c->sanitizer : &mp->native;
}

/* Sanitizer builds only: else its result is unused and it is not there. */
static size_t stack_range(const struct continuation *c, const void **bottom)
{
    *bottom = c ? c->home->bottom : NULL;
    return c ? run_stack_size(c->home) : 0;
}

/* From c (NULL: the native stack), which runs now, to `to`, which has been
 * made current.  A native stack stays with its OS thread, so mp is right
 * afterwards where it is used. */
__attribute__((always_inline)) static inline uintptr_t
change_stack(struct mount_point *mp, struct continuation *c,
             struct continuation *to, uintptr_t value)
{
    const void *bottom;
    size_t size_bytes = stack_range(to, &bottom);
    sanitizer_switch(sanitizer_of(mp, c), sanitizer_of(mp, to), bottom,
                     size_bytes);
    value = switch_stacks(c ? &c->sp : &mp->native_sp,
                          to ? to->sp : mp->native_sp, value);
    sanitizer_switched(sanitizer_of(mp, c));
    return value;
}

/* Lets c go on, from whatever runs here, until it yields or ends. */
static uintptr_t resume(struct continuation *c, uintptr_t value)
{
    struct mount_point *mp = here();
    struct continuation *runner = mp->current;
    struct continuation *inner = c->link;
    if (unlikely(!mp->is_entered))
        continuation_thread_enter();
    count(&mp->counts.mounts, 1);
    c->link = runner;
    c->state = CONTINUATION_MOUNTED;
    mp->current = inner;
    return change_stack(mp, runner, inner, value);
}

/* c has ended: its home is free for others. */
static void settle_done(struct continuation *c)
{
    struct run_stack *home = c->home;
    c->home = NULL;
    home->resident = NULL;
    sanitizer_stack_vacated(home->bottom, run_stack_size(home));
    if (!(c->flags & CONTINUATION_HAS_OWN)) {
        struct stack_waiter *waiters = run_stack_release(home);
        if (unlikely(waiters != NULL))
            continuation_home_released(waiters);
    }
    run_stack_give_back(home);
}

/* c has left its stack.  False: it could not be unmounted. */
static bool settle(struct continuation *c)
{
    if (c->state == CONTINUATION_DONE) {
        settle_done(c);
        return true;
    }
    if (c->flags & CONTINUATION_HAS_OWN) {
        if (unlikely(c->flags & CONTINUATION_HIDDEN))
            verify_hide(c);
        return true;
    }
    if (unlikely(!freeze_reserve(c)))
        return false;
    struct run_stack *home = c->home;
    if (unlikely(continuation_freeze_mode == FREEZE_EAGER)) {
        freeze(c);
        home->resident = NULL;
    }
    struct stack_waiter *waiters = run_stack_release(home);
    if (unlikely(waiters != NULL))
        continuation_home_released(waiters);
    return true;
}

enum run_status continuation_resume(struct continuation *c,
                                    uintptr_t *value)
{
    *value = resume(c, *value);
    return likely(settle(c)) ? RUN_RETURNED : RUN_UNSETTLED;
}

enum run_status continuation_run(struct continuation *c,
                                 struct stack_waiter *waiter,
                                 uintptr_t *value)
{
    enum run_status status = enter(c, waiter);
    if (unlikely(status != RUN_RETURNED)) {
        if (status == RUN_WAITS)
            count(&here()->counts.home_waits, 1);
        return status;
    }
    return continuation_resume(c, value);
}

uintptr_t continuation_yield(struct continuation *c, uintptr_t value)
{
    struct mount_point *mp = here();
    struct continuation *inner = mp->current;
    struct continuation *runner = c->link;
    c->link = inner;
    c->state = CONTINUATION_UNMOUNTED;
    mp->current = runner;
    return change_stack(mp, inner, runner, value);
}

_Noreturn void continuation_end(struct continuation *c, uintptr_t value)
{
    struct mount_point *mp = here();
    struct continuation *runner = c->link;
    /* What c was running when it ended ends with it. */
    for (struct continuation *i = mp->current; i != c; i = i->link)
        i->state = CONTINUATION_DONE;
    c->state = CONTINUATION_DONE;
    mp->current = runner;
    const void *bottom;
    size_t size_bytes = stack_range(runner, &bottom);
    sanitizer_switch(NULL, sanitizer_of(mp, runner), bottom, size_bytes);
    switch_stacks_final(runner ? runner->sp : mp->native_sp, value);
}

/* ---- Who runs here ------------------------------------------------------ */

struct continuation *continuation_current(void)
{
    return here()->current;
}

bool continuation_own_home(struct continuation *c)
{
    if (c->flags & CONTINUATION_HAS_OWN)
        return true;
    if (!run_stack_convert(c->home))
        return false;
    c->flags |= CONTINUATION_HAS_OWN;
    return true;
}

bool continuation_contains(const struct continuation *c, const void *address)
{
    return c->home && (const char *)address >= c->home->bottom
           && (const char *)address < c->home->top;
}

void continuation_thread_enter(void)
{
    struct mount_point *mp = here();
    if (mp->is_entered)
        return;
    mp->is_entered = true;
    sanitizer_stack_init_native(&mp->native);
}

void continuation_thread_leave(void)
{
    here()->is_entered = false;
}
