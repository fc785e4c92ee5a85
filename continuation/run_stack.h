/*
 * run_stack.h - the address ranges on which continuations run.
 *
 *        one slot of a region                    the record, in a table
 *   +-------+----------------------+-----+      +------------------------+
 *   | guard |   frames grow down   | gap |      | claim, resident, top.. |
 *   +-------+----------------------+-----+      +------------------------+
 *           ^ bottom               ^ top
 *
 * A frame holds absolute addresses, so a continuation has one run stack for
 * life, its home.  An own home serves one continuation at a time and never
 * needs claiming.  A common home serves many, one after the other:
 *
 *   claim     may be mounted by one carrier only: 0 free, else claimed, and
 *             the newcomers' list hangs from the same word
 *   resident  whose frames lie there now, in place; guarded by the claim
 *
 * The gap at the top differs from slot to slot (a multiple of the cache
 * line), or all tops would fight for the same sets of the L1 cache.
 *
 * Own and common homes lie in two regions: two compares tell of any pointer
 * whether it points into a common home.
 */
#ifndef CONTINUATION_RUN_STACK_H
#define CONTINUATION_RUN_STACK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/atomics.h"

struct continuation;

/* Somebody who waits for a home: embedded in what the caller resubmits. */
struct stack_waiter {
    struct stack_waiter *next;
};

/* Field letters: I set before publication, C under the claim, A atomic. */
struct run_stack {
    _Atomic(uintptr_t) claim;        /* A: 0, or waiters | 1 */
    struct continuation *_Atomic resident; /* C: whose frames lie here */
    char *top;                       /* I */
    char *bottom;                    /* I: lowest usable address */
    _Atomic uint32_t shares;         /* A: continuations with this home */
    bool is_common;                  /* I */
    bool is_large;                   /* I: a mapping of its own */
    bool is_run_on;                  /* while all is stopped: see
                                        embed/roots.c */
    _Atomic uint32_t waiting;        /* A: in the claim's list, or about to */
    struct run_stack *next;          /* free list, under its lock */
    struct continuation *poisoned;   /* C: eager mode: whose frames' place
                                        is poisoned, nobody else having run
                                        here since */
} __attribute__((aligned(CACHE_LINE)));

/* Relaxed: under the claim. */
static inline struct continuation *
run_stack_resident(struct run_stack *stack)
{
    return atomic_load_explicit(&stack->resident, memory_order_relaxed);
}

static inline void run_stack_set_resident(struct run_stack *stack,
                                          struct continuation *c)
{
    atomic_store_explicit(&stack->resident, c, memory_order_relaxed);
}

/* Sets up both regions, once; `own_limit` homes of the default size may be
 * taken by run_stack_take_own before it says no.  0 or ENOMEM. */
int run_stack_init(unsigned own_limit, unsigned common_count);

/* More common homes, for more carriers, as soon as threads share some.  0 or
 * ENOMEM, which is no harm if there are any. */
int run_stack_grow_common(unsigned common_count);

/* An own home of at least that size; NULL when none can be had.  Not
 * counted against own_limit when `insist` is set. */
struct run_stack *run_stack_take_own(size_t stack_size_bytes, bool insist);

/* The least shared common home, counting the newcomer in. */
struct run_stack *run_stack_take_common(void);

/* Gives a home back; a common one may have others. */
void run_stack_give_back(struct run_stack *stack);

/* Tries to claim a common home.  False: waiter is in its list, and comes
 * out of a later run_stack_release.  Acquires what the last holder did. */
bool run_stack_claim(struct run_stack *stack, struct stack_waiter *waiter);

/* The same without waiting. */
bool run_stack_try_claim(struct run_stack *stack);

/* Releases the claim and returns those who waited, oldest first, for the
 * caller to resubmit. */
struct stack_waiter *run_stack_release(struct run_stack *stack);

/* How many wait for the claim now.  From any OS thread; relaxed: a number
 * to tell, which orders nothing. */
static inline unsigned run_stack_waiting(const struct run_stack *stack)
{
    return atomic_load_explicit(&stack->waiting, memory_order_relaxed);
}

/* Bytes between bottom and top. */
static inline size_t run_stack_size(const struct run_stack *stack)
{
    return (size_t)(stack->top - stack->bottom);
}

/* Makes a common home, claimed by its only user, that user's own until it
 * is given back.  False if others have it too. */
bool run_stack_convert(struct run_stack *stack);
bool run_stack_is_converted(struct run_stack *stack);

/* An OS thread that mounts many: it keeps some own homes at hand. */
void run_stack_thread_enter(void);
void run_stack_thread_leave(void);

/* Addresses that may not be there while the thread that runs there waits:
 * the common homes, or with `all` any.  None before this is called.  Relaxed:
 * who has such an address got it from a thread that runs there. */
extern __attribute__((visibility("hidden"))) _Atomic(uintptr_t)
    run_stack_doubtful_start, run_stack_doubtful_bytes;
void run_stack_set_doubtful(bool all);

static inline bool run_stack_is_doubtful(const void *address)
{
    return (uintptr_t)address
               - atomic_load_explicit(&run_stack_doubtful_start,
                                      memory_order_relaxed)
           < atomic_load_explicit(&run_stack_doubtful_bytes,
                                  memory_order_relaxed);
}

/* Whether the address lies in a common home.  The region that is reserved for
 * them is much larger: where none is yet no pointer leads, only a number that
 * looks like one, such as a handle. */
bool run_stack_is_common_address(const void *address);

/* The run stack in whose slot the address lies (its guard included), or
 * NULL.  Safe in a signal handler. */
struct run_stack *run_stack_of_address(const void *address);

/* Own homes of the default size that somebody has, an OS thread's few at hand
 * among them.  Relaxed: a hint. */
unsigned run_stack_own_count(void);

/* Common homes that there are; for tests and statistics. */
unsigned run_stack_common_count(void);

#endif
