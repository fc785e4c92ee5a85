/*
 * object.c - objects in the Boehm heap, exceptions, and the operations on
 * values.  Not here: monitors (monitor.c), threads (thread.c).
 */
#include <stdarg.h>

#include "minivm.h"

#define LENGTH_MAX (INT64_C(1) << 40)
#define TRACE_MAX 24 /* frames */

const struct class class_array = {.name = "array"};
const struct class class_bytes = {.name = "bytes"};
const char *const error_names[ERRORS] = {
    "ArithmeticError", "BoundsError", "IllegalMonitorState",
    "Interrupted", "NativeError", "NullPointer",
    "OutOfMemory", "StackOverflow", "TypeError"};

static void *allocate(struct vm_thread *t, size_t size,
                      void *(*from)(size_t))
{
    void *memory = from(size);
    if (memory == NULL && t)
        raise_error(t, OUT_OF_MEMORY, "for %zu bytes", size);
    if (memory == NULL)
        refuse(0, "out of memory");
    return memory;
}

struct object *object_new(struct vm_thread *t, const struct class *class,
                          uint64_t slots)
{
    struct object *o =
        allocate(t, sizeof *o + slots * sizeof(value_t), GC_malloc);
    o->class = class;
    o->length = slots;
    return o;
}

struct object *bytes_new(struct vm_thread *t, const char *bytes,
                         uint64_t length)
{
    struct object *o = object_new(t, &class_bytes, 1);
    char *place = allocate(t, length + 1, GC_malloc_atomic);
    if (bytes)
        memcpy(place, bytes, length);
    else
        memset(place, 0, length);
    place[length] = 0;
    *slots_of(o) = (value_t)place;
    o->length = length;
    return o;
}

/* ---- Types -------------------------------------------------------------- */

static const char *type_of(value_t v)
{
    if (v == 0 || is_integer(v))
        return v == 0 ? "null" : "integer";
    return ((struct object *)v)->class->name;
}

struct object *object_in(struct vm_thread *t, value_t v,
                         const struct class *class)
{
    struct object *o = is_integer(v) ? NULL : (struct object *)v;
    if (o && (class == NULL || o->class == class))
        return o;
    raise_error(t, v == 0 ? NULL_POINTER : TYPE_ERROR, "%s wanted, this is %s",
                class ? class->name : "object", type_of(v));
}

int64_t integer_in(struct vm_thread *t, value_t v)
{
    if (!is_integer(v))
        raise_error(t, TYPE_ERROR, "integer wanted, this is %s", type_of(v));
    return integer_of(v);
}

static value_t *element_in(struct vm_thread *t, const value_t *at)
{
    struct object *o = object_in(t, at[0], &class_array);
    int64_t index = integer_in(t, at[1]);
    if (index < 0 || (uint64_t)index >= o->length)
        raise_error(t, BOUNDS_ERROR, "index %" PRId64 " of %" PRIu64, index,
                    o->length);
    return slots_of(o) + index;
}

static uint64_t length_in(struct vm_thread *t, value_t v)
{
    int64_t length = integer_in(t, v);
    if (length < 0)
        raise_error(t, BOUNDS_ERROR, "length %" PRId64, length);
    if (length > LENGTH_MAX)
        raise_error(t, OUT_OF_MEMORY, "for length %" PRId64, length);
    return (uint64_t)length;
}

/* A value as text. */
static const char *words_of(value_t v, char buffer[24])
{
    if (!is_integer(v))
        return v != 0 && ((struct object *)v)->class == &class_bytes
                   ? bytes_of((struct object *)v)
                   : type_of(v);
    snprintf(buffer, 24, "%" PRId64, integer_of(v));
    return buffer;
}

/* ---- Exceptions --------------------------------------------------------- */

/* Where t is, as text; NULL without memory. */
static struct object *trace_of(const struct vm_thread *t)
{
    char words[TRACE_MAX * 100] = "";
    int length = 0, room = (int)sizeof words, frames = 0;
    for (const struct frame *f = t->top; f; f = f->caller)
        if (frames++ < TRACE_MAX && length < room)
            length += snprintf(words + length, (size_t)(room - length),
                               "    at %s (%s:%" PRIu32 ")\n",
                               f->function->name, program.file,
                               f->function->lines[f->at - f->function->code]);
    return bytes_new(NULL, words, strlen(words));
}

/* What is thrown again keeps its trace. */
void throw(struct vm_thread *t, struct object *exception)
{
    if (exception != t->thrown)
        t->trace = trace_of(t);
    t->thrown = exception;
    t->top = t->catcher->top;
    longjmp(t->catcher->place, 1);
}

void raise_error(struct vm_thread *t, enum error error, const char *format,
                 ...)
{
    char words[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    struct object *exception = object_new(NULL, &program.classes[error], 1);
    *slots_of(exception) = (value_t)bytes_new(NULL, words, strlen(words));
    throw(t, exception);
}

void print_thrown(struct vm_thread *t)
{
    char buffer[24];
    struct object *e = t->thrown;
    fprintf(stderr, "minivm: thread %u, %s, ended by %s: %s\n%s", t->number,
            t->entry->name, e->class->name,
            e->class->fields.count > 0 ? words_of(*slots_of(e), buffer) : "",
            bytes_of(t->trace));
}

/* ---- Operations --------------------------------------------------------- */

static int64_t calculate(struct vm_thread *t, unsigned opcode, int64_t a,
                         int64_t b)
{
    if (opcode == OP_mul)
        return (int64_t)((uint64_t)a * (uint64_t)b);
    if (b == 0)
        raise_error(t, ARITHMETIC_ERROR, "division by 0");
    return opcode == OP_div ? a / b : a % b;
}

value_t object_perform(struct vm_thread *t, const struct instruction *in,
                       value_t *at)
{
    char buffer[24];
    const struct class *class = program.classes + in->operand;
    switch (in->opcode) {
    case OP_new:
        return (value_t)object_new(t, class, class->fields.count);
    case OP_get:
        return slot_get(slots_of(object_in(t, at[0], class)) + in->slot);
    case OP_put:
        slot_put(slots_of(object_in(t, at[0], class)) + in->slot, at[1]);
        return 0;
    case OP_array:
        return (value_t)object_new(t, &class_array, length_in(t, at[0]));
    case OP_bytes:
        return (value_t)bytes_new(t, NULL, length_in(t, at[0]));
    case OP_length:
        return from_integer((int64_t)object_in(t, at[0], NULL)->length);
    case OP_getat:
        return slot_get(element_in(t, at));
    case OP_putat:
        slot_put(element_in(t, at), at[2]);
        return 0;
    case OP_getglobal:
        return slot_get(program.globals + in->operand);
    case OP_putglobal:
        slot_put(program.globals + in->operand, at[0]);
        return 0;
    case OP_print:
        puts(words_of(at[0], buffer));
        return 0;
    case OP_throw:
        throw(t, object_in(t, at[0], NULL));
    default:
        return from_integer(calculate(t, in->opcode, integer_in(t, at[0]),
                                       integer_in(t, at[1])));
    }
}
