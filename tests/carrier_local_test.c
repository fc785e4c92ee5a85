/*
 * carrier_local_test.c - a value for each carrier, one for each platform
 * thread, and all of them destroyed.
 */
#include <errno.h>
#include <pthread.h>

#include "platform/memory.h"
#include "tests/threads.h"

static vthread_carrier_local_t *local;
static atomic_int made, destroyed;

struct cache {
    long os_thread;
    int uses; /* no atomic: one user at a time */
};

static void *make_cache(void *arg)
{
    struct cache *cache = malloc(sizeof *cache);
    *cache = (struct cache){.os_thread = os_thread()};
    ck_assert_ptr_eq(arg, &local);
    atomic_fetch_add(&made, 1);
    return cache;
}

static void destroy_cache(void *cache)
{
    free(cache);
    atomic_fetch_add(&destroyed, 1);
}

static void open_local(void)
{
    ck_assert_int_eq(vthread_carrier_local_create(&local, make_cache,
                                                  destroy_cache, &local),
                     0);
}

static void *uses_it_often(void *arg)
{
    for (int i = 0; i < 100; i++) {
        struct cache *cache = vthread_carrier_local_get(local);
        ck_assert_int_eq(cache->os_thread, os_thread());
        cache->uses++;
        ck_assert_ptr_eq(vthread_carrier_local_get(local), cache);
        vthread_yield();
    }
    return arg;
}

static void many_use_it(vthread_scheduler_t *s)
{
    static vthread_t threads[200];
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start_on(s, uses_it_often, NULL);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
}

START_TEST(a_carrier_has_one_value)
{
    open_local();
    vthread_scheduler_t *s = scheduler_of(3);
    many_use_it(s);
    ck_assert_int_ge(atomic_load(&made), 1);
    ck_assert_int_le(atomic_load(&made), (int)stats_of(s).carriers);
    ck_assert_int_eq(vthread_carrier_local_destroy(local), 0);
    ck_assert_int_eq(atomic_load(&destroyed), atomic_load(&made));
    shut_down(s);
    ck_assert_int_eq(atomic_load(&destroyed), atomic_load(&made));
}
END_TEST

START_TEST(a_carrier_that_ends_destroys_its_values)
{
    open_local();
    vthread_scheduler_t *s = scheduler_of(2);
    many_use_it(s);
    ck_assert_int_eq(atomic_load(&destroyed), 0);
    shut_down(s);
    ck_assert_int_ge(atomic_load(&made), 1);
    ck_assert_int_eq(atomic_load(&destroyed), atomic_load(&made));
    ck_assert_int_eq(vthread_carrier_local_destroy(local), 0);
    ck_assert_int_eq(atomic_load(&destroyed), atomic_load(&made));
}
END_TEST

START_TEST(a_platform_thread_has_its_own)
{
    pthread_t p;
    open_local();
    uses_it_often(NULL);
    ck_assert_int_eq(pthread_create(&p, NULL, uses_it_often, NULL), 0);
    pthread_join(p, NULL);
    ck_assert_int_eq(atomic_load(&made), 2);
    ck_assert_int_eq(atomic_load(&destroyed), 1);
    ck_assert_int_eq(vthread_carrier_local_destroy(local), 0);
    ck_assert_int_eq(atomic_load(&destroyed), 2);
}
END_TEST

static int refusals;

static void *makes_nothing_at_first(void *arg)
{
    return refusals-- > 0 ? NULL : arg;
}

START_TEST(what_could_not_be_made_is_tried_again)
{
    refusals = 1;
    ck_assert_int_eq(vthread_carrier_local_create(
                         &local, makes_nothing_at_first, NULL, &refusals),
                     0);
    ck_assert_ptr_null(vthread_carrier_local_get(local));
    for (unsigned long n = 1; n <= 1; n++) {
        memory_fail_after(n);
        void *value = vthread_carrier_local_get(local);
        memory_fail_after(0);
        ck_assert_ptr_null(value);
    }
    ck_assert_ptr_eq(vthread_carrier_local_get(local), &refusals);
    ck_assert_int_eq(vthread_carrier_local_destroy(local), 0);
}
END_TEST

START_TEST(there_are_as_many_as_promised)
{
    static vthread_carrier_local_t *locals[VTHREAD_CARRIER_LOCALS_MAX];
    for (unsigned i = 0; i < COUNT_OF(locals); i++)
        ck_assert_int_eq(vthread_carrier_local_create(
                             &locals[i], return_argument, NULL, &locals[i]),
                         0);
    ck_assert_int_eq(vthread_carrier_local_create(&local, return_argument,
                                                  NULL, NULL),
                     EAGAIN);
    for (unsigned i = 0; i < COUNT_OF(locals); i++)
        ck_assert_ptr_eq(vthread_carrier_local_get(locals[i]), &locals[i]);
    ck_assert_int_eq(vthread_carrier_local_destroy(locals[9]), 0);
    /* The place is used again, the old value is not seen. */
    ck_assert_int_eq(vthread_carrier_local_create(&local, return_argument,
                                                  NULL, &refusals),
                     0);
    ck_assert_ptr_eq(vthread_carrier_local_get(local), &refusals);
    ck_assert_int_eq(vthread_carrier_local_create(NULL, return_argument,
                                                  NULL, NULL),
                     EINVAL);
    ck_assert_int_eq(vthread_carrier_local_create(&local, NULL, NULL, NULL),
                     EINVAL);
    ck_assert_int_eq(vthread_carrier_local_destroy(NULL), EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("carrier_local");
    TCase *cases = new_case(suite, "values");
    tcase_add_test(cases, a_carrier_has_one_value);
    tcase_add_test(cases, a_carrier_that_ends_destroys_its_values);
    tcase_add_test(cases, a_platform_thread_has_its_own);
    tcase_add_test(cases, what_could_not_be_made_is_tried_again);
    tcase_add_test(cases, there_are_as_many_as_promised);
    return run_suite(suite);
}
