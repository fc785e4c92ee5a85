/*
 * thread.h - a virtual thread, inside the library.
 *
 * One object of 256 bytes: a cache line that a carrier touches to mount the
 * thread, a line that waiting and ending need, and two lines of inline
 * chunk for its frames.  A platform thread that uses the API has one too,
 * without a continuation.
 *
 * The word decides who may do what with it: the generation in the upper
 * half, these flags in the lower.  See vthread.c for the transitions.
 */
#ifndef THREAD_H
#define THREAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vthread.h>

#include "carrier/task.h"
#include "continuation/chunk.h"
#include "continuation/continuation.h"
#include "platform/atomics.h"
#include "waits_for.h"

struct scheduler;

/* Waiting, and for what.  At most one of the two is set. */
#define THREAD_PARKED 0x001u  /* until vthread_unpark */
#define THREAD_WAITING 0x002u /* until thread_wake */
/* Given while it was not waiting for it. */
#define THREAD_PERMIT 0x004u
#define THREAD_WOKEN 0x008u
/* About the wait. */
#define THREAD_CANCELLABLE 0x010u /* it heeds interrupts */
#define THREAD_KERNEL 0x020u      /* it takes place in the kernel */
#define THREAD_TIMED 0x040u       /* its timer is to be cancelled */
#define THREAD_ARMED 0x080u       /* its timer is armed, it is not published */
#define THREAD_OUTSIDE 0x200000u  /* other than threads may end it: a timer,
                                     a descriptor, who is at it already */
/* It is in a foreign call that may be interrupted: see interruptible.h. */
#define THREAD_IN_CALL 0x800000u
/* How it ended, if not by being woken; until the next wait. */
#define THREAD_TIMEOUT 0x100u
#define THREAD_CANCELED 0x8000u
/* Interrupted, and no wait has seen it yet. */
#define THREAD_INTERRUPT 0x4000u
/* Canceled: no cancellable wait succeeds any more. */
#define THREAD_CANCEL 0x40000u
/* For tests: extra->waits_left counts its cancellable waits down. */
#define THREAD_COUNTDOWN 0x80000u
/* How often it has disabled cancellation: the topmost eight bits. */
#define THREAD_MASK_ONE 0x1000000u
#define THREAD_MASKED 0xff000000u
/* The end. */
#define THREAD_DONE 0x200u     /* has left its stack for good */
#define THREAD_DETACHED 0x400u /* frees itself */
#define THREAD_JOINING 0x800u  /* somebody has the right to free it, */
#define THREAD_JOINER 0x10000u /* and waits: thread->joiner */
/* What it is. */
#define THREAD_PLATFORM 0x1000u
#define THREAD_BOUND_ONE 0x2000u /* stays on thread->carrier */
#define THREAD_COUNTED 0x400000u /* thread->carrier counts it as bound */
#define THREAD_CHILD 0x100000u   /* of a scope: argument is its task */
#define THREAD_FREE 0x20000u     /* no thread: see thread_table.c */

/* Field letters: I before publication, O the thread itself or its carrier,
 * W under the wheel's lock, L under the lock of the list it waits in,
 * A atomic. */
struct thread {
    union {
        struct task task;         /* while it is on a run queue */
        struct stack_waiter home; /* while it waits for its home */
        struct thread *next_free; /* while it is free */
    };
    _Atomic uint64_t word;        /* A: generation << 32 | flags */
    struct continuation continuation;

    void *(*fn)(void *);    /* I */
    void *argument;         /* I, then O: the result; of a platform thread
                               the kernel's number */
    uint64_t deadline_ns;   /* W: when its timer is due; L: in a wait without
                               one the word that is handed over */
    union {
        uint32_t timer_next;  /* W: thread numbers, 0 none */
        uint32_t waits_since; /* O: in a wait without a timer: clock_ticks of
                                 its beginning, for dumps */
    };
    _Atomic uint32_t timer_prev; /* W, A: 0: not armed; see timer.c */
    uint32_t wait_next;     /* L: thread numbers, 0 none */
    uint32_t wait_prev;     /* L */
    void *_Atomic wait_on;  /* A: what it waits for, changed by the thread,
                               and under L where that is a list */
    struct thread_extra *_Atomic extra; /* A: the rare things, or NULL */
    _Atomic uint32_t joiner; /* A: number of the thread that joins it */
    uint8_t scheduler;      /* I: number of its scheduler; 0: none */
    uint8_t carrier;        /* O: the one it is bound to */
    uint8_t wheel;          /* W: number of the carrier whose wheel it is on */
    _Atomic uint8_t waits_for; /* A: enum waits_for, of the last wait */

    unsigned char chunk[INLINE_CHUNK_BYTES];
} __attribute__((aligned(CACHE_LINE)));

/* What few threads have.  Comes when it is needed, and stays until the
 * thread ends; but for the name it is the thread's own. */
struct thread_extra {
    char name[32];                 /* under the lock of describe.c */
    struct cleanup *cleanups;      /* pushed last first; cleanup.c */
    struct key_values *values;     /* key.c */
    unsigned key_rounds;           /* of its destructors, so far */
    struct vthread_scope *scopes;  /* open, the last one first; scope.c */
    struct binding *bindings;      /* its own scoped values */
    uint64_t waits_left;           /* cancel.c: THREAD_COUNTDOWN */
    uint32_t countdown_flag;       /* what the last of them finds */
    void *user;                    /* embedder.c */
    bool counts_wait;              /* this one has not been counted */
    bool finishes;                 /* see thread_finish */
};

/* What it waits for, as a place in memory: for probes.  perf leaves out an
 * argument that is constant, and refuses a probe that has other arguments
 * elsewhere. */
static inline const uint8_t *thread_waits_for_place(const struct thread *t)
{
    return (const uint8_t *)&t->waits_for;
}

/* ---- Objects: thread_table.c ------------------------------------------ */

static inline struct thread *
thread_of_continuation(const struct continuation *c)
{
    return (struct thread *)((char *)c
                             - offsetof(struct thread, continuation));
}

/* The table is one reserved range of threads, so a number is an address and
 * a scan meets every thread.  Objects never leave it: a stale handle reads
 * a word whose generation differs. */
extern struct thread *thread_table;
extern _Atomic uint32_t thread_table_numbers; /* see thread_table_size */

/* The generation of a thread's first life.  Who looks for handles in memory
 * makes it a number that is nowhere else, before any thread is made.  Of 64
 * bits: beside another number it would look like the upper half of a handle. */
extern uint64_t thread_generation_first;

/* Numbers have so many bits; locks keep flags beside them. */
#define THREAD_NUMBER_BITS 28

static inline uint32_t thread_number(const struct thread *t)
{
    return (uint32_t)(t - thread_table);
}

static inline struct thread *thread_at(uint32_t number)
{
    return &thread_table[number];
}

int thread_table_init(void);

/* A thread that is zero but for its word (generation, no flags) and fields
 * the allocator owns; NULL without memory. */
struct thread *thread_alloc(void);

/* Ends its generation: all handles to it are stale from now on. */
void thread_free(struct thread *t);

/* Its rare things, which are made if need be; NULL without memory. */
struct thread_extra *thread_make_extra(struct thread *t);

/* The same if they are there already. */
static inline struct thread_extra *thread_extra(const struct thread *t)
{
    /* Acquire: they may have been made by another thread, for a name. */
    return atomic_load_explicit(&t->extra, memory_order_acquire);
}

/* Before the thread is freed. */
void thread_free_extra(struct thread *t);

/* Its pointer for the machine that embeds us, while it may be ending. */
void *thread_user(const struct thread *t);

/* Numbers used so far: every thread's number is below it, and above 0. */
uint32_t thread_table_size(void);

/* The free threads kept by this OS thread: carriers keep some. */
void thread_table_enter(void);
void thread_table_leave(void);

static inline vthread_t thread_handle(const struct thread *t)
{
    uint64_t word = atomic_load_explicit(&t->word, memory_order_relaxed);
    return (word & 0xffffffff00000000u) | thread_number(t);
}

/* The thread of a handle and its word as just read; NULL if stale.  The
 * thread may end at any moment: change the word by compare-exchange only. */
struct thread *thread_of_handle(vthread_t handle, uint64_t *word);

/* The first thread in use whose number is at least that, and its word; NULL
 * if there is none.  For dumps: it may end while one looks at it. */
struct thread *thread_in_use_from(uint32_t number, uint64_t *word);

/* ---- Waiting: vthread.c ------------------------------------------------ */

/* Panics in a forked child: it has no carriers.  For calls that do not ask
 * who calls; thread_self and thread_of_handle do it themselves. */
void thread_refuse_child(void);

/* The calling thread; a platform thread gets an object at its first call.
 * NULL only when that cannot be had.  Panics in a forked child. */
struct thread *thread_self(void);

/* Platform threads that have an object. */
uint32_t thread_platform_count(void);

/*
 * How everything but vthread_park waits.  The caller has put itself where a
 * waker will find it (a list, a slot), and calls thread_wait; the waker
 * takes it from there, exactly once, and calls thread_wake, before or after
 * the wait began.
 *
 *   thread_wait_for  says for what, too: for reports, and because waits for
 *                 what comes from outside are no deadlock.
 *   thread_wait   returns 0 when woken; ETIMEDOUT; ECANCELED if cancellable.
 *                 With the two errors the caller is still where it put
 *                 itself, or a waker is just taking it: it must take itself
 *                 out under the lock of the place, and if it is not there
 *                 any more the wake-up has happened or will: then it calls
 *                 thread_wait_out and counts as woken.
 *   thread_wake   consumes exactly one wait.  Never blocks.  A waker that
 *                 holds the place's lock may call it.
 *   thread_wait_out  waits for a thread_wake that is certain to come, after
 *                 thread_wait has returned err; an interrupt that it has
 *                 reported counts as not seen.
 */
int thread_wait_for(struct thread *self, enum waits_for what,
                    uint64_t deadline_ns, bool cancellable);
int thread_wait(struct thread *self, uint64_t deadline_ns, bool cancellable);
void thread_wake(struct thread *t);
void thread_wait_out(struct thread *self, int err);

/* Cancels it for good, unless the handle is stale: its cancellable waits
 * return ECANCELED from now on, while it does not disable cancellation. */
void thread_cancel(vthread_t handle);

/* For tests: the thread's n-th cancellable wait from now on, counted from 1,
 * finds that flag set: THREAD_INTERRUPT or THREAD_CANCEL.  n = 0: none does.
 * 0 or ENOMEM.  Called by the thread itself; waits that need not wait are
 * not counted, nor those with cancellation disabled. */
int thread_cancel_at_wait(struct thread *self, uint64_t n, uint32_t flag);

/* All that comes before the end, on the thread's own stack: cleanup
 * handlers, open scopes, values of keys.  Idempotent. */
void thread_finish(struct thread *self);

/* Takes a thread out of a wait that no timer and nothing from outside ends,
 * if it is in one and in that generation: nobody mounts it until thread_let_go
 * with the same *flags, which takes back what was done and sees to whatever
 * has come meanwhile. */
bool thread_hold(struct thread *t, uint64_t generation, uint64_t *flags);
void thread_let_go(struct thread *t, uint64_t flags);

/* The wheel's way to end a wait, under its lock: true if it has ended it;
 * then the caller passes the thread to thread_resubmit. */
bool thread_time_out(struct thread *t);

/* Makes a thread whose wait has been ended run: queues it, or wakes its OS
 * thread in the kernel. */
void thread_resubmit(struct thread *t);

/* "thread 5 'reader'", and the same with its state; for reports, and safe in
 * a signal handler. */
void thread_describe_name(const struct thread *t, char *buffer,
                          size_t size_bytes);
void thread_describe(const struct thread *t, char *buffer,
                     size_t size_bytes);

#endif
