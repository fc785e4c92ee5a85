/*
 * call_site.h - what does not change from call to call, and what AUTO learns.
 */
#ifndef CALL_SITE_H
#define CALL_SITE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <vthread/call.h>

#include "platform/atomics.h"

#define SITE_LONG 1u        /* AUTO treats it as BLOCKING */
#define SITE_SEASONED 8u    /* its first calls have been timed */
#define SITE_TOLD_BAD 2u    /* that it is a bad one */
#define SITE_TOLD_STACK 4u  /* that it was given the address of a stack */
#define SITE_IN_A_ROW 0x100u /* calls that contradict SITE_LONG: a count */

/* U: the user's; A: atomic. */
struct site {
    const char *text;                           /* U */
    struct vthread_signature *prepared;         /* U */
    unsigned policy;                            /* U */
    unsigned flags;                             /* U */
    const struct vthread_call_pointer *pointers; /* U */
    size_t pointer_count;                       /* U */
    struct vthread_signature *_Atomic checked;  /* A: NULL: not yet */
    _Atomic uint32_t state;                     /* A: SITE_* */
    uint32_t reserved;
    _Atomic uint64_t timed, lasted, taken_over, changes, last_ns; /* A */
};

/* Looks at a site for the first time.  0, EINVAL, ENOMEM. */
int site_check(struct site *site);

/* The signature of a good one, else NULL: see site_check. */
static inline struct vthread_signature *site_signature(struct site *site)
{
    /* Acquire: observes the signature; pairs with site_check. */
    return atomic_load_explicit(&site->checked, memory_order_acquire);
}

/* How a pointer of a call is declared, or NULL. */
const struct vthread_call_pointer *site_pointer(const struct site *site,
                                                unsigned argument);

/* True for the first who asks. */
bool site_tells(struct site *site, uint32_t told);

/* Relaxed: a hint. */
static inline bool site_is_long(const struct site *site)
{
    return atomic_load_explicit(&site->state, memory_order_relaxed)
           & SITE_LONG;
}

/* Whether to time the call that comes, chance apart.  Relaxed: a hint. */
static inline bool site_wants_time(const struct site *site)
{
    return (atomic_load_explicit(&site->state, memory_order_relaxed)
            & (SITE_LONG | SITE_SEASONED))
           != SITE_SEASONED;
}

/* What a call of an AUTO site has shown: how long it took; or that others
 * took over meanwhile. */
void site_note_time(struct site *site, uint64_t ns);
void site_note_taken_over(struct site *site);

#endif
