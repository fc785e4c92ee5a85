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

#define QUICK OP
#define OP(name, operand, pops, pushes, effect) {#name, operand, pops, pushes},
const struct opcode opcodes[OPCODES] = {
#include "opcodes.h"
};
#undef OP
#undef QUICK

static const struct function *function_of(const struct instruction *in)
{
    return &program.functions[in->operand];
}

unsigned pops_of(const struct instruction *in)
{
    int pops = opcodes[in->opcode].pops;
    return pops == VARIES ? function_of(in)->arguments : (unsigned)pops;
}

static inline void want_integers(struct vm_thread *t,
                                 const struct instruction *in, value_t a,
                                 value_t b)
{
    if (is_integer(a & b))
        return;
    t->top->at = in;
    raise_error(t, TYPE_ERROR, "%s wants integers", opcodes[in->opcode].name);
}

/* Where a jump leads.  What loops comes by here. */
static inline const struct instruction *jump(const struct instruction *code,
                                             const struct instruction *in)
{
    if (code + in->operand <= in)
        vthread_safepoint();
    return code + in->operand;
}

/* From that instruction on; sp is past the topmost operand. */
static value_t execute(struct vm_thread *t, struct frame *frame,
                       value_t *locals, const struct instruction *next,
                       value_t *sp)
{
    const struct instruction *code = frame->function->code;
    for (;;) {
        const struct instruction *in = next++;
        switch (in->opcode) {
#define QUICK(name, operand, pops, pushes, effect)                             \
        case OP_##name: {                                                      \
            sp -= pops == VARIES ? (int)function_of(in)->arguments : pops;     \
            effect;                                                            \
            sp += pushes;                                                      \
            continue;                                                          \
        }
#define OP(name, operand, pops, pushes, effect)                                \
        QUICK(name, operand, pops, pushes, frame->at = in; effect)
#include "opcodes.h"
#undef OP
        }
    }
}

static const struct handler *handler_of(const struct frame *frame,
                                        const struct object *exception)
{
    const struct function *f = frame->function;
    const struct handler *h = f->handlers, *end = h + f->handler_count;
    unsigned at = (unsigned)(frame->at - f->code);
    while (h < end && (at < h->from || at >= h->to
                       || (h->class && h->class != exception->class)))
        h++;
    return h < end ? h : NULL;
}

bool catches(const struct frame *frame, const struct object *exception)
{
    return frame->place && (!frame->function || handler_of(frame, exception));
}

/* The same for a function that catches. */
static value_t execute_catching(struct vm_thread *t, struct frame *frame,
                                value_t *locals, value_t *sp)
{
    jmp_buf place;
    frame->place = &place;
    if (_setjmp(place) == 0)
        return execute(t, frame, locals, frame->function->code, sp);
    const struct handler *h = handler_of(frame, t->thrown);
    *sp = (value_t)t->thrown;
    return execute(t, frame, locals, frame->function->code + h->target, sp + 1);
}

value_t invoke(struct vm_thread *t, const struct function *f,
               const value_t *arguments)
{
    unsigned count = f->locals + f->depth;
    if (!vthread_stack_has(count * sizeof(value_t) + RESERVE_BYTES))
        raise_error(t, STACK_OVERFLOW, "calling %s", f->name);
    if (f->native)
        return native_call(t, f, arguments);
    value_t locals[count], *operands = locals + f->locals, result;
    struct frame frame = {t->top, f, f->code, NULL};
    memcpy(locals, arguments, f->arguments * sizeof(value_t));
    memset(locals + f->arguments, 0, (count - f->arguments) * sizeof(value_t));
    t->top = &frame;
    result = f->handler_count > 0
                 ? execute_catching(t, &frame, locals, operands)
                 : execute(t, &frame, locals, f->code, operands);
    t->top = frame.caller;
    return result;
}
