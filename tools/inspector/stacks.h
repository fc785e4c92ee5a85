/*
 * stacks.h - the different stacks of a dump, each kept once.
 *
 * Most parked threads have a stack that another one has, too.  So before
 * libdw is asked it is tried whether the frames are those of a stack that
 * has been unwound already: of the same size, resuming at the same place,
 * with the same return addresses at the same offsets.
 */
#ifndef STACKS_H
#define STACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct unwinder;
struct registers;
struct unwind_range;

#define STACK_NONE UINT32_MAX

struct stack {
    uint32_t depth;
    bool is_cut;   /* there are more frames */
    bool is_parked; /* it has switched away: the innermost is the library's */
    uint64_t pc[]; /* innermost first */
};

struct stacks;

struct stacks *stacks_open(struct unwinder *unwinder);
void stacks_close(struct stacks *stacks);

/* The number of the stack of a thread that is parked: one range, registers
 * as a switch has left them.  STACK_NONE without memory. */
uint32_t stacks_of_parked(struct stacks *stacks,
                          const struct registers *registers,
                          const struct unwind_range *range);

/* Of any: several ranges, and several sets of registers, one for each part
 * of a chain of continuations, the innermost first. */
uint32_t stacks_of_chain(struct stacks *stacks,
                         const struct registers *registers, size_t parts,
                         const struct unwind_range *ranges,
                         size_t range_count);

const struct stack *stacks_get(const struct stacks *stacks, uint32_t number);

/* How many there are, and how many have been unwound by libdw. */
size_t stacks_count(const struct stacks *stacks);
size_t stacks_unwound(const struct stacks *stacks);

#endif
