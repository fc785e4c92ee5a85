/*
 * switch.h - from one stack to another, in assembly.
 *
 * What a switch leaves on the stack that it leaves, lowest address first;
 * the offsets are those of switch_<cpu>.S:
 *
 *      sp -> +-----------------------------+
 *            | MXCSR, x87 control word     |  8 bytes
 *            | r15 r14 r13 r12 rbx rbp     | 48
 *            | return address              |  8
 *            +-----------------------------+ <- sp of the caller
 */
#ifndef CONTINUATION_SWITCH_H
#define CONTINUATION_SWITCH_H

#include <stdint.h>

#define SWITCH_FRAME_BYTES 64

/* Where a register lies in that frame, for those who look at the stack from
 * outside: its number as DWARF has it.  The return address is the pc. */
struct switch_slot {
    uint32_t dwarf_number;
    uint32_t offset;
};
#define SWITCH_SLOTS 7
extern const struct switch_slot switch_slots[SWITCH_SLOTS];

/* In it, from sp. */
#define SWITCH_FRAME_POINTER 48
#define SWITCH_RETURN_ADDRESS 56

/* Saves the caller's registers on its stack and that stack's sp in
 * *save_sp, then goes on where `sp` was saved.  There, switch_stacks
 * returns value.  7 to 12 ns for the two of a resume and a yield. */
uintptr_t switch_stacks(void **save_sp, void *sp, uintptr_t value);

/* The same without a way back: the stack left is at an end. */
_Noreturn void switch_stacks_final(void *sp, uintptr_t value);

/* Lays a first frame at the top of an empty stack (aligned to 16), so that
 * switching to the sp returned calls main(argument) with the stack aligned
 * as the ABI wants it.  main never returns.  Unwinders end there. */
void *switch_prepare(void *top, void (*main)(void *), void *argument);

/* True where the processor keeps a shadow stack for this process: frames
 * cannot be copied then. */
int switch_has_shadow_stack(void);

#endif
