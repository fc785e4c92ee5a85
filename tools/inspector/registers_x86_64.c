/*
 * registers_x86_64.c - the registers of x86-64, by their DWARF numbers.
 */
#include "registers.h"

#include <string.h>
#include <sys/user.h>

const unsigned registers_sp = 7;
const unsigned registers_pc = 16;

bool registers_from_kernel(struct registers *registers, const void *kernels,
                           size_t size_bytes)
{
    struct user_regs_struct from;
    if (size_bytes < sizeof from)
        return false;
    memcpy(&from, kernels, sizeof from);
    const uint64_t values[] = {
        from.rax, from.rdx, from.rcx, from.rbx, from.rsi, from.rdi,
        from.rbp, from.rsp, from.r8,  from.r9,  from.r10, from.r11,
        from.r12, from.r13, from.r14, from.r15, from.rip,
    };
    *registers = (struct registers){.pc = from.rip};
    for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++)
        registers_set(registers, i, values[i]);
    return true;
}

uint64_t registers_address(uint64_t word)
{
    return word;
}
