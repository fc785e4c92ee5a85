/*
 * channel.h - a channel, between channel.c and select.c.
 *
 * Both sides of it have waiters of two kinds: threads, which wait for this
 * channel only, and nodes of selects.  A waiter has a slot of one word:
 * the value itself if it fits, else the address where the value is or
 * belongs.  It is thread->deadline_ns of a thread, whose wait has none, and
 * node->slot of a node.
 */
#ifndef CHANNEL_H
#define CHANNEL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#include <vthread/channel.h>

#include "escape.h"
#include "platform/spin.h"
#include "sync/multiwait.h"
#include "sync/waitlist.h"

#define SLOT_BYTES sizeof(void *)

/* Those who wait to send or to receive. */
struct channel_side {
    struct waitlist threads;
    struct multiwait_list nodes;
};

/* Field letters: I set at the creation, L under the lock. */
struct vthread_channel {
    struct spin_lock lock;
    bool is_closed;            /* L */
    bool nodes_turn[2];        /* L: where both kinds wait, nodes are next */
    size_t element_bytes;      /* I */
    size_t capacity;           /* I: in values */
    size_t length;             /* L: values in the buffer, */
    size_t first;              /* L: and the place of the oldest */
    struct channel_side sides[2]; /* L: indexed by what they want to do */
    unsigned char values[];    /* L: capacity * element_bytes */
};

/* A waiter that was taken out: the caller owes it its value, an outcome and,
 * after that, a thread_wake. */
struct channel_peer {
    struct thread *thread; /* NULL: nobody waits */
    void *slot;            /* the address of the word */
    uint32_t *outcome;
};

/* Under the lock.  0 when done: then *wake, if not NULL, is to be woken
 * after the lock is released.  EPIPE, or EAGAIN: the caller would have to
 * wait; then nothing has happened. */
int channel_put(struct vthread_channel *c, const void *value,
                struct thread **wake);
int channel_get(struct vthread_channel *c, void *value, struct thread **wake);

/* Whether values of the channel fit a slot. */
static inline bool channel_fits_slot(const struct vthread_channel *c)
{
    return c->element_bytes <= SLOT_BYTES;
}

/* A value from one place to another. */
static inline void channel_copy(const struct vthread_channel *c, void *to,
                                const void *from)
{
    if (likely(c->element_bytes == SLOT_BYTES))
        __builtin_memcpy(to, from, SLOT_BYTES);
    else if (c->element_bytes != 0)
        __builtin_memcpy(to, from, c->element_bytes);
}

/* 0; EINVAL where there must be a value and is none; EFAULT where it is an
 * address on a stack that others use; ENOMEM if self is NULL. */
static inline int channel_check_send(const struct vthread_channel *c,
                                     const void *value,
                                     const struct thread *self,
                                     const char *function)
{
    void *word;
    if (unlikely(!self))
        return ENOMEM;
    if (unlikely(!value && c->element_bytes != 0))
        return EINVAL;
    if (c->element_bytes != SLOT_BYTES)
        return 0;
    __builtin_memcpy(&word, value, sizeof word);
    return unlikely(escape_is_suspect(self, word))
               ? escape_check(word, function)
               : 0;
}

static inline int channel_check_receive(const struct vthread_channel *c,
                                        const void *value,
                                        const struct thread *self)
{
    if (unlikely(!self))
        return ENOMEM;
    return unlikely(!value && c->element_bytes != 0) ? EINVAL : 0;
}

#endif
