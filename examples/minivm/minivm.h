/*
 * minivm.h - values and objects, programs, threads: what the files share.
 *
 * assembler.c makes a program, and verifier.c proves it sound.  minivm.c runs
 * it in threads, where interpreter.c does what opcodes.h says.
 */
#ifndef MINIVM_H
#define MINIVM_H

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
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

struct class {
    const char *name;
    unsigned fields;
};

/* What the machine itself throws. */
#define ERRORS(E)                                                              \
    E(ArithmeticError) E(BoundsError) E(IllegalMonitorState) E(Interrupted)    \
    E(NativeError) E(NullPointer) E(OutOfMemory) E(StackOverflow) E(TypeError)
#define ERROR_NUMBER(name) name,
enum error { ERRORS(ERROR_NUMBER) };
extern const struct class class_array, class_bytes, class_thread;
extern const struct class class_errors[]; /* as enum error; NULL ends them */

static inline bool is_integer(value_t v)
{
    return (v & 1) != 0;
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

/* ---- Programs ----------------------------------------------------------- */

enum operand {
    NOTHING, NUMBER, TEXT, CALLBACK, LOCAL, LOCAL_NUMBER, LABEL, FUNCTION,
    GLOBAL, CLASS, FIELD, HANDLER
};

#define OP(name, operand, pops, pushes, effect) OP_##name,
enum {
#include "opcodes.h"
    OPCODES
};
#undef OP

#define VARIES (-1) /* as many as the function called has arguments */
extern const struct opcode {
    const char *name;
    enum operand operand;
    int pops, pushes;
} opcodes[OPCODES];

struct instruction {
    unsigned opcode : 8;
    unsigned line : 24; /* of the source */
    unsigned slot;   /* a local, a field; how many arguments FUNCTION has */
    int64_t operand; /* what the name stands for; a number; a value */
};

/* Where an exception of that class (NULL: any) goes that leaves [from, to). */
struct handler {
    const struct class *class;
    unsigned from, to, target;
};

struct function {
    const char *name;
    struct native *native; /* NULL: it has code */
    unsigned arguments;
    unsigned locals; /* the arguments first */
    unsigned depth;  /* of the operands at most, says the verifier */
    unsigned count;  /* of instructions */
    unsigned handler_count;
    struct instruction *code;
    struct handler *handlers;
};

/* Returns main; a program that is wrong is refused. */
extern const char *program; /* its file, */
extern unsigned line;       /* and where that is wrong, if it is */
const struct function *assemble(void);
void verify(struct function *f);
/* An array of n, with one element more, of zeros. */
void *grow(void *array, size_t n, size_t size);
/* Says why, and ends the process with status 2. */
_Noreturn __attribute__((format(printf, 1, 2))) void
refuse(const char *format, ...);

/* Make the function of C that has its name be f; and one that calls f, whose
 * address is returned. */
void native_declare(struct function *f, const char *signature,
                    const char *policy);
value_t native_callback(const struct function *f, const char *signature);

/* ---- Threads ------------------------------------------------------------ */

/* Of a function that runs: on the thread's stack, as its locals and operands
 * are, where the library copies them and the collector finds them.  Or, with
 * no function, below the first one that C has called: it catches all. */
struct frame {
    struct frame *caller;
    const struct function *function;
    const struct instruction *at;
    jmp_buf *place; /* where it goes on with what it catches */
};

/* A virtual thread, and an object that programs can lock and join.  I fixed
 * when it begins, E for others when it has ended; else the thread's. */
struct vm_thread {
    struct object object;
    unsigned number;              /* I */
    unsigned monitors;            /* entered and not left */
    const struct function *entry; /* I */
    vthread_t handle;             /* I */
    vthread_latch_t ended;
    int error;                    /* errno of the last native call */
    value_t result;               /* E */
    struct frame *top;
    struct object *thrown;        /* the last time */
    bool throws_back;             /* in a callback: C has to return first */
    value_t arguments[];          /* I */
};

struct monitor {
    vthread_mutex_t mutex;
    vthread_cond_t notified;
};

/* ---- Operations: all of them may throw ---------------------------------- */

/* Calls of functions: of either kind; of C; in a thread, which is returned. */
typedef value_t call_fn(struct vm_thread *t, const struct function *f,
                        const value_t *arguments);
call_fn invoke, native_call, thread_start;

/* What v is: an object, of that class unless it is NULL; an integer. */
struct object *object_in(struct vm_thread *t, value_t v,
                         const struct class *class);
int64_t integer_in(struct vm_thread *t, value_t v);
const char *type_of(value_t v); /* in words; may not throw */

struct monitor *monitor_of(struct vm_thread *t, value_t v);

/* New objects, their slots null. */
struct object *object_new(struct vm_thread *t, const struct class *class,
                          uint64_t slots);
value_t bytes_new(struct vm_thread *t, uint64_t length);
value_t text_new(struct vm_thread *t, const char *text); /* bytes */

/* Throws what the machine throws itself; without a thread, refuses the
 * program. */
_Noreturn __attribute__((format(printf, 3, 4))) void
raise_error(struct vm_thread *t, enum error error, const char *format, ...);
_Noreturn void throw(struct vm_thread *t, struct object *exception);

#endif
