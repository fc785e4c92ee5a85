/*
 * scope_child_test.c - the children of scopes: what they may be given, when
 * they have their turn, and what happens without memory.
 */
#include "entry.h"
#include "platform/memory.h"
#include "tests/scopes.h"

/* ---- Pointers to stacks ------------------------------------------------- */

static int takes_a_pointer(const void *args, void *result)
{
    (void)result;
    return **(int *const *)args;
}

struct pointers {
    uint64_t number;
    int *pointer;
};

static int ignores_its_arguments(const void *args, void *result)
{
    (void)args, (void)result;
    return 0;
}

static void *passes_a_local(void *arg)
{
    int local = 0;
    struct pointers args = {7, &local};
    (void)arg;
    vthread_scope_t *s = open_scope();
    int err = vthread_scope_fork(s, NULL, ignores_its_arguments, &args,
                                 sizeof args, 0);
    require(vthread_scope_join(s) == 0);
    close_scope(s);
    return pointer((uintptr_t)err);
}

START_TEST(a_pointer_into_a_shared_home_is_refused)
{
    set_mode("VTHREAD_OWN_LIMIT", "0");
    set_mode("VTHREAD_COMMON_HOMES", "2");
    vthread_scope_t *crowd = open_scope();
    for (int i = 0; i < 100; i++)
        fork_number(crowd, parks, 0);
    until_running(100);
    void *result = join(start(passes_a_local, NULL));
    if (mode_is("VTHREAD_OWN_LIMIT", "0")
        && !mode_is("VTHREAD_FREEZE", "guard"))
        ck_assert_ptr_eq(result, pointer(EFAULT));
    close_scope(crowd);
}
END_TEST

static int lends_a_local(const void *args, void *result)
{
    int local = 0, *lent = &local;
    (void)args, (void)result;
    vthread_scope_t *s = open_scope();
    int err = vthread_scope_fork(s, NULL, takes_a_pointer, &lent, sizeof lent,
                                 0);
    if (err == 0)
        err = vthread_scope_join(s);
    close_scope(s);
    return err;
}

static bool is_remembered(child_fn *fn)
{
    return entry_needs_own((void *(*)(void *))(void (*)(void))fn);
}

START_TEST(a_child_that_lends_a_local_is_remembered_by_its_function)
{
    vthread_scope_t *s = open_scope();
    fork_number(s, lends_a_local, 0);
    vthread_scope_join(s);
    close_scope(s);
    ck_assert(is_remembered(lends_a_local));
    ck_assert(!is_remembered(takes_a_pointer));
}
END_TEST

/* ---- Taking turns ------------------------------------------------------- */

static atomic_int has_run;

static void *yields_until_it_has_run(void *arg)
{
    until(&has_run);
    return arg;
}

static int runs(const void *args, void *result)
{
    (void)args, (void)result;
    atomic_store(&has_run, 1);
    return 0;
}

static void *forks_and_yields(void *arg)
{
    vthread_scope_t *s = open_scope();
    require(vthread_scope_fork(s, NULL, runs, NULL, 0, 0) == 0);
    yields_until_it_has_run(NULL);
    close_scope(s);
    return arg;
}

static void on_one_carrier(void *(*fn)(void *), int others)
{
    vthread_scheduler_t *s = scheduler_of(1);
    vthread_t threads[4];
    for (int i = 0; i < others; i++)
        threads[i] = start_on(s, yields_until_it_has_run, NULL);
    join(start_on(s, fn, NULL));
    for (int i = 0; i < others; i++)
        join(threads[i]);
    shut_down(s);
}

START_TEST(a_child_has_its_turn_among_threads_that_never_wait)
{
    on_one_carrier(forks_and_yields, 4);
}
END_TEST

/* Each forks the next, so there is always a younger one. */
static int forks_the_next(const void *args, void *result)
{
    vthread_scope_t *s = *(vthread_scope_t *const *)args;
    (void)result;
    if (atomic_load(&has_run))
        return 0;
    return vthread_scope_fork(s, NULL, forks_the_next, args, sizeof s, 0);
}

static void *forks_a_chain(void *arg)
{
    vthread_scope_t *s = open_scope();
    require(vthread_scope_fork(s, NULL, runs, NULL, 0, 0) == 0);
    require(vthread_scope_fork(s, NULL, forks_the_next, &s, sizeof s, 0)
            == 0);
    require(vthread_scope_join(s) == 0);
    close_scope(s);
    return arg;
}

START_TEST(the_oldest_child_has_its_turn_though_younger_ones_keep_coming)
{
    on_one_carrier(forks_a_chain, 0);
}
END_TEST

/* ---- Want of memory ----------------------------------------------------- */

/* Opens, forks with and without a task beyond the first table, joins. */
static int needs_memory(void)
{
    vthread_scope_attr_t attr = {.children.name = "x",
                                 .deadline_ns = UINT64_MAX - 1};
    vthread_scope_t *s;
    uint32_t task;
    int err = vthread_scope_open(&s, &attr);
    if (err != 0)
        return err;
    for (int64_t i = 0; i < 30 && err == 0; i++)
        err = vthread_scope_fork(s, &task, doubles, &i, sizeof i, 64);
    memory_fail_after(0); /* a wait may need some */
    require(vthread_scope_join(s) == 0);
    close_scope(s);
    return err;
}

static void *runs_out_of_memory(void *arg)
{
    require(needs_memory() == 0);
    int err = ENOMEM;
    for (unsigned long n = 1; err != 0; n++) {
        memory_fail_after(n);
        err = needs_memory();
        memory_fail_after(0);
        require(err == 0 || err == ENOMEM);
        require(n < 1000);
    }
    return arg;
}

/* In the other modes a wait itself needs memory. */
START_TEST(each_allocation_may_fail)
{
    if (mode_is("VTHREAD_FREEZE", "eager")
        || mode_is("VTHREAD_FREEZE", "guard"))
        return;
    on_both_kinds(runs_out_of_memory);
    ck_assert_uint_eq(stats_of(vthread_scheduler_default()).threads, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scope_child");
    TCase *cases;
    cases = new_case(suite, "pointers");
    tcase_add_test(cases, a_pointer_into_a_shared_home_is_refused);
    tcase_add_test(cases,
                   a_child_that_lends_a_local_is_remembered_by_its_function);

    cases = new_case(suite, "turns");
    tcase_add_test(cases, a_child_has_its_turn_among_threads_that_never_wait);
    tcase_add_test(
        cases, the_oldest_child_has_its_turn_though_younger_ones_keep_coming);

    cases = new_case(suite, "memory");
    tcase_add_test(cases, each_allocation_may_fail);
    return run_suite(suite);
}
