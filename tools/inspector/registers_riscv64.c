/*
 * registers_riscv64.c - the registers of RISC-V, by their DWARF numbers.
 */
#include "registers.h"

#include <string.h>

const unsigned registers_sp = 2;
const unsigned registers_pc = REGISTERS_MAX;

/* As the kernel has them: pc in the place of x0, which is zero, then x1 to
 * x31. */
enum { KERNELS = 32 };

bool registers_from_kernel(struct registers *registers, const void *kernels,
                           size_t size_bytes)
{
    uint64_t from[KERNELS];
    if (size_bytes < sizeof from)
        return false;
    memcpy(from, kernels, sizeof from);
    *registers = (struct registers){.pc = from[0]};
    for (unsigned i = 1; i < KERNELS; i++)
        registers_set(registers, i, from[i]);
    return true;
}

uint64_t registers_address(uint64_t word)
{
    return word;
}
