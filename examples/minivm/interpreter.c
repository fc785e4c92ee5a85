/*
 * interpreter.c - runs the code of a function that has been verified.
 *
 * A call of the machine is a call of invoke: its frames are frames of C on the
 * virtual thread's stack, and the library copies them when the thread waits.
 * Nothing here knows of that.  The verifier has seen to it that operands are
 * there and jumps lead somewhere; types are looked at here, and a wrong one is
 * an exception of the program's.  What is thrown jumps to the innermost
 * function that catches anything, and from there outwards.
 */
#include <vthread/embed.h>

#include "minivm.h"

/* What operations, the collector (26 KiB) and printf may use. */
#define RESERVE_BYTES (48 * 1024)

#define OP(name, operand, pops, pushes, file)                                  \
    {#name, operand, pops, pushes, file##_perform},
const struct opcode opcodes[OPCODES] = {
#include "opcodes.h"
};
#undef OP

uint32_t pops_of(const struct instruction *in)
{
    int pops = opcodes[in->opcode].pops;
    return pops == VARIES ? program.functions[in->operand].arguments
                          : (uint32_t)pops;
}

/* Where in its function what t has thrown goes on; NULL: nowhere. */
static const struct instruction *handler_of(const struct vm_thread *t,
                                            const struct frame *frame)
{
    const struct function *f = frame->function;
    uint32_t at = (uint32_t)(frame->at - f->code);
    for (uint32_t i = 0; i < f->handler_count; i++) {
        const struct handler *h = &f->handlers[i];
        if (at >= h->from && at < h->to
            && (h->class == NULL || h->class == t->thrown->class))
            return f->code + h->target;
    }
    return NULL;
}

static inline bool are_integers(const value_t *at)
{
    return (at[0] & at[1] & 1) != 0;
}

/* The one long function: an instruction after the other; sp is past the
 * topmost operand. */
static value_t execute(struct vm_thread *t, struct frame *frame,
                       value_t *locals, const struct instruction *next,
                       value_t *sp)
{
    const struct instruction *code = frame->function->code, *in;
    for (;;) {
        in = next++;
        switch (in->opcode) {
        case OP_push:
            *sp++ = from_integer(in->operand);
            continue;
        case OP_text:
        case OP_callback:
            *sp++ = program.constants[in->operand];
            continue;
        case OP_null:
            *sp++ = 0;
            continue;
        case OP_load:
            *sp++ = locals[in->operand];
            continue;
        case OP_store:
            locals[in->operand] = *--sp;
            continue;
        case OP_inc:
            if (!is_integer(locals[in->slot]))
                goto no_integers;
            locals[in->slot] += (uint64_t)(int64_t)in->operand << 1;
            continue;
        case OP_dup:
            sp[0] = sp[-1];
            sp++;
            continue;
        case OP_pop:
            sp--;
            continue;
        case OP_add:
            if (!are_integers(--sp - 1))
                goto no_integers;
            sp[-1] += sp[0] - 1;
            continue;
        case OP_sub:
            if (!are_integers(--sp - 1))
                goto no_integers;
            sp[-1] -= sp[0] - 1;
            continue;
        case OP_jeq:
        case OP_jne:
            sp -= 2;
            if ((sp[0] == sp[1]) == (in->opcode == OP_jeq))
                goto jump;
            continue;
        case OP_jlt:
            sp -= 2;
            if (!are_integers(sp))
                goto no_integers;
            if ((int64_t)sp[0] < (int64_t)sp[1])
                goto jump;
            continue;
        case OP_jump:
        jump:
            next = code + in->operand;
            if (next <= in)
                vthread_safepoint();
            continue;
        case OP_call:
            frame->at = in;
            vthread_safepoint();
            sp -= program.functions[in->operand].arguments;
            *sp = invoke(t, &program.functions[in->operand], sp);
            sp++;
            continue;
        case OP_return:
            return sp[-1];
        default:
            frame->at = in;
            sp -= pops_of(in);
            *sp = opcodes[in->opcode].perform(t, in, sp);
            sp += opcodes[in->opcode].pushes;
            continue;
        }
    }
no_integers:
    frame->at = in;
    raise_error(t, TYPE_ERROR, "%s wants integers", opcodes[in->opcode].name);
}

/* The same for a function that catches. */
static value_t execute_catching(struct vm_thread *t, struct frame *frame,
                                value_t *locals)
{
    value_t *operands = locals + frame->function->locals.count, result;
    struct catcher catcher = {.outer = t->catcher, .top = frame};
    t->catcher = &catcher;
    if (_setjmp(catcher.place) == 0)
        result = execute(t, frame, locals, frame->function->code, operands);
    else {
        const struct instruction *next = handler_of(t, frame);
        if (next == NULL) {
            t->catcher = catcher.outer;
            throw(t, t->thrown);
        }
        *operands = (value_t)t->thrown;
        result = execute(t, frame, locals, next, operands + 1);
    }
    t->catcher = catcher.outer;
    return result;
}

value_t invoke(struct vm_thread *t, const struct function *f,
               const value_t *arguments)
{
    uint32_t count = f->locals.count + f->depth;
    if (!vthread_stack_has(count * sizeof(value_t) + RESERVE_BYTES))
        raise_error(t, STACK_OVERFLOW, "calling %s", f->name);
    if (f->native)
        return native_call(t, f, arguments);
    value_t locals[count], result;
    struct frame frame = {t->top, f, f->code};
    memcpy(locals, arguments, f->arguments * sizeof(value_t));
    memset(locals + f->arguments, 0, (count - f->arguments) * sizeof(value_t));
    t->top = &frame;
    if (f->handler_count > 0)
        result = execute_catching(t, &frame, locals);
    else
        result =
            execute(t, &frame, locals, f->code, locals + f->locals.count);
    t->top = frame.caller;
    return result;
}
