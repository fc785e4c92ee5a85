/*
 * children.h - faults that are made in child processes.
 *
 * A child has the library to itself; the claim is about how it ends and what
 * it says.  Children do not use check: they exit, or abort.
 */
#ifndef TESTS_CHILDREN_H
#define TESTS_CHILDREN_H

#include <signal.h>

#include "tests/threads.h"

/* What the last one said. */
static char text[1 << 16];

/* In a child: the claim does not hold. */
#define expect(claim)                                                        \
    do {                                                                     \
        if (!(claim)) {                                                      \
            fprintf(stderr, "line %d: not so: %s\n", __LINE__, #claim);      \
            _exit(1);                                                        \
        }                                                                    \
    } while (0)

static inline void ends_well(void (*fn)(void))
{
    int status = end_of_child(fn, text, sizeof text);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
                  "ended with status %#x, saying:\n%.2000s", status, text);
}

static inline void aborts(void (*fn)(void))
{
    int status = end_of_child(fn, text, sizeof text);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
                  "ended with status %#x, saying:\n%.2000s", status, text);
}

static inline void said(const char *words)
{
    ck_assert_msg(strstr(text, words) != NULL,
                  "\"%s\" is not in:\n%.2000s", words, text);
}

/* As `start`, in a child. */
static inline vthread_t child_start(const char *name, void *(*fn)(void *),
                                    void *arg)
{
    vthread_t t;
    vthread_attr_t attr = {.name = name};
    expect(vthread_create(&t, &attr, fn, arg) == 0);
    return t;
}

static inline void *parks(void *arg)
{
    vthread_park();
    return arg;
}

/* In a child: runs fn on a common home that others share, so that none of
 * its addresses may be given to others. */
static inline void on_a_shared_home(void *(*fn)(void *))
{
    setenv("VTHREAD_FREEZE", "lazy", 1);
    setenv("VTHREAD_OWN_LIMIT", "0", 1);
    setenv("VTHREAD_COMMON_HOMES", "1", 1);
    setenv("VTHREAD_PARALLELISM", "1", 1);
    for (int i = 0; i < 100; i++)
        until_waiting(child_start("crowd", parks, NULL));
    expect(vthread_join(child_start("escaper", fn, NULL), NULL) == 0);
}

#endif
