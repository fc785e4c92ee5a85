/*
 * timer.h - deadlines of waiting threads, in a hierarchical wheel for each
 * carrier.
 *
 * The node is in the thread object; arming and cancelling are O(1), and a
 * cancelled one is gone at once.  Expiry: thread_time_out under the wheel's
 * lock, so a cancel that returns means that this deadline will not wake
 * anybody later.
 */
#ifndef TIMER_H
#define TIMER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "platform/futex.h"
#include "thread.h"

/* 54 bits of ticks: any deadline of 64 bits has its slot. */
#define WHEEL_LEVELS 9
#define WHEEL_SLOTS 64

/* The finest step: 2^15 ns = 33 us.  Deadlines are rounded up to it. */
#define WHEEL_TICK_SHIFT 15

struct wheel {
    struct os_lock lock;
    uint8_t number;                  /* I: written into threads it holds */
    uint8_t draining;                /* L: level whose slot at now_tick is
                                        being moved down; 0: none */
    uint64_t now_tick;               /* L: all before it have expired */
    _Atomic uint64_t next_ns;        /* A: nothing expires before it;
                                        CLOCK_NEVER when empty */
    uint64_t occupied[WHEEL_LEVELS]; /* L: slots that are not empty */
    uint32_t first[WHEEL_LEVELS][WHEEL_SLOTS]; /* L: thread numbers */
    uint32_t count;                  /* L */
};

void wheel_init(struct wheel *wheel, uint8_t number, uint64_t now_ns);

/* Arms t's timer for deadline_ns (not CLOCK_NEVER).  Returns true if it is
 * now the first of the wheel: whoever sleeps must know. */
bool wheel_arm(struct wheel *wheel, struct thread *t, uint64_t deadline_ns);

/* Disarms it, if it is still armed: see above.  For the one who may arm it
 * again: the thread itself after its wait, or who keeps it from running. */
void wheel_cancel(struct wheel *wheel, struct thread *t);

/* Expires what is due at now_ns: each thread for which thread_time_out is
 * true is linked by its task link to the list returned, soonest first.
 * At most `limit` threads are looked at in one call (some of them may only
 * be moved nearer, so the list may be empty); the rest keep next_ns in the
 * past. */
struct task *wheel_expire(struct wheel *wheel, uint64_t now_ns,
                          unsigned limit);

static inline uint64_t wheel_next_ns(const struct wheel *wheel)
{
    return atomic_load_explicit(&wheel->next_ns, memory_order_relaxed);
}

#endif
