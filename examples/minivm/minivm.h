/*
 * minivm.h - values and objects, programs, threads: what the files share.
 *
 * assembler.c makes a program, verifier.c proves it sound, and it is not
 * changed afterwards but for its globals.  interpreter.c runs it, and does
 * what opcodes.h says by the operations of object.c, thread.c and monitor.c.
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

struct class {
    const char *name;
    struct symbol *symbols; /* its fields */
    unsigned fields;        /* so many */
};

/* The exceptions that the machine itself throws, the first classes. */
enum error {
    ARITHMETIC_ERROR, BOUNDS_ERROR, ILLEGAL_MONITOR_STATE, INTERRUPTED,
    NATIVE_ERROR, NULL_POINTER, OUT_OF_MEMORY, STACK_OVERFLOW, TYPE_ERROR,
    ERRORS
};
extern const struct class class_array, class_bytes;

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
    GLOBAL, CLASS, FIELD, HANDLER
};

#define QUICK OP
#define OP(name, operand, pops, pushes, effect) OP_##name,
enum {
#include "opcodes.h"
    OPCODES
};
#undef OP
#undef QUICK

struct instruction {
    uint16_t opcode;
    uint16_t slot; /* a local's of LOCAL_NUMBER, a field's of FIELD */
    unsigned line; /* of the source */
    int64_t operand; /* a place; a number; the value that is to be pushed */
};

/* Where an exception of that class (NULL: any) goes that leaves [from, to). */
struct handler {
    const struct class *class;
    unsigned from, to, target;
};

struct function {
    const char *name;
    struct native *native;  /* NULL: it has code */
    struct symbol *symbols; /* its locals and labels */
    unsigned arguments;
    unsigned locals; /* the arguments first */
    unsigned depth;  /* of the operands at most, says the verifier */
    unsigned count;  /* of instructions */
    unsigned handler_count;
    struct instruction *code;
    struct handler *handlers;
};

extern struct program {
    const char *file;
    struct class *classes; /* the machine's own first, as enum error */
    struct function *functions;
    value_t *globals;
    unsigned class_count, function_count, global_count;
} program;

/* Returns main; a program that is wrong is refused. */
const struct function *assemble(const char *file);
void verify(struct function *f);
/* Says why, and ends the process with status 2. */
_Noreturn __attribute__((format(printf, 2, 3))) void
refuse(unsigned line, const char *format, ...);

/* ---- Threads ------------------------------------------------------------ */

/* Of a function that runs: on the thread's stack, as its locals and operands
 * are, where the library copies them and the collector finds them.  Or, with
 * no function, below the first one that C has called: it catches all. */
struct frame {
    struct frame *caller;
    const struct function *function;
    const struct instruction *at;
    jmp_buf *place; /* where it goes on with what it catches; NULL: nothing */
};
bool catches(const struct frame *frame, const struct object *exception);

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
    struct object *thrown;        /* the last time, */
    value_t trace;                /* and where, as text */
    struct object *thrown_back;   /* by a callback, and not yet again; C is
                                     still to return, nothing of ours runs */
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
/* Make the function of C that has its name be f; and one that calls f, whose
 * address is returned.  Or refuse the program at that line. */
void native_declare(struct function *f, const char *signature,
                    const char *policy, unsigned line);
value_t native_callback(const struct function *f, const char *signature,
                        unsigned line);

#define VARIES (-1) /* as many as the function called has arguments */
extern const struct opcode {
    const char *name;
    enum operand operand;
    int pops, pushes;
} opcodes[OPCODES];
unsigned pops_of(const struct instruction *in);

/* ---- Operations: all of them may throw ---------------------------------- */

/* What v is: an object, of that class unless it is NULL; an integer, one that
 * divides, a length; and where a record's field is, an array's element. */
struct object *object_in(struct vm_thread *t, value_t v,
                         const struct class *class);
int64_t integer_in(struct vm_thread *t, value_t v);
int64_t divisor_in(struct vm_thread *t, value_t v);
uint64_t length_in(struct vm_thread *t, value_t v);
value_t *field_of(struct vm_thread *t, value_t v,
                  const struct instruction *in);
value_t *element_of(struct vm_thread *t, value_t array, value_t place);

/* New objects; their slots are null. */
struct object *object_new(struct vm_thread *t, const struct class *class,
                          uint64_t slots);
value_t bytes_new(struct vm_thread *t, uint64_t length);
value_t text_new(struct vm_thread *t, const char *text); /* bytes */

value_t thread_start(struct vm_thread *creator, const struct function *entry,
                     const value_t *arguments, size_t stack_bytes);
value_t thread_join(struct vm_thread *t, value_t v);
void thread_interrupt(struct vm_thread *t, value_t v);
void thread_sleep(struct vm_thread *t, int64_t ms);

void monitor_enter(struct vm_thread *t, value_t v);
void monitor_exit(struct vm_thread *t, value_t v);
value_t monitor_wait(struct vm_thread *t, value_t v, int64_t ms);
vthread_cond_t *monitor_condition(struct vm_thread *t, value_t v);

void print(value_t v);
_Noreturn void throw(struct vm_thread *t, struct object *exception);
/* Throws what the machine throws itself; ends it where nobody catches. */
_Noreturn __attribute__((format(printf, 3, 4))) void
raise_error(struct vm_thread *t, enum error error, const char *format, ...);
/* Says on standard error what t has thrown, and where. */
void print_thrown(struct vm_thread *t);

#endif
