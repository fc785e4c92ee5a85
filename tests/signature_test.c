/*
 * signature_test.c - prepared signatures: their text, their types, what is
 * made of small results and variadic arguments.
 */
#include <errno.h>
#include <stdarg.h>

#include <vthread/call.h>

#include "call/signature.h"
#include "platform/memory.h"
#include "tests/random.h"
#include "tests/threads.h"

static vthread_signature_t *parsed(const char *text)
{
    vthread_signature_t *s = NULL;
    vthread_signature_error_t error = {0, NULL};
    int err = vthread_signature_parse(&s, text, &error);
    ck_assert_msg(err == 0, "%s: %d, %s at %zu", text, err, error.message,
                  error.position);
    ck_assert_str_eq(s->text, text);
    return s;
}

#define FN(function) ((void (*)(void))(function))

/* ---- The cache ---------------------------------------------------------- */

static void *parses(void *arg)
{
    vthread_signature_t **found = arg;
    char text[32];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "i(%.*s)", (int)i % 20,
                 "iiiiiiiiiiiiiiiiiiii");
        vthread_signature_t *s = parsed(text);
        if (i < 20)
            found[i] = s;
        ck_assert_ptr_eq(s, found[i % 20]);
    }
    return NULL;
}

START_TEST(the_same_text_gives_the_same_object_to_all)
{
    static vthread_signature_t *found[4][20];
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++)
        threads[i] = start_platform(parses, found[i]);
    for (unsigned i = 0; i < 4; i++)
        join_platform(threads[i]);
    for (unsigned i = 1; i < 4; i++)
        ck_assert_mem_eq(found[i], found[0], sizeof found[0]);
    for (unsigned i = 1; i < 20; i++)
        ck_assert_ptr_ne(found[0][i], found[0][i - 1]);
}
END_TEST

START_TEST(to_destroy_that_of_a_text_is_no_harm)
{
    vthread_signature_t *s = parsed("v()");
    vthread_signature_destroy(s);
    vthread_signature_destroy(NULL);
    ck_assert_ptr_eq(parsed("v()"), s);
    ck_assert_uint_eq(vthread_signature_count(s), 0);
}
END_TEST

/* ---- The letters -------------------------------------------------------- */

static void letter_is(const char *letter, size_t size, bool is_signed)
{
    char text[16];
    snprintf(text, sizeof text, "v(%s)", letter);
    const ffi_type *type = vthread_signature_argument(parsed(text), 0);
    ck_assert_msg(type->size == size, "%s has %zu bytes", letter,
                  type->size);
    bool found = type->type == FFI_TYPE_SINT8 || type->type == FFI_TYPE_SINT16
                 || type->type == FFI_TYPE_SINT32
                 || type->type == FFI_TYPE_SINT64;
    ck_assert_msg(found == is_signed, "the sign of %s", letter);
}

START_TEST(each_letter_is_its_type)
{
    letter_is("b", sizeof(bool), false);
    letter_is("c", 1, true);
    letter_is("C", 1, false);
    letter_is("h", sizeof(short), true);
    letter_is("H", sizeof(short), false);
    letter_is("i", sizeof(int), true);
    letter_is("I", sizeof(int), false);
    letter_is("l", sizeof(long), true);
    letter_is("L", sizeof(long), false);
    letter_is("q", sizeof(long long), true);
    letter_is("Q", sizeof(long long), false);
    letter_is("t", sizeof(ptrdiff_t), true);
    letter_is("z", sizeof(size_t), false);
    letter_is("1", 1, true);
    letter_is("2", 2, true);
    letter_is("4", 4, true);
    letter_is("8", 8, true);
    letter_is("u1", 1, false);
    letter_is("u2", 2, false);
    letter_is("u4", 4, false);
    letter_is("u8", 8, false);
    letter_is("f", sizeof(float), false);
    letter_is("d", sizeof(double), false);
    letter_is("D", sizeof(long double), false);
    letter_is("p", sizeof(void *), false);
    letter_is("s", sizeof(char *), false);
    letter_is("{cd}", 16, false);
    letter_is("{c{hc}}", 6, false);
}
END_TEST

/* ---- What is no signature ----------------------------------------------- */

static void is_refused(const char *text, size_t position, const char *words)
{
    vthread_signature_t *s = (void *)&s;
    vthread_signature_error_t error = {999, NULL};
    ck_assert_int_eq(vthread_signature_parse(&s, text, &error), EINVAL);
    ck_assert_int_eq(vthread_signature_parse(&s, text, NULL), EINVAL);
    ck_assert_ptr_eq(s, (void *)&s);
    ck_assert_msg(error.position == position, "%s: at %zu", text,
                  error.position);
    ck_assert_msg(strstr(error.message, words) != NULL, "%s: %s", text,
                  error.message);
}

START_TEST(a_bad_text_is_refused_with_place_and_reason)
{
    is_refused("", 0, "too early");
    is_refused("i", 1, "comes (");
    is_refused("ii()", 1, "comes (");
    is_refused("i(", 2, "too early");
    is_refused("i(p", 3, "too early");
    is_refused("i(pxp)", 3, "no letter");
    is_refused("i(v)", 2, "void");
    is_refused("i()i", 3, "goes on");
    is_refused("i(u3)", 3, "1, 2, 4 or 8");
    is_refused("i(.i)", 2, "first");
    is_refused("i(p.i.i)", 5, "second dot");
    is_refused("i({})", 3, "without members");
    is_refused("i({i)", 4, "no letter");
    is_refused("i({i.i})", 4, "no letter");
    is_refused("i(}", 2, "no letter");
    is_refused("{v}()", 1, "void");
    is_refused("i({{{{{{{{{{{{{{{{{i}", 18, "too deeply");
    is_refused("i( i)", 2, "no letter");
    is_refused("i(\xff)", 2, "no letter");
    is_refused(NULL, 0, "no text");
}
END_TEST

START_TEST(there_are_limits)
{
    static char text[8192];
    memset(text, 'i', sizeof text - 1);
    text[1] = '(';
    is_refused(text, 4096, "too long");
    text[2 + VTHREAD_SIGNATURE_MAX] = ')';
    text[2 + VTHREAD_SIGNATURE_MAX + 1] = '\0';
    ck_assert_uint_eq(vthread_signature_count(parsed(text)),
                      VTHREAD_SIGNATURE_MAX);
    text[2 + VTHREAD_SIGNATURE_MAX] = 'i';
    text[2 + VTHREAD_SIGNATURE_MAX + 1] = ')';
    text[2 + VTHREAD_SIGNATURE_MAX + 2] = '\0';
    is_refused(text, 2 + VTHREAD_SIGNATURE_MAX, "too many arguments");
    text[2] = '{';
    text[2 + VTHREAD_SIGNATURE_MAX + 1] = '}';
    text[2 + VTHREAD_SIGNATURE_MAX + 2] = ')';
    text[2 + VTHREAD_SIGNATURE_MAX + 3] = '\0';
    ck_assert_uint_eq(vthread_signature_count(parsed(text)), 1);
}
END_TEST

/* Whatever the text, it is one or the other, and nothing is touched that is
 * not ours: for the sanitizers. */
START_TEST(any_text_is_a_signature_or_refused)
{
    static const char letters[] = "vbcCiIlLqQtz1248ufdDps{}().(){}ipp";
    struct random random = random_start("signature_test");
    unsigned good = 0, bad = 0;
    for (unsigned round = 0; round < 20000; round++) {
        char text[24];
        unsigned length = (unsigned)random_below(&random, sizeof text - 4);
        unsigned at = 0;
        if (random_below(&random, 4) > 0)
            at = (unsigned)sprintf(text, "i(");
        for (unsigned i = 0; i < length; i++)
            text[at++] = letters[random_below(&random, sizeof letters - 1)];
        if (random_below(&random, 4) > 0)
            text[at++] = ')';
        text[at] = '\0';
        vthread_signature_t *s;
        vthread_signature_error_t error;
        int err = vthread_signature_parse(&s, text, &error);
        ck_assert(err == 0 || err == EINVAL);
        if (err != 0)
            ck_assert_uint_le(error.position, strlen(text));
        *(err == 0 ? &good : &bad) += 1;
    }
    ck_assert_uint_gt(good, 50);
    ck_assert_uint_gt(bad, 1000);
}
END_TEST

/* ---- Calls -------------------------------------------------------------- */

static signed char negative_char(void) { return -7; }
static unsigned short large_short(void) { return 65000; }
static int negative_int(void) { return -70000; }
static bool yes(void) { return true; }
static float half(void) { return 0.5f; }

/* Guards around the result: no byte more is written. */
static void small_result(const char *text, void (*fn)(void), size_t size,
                         int64_t value)
{
    unsigned char result[24];
    memset(result, 0xa5, sizeof result);
    signature_call(parsed(text), fn, result + 8, NULL);
    for (size_t i = 0; i < sizeof result; i++)
        if (i < 8 || i >= 8 + size)
            ck_assert_msg(result[i] == 0xa5, "%s: byte %zu", text, i);
    ck_assert_msg(memcmp(result + 8, &value, size) == 0, "%s", text);
    signature_call(parsed(text), fn, NULL, NULL);
}

START_TEST(a_small_result_is_stored_as_what_it_is)
{
    float f = 0.5f;
    int64_t bits = 0;
    memcpy(&bits, &f, sizeof f);
    small_result("c()", FN(negative_char), 1, -7);
    small_result("1()", FN(negative_char), 1, -7);
    small_result("H()", FN(large_short), 2, 65000);
    small_result("i()", FN(negative_int), 4, -70000);
    small_result("b()", FN(yes), 1, 1);
    small_result("f()", FN(half), 4, bits);
}
END_TEST

static double sum_variadic(int count, ...)
{
    va_list list;
    double sum = 0;
    va_start(list, count);
    for (int i = 0; i < count; i++)
        sum += i % 2 ? va_arg(list, double) : va_arg(list, int);
    va_end(list);
    return sum;
}

START_TEST(variadic_arguments_are_promoted)
{
    int count = 6;
    signed char c = -3;
    unsigned short H = 65000;
    bool b = true;
    float f1 = 0.25f, f2 = -8.5f, f3 = 1000;
    double sum = 0;
    void *args[] = {&count, &c, &f1, &H, &f2, &b, &f3};
    signature_call(parsed("d(i.cfHfbf)"), FN(sum_variadic), &sum, args);
    ck_assert_double_eq(sum, -3 + 0.25 + 65000 - 8.5 + 1 + 1000);
    ck_assert_ptr_eq(vthread_signature_argument(parsed("d(i.cfHfbf)"), 2),
                     &ffi_type_float);
    ck_assert_ptr_null(vthread_signature_argument(parsed("d(i.c)"), 2));
    ck_assert_ptr_eq(vthread_signature_result(parsed("d(i.c)")),
                     &ffi_type_double);
    /* Not promoted: what is fixed. */
    ck_assert(!parsed("d(cf)")->is_promoting);
}
END_TEST

START_TEST(a_variadic_function_may_get_none)
{
    int count = 0;
    double sum = 5;
    void *args[] = {&count};
    signature_call(parsed("d(i.)"), FN(sum_variadic), &sum, args);
    ck_assert_double_eq(sum, 0);
}
END_TEST

START_TEST(sprintf_is_what_it_always_was)
{
    char text[100], *to = text;
    const char *format = "%d %s %.2f %c %ld";
    size_t size = sizeof text;
    int i = -5, length = 0;
    char *s = "word", c = 'x';
    float f = 2.5f;
    long l = 1234567890123;
    void *args[] = {&to, &size, &format, &i, &s, &f, &c, &l};
    signature_call(parsed("i(pzs.isfcl)"), FN(snprintf), &length, args);
    ck_assert_str_eq(text, "-5 word 2.50 x 1234567890123");
    ck_assert_int_eq(length, (int)strlen(text));
}
END_TEST

struct pair { double x, y; };
struct large { long a[1]; char c; struct pair p; long b, d; };

static struct pair swap(struct pair p) { return (struct pair){p.y, p.x}; }

static struct large twist(struct large l, char c)
{
    return (struct large){{l.d}, c, swap(l.p), l.a[0], l.b};
}

START_TEST(structs_travel_by_value)
{
    struct pair p = {1, 2}, q = {0, 0};
    void *args[] = {&p};
    signature_call(parsed("{dd}({dd})"), FN(swap), &q, args);
    ck_assert_double_eq(q.x, 2);
    ck_assert_double_eq(q.y, 1);
    struct large l = {{1}, 'a', {3, 4}, 5, 6}, m;
    char c = 'z';
    void *large_args[] = {&l, &c};
    signature_call(parsed("{lc{dd}ll}({lc{dd}ll}c)"), FN(twist), &m,
                   large_args);
    ck_assert_int_eq(m.a[0], 6);
    ck_assert_int_eq(m.c, 'z');
    ck_assert_double_eq(m.p.x, 4);
    ck_assert_int_eq(m.b, 1);
    ck_assert_int_eq(m.d, 5);
    signature_call(parsed("{lc{dd}ll}({lc{dd}ll}c)"), FN(twist), NULL,
                   large_args);
}
END_TEST

/* ---- Of types ----------------------------------------------------------- */

START_TEST(a_signature_of_types_is_like_one_of_a_text)
{
    ffi_type *members[] = {&ffi_type_double, &ffi_type_double, NULL};
    ffi_type pair = {.type = FFI_TYPE_STRUCT, .elements = members};
    ffi_type *types[] = {&pair};
    vthread_signature_t *s;
    ck_assert_int_eq(vthread_signature_create(&s, &pair, 1, 1, types, NULL),
                     0);
    types[0] = NULL;
    struct pair p = {1, 2}, q = {0, 0};
    void *args[] = {&p};
    signature_call(s, FN(swap), &q, args);
    ck_assert_double_eq(q.x, 2);
    vthread_signature_destroy(s);

    ffi_type *variadic[] = {&ffi_type_sint, &ffi_type_schar,
                            &ffi_type_float};
    ck_assert_int_eq(
        vthread_signature_create(&s, &ffi_type_double, 1, 3, variadic, NULL),
        0);
    int count = 2;
    signed char c = 5;
    float f = 0.5f;
    double sum;
    void *more[] = {&count, &c, &f};
    signature_call(s, FN(sum_variadic), &sum, more);
    ck_assert_double_eq(sum, 5.5);
    vthread_signature_destroy(s);
}
END_TEST

static void types_are_refused(ffi_type *result, unsigned fixed,
                              unsigned count, ffi_type **types,
                              const char *words)
{
    vthread_signature_t *s = NULL;
    vthread_signature_error_t error;
    ck_assert_int_eq(
        vthread_signature_create(&s, result, fixed, count, types, &error),
        EINVAL);
    ck_assert_ptr_null(s);
    ck_assert_msg(strstr(error.message, words) != NULL, "%s", error.message);
}

START_TEST(bad_types_are_refused)
{
    ffi_type *none[] = {NULL};
    ffi_type empty = {.type = FFI_TYPE_STRUCT, .elements = none};
    ffi_type *types[] = {&ffi_type_sint, &ffi_type_void, NULL, &empty};
    types_are_refused(NULL, 0, 0, NULL, "result");
    types_are_refused(&ffi_type_void, 2, 1, types, "fixed");
    types_are_refused(&ffi_type_void, 0, 1, types, "variadic");
    types_are_refused(&ffi_type_void, 2, 2, types, "no type");
    types_are_refused(&ffi_type_void, 1, 1, types + 2, "no type");
    types_are_refused(&ffi_type_void, 1, 1, NULL, "no type");
    types_are_refused(&ffi_type_void, 1, 1, types + 3, "libffi refuses");
    types_are_refused(&ffi_type_void, 200, 200, types, "too many");
}
END_TEST

/* ---- Scarcity ----------------------------------------------------------- */

START_TEST(without_memory_nothing_is_kept)
{
    vthread_signature_t *s = NULL;
    ffi_type *types[] = {&ffi_type_sint};
    memory_fail_after(1);
    int text_err = vthread_signature_parse(&s, "i(dddd)", NULL);
    int types_err = vthread_signature_create(&s, &ffi_type_sint, 1, 1, types,
                                             NULL);
    memory_fail_after(0);
    ck_assert_int_eq(text_err, ENOMEM);
    ck_assert_int_eq(types_err, ENOMEM);
    ck_assert_ptr_null(s);
    parsed("i(dddd)");
}
END_TEST

START_TEST(a_result_without_a_place_is_refused)
{
    vthread_signature_error_t error = {0, NULL};
    ck_assert_int_eq(vthread_signature_parse(NULL, "i(i)", &error), EINVAL);
    ck_assert_ptr_nonnull(error.message);
    error.message = NULL;
    ck_assert_int_eq(vthread_signature_create(NULL, &ffi_type_sint, 0, 0,
                                              NULL, &error),
                     EINVAL);
    ck_assert_ptr_nonnull(error.message);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("signature");
    TCase *cases = new_case(suite, "text");
    tcase_add_test(cases, the_same_text_gives_the_same_object_to_all);
    tcase_add_test(cases, to_destroy_that_of_a_text_is_no_harm);
    tcase_add_test(cases, each_letter_is_its_type);
    tcase_add_test(cases, a_bad_text_is_refused_with_place_and_reason);
    tcase_add_test(cases, there_are_limits);
    tcase_add_test(cases, any_text_is_a_signature_or_refused);
    cases = new_case(suite, "calls");
    tcase_add_test(cases, a_small_result_is_stored_as_what_it_is);
    tcase_add_test(cases, variadic_arguments_are_promoted);
    tcase_add_test(cases, a_variadic_function_may_get_none);
    tcase_add_test(cases, sprintf_is_what_it_always_was);
    tcase_add_test(cases, structs_travel_by_value);
    cases = new_case(suite, "types");
    tcase_add_test(cases, a_signature_of_types_is_like_one_of_a_text);
    tcase_add_test(cases, bad_types_are_refused);
    tcase_add_test(cases, without_memory_nothing_is_kept);
    tcase_add_test(cases, a_result_without_a_place_is_refused);
    return run_suite(suite);
}
