/*
 * switch_riscv64.S - from one stack to another, for RV64GC and its psABI.
 *
 * What a switch leaves behind, lowest address first:
 *
 *      sp -> +-----------------------------+
 *            | frm                         |  8 bytes
 *            | fs0 ... fs11                | 96
 *            | s0 ... s11                  | 96
 *            | ra                          |  8
 *            +-----------------------------+ <- sp of the caller
 *
 * The ABI makes these the callee's to preserve; the rounding mode belongs to
 * the thread.  All else is dead across the call.  The flags in fcsr are
 * nobody's to preserve.
 *
 * sp never points at anything but a stack with room below it, so a signal
 * may land on any instruction.  Both stacks have the same layout at the
 * instruction that exchanges them, so the CFI holds throughout.
 *
 * frm is loaded only if it differs, for all that computes waits for that.
 */
    .text

    .macro save store, register, offset
    \store  \register, \offset(sp)
    .cfi_rel_offset \register, \offset
    .endm

    .macro restore load, register, offset
    \load   \register, \offset(sp)
    .cfi_restore \register
    .endm

    .macro describe none, register, offset
    .cfi_rel_offset \register, \offset
    .endm

/* `general` and `float` are the instructions that do is given. */
    .macro each_register do, general=, float=
    \do     \general, ra, 200
    \do     \general, s0, 192
    \do     \general, s1, 184
    \do     \general, s2, 176
    \do     \general, s3, 168
    \do     \general, s4, 160
    \do     \general, s5, 152
    \do     \general, s6, 144
    \do     \general, s7, 136
    \do     \general, s8, 128
    \do     \general, s9, 120
    \do     \general, s10, 112
    \do     \general, s11, 104
    \do     \float, fs0, 96
    \do     \float, fs1, 88
    \do     \float, fs2, 80
    \do     \float, fs3, 72
    \do     \float, fs4, 64
    \do     \float, fs5, 56
    \do     \float, fs6, 48
    \do     \float, fs7, 40
    \do     \float, fs8, 32
    \do     \float, fs9, 24
    \do     \float, fs10, 16
    \do     \float, fs11, 8
    .endm

    .macro load_frm_if_not now
    ld      t1, 0(sp)
    beq     t1, \now, 1f
    fsrm    t1
1:
    .endm

    .macro restore_registers_and_return
    each_register restore, ld, fld
    addi    sp, sp, 208
    .cfi_adjust_cfa_offset -208
    ret
    .endm

/* uintptr_t switch_stacks(void **save_sp, void *sp, uintptr_t value) */
    .globl  switch_stacks
    .hidden switch_stacks
    .type   switch_stacks, @function
    .p2align 5
switch_stacks:
    .cfi_startproc
    addi    sp, sp, -208
    .cfi_adjust_cfa_offset 208
    each_register save, sd, fsd
    frrm    t0
    sd      t0, 0(sp)
    sd      sp, 0(a0)
    mv      a0, a2
    mv      sp, a1
    load_frm_if_not t0
    restore_registers_and_return
    .cfi_endproc
    .size   switch_stacks, . - switch_stacks

/* void switch_stacks_final(void *sp, uintptr_t value) */
    .globl  switch_stacks_final
    .hidden switch_stacks_final
    .type   switch_stacks_final, @function
    .p2align 5
switch_stacks_final:
    .cfi_startproc
    mv      sp, a0
    .cfi_def_cfa_offset 208
    each_register describe
    mv      a0, a1
    frrm    t0
    load_frm_if_not t0
    restore_registers_and_return
    .cfi_endproc
    .size   switch_stacks_final, . - switch_stacks_final

/* void switch_unwind(void *sp, void (*fn)(void *), void *argument)
 * During the call its caller is, to unwinders, whoever is saved at sp. */
    .globl  switch_unwind
    .hidden switch_unwind
    .type   switch_unwind, @function
    .p2align 4
switch_unwind:
    .cfi_startproc
    addi    sp, sp, -16
    .cfi_adjust_cfa_offset 16
    save    sd, ra, 8
    save    sd, s1, 0
    mv      s1, a0
    mv      a0, a2
    .cfi_remember_state
    .cfi_def_cfa s1, 208
    each_register describe
    jalr    a1
    .cfi_restore_state
    restore ld, s1, 0
    restore ld, ra, 8
    addi    sp, sp, 16
    .cfi_adjust_cfa_offset -16
    ret
    .cfi_endproc
    .size   switch_unwind, . - switch_unwind

/* The base frame: s1 = main, s2 = its argument.  The return address is
 * undefined for unwinders, so every walk ends here.  A first switch comes
 * here behind the nop: of a return address unwinders look up the byte before,
 * which has to be of this function too. */
    .globl  switch_base
    .hidden switch_base
    .type   switch_base, @function
    .p2align 4
switch_base:
    .cfi_startproc
    .cfi_undefined ra
    .option push
    .option norvc
    nop
    .option pop
    mv      a0, s2
    jalr    s1
    ebreak
    .cfi_endproc
    .size   switch_base, . - switch_base

    .section .note.GNU-stack, "", @progbits
