/*
 * switch_x86_64.S - from one stack to another, for x86-64 and System V.
 *
 * What a switch leaves behind, lowest address first: MXCSR and the x87 control
 * word (8 bytes); r15, r14, r13, r12, rbx, rbp; the return address.  By the ABI
 * these are the callee's to preserve, and all else is dead across the call.
 *
 * rsp never points at anything but a stack with room below it, so a signal
 * may land on any instruction.  Both stacks have the same layout at the
 * instruction that exchanges them, so the CFI holds throughout.
 *
 * The control words are loaded only if they differ: storing them is cheap,
 * loading MXCSR costs 50 ns on some processors.  Its lower six bits are
 * flags that any inexact division raises; they are nobody's to preserve.
 *
 * The way back is a jump, not a ret: the processor's return predictor has
 * learned the calls of the other stack and would be wrong every time.
 */
    .text

    .macro save_registers
    pushq   %rbp
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbp, 0
    pushq   %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbx, 0
    pushq   %r12
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r12, 0
    pushq   %r13
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r13, 0
    pushq   %r14
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r14, 0
    pushq   %r15
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset r15, 0
    subq    $8, %rsp
    .cfi_adjust_cfa_offset 8
    stmxcsr (%rsp)
    fnstcw  4(%rsp)
    .endm

    .macro restore_registers_and_jump
    addq    $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq    %r15
    .cfi_adjust_cfa_offset -8
    .cfi_restore r15
    popq    %r14
    .cfi_adjust_cfa_offset -8
    .cfi_restore r14
    popq    %r13
    .cfi_adjust_cfa_offset -8
    .cfi_restore r13
    popq    %r12
    .cfi_adjust_cfa_offset -8
    .cfi_restore r12
    popq    %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbx
    popq    %rbp
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbp
    popq    %rcx
    .cfi_adjust_cfa_offset -8
    .cfi_register rip, rcx
    jmp     *%rcx
    .endm

/* uintptr_t switch_stacks(void **save_sp, void *sp, uintptr_t value) */
    .globl  switch_stacks
    .hidden switch_stacks
    .type   switch_stacks, @function
    .p2align 5
switch_stacks:
    .cfi_startproc
    save_registers
    movl    (%rsi), %ecx            /* the control words that it wants */
    movzwl  4(%rsi), %r8d
    movq    %rdx, %rax
    movq    %rsp, (%rdi)
    xorl    (%rsp), %ecx            /* against those that we have */
    testl   $0xffc0, %ecx
    jnz     2f
    cmpw    4(%rsp), %r8w
    jne     2f
1:  movq    %rsi, %rsp
    restore_registers_and_jump
    .cfi_endproc

/* Out of line: the two differ in a control word. */
    .cfi_startproc
    .cfi_def_cfa rsp, 64
    .cfi_offset rbp, -16
    .cfi_offset rbx, -24
    .cfi_offset r12, -32
    .cfi_offset r13, -40
    .cfi_offset r14, -48
    .cfi_offset r15, -56
2:  ldmxcsr (%rsi)
    fldcw   4(%rsi)
    jmp     1b
    .cfi_endproc
    .size   switch_stacks, . - switch_stacks

/* void switch_stacks_final(void *sp, uintptr_t value) */
    .globl  switch_stacks_final
    .hidden switch_stacks_final
    .type   switch_stacks_final, @function
    .p2align 5
switch_stacks_final:
    .cfi_startproc
    movq    %rdi, %rsp
    .cfi_def_cfa_offset 64
    .cfi_rel_offset rbp, 48
    .cfi_rel_offset rbx, 40
    .cfi_rel_offset r12, 32
    .cfi_rel_offset r13, 24
    .cfi_rel_offset r14, 16
    .cfi_rel_offset r15, 8
    movq    %rsi, %rax
    ldmxcsr (%rsp)
    fldcw   4(%rsp)
    restore_registers_and_jump
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
    pushq   %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset rbx, 0
    movq    %rdi, %rbx
    movq    %rdx, %rdi
    .cfi_remember_state
    .cfi_def_cfa rbx, 64
    .cfi_offset rbp, -16
    .cfi_offset rbx, -24
    .cfi_offset r12, -32
    .cfi_offset r13, -40
    .cfi_offset r14, -48
    .cfi_offset r15, -56
    callq   *%rsi
    .cfi_restore_state
    popq    %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore rbx
    retq
    .cfi_endproc
    .size   switch_unwind, . - switch_unwind

/* The base frame: r12 = main, r13 = its argument.  The return address is
 * undefined for unwinders, so every walk ends here.  A first switch comes
 * here behind the nop: of a return address unwinders look up the byte before,
 * which has to be of this function too. */
    .globl  switch_base
    .hidden switch_base
    .type   switch_base, @function
    .p2align 4
switch_base:
    .cfi_startproc
    .cfi_undefined rip
    nop
    movq    %r13, %rdi
    callq   *%r12
    ud2
    .cfi_endproc
    .size   switch_base, . - switch_base

    .section .note.GNU-stack, "", @progbits
