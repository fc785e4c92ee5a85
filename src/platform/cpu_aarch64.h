/*
 * cpu_aarch64.h - see cpu.h.
 */
#ifndef PLATFORM_CPU_AARCH64_H
#define PLATFORM_CPU_AARCH64_H

#include <stdatomic.h>
#include <stdint.h>

/* isb takes some tens of cycles; yield is a nop on most processors. */
static inline void cpu_relax(void)
{
    __asm__ volatile("isb" ::: "memory");
}

/* Later loads may be made before the store of an exclusive pair, or of an
 * instruction of LSE, be it a release. */
static inline void fence_after_rmw(void)
{
    atomic_thread_fence(memory_order_seq_cst);
}

#define CPU_PC(context) ((void *)(context)->uc_mcontext.pc)

static inline const uintptr_t *cpu_frame_record(uintptr_t frame)
{
    return (const uintptr_t *)frame;
}

static inline uintptr_t cpu_return_address(uintptr_t word)
{
    register uintptr_t x30 __asm__("x30") = word;
    __asm__("hint #7" : "+r"(x30)); /* xpaclri, a nop without signatures */
    return x30;
}

#define CPU_THREAD_LOCAL(address, variable)                                   \
    do {                                                                      \
        uintptr_t cpu_pointer;                                                \
        __asm__ volatile("mrs  %1, tpidr_el0\n\t"                             \
                         "adrp %0, :gottprel:" #variable "\n\t"               \
                         "ldr  %0, [%0, :gottprel_lo12:" #variable "]\n\t"    \
                         "add  %0, %0, %1"                                    \
                         : "=&r"(address), "=&r"(cpu_pointer)::"memory");     \
    } while (0)

#endif
