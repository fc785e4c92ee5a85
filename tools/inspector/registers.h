/*
 * registers.h - what unwinding begins with: registers by their DWARF
 * numbers.
 *
 * Nothing here knows a processor but registers_<cpu>.c; configure picks the
 * file.
 */
#ifndef REGISTERS_H
#define REGISTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REGISTERS_MAX 64

struct registers {
    uint64_t value[REGISTERS_MAX]; /* by DWARF number */
    uint64_t known;                /* a bit for each that has a value */
    uint64_t pc;
    bool is_call; /* pc is a return address: it waits in a call */
};

static inline void registers_set(struct registers *registers, unsigned number,
                                 uint64_t value)
{
    if (number >= REGISTERS_MAX)
        return;
    registers->value[number] = value;
    registers->known |= UINT64_C(1) << number;
}

/* ---- registers_<cpu>.c -------------------------------------------------- */

/* The number of the stack pointer. */
extern const unsigned registers_sp;
/* The number that stands for the pc, or REGISTERS_MAX: it has none. */
extern const unsigned registers_pc;

/* From what the kernel tells of a thread (NT_PRSTATUS: the registers only).
 * False: that is too short. */
bool registers_from_kernel(struct registers *registers, const void *kernels,
                           size_t size_bytes);

/* What a word from the stack is as an address: aarch64 may have signed it. */
uint64_t registers_address(uint64_t word);

#endif
