/*
 * trail.h - what happened, as a word: the order of steps is compared with
 * the one expected.
 */
#ifndef TESTS_TRAIL_H
#define TESTS_TRAIL_H

#include "tests/support.h"

static char trail[256];

static inline void step(char letter)
{
    size_t n = strlen(trail);
    ck_assert_uint_lt(n + 1, sizeof trail);
    trail[n] = letter;
    trail[n + 1] = '\0';
}

static inline void forget_the_trail(void)
{
    trail[0] = '\0';
}

/* As new_case; each test begins without a trail. */
static inline TCase *new_trail_case(Suite *suite, const char *name)
{
    TCase *cases = new_case(suite, name);
    tcase_add_checked_fixture(cases, forget_the_trail, NULL);
    return cases;
}

#endif
