/*
 * verifier.c - follows each way through a function once: wherever it comes
 * from, an instruction finds the same number of operands, as many as it needs
 * or more, and no way leads past the end.
 */
#include "minivm.h"

#define UNKNOWN UINT32_MAX

/* Of each instruction of the function; and which are still to be followed. */
static unsigned *depths, *todo, todo_count;

/* From the instruction in `line`. */
static void reach(struct function *f, unsigned to, unsigned depth)
{
    if (to >= f->count)
        refuse("runs past the end of %s", f->name);
    if (depth > f->depth)
        f->depth = depth;
    if (depths[to] == UNKNOWN) {
        depths[to] = depth;
        todo[todo_count++] = to;
    } else if (depths[to] != depth) {
        unsigned from = line;
        line = f->code[to].line;
        refuse("%u operand(s), but %u when coming from line %u", depths[to],
               depth, from);
    }
}

static void follow(struct function *f, unsigned at)
{
    const struct instruction *in = &f->code[at];
    const struct opcode *o = &opcodes[in->opcode];
    line = in->line;
    unsigned pops = o->pops == VARIES ? in->slot : (unsigned)o->pops;
    if (depths[at] < pops)
        refuse("%s needs %u operand(s), there are %u", o->name, pops,
               depths[at]);
    unsigned depth = depths[at] - pops + o->pushes;
    if (o->operand == LABEL)
        reach(f, at + in->operand, depth);
    if (in->opcode != OP_jump && in->opcode != OP_return
        && in->opcode != OP_throw)
        reach(f, at + 1, depth);
}

void verify(struct function *f)
{
    depths = grow(NULL, f->count, sizeof *depths);
    todo = grow(NULL, f->count, sizeof *todo);
    memset(depths, 0xff, f->count * sizeof *depths);
    reach(f, 0, 0);
    for (unsigned i = 0; i < f->handler_count; i++)
        reach(f, f->handlers[i].target, 1);
    while (todo_count > 0)
        follow(f, todo[--todo_count]);
}
