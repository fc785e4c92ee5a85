/*
 * descriptor.h - what the process knows of its file descriptors.
 *
 * A record for each number, made at its first use, kept for good.  It says
 * whether the descriptor is registered with the poller, whether it may be
 * ready, and who waits.
 *
 * Readiness is a guess that errs in one direction only: a READY that is
 * clear means that an event will come, or that registering the descriptor
 * will cause one.  So it is cleared only after a system call has shown that
 * nothing is left, and only if no event came since that call was begun: the
 * state counts events.
 */
#ifndef DESCRIPTOR_H
#define DESCRIPTOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "platform/atomics.h"
#include "platform/futex.h"
#include "sync/waitlist.h"
#include "thread.h"

/* Reading or writing; accepting is reading, connecting is writing. */
enum direction { DIRECTION_READ, DIRECTION_WRITE };

/* What is known of the file behind the number. */
enum descriptor_kind {
    KIND_UNKNOWN,  /* nothing: descriptor_set_up comes first */
    /* What is never waited for: */
    KIND_IN_PLACE, /* a directory, a device that cannot be polled */
    KIND_FILE,     /* a regular file, a block device */
    KIND_DIRECT,   /* the same, opened with O_DIRECT */
    /* What is: */
    KIND_TCP,      /* a short read has taken all there is */
    KIND_UNIX,     /* a stream: so it has if no control data came with it */
    KIND_STREAM,   /* a socket of some other stream protocol */
    KIND_OTHER,    /* datagrams, pipes (which may be in packet mode: the
                      reader cannot tell), eventfds, terminals... */
};

/*
 * The state, one word for each direction:
 *
 *      63        32 31       8 7   5 4    2    1       0
 *     | generation | events   |  0  | kind | HANGUP | READY |
 *
 * generation  tells one descriptor of this number from the next
 * events      how many came, modulo 2^24; they only have to differ from
 *             what they were before one system call
 * HANGUP      a short read proves nothing: the end, an error or urgent data
 *             may be behind it
 */
#define STATE_READY 1u
#define STATE_HANGUP 2u
#define STATE_KIND_SHIFT 2
#define STATE_KIND (7u << STATE_KIND_SHIFT)
#define STATE_EVENT 0x100u

/* Field letters: L under the lock, A atomic. One cache line. */
struct descriptor {
    _Atomic uint64_t state[2]; /* A: READY and HANGUP are cleared by anyone
                                  and set under the lock, the rest is L */
    struct os_lock lock;
    _Atomic bool is_registered;  /* L; read as a hint without it */
    struct waitlist waiting[2];  /* L: one for each direction */
    struct watch *watches;       /* L: of vthread_poll */
} __attribute__((aligned(CACHE_LINE)));

/* ---- Records ------------------------------------------------------------ */

/* Block k holds as many records as all blocks before it, and 1,024 more
 * than none: so 22 blocks hold a record for every int. */
#define DESCRIPTOR_BLOCK_SHIFT 10
#define DESCRIPTOR_BLOCKS 22

extern struct descriptor *_Atomic descriptor_blocks[DESCRIPTOR_BLOCKS];

/* The number's place: its block and its index there.  fd is not negative. */
static inline unsigned descriptor_block(int fd, unsigned *index)
{
    unsigned n = (unsigned)fd + (1u << DESCRIPTOR_BLOCK_SHIFT);
    unsigned log = 31 - (unsigned)__builtin_clz(n);
    *index = n - (1u << log);
    return log - DESCRIPTOR_BLOCK_SHIFT;
}

/* The record of a number that is not negative; NULL: there is none yet. */
static inline struct descriptor *descriptor_find(int fd)
{
    unsigned index, number = descriptor_block(fd, &index);
    /* Acquire: the records are zero.  Pairs with add_block. */
    struct descriptor *block = atomic_load_explicit(
        &descriptor_blocks[number], memory_order_acquire);
    return block ? &block[index] : NULL;
}

/* The same, made if need be.  0, EBADF if fd is negative, ENOMEM. */
int descriptor_get(int fd, struct descriptor **d);

/* ---- State -------------------------------------------------------------- */

static inline bool kind_is_in_place(enum descriptor_kind kind)
{
    return kind >= KIND_IN_PLACE && kind <= KIND_DIRECT;
}

/* To be read before the system call that it guards. */
static inline uint64_t descriptor_state(struct descriptor *d,
                                        enum direction direction)
{
    /* Acquire: the call that follows finds what the event told of.  Pairs
     * with make_ready. */
    return atomic_load_explicit(&d->state[direction], memory_order_acquire);
}

static inline uint32_t state_generation(uint64_t state)
{
    return (uint32_t)(state >> 32);
}

static inline enum descriptor_kind state_kind(uint64_t state)
{
    return (enum descriptor_kind)((uint32_t)(state & STATE_KIND)
                                  >> STATE_KIND_SHIFT);
}

/* A system call begun after *state was read has shown that nothing is left:
 * clears the bits if no event came since.  *state becomes the present one
 * in any case. */
static inline void descriptor_clear(struct descriptor *d,
                                    enum direction direction,
                                    uint64_t *state, uint64_t bits)
{
    /* Clearing needs no order: of an event that comes before this in the
     * order of the word the comparison tells, and one that comes after sets
     * the bit again.  Acquire for the case that one came, as in
     * descriptor_state. */
    if (atomic_compare_exchange_strong_explicit(
            &d->state[direction], state, *state & ~bits,
            memory_order_acquire, memory_order_acquire))
        *state &= ~bits;
}

/* Finds out what kind of file it is, and makes it non-blocking if that kind
 * waits.  0, EBADF, or what keeps it from being registered. */
int descriptor_set_up(struct descriptor *d, int fd);

/* The number has just come from the kernel as a non-blocking descriptor of
 * that kind: whatever the record says of it is about an earlier one. */
void descriptor_adopt(int fd, enum descriptor_kind kind);

/* For a descriptor that may have been closed by close(2), and its number
 * reused: what the record says is put to the test, and forgotten if it is
 * about an earlier one; whoever waits for that one gets ECANCELED. */
void descriptor_verify(struct descriptor *d, int fd);

/* Closes it: wakes all that wait for it, which find another generation.
 * 0 or the error of close(2). */
int descriptor_close(int fd);

/* ---- Waiting ------------------------------------------------------------ */

/* Waits until the descriptor of that generation may be ready or is gone.
 * Registers it if it is not.  Cancellable.
 * 0: look again; ETIMEDOUT; ECANCELED: interrupted; EBADF; ENOMEM; ENOSPC. */
int descriptor_wait(struct descriptor *d, int fd, enum direction direction,
                    uint32_t generation, uint64_t deadline_ns);

/* To be called before self waits: 0, or why nobody would poll for it. */
int descriptor_ensure_polled(struct thread *self);

/* An event wakes only the first of those that wait in a direction.  Who has
 * been woken and is done leaves the rest of the readiness to the next. */
void descriptor_pass_on(struct descriptor *d, enum direction direction);

/* Waiting for several descriptors at once: a watcher is called by the first
 * event for one of its watches, once.  Watches are on the heap, for those
 * who call are elsewhere. */
struct poll_watcher {
    struct thread *thread;
    _Atomic bool is_called;  /* A: thread_wake has been or will be called */
    _Atomic bool has_closed; /* A: one of the descriptors was */
};

struct watch {
    struct watch *next, **link; /* L */
    struct descriptor *descriptor;
    struct poll_watcher *watcher;
    unsigned ready; /* POLLER_* it is interested in; HANGUP always is */
};

/* Begins to watch, after descriptor_verify; ends it.  0 (also for what can
 * never be watched: it is always ready, or closed), ENOMEM, ENOSPC... */
int descriptor_watch(struct watch *watch, struct descriptor *d, int fd);
void descriptor_unwatch(struct watch *watch);

/* ---- Polling ------------------------------------------------------------ */

/* Looks for events, waits for the first until deadline_ns (0: does not
 * wait), and wakes the threads concerned: through thread_wake, so what runs
 * on the calling carrier's scheduler lands in its own queue. Returns the
 * number of events. */
int descriptor_poll(uint64_t deadline_ns);

/* Has heard() called, by a carrier that polls, when fd becomes readable; for
 * good.  For descriptors that the library itself reads.  It is also called for
 * those of others: it looks at its own.  0, EMFILE, ENFILE, ENOMEM, ENOSPC. */
int descriptor_listen(int fd, void (*heard)(void));

/* Whether any descriptor has ever been registered: otherwise there is
 * nothing to poll for. */
bool descriptor_any(void);
void descriptor_note_any(void);

/* An event, for the record of its descriptor. */
struct poller_event;
void descriptor_deliver(const struct poller_event *event);

#endif
