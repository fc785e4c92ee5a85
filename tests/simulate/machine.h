/*
 * machine.h - a simulated machine: processors whose steps are chosen, on one
 * OS thread.
 *
 * A context stands for an OS thread: a carrier, a platform thread, or the
 * timekeeper, who makes time pass.  It has a stack of its own and its own
 * copy of what is thread-local in the library.  One runs; before each of its
 * atomic operations (machine_point) another may be chosen to go on instead.
 *
 * Here: what the parts of the simulation share.  For tests: simulate.h.
 */
#ifndef TESTS_SIMULATE_MACHINE_H
#define TESTS_SIMULATE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "carrier/pool.h"
#include "carrier_local.h"
#include "continuation/mount.h"
#include "local.h"
#include "platform/clock.h"

#define MACHINE_CARRIERS 4
#define MACHINE_PLATFORM_THREADS 3
#define MACHINE_CONTEXTS 8
#define MACHINE_TIMEKEEPER 7 /* the last, so it is chosen last */
/* A deadline: whenever the first timer of the pool is due. */
#define MACHINE_NEXT_TIMER (CLOCK_NEVER - 1)
/* No context: in a schedule, the store that follows is seen later, or the
 * load is made earlier. */
#define MACHINE_DELAY 8

struct context {
    uint8_t number;
    char letter;               /* what it is called in a schedule */
    bool is_blocked;           /* until context_ready */
    uint64_t deadline_ns;      /* of a blocked one: then it may go on, late */
    const void *futex;         /* the word it sleeps on, or NULL */
    const char *blocked_on;    /* in words */
    void (*main)(void);
    void *sp;                  /* of its stack, while it does not run */
    struct carrier *carrier;   /* that it is, or NULL */
    struct local local;        /* what is thread-local, while it does not */
    struct mount_point mount_point;
    struct own_values own_values;
    unsigned looks;            /* operations in a row that changed nothing */
    unsigned looks_same;       /* of these the last, at one object: */
    const void *looked_at;
    bool was_away;             /* others have run */
    bool has_relaxed;          /* gave way, and was chosen all the same */
};

/* Context MACHINE_CARRIERS + n is platform thread n. */
extern struct context machine_contexts[MACHINE_CONTEXTS];

/* Who runs; NULL: the explorer, on the stack of the test. */
extern struct context *machine_current;

/* Above 0: what runs is one step, without points. */
extern unsigned machine_quiet;

/* The clock, which goes only when somebody waits for it. */
extern uint64_t machine_now_ns;

/* A context of that number comes to be; it runs when it is chosen. */
struct context *machine_start(unsigned number, char letter,
                              void (*main)(void));

/* Runs contexts until none can go on. */
void machine_run(void);

/* Before an operation that others may see: another may be chosen. */
void machine_point(const void *object, const char *operation,
                   const void *pc);

/* After the operation, whether it could change something: one that does
 * nothing but look waits for others, and gives way. */
void machine_looked(const void *object);
void machine_changed(void);

/* Of one OS thread: nobody else sees it. */
bool machine_is_thread_local(const void *address);

/* As they were at the first call; outside of all contexts. */
void machine_reset_thread_locals(void);

/* The context lets others go on, if there are any; or must, for it has
 * nothing to do until they have. */
void machine_yield(void);
void machine_spin(void);

/* The current context stops until context_ready, or until it is chosen at
 * or after the deadline: then true. */
bool machine_block(const char *on, uint64_t deadline_ns);
void context_ready(struct context *c);

/* Prints words, the schedule and the command that replays it; aborts. */
_Noreturn void machine_fail(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* An address of the program, as addr2line wants it. */
uintptr_t machine_place(const void *pc);

/* ---- explore.c ---------------------------------------------------------- */

enum choice {
    CHOICE_STAY,    /* the current one can go on: another is a preemption */
    CHOICE_YIELD,   /* it can, but lets others go first */
    CHOICE_SPIN,    /* it can, but has nothing to do until others have */
    CHOICE_BLOCKED, /* it cannot */
    CHOICE_DELAY,   /* its store is seen at once, or later; its load is made
                       now, or earlier */
};

/* Which of `enabled` (a bit for each context) makes the next step. */
unsigned explore_choose(unsigned enabled, unsigned current,
                        enum choice kind);

/* The schedule so far, and what is being explored. */
void explore_describe(void);

/* Whether stores may be delayed, and loads made early. */
extern bool explore_delays, explore_early;

/* ---- pool.c ------------------------------------------------------------- */

/* The pool of the simulated scheduler. */
extern struct pool *pool_simulated;

/* No more than that many of its carriers take threads. */
void pool_limit(unsigned carriers);

/* When a timer is due, CLOCK_NEVER for none. */
uint64_t pool_next_deadline(void);

/* ---- memory.c ----------------------------------------------------------- */

/* Between the two, what is allocated comes from an arena. */
void memory_schedule_begins(void);
void memory_schedule_ends(void);

/* ---- order.c ------------------------------------------------------------ */

/* Everything before is ordered before everything after. */
void order_forget(void);

/* Memory that is new: what was done there does not count. */
void order_new_memory(const void *start, size_t size_bytes);

/* What one context hands to another by other means than atomics. */
struct order {
    uint32_t at[MACHINE_CONTEXTS];
    uint32_t seen[MACHINE_CONTEXTS]; /* what no load can be made before */
    uint32_t epoch; /* of one that is kept: another schedule's is nothing */
};
void order_release(struct order *order);
void order_acquire(const struct order *order);

/* What atomic operations order, seen from the current context.  The order is
 * one of __ATOMIC_*; `compiler` barriers order nothing. */
void order_load(const void *object, int order);
void order_store(const void *object, int order);
void order_read_modify_write(const void *object, int order);
void order_fence(int order);

/* A plain access; a race with an earlier one is the end. */
void order_access(const void *start, size_t size_bytes, bool is_write,
                  const void *pc);

/* Stores that are seen late: at the next operation that is sequentially
 * consistent or reads and writes, or when their context is chosen anew. */
void order_delay(void *object, uint64_t value, unsigned size_bytes,
                 int order);
bool order_has_delayed(const struct context *c);
bool order_is_delayed(const void *object, unsigned size_bytes,
                      uint64_t *value);
void order_drain(struct context *c);

/* What is taken as one step comes after all such steps before. */
void order_one_step(void);

/* Loads that are made early: after each store, before any load, and after
 * one that has returned the newest value. */
void order_wrote(const void *object, uint64_t before, uint64_t value);
bool order_read_early(const void *object, int order, uint64_t *value);
void order_read_newest(const void *object);

#endif
