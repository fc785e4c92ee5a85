/*
 * scoped_value_test.c - values bound while a function runs, inherited by the
 * children of scopes and by nobody else.
 */
#include <errno.h>
#include <pthread.h>

#include "platform/memory.h"
#include "tests/threads.h"
#include "tests/trail.h"

static vthread_scoped_t user = {.otherwise = "nobody"};
static vthread_scoped_t place;

static void user_is(const char *name)
{
    ck_assert_str_eq(vthread_scoped_get(&user), name);
}

static void bind_user(char *name, void (*fn)(void *), void *arg)
{
    ck_assert_int_eq(vthread_scoped_run(&user, name, fn, arg), 0);
}

static void is_bob(void *arg)
{
    (void)arg;
    user_is("bob");
    vthread_yield();
    user_is("bob");
}

static void is_alice_somewhere(void *arg)
{
    (void)arg;
    user_is("alice");
    ck_assert_str_eq(vthread_scoped_get(&place), "here");
}

static void places_alice(void *arg)
{
    ck_assert_int_eq(
        vthread_scoped_run(&place, "here", is_alice_somewhere, arg), 0);
    ck_assert_ptr_null(vthread_scoped_get(&place));
}

static void nests(void *arg)
{
    user_is("alice");
    bind_user("bob", is_bob, arg);
    user_is("alice");
    places_alice(arg);
}

static void *binds(void *arg)
{
    user_is("nobody");
    ck_assert_ptr_null(vthread_scoped_get(&place));
    bind_user("alice", nests, arg);
    user_is("nobody");
    return arg;
}

START_TEST(a_value_is_bound_while_the_function_runs)
{
    on_both_kinds(binds);
}
END_TEST

/* ---- Inheriting --------------------------------------------------------- */

static vthread_scope_t *open_scope(void)
{
    vthread_scope_t *s = NULL;
    ck_assert_int_eq(vthread_scope_open(&s, NULL), 0);
    return s;
}

static void fork_into(vthread_scope_t *s, int (*fn)(const void *, void *),
                      const void *args, size_t args_bytes)
{
    ck_assert_int_eq(vthread_scope_fork(s, NULL, fn, args, args_bytes, 0), 0);
}

static void join_and_close(vthread_scope_t *s)
{
    ck_assert_int_eq(vthread_scope_join(s), 0);
    ck_assert_int_eq(vthread_scope_close(s), 0);
}

static int child_is_alice(const void *args, void *result)
{
    (void)args, (void)result;
    user_is("alice");
    vthread_yield();
    bind_user("bob", is_bob, NULL);
    user_is("alice");
    return 0;
}

static int has_children_that_are_alice(const void *args, void *result)
{
    child_is_alice(args, result);
    vthread_scope_t *s = open_scope();
    fork_into(s, child_is_alice, NULL, 0);
    join_and_close(s);
    return 0;
}

/* Forked by a child that is bob itself. */
static void forks_as_bob(void *scope)
{
    user_is("bob");
    fork_into(scope, child_is_alice, NULL, 0);
}

static int forks_a_sibling(const void *args, void *result)
{
    (void)result;
    bind_user("bob", forks_as_bob, *(void *const *)args);
    return 0;
}

static void *is_nobody(void *arg)
{
    user_is("nobody");
    return arg;
}

static void forks(void *arg)
{
    vthread_scope_t *s = open_scope();
    for (int i = 0; i < 10; i++)
        fork_into(s, has_children_that_are_alice, NULL, 0);
    fork_into(s, forks_a_sibling, &s, sizeof s);
    join(start(is_nobody, arg));
    join_and_close(s);
}

static void *binds_and_forks(void *arg)
{
    bind_user("alice", forks, arg);
    return arg;
}

START_TEST(children_inherit_and_others_do_not)
{
    on_both_kinds(binds_and_forks);
}
END_TEST

static vthread_scope_t *left_open;

static void leaves_a_scope_open(void *arg)
{
    (void)arg;
    left_open = open_scope();
}

static void *uses_it_later(void *arg)
{
    bind_user("alice", leaves_a_scope_open, NULL);
    user_is("nobody");
    fork_into(left_open, has_children_that_are_alice, NULL, 0);
    join_and_close(left_open);
    return arg;
}

START_TEST(a_scope_keeps_the_bindings_that_it_has_captured)
{
    on_both_kinds(uses_it_later);
}
END_TEST

static void says_user(void *arg)
{
    step(*(const char *)vthread_scoped_get(&user));
    (void)arg;
}

static void exits(void *arg)
{
    user_is("bob");
    ck_assert_int_eq(vthread_cleanup_push(says_user, NULL), 0);
    vthread_exit(arg);
}

static void binds_bob_and_exits(void *arg)
{
    bind_user("bob", exits, arg);
}

static int exits_in_a_child(const void *args, void *result)
{
    (void)args, (void)result;
    bind_user("bob", exits, NULL);
    return EINVAL;
}

static void has_a_child_that_exits(void *arg)
{
    (void)arg;
    vthread_scope_t *s = open_scope();
    fork_into(s, exits_in_a_child, NULL, 0);
    join_and_close(s);
    binds_bob_and_exits(NULL);
}

static void *exits_while_bound(void *arg)
{
    bind_user("alice", has_a_child_that_exits, arg);
    return arg;
}

START_TEST(exit_gives_bindings_back_after_the_handlers)
{
    join(start(exits_while_bound, NULL));
    ck_assert_str_eq(trail, "bb");
}
END_TEST

static void never(void *arg)
{
    (void)arg;
    ck_abort_msg("it has been called");
}

static void *binds_badly(void *arg)
{
    ck_assert_int_eq(vthread_scoped_run(NULL, arg, never, NULL), EINVAL);
    ck_assert_int_eq(vthread_scoped_run(&user, arg, NULL, NULL), EINVAL);
    for (unsigned long n = 1; n <= 2; n++) {
        memory_fail_after(n);
        int err = vthread_scoped_run(&user, arg, never, NULL);
        memory_fail_after(0);
        ck_assert_int_eq(err, ENOMEM);
        user_is("nobody");
    }
    return NULL;
}

START_TEST(what_cannot_be_bound_is_not_run)
{
    join(start(binds_badly, NULL));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scoped_value");
    TCase *cases = new_trail_case(suite, "binding");
    tcase_add_test(cases, a_value_is_bound_while_the_function_runs);
    tcase_add_test(cases, what_cannot_be_bound_is_not_run);

    cases = new_trail_case(suite, "inheriting");
    tcase_add_test(cases, children_inherit_and_others_do_not);
    tcase_add_test(cases, a_scope_keeps_the_bindings_that_it_has_captured);
    tcase_add_test(cases, exit_gives_bindings_back_after_the_handlers);
    return run_suite(suite);
}
