/*
 * continuation.h - one-shot continuations, inside the library.
 *
 *   frames in place     frozen_bytes == 0, the frames lie on the home at
 *                       [sp, top) and the home's resident is this one
 *   frames frozen       frozen_bytes == top - sp; the lowest of them are in
 *                       the inline chunk, the rest in the external one
 *
 * States and who makes the transition:
 *
 *   NEW ------- run ------> MOUNTED     the OS thread that calls run
 *   MOUNTED --- yield ----> UNMOUNTED   the continuation itself
 *   UNMOUNTED - run ------> MOUNTED     the OS thread that calls run
 *   MOUNTED --- end ------> DONE        the continuation itself
 *
 * Its fields belong to the OS thread that has it mounted.  While it is
 * unmounted sp, frozen_bytes and the chunks are under the claim of its home
 * (another OS thread may freeze it), the rest to whoever may run it.
 *
 * This floor knows nothing of threads, carriers or schedulers.
 */
#ifndef CONTINUATION_CONTINUATION_H
#define CONTINUATION_CONTINUATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "continuation/run_stack.h"
#include "platform/sanitizer.h"

struct continuation;
struct chunk;

/* What continuations of one kind have in common. */
struct continuation_kind {
    /* The whole of it, called with the continuation; begins with
     * continuation_begun, ends with continuation_end, never returns.  Its
     * frame is part of what every parked thread keeps. */
    void (*main)(void *continuation);
    /* It ends because one that ran it does; NULL: that cannot be. */
    void (*abandon)(struct continuation *c);
    /* For reports: "thread 5 'reader'".  Safe in a signal handler. */
    void (*describe)(const struct continuation *c, char *buffer,
                     size_t size_bytes);
    uint32_t inline_offset; /* of the inline chunk, from the continuation */
    uint32_t inline_bytes;  /* its size; INLINE_CHUNK_BYTES or 0 */
};

enum continuation_state {
    CONTINUATION_NEW,
    CONTINUATION_MOUNTED,
    CONTINUATION_UNMOUNTED,
    CONTINUATION_DONE,
};

/* Wants an own home: asked for, nested, or because its like needed one. */
#define CONTINUATION_WANTS_OWN 1u
/* Its home is its own: nothing to claim, nothing to copy. */
#define CONTINUATION_HAS_OWN 2u
/* Guard mode: its home is inaccessible while it is unmounted. */
#define CONTINUATION_HIDDEN 4u
/* It wants its own because it was asked for, not because of its like. */
#define CONTINUATION_ASKED_OWN 8u

struct continuation {
    void *sp;                        /* lowest address of its frames */
    struct continuation *link;       /* mounted: who runs it, or NULL;
                                        unmounted: the innermost of those
                                        that were unmounted with it */
    const struct continuation_kind *kind;
    struct run_stack *home;          /* NULL before the first mount */
    struct chunk *chunk;             /* external part of its frames */
    uint32_t frozen_bytes;
    uint16_t pins;
    uint8_t state;                   /* enum continuation_state */
    uint8_t flags;                   /* CONTINUATION_* */
    struct sanitizer_stack sanitizer;
};

enum run_status {
    RUN_RETURNED,  /* it yielded to here or ended; *value is what it said */
    RUN_WAITS,     /* its home is claimed: the waiter is in the home's list
                      and comes back through continuation_home_released */
    RUN_BUSY,      /* its home is claimed, and there was no waiter */
    RUN_NO_MEMORY, /* no home to be had */
    RUN_UNSETTLED, /* it yielded, but there is no memory to keep its frames,
                      so its home is still claimed: continuation_resume must
                      follow, on the same OS thread */
};

/* How frames are treated, set once before the first mount. */
enum freeze_mode {
    FREEZE_LAZY,  /* copied when the home is needed by another */
    FREEZE_EAGER, /* copied at each yield, verified, the stack poisoned */
    FREEZE_GUARD, /* never copied, made inaccessible while unmounted */
};
extern enum freeze_mode continuation_freeze_mode;

/* Resubmits those who waited for a home, oldest first.  Set once by the
 * floor that passes waiters to continuation_run. */
extern void (*continuation_home_released)(struct stack_waiter *oldest);

/* Counters of the calling OS thread, read by statistics without a lock. */
struct continuation_counts {
    _Atomic uint64_t mounts, freezes, frozen_bytes, home_waits;
};
struct continuation_counts *continuation_counts_self(void);

/* Prepares the engine, once.  0; ENOMEM; ENOTSUP with a shadow stack. */
int continuation_init(unsigned own_limit, unsigned common_count);

/* Makes it NEW.  *c is zero but for what the embedding object put around
 * it.  Blocks and allocates nothing in ordinary builds. */
void continuation_setup(struct continuation *c,
                        const struct continuation_kind *kind);

/* Gives it an own home now, of at least that size.  0 or ENOMEM. */
int continuation_take_own_home(struct continuation *c,
                               size_t stack_size_bytes);

/* Gives back home and chunk; it is not mounted. */
void continuation_teardown(struct continuation *c);

/* Three that are in mount.h, for they are inline:
 *
 * continuation_run mounts c (NEW or UNMOUNTED), lets it go on with *value,
 * and returns when it yields or ends, with what it said in *value.  With
 * RUN_WAITS, RUN_BUSY and RUN_NO_MEMORY nothing has happened; after
 * RUN_WAITS c may be running elsewhere already.
 *
 * continuation_resume does the same after RUN_UNSETTLED.
 *
 * continuation_yield unmounts from the running continuation out to c, which
 * is mounted here; its runner gets value.  Returns what the next run
 * passes. */

/* The first thing on a new stack. */
static inline void continuation_begun(struct continuation *c)
{
    sanitizer_switched(&c->sanitizer);
}

/* Ends the running continuation, which must be c; the runner gets value. */
_Noreturn void continuation_end(struct continuation *c, uintptr_t value);

/* Whether a continuation from `inner` out to c is pinned. */
static inline bool
continuation_chain_is_pinned(const struct continuation *inner,
                             const struct continuation *c)
{
    while (inner != c && inner->pins == 0)
        inner = inner->link;
    return inner->pins > 0;
}

/* The return addresses of c's frames, innermost first, as far as frame
 * pointers lead; c has yielded and its frames are in place, and stay.
 * Returns how many. */
unsigned continuation_walk(const struct continuation *c, uint64_t *addresses,
                           unsigned max);

/* The innermost continuation running on this OS thread, or NULL. */
struct continuation *continuation_current(void);

/* Makes c's common home its own if nobody shares it, and leaves it accessible
 * while c is parked.  c is mounted. */
bool continuation_own_home(struct continuation *c);

/* Whether the address lies in the present frames' range of c's home. */
static inline bool continuation_contains(const struct continuation *c,
                                         const void *address)
{
    return c->home && (const char *)address >= c->home->bottom
           && (const char *)address < c->home->top;
}

/* What somebody sees who does not own it. */
struct continuation_glance {
    uint8_t state;         /* enum continuation_state */
    uint8_t flags;         /* CONTINUATION_* */
    bool has_home;
    bool is_common;        /* the home lies among the common ones; it is its
                              own all the same if the flags say so */
    uint32_t frozen_bytes; /* of its frames, in chunks */
    size_t depth_bytes;    /* of its frames; 0 unless unmounted */
    unsigned waiting;      /* others, for the home that it occupies */
};

/* From any OS thread, at any time, whatever happens to c meanwhile; but the
 * memory at c must stay.  Each value was right at some instant, not all of
 * them at the same; of a c that is set up anew meanwhile anything goes. */
void continuation_glance(const struct continuation *c,
                         struct continuation_glance *glance);

/* Calls fn(argument), behind which an unwinder finds the frames of c, and
 * again for each that was unmounted with it, the innermost first.  Whoever
 * calls has the right to mount c.  False: it has no frames, or the processor
 * no such way. */
bool continuation_unwind(struct continuation *c, void (*fn)(void *argument),
                         void *argument);

/* An OS thread that will run many continuations, and its end. */
void continuation_thread_enter(void);
void continuation_thread_leave(void);

#endif
