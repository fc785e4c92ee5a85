/*
 * lifecycle_test.c - how threads begin and end: create, join, detach, exit,
 * handles, names and attributes.
 */
#include <errno.h>

#include "tests/threads.h"

/* ---- Life --------------------------------------------------------------- */

START_TEST(what_a_thread_returns_is_joined)
{
    ck_assert_ptr_eq(join(start(return_argument, pointer(4711))),
                     pointer(4711));
    vthread_t t = start(return_argument, NULL);
    ck_assert_int_eq(vthread_join(t, NULL), 0);
}
END_TEST

#define MANY 10000

START_TEST(ten_thousand_threads)
{
    static vthread_t threads[MANY];
    for (uintptr_t i = 0; i < MANY; i++)
        threads[i] = start(return_argument, pointer(i));
    for (uintptr_t i = 0; i < MANY; i++)
        ck_assert_ptr_eq(join(threads[i]), pointer(i));
    ck_assert_uint_eq(stats_of(vthread_scheduler_default()).threads, 0);
}
END_TEST

static void *family(void *depth)
{
    uintptr_t n = (uintptr_t)depth;
    if (n == 0)
        return pointer(1);
    vthread_t first = start(family, pointer(n - 1));
    vthread_t second = start(family, pointer(n - 1));
    return pointer((uintptr_t)join(first) + (uintptr_t)join(second));
}

static void *finds_its_handle(void *handle)
{
    return pointer(*(vthread_t *)handle == vthread_self());
}

START_TEST(the_handle_is_there_before_the_thread_begins)
{
    vthread_t *handle = calloc(1, sizeof *handle);
    for (int i = 0; i < 1000; i++) {
        *handle = 0;
        ck_assert_int_eq(vthread_create(handle, NULL, finds_its_handle, handle),
                         0);
        ck_assert_ptr_eq(join(*handle), pointer(1));
    }
    free(handle);
}
END_TEST

START_TEST(threads_create_and_join_threads)
{
    ck_assert_ptr_eq(join(start(family, pointer(12))), pointer(1 << 12));
}
END_TEST

START_TEST(a_handle_is_never_used_again)
{
    static vthread_t seen[1000];
    for (unsigned i = 0; i < COUNT_OF(seen); i++) {
        seen[i] = start(return_argument, NULL);
        join(seen[i]);
    }
    for (unsigned i = 0; i < COUNT_OF(seen); i++)
        for (unsigned j = 0; j < i; j++)
            if (seen[i] == seen[j])
                ck_abort_msg("%u and %u are the same", i, j);
}
END_TEST

static void assert_unknown(vthread_t t)
{
    char name[32];
    void *result = pointer(7);
    ck_assert_int_eq(vthread_join(t, &result), ESRCH);
    ck_assert_ptr_eq(result, pointer(7));
    ck_assert_int_eq(vthread_join_until(t, NULL, 0), ESRCH);
    ck_assert_int_eq(vthread_detach(t), ESRCH);
    ck_assert_int_eq(vthread_unpark(t), ESRCH);
    ck_assert_int_eq(vthread_interrupt(t), ESRCH);
    ck_assert_int_eq(vthread_setname(t, "x"), ESRCH);
    ck_assert_int_eq(vthread_getname(t, name, sizeof name), ESRCH);
}

START_TEST(a_stale_handle_is_recognised_by_everybody)
{
    vthread_t joined = start(return_argument, NULL);
    join(joined);
    assert_unknown(joined);
    /* Its object is used by another by now. */
    vthread_t others[200];
    for (unsigned i = 0; i < COUNT_OF(others); i++)
        others[i] = start(park_once, NULL);
    assert_unknown(joined);
    assert_unknown(0);
    assert_unknown(UINT64_MAX);
    assert_unknown(joined + (UINT64_C(1) << 52));
    for (unsigned i = 0; i < COUNT_OF(others); i++) {
        ck_assert_int_eq(vthread_unpark(others[i]), 0);
        ck_assert_ptr_eq(join(others[i]), NULL);
    }
}
END_TEST

static void *who_am_i(void *arg)
{
    *(vthread_t *)arg = vthread_self();
    ck_assert(vthread_is_virtual());
    vthread_yield();
    ck_assert_uint_eq(*(vthread_t *)arg, vthread_self());
    return NULL;
}

START_TEST(a_thread_knows_itself)
{
    static vthread_t self;
    vthread_t t = start(who_am_i, &self);
    join(t);
    ck_assert_uint_eq(self, t);
    ck_assert(!vthread_is_virtual());
    ck_assert_uint_ne(vthread_self(), 0);
    ck_assert_uint_eq(vthread_self(), vthread_self());
    ck_assert_uint_ne(vthread_self(), t);
}
END_TEST

__attribute__((noinline)) static void exit_deep(int levels)
{
    volatile char space[100] = {(char)levels};
    if (levels == 0)
        vthread_exit(pointer(99));
    if (levels > 0)
        exit_deep(levels - 1 + space[1]);
    space[0]++;
}

static void *exits(void *arg)
{
    exit_deep((int)(uintptr_t)arg);
    return NULL;
}

START_TEST(exit_ends_a_thread_from_any_depth)
{
    uintptr_t deepest = UNDER_SANITIZER ? 60 : 200;
    for (uintptr_t depth = 0; depth < deepest; depth++)
        ck_assert_ptr_eq(join(start(exits, pointer(depth))), pointer(99));
}
END_TEST

static void *exits_platform(void *arg)
{
    vthread_exit(arg);
    return NULL;
}

START_TEST(exit_on_a_platform_thread_is_pthread_exit)
{
    pthread_t p;
    void *result;
    ck_assert_int_eq(pthread_create(&p, NULL, exits_platform, pointer(5)), 0);
    pthread_join(p, &result);
    ck_assert_ptr_eq(result, pointer(5));
}
END_TEST

/* ---- Joining and detaching ---------------------------------------------- */

static void *join_errors(void *arg)
{
    (void)arg;
    void *result = pointer(7);
    ck_assert_int_eq(vthread_join(vthread_self(), &result), EDEADLK);
    vthread_t t = start(park_once, NULL);
    ck_assert_int_eq(vthread_join_until(t, &result, 0), ETIMEDOUT);
    ck_assert_int_eq(vthread_join_until(t, &result,
                                        vthread_after(VTHREAD_MS)),
                     ETIMEDOUT);
    ck_assert_ptr_eq(result, pointer(7));
    ck_assert_int_eq(vthread_unpark(t), 0);
    ck_assert_int_eq(vthread_join_until(t, &result,
                                        vthread_after(60 * VTHREAD_SECOND)),
                     0);
    ck_assert_ptr_eq(result, NULL);
    ck_assert_int_eq(vthread_join(t, NULL), ESRCH);
    t = start(return_argument, pointer(3));
    until_ended(t);
    ck_assert_int_eq(vthread_join_until(t, &result, 0), 0);
    ck_assert_ptr_eq(result, pointer(3));
    return NULL;
}

START_TEST(join_keeps_its_word)
{
    on_both_kinds(join_errors);
}
END_TEST

static void *joins(void *t)
{
    return pointer((uintptr_t)vthread_join(*(vthread_t *)t, NULL));
}

START_TEST(a_thread_that_is_being_joined_is_not_joined_by_others)
{
    static vthread_t t;
    t = start(park_once, NULL);
    vthread_t joiner = start(joins, &t);
    until_waiting(joiner);
    ck_assert_int_eq(vthread_join(t, NULL), EINVAL);
    ck_assert_int_eq(vthread_detach(t), EINVAL);
    vthread_unpark(t);
    ck_assert_ptr_eq(join(joiner), NULL);
    ck_assert_int_eq(vthread_join(t, NULL), ESRCH);
}
END_TEST

START_TEST(an_interrupted_join_leaves_the_thread_as_it_was)
{
    static vthread_t t;
    t = start(park_once, NULL);
    for (int i = 0; i < 20; i++) {
        vthread_t joiner = start(joins, &t);
        until_waiting(joiner);
        ck_assert_int_eq(vthread_interrupt(joiner), 0);
        ck_assert_ptr_eq(join(joiner), pointer(ECANCELED));
    }
    vthread_unpark(t);
    ck_assert_ptr_eq(join(t), NULL);
}
END_TEST

static void *join_race(void *arg)
{
    vthread_t t = *(vthread_t *)arg;
    int err = vthread_join(t, NULL);
    ck_assert(err == 0 || err == ECANCELED);
    /* One interrupt was sent: it is seen once, here or there. */
    while (err == 0 && !vthread_interrupted()) {
        sched_yield(); /* it comes from an OS thread */
        vthread_yield();
    }
    return pointer((uintptr_t)err);
}

START_TEST(a_join_that_succeeds_has_not_eaten_the_interrupt)
{
    static vthread_t t;
    set_mode("VTHREAD_PARALLELISM", "3");
    for (unsigned i = 0; i < how_often(100, 500); i++) {
        t = start(park_once, NULL);
        vthread_t joiner = start(join_race, &t);
        until_waiting(joiner);
        until_waiting(t);
        vthread_unpark(t);
        vthread_interrupt(joiner);
        if (join(joiner) != NULL)
            join(t);
    }
}
END_TEST

static atomic_int ended;

static void *count_end(void *arg)
{
    vthread_yield();
    atomic_fetch_add(&ended, 1);
    return arg;
}

START_TEST(detached_threads_free_themselves)
{
    atomic_store(&ended, 0);
    vthread_t first = 0;
    for (int i = 0; i < 1000; i++) {
        vthread_attr_t attr = {.flags = VTHREAD_DETACHED};
        vthread_t t;
        ck_assert_int_eq(vthread_create(i % 2 ? NULL : &t, &attr, count_end,
                                        NULL),
                         0);
        if (i == 0)
            first = t;
    }
    while (atomic_load(&ended) < 1000
           || stats_of(vthread_scheduler_default()).threads > 0)
        vthread_yield();
    while (vthread_unpark(first) == 0)
        vthread_yield();
    assert_unknown(first);
}
END_TEST

START_TEST(a_thread_can_be_detached_before_and_after_its_end)
{
    vthread_t t = start(park_once, NULL);
    ck_assert_int_eq(vthread_detach(t), 0);
    ck_assert_int_eq(vthread_detach(t), EINVAL);
    ck_assert_int_eq(vthread_join(t, NULL), EINVAL);
    vthread_unpark(t);
    while (vthread_unpark(t) == 0)
        vthread_yield();
    assert_unknown(t);
    t = start(return_argument, NULL);
    until_ended(t);
    ck_assert_int_eq(vthread_detach(t), 0);
    assert_unknown(t);
}
END_TEST

static void *detach_myself(void *arg)
{
    (void)arg;
    ck_assert_int_eq(vthread_detach(vthread_self()), 0);
    ck_assert_int_eq(vthread_detach(vthread_self()), EINVAL);
    return NULL;
}

START_TEST(a_thread_can_detach_itself)
{
    vthread_t t = start(detach_myself, NULL);
    while (vthread_unpark(t) == 0)
        vthread_yield();
    assert_unknown(t);
}
END_TEST

/* ---- Names and attributes ----------------------------------------------- */

static void *names(void *arg)
{
    char name[40];
    vthread_t self = vthread_self();
    (void)arg;
    ck_assert_int_eq(vthread_setname(self, "reader"), 0);
    ck_assert_int_eq(vthread_getname(self, name, sizeof name), 0);
    ck_assert_str_eq(name, "reader");
    ck_assert_int_eq(vthread_getname(self, name, 7), 0);
    strcpy(name, "untouched");
    ck_assert_int_eq(vthread_getname(self, name, 6), ERANGE);
    ck_assert_int_eq(vthread_getname(self, NULL, 7), EINVAL);
    ck_assert_int_eq(vthread_getname(self, name, 0), ERANGE);
    ck_assert_str_eq(name, "untouched");
    ck_assert_int_eq(
        vthread_setname(self, "0123456789012345678901234567890123456789"), 0);
    ck_assert_int_eq(vthread_getname(self, name, sizeof name), 0);
    ck_assert_str_eq(name, "0123456789012345678901234567890");
    ck_assert_int_eq(vthread_setname(self, ""), 0);
    ck_assert_int_eq(vthread_getname(self, name, sizeof name), 0);
    ck_assert_str_eq(name, "");
    ck_assert_int_eq(vthread_setname(self, "again"), 0);
    ck_assert_int_eq(vthread_setname(self, NULL), 0);
    ck_assert_int_eq(vthread_getname(self, name, 1), 0);
    ck_assert_str_eq(name, "");
    return NULL;
}

START_TEST(names_are_kept_and_cut)
{
    char name[32];
    on_both_kinds(names);
    char given[] = "writer";
    vthread_t t = start_attr((vthread_attr_t){.name = given}, park_once,
                             NULL);
    given[0] = 'x';
    ck_assert_int_eq(vthread_getname(t, name, sizeof name), 0);
    ck_assert_str_eq(name, "writer");
    vthread_unpark(t);
    join(t);
}
END_TEST

static void refused(vthread_attr_t attr)
{
    vthread_t t = 42;
    ck_assert_int_eq(vthread_create(&t, &attr, return_argument, NULL),
                     EINVAL);
    ck_assert_uint_eq(t, 42);
}

START_TEST(bad_attributes_are_refused_and_nothing_is_stored)
{
    refused((vthread_attr_t){.stack_size_bytes = 4096});
    refused((vthread_attr_t){
        .stack_size_bytes = VTHREAD_STACK_SIZE_MIN - 4096});
    refused((vthread_attr_t){.stack_size_bytes = 65537});
    refused((vthread_attr_t){
        .stack_size_bytes = VTHREAD_STACK_SIZE_MAX + 4096});
    refused((vthread_attr_t){.stack_size_bytes = SIZE_MAX - 4095});
    refused((vthread_attr_t){.flags = 0x40000000u});
    refused((vthread_attr_t){.reserved = 1});
}
END_TEST

static void *uses_stack(void *arg)
{
    size_t size = (size_t)arg;
    volatile char *space = __builtin_alloca(size);
    for (size_t i = 0; i < size; i += 1024)
        space[i] = (char)(i / 1024);
    vthread_yield();
    for (size_t i = 0; i < size; i += 1024)
        if (space[i] != (char)(i / 1024))
            return pointer(1);
    return NULL;
}

START_TEST(a_stack_has_the_size_that_was_asked_for)
{
    static const size_t sizes[] = {VTHREAD_STACK_SIZE_MIN, 64 << 10,
                                   VTHREAD_STACK_SIZE_DEFAULT, 1 << 20,
                                   16 << 20, 1 << 20};
    for (unsigned i = 0; i < COUNT_OF(sizes); i++)
        ck_assert_ptr_null(join(start_attr(
            (vthread_attr_t){.stack_size_bytes = sizes[i]}, uses_stack,
            pointer(sizes[i] - (12 << 10)))));
}
END_TEST

static void *stays_on_its_carrier(void *arg)
{
    long mine = os_thread();
    (void)arg;
    for (int i = 0; i < 200; i++) {
        if (i % 10 == 0)
            vthread_sleep(20 * VTHREAD_US);
        else
            vthread_yield();
        ck_assert_int_eq(os_thread(), mine);
    }
    return NULL;
}

static void *roams(void *arg)
{
    for (int i = 0; i < 300; i++)
        if (i % 10 == 0)
            vthread_sleep(20 * VTHREAD_US);
        else
            vthread_yield();
    return arg;
}

START_TEST(a_bound_thread_stays_on_its_carrier)
{
    vthread_t threads[40];
    vthread_scheduler_t *s = scheduler_of(4);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start_attr(
            (vthread_attr_t){.scheduler = s,
                             .flags = i % 2 ? VTHREAD_BOUND : 0},
            i % 2 ? stays_on_its_carrier : roams, NULL);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    shut_down(s);
}
END_TEST

/* ---- The suite ---------------------------------------------------------- */

static void add_life(Suite *suite)
{
    TCase *cases = new_case(suite, "life");
    tcase_add_test(cases, what_a_thread_returns_is_joined);
    tcase_add_test(cases, ten_thousand_threads);
    tcase_add_test(cases, the_handle_is_there_before_the_thread_begins);
    tcase_add_test(cases, threads_create_and_join_threads);
    tcase_add_test(cases, a_handle_is_never_used_again);
    tcase_add_test(cases, a_stale_handle_is_recognised_by_everybody);
    tcase_add_test(cases, a_thread_knows_itself);
    tcase_add_test(cases, exit_ends_a_thread_from_any_depth);
    tcase_add_test(cases, exit_on_a_platform_thread_is_pthread_exit);
}

static void add_joining(Suite *suite)
{
    TCase *cases = new_case(suite, "joining");
    tcase_add_test(cases, join_keeps_its_word);
    tcase_add_test(cases,
                   a_thread_that_is_being_joined_is_not_joined_by_others);
    tcase_add_test(cases, an_interrupted_join_leaves_the_thread_as_it_was);
    tcase_add_test(cases, a_join_that_succeeds_has_not_eaten_the_interrupt);
    tcase_add_test(cases, detached_threads_free_themselves);
    tcase_add_test(cases, a_thread_can_be_detached_before_and_after_its_end);
    tcase_add_test(cases, a_thread_can_detach_itself);
}

static void add_attributes(Suite *suite)
{
    TCase *cases = new_case(suite, "attributes");
    tcase_add_test(cases, names_are_kept_and_cut);
    tcase_add_test(cases, bad_attributes_are_refused_and_nothing_is_stored);
    tcase_add_test(cases, a_stack_has_the_size_that_was_asked_for);
    tcase_add_test(cases, a_bound_thread_stays_on_its_carrier);
}

int main(void)
{
    Suite *suite = suite_create("lifecycle");
    add_life(suite);
    add_joining(suite);
    add_attributes(suite);
    return run_suite(suite);
}
