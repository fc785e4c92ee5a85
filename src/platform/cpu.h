/*
 * cpu.h - what differs from processor to processor, but for the switch of
 * stacks (continuation/switch_<cpu>.S).
 *
 * Each cpu_<cpu>.h defines
 *
 *   cpu_relax()        for a loop that waits for another processor
 *   fence_after_rmw()  a full fence for code that comes right after a
 *                      read-modify-write with memory_order_seq_cst
 *   CPU_PC(context)    where a ucontext_t goes on
 *   cpu_frame_record(frame)
 *                      the two words that a frame pointer stands for: the
 *                      caller's, and the return address
 *   cpu_return_address(word)
 *                      where that leads, without a signature
 *   CPU_THREAD_LOCAL(address, variable)
 *                      the address of an initial-exec thread-local of the
 *                      calling OS thread, computed where it stands: a
 *                      volatile asm is neither moved across a call nor
 *                      merged with another one
 */
#ifndef PLATFORM_CPU_H
#define PLATFORM_CPU_H

#if defined __x86_64__
#include "cpu_x86_64.h"
#elif defined __aarch64__
#include "cpu_aarch64.h"
#elif defined __riscv && __riscv_xlen == 64
#include "cpu_riscv64.h"
#else
#error "no src/platform/cpu_<cpu>.h for this processor"
#endif

#endif
