/*
 * switch_x86_64.c - the part of the switch that need not be assembly: the
 * first frame of a stack.  The partner is switch_x86_64.S.
 */
#include "continuation/switch.h"

#include <stddef.h>

/* What save_registers leaves, lowest address first. */
struct switch_frame {
    uint32_t mxcsr;
    uint16_t x87_control;
    uint16_t unused;
    uintptr_t r15, r14, r13, r12, rbx, rbp;
    uintptr_t return_address;
};

_Static_assert(sizeof(struct switch_frame) == SWITCH_FRAME_BYTES
                   && offsetof(struct switch_frame, rbp)
                          == SWITCH_FRAME_POINTER
                   && offsetof(struct switch_frame, return_address)
                          == SWITCH_RETURN_ADDRESS,
               "the frame of switch_x86_64.S");

#define AT(member) offsetof(struct switch_frame, member)

const struct switch_slot switch_slots[SWITCH_SLOTS] = {
    {3, AT(rbx)},
    {6, AT(rbp)},
    {12, AT(r12)},
    {13, AT(r13)},
    {14, AT(r14)},
    {15, AT(r15)},
    {16, AT(return_address)},
};

extern char switch_base[];

void *switch_prepare(void *top, void (*main)(void *), void *argument)
{
    struct switch_frame *frame = (struct switch_frame *)top - 1;
    *frame = (struct switch_frame){
        .mxcsr = 0x1f80,       /* all exceptions masked, nearest */
        .x87_control = 0x037f, /* the same, extended precision */
        .r12 = (uintptr_t)main,
        .r13 = (uintptr_t)argument,
        .return_address = (uintptr_t)switch_base + 1, /* behind the nop */
    };
    return frame;
}

int switch_has_shadow_stack(void)
{
    /* rdsspq is a no-op where shadow stacks are off or unknown. */
    uintptr_t ssp = 0;
    __asm__ volatile("rdsspq %0" : "+r"(ssp));
    return ssp != 0;
}
