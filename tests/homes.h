/*
 * homes.h - a primitive on a thread's own stack: refused in words where that
 * stack is shared, and right on an own home.  The same claims for each of
 * them; the test that includes this says how it is used.
 */
#ifndef TESTS_HOMES_H
#define TESTS_HOMES_H

#include "tests/children.h"

/* Defined by the test.  In a child: each use of one on the own stack is
 * refused (expect). */
static void *shares_its_own(void *arg);

/* Who says so, up to NULL. */
static const char *const *refused_by;

/* Defined by the test: one on the own stack is used with another thread. */
static void *has_its_own(void *arg);

static void escapes(void)
{
    on_a_shared_home(shares_its_own);
}

START_TEST(one_on_a_shared_home_is_refused_in_words)
{
    ends_well(escapes);
    for (const char *const *function = refused_by; *function; function++)
        said(*function);
    said("'escaper'");
    said("VTHREAD_STACK_OWN");
}
END_TEST

START_TEST(one_on_an_own_home_is_right)
{
    join(start_attr((vthread_attr_t){.flags = VTHREAD_STACK_OWN}, has_its_own,
                    NULL));
}
END_TEST

static void add_homes(TCase *cases, const char *const *functions)
{
    refused_by = functions;
    tcase_add_test(cases, one_on_a_shared_home_is_refused_in_words);
    tcase_add_test(cases, one_on_an_own_home_is_right);
}

#endif
