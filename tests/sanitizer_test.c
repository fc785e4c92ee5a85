/*
 * sanitizer_test.c - what sanitizers are told of frames.
 */
#include "platform/sanitizer.h"
#include "tests/pages.h"
#include "tests/support.h"

START_TEST(sanitizer_copy_copies)
{
    uint64_t from[5] = {1, 2, 3, 4, 5}, to[5] = {0};

    sanitizer_copy(to, from, sizeof from);
    ck_assert_mem_eq(to, from, sizeof from);
}
END_TEST

#if defined __SANITIZE_ADDRESS__

#include <sanitizer/asan_interface.h>

START_TEST(poison_travels_with_the_frames)
{
    struct sanitizer_stack stack;
    char *place = committed(memory_page_bytes());

    sanitizer_stack_init(&stack);
    __asan_poison_memory_region(place + 64, 32);
    sanitizer_frames_frozen(&stack, place + 8, 248);
    ck_assert_int_eq(__asan_address_is_poisoned(place + 64), 0);
    __asan_poison_memory_region(place + 16, 8);
    sanitizer_frames_thawed(&stack, place + 8, 248);
    ck_assert_int_eq(__asan_address_is_poisoned(place + 16), 0);
    ck_assert_int_eq(__asan_address_is_poisoned(place + 63), 0);
    ck_assert_int_eq(__asan_address_is_poisoned(place + 64), 1);
    ck_assert_int_eq(__asan_address_is_poisoned(place + 95), 1);
    ck_assert_int_eq(__asan_address_is_poisoned(place + 96), 0);
    sanitizer_stack_vacated(place, memory_page_bytes());
    ck_assert_ptr_null(__asan_region_is_poisoned(place, memory_page_bytes()));
    sanitizer_stack_destroy(&stack);
    memory_release(place, memory_page_bytes());
}
END_TEST

#else

START_TEST(poison_travels_with_the_frames)
{
    /* Only ASan has any. */
}
END_TEST

#endif

int main(void)
{
    Suite *suite = suite_create("sanitizer");
    TCase *cases = new_case(suite, "sanitizer");
    tcase_add_test(cases, sanitizer_copy_copies);
    tcase_add_test(cases, poison_travels_with_the_frames);
    return run_suite(suite);
}
