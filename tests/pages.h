/*
 * pages.h - address space for tests.
 */
#ifndef TESTS_PAGES_H
#define TESTS_PAGES_H

#include "platform/memory.h"
#include "tests/support.h"

static inline char *reserved(size_t size_bytes)
{
    char *start = memory_reserve(size_bytes);
    ck_assert_ptr_nonnull(start);
    return start;
}

static inline char *committed(size_t size_bytes)
{
    char *start = reserved(size_bytes);
    ck_assert_int_eq(memory_commit(start, size_bytes), 0);
    return start;
}

#endif
