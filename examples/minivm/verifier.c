/*
 * verifier.c - follows each way through a function once: wherever it comes
 * from, an instruction finds the same number of operands, as many as it needs
 * or more, and no way leads past the end.
 */
#include "minivm.h"

#define UNKNOWN UINT32_MAX

static unsigned *depths; /* before each instruction of the function */
static unsigned *todo, todo_count; /* those that are still to be followed */

static void reach(struct function *f, unsigned from, unsigned to,
                  unsigned depth)
{
    if (to >= f->count)
        refuse(f->code[from].line, "runs past the end of %s", f->name);
    if (depth > f->depth)
        f->depth = depth;
    if (depths[to] == UNKNOWN) {
        depths[to] = depth;
        todo[todo_count++] = to;
    } else if (depths[to] != depth)
        refuse(f->code[to].line,
               "%u operand(s), but %u when coming from line %u", depths[to],
               depth, f->code[from].line);
}

static void follow(struct function *f, unsigned at)
{
    const struct instruction *in = &f->code[at];
    const struct opcode *o = &opcodes[in->opcode];
    unsigned pops = pops_of(in), depth = depths[at];
    if (depth < pops)
        refuse(in->line, "%s needs %u operand(s), there are %u", o->name, pops,
               depth);
    depth += o->pushes - pops;
    if (o->operand == LABEL)
        reach(f, at, in->operand, depth);
    if (in->opcode != OP_jump && in->opcode != OP_return
        && in->opcode != OP_throw)
        reach(f, at, at + 1, depth);
}

void verify(struct function *f)
{
    depths = GC_MALLOC_ATOMIC(f->count * sizeof *depths);
    todo = GC_MALLOC_ATOMIC(f->count * sizeof *todo);
    memset(depths, 0xff, f->count * sizeof *depths);
    reach(f, 0, 0, 0);
    for (unsigned i = 0; i < f->handler_count; i++)
        reach(f, 0, f->handlers[i].target, 1);
    while (todo_count > 0)
        follow(f, todo[--todo_count]);
}
