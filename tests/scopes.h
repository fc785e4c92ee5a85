/*
 * scopes.h - what the tests of scopes share: opening them, and children that
 * double a number, fail, or park until they are cancelled.
 */
#ifndef TESTS_SCOPES_H
#define TESTS_SCOPES_H

#include <errno.h>
#include <pthread.h>

#include "tests/threads.h"

/* For children: says nothing while it holds. */
#define require(claim)                                                       \
    ((claim) ? (void)0                                                       \
             : ck_abort_msg("%s:%d: %s", __FILE__, __LINE__, #claim))

static inline vthread_scope_t *open_attr(vthread_scope_attr_t attr)
{
    vthread_scope_t *s = NULL;
    require(vthread_scope_open(&s, &attr) == 0);
    return s;
}

static inline vthread_scope_t *open_policy(enum vthread_scope_policy policy)
{
    return open_attr((vthread_scope_attr_t){.policy = policy});
}

static inline vthread_scope_t *open_scope(void)
{
    return open_policy(VTHREAD_SCOPE_ALL);
}

static inline void close_scope(vthread_scope_t *s)
{
    require(vthread_scope_close(s) == 0);
}

/* A child that is given a number and returns one. */
typedef int child_fn(const void *args, void *result);

static inline uint32_t fork_number(vthread_scope_t *s, child_fn *fn,
                                   int64_t number)
{
    uint32_t task = VTHREAD_SCOPE_NO_TASK;
    require(vthread_scope_fork(s, &task, fn, &number, sizeof number,
                               sizeof number)
            == 0);
    return task;
}

static inline int64_t result_of(vthread_scope_t *s, uint32_t task)
{
    int64_t result;
    require(vthread_scope_result(s, task, &result, sizeof result) == 0);
    return result;
}

static __attribute__((unused)) atomic_int running, ended;

static inline void ends(void *arg)
{
    (void)arg;
    atomic_fetch_add(&ended, 1);
}

static inline int doubles(const void *args, void *result)
{
    *(int64_t *)result = 2 * *(const int64_t *)args;
    return 0;
}

static inline int fails(const void *args, void *result)
{
    (void)result;
    return (int)*(const int64_t *)args;
}

/* Until it is cancelled. */
static inline int parks(const void *args, void *result)
{
    (void)args, (void)result;
    require(vthread_cleanup_push(ends, NULL) == 0);
    atomic_fetch_add(&running, 1);
    int err;
    while ((err = vthread_park()) == 0)
        continue;
    return err;
}

static inline void until_running(int count)
{
    while (atomic_load(&running) < count)
        vthread_yield();
}

static inline void start_counting(void)
{
    atomic_store(&running, 0);
    atomic_store(&ended, 0);
}

static inline int has_nothing(const void *args, void *result)
{
    return args || result ? EINVAL : 0;
}

/* Opens a scope of its own, so many levels down, and waits in its join; on
 * each level one child parks besides. */
static inline int nests(const void *args, void *result)
{
    int64_t depth = *(const int64_t *)args;
    if (depth == 0)
        return parks(args, result);
    vthread_scope_t *s = open_scope();
    int err = vthread_scope_fork(s, NULL, parks, NULL, 0, 0);
    depth--;
    if (err == 0)
        err = vthread_scope_fork(s, NULL, nests, &depth, sizeof depth, 0);
    require(err == 0 || err == ECANCELED);
    err = vthread_scope_join(s);
    close_scope(s);
    return err;
}

#endif
