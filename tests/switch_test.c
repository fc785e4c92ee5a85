/*
 * switch_test.c - each instruction of the switch can be walked from, by
 * libgcc and by libunwind: a signal may land on any of them.  gdb_test.sh
 * claims the same of gdb.
 */
#include <signal.h>
#include <ucontext.h>
#include <xmmintrin.h>

#include "continuation/switch.h"
#include "tests/support.h"
#include "tests/walk.h"

extern char switch_base[];

#define STEPS_STACK_BYTES (256 * 1024)

/* The processor stops after each instruction; those of the switch are
 * walked from.  On the native side the walk finds `resumes`, on the other
 * one the base, and `is_resumed` once that has begun. */
static struct {
    char *bottom, *top;
    void *native_sp, *sp;
    volatile sig_atomic_t is_begun; /* is_resumed is */
    unsigned on_native, on_stack, out_of_line;
    struct walk walk;
} steps;

/* With a rounding mode of its own it makes the switch load that, there and
 * back, in its part that is out of line. */
static void is_resumed(void *arg)
{
    /* Not known to be final: ASan would prepare for an exit, at length. */
    void (*volatile switch_last)(void *, uintptr_t) = switch_stacks_final;
    (void)arg;
    steps.is_begun = 1;
    switch_stacks(&steps.sp, steps.native_sp, 0);
    _mm_setcsr(_mm_getcsr() ^ _MM_ROUND_UP);
    switch_stacks(&steps.sp, steps.native_sp, 0);
    switch_last(steps.native_sp, 0);
    abort();
}

__attribute__((noinline)) static void resumes(void)
{
    raise(SIGTRAP);
    for (unsigned i = 0; i < 3; i++)
        switch_stacks(&steps.native_sp, steps.sp, 0);
    raise(SIGTRAP);
}

static void claim_step(const char *walker, bool is_on_stack, uintptr_t pc)
{
    const struct walk *w = &steps.walk;
    const void *last = walk_function_at(w, w->depth - 1);
    const void *caller =
        (const void *)(is_on_stack ? (uintptr_t)is_resumed
                                              : (uintptr_t)resumes);
    ptrdiff_t offset = (ptrdiff_t)(pc - (uintptr_t)switch_stacks);
    ck_assert_msg(w->ended, "%s: at switch_stacks + %td: %s", walker, offset,
                  w->why);
    ck_assert_msg(is_on_stack == (last == switch_base),
                  "%s: at switch_stacks + %td the last frame is at %p", walker,
                  offset, (void *)w->frames[w->depth - 1].pc);
    if (!is_on_stack || steps.is_begun)
        ck_assert_msg(walk_skip_to(w, 0, caller) < w->depth,
                      "%s: at switch_stacks + %td no frame is the caller's",
                      walker, offset);
}

static void walk_from_the_switch(uintptr_t pc, uintptr_t sp)
{
    bool is_on_stack = sp >= (uintptr_t)steps.bottom
                      && sp <= (uintptr_t)steps.top;
    walk_by_libgcc(&steps.walk);
    claim_step("libgcc", is_on_stack, pc);
#ifdef HAVE_LIBUNWIND
    walk_by_libunwind(&steps.walk);
    claim_step("libunwind", is_on_stack, pc);
#endif
    const void *part = walk_function(pc + 1);
    if (part != (const void *)(uintptr_t)switch_stacks
        && part != (const void *)(uintptr_t)switch_stacks_final
        && part != switch_base)
        steps.out_of_line++;
    if (is_on_stack)
        steps.on_stack++;
    else
        steps.on_native++;
}

static void stopped(int number, siginfo_t *info, void *context)
{
    const greg_t trap_flag = 0x100;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    uintptr_t pc = (uintptr_t)registers[REG_RIP];
    (void)number;
    if (info->si_code == SI_TKILL)
        registers[REG_EFL] ^= trap_flag;
    else if (pc >= (uintptr_t)switch_stacks && pc < (uintptr_t)switch_base + 8)
        walk_from_the_switch(pc, (uintptr_t)registers[REG_RSP]);
}

START_TEST(each_instruction_of_the_switch_can_be_walked_from)
{
#if defined __SANITIZE_THREAD__
    /* Its runtime keeps signals back, and cannot be stepped through. */
    return;
#endif
    struct sigaction action = {.sa_sigaction = stopped, .sa_flags = SA_SIGINFO};
    steps.bottom = aligned_alloc(64, STEPS_STACK_BYTES);
    ck_assert_ptr_nonnull(steps.bottom);
    steps.top = steps.bottom + STEPS_STACK_BYTES - 64;
    steps.sp = switch_prepare(steps.top, is_resumed, NULL);
    walk_plant_above(steps.top);
    ck_assert_int_eq(sigaction(SIGTRAP, &action, NULL), 0);
    resumes();
    free(steps.bottom);
    /* Three times there and back: some twenty instructions on each side;
     * the rounding mode changes on the way back and twice more. */
    ck_assert_uint_gt(steps.on_native, 60);
    ck_assert_uint_gt(steps.on_stack, 60);
    ck_assert_uint_eq(steps.out_of_line, 6);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("switch");
    TCase *cases = tcase_create("walk");
    tcase_set_timeout(cases, PATIENCE_S);
    tcase_add_checked_fixture(cases, libgcc_open, NULL);
    tcase_add_test(cases, each_instruction_of_the_switch_can_be_walked_from);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
