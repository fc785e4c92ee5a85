/*
 * verifier.c - follows each way through a function once: wherever it comes
 * from, an instruction finds the same number of operands, as many as it needs
 * or more, and no way leads past the end.
 */
#include "minivm.h"

#define UNKNOWN UINT32_MAX

static uint32_t *depths; /* before each instruction of the function */
static uint32_t *todo, todo_count; /* those that are still to be followed */

static void reach(struct function *f, uint32_t from, uint32_t to,
                  uint32_t depth)
{
    if (to >= f->count)
        refuse(f->lines[from], "runs past the end of %s", f->name);
    if (depth > f->depth)
        f->depth = depth;
    if (depths[to] == UNKNOWN) {
        depths[to] = depth;
        todo[todo_count++] = to;
    } else if (depths[to] != depth)
        refuse(f->lines[to],
               "%" PRIu32 " operand(s), but %" PRIu32
               " when coming from line %" PRIu32,
               depths[to], depth, f->lines[from]);
}

static void follow(struct function *f, uint32_t at)
{
    const struct instruction *in = &f->code[at];
    const struct opcode *o = &opcodes[in->opcode];
    uint32_t pops = pops_of(in), depth = depths[at];
    if (depth < pops)
        refuse(f->lines[at],
               "%s needs %" PRIu32 " operand(s), there are %" PRIu32, o->name,
               pops, depth);
    depth += (uint32_t)o->pushes - pops;
    if (o->operand == LABEL)
        reach(f, at, (uint32_t)in->operand, depth);
    if (in->opcode != OP_jump && in->opcode != OP_return
        && in->opcode != OP_throw)
        reach(f, at, at + 1, depth);
}

void verify(struct function *f)
{
    depths = GC_MALLOC_ATOMIC(f->count * sizeof *depths);
    todo = GC_MALLOC_ATOMIC(f->count * sizeof *todo);
    for (uint32_t i = 0; i < f->count; i++)
        depths[i] = UNKNOWN;
    reach(f, 0, 0, 0);
    for (uint32_t i = 0; i < f->handler_count; i++)
        reach(f, 0, f->handlers[i].target, 1);
    while (todo_count > 0)
        follow(f, todo[--todo_count]);
}
