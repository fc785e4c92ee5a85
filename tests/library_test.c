/*
 * library_test.c - loading shared libraries.
 */
#include <dlfcn.h>
#include <errno.h>

#include <vthread/library.h>

#include "tests/threads.h"

static void *loads(void *arg)
{
    void *handle = NULL, *program = NULL;
    char why[256] = "?";
    ck_assert_int_eq(vthread_dlopen("libm.so.6", RTLD_NOW, &handle, why,
                                    sizeof why),
                     0);
    ck_assert_str_eq(why, "");
    double (*root)(double) = (double (*)(double))dlsym(handle, "sqrt");
    ck_assert_ptr_nonnull(root);
    ck_assert(root(49) == 7);
    ck_assert_int_eq(vthread_dlclose(handle, NULL, 0), 0);
    ck_assert_int_eq(vthread_dlopen(NULL, RTLD_NOW, &program, NULL, 0), 0);
    ck_assert_int_eq(vthread_dlclose(program, why, sizeof why), 0);
    return arg;
}

START_TEST(a_library_is_loaded_used_and_closed)
{
    on_both_kinds(loads);
}
END_TEST

static void *fails(void *arg)
{
    void *handle = arg;
    char why[256], little[4];
    ck_assert_int_eq(vthread_dlopen("libnowhere.so.7", RTLD_NOW, &handle, why,
                                    sizeof why),
                     ELIBACC);
    ck_assert_ptr_nonnull(strstr(why, "libnowhere.so.7"));
    ck_assert_int_eq(vthread_dlopen("libnowhere.so.7", RTLD_NOW, &handle,
                                    little, sizeof little),
                     ELIBACC);
    ck_assert_uint_eq(strlen(little), 3);
    ck_assert_int_eq(strncmp(little, why, 3), 0);
    ck_assert_int_eq(vthread_dlopen("libnowhere.so.7", RTLD_NOW, &handle,
                                    NULL, 0),
                     ELIBACC);
    ck_assert_ptr_eq(handle, arg);
    return arg;
}

START_TEST(a_failure_has_its_words)
{
    on_both_kinds(fails);
}
END_TEST

START_TEST(a_library_that_is_none_is_refused)
{
    ck_assert_int_eq(vthread_dlopen("libm.so.6", RTLD_NOW, NULL, NULL, 0),
                     EINVAL);
    ck_assert_int_eq(vthread_dlclose(NULL, NULL, 0), EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("library");
    TCase *cases = new_case(suite, "library");
    tcase_add_test(cases, a_library_is_loaded_used_and_closed);
    tcase_add_test(cases, a_failure_has_its_words);
    tcase_add_test(cases, a_library_that_is_none_is_refused);
    return run_suite(suite);
}
