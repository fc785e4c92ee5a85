/*
 * cpu_riscv64.h - see cpu.h.
 */
#ifndef PLATFORM_CPU_RISCV64_H
#define PLATFORM_CPU_RISCV64_H

#include <stdatomic.h>
#include <stdint.h>

/* pause, of Zihintpause: a hint, and a nop where that is missing. */
static inline void cpu_relax(void)
{
    __asm__ volatile(".4byte 0x0100000f" ::: "memory");
}

/* amo.aqrl and lr/sc order less than a fence. */
static inline void fence_after_rmw(void)
{
    atomic_thread_fence(memory_order_seq_cst);
}

/* The first of the general registers as the kernel stores them, in place of
 * the zero that x0 is. */
#define CPU_PC(context) ((void *)(context)->uc_mcontext.__gregs[0])

/* s0 is the sp of the caller; the record lies below it. */
static inline const uintptr_t *cpu_frame_record(uintptr_t frame)
{
    return (const uintptr_t *)frame - 2;
}

static inline uintptr_t cpu_return_address(uintptr_t word)
{
    return word;
}

#define CPU_THREAD_LOCAL(address, variable)                                   \
    __asm__ volatile("la.tls.ie %0, " #variable "\n\t"                        \
                     "add %0, %0, tp"                                         \
                     : "=r"(address)::"memory")

#endif
