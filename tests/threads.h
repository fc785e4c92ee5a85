/*
 * threads.h - starting threads, and meeting them by state: for the tests of
 * everything above the engine.
 */
#ifndef TESTS_THREADS_H
#define TESTS_THREADS_H

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vthread.h>

#include "tests/support.h"
#include "thread.h"

static inline long os_thread(void)
{
    return syscall(SYS_gettid);
}

static inline vthread_scheduler_t *scheduler_of(unsigned parallelism)
{
    vthread_scheduler_t *s = NULL;
    vthread_scheduler_attr_t attr = {.parallelism = parallelism};
    ck_assert_int_eq(vthread_scheduler_create(&s, &attr), 0);
    return s;
}

static inline void shut_down(vthread_scheduler_t *s)
{
    ck_assert_int_eq(vthread_scheduler_shutdown(s, VTHREAD_NEVER), 0);
}

static inline vthread_scheduler_stats_t stats_of(vthread_scheduler_t *s)
{
    vthread_scheduler_stats_t stats;
    ck_assert_int_eq(vthread_scheduler_stats(s, &stats), 0);
    return stats;
}

static inline vthread_t start_attr(vthread_attr_t attr,
                                   void *(*fn)(void *), void *arg)
{
    vthread_t t = 0;
    ck_assert_int_eq(vthread_create(&t, &attr, fn, arg), 0);
    ck_assert_uint_ne(t, 0);
    return t;
}

static inline vthread_t start_on(vthread_scheduler_t *s,
                                 void *(*fn)(void *), void *arg)
{
    return start_attr((vthread_attr_t){.scheduler = s}, fn, arg);
}

static inline vthread_t start(void *(*fn)(void *), void *arg)
{
    return start_on(NULL, fn, arg);
}

static inline void *join(vthread_t t)
{
    void *result = NULL;
    ck_assert_int_eq(vthread_join(t, &result), 0);
    return result;
}

static inline uint64_t word_of(vthread_t t)
{
    uint64_t word;
    return thread_of_handle(t, &word) ? word : THREAD_DONE;
}

/* Until the thread waits (or has ended). */
static inline void until_waiting(vthread_t t)
{
    while (!(word_of(t) & (THREAD_PARKED | THREAD_WAITING | THREAD_DONE)))
        vthread_yield();
}

static inline void until_ended(vthread_t t)
{
    while (!(word_of(t) & THREAD_DONE))
        vthread_yield();
}

static inline void until(atomic_int *flag)
{
    while (!atomic_load(flag))
        vthread_yield();
}

static inline void *pointer(uintptr_t n)
{
    return (void *)n;
}

static inline void *return_argument(void *arg)
{
    return arg;
}

static inline void *sleeps_a_moment(void *arg)
{
    vthread_sleep(300 * VTHREAD_US);
    return arg;
}

static inline void *park_once(void *arg)
{
    (void)arg;
    return pointer((uintptr_t)vthread_park());
}

static inline pthread_t start_platform(void *(*fn)(void *), void *arg)
{
    pthread_t t;
    ck_assert_int_eq(pthread_create(&t, NULL, fn, arg), 0);
    return t;
}

static inline void *join_platform(pthread_t t)
{
    void *result;
    ck_assert_int_eq(pthread_join(t, &result), 0);
    return result;
}

/* The same claim for both kinds of thread. */
static inline void on_both_kinds(void *(*claims)(void *))
{
    join(start(claims, NULL));
    join_platform(start_platform(claims, NULL));
    claims(NULL);
}

/* A platform thread that says who it is and parks. */
struct platform_parker {
    pthread_t pthread;
    _Atomic vthread_t handle;
    int result;
};

static inline void *platform_parks(void *arg)
{
    struct platform_parker *p = arg;
    atomic_store(&p->handle, vthread_self());
    p->result = vthread_park();
    return NULL;
}

static inline vthread_t start_parker(struct platform_parker *p,
                                     void *(*fn)(void *))
{
    atomic_store(&p->handle, 0);
    p->pthread = start_platform(fn, p);
    while (!atomic_load(&p->handle))
        sched_yield();
    return p->handle;
}

#endif
