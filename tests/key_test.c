/*
 * key_test.c - keys: each thread has its own values, and destructors see
 * them at its end.
 */
#include <errno.h>
#include <pthread.h>

#include "platform/memory.h"
#include "tests/threads.h"
#include "tests/trail.h"

static vthread_key_t key;

static vthread_key_t make_key(void (*destructor)(void *))
{
    vthread_key_t made = 0;
    ck_assert_int_eq(vthread_key_create(&made, destructor), 0);
    return made;
}

/* ---- Values ------------------------------------------------------------- */

static void *has_its_own(void *arg)
{
    ck_assert_ptr_null(vthread_key_get(key));
    ck_assert_int_eq(vthread_key_set(key, &arg), 0);
    vthread_yield();
    ck_assert_ptr_eq(vthread_key_get(key), &arg);
    ck_assert_int_eq(vthread_key_set(key, NULL), 0);
    ck_assert_ptr_null(vthread_key_get(key));
    return NULL;
}

static void *is_own_for_many(void *arg)
{
    vthread_t threads[50];
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start(has_its_own, arg);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    return has_its_own(arg);
}

START_TEST(each_thread_has_its_own_value)
{
    key = make_key(NULL);
    on_both_kinds(is_own_for_many);
}
END_TEST

static void *has_a_thousand(void *keys)
{
    vthread_key_t *k = keys;
    for (uintptr_t i = 0; i < VTHREAD_KEYS_MAX; i++)
        ck_assert_int_eq(vthread_key_set(k[i], pointer(i + 1)), 0);
    for (uintptr_t i = 0; i < VTHREAD_KEYS_MAX; i++)
        ck_assert_ptr_eq(vthread_key_get(k[i]), pointer(i + 1));
    return NULL;
}

START_TEST(there_are_as_many_keys_as_promised)
{
    static vthread_key_t keys[VTHREAD_KEYS_MAX];
    for (unsigned i = 0; i < VTHREAD_KEYS_MAX; i++)
        keys[i] = make_key(NULL);
    ck_assert_int_eq(vthread_key_create(&key, NULL), EAGAIN);
    join(start(has_a_thousand, keys));
    ck_assert_int_eq(vthread_key_delete(keys[500]), 0);
    ck_assert_int_eq(vthread_key_create(&key, NULL), 0);
}
END_TEST

static void assert_invalid(vthread_key_t k)
{
    ck_assert_int_eq(vthread_key_set(k, pointer(1)), EINVAL);
    ck_assert_ptr_null(vthread_key_get(k));
    ck_assert_int_eq(vthread_key_delete(k), EINVAL);
}

static void *uses_deleted_keys(void *arg)
{
    vthread_key_t old = make_key(NULL);
    ck_assert_int_eq(vthread_key_set(old, &arg), 0);
    ck_assert_int_eq(vthread_key_delete(old), 0);
    assert_invalid(old);
    /* The next key is on the same slot. */
    vthread_key_t young = make_key(NULL);
    ck_assert_uint_eq((uint32_t)old, (uint32_t)young);
    assert_invalid(old);
    ck_assert_ptr_null(vthread_key_get(young));
    ck_assert_int_eq(vthread_key_delete(young), 0);
    assert_invalid(0);
    assert_invalid(UINT64_MAX);
    assert_invalid(young + 5);
    ck_assert_int_eq(vthread_key_create(NULL, NULL), EINVAL);
    return NULL;
}

START_TEST(deleted_and_invented_keys_are_recognised)
{
    on_both_kinds(uses_deleted_keys);
}
END_TEST

static void *sets_without_memory(void *arg)
{
    for (unsigned long n = 1; n <= 2; n++) {
        memory_fail_after(n);
        int err = vthread_key_set(key, arg);
        memory_fail_after(0);
        ck_assert_int_eq(err, ENOMEM);
        ck_assert_ptr_null(vthread_key_get(key));
    }
    return NULL;
}

START_TEST(without_memory_nothing_is_set)
{
    key = make_key(NULL);
    join(start(sets_without_memory, &key));
}
END_TEST

/* ---- Destructors -------------------------------------------------------- */

static atomic_int destroyed;

static void counts(void *value)
{
    ck_assert_ptr_null(vthread_key_get(key));
    atomic_fetch_add(&destroyed, (int)(uintptr_t)value);
}

static void *sets(void *value)
{
    ck_assert_int_eq(vthread_key_set(key, value), 0);
    return NULL;
}

static void *sets_and_exits(void *value)
{
    sets(value);
    vthread_exit(pointer(1));
}

static void *sets_and_takes_back(void *value)
{
    sets(value);
    return sets(NULL);
}

START_TEST(destructors_run_at_the_end_whatever_it_is)
{
    pthread_t p;
    key = make_key(counts);
    join(start(sets, pointer(1)));
    join(start(sets_and_exits, pointer(10)));
    ck_assert_int_eq(atomic_load(&destroyed), 11);
    join(start(sets_and_takes_back, pointer(100)));
    ck_assert_int_eq(atomic_load(&destroyed), 11);
    ck_assert_int_eq(pthread_create(&p, NULL, sets, pointer(1000)), 0);
    pthread_join(p, NULL);
    ck_assert_int_eq(atomic_load(&destroyed), 1011);
}
END_TEST

static void waits(void *value)
{
    ck_assert_int_eq(vthread_sleep(VTHREAD_US), 0);
    ck_assert_ptr_eq(join(start(return_argument, value)), value);
    atomic_fetch_add(&destroyed, 1);
}

static void *sets_and_is_cancelled(void *value)
{
    sets(value);
    return pointer((uintptr_t)vthread_park());
}

START_TEST(a_destructor_may_wait_in_a_cancelled_thread)
{
    key = make_key(waits);
    vthread_t t = start(sets_and_is_cancelled, pointer(1));
    until_waiting(t);
    thread_cancel(t);
    ck_assert_ptr_eq(join(t), pointer(ECANCELED));
    ck_assert_int_eq(atomic_load(&destroyed), 1);
}
END_TEST

static void sets_anew(void *value)
{
    atomic_fetch_add(&destroyed, 1);
    vthread_key_set(key, value);
}

START_TEST(a_value_set_anew_is_destroyed_again_but_not_for_ever)
{
    key = make_key(sets_anew);
    join(start(sets, pointer(1)));
    ck_assert_int_eq(atomic_load(&destroyed), VTHREAD_DESTRUCTOR_ROUNDS);
}
END_TEST

static void pushes_a_handler(void *value)
{
    step('d');
    ck_assert_int_eq(vthread_cleanup_push(sets_anew, value), 0);
}

START_TEST(a_handler_pushed_by_a_destructor_runs)
{
    key = make_key(pushes_a_handler);
    join(start(sets, pointer(1)));
    ck_assert_str_eq(trail, "dddd");
    ck_assert_int_eq(atomic_load(&destroyed), 4);
}
END_TEST

static void *deletes_its_key(void *value)
{
    sets(value);
    ck_assert_int_eq(vthread_key_delete(key), 0);
    return NULL;
}

START_TEST(values_of_a_deleted_key_are_left_alone)
{
    key = make_key(counts);
    join(start(deletes_its_key, pointer(1)));
    ck_assert_int_eq(atomic_load(&destroyed), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("key");
    TCase *cases = new_trail_case(suite, "values");
    tcase_add_test(cases, each_thread_has_its_own_value);
    tcase_add_test(cases, there_are_as_many_keys_as_promised);
    tcase_add_test(cases, deleted_and_invented_keys_are_recognised);
    tcase_add_test(cases, without_memory_nothing_is_set);

    cases = new_trail_case(suite, "destructors");
    tcase_add_test(cases, destructors_run_at_the_end_whatever_it_is);
    tcase_add_test(cases, a_destructor_may_wait_in_a_cancelled_thread);
    tcase_add_test(cases, a_value_set_anew_is_destroyed_again_but_not_for_ever);
    tcase_add_test(cases, a_handler_pushed_by_a_destructor_runs);
    tcase_add_test(cases, values_of_a_deleted_key_are_left_alone);
    return run_suite(suite);
}
