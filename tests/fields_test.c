/*
 * fields_test.c - what the library writes as records the tool reads.
 */
#include "inspect/record.h"
#include "platform/memory.h"
#include "tests/support.h"
#include "tools/inspector/fields.h"

static struct fields fields;

START_TEST(what_is_written_is_read)
{
    static const char odd[] = "a b=c%20\n\t%\x7f\xc3\xa4";
    struct records records = {0};
    record_begin(&records, "carrier");
    record_number(&records, "number", UINT64_MAX);
    record_text(&records, "name", odd);
    record_text(&records, "none", "");
    record_end(&records);
    record_begin(&records, "end");
    record_end(&records);
    char *text = strndup(records.bytes, records.used), *rest = text;
    ck_assert(fields_next(&rest, &fields));
    ck_assert_str_eq(fields.kind, "carrier");
    ck_assert_uint_eq(fields_number(&fields, "number"), UINT64_MAX);
    ck_assert_str_eq(fields_text(&fields, "name"), odd);
    ck_assert_str_eq(fields_text(&fields, "none"), "");
    ck_assert(fields_next(&rest, &fields));
    ck_assert_str_eq(fields.kind, "end");
    ck_assert(!fields_next(&rest, &fields));
    memory_free(records.bytes);
    free(text);
}
END_TEST

START_TEST(what_is_not_there_is_nothing)
{
    char text[] = "carrier number=1\n", *rest = text;
    ck_assert(fields_next(&rest, &fields));
    ck_assert_ptr_null(fields_text(&fields, "name"));
    ck_assert_uint_eq(fields_number(&fields, "num"), 0);
}
END_TEST

START_TEST(nonsense_is_passed_over)
{
    char text[] = "\n x  =y a= %4 b=%zz%4\nlast without an end", *rest = text;
    ck_assert(fields_next(&rest, &fields));
    ck_assert_str_eq(fields.kind, "");
    ck_assert(fields_next(&rest, &fields));
    ck_assert_str_eq(fields_text(&fields, "a"), "");
    ck_assert_str_eq(fields_text(&fields, "b"), "%zz%4");
    ck_assert(!fields_next(&rest, &fields));
}
END_TEST

START_TEST(more_fields_than_there_is_room_for_are_left_out)
{
    char text[2000] = "kind", *rest = text;
    for (unsigned i = 0; i < 2 * FIELDS_MAX; i++)
        sprintf(text + strlen(text), " f%u=%u", i, i);
    strcat(text, "\n");
    ck_assert(fields_next(&rest, &fields));
    ck_assert_uint_eq(fields.count, FIELDS_MAX);
    ck_assert_uint_eq(fields_number(&fields, "f39"), 39);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fields");
    TCase *cases = tcase_create("reading");
    suite_add_tcase(suite, cases);
    tcase_add_test(cases, what_is_written_is_read);
    tcase_add_test(cases, what_is_not_there_is_nothing);
    tcase_add_test(cases, nonsense_is_passed_over);
    tcase_add_test(cases, more_fields_than_there_is_room_for_are_left_out);
    return run_suite(suite);
}
