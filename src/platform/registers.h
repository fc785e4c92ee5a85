/*
 * registers.h - the registers that a called function preserves.
 *
 * What they hold is their caller's, perhaps the only pointer to something; the
 * function called may keep them anywhere.
 */
#ifndef PLATFORM_REGISTERS_H
#define PLATFORM_REGISTERS_H

#include <stdint.h>

#define REGISTERS_PRESERVED 12

/* Stores them all; those that are fewer leave the rest as it is. */
static inline void registers_store(uintptr_t stored[REGISTERS_PRESERVED])
{
#if defined __x86_64__
    __asm__ volatile("movq %%rbx, 0(%0)\n\t"
                     "movq %%rbp, 8(%0)\n\t"
                     "movq %%r12, 16(%0)\n\t"
                     "movq %%r13, 24(%0)\n\t"
                     "movq %%r14, 32(%0)\n\t"
                     "movq %%r15, 40(%0)"
                     :
                     : "r"(stored)
                     : "memory");
#elif defined __aarch64__
    __asm__ volatile("stp x19, x20, [%0]\n\t"
                     "stp x21, x22, [%0, 16]\n\t"
                     "stp x23, x24, [%0, 32]\n\t"
                     "stp x25, x26, [%0, 48]\n\t"
                     "stp x27, x28, [%0, 64]\n\t"
                     "str x29, [%0, 80]"
                     :
                     : "r"(stored)
                     : "memory");
#elif defined __riscv && __riscv_xlen == 64
    __asm__ volatile("sd s0, 0(%0)\n\t"
                     "sd s1, 8(%0)\n\t"
                     "sd s2, 16(%0)\n\t"
                     "sd s3, 24(%0)\n\t"
                     "sd s4, 32(%0)\n\t"
                     "sd s5, 40(%0)\n\t"
                     "sd s6, 48(%0)\n\t"
                     "sd s7, 56(%0)\n\t"
                     "sd s8, 64(%0)\n\t"
                     "sd s9, 72(%0)\n\t"
                     "sd s10, 80(%0)\n\t"
                     "sd s11, 88(%0)"
                     :
                     : "r"(stored)
                     : "memory");
#else
#error "which registers does a function preserve here?"
#endif
}

/* The last thing in a function that has its caller's registers in its frame,
 * by __builtin_unwind_init: a tail call would leave the frame, and them, to
 * whoever is called. */
static inline void registers_frame_ends(void)
{
    __asm__ volatile("" ::: "memory");
}

#endif
