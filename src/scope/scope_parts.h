/*
 * scope_parts.h - a scope and its children, field by field: for the files
 * that make up scopes.  See scope.c for how they work together.
 *
 *   scope.c         opening, joining, closing
 *   scope_child.c   forking, and the end of a child
 *   scope_cancel.c  cancelling, and deadlines
 */
#ifndef SCOPE_PARTS_H
#define SCOPE_PARTS_H

#include <stdatomic.h>
#include <string.h>

#include <vthread/scope.h>

#include "local.h"
#include "platform/futex.h"
#include "scope/scope.h"
#include "sync/waitlist.h"
#include "thread.h"

/* With the small ones within it a scope is as large as the allocator is
 * still quick about. */
#define SCOPE_BYTES 1024
#define TABLE_FIRST 12
#define CHILD_BYTES_MAX ((size_t)1 << 30)

/* Field letters: I before publication, L under the scope's lock, O the
 * child's thread or its carrier, A atomic. */
struct child {
    struct child *next, *prev;     /* L */
    vthread_scope_t *scope;        /* I */
    vthread_t thread;              /* I */
    int (*fn)(const void *args, void *result); /* I */
    uint32_t task;                 /* I: VTHREAD_SCOPE_NO_TASK: none */
    uint32_t args_bytes;           /* I */
    uint32_t result_bytes;         /* I */
    int error;                     /* O */
    bool is_block;                 /* I: a block of its own */
    bool has_returned;             /* O: its error counts */
    bool decides;                  /* O: it is in attr->decide */
    _Atomic bool has_ended;        /* A: error and result are there */
} __attribute__((aligned(16)));

/* What few scopes have. */
struct options {
    vthread_scope_attr_t attr;     /* I */
    char name[32];                 /* I */
    vthread_t watchdog;            /* L, then the owner's: 0: none */
    bool is_watched;               /* L */
    bool is_deciding;              /* L: a child is in attr.decide */
    struct waitlist deciders;      /* L: and these want to */
};

struct vthread_scope {
    struct waitlist joining;       /* I, empty: what the owner waits on, for
                                      reports; first, see waiting.c */
    struct os_lock lock;
    _Atomic uint32_t references;   /* A: the owner's, the walkers' */
    _Atomic uint32_t pending;      /* A: see above */
    _Atomic int cancelled;         /* A: 0: no; else why: see scope_cancel */
    uint8_t policy;                /* I */
    bool is_decided;               /* L: outcome is what join returns */
    int outcome;                   /* L */
    int error;                     /* L: the first of a child */
    uint32_t first;                /* L: the task that decided */
    uint32_t count, capacity;      /* L: of the table */
    uint32_t space_used;           /* L */
    struct thread *owner;          /* I */
    vthread_scope_t *next_open;    /* the owner's: the one opened before */
    vthread_scope_t *parent;       /* I: which cancels it, or NULL */
    vthread_scope_t *subs;         /* L: scopes that children have opened */
    vthread_scope_t *next, *prev;  /* under the parent's lock: in its subs */
    vthread_scope_t *walk_next;    /* the walker's */
    struct child *children;        /* L: the last one is first */
    struct child **table;          /* L: by task */
    struct binding *bindings;      /* I */
    struct options *options;       /* I: NULL: all defaults */
    struct child *table_first[TABLE_FIRST];
    _Alignas(16) char space[];
};

/* ---- A child's memory --------------------------------------------------- */

static inline size_t align(size_t size, size_t alignment)
{
    return (size + alignment - 1) & ~(alignment - 1);
}

static inline void *args_of(struct child *c)
{
    return c->args_bytes > 0 ? c + 1 : NULL;
}

static inline void *result_of(struct child *c)
{
    char *after_args = (char *)(c + 1) + align(c->args_bytes, 16);
    return c->result_bytes > 0 ? after_args : NULL;
}

static inline size_t child_size(size_t args_bytes, size_t result_bytes)
{
    return sizeof(struct child) + align(args_bytes, 16)
           + align(result_bytes, 16);
}

/* ---- Who is who --------------------------------------------------------- */

static inline uint64_t word_of(const struct thread *t)
{
    /* Relaxed: its own flags, or those it has had from the beginning. */
    return atomic_load_explicit(&t->word, memory_order_relaxed);
}

static inline struct child *child_of(const struct thread *t)
{
    return word_of(t) & THREAD_CHILD ? t->argument : NULL;
}

/* The calling thread if it is the owner or a child; else NULL. */
static inline struct thread *find_member(vthread_scope_t *s)
{
    struct thread *self = local_thread(local_self());
    if (likely(self && self == s->owner))
        return self;
    thread_refuse_child();
    struct child *c = self ? child_of(self) : NULL;
    return c && c->scope == s ? self : NULL;
}

/* Acquires all that children who have ended did; pairs with the subtraction
 * in scope_child_ended. */
static inline uint32_t living(vthread_scope_t *s)
{
    return atomic_load_explicit(&s->pending, memory_order_acquire) / 2;
}

static inline bool is_cancelled(vthread_scope_t *s)
{
    /* Relaxed: an early answer, or under a lock; see scope.c. */
    return atomic_load_explicit(&s->cancelled, memory_order_relaxed) != 0;
}

/* ---- Parts -------------------------------------------------------------- */

/* scope_cancel.c */

/* Cancels it, unless that has been done; the reason is what join returns:
 * ECANCELED, ETIMEDOUT, or SCOPE_DECIDED, which says that the policy has
 * settled that. */
#define SCOPE_DECIDED (-1)
void scope_cancel(vthread_scope_t *s, int reason);

/* The first half of that: true for the one who is to see to what is below.
 * For children that have all ended it comes too late to be the outcome. */
bool scope_mark_cancelled(vthread_scope_t *s, int reason);

/* Whether a fork comes too late: 0; or why, and that is what join returns,
 * too, unless it has been decided.  Under the lock, and without. */
int scope_refuse(vthread_scope_t *s);
int scope_refuse_early(vthread_scope_t *s);

/* What join returns, unless that has been decided.  Under the lock. */
void scope_decide(vthread_scope_t *s, int outcome, uint32_t task);

/* Before the first fork: starts the watchdog if there is a deadline. */
int scope_ensure_watchdog(vthread_scope_t *s);

/* All children have ended, so nobody starts one.  Cancellation is disabled. */
void scope_stop_watchdog(vthread_scope_t *s);

/* scope.c: gives a reference back; the last one frees it. */
void scope_release(vthread_scope_t *s);

#endif
