/*
 * minivm.h - values and objects, programs, threads: what the files share.
 *
 * assembler.c makes a program, verifier.c proves it sound, and it is not
 * changed afterwards but for its globals.  interpreter.c runs it; object.c,
 * thread.c, monitor.c and native.c perform what is not done in its loop.
 */
#ifndef MINIVM_H
#define MINIVM_H

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gc.h>
#include <vthread.h>

/* ---- Values and objects ------------------------------------------------- */

/* An integer of 63 bits with a one below it, or the address of an object, or
 * 0 for null.  So the collector finds the objects in it. */
typedef uint64_t value_t;

/* Followed by its slots; for bytes by one with their address, for they lie
 * where the collector does not look for addresses. */
struct object {
    const struct class *class;
    struct monitor *monitor; /* A, NULL until somebody enters it */
    uint64_t length;         /* of slots, or of bytes */
};

struct names {
    const char **at; /* what a name stands for is found by its place */
    unsigned count;
};

struct class {
    const char *name;
    struct names fields;
};

/* The exceptions that the machine itself throws, the first classes. */
enum error {
    ARITHMETIC_ERROR, BOUNDS_ERROR, ILLEGAL_MONITOR_STATE, INTERRUPTED,
    NATIVE_ERROR, NULL_POINTER, OUT_OF_MEMORY, STACK_OVERFLOW, TYPE_ERROR,
    ERRORS
};
extern const char *const error_names[ERRORS];
extern const struct class class_array, class_bytes;

static inline bool is_integer(value_t v)
{
    return (v & 1) != 0;
}

static inline int64_t integer_of(value_t v)
{
    return (int64_t)v >> 1;
}

static inline value_t from_integer(int64_t n)
{
    return (uint64_t)n << 1 | 1;
}

static inline value_t *slots_of(struct object *o)
{
    return (value_t *)(o + 1);
}

static inline char *bytes_of(struct object *o)
{
    return (char *)*slots_of(o);
}

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

/* ---- Programs ----------------------------------------------------------- */

enum operand {
    NOTHING, NUMBER, TEXT, CALLBACK, LOCAL, LOCAL_NUMBER, LABEL, FUNCTION,
    GLOBAL, CLASS, FIELD
};

#define OP(name, operand, pops, pushes, file) OP_##name,
enum {
#include "opcodes.h"
    OPCODES
};
#undef OP

struct instruction {
    uint16_t opcode;
    uint16_t slot; /* a local's of LOCAL_NUMBER, a field's of FIELD */
    int32_t operand;
};

/* Where an exception of that class (NULL: any) goes that leaves [from, to). */
struct handler {
    const struct class *class;
    uint32_t from, to, target;
};

struct function {
    const char *name;
    struct native *native; /* NULL: it has code */
    uint32_t arguments;
    uint32_t depth; /* of the operands at most, says the verifier */
    uint32_t count; /* of instructions */
    struct instruction *code;
    uint32_t *lines;     /* of the source, one for each instruction, */
    struct names locals; /* the arguments first */
    struct names labels;
    uint32_t *targets; /* and one for each label */
    struct handler *handlers;
    uint32_t handler_count;
};

extern struct program {
    const char *file;
    struct names class_names, function_names, global_names;
    struct class *classes;
    struct function *functions;
    value_t *globals, *constants;
    unsigned constant_count;
} program;

/* Refusing a program says why, and ends the process with status 2. */
void assemble(const char *file);
void verify(struct function *f);
_Noreturn __attribute__((format(printf, 2, 3))) void
refuse(uint32_t line, const char *format, ...);

/* ---- Threads ------------------------------------------------------------ */

/* Of a function that runs: on the thread's stack, as its locals and operands
 * are, where the library copies them and the collector finds them. */
struct frame {
    struct frame *caller;
    const struct function *function;
    const struct instruction *at; /* in order at calls and operations */
};

/* Where the thread goes on when something is thrown. */
struct catcher {
    struct catcher *outer;
    struct frame *top;
    jmp_buf place;
};

/* A virtual thread, and an object that programs can lock and join.  I fixed at
 * the start, A atomic, E for others when it has ended; else the thread's. */
struct vm_thread {
    struct object object;
    unsigned number;              /* I */
    unsigned monitors;            /* held now */
    const struct function *entry; /* I */
    vthread_t handle;             /* A */
    vthread_latch_t ended;
    int error;                    /* errno of the last native call */
    value_t result;               /* E */
    struct frame *top;
    struct catcher *catcher;
    struct object *thrown;        /* the last time, */
    struct object *trace;         /* and where, as text */
    struct object *thrown_back;   /* by a callback, and not yet again */
    struct vm_thread *starting;   /* the one that it is creating */
    value_t arguments[];          /* I */
};

void threads_enable(void); /* first of all */
/* Runs a function in a thread and waits for all threads.  Returns whether
 * none ended by an exception. */
bool threads_run(const struct function *entry, const value_t *arguments);

/* Calls a function of either kind. */
value_t invoke(struct vm_thread *t, const struct function *f,
               const value_t *arguments);
value_t native_call(struct vm_thread *t, const struct function *f,
                    const value_t *arguments);
/* Make a function of C be f, which has its name; and one that calls f.
 * Return NULL, or words that say why not. */
const char *native_declare(struct function *f, const char *signature,
                           const char *policy);
const char *native_callback(const struct function *f, const char *signature,
                            value_t *address);

/* The operands are in at, the lowest first.  Returns the result, if any. */
typedef value_t perform_fn(struct vm_thread *t, const struct instruction *in,
                           value_t *at);
perform_fn object_perform, thread_perform, monitor_perform;
#define loop_perform NULL

#define VARIES (-1) /* as many as the function called has arguments */
extern const struct opcode {
    const char *name;
    enum operand operand;
    int pops, pushes;
    perform_fn *perform;
} opcodes[OPCODES];
uint32_t pops_of(const struct instruction *in);

/* ---- Objects, or an exception.  Where t is NULL: or the end. ------------ */

/* The slots are null; the bytes zeros if not given, and one more behind. */
struct object *object_new(struct vm_thread *t, const struct class *class,
                          uint64_t slots);
struct object *bytes_new(struct vm_thread *t, const char *bytes,
                         uint64_t length);
/* What v is: an object, of that class unless it is NULL; an integer. */
struct object *object_in(struct vm_thread *t, value_t v,
                         const struct class *class);
int64_t integer_in(struct vm_thread *t, value_t v);
_Noreturn void throw(struct vm_thread *t, struct object *exception);
/* Throws what the machine throws itself. */
_Noreturn __attribute__((format(printf, 3, 4))) void
raise_error(struct vm_thread *t, enum error error, const char *format, ...);
/* Says on standard error what t has thrown, and where. */
void print_thrown(struct vm_thread *t);

#endif
