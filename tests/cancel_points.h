/*
 * cancel_points.h - points at which a thread may be cancelled, and a thread
 * that goes through them.
 *
 * A point is an operation that has to wait, and a helper that makes it come
 * true once the thread waits.  The thread goes through its points one after
 * the other.  Where it is cancelled it does the same once more with
 * cancellation disabled: what the cancelled wait did not take is there for
 * the next one, so nothing has been lost.  Afterwards the point looks that
 * nothing is left over.
 */
#ifndef TESTS_CANCEL_POINTS_H
#define TESTS_CANCEL_POINTS_H

#include <vthread/barrier.h>
#include <vthread/cancel.h>
#include <vthread/channel.h>
#include <vthread/cond.h>
#include <vthread/future.h>
#include <vthread/io.h>
#include <vthread/latch.h>
#include <vthread/mutex.h>
#include <vthread/once.h>
#include <vthread/rwlock.h>
#include <vthread/scope.h>
#include <vthread/semaphore.h>

#include "tests/cancel_at.h"
#include "tests/descriptors.h"

#define POINTS_MAX 24
#define LARGE_WORDS 8

/* On the heap: the thread may lie on a home that others share.  New for each
 * point. */
struct world {
    vthread_t subject;
    bool is_early;       /* helpers do not wait for the wait */
    int tokens;          /* under the mutex */
    atomic_int is_ready; /* the helper has done what comes before */
    atomic_int passes;
    int calls; /* plain: by once, by the scope */
    vthread_mutex_t mutex;
    vthread_cond_t cond;
    vthread_rwlock_t rwlock;
    vthread_semaphore_t semaphore;
    vthread_barrier_t barrier;
    vthread_latch_t latch;
    vthread_once_t once;
    vthread_future_t futures[2];
    vthread_future_t *all[2];
    vthread_channel_t *channels[2];
    uint64_t sent[LARGE_WORDS], received[LARGE_WORDS];
    vthread_scope_t *scope;
    uint32_t task;
    vthread_t other;
    struct pair pair;
    struct sockaddr_un address;
    int listener, connections[2];
    pid_t child;
    size_t written;
};

struct point {
    const char *name;
    void (*begin)(struct world *w); /* or NULL */
    int (*wait)(struct world *w);
    void (*help)(struct world *w); /* or NULL */
    void (*end)(struct world *w);  /* or NULL: nothing is left over */
};

static inline void until_subject_waits(struct world *w)
{
    if (!w->is_early)
        until_waiting(w->subject);
}

static inline void disable(void) { require(vthread_cancel_disable() == 0); }

static inline void enable(void) { require(vthread_cancel_enable() == 0); }

/* ---- The thread, and its helpers ---------------------------------------- */

/* Which points it goes through, and where it was cancelled. */
struct program {
    const struct point *points;
    unsigned count;
    bool is_early;
    unsigned cancelled[POINTS_MAX]; /* their numbers, from 1 */
    unsigned cancelled_count;
};

struct help {
    const struct point *point;
    struct world *world;
};

static inline void *helps(void *arg)
{
    struct help *help = arg;
    help->point->help(help->world);
    return arg;
}

static inline void join_helper(struct help *help, vthread_t helper)
{
    if (help->point->help)
        require(vthread_join(helper, NULL) == 0);
    free(help);
}

/* Whether it was cancelled.  All but the wait itself is not. */
static inline bool pass(const struct point *point, bool is_early)
{
    struct world *w = calloc(1, sizeof *w);
    struct help *help = malloc(sizeof *help);
    vthread_t helper = 0;
    *help = (struct help){point, w};
    w->subject = vthread_self();
    w->is_early = is_early;
    disable();
    if (point->begin)
        point->begin(w);
    if (point->help)
        helper = start(helps, help);
    enable();
    int err = point->wait(w);
    disable();
    if (err == ECANCELED && point->wait(w) != 0)
        ck_abort_msg("%s: what was cancelled cannot be done", point->name);
    if (err != 0 && err != ECANCELED)
        ck_abort_msg("%s: %s", point->name, strerror(err));
    join_helper(help, helper);
    if (point->end)
        point->end(w);
    enable();
    free(w);
    return err == ECANCELED;
}

static inline void *goes_through_points(void *arg)
{
    struct program *program = arg;
    program->cancelled_count = 0;
    for (unsigned i = 0; i < program->count; i++)
        if (pass(&program->points[i], program->is_early))
            program->cancelled[program->cancelled_count++] = i + 1;
    return arg;
}

/* ---- Looking after each run --------------------------------------------- */

static inline void nobody_is_left(void)
{
    ck_assert_uint_eq(stats_of(vthread_scheduler_default()).threads, 0);
}

static inline void at_most_once(void *arg, unsigned n, void *result)
{
    struct program *program = arg;
    ck_assert_ptr_eq(result, program);
    ck_assert_uint_le(program->cancelled_count, n == 0 ? 0 : 1);
    nobody_is_left();
}

static inline void whenever(void *arg, unsigned n, void *result)
{
    struct program *program = arg;
    ck_assert_ptr_eq(result, program);
    if (n == 0)
        ck_assert_uint_eq(program->cancelled_count, 0);
    nobody_is_left();
}

#define PROGRAM(list, early)                                                   \
    {                                                                          \
        .points = list, .count = COUNT_OF(list), .is_early = early             \
    }

#endif
