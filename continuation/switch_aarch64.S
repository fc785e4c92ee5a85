/*
 * switch_aarch64.S - from one stack to another, for AArch64 and the AAPCS64.
 *
 * What a switch leaves behind, lowest address first:
 *
 *      sp -> +-----------------------------+
 *            | FPCR                        |  8 bytes, and 8 unused
 *            | d8 ... d15                  | 64
 *            | x19 ... x28                 | 80
 *            | x29, x30 (signed)           | 16
 *            +-----------------------------+ <- sp of the caller
 *
 * The ABI makes these the callee's to preserve (of the vector registers the
 * lower halves); all else is dead across the call.
 *
 * sp never points at anything but a stack with room below it, so a signal
 * may land on any instruction.  Both stacks have the same layout at the
 * instruction that exchanges them, so the CFI holds throughout.
 *
 * FPCR is loaded only if it differs, for all that computes waits for that.
 *
 * The return address is signed with the sp of the caller, to which its frames
 * are thawed, and with a key of the process.  paciasp is a landing pad for
 * BTI, too.  The way back is a ret, for a br would need such a pad behind
 * each call.  These instructions are hints, which older processors take for
 * nops; by their numbers every assembler knows them.
 */
#define PACIASP hint #25
#define AUTIASP hint #29
#define BTI_C   hint #34

    .text

    .macro save_pair first, second, offset
    stp     \first, \second, [sp, #\offset]
    .cfi_rel_offset \first, \offset
    .cfi_rel_offset \second, \offset + 8
    .endm

    .macro restore_pair first, second, offset
    ldp     \first, \second, [sp, #\offset]
    .cfi_restore \first
    .cfi_restore \second
    .endm

    .macro describe_pair first, second, offset
    .cfi_rel_offset \first, \offset
    .cfi_rel_offset \second, \offset + 8
    .endm

    .macro each_pair do
    \do     x29, x30, 160
    \do     x27, x28, 144
    \do     x25, x26, 128
    \do     x23, x24, 112
    \do     x21, x22, 96
    \do     x19, x20, 80
    \do     d14, d15, 64
    \do     d12, d13, 48
    \do     d10, d11, 32
    \do     d8, d9, 16
    .endm

    .macro load_fpcr_if_not now
    ldr     x10, [sp]
    cmp     x10, \now
    b.eq    1f
    msr     fpcr, x10
1:
    .endm

    .macro restore_registers_and_return
    each_pair restore_pair
    add     sp, sp, #176
    .cfi_adjust_cfa_offset -176
    AUTIASP
    .cfi_negate_ra_state
    ret
    .endm

/* uintptr_t switch_stacks(void **save_sp, void *sp, uintptr_t value) */
    .globl  switch_stacks
    .hidden switch_stacks
    .type   switch_stacks, %function
    .p2align 5
switch_stacks:
    .cfi_startproc
    PACIASP
    .cfi_negate_ra_state
    sub     sp, sp, #176
    .cfi_adjust_cfa_offset 176
    each_pair save_pair
    mrs     x9, fpcr
    str     x9, [sp]
    mov     x11, sp
    str     x11, [x0]
    mov     x0, x2
    mov     sp, x1
    load_fpcr_if_not x9
    restore_registers_and_return
    .cfi_endproc
    .size   switch_stacks, . - switch_stacks

/* void switch_stacks_final(void *sp, uintptr_t value) */
    .globl  switch_stacks_final
    .hidden switch_stacks_final
    .type   switch_stacks_final, %function
    .p2align 5
switch_stacks_final:
    .cfi_startproc
    BTI_C
    mov     sp, x0
    .cfi_def_cfa_offset 176
    .cfi_negate_ra_state
    each_pair describe_pair
    mov     x0, x1
    mrs     x9, fpcr
    load_fpcr_if_not x9
    restore_registers_and_return
    .cfi_endproc
    .size   switch_stacks_final, . - switch_stacks_final

/* void switch_unwind(void *sp, void (*fn)(void *), void *argument)
 * During the call its caller is, to unwinders, whoever is saved at sp. */
    .globl  switch_unwind
    .hidden switch_unwind
    .type   switch_unwind, %function
    .p2align 4
switch_unwind:
    .cfi_startproc
    PACIASP
    .cfi_negate_ra_state
    stp     x19, x30, [sp, #-16]!
    .cfi_adjust_cfa_offset 16
    .cfi_rel_offset x19, 0
    .cfi_rel_offset x30, 8
    mov     x19, x0
    mov     x0, x2
    .cfi_remember_state
    .cfi_def_cfa x19, 176
    each_pair describe_pair
    blr     x1
    .cfi_restore_state
    ldp     x19, x30, [sp], #16
    .cfi_restore x19
    .cfi_restore x30
    .cfi_adjust_cfa_offset -16
    AUTIASP
    .cfi_negate_ra_state
    ret
    .cfi_endproc
    .size   switch_unwind, . - switch_unwind

/* The base frame: x19 = main, x20 = its argument.  The return address is
 * undefined for unwinders, so every walk ends here.  A first switch comes
 * here behind the nop: of a return address unwinders look up the byte before,
 * which has to be of this function too. */
    .globl  switch_base
    .hidden switch_base
    .type   switch_base, %function
    .p2align 4
switch_base:
    .cfi_startproc
    .cfi_undefined x30
    nop
    mov     x0, x20
    blr     x19
    brk     #1000
    .cfi_endproc
    .size   switch_base, . - switch_base

/* BTI and signed return addresses: GNU_PROPERTY_AARCH64_FEATURE_1_AND. */
    .section .note.gnu.property, "a", %note
    .p2align 3
    .word   4, 16, 5
    .asciz  "GNU"
    .word   0xc0000000, 4, 3, 0

    .section .note.GNU-stack, "", %progbits
