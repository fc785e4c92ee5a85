/*
 * held.h - what an OS thread's present thread holds on to: locks and pins.
 *
 * A thread that holds a tracked lock is pinned, so it does not leave its OS
 * thread, and the table is the OS thread's: the thread object does not grow,
 * and a lock costs no more than a line of it.  Observers reach all tables
 * through held_first and held_next.
 */
#ifndef INSPECT_HELD_H
#define INSPECT_HELD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <vthread/pin.h>

#include "platform/atomics.h"
#include "platform/thread_local.h"

struct continuation;
struct thread;

/* More locks at once are counted, and pin, but are not listed. */
enum { HELD_MAX = 16 };

/* Whose pins were raised for something: what ran then, and the thread that it
 * belongs to if that is another one.  Or NULL. */
struct held_pins {
    struct continuation *inner, *outer;
};

/* Field letters as in thread.h; O: the OS thread.  Atomic for those who look
 * on, relaxed: what they read belongs together only while the OS thread
 * waits, and then `wait` says so. */
struct held_entry {
    const void *_Atomic object;   /* A: the lock; of a pin NULL or why */
    const void *_Atomic site;     /* A: where it was taken */
    const void *_Atomic given;    /* A: equals object: another thread has
                                     released it */
    struct thread *_Atomic owner; /* A: who took it, NULL: not known */
    _Atomic uint32_t count;       /* A: how often */
    _Atomic uint32_t kind;        /* A: vthread_hold_kind_t */
    struct held_pins pins;        /* O */
};

struct held {
    struct held *next;            /* I */
    _Atomic uint32_t os_thread;   /* A: its number; 0: free */
    unsigned end_rounds;          /* O: of the destructor */
    _Atomic uint32_t count;       /* A, written by O */
    uint32_t unlisted;            /* O: locks beyond HELD_MAX */
    uint32_t upcalls;             /* O: of foreign code, under way */
    struct held_entry entries[HELD_MAX]; /* oldest first */

    /* The lock that its thread waits for, whoever listens: lock_wait.c. */
    const void *_Atomic wanted;     /* A: NULL: none */
    struct thread *_Atomic wanter;  /* A: NULL: not known */
    _Atomic uint32_t wanted_kind;   /* A: vthread_hold_kind_t */
    _Atomic uint32_t wanted_since;  /* A: clock_ticks */

    /* The present wait, if it is pinned or for a lock: pin.c, lock_wait.c. */
    _Atomic uint32_t wait;        /* A: odd: there is one, and `episode` stays
                                     as it is until the number changes */
    bool is_noted;                /* O: where it will wait is in `episode` */
    bool is_waiting;              /* O: `wait` is odd */
    bool is_victim;               /* O: it waits for a lock, and is pinned by
                                     nothing else */
    struct vthread_pin_episode episode;

    /* A call to be made on the native stack. */
    int (*request_fn)(void *request);          /* O */
    int result;                                /* O */
    _Alignas(16) unsigned char request[VTHREAD_LOCK_REQUEST_MAX]; /* O */
};

struct held_local {
    struct held *held;
    bool is_attaching; /* the allocator may take locks */
};

extern __attribute__((visibility("hidden"))) __thread struct held_local
    held_local;

THREAD_LOCAL_SELF(struct held_local, held_local_self, held_local)

/* The calling OS thread's; NULL: without memory. */
struct held *held_attach(void);

static inline struct held *held_self(void)
{
    struct held *held = held_local_self()->held;
    return likely(held != NULL) ? held : held_attach();
}

/* A pin that begins and ends; why and site are for reports only. */
void held_pin(const char *why, const void *site);
void held_unpin(void);

/* Locks at these addresses are not tracked: those of a library that is called
 * where nothing may wait but in the kernel.  Before there are threads. */
void held_leave_out(uintptr_t low, size_t size_bytes);

extern __attribute__((visibility("hidden"))) struct held_left_out {
    uintptr_t low;
    size_t size_bytes;
} held_left_out;

static inline bool held_is_left_out(const void *lock)
{
    return unlikely((uintptr_t)lock - held_left_out.low
                    < held_left_out.size_bytes);
}

/* A function that foreign code has called begins, ends: what runs is pinned
 * meanwhile. */
struct held_pins held_upcall_begin(void);
void held_upcall_end(struct held_pins pins);

/* Drops the locks that others have released. */
void held_drop_given(struct held *held);

/* The calling thread ends pinned: says so, and clears the table. */
void held_thread_ends(void);

/* A continuation that is pinned has run to its end. */
void held_continuation_ends(const struct continuation *c);

/* All tables: the first one, or NULL. */
extern __attribute__((visibility("hidden"))) struct held *_Atomic held_tables;

/* The same, from any OS thread; those of OS threads that have ended are
 * among them, and are free. */
struct held *held_first(void);
static inline struct held *held_next(const struct held *held)
{
    return held->next;
}

/* Who has taken a lock: stores the thread (NULL: not known) and the number of
 * the OS thread.  False: nobody, as far as is known. */
bool held_find_holder(const void *lock, struct thread **owner,
                      uint32_t *os_thread);

#endif
