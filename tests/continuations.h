/*
 * continuations.h - what the tests of bare continuations share.
 */
#ifndef TESTS_CONTINUATIONS_H
#define TESTS_CONTINUATIONS_H

#include <pthread.h>
#include <semaphore.h>

#include <vthread.h>

#include "tests/trail.h"

typedef vthread_continuation_t cont;

static const char scope_a[] __attribute__((unused)) = "A",
                  scope_b[] __attribute__((unused)) = "B";

static inline cont *make_attr(const vthread_continuation_attr_t *attr,
                              void (*fn)(void *), void *arg)
{
    cont *c = NULL;
    ck_assert_int_eq(vthread_continuation_create(&c, attr, fn, arg), 0);
    ck_assert_ptr_nonnull(c);
    return c;
}

static inline cont *make(const void *scope, void (*fn)(void *), void *arg)
{
    vthread_continuation_attr_t attr = {.scope = scope};
    return make_attr(&attr, fn, arg);
}

static inline int run(cont *c)
{
    return vthread_continuation_run(c);
}

static inline int yield_to(const void *scope)
{
    return vthread_continuation_yield(scope);
}

static inline bool done(cont *c)
{
    return vthread_continuation_is_done(c);
}

/* Runs it to its end, at most `limit` times; returns how often. */
static inline int run_out(cont *c, int limit)
{
    int runs = 0;
    while (!done(c) && runs < limit) {
        ck_assert_int_eq(run(c), 0);
        runs++;
    }
    ck_assert(done(c));
    return runs;
}

static inline void destroy(cont *c)
{
    ck_assert_int_eq(vthread_continuation_destroy(c), 0);
}

/* Runs fn(arg) on an OS thread of its own, to the end. */
static inline void elsewhere(void *(*fn)(void *), void *arg)
{
    pthread_t t;
    ck_assert_int_eq(pthread_create(&t, NULL, fn, arg), 0);
    ck_assert_int_eq(pthread_join(t, NULL), 0);
}

static inline void *run_elsewhere(void *c)
{
    ck_assert_int_eq(run(c), 0);
    return NULL;
}

/* More than there are common homes, so that some share one. */
#define CROWD 700

static __attribute__((unused)) cont *crowd[CROWD];

static inline void yields_once(void *arg)
{
    (void)arg;
    ck_assert_int_eq(yield_to(scope_a), 0);
}

/* Mounted until it is told to go on. */
static __attribute__((unused)) sem_t inside, go_on;

static inline void stays(void *arg)
{
    (void)arg;
    sem_post(&inside);
    sem_wait(&go_on);
    ck_assert_int_eq(yield_to(scope_a), 0);
    step('!');
}

/* On an OS thread of its own; it is mounted there on return. */
static inline pthread_t start_to_stay(cont *c)
{
    pthread_t t;
    sem_init(&inside, 0, 0);
    sem_init(&go_on, 0, 0);
    ck_assert_int_eq(pthread_create(&t, NULL, run_elsewhere, c), 0);
    sem_wait(&inside);
    return t;
}

#endif
