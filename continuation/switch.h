/*
 * switch.h - from one stack to another, in assembly.
 *
 * What a switch leaves on the stack that it leaves is drawn in
 * switch_<cpu>.S: the registers that a function preserves, the words that
 * control floating point, the return address.
 */
#ifndef CONTINUATION_SWITCH_H
#define CONTINUATION_SWITCH_H

#include <stdint.h>

#include "continuation/switch_cpu.h" /* switch_<cpu>.h: configure's link */

/* Where a register lies in that frame, for those who look at the stack from
 * outside: its number as DWARF has it.  The last one is where it goes on, a
 * return address; on aarch64 it is signed. */
struct switch_slot {
    uint32_t dwarf_number;
    uint32_t offset;
};
extern const struct switch_slot switch_slots[SWITCH_SLOTS];

/* Saves the caller's registers on its stack and that stack's sp in
 * *save_sp, then goes on where `sp` was saved.  There, switch_stacks
 * returns value.  On x86-64 7 to 12 ns for a resume and a yield. */
uintptr_t switch_stacks(void **save_sp, void *sp, uintptr_t value);

/* The same without a way back: the stack left is at an end. */
_Noreturn void switch_stacks_final(void *sp, uintptr_t value);

/* Lays a first frame at the top of an empty stack (aligned to 16), so that
 * switching to the sp returned calls main(argument) with the stack aligned
 * as the ABI wants it.  main never returns.  Unwinders end there. */
void *switch_prepare(void *top, void (*main)(void *), void *argument);

/* Calls fn(argument) so that an unwinder finds behind it the frames that a
 * switch has left at sp. */
void switch_unwind(void *sp, void (*fn)(void *argument), void *argument);

/* True where the processor keeps a shadow stack for this process: frames
 * cannot be copied then. */
int switch_has_shadow_stack(void);

#endif
