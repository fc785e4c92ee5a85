/*
 * cpu_x86_64.h - see cpu.h.
 */
#ifndef PLATFORM_CPU_X86_64_H
#define PLATFORM_CPU_X86_64_H

#include <stdatomic.h>
#include <stdint.h>

static inline void cpu_relax(void)
{
    __builtin_ia32_pause();
}

/* The locked instruction is a full fence already.  The simulated machine
 * stands for other processors, too. */
static inline void fence_after_rmw(void)
{
#if defined SANITIZER_SIMULATED
    atomic_thread_fence(memory_order_seq_cst);
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

#define CPU_PC(context) ((void *)(context)->uc_mcontext.gregs[REG_RIP])

static inline const uintptr_t *cpu_frame_record(uintptr_t frame)
{
    return (const uintptr_t *)frame;
}

static inline uintptr_t cpu_return_address(uintptr_t word)
{
    return word;
}

#define CPU_THREAD_LOCAL(address, variable)                                   \
    __asm__ volatile("movq " #variable "@gottpoff(%%rip), %0\n\t"             \
                     "addq %%fs:0, %0"                                        \
                     : "=r"(address)::"memory")

#endif
