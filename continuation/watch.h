/*
 * watch.h - those who look on as continuations are mounted and unmounted: a
 * recorder, a collector, a language that keeps state for each OS thread.
 *
 * While nobody does, a mount pays two loads and branches for it.
 */
#ifndef CONTINUATION_WATCH_H
#define CONTINUATION_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "platform/atomics.h"

struct continuation;

/* One watcher of each kind at most. */
enum watch_kind {
    WATCH_TRACE,
    WATCH_GC,
    WATCH_WORLD,
    WATCH_EMBED,
    WATCH_KINDS,
};

/*
 * Both are called by the OS thread that runs c, on the stack that it runs c
 * from; they may not wait, nor run continuations.
 *
 *   mounting   c's home is claimed and its frames are in place; the switch
 *              is next.  In the order of the kinds
 *   unmounted  c has left its stack, by a yield or for good (its state tells
 *              which), and still has its home.  In the reverse order
 *
 * Of continuations inside others the outermost counts, when a carrier runs
 * it, and each that is run inside of another by itself.
 *
 * Two more for bare continuations, on the stack of the innermost; NULL: not
 * wanted.
 *
 *   leaving    c yields or ends; the switch to what runs it is next
 *   arrived    c goes on, or begins
 *
 * And two around all that changes c, or copies anybody's frames; perhaps twice
 * before one mount.
 *
 *   claiming   c is about to be claimed, or mounted
 *   settled    nothing of c is touched any more; not where nothing had to be
 *              claimed: then `unmounted` is the last
 */
struct watcher {
    void (*mounting)(struct continuation *c);
    void (*unmounted)(struct continuation *c);
    void (*leaving)(struct continuation *c);
    void (*arrived)(struct continuation *c);
    void (*claiming)(void);
    void (*settled)(void);
};

/*
 * Begins and ends one kind, from any OS thread.  The watcher stays where it
 * is for good: an OS thread may be in it when watch_end returns.  What is
 * mounted at the time is seen half: its end without its beginning, or the
 * beginning without the end.
 */
void watch_begin(enum watch_kind kind, const struct watcher *watcher);
void watch_end(enum watch_kind kind);

/* A bit for each kind that is on; and above these, a bit for each of them that
 * is told of claims. */
extern __attribute__((visibility("hidden"))) _Atomic uint32_t watch_bits;

/* Relaxed: who acts on it looks at the watcher by an acquire. */
static inline uint32_t watch_now(void)
{
    return atomic_load_explicit(&watch_bits, memory_order_relaxed);
}

static inline bool watch_any(void)
{
    return unlikely(watch_now() != 0);
}

static inline bool watch_is_on(enum watch_kind kind)
{
    return unlikely(watch_now() >> kind & 1);
}

/* Whether that one is on, and no other. */
static inline bool watch_is_alone(enum watch_kind kind)
{
    return watch_now() == 1u << kind;
}

/* Whether watch_claiming and watch_settled have somebody to tell, as
 * watch_now() was. */
static inline bool watch_tells_claims(uint32_t bits)
{
    return unlikely(bits >> WATCH_KINDS != 0);
}

/* Calls all that are on. */
void watch_mounting(struct continuation *c);
void watch_unmounted(struct continuation *c);
void watch_leaving(struct continuation *c);
void watch_arrived(struct continuation *c);
void watch_claiming(void);
void watch_settled(void);

/* One of them, or NULL: for who changes the stack without a mount. */
const struct watcher *watch_of(enum watch_kind kind);

#endif
