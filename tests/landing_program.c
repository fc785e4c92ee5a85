/*
 * landing_program.c - a program in which every indirect branch needs a landing
 * pad, for tests/cross.sh: on aarch64, with BTI.
 *
 * It is linked without a C library, whose start-up code may lack the pads, and
 * goes to another stack and back by pointers to the functions of the switch.
 * The status says what went wrong; 0 is nothing.  With PLANT_NO_PAD it calls
 * a function that has none, and has to die of that.
 */
#include "continuation/switch.h"

enum { ROUNDS = 3, FIRST = 100, LAST = 77 };

static void *main_sp, *other_sp;
static char stack[16384] __attribute__((aligned(16)));

static uintptr_t (*volatile go)(void **, void *, uintptr_t) = switch_stacks;
static void (*volatile leave)(void *, uintptr_t) = switch_stacks_final;

static _Noreturn void end(long status)
{
    register long x0 __asm__("x0") = status;
    register long x8 __asm__("x8") = 93; /* exit */
    for (;;)
        __asm__ volatile("svc 0" ::"r"(x0), "r"(x8));
}

static void other(void *first)
{
    for (uintptr_t i = 0; i < ROUNDS; i++)
        if (go(&other_sp, main_sp, (uintptr_t)first + i) != FIRST + i + 1)
            end(1);
    leave(main_sp, LAST);
}

#if defined PLANT_NO_PAD
__asm__(".text\nno_pad:\n\tret\n");
extern void no_pad(void);
static void (*volatile call)(void) = no_pad;
#else
static void pad(void)
{
}
static void (*volatile call)(void) = pad;
#endif

_Noreturn void _start(void);
_Noreturn void _start(void)
{
    call();
    other_sp = switch_prepare(stack + sizeof stack, other, (void *)5);
    for (uintptr_t i = 0; i <= ROUNDS; i++)
        if (go(&main_sp, other_sp, FIRST + i) != (i < ROUNDS ? 5 + i : LAST))
            end(2);
    end(0);
}
