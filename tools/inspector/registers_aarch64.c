/*
 * registers_aarch64.c - the registers of AArch64, by their DWARF numbers.
 */
#include "registers.h"

#include <string.h>

const unsigned registers_sp = 31;
const unsigned registers_pc = REGISTERS_MAX;

/* As the kernel has them: x0 to x30, sp, pc. */
enum { SP = 31, PC = 32, KERNELS };

bool registers_from_kernel(struct registers *registers, const void *kernels,
                           size_t size_bytes)
{
    uint64_t from[KERNELS];
    if (size_bytes < sizeof from)
        return false;
    memcpy(from, kernels, sizeof from);
    *registers = (struct registers){.pc = from[PC]};
    for (unsigned i = 0; i <= SP; i++)
        registers_set(registers, i, from[i]);
    return true;
}

/* xpaclri, a nop where addresses are not signed.  The kernel's addresses have
 * as many bits for us as for the process. */
uint64_t registers_address(uint64_t word)
{
    register uint64_t x30 __asm__("x30") = word;
    __asm__("hint #7" : "+r"(x30));
    return x30;
}
