/*
 * mutexes.h - what the tests of mutexes share.
 */
#ifndef TESTS_MUTEXES_H
#define TESTS_MUTEXES_H

#include <errno.h>

#include "sync/mutex.h"
#include "tests/threads.h"
#include "tests/trail.h"

static vthread_mutex_t mutex;

static inline void lock(vthread_mutex_t *m)
{
    ck_assert_int_eq(vthread_mutex_lock(m), 0);
}

static inline void unlock(vthread_mutex_t *m)
{
    ck_assert_int_eq(vthread_mutex_unlock(m), 0);
}

static inline void expect_free(vthread_mutex_t *m)
{
    ck_assert_uint_eq(m->word, 0);
    ck_assert_uint_eq(m->waiting[0], 0);
    ck_assert_uint_eq(m->depth, 0);
}

/* Who waits for the mutex, waits in its list. */
static inline void until_in_list(vthread_t t)
{
    uint64_t word;
    until_waiting(t);
    ck_assert_ptr_eq(thread_of_handle(t, &word)->wait_on, &mutex.waiting);
}

static inline void *locks_steps_unlocks(void *letter)
{
    lock(&mutex);
    step((char)(uintptr_t)letter);
    unlock(&mutex);
    return NULL;
}

static inline void *locks_until(void *deadline)
{
    int err = vthread_mutex_lock_until(&mutex, *(uint64_t *)deadline);
    if (err == 0)
        unlock(&mutex);
    return pointer((uintptr_t)err);
}

static inline void forget_the_mutex(void)
{
    memset(&mutex, 0, sizeof mutex);
}

static inline TCase *new_mutex_case(Suite *suite, const char *name)
{
    TCase *cases = new_trail_case(suite, name);
    tcase_add_checked_fixture(cases, forget_the_mutex, NULL);
    return cases;
}

#endif
