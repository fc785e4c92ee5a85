/*
 * support.h - what all tests share: modes from the environment, child
 * processes, cases and the main function.
 */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <check.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined HAVE_VALGRIND_MEMCHECK_H
#include <valgrind/valgrind.h>
#endif

#include "platform/sanitizer.h"

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define UNDER_SANITIZER 1
#else
#define UNDER_SANITIZER 0
#endif

/* After so many seconds something hangs.  Much more than anything takes: the
 * machine may have other things to do. */
#define PATIENCE_S 300

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* ---- Claims that hold --------------------------------------------------- */

/* check writes down where a claim stands each time that it holds, by a system
 * call under a lock.  That was half of what the tests took, and it put threads
 * in order that are there to race.  So it is done the first time only: the
 * place that check names when a test dies or hangs is the one that was reached
 * last for the first time. */
static inline void mark_first_time(atomic_bool *is_marked, const char *file,
                                   int line)
{
    /* Relaxed: nothing hangs on it, and twice does no harm. */
    if (atomic_load_explicit(is_marked, memory_order_relaxed))
        return;
    atomic_store_explicit(is_marked, true, memory_order_relaxed);
    _mark_point(file, line);
}

#define _mark_point(file, line)                                               \
    __extension__({                                                           \
        static atomic_bool is_marked;                                         \
        mark_first_time(&is_marked, file, line);                              \
    })

/* ---- The environment ---------------------------------------------------- */

static inline uint64_t number_from(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

/* How often something is done to meet what is rare: as often as make check
 * has the time for, or as check-stress has, which sets STRESS. */
static inline unsigned how_often(unsigned usual, unsigned stress)
{
    return number_from("STRESS", 0) > 0 ? stress : usual;
}

/* A mode of the library, unless the environment asks for another.  To be
 * called before its first use: in a test of its own process. */
static inline void set_mode(const char *variable, const char *value)
{
    setenv(variable, value, 0);
}

static inline bool mode_is(const char *variable, const char *value)
{
    const char *text = getenv(variable);
    return text && strcmp(text, value) == 0;
}

/* Whether each test has a process of its own. */
static inline bool tests_fork(void)
{
    return !mode_is("CK_FORK", "no");
}

/* ---- Valgrind ----------------------------------------------------------- */

/* Between the two this thread makes errors on purpose. */
static inline void begin_meant_errors(void)
{
#if defined HAVE_VALGRIND_MEMCHECK_H
    VALGRIND_DISABLE_ERROR_REPORTING;
#endif
}

static inline void end_meant_errors(void)
{
#if defined HAVE_VALGRIND_MEMCHECK_H
    VALGRIND_ENABLE_ERROR_REPORTING;
#endif
}

/* ---- Child processes ---------------------------------------------------- */

/* Runs fn in a child and returns how it ended, as waitpid tells; text gets
 * what it wrote to standard error. */
static inline int end_of_child(void (*fn)(void), char *text,
                               size_t size_bytes)
{
    int ends[2], status;
    size_t length = 0;
    ssize_t size;

    ck_assert_int_eq(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        signal(SIGALRM, SIG_DFL); /* check's would kill the test instead */
        alarm(PATIENCE_S);
        fn();
        _exit(0);
    }
    close(ends[1]);
    while (length + 1 < size_bytes
           && (size = read(ends[0], text + length, size_bytes - 1 - length))
                  > 0)
        length += (size_t)size;
    text[length] = '\0';
    close(ends[0]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return status;
}

/* ---- Cases and the main function ---------------------------------------- */

static inline TCase *new_case(Suite *suite, const char *name)
{
    TCase *cases = tcase_create(name);
    tcase_set_timeout(cases, PATIENCE_S);
    suite_add_tcase(suite, cases);
    return cases;
}

static inline int run_suite(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#endif
