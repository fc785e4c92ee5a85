/*
 * panic_test.c - last words and reports, and the text they are made of.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>

#include "platform/panic.h"
#include "tests/support.h"

START_TEST(formats_what_printf_formats)
{
    char ours[200], theirs[200];
    void *pointer = ours;
#define ARGUMENTS                                                              \
    "%s|%d|%d|%u|%x|%c|%%|%ld|%lu|%lx|%lld|%llu|%zu|%zx|%p", "text", -1,       \
        INT_MIN, UINT_MAX, 0xabcu, 'c', LONG_MIN, ULONG_MAX, 0xfeedul,         \
        LLONG_MIN, ULLONG_MAX, (size_t)0, SIZE_MAX, pointer
    size_t length = format_text(ours, sizeof ours, ARGUMENTS);

    snprintf(theirs, sizeof theirs, ARGUMENTS);
    ck_assert_str_eq(ours, theirs);
    ck_assert_uint_eq(length, strlen(theirs));
}
END_TEST

START_TEST(a_format_too_long_is_cut_and_ended)
{
    char buffer[4] = "zzz";

    ck_assert_uint_eq(format_text(buffer, 4, "%u", 123456u), 3);
    ck_assert_str_eq(buffer, "123");
    ck_assert_uint_eq(format_text(buffer, 1, "x"), 0);
    ck_assert_str_eq(buffer, "");
    ck_assert_uint_eq(format_text(NULL, 0, "x"), 0);
}
END_TEST

static void panic_plainly(void)
{
    panic("broken: %d", 7);
}

START_TEST(panic_says_one_line_and_aborts)
{
    char text[200];
    int status = end_of_child(panic_plainly, text, sizeof text);

    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert_str_eq(text, "vthread: broken: 7\n");
}
END_TEST

static void describe_and_panic(char *buffer, size_t size_bytes)
{
    format_text(buffer, size_bytes, "thread 5");
    if (getenv("DESCRIPTION_PANICS") != NULL)
        panic("while describing");
}

static void panic_described(void)
{
    panic_describe_self = describe_and_panic;
    panic("broken");
}

START_TEST(panic_describes_the_running_thread)
{
    char text[200];
    int status = end_of_child(panic_described, text, sizeof text);

    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert_str_eq(text, "vthread: broken\nvthread: in thread 5\n");
}
END_TEST

START_TEST(panic_inside_the_description_ends_too)
{
    char text[200];
    int status;

    setenv("DESCRIPTION_PANICS", "1", 1);
    status = end_of_child(panic_described, text, sizeof text);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert_str_eq(text, "vthread: broken\nvthread: while describing\n");
}
END_TEST

/* A line of 5,000 bytes, and a closed standard error. */
static void report_much(void)
{
    char long_text[5000];

    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    errno = EDOM;
    report("%s", long_text);
    close(STDERR_FILENO);
    report("nobody hears");
    _exit(errno == EDOM ? 0 : 1);
}

START_TEST(report_ends_its_line_and_keeps_errno)
{
    char text[8000];
    int status = end_of_child(report_much, text, sizeof text);

    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_ptr_eq(strchr(text, '\n'), text + strlen(text) - 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("panic");
    TCase *cases = new_case(suite, "panic");
    tcase_add_test(cases, formats_what_printf_formats);
    tcase_add_test(cases, a_format_too_long_is_cut_and_ended);
    tcase_add_test(cases, panic_says_one_line_and_aborts);
    tcase_add_test(cases, panic_describes_the_running_thread);
    tcase_add_test(cases, panic_inside_the_description_ends_too);
    tcase_add_test(cases, report_ends_its_line_and_keeps_errno);
    return run_suite(suite);
}
