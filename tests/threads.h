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

static inline vthread_t start_attr(vthread_attr_t attr, void *(*fn)(void *),
                            void *arg)
{
    vthread_t t = 0;
    ck_assert_int_eq(vthread_create(&t, &attr, fn, arg), 0);
    ck_assert_uint_ne(t, 0);
    return t;
}

static inline vthread_t start_on(vthread_scheduler_t *s, void *(*fn)(void *),
                          void *arg)
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

/* As the trail of continuation_test: what happened. */
static __attribute__((unused)) char trail[64];

static inline void step(char letter)
{
    size_t n = strlen(trail);
    ck_assert_uint_lt(n + 1, sizeof trail);
    trail[n] = letter;
    trail[n + 1] = '\0';
}

static inline void *pointer(uintptr_t n)
{
    return (void *)n;
}

static inline void *return_argument(void *arg)
{
    return arg;
}

static inline void *park_once(void *arg)
{
    (void)arg;
    return pointer((uintptr_t)vthread_park());
}

/* The same claim for both kinds of thread. */
static inline void on_both_kinds(void *(*claims)(void *))
{
    pthread_t p;
    join(start(claims, NULL));
    ck_assert_int_eq(pthread_create(&p, NULL, claims, NULL), 0);
    pthread_join(p, NULL);
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

static inline vthread_t start_platform(struct platform_parker *p,
                                void *(*fn)(void *))
{
    atomic_store(&p->handle, 0);
    ck_assert_int_eq(pthread_create(&p->pthread, NULL, fn, p), 0);
    while (!atomic_load(&p->handle))
        sched_yield();
    return p->handle;
}

/* For a test that uses the trail. */
static inline void forget_the_trail(void)
{
    memset(trail, 0, sizeof trail);
}

static inline TCase *new_case(Suite *suite, const char *name)
{
    TCase *cases = tcase_create(name);
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, forget_the_trail, NULL);
    suite_add_tcase(suite, cases);
    return cases;
}

#endif
