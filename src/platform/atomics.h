/*
 * atomics.h - C11 atomics and the three things they leave out.
 */
#ifndef PLATFORM_ATOMICS_H
#define PLATFORM_ATOMICS_H

#include <stdatomic.h>
#include <stdint.h>

#define CACHE_LINE 64

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* In a loop that waits for another processor. */
static inline void cpu_relax(void)
{
#if defined __x86_64__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("isb" ::: "memory");
#endif
}

/* A full fence for code that comes right after a read-modify-write with
 * memory_order_seq_cst.  On x86 the locked instruction is one already. */
static inline void fence_after_rmw(void)
{
#if defined __x86_64__
    atomic_signal_fence(memory_order_seq_cst);
#else
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

#endif
