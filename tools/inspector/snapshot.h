/*
 * snapshot.h - all threads of a process, carriers and scopes, as they were
 * seen.
 *
 * The process is stopped for short times only, so it is not seen at one
 * instant: the carriers are, and each batch of threads is.  What was seen of
 * a thread was so at one instant.
 */
#ifndef SNAPSHOT_H
#define SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "library.h"
#include "stop.h"

struct image;
struct stacks;

enum thread_state {
    STATE_RUNNING,  /* on a carrier, now */
    STATE_CALLING,  /* the same, in a call that may block */
    STATE_PINNED,   /* waits, and its carrier with it */
    STATE_PARKED,   /* waits */
    STATE_RUNNABLE, /* could run, and waits for its turn */
    STATE_NEW,      /* the same, for the first time */
    STATE_ENDED,    /* nobody has joined it yet */
    STATE_PLATFORM, /* an OS thread of the program that uses the library */
    STATE_PLATFORM_WAITS,
    STATES
};

struct seen_thread {
    uint64_t handle;   /* as vthread_self() tells it */
    uint64_t word;
    uint64_t entry;    /* its function; 0: a platform thread */
    uint64_t object;   /* what it waits for, by address; 0 */
    uint64_t scope;    /* that it is a child of; 0 */
    uint64_t created_by; /* where the call that made it returns; 0: not known */
    uint64_t deadline_ns;   /* of its wait, if has_deadline, */
    uint64_t waited_ns;     /* else how long it waits */
    uint32_t holder;   /* number of who has to end the wait; 0 */
    uint32_t stack;    /* STACK_NONE: it has none, or none is known */
    uint32_t depth_bytes, frozen_bytes;
    pid_t os_thread;   /* it runs there; 0 */
    char name[32];
    uint8_t state;     /* enum thread_state */
    uint8_t waits_for; /* as the library has it, if it waits */
    uint8_t list_kind; /* of what it waits at, if it is at a list */
    uint8_t lock_kind; /* of the lock, if it wants_lock: vthread_hold_kind_t */
    uint8_t scheduler;
    uint8_t flags;     /* of its continuation */
    uint8_t pins;
    bool has_home, is_common, has_deadline, waits;
    bool wants_lock;   /* it waits for a tracked lock, in the kernel */
    bool is_native;    /* no thread of the library: see snapshot_locks.c */
};

struct seen_carrier {
    unsigned scheduler, number;
    pid_t os_thread;       /* 0: it has none now */
    uint32_t runs;         /* the number of the thread there; 0 */
    uint64_t thread;       /* and its address */
    uint64_t inner;        /* the continuation that runs inside, or that */
    uint64_t queued;       /* in its queues */
    uint64_t steals;
    bool is_idle, is_polling, is_blocked, is_calling;
};

struct seen_scheduler {
    unsigned number;
    char name[17];
    unsigned parallelism, max_carriers;
};

struct seen_scope {
    uint64_t address;
    uint32_t owner; /* a thread's number */
    uint32_t pending;
    bool is_cancelled;
    char name[32];
};

/* A tracked lock that is held. */
struct seen_hold {
    uint64_t object;
    uint64_t site;  /* the return address of the call that took it */
    uint32_t owner; /* a thread's number */
    uint32_t kind;  /* vthread_hold_kind_t */
    uint32_t count; /* how often it was taken */
};

/* Who waits for one. */
struct seen_want {
    uint64_t object;
    uint64_t waited_ns;
    uint32_t number, kind;
};

struct snapshot {
    const struct image *image;
    struct library library;
    struct stop stop;
    struct stacks *stacks; /* NULL: stacks are not wanted */
    uint64_t taken_ns;     /* on the clock of deadlines; 0: not known */
    bool is_incomplete;    /* some of it could not be read */

    struct seen_thread *threads; /* by number */
    size_t thread_count, thread_capacity;
    struct seen_carrier *carriers;
    size_t carrier_count, carrier_capacity;
    struct seen_scheduler *schedulers;
    size_t scheduler_count, scheduler_capacity;
    struct seen_scope *scopes;
    size_t scope_count, scope_capacity;
    struct seen_hold *holds; /* as they were in the last slice */
    size_t hold_count, hold_capacity;
    struct seen_want *wants;
    size_t want_count, want_capacity;
    bool are_locks_tracked;  /* those of pthreads */

    struct memory *memory; /* what has been read before: snapshot.c */
};

/* How long a process is kept stopped before it is let go: a batch that has
 * been begun is finished. */
#define SNAPSHOT_SLICE_NS UINT64_C(5000000)

/* Takes it.  `stop` and `library` have been opened; `stacks` may be NULL.
 * STATUS_FINE, or a status and a complaint. */
int snapshot_take(struct snapshot *snapshot);
void snapshot_free(struct snapshot *snapshot);

/* The thread of that number, or NULL. */
const struct seen_thread *snapshot_thread(const struct snapshot *snapshot,
                                          uint32_t number);

static inline uint32_t snapshot_number(const struct seen_thread *t)
{
    return (uint32_t)t->handle;
}

/* ---- Inside ------------------------------------------------------------- */

/* One more element, zero; ends the tool without memory. */
void *snapshot_grow(void **array, size_t *count, size_t *capacity,
                    size_t size_bytes);

/* snapshot_carriers.c: schedulers and carriers as they are now. */
void snapshot_read_carriers(struct snapshot *snapshot);
/* The carrier that has that thread mounted, or NULL. */
const struct seen_carrier *
snapshot_carrier_of(const struct snapshot *snapshot, uint64_t thread);

/* snapshot_waits.c: what the thread waits for, from a copy of its object and
 * 16 bytes of memory before the middle of which the list begins (NULL: they
 * could not be read). */
void snapshot_read_wait(const struct snapshot *snapshot,
                        struct seen_thread *t, const void *object,
                        const void *around_list);
/* The number of the thread at that address; 0: that is none. */
uint32_t snapshot_number_at(const struct snapshot *snapshot,
                            uint64_t address);

/* How long ago that was, on the library's clock for notes. */
uint64_t snapshot_since(const struct snapshot *snapshot, uint32_t ticks);

/* snapshot_locks.c: with the process stopped, who holds and wants locks. */
void snapshot_read_locks(struct snapshot *snapshot);
/* What the thread of that number wants, or NULL; and who has it, or 0. */
const struct seen_want *snapshot_want_of(const struct snapshot *snapshot,
                                         uint32_t number);
uint32_t snapshot_holder_of(const struct snapshot *snapshot,
                            const struct seen_want *want);
void snapshot_take_want(const struct snapshot *snapshot,
                        struct seen_thread *t, const struct seen_want *want);
/* Those who hold and want locks, and are no threads of the library: with the
 * process stopped, and with it let go. */
struct natives;
struct natives *snapshot_see_natives(struct snapshot *snapshot);
void snapshot_take_natives(struct snapshot *snapshot, struct natives *natives);

/* snapshot_batch.c */
struct batch;
struct batch *batch_open(struct snapshot *snapshot);
void batch_close(struct batch *batch);
/* With the process stopped: reads threads from that number on; returns the
 * first that it has not read. */
uint32_t batch_read(struct batch *batch, uint32_t number, uint32_t end);
/* With the process let go: makes of them what the snapshot has. */
void batch_take(struct batch *batch);

#endif
