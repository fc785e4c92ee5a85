/*
 * deadlocks.h - what the tests of deadlocks share.
 *
 * Each case is a child process, which has the library to itself and does not
 * use check.  Where nothing must be told a thread that the look does not count
 * watches: when all that are to wait have been seen waiting, and monitors have
 * looked for a deadlock after that, the child ends well.
 */
#ifndef TESTS_DEADLOCKS_H
#define TESTS_DEADLOCKS_H

#include "inspect/deadlock.h"
#include "platform/os_thread.h"
#include "tests/threads.h"

enum { STATUS_TOLD = 2, STATUS_WRONG = 3, WATCHED_MAX = 16 };

static char text[1 << 16];

/* In a child: the claim does not hold. */
#define expect(claim)                                                        \
    do {                                                                     \
        if (!(claim)) {                                                      \
            fprintf(stderr, "line %d: not so: %s\n", __LINE__, #claim);      \
            _exit(STATUS_WRONG);                                             \
        }                                                                    \
    } while (0)

/* In a forked child TSan may have more threads of its own than elsewhere;
 * all of them are there when a first thread is. */
static inline void *count_others(void *arg)
{
    deadlock_test.os_threads = os_thread_count() - 2;
    return arg;
}

static void (*child)(void);

static inline void run_child(void)
{
#if defined __SANITIZE_THREAD__
    pthread_t p;
    expect(pthread_create(&p, NULL, count_others, NULL) == 0);
    expect(pthread_join(p, NULL) == 0);
#endif
    child();
}

static inline int status_of(void (*fn)(void))
{
    child = fn;
    return end_of_child(run_child, text, sizeof text);
}

static inline void ends_with(void (*fn)(void), int expected)
{
    int status = status_of(fn);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == expected,
                  "ended with status %#x, saying:\n%.4000s", status, text);
}

static inline void said(const char *words)
{
    ck_assert_msg(strstr(text, words) != NULL,
                  "\"%s\" is not in:\n%.4000s", words, text);
}

static inline unsigned times_said(const char *words)
{
    unsigned count = 0;
    for (const char *p = text; (p = strstr(p, words)) != NULL; p++)
        count++;
    return count;
}

static inline void is_told(void (*fn)(void))
{
    ends_with(fn, STATUS_TOLD);
    said("vthread: deadlock: all ");
    said("nothing is left that could wake one");
}

static inline void is_not_told(void (*fn)(void))
{
    ends_with(fn, 0);
    ck_assert_msg(times_said("deadlock") == 0, "said:\n%.4000s", text);
}

/* ---- In the child ------------------------------------------------------- */

static inline vthread_t child_start(const char *name, void *(*fn)(void *),
                                    void *arg)
{
    vthread_t t;
    vthread_attr_t attr = {.name = name};
    expect(vthread_create(&t, &attr, fn, arg) == 0);
    return t;
}

static inline void child_pthread(void *(*fn)(void *))
{
    pthread_t p;
    expect(pthread_create(&p, NULL, fn, NULL) == 0);
}

static inline void *parks_for_ever(void *arg)
{
    for (;;)
        vthread_park();
    return arg;
}

static inline void *pauses_for_ever(void *arg)
{
    for (;;)
        pause();
    return arg;
}

static _Atomic vthread_t watched[WATCHED_MAX];
static atomic_uint watched_count;

static inline void watch(vthread_t t)
{
    watched[watched_count] = t;
    watched_count++;
}

static inline bool do_watched_wait(void)
{
    for (unsigned i = 0; i < watched_count; i++)
        if (!(word_of(watched[i]) & (THREAD_PARKED | THREAD_WAITING)))
            return false;
    return true;
}

/* One whole look lies between two that have ended. */
static inline void *watches(void *arg)
{
    uint64_t since = 0;
    for (;;) {
        uint64_t looks = deadlock_test.looks;
        if (!do_watched_wait())
            since = 0;
        else if (since == 0)
            since = looks + 1;
        else if (looks > since + 1)
            _exit(0);
        usleep(1000);
    }
    return arg;
}

/* Ends the child well when those that are watched wait and monitors have
 * looked. */
static inline void begin_watching(void)
{
    deadlock_test.is_restless = true;
    deadlock_test.os_threads++;
    child_pthread(watches);
}

/* Main, and a thread that parks for ever, wait; with `other` besides. */
static inline void wait_with_parker(vthread_t other)
{
    vthread_t parker = child_start("parker", parks_for_ever, NULL);
    watch(parker);
    watch(vthread_self());
    if (other)
        watch(other);
    begin_watching();
    vthread_join(parker, NULL);
}

static inline void joins_a_parker(void)
{
    vthread_join(child_start("parker", parks_for_ever, NULL), NULL);
}

#endif
