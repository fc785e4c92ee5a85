/*
 * symbols_test.c - addresses in words: function, file and line.
 */
#include "tests/support.h"
#include "tools/inspector/symbols.h"

/* Where it will return to. */
__attribute__((noinline)) static void *return_address(void)
{
    return __builtin_extract_return_addr(__builtin_return_address(0));
}

/* A return address in this function, and the line of the call. */
__attribute__((noinline)) static uint64_t is_called(unsigned *line)
{
    void *volatile pc;
    *line = __LINE__ + 1;
    pc = return_address();
    return (uint64_t)(uintptr_t)pc;
}

static struct symbols *open_own(void)
{
    const char *why;
    struct symbols *symbols = symbols_of_process(getpid(), &why);
    ck_assert_msg(symbols != NULL, "%s", why);
    return symbols;
}

#if !defined __SANITIZE_THREAD__ /* it maps constants from another file */
START_TEST(a_return_address_has_function_file_and_line)
{
    unsigned line;
    uint64_t pc = is_called(&line);
    struct symbols *symbols = open_own();
    const struct symbol *symbol = symbols_find(symbols, pc - 1);
    ck_assert_str_eq(symbol->function, "is_called");
    ck_assert_str_eq(symbols_base_name(symbol->file), "symbols_test.c");
    ck_assert_uint_eq(symbol->line, line);
    ck_assert_ptr_eq(symbols_find(symbols, pc - 1), symbol);
    symbols_close(symbols);
}
END_TEST
#endif

START_TEST(a_function_without_lines_has_name_and_module)
{
    char text[100];
    struct symbols *symbols = open_own();
    uint64_t pc = (uint64_t)(uintptr_t)getpid;
    const struct symbol *symbol = symbols_find(symbols, pc);
    ck_assert_ptr_nonnull(symbol->function);
    ck_assert_ptr_nonnull(strstr(symbol->function, "getpid"));
    ck_assert_uint_eq(symbol->offset, 0);
    symbols_describe(symbol, pc, text, sizeof text);
    ck_assert_ptr_nonnull(strstr(text, "getpid"));
    symbols_close(symbols);
}
END_TEST

START_TEST(an_address_in_nothing_is_described_as_such)
{
    char text[100];
    struct symbols *symbols = open_own();
    const struct symbol *symbol = symbols_find(symbols, 0x10);
    ck_assert_ptr_null(symbol->function);
    ck_assert_ptr_null(symbol->module);
    symbols_describe(symbol, 0x10, text, sizeof text);
    ck_assert_str_eq(text, "0x10 (?)");
    symbols_close(symbols);
}
END_TEST

START_TEST(answers_stay_while_thousands_are_asked_for)
{
    struct symbols *symbols = open_own();
    uint64_t pc = (uint64_t)(uintptr_t)is_called;
    const struct symbol *first = symbols_find(symbols, pc);
    for (uint64_t i = 0; i < 5000; i++)
        symbols_find(symbols, i);
    ck_assert_ptr_eq(symbols_find(symbols, pc), first);
    ck_assert_str_eq(first->function, "is_called");
    symbols_close(symbols);
}
END_TEST

START_TEST(a_process_that_is_not_there_has_none)
{
    const char *why;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
    ck_assert_ptr_null(symbols_of_process(child, &why));
    ck_assert_ptr_nonnull(why);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("symbols");
    TCase *cases = new_case(suite, "symbols");
#if !defined __SANITIZE_THREAD__
    tcase_add_test(cases, a_return_address_has_function_file_and_line);
#endif
    tcase_add_test(cases, a_function_without_lines_has_name_and_module);
    tcase_add_test(cases, an_address_in_nothing_is_described_as_such);
    tcase_add_test(cases, answers_stay_while_thousands_are_asked_for);
    tcase_add_test(cases, a_process_that_is_not_there_has_none);
    return run_suite(suite);
}
