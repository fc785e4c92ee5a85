/*
 * cancel_at.h - cancellation at the nth wait, for every n.
 *
 * cancel_at_every_wait runs a function in one thread after the other.  The
 * first is cancelled at its first cancellable wait that has to wait, the
 * second at its second, and so on, until one has run through without having
 * come so far.  After each the caller's own check looks at what is left.
 *
 *     static void *transfer(void *arg) { ... }
 *     static void nothing_is_lost(void *arg, unsigned n, void *result) ...
 *
 *     unsigned waits = cancel_at_every_wait(THREAD_INTERRUPT, transfer, &bank,
 *                                           nothing_is_lost);
 *
 * THREAD_INTERRUPT cancels that one wait, THREAD_CANCEL that and all later
 * ones.  The result is the number of waits in a run that is not cancelled.
 */
#ifndef TESTS_CANCEL_AT_H
#define TESTS_CANCEL_AT_H

#include "tests/threads.h"

struct cancel_at {
    unsigned n;
    uint32_t flag;
    void *(*fn)(void *);
    void *arg;
    bool was_cancelled;
};

static inline void cancel_at_end(void *arg)
{
    struct cancel_at *at = arg;
    uint64_t word;
    struct thread *self = thread_of_handle(vthread_self(), &word);
    at->was_cancelled = !(word & THREAD_COUNTDOWN);
    ck_assert_int_eq(thread_cancel_at_wait(self, 0, 0), 0);
}

static inline void *cancel_at_main(void *arg)
{
    struct cancel_at *at = arg;
    ck_assert_int_eq(vthread_cleanup_push(cancel_at_end, at), 0);
    ck_assert_int_eq(thread_cancel_at_wait(thread_self(), at->n, at->flag), 0);
    return at->fn(at->arg);
}

static inline unsigned
cancel_at_every_wait(uint32_t flag, void *(*fn)(void *), void *arg,
                     void (*check)(void *arg, unsigned n, void *result))
{
    struct cancel_at *at = malloc(sizeof *at);
    *at = (struct cancel_at){.flag = flag, .fn = fn, .arg = arg};
    bool goes_on = true;
    while (goes_on) {
        at->n++;
        void *result = join(start(cancel_at_main, at));
        goes_on = at->was_cancelled;
        check(arg, goes_on ? at->n : 0, result);
    }
    unsigned waits = at->n - 1;
    free(at);
    return waits;
}

#endif
