/*
 * memory_test.c - address space and pages, and requests that fail.
 */
#include <errno.h>

#include "tests/pages.h"
#include "tests/support.h"

/* Whether the kernel would copy a byte from there: a look without a
 * fault. */
static bool is_readable(const void *address)
{
    int ends[2];
    bool readable;

    ck_assert_int_eq(pipe(ends), 0);
    begin_meant_errors();
    readable = write(ends[1], address, 1) == 1;
    end_meant_errors();
    close(ends[0]);
    close(ends[1]);
    return readable;
}

START_TEST(reserved_space_is_aligned_and_inaccessible)
{
    size_t size = 3 * HUGE_PAGE_SIZE_BYTES + 5 * memory_page_bytes();
    char *start = reserved(size);

    ck_assert_uint_eq((uintptr_t)start % HUGE_PAGE_SIZE_BYTES, 0);
    ck_assert(!is_readable(start));
    ck_assert(!is_readable(start + size - 1));
    memory_release(start, size);
}
END_TEST

/* Whether a core file leaves out what is mapped there, as the kernel says. */
static bool is_left_out(const void *address)
{
    char line[512];
    unsigned long start, end;
    bool is_there = false, is_out = false;
    FILE *maps = fopen("/proc/self/smaps", "re");

    ck_assert_ptr_nonnull(maps);
    while (fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            is_there = (uintptr_t)address >= start
                       && (uintptr_t)address < end;
        else if (is_there && strncmp(line, "VmFlags:", 8) == 0)
            is_out = strstr(line, " dd ") != NULL;
    }
    fclose(maps);
    return is_out;
}

START_TEST(core_files_have_what_is_committed_and_no_more)
{
    char *start = reserved(4 * HUGE_PAGE_SIZE_BYTES);

    ck_assert(is_left_out(start));
    ck_assert_int_eq(memory_commit(start, HUGE_PAGE_SIZE_BYTES), 0);
    ck_assert_int_eq(memory_commit_dense(start + HUGE_PAGE_SIZE_BYTES,
                                         HUGE_PAGE_SIZE_BYTES),
                     0);
    ck_assert(!is_left_out(start));
    ck_assert(!is_left_out(start + HUGE_PAGE_SIZE_BYTES));
    ck_assert(is_left_out(start + 2 * HUGE_PAGE_SIZE_BYTES));
    memory_release(start, 4 * HUGE_PAGE_SIZE_BYTES);
}
END_TEST

START_TEST(space_that_does_not_exist_is_not_reserved)
{
    ck_assert_ptr_null(memory_reserve((size_t)1 << 60));
    ck_assert_ptr_null(memory_reserve(SIZE_MAX));
}
END_TEST

START_TEST(committed_pages_read_zero_and_can_be_discarded)
{
    size_t size = 64 * 1024;
    char *start = committed(size);

    ck_assert_int_eq(start[0] | start[size - 1], 0);
    start[0] = start[size - 1] = 1;
    memory_discard(start, size);
    ck_assert_int_eq(start[0] | start[size - 1], 0);
    memory_release(start, size);
}
END_TEST

START_TEST(dense_pages_read_zero_and_can_be_written)
{
    size_t size = 2 * HUGE_PAGE_SIZE_BYTES;
    char *start = reserved(size);

    ck_assert_int_eq(memory_commit_dense(start, size), 0);
    ck_assert_int_eq(start[0] | start[size - 1], 0);
    memset(start, 1, size);
    memory_release(start, size);
}
END_TEST

START_TEST(a_guard_covers_its_pages_only)
{
    char *start = committed(3 * memory_page_bytes());
    char *guard = start + memory_page_bytes();

    ck_assert_int_eq(memory_guard(guard, memory_page_bytes()), 0);
    ck_assert(is_readable(guard - 1));
    ck_assert(!is_readable(guard));
    ck_assert(!is_readable(guard + memory_page_bytes() - 1));
    ck_assert(is_readable(guard + memory_page_bytes()));
    memory_discard(guard, memory_page_bytes());
    ck_assert(!is_readable(guard));
    memory_release(start, 3 * memory_page_bytes());
}
END_TEST

START_TEST(hidden_pages_keep_their_contents)
{
    char *start = committed(memory_page_bytes());

    start[7] = 7;
    ck_assert_int_eq(memory_hide(start, memory_page_bytes()), 0);
    ck_assert(!is_readable(start));
    ck_assert_int_eq(memory_show(start, memory_page_bytes()), 0);
    ck_assert_int_eq(start[7], 7);
    memory_release(start, memory_page_bytes());
}
END_TEST

START_TEST(blocks_are_aligned_as_asked)
{
    void *block = memory_alloc_aligned(256, 300);

    ck_assert_ptr_nonnull(block);
    ck_assert_uint_eq((uintptr_t)block % 256, 0);
    memory_free(block);
    memory_free(memory_alloc(1));
    memory_free(NULL);
}
END_TEST

START_TEST(every_kind_of_request_can_be_made_to_fail)
{
    char *start = reserved(memory_page_bytes());

    memory_fail_after(1);
    ck_assert_ptr_null(memory_alloc(1));
    ck_assert_ptr_null(memory_alloc_aligned(64, 64));
    ck_assert_ptr_null(memory_reserve(memory_page_bytes()));
    ck_assert_int_eq(memory_commit(start, memory_page_bytes()), ENOMEM);
    ck_assert_int_eq(memory_commit_dense(start, memory_page_bytes()), ENOMEM);
    ck_assert_int_eq(memory_guard(start, memory_page_bytes()), ENOMEM);
    ck_assert_int_eq(memory_hide(start, memory_page_bytes()), ENOMEM);
    ck_assert_int_eq(memory_show(start, memory_page_bytes()), ENOMEM);
    ck_assert(!is_readable(start));
    memory_fail_after(0);
    memory_release(start, memory_page_bytes());
}
END_TEST

START_TEST(the_nth_request_fails_and_all_after_it)
{
    memory_fail_after(3);
    ck_assert(!memory_should_fail());
    ck_assert(!memory_should_fail());
    ck_assert(memory_should_fail());
    ck_assert(memory_should_fail());
    memory_fail_after(0);
    ck_assert(!memory_should_fail());
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory");
    TCase *cases = new_case(suite, "memory");
    tcase_add_test(cases, reserved_space_is_aligned_and_inaccessible);
    tcase_add_test(cases, space_that_does_not_exist_is_not_reserved);
    tcase_add_test(cases, committed_pages_read_zero_and_can_be_discarded);
    tcase_add_test(cases, dense_pages_read_zero_and_can_be_written);
    tcase_add_test(cases, a_guard_covers_its_pages_only);
    tcase_add_test(cases, hidden_pages_keep_their_contents);
    tcase_add_test(cases, blocks_are_aligned_as_asked);
    tcase_add_test(cases, every_kind_of_request_can_be_made_to_fail);
    tcase_add_test(cases, the_nth_request_fails_and_all_after_it);
    cases = new_case(suite, "core files");
    tcase_add_test(cases, core_files_have_what_is_committed_and_no_more);
    return run_suite(suite);
}
