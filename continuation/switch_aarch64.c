/*
 * switch_aarch64.c - the part of the switch that need not be assembly: the
 * first frame of a stack.  The partner is switch_aarch64.S.
 */
#include "continuation/switch.h"

#include <stddef.h>

/* What switch_stacks leaves, lowest address first. */
struct switch_frame {
    uint64_t fpcr, unused;
    uint64_t d8_to_d15[8];
    uintptr_t x19, x20, x21, x22, x23, x24, x25, x26, x27, x28;
    uintptr_t frame_pointer, return_address;
};

_Static_assert(sizeof(struct switch_frame) == SWITCH_FRAME_BYTES
                   && offsetof(struct switch_frame, frame_pointer)
                          == SWITCH_FRAME_POINTER
                   && offsetof(struct switch_frame, return_address)
                          == SWITCH_RETURN_ADDRESS,
               "the frame of switch_aarch64.S");

#define AT(member) offsetof(struct switch_frame, member)

const struct switch_slot switch_slots[SWITCH_SLOTS] = {
    {19, AT(x19)}, {20, AT(x20)},           {21, AT(x21)},
    {22, AT(x22)}, {23, AT(x23)},           {24, AT(x24)},
    {25, AT(x25)}, {26, AT(x26)},           {27, AT(x27)},
    {28, AT(x28)}, {29, AT(frame_pointer)}, {30, AT(return_address)},
};

extern char switch_base[];

/* As paciasp does in a function that has been called with that sp: a nop on
 * processors that know nothing of signatures. */
static uintptr_t sign(uintptr_t return_address, const void *sp)
{
    register uintptr_t x17 __asm__("x17") = return_address;
    register uintptr_t x16 __asm__("x16") = (uintptr_t)sp;
    __asm__("hint #8" : "+r"(x17) : "r"(x16)); /* pacia1716 */
    return x17;
}

void *switch_prepare(void *top, void (*main)(void *), void *argument)
{
    struct switch_frame *frame = (struct switch_frame *)top - 1;
    uintptr_t behind_the_nop = (uintptr_t)switch_base + 4;
    /* FPCR 0: to nearest, no exception trapped. */
    *frame = (struct switch_frame){
        .x19 = (uintptr_t)main,
        .x20 = (uintptr_t)argument,
        .return_address = sign(behind_the_nop, top),
    };
    return frame;
}

int switch_has_shadow_stack(void)
{
    /* chkfeat clears bit 0 where a guarded control stack is enabled; it is a
     * nop on processors that have none. */
    register uintptr_t x16 __asm__("x16") = 1;
    __asm__ volatile("hint #40" : "+r"(x16));
    return x16 == 0;
}
