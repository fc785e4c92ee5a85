/*
 * json_test.c - what the tool's JSON looks like.
 */
#include <math.h>

#include "tests/support.h"
#include "tools/inspector/json.h"

static char *text;
static size_t text_bytes;
static struct json json;

static void begin(enum json_style style)
{
    json_start(&json, open_memstream(&text, &text_bytes), style);
}

static void expect(const char *expected)
{
    fclose(json.out);
    ck_assert_str_eq(text, expected);
    free(text);
}

START_TEST(values_are_separated_and_indented)
{
    begin(JSON_INDENTED);
    json_open_object(&json, NULL);
    json_text(&json, "name", "reader");
    json_open_array(&json, "numbers");
    json_number(&json, NULL, -1);
    json_unsigned(&json, NULL, UINT64_MAX);
    json_close_array(&json);
    json_open_object(&json, "empty");
    json_close_object(&json);
    json_bool(&json, "is_pinned", true);
    json_close_object(&json);
    expect("{\n  \"name\": \"reader\",\n  \"numbers\": [\n    -1,\n"
           "    18446744073709551615\n  ],\n  \"empty\": {},\n"
           "  \"is_pinned\": true\n}\n");
}
END_TEST

START_TEST(a_value_is_a_line_where_lines_are_asked_for)
{
    begin(JSON_LINES);
    for (int i = 0; i < 2; i++) {
        json_open_object(&json, NULL);
        json_number(&json, "n", i);
        json_null(&json, "lock");
        json_close_object(&json);
    }
    expect("{\"n\":0,\"lock\":null}\n{\"n\":1,\"lock\":null}\n");
}
END_TEST

START_TEST(texts_are_escaped)
{
    begin(JSON_LINES);
    json_text(&json, NULL, "a\"b\\c\n\t\x01\x7f</script>");
    expect("\"a\\\"b\\\\c\\n\\t\\u0001\\u007f\\u003c/script>\"\n");
}
END_TEST

START_TEST(utf_8_stays_and_anything_else_is_replaced)
{
    begin(JSON_LINES);
    json_text(&json, NULL, "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80");
    json_text(&json, NULL, "\xff|\xc3|\xc0\xaf|\xed\xa0\x80|\xf5\x80\x80\x80");
    expect("\"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80\"\n"
           "\"\\ufffd|\\ufffd|\\ufffd\\ufffd|\\ufffd\\ufffd\\ufffd"
           "|\\ufffd\\ufffd\\ufffd\\ufffd\"\n");
}
END_TEST

START_TEST(a_text_that_ends_inside_a_character_is_not_read_beyond)
{
    char *ends = strdup("\xe2\x82"); /* for the sanitizer to look after */
    begin(JSON_LINES);
    json_text(&json, NULL, ends);
    free(ends);
    expect("\"\\ufffd\\ufffd\"\n");
}
END_TEST

START_TEST(numbers_that_json_lacks_are_null)
{
    begin(JSON_LINES);
    json_real(&json, NULL, 0.5);
    json_real(&json, NULL, NAN);
    json_real(&json, NULL, INFINITY);
    json_text(&json, NULL, NULL);
    json_address(&json, NULL, 0x7fffffffe000);
    expect("0.5\nnull\nnull\nnull\n\"0x7fffffffe000\"\n");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("json");
    TCase *cases = tcase_create("writing");
    suite_add_tcase(suite, cases);
    tcase_add_test(cases, values_are_separated_and_indented);
    tcase_add_test(cases, a_value_is_a_line_where_lines_are_asked_for);
    tcase_add_test(cases, texts_are_escaped);
    tcase_add_test(cases, utf_8_stays_and_anything_else_is_replaced);
    tcase_add_test(cases,
                   a_text_that_ends_inside_a_character_is_not_read_beyond);
    tcase_add_test(cases, numbers_that_json_lacks_are_null);
    return run_suite(suite);
}
