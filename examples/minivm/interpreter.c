/*
 * interpreter.c - runs the code of a function that has been verified.
 *
 * A call of the machine is a call of invoke: its frames are frames of C on the
 * virtual thread's stack, and the library copies them when the thread waits.
 * Nothing here knows of that.  The verifier has seen to it that operands are
 * there and jumps lead somewhere; types are looked at here.  What is thrown
 * jumps to the innermost function that catches it.
 */
#include <stdarg.h>

#include <vthread/embed.h>

#include "minivm.h"

/* What operations, the collector (26 KiB) and printf may use. */
#define RESERVE_BYTES (48 * 1024)

#define OP(name, operand, pops, pushes, effect) {#name, operand, pops, pushes},
const struct opcode opcodes[OPCODES] = {
#include "opcodes.h"
};
#undef OP

/* ---- Exceptions --------------------------------------------------------- */

static const struct handler *handler_of(const struct frame *frame,
                                        const struct object *exception)
{
    const struct function *f = frame->function;
    const struct handler *h = f->handlers, *end = h + f->handler_count;
    unsigned at = (unsigned)(frame->at - f->code);
    for (; h < end; h++)
        if (at >= h->from && at < h->to
            && (!h->class || h->class == exception->class))
            return h;
    return NULL;
}

static void print(FILE *to, value_t v)
{
    bool text = type_of(v) == class_bytes.name;
    if (is_integer(v))
        fprintf(to, "%" PRId64 "\n", integer_in(NULL, v));
    else
        fprintf(to, "%s\n", text ? bytes_of((struct object *)v) : type_of(v));
}

/* Nobody catches it: says so while its frames are there. */
static void tell(const struct vm_thread *t, struct object *exception)
{
    flockfile(stderr);
    fprintf(stderr, "minivm: thread %u, %s, ended by %s: ", t->number,
            t->entry->name, exception->class->name);
    print(stderr, exception->class->fields ? *slots_of(exception)
                                           : (value_t)exception);
    unsigned n = 24; /* frames are enough */
    for (const struct frame *f = t->top; f->caller && n > 0; f = f->caller, n--)
        if (f->function)
            fprintf(stderr, "    at %s (%s:%u)\n", f->function->name, program,
                    f->at->line);
    funlockfile(stderr);
}

void throw(struct vm_thread *t, struct object *exception)
{
    struct frame *f = t->top;
    while (f->function && !handler_of(f, exception))
        f = f->caller;
    if (!f->caller)
        tell(t, exception);
    t->thrown = exception;
    t->top = f;
    longjmp(*f->place, 1);
}

void raise_error(struct vm_thread *t, enum error e, const char *format, ...)
{
    char words[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    if (t == NULL)
        refuse("%s: %s", class_errors[e].name, words);
    struct object *exception = object_new(NULL, &class_errors[e], 1);
    *slots_of(exception) = text_new(NULL, words);
    throw(t, exception);
}

/* What the library has returned. */
static int check(struct vm_thread *t, int err)
{
    const char *name = opcodes[t->top->at->opcode].name;
    if (err == ECANCELED)
        raise_error(t, Interrupted, "in %s", name);
    if (err == EPERM)
        raise_error(t, IllegalMonitorState,
                    "%s by a thread that is not in the monitor", name);
    if (err != 0 && err != ETIMEDOUT)
        raise_error(t, OutOfMemory, "%s: %s", name, strerror(err));
    return err;
}

/* ---- Operations --------------------------------------------------------- */

/* Many threads may use a slot at once.  The release publishes what is in a new
 * object; it pairs with slot_get, on whose result its use depends. */
static inline void slot_put(value_t *slot, value_t v)
{
    __atomic_store_n(slot, v, __ATOMIC_RELEASE);
}

static inline value_t slot_get(const value_t *slot)
{
    return __atomic_load_n(slot, __ATOMIC_RELAXED);
}

static int64_t divisor_in(struct vm_thread *t, value_t v)
{
    if (integer_in(t, v) == 0)
        raise_error(t, ArithmeticError, "division by 0");
    return integer_in(t, v);
}

static uint64_t length_in(struct vm_thread *t, value_t v)
{
    int64_t length = integer_in(t, v);
    if (length >> 40 != 0) /* too many, or less than none */
        raise_error(t, length < 0 ? BoundsError : OutOfMemory,
                    "for length %" PRId64, length);
    return (uint64_t)length;
}

static uint64_t time_in(struct vm_thread *t, value_t milliseconds)
{
    int64_t ms = integer_in(t, milliseconds);
    return ms > 0 ? (uint64_t)ms * VTHREAD_MS : 0;
}

/* The monitor of v, which t must be in. */
static struct monitor *entered(struct vm_thread *t, value_t v)
{
    struct monitor *m = monitor_of(t, v);
    check(t, vthread_mutex_is_held(&m->mutex) ? 0 : EPERM);
    return m;
}

static value_t *field_of(struct vm_thread *t, value_t v,
                         const struct instruction *in)
{
    struct object *o = object_in(t, v, (const struct class *)in->operand);
    return slots_of(o) + in->slot;
}

static value_t *element_of(struct vm_thread *t, value_t array, value_t place)
{
    struct object *o = object_in(t, array, &class_array);
    int64_t index = integer_in(t, place);
    if (index < 0 || (uint64_t)index >= o->length)
        raise_error(t, BoundsError, "index %" PRId64 " of %" PRIu64, index,
                    o->length);
    return slots_of(o) + index;
}

static inline void want_integers(struct vm_thread *t, value_t a, value_t b)
{
    if (!is_integer(a & b))
        raise_error(t, TypeError, "%s wants integers",
                    opcodes[t->top->at->opcode].name);
}

/* Where a jump leads.  What loops comes by here. */
static inline const struct instruction *jump(const struct instruction *in)
{
    if (in->operand <= 0)
        vthread_safepoint();
    return in + in->operand;
}

/* ---- Code --------------------------------------------------------------- */

/* From that instruction on; sp is past the topmost operand. */
static value_t execute(struct vm_thread *t, struct frame *top, value_t *locals,
                       const struct instruction *next, value_t *sp)
{
    for (;;) {
        const struct instruction *in = top->at = next++;
        switch (in->opcode) {
#define OP(name, operand, pops, pushes, effect)                                \
        case OP_##name: {                                                      \
            sp -= pops == VARIES ? (int)in->slot : pops;                       \
            effect;                                                            \
            sp += pushes;                                                      \
            continue;                                                          \
        }
#include "opcodes.h"
#undef OP
        default: /* there are no others */
            __builtin_unreachable();
        }
    }
}

/* The same for a function that catches. */
static value_t execute_catching(struct vm_thread *t, struct frame *frame,
                                value_t *locals, value_t *sp)
{
    const struct instruction *code = frame->function->code;
    jmp_buf place;
    frame->place = &place;
    if (_setjmp(place) == 0)
        return execute(t, frame, locals, code, sp);
    const struct handler *h = handler_of(frame, t->thrown);
    *sp = (value_t)t->thrown;
    return execute(t, frame, locals, code + h->target, sp + 1);
}

value_t invoke(struct vm_thread *t, const struct function *f,
               const value_t *arguments)
{
    unsigned count = f->locals + f->depth;
    if (!vthread_stack_has(count * sizeof(value_t) + RESERVE_BYTES))
        raise_error(t, StackOverflow, "calling %s", f->name);
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
