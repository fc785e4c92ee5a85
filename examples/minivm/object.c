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

static void *allocate(struct vm_thread *t, size_t size,
                      void *(*from)(size_t))
{
    void *memory = from(size);
    if (memory == NULL)
        raise_error(t, OUT_OF_MEMORY, "for %zu bytes", size);
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
    return (int64_t)v >> 1;
}

int64_t divisor_in(struct vm_thread *t, value_t v)
{
    if (integer_in(t, v) == 0)
        raise_error(t, ARITHMETIC_ERROR, "division by 0");
    return integer_in(t, v);
}

/* ---- Operations --------------------------------------------------------- */

uint64_t length_in(struct vm_thread *t, value_t v)
{
    int64_t length = integer_in(t, v);
    if (length < 0 || length > LENGTH_MAX)
        raise_error(t, length < 0 ? BOUNDS_ERROR : OUT_OF_MEMORY,
                    "for length %" PRId64, length);
    return (uint64_t)length;
}

/* Zeros, and one more behind them. */
value_t bytes_new(struct vm_thread *t, uint64_t length)
{
    struct object *o = object_new(t, &class_bytes, 1);
    o->length = length;
    *slots_of(o) = (value_t)allocate(t, length + 1, GC_malloc_atomic);
    memset(bytes_of(o), 0, length + 1);
    return (value_t)o;
}

value_t text_new(struct vm_thread *t, const char *text)
{
    value_t v = bytes_new(t, strlen(text));
    strcpy(bytes_of((struct object *)v), text);
    return v;
}

value_t *field_of(struct vm_thread *t, value_t v, const struct instruction *in)
{
    struct object *o = object_in(t, v, &program.classes[in->operand]);
    return slots_of(o) + in->slot;
}

value_t *element_of(struct vm_thread *t, value_t array, value_t place)
{
    struct object *o = object_in(t, array, &class_array);
    int64_t index = integer_in(t, place);
    if (index < 0 || (uint64_t)index >= o->length)
        raise_error(t, BOUNDS_ERROR, "index %" PRId64 " of %" PRIu64, index,
                    o->length);
    return slots_of(o) + index;
}

/* A value as text. */
static const char *words_of(value_t v, char buffer[24])
{
    if (type_of(v) == class_bytes.name)
        return bytes_of((struct object *)v);
    if (!is_integer(v))
        return type_of(v);
    snprintf(buffer, 24, "%" PRId64, integer_in(NULL, v));
    return buffer;
}

void print(value_t v)
{
    char buffer[24];
    puts(words_of(v, buffer));
}

/* ---- Exceptions --------------------------------------------------------- */

/* The frames from f outwards, as text. */
static value_t trace_of(const struct frame *f)
{
    char words[TRACE_MAX * 100] = "";
    size_t length = 0;
    for (int i = 0; f && i < TRACE_MAX && length < sizeof words; i++) {
        if (f->function)
            length += snprintf(words + length, sizeof words - length,
                               "    at %s (%s:%u)\n", f->function->name,
                               program.file, f->at->line);
        f = f->caller;
    }
    return text_new(NULL, words);
}

/* What is thrown again keeps its trace. */
void throw(struct vm_thread *t, struct object *exception)
{
    if (exception != t->thrown)
        t->trace = trace_of(t->top);
    t->thrown = exception;
    while (!catches(t->top, exception))
        t->top = t->top->caller;
    longjmp(*t->top->place, 1);
}

void raise_error(struct vm_thread *t, enum error error, const char *format,
                 ...)
{
    char words[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    if (t == NULL || t->top == NULL)
        refuse(0, "%s: %s", program.classes[error].name, words);
    struct object *exception = object_new(NULL, &program.classes[error], 1);
    *slots_of(exception) = text_new(NULL, words);
    throw(t, exception);
}

void print_thrown(struct vm_thread *t)
{
    char buffer[24];
    struct object *e = t->thrown;
    fprintf(stderr, "minivm: thread %u, %s, ended by %s: %s\n%s", t->number,
            t->entry->name, e->class->name,
            e->class->fields > 0 ? words_of(*slots_of(e), buffer) : "",
            bytes_of((struct object *)t->trace));
}
