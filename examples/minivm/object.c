/*
 * object.c - objects in the Boehm heap, and their monitors; what a value is.
 */
#include "minivm.h"

const struct class class_array = {.name = "array"};
const struct class class_bytes = {.name = "bytes"};
const struct class class_thread = {.name = "thread"};
const struct class class_errors[] = {
#define ERROR_CLASS(name) {#name, 1},
    ERRORS(ERROR_CLASS){NULL, 0}};

static void *alloc(struct vm_thread *t, size_t size, void *(*from)(size_t))
{
    void *memory = from(size);
    if (memory == NULL)
        raise_error(t, OutOfMemory, "for %zu bytes", size);
    return memory;
}

struct object *object_new(struct vm_thread *t, const struct class *class,
                          uint64_t slots)
{
    struct object *o =
        alloc(t, sizeof *o + slots * sizeof(value_t), GC_malloc);
    o->class = class;
    o->length = slots;
    return o;
}

const char *type_of(value_t v)
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
    raise_error(t, v == 0 ? NullPointer : TypeError, "%s wanted, this is %s",
                class ? class->name : "object", type_of(v));
}

int64_t integer_in(struct vm_thread *t, value_t v)
{
    if (!is_integer(v))
        raise_error(t, TypeError, "integer wanted, this is %s", type_of(v));
    return (int64_t)v >> 1;
}

/* Zeros, and one more behind them. */
value_t bytes_new(struct vm_thread *t, uint64_t length)
{
    struct object *o = object_new(t, &class_bytes, 1);
    o->length = length;
    *slots_of(o) = (value_t)alloc(t, length + 1, GC_malloc_atomic);
    memset(bytes_of(o), 0, length + 1);
    return (value_t)o;
}

value_t text_new(struct vm_thread *t, const char *text)
{
    value_t v = bytes_new(t, strlen(text));
    strcpy(bytes_of((struct object *)v), text);
    return v;
}

/* Made when the object is first entered. */
struct monitor *monitor_of(struct vm_thread *t, value_t v)
{
    struct object *o = object_in(t, v, NULL);
    /* Observes what a new monitor is, pairs with the exchange. */
    struct monitor *there = __atomic_load_n(&o->monitor, __ATOMIC_ACQUIRE);
    if (there)
        return there;
    struct monitor *made = alloc(t, sizeof *made, GC_malloc);
    vthread_mutex_init(&made->mutex, VTHREAD_MUTEX_RECURSIVE);
    /* Publishes that, or observes what another thread has published; pairs
     * with the load, and with itself. */
    bool is_first = __atomic_compare_exchange_n(
        &o->monitor, &there, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    return is_first ? made : there;
}
