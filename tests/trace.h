/*
 * trace.h - random programs: what trace_program.c gives to trace_test.c.
 *
 * A program is a function of its seed alone: a random tree of calls of many
 * kinds, with yields at random points, loops, pins, jumps out of many frames,
 * other rounding modes, and continuations inside.
 */
#ifndef TESTS_TRACE_H
#define TESTS_TRACE_H

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <vthread.h>

#include "tests/control_words.h"
#include "tests/random.h"

#define STACK_MAX 4000

/* Any arithmetic will do, and overflow is part of it. */
#define FRAME                                                                 \
    __attribute__((noinline, no_sanitize("signed-integer-overflow")))

struct catch {
    jmp_buf environment;
    struct catch *outer;
    unsigned depth, pins;
    uint32_t control;
};

struct trace;

/* How a program is run. */
struct way {
    /* 0 having yielded, or EBUSY. */
    int (*yield)(struct trace *t);
    int (*pin)(void);
    int (*unpin)(void);
    bool nests; /* runs nested parts as continuations */
};

/* One execution of a program. */
struct trace {
    uint64_t seed;
    const struct way *way;
    struct random program;  /* what comes next */
    struct random chance;   /* what must not matter */
    unsigned left;          /* operations until all return */
    unsigned depth;         /* frames open */
    unsigned pins;          /* all of them, */
    unsigned inner_pins;    /* and those inside of the innermost nested one */
    unsigned nesting;
    unsigned char stack[STACK_MAX]; /* their kinds */
    uint32_t control;               /* as they should be */
    struct catch *catch;
    uint64_t thrown;
    void *base;             /* an unwinder need not go beyond */
    uint64_t record;        /* of all that happened */
    unsigned events, yields, refusals;
    uint64_t result;
    vthread_continuation_t *continuation;
    atomic_flag is_taken;
    struct {
        uint64_t *victim;   /* a word on its stack */
        bool is_done;
    } plant;
    char error[160];
};

/* The scopes of a program and of the continuations inside. */
extern const char outer_scope[], inner_scope[];

/* As a plain function, where a yield does nothing. */
extern const struct way plain;

/* To be called once, before any program is run. */
void prepare_foreign_calls(void);

void trace_init(struct trace *t, uint64_t seed, const struct way *way);

/* The whole program, on whatever stack; the argument is a struct trace. */
void run_program(void *argument);

/* The first error is kept, in words. */
void trace_error(struct trace *t, const char *what, const char *where);

#endif
