/*
 * continuation.c - mounting and ending.
 *
 * The hot path is in mount.h; here is all that is done more rarely: the
 * home of a new continuation, the clearing of a shared one, the end.
 *
 * The state is plain: whoever calls run must have a right to.  For threads
 * that follows from their word (vthread.c), for bare continuations a flag
 * sees to it (bare.c).
 */
#include "continuation/continuation.h"

#include <errno.h>

#include "continuation/chunk.h"
#include "continuation/freeze_thaw.h"
#include "continuation/mount.h"
#include "continuation/verify.h"
#include "platform/cpu.h"
#include "platform/panic.h"

enum freeze_mode continuation_freeze_mode;
void (*continuation_home_released)(struct stack_waiter *oldest);

__thread struct mount_point mount_point;

static void count(_Atomic uint64_t *counter, uint64_t n)
{
    /* Relaxed, no read-modify-write: only this OS thread writes it. */
    atomic_store_explicit(
        counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
        memory_order_relaxed);
}

struct continuation_counts *continuation_counts_self(void)
{
    return &mount_point_self()->counts;
}

/* ---- Set-up ------------------------------------------------------------- */

int continuation_init(unsigned own_limit, unsigned common_count)
{
    if (switch_has_shadow_stack())
        return ENOTSUP;
    int err = run_stack_init(own_limit, common_count);
    if (err == 0)
        run_stack_set_doubtful(continuation_freeze_mode == FREEZE_GUARD);
    return err;
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
    run_stack_set_resident(stack, c);
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

/* Nobody may be copying c's frames when c goes.  Who holds the claim of the
 * home, possibly the caller itself, has copied them if they are not the
 * resident's any more. */
static void evacuate(struct continuation *c)
{
    struct run_stack *home = c->home;
    while (!run_stack_try_claim(home)) {
        /* Acquires the end of the copy; pairs with occupy. */
        if (atomic_load_explicit(&home->resident, memory_order_acquire) != c)
            return;
        cpu_relax();
    }
    if (run_stack_resident(home) == c) {
        sanitizer_stack_vacated(home->bottom, run_stack_size(home));
        run_stack_set_resident(home, NULL);
    }
    struct stack_waiter *waiters = run_stack_release(home);
    if (waiters)
        continuation_home_released(waiters);
}

static void give_back_home(struct continuation *c)
{
    if (!c->home)
        return;
    if (c->flags & CONTINUATION_HIDDEN && c->state == CONTINUATION_UNMOUNTED)
        verify_show(c);
    if (c->home->is_common && !(c->flags & CONTINUATION_HAS_OWN)) {
        evacuate(c);
    }
    if (c->flags & CONTINUATION_HAS_OWN)
        sanitizer_stack_vacated(c->home->bottom, run_stack_size(c->home));
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
    if (!insist && (c->home = run_stack_take_common()) != NULL)
        return true;
    /* All common homes have become somebody's own: who needs one must not
     * wait for those to end, they may be waiting for it. */
    stack = run_stack_take_own(0, true);
    if (!stack)
        return false;
    adopt_own(c, stack);
    return true;
}

static void freeze_and_count(struct continuation *c)
{
    struct continuation_counts *counts = continuation_counts_self();
    freeze(c);
    count(&counts->freezes, 1);
    count(&counts->frozen_bytes, c->frozen_bytes);
}

/* Claims a common home and clears it for c. */
static enum run_status occupy(struct continuation *c,
                              struct stack_waiter *waiter)
{
    struct run_stack *home = c->home;
    if (!(waiter ? run_stack_claim(home, waiter) : run_stack_try_claim(home)))
        return waiter ? RUN_WAITS : RUN_BUSY;
    struct continuation *resident = run_stack_resident(home);
    if (resident != c) {
        if (resident)
            freeze_and_count(resident);
        /* Releases the copy; pairs with evacuate. */
        atomic_store_explicit(&home->resident, c, memory_order_release);
    }
    if (c->frozen_bytes)
        thaw(c);
    home->poisoned = NULL;
    return RUN_RETURNED;
}

static enum run_status claim_and_clear(struct continuation *c,
                                       struct stack_waiter *waiter)
{
    if (unlikely(!c->home) && !find_home(c))
        return RUN_NO_MEMORY;
    if (!(c->flags & CONTINUATION_HAS_OWN)) {
        enum run_status status = occupy(c, waiter);
        if (unlikely(status != RUN_RETURNED)) {
            /* c may be running elsewhere by now. */
            if (status == RUN_WAITS)
                count(&mount_point_self()->counts.home_waits, 1);
            return status;
        }
    } else if (unlikely(c->flags & CONTINUATION_HIDDEN)
               && c->state != CONTINUATION_NEW) {
        verify_show(c);
    }
    if (unlikely(c->state == CONTINUATION_NEW)) {
        c->sp = switch_prepare(c->home->top, c->kind->main, c);
        c->link = c;
    }
    return RUN_RETURNED;
}

enum run_status mount_enter(struct continuation *c,
                            struct stack_waiter *waiter)
{
    if (likely(!watch_tells_claims(watch_now())))
        return claim_and_clear(c, waiter);
    watch_claiming();
    enum run_status status = claim_and_clear(c, waiter);
    if (status != RUN_RETURNED)
        watch_settled();
    return status;
}

/* ---- After a switch ------------------------------------------------------ */

/* What c was running when it ended, innermost first, ends with it. */
static void abandon_inner(struct continuation *c)
{
    struct continuation *inner = c->link;
    while (inner != c) {
        struct continuation *runner = inner->link;
        inner->state = CONTINUATION_DONE;
        inner->kind->abandon(inner);
        inner = runner;
    }
}

/* c has ended: its home is free for others. */
static void settle_done(struct continuation *c)
{
    abandon_inner(c);
    struct run_stack *home = c->home;
    c->home = NULL;
    run_stack_set_resident(home, NULL);
    sanitizer_stack_vacated(home->bottom, run_stack_size(home));
    if (!(c->flags & CONTINUATION_HAS_OWN)) {
        struct stack_waiter *waiters = run_stack_release(home);
        if (unlikely(waiters != NULL))
            continuation_home_released(waiters);
    }
    run_stack_give_back(home);
}

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
        freeze_and_count(c);
        run_stack_set_resident(home, NULL);
    }
    struct stack_waiter *waiters = run_stack_release(home);
    if (unlikely(waiters != NULL))
        continuation_home_released(waiters);
    return true;
}

__attribute__((noinline, cold)) uintptr_t
mount_yield_handling(struct continuation *c, uintptr_t value)
{
    struct exceptions handled
        = exceptions_take(mount_point_self()->exceptions);
    value = continuation_yield(c, value);
    /* Asked anew: it may be another OS thread's. */
    exceptions_put(mount_point_self()->exceptions, &handled);
    return value;
}

bool mount_settle(struct continuation *c)
{
    bool is_settled = settle(c);
    if (watch_tells_claims(watch_now()))
        watch_settled();
    return is_settled;
}

_Noreturn void continuation_end(struct continuation *c, uintptr_t value)
{
    struct mount_point *mp = mount_point_self();
    struct continuation *runner = c->link;
    /* Its frames are dropped, and with them what they handled. */
    exceptions_take(mp->exceptions);
    c->link = mp->current;
    c->state = CONTINUATION_DONE;
    mp->current = runner;
    const void *bottom;
    size_t size_bytes = mount_range(runner, &bottom);
    sanitizer_switch(NULL, mount_sanitizer(mp, runner), bottom, size_bytes);
    switch_stacks_final(runner ? runner->sp : mp->native_sp, value);
}

/* ---- Who runs here ------------------------------------------------------ */

struct continuation *continuation_current(void)
{
    return mount_point_self()->current;
}

bool continuation_own_home(struct continuation *c)
{
    c->flags &= (uint8_t)~CONTINUATION_HIDDEN;
    if (c->flags & CONTINUATION_HAS_OWN)
        return true;
    if (!run_stack_convert(c->home))
        return false;
    c->flags |= CONTINUATION_HAS_OWN;
    return true;
}

/* The fields are plain, for the hot path writes them, and they are read
 * without a right to: they are aligned, so no read sees half of a write.
 * Whatever was read as the home is a record, and records stay for ever; its
 * borders do not change.  Nothing else is followed. */
NO_SANITIZE_THREAD void
continuation_glance(const struct continuation *c,
                    struct continuation_glance *glance)
{
    const volatile struct continuation *seen = c;
    const struct run_stack *home = seen->home;
    const char *sp = seen->sp;
    *glance = (struct continuation_glance){
        .state = seen->state,
        .flags = seen->flags,
        .frozen_bytes = seen->frozen_bytes,
        .has_home = home != NULL,
    };
    if (!home)
        return;
    glance->is_common = home->is_common;
    if (glance->state == CONTINUATION_UNMOUNTED && sp > home->bottom
        && sp < home->top)
        glance->depth_bytes = (size_t)(home->top - sp);
    if (home->is_common
        && atomic_load_explicit(&home->resident, memory_order_relaxed) == c)
        glance->waiting = run_stack_waiting(home);
}

bool continuation_unwind(struct continuation *c, void (*fn)(void *argument),
                         void *argument)
{
    if (c->state != CONTINUATION_UNMOUNTED)
        return false;
    while (mount_enter(c, NULL) == RUN_BUSY)
        cpu_relax();
    struct continuation *inner = c->link;
    for (; inner != c; inner = inner->link)
        switch_unwind(inner->sp, fn, argument);
    switch_unwind(c->sp, fn, argument);
    /* The chunks that the frames have come from take them again. */
    (void)mount_settle(c);
    return true;
}

void continuation_thread_enter(void)
{
    struct mount_point *mp = mount_point_self();
    if (mp->is_entered)
        return;
    mp->is_entered = true;
    mp->exceptions = exceptions_self();
    sanitizer_stack_init_native(&mp->native);
}

void continuation_thread_leave(void)
{
    mount_point_self()->is_entered = false;
}

/* ---- Looking ------------------------------------------------------------ */

static uintptr_t word_at(const char *address)
{
    return *(const uintptr_t *)address;
}

unsigned continuation_walk(const struct continuation *c, uint64_t *addresses,
                           unsigned max)
{
    const char *sp = c->sp, *top = c->home->top;
    unsigned count = 0;
    if (max == 0)
        return 0;
    uintptr_t pc = word_at(sp + SWITCH_RETURN_ADDRESS);
    addresses[count++] = cpu_return_address(pc);
    uintptr_t frame = word_at(sp + SWITCH_FRAME_POINTER), last = 0;
    while (count < max && frame > last && (frame & 7) == 0) {
        const uintptr_t *record = cpu_frame_record(frame);
        if ((const char *)record < sp || (const char *)(record + 2) > top
            || record[1] == 0)
            break;
        addresses[count++] = cpu_return_address(record[1]);
        last = frame;
        frame = record[0];
    }
    return count;
}
