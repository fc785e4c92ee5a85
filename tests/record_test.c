/*
 * record_test.c - what records look like.
 */
#include "inspect/record.h"
#include "platform/memory.h"
#include "tests/support.h"

static struct records records;

static void expect(const char *expected)
{
    ck_assert(!records.has_failed);
    ck_assert_uint_eq(records.used, strlen(expected));
    ck_assert_mem_eq(records.bytes, expected, records.used);
    memory_free(records.bytes);
}

START_TEST(a_record_is_a_kind_and_fields)
{
    record_begin(&records, "carrier");
    record_number(&records, "number", UINT64_MAX);
    record_text(&records, "state", "running");
    record_end(&records);
    record_begin(&records, "end");
    record_end(&records);
    expect("carrier number=18446744073709551615 state=running\nend\n");
}
END_TEST

START_TEST(what_separates_is_escaped_in_values)
{
    record_begin(&records, "x");
    record_text(&records, "name", "a b=c%\n\x7f\xc3\xa4");
    record_text(&records, "empty", "");
    record_end(&records);
    expect("x name=a%20b=c%25%0a%7f\xc3\xa4 empty=\n");
}
END_TEST

START_TEST(they_may_be_many)
{
    for (unsigned i = 0; i < 100000; i++) {
        record_begin(&records, "thread");
        record_number(&records, "number", i);
        record_end(&records);
    }
    ck_assert(!records.has_failed);
    ck_assert_mem_eq(records.bytes + records.used - 21,
                     "\nthread number=99999\n", 21);
    memory_free(records.bytes);
}
END_TEST

START_TEST(without_memory_nothing_is_written_any_more)
{
    memory_fail_after(2);
    for (unsigned i = 0; i < 10000; i++)
        record_begin(&records, "thread");
    memory_fail_after(0);
    ck_assert(records.has_failed);
    size_t used = records.used;
    record_begin(&records, "thread");
    ck_assert_uint_eq(records.used, used);
    memory_free(records.bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("record");
    TCase *cases = tcase_create("writing");
    suite_add_tcase(suite, cases);
    tcase_add_test(cases, a_record_is_a_kind_and_fields);
    tcase_add_test(cases, what_separates_is_escaped_in_values);
    tcase_add_test(cases, they_may_be_many);
    tcase_add_test(cases, without_memory_nothing_is_written_any_more);
    return run_suite(suite);
}
