/*
 * switch_riscv64.c - the part of the switch that need not be assembly: the
 * first frame of a stack.  The partner is switch_riscv64.S.
 */
#include "continuation/switch.h"

#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What switch_stacks leaves, lowest address first. */
struct switch_frame {
    uint64_t rounding_mode;
    uint64_t fs11_to_fs0[12];
    uintptr_t s11, s10, s9, s8, s7, s6, s5, s4, s3, s2, s1, s0;
    uintptr_t return_address;
};

_Static_assert(sizeof(struct switch_frame) == SWITCH_FRAME_BYTES
                   && offsetof(struct switch_frame, s0) == SWITCH_FRAME_POINTER
                   && offsetof(struct switch_frame, return_address)
                          == SWITCH_RETURN_ADDRESS,
               "the frame of switch_riscv64.S");

#define AT(member) offsetof(struct switch_frame, member)

const struct switch_slot switch_slots[SWITCH_SLOTS] = {
    {8, AT(s0)},
    {9, AT(s1)},
    {18, AT(s2)},
    {19, AT(s3)},
    {20, AT(s4)},
    {21, AT(s5)},
    {22, AT(s6)},
    {23, AT(s7)},
    {24, AT(s8)},
    {25, AT(s9)},
    {26, AT(s10)},
    {27, AT(s11)},
    {1, AT(return_address)},
};

extern char switch_base[];

void *switch_prepare(void *top, void (*main)(void *), void *argument)
{
    struct switch_frame *frame = (struct switch_frame *)top - 1;
    /* Rounding mode 0: to nearest. */
    *frame = (struct switch_frame){
        .s1 = (uintptr_t)main,
        .s2 = (uintptr_t)argument,
        .return_address = (uintptr_t)switch_base + 4, /* behind the nop */
    };
    return frame;
}

int switch_has_shadow_stack(void)
{
    /* The instruction that reads the shadow stack's pointer is an illegal one
     * on older processors, so the kernel is asked.  One that does not know
     * the question has turned no such stack on. */
    enum { GET_SHADOW_STACK_STATUS = 74, ENABLED = 1 };
    unsigned long status = 0;
    return syscall(SYS_prctl, GET_SHADOW_STACK_STATUS, &status, 0, 0, 0) == 0
           && (status & ENABLED);
}
