/*
 * pin.h - episodes: waits of pinned threads, from the wait to the record.
 *
 *   pin_note    the thread, on its own stack, is about to wait: where
 *   pin_begin   its carrier, on its native stack: why, holding what
 *   pin_end     the same, after the wait: how long, and what it cost others
 */
#ifndef INSPECT_PIN_H
#define INSPECT_PIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "inspect/held.h"

struct local;
struct thread;

/* Those who want episodes: the reports, a function, streams. */
extern __attribute__((visibility("hidden"))) _Atomic uint32_t pin_listeners;

static inline bool pin_is_on(void)
{
    /* Relaxed: who begins to listen gets what begins some time later. */
    return atomic_load_explicit(&pin_listeners, memory_order_relaxed) > 0;
}

/* One more, one less.  False with VTHREAD_PIN=off. */
bool pin_listen(void);
void pin_listen_no_more(void);

/* What VTHREAD_PIN asks for begins.  Once, when the first scheduler starts. */
void pin_start(void);

void pin_note(void);
void pin_note_lock(struct held *held, const void *lock,
                   vthread_hold_kind_t kind);

enum pin_cause {
    PIN_WAITS,          /* as any thread does */
    PIN_WAITS_FOR_LOCK, /* in vthread_lock_wait: that alone is no episode */
    PIN_HAS_NO_MEMORY,  /* its frames could not leave the stack */
};
void pin_begin(struct local *here, struct thread *t, enum pin_cause cause);
void pin_end(struct local *here);

/* Whether somebody tracks locks. */
extern __attribute__((visibility("hidden"))) _Atomic bool pin_tracks_locks;
bool pin_locks_are_tracked(void);

/* What a thread waited for, from outside: nothing that wait_on leads to need
 * be there any more. */
void pin_look_at_wait(struct thread *t, struct vthread_pin_episode *episode);

#endif
