/*
 * control_words.h - the words that control floating point, and the registers
 * that a call preserves, of each processor.
 */
#ifndef TESTS_CONTROL_WORDS_H
#define TESTS_CONTROL_WORDS_H

#include <stdint.h>

#include "platform/sanitizer.h"

#if defined __x86_64__

/* MXCSR without its flags, which are nobody's; from bit 16 on the x87 control
 * word. */
static inline uint32_t control_words(void)
{
    uint32_t mxcsr;
    uint16_t x87;
    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(x87));
    return (mxcsr & 0xffc0) | (uint32_t)x87 << 16;
}

static inline void set_control_words(uint32_t words)
{
    uint32_t mxcsr = words & 0xffff;
    uint16_t x87 = (uint16_t)(words >> 16);
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr), "m"(x87));
}

/* n chooses the rounding mode, of the x87 another one, and whether numbers
 * too small are flushed to zero, which Valgrind cannot do. */
static inline uint32_t control_words_of(unsigned n)
{
    unsigned flush = sanitizer_is_valgrind ? 0 : n & 4;
    uint32_t x87 = 0x037f | (n >> 3 & 3) << 10;
    return 0x1f80u | (n & 3) << 13 | flush << 13 | x87 << 16;
}

/* The compiler is not told. */
#define CHANGE_REGISTERS()                                                    \
    __asm__ volatile("xorl $8, %%ebx\n\txorl $8, %%r12d\n\t"                  \
                     "xorl $8, %%r13d\n\txorl $8, %%r14d\n\t"                 \
                     "xorl $8, %%r15d" ::                                     \
                         :)

#elif defined __aarch64__

static inline uint32_t control_words(void)
{
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    return (uint32_t)fpcr;
}

static inline void set_control_words(uint32_t words)
{
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)words));
}

static inline uint32_t control_words_of(unsigned n)
{
    uint32_t flush = sanitizer_is_valgrind ? 0 : n >> 2 & 1;
    return (n & 3) << 22 | flush << 24;
}

#define CHANGE_REGISTERS()                                                    \
    __asm__ volatile("eor x19, x19, #8\n\teor x20, x20, #8\n\t"               \
                     "eor x21, x21, #8\n\teor x22, x22, #8\n\t"               \
                     "eor x23, x23, #8\n\teor x24, x24, #8" ::                \
                         :)

#elif defined __riscv

static inline uint32_t control_words(void)
{
    uint64_t frm;
    __asm__ volatile("frrm %0" : "=r"(frm));
    return (uint32_t)frm;
}

static inline void set_control_words(uint32_t words)
{
    __asm__ volatile("fsrm %0" : : "r"((uint64_t)words));
}

/* Nothing is ever flushed. */
static inline uint32_t control_words_of(unsigned n)
{
    return n & 3;
}

#define CHANGE_REGISTERS()                                                    \
    __asm__ volatile("xori s1, s1, 8\n\txori s2, s2, 8\n\t"                   \
                     "xori s3, s3, 8\n\txori s4, s4, 8\n\t"                   \
                     "xori s5, s5, 8\n\txori s6, s6, 8" ::                    \
                         :)

#endif

#endif
