/*
 * scope_cancel_test.c - cancel reaches all that is below a scope, by request,
 * at a deadline, in any race.
 */
#include "tests/cancel_at.h"
#include "tests/random.h"
#include "tests/scopes.h"

/* ---- Cancel ------------------------------------------------------------- */

static void *cancels_deep(void *arg)
{
    start_counting();
    vthread_scope_t *s = open_scope();
    fork_number(s, nests, 10);
    until_running(11);
    require(vthread_scope_cancel(s) == 0);
    require(vthread_scope_cancel(s) == 0);
    require(vthread_scope_join(s) == ECANCELED);
    require(atomic_load(&ended) == 11);
    close_scope(s);
    return arg;
}

START_TEST(cancel_reaches_ten_levels_down)
{
    on_both_kinds(cancels_deep);
}
END_TEST

/* Does not look at its scope again before its grandchild has ended. */
static int computes_meanwhile(const void *args, void *result)
{
    (void)args, (void)result;
    vthread_scope_t *s = open_scope();
    fork_number(s, parks, 0);
    while (atomic_load(&ended) < 1)
        vthread_yield();
    require(vthread_testcancel() == ECANCELED);
    require(vthread_scope_fork(s, NULL, has_nothing, NULL, 0, 0)
            == ECANCELED);
    require(vthread_scope_join(s) == ECANCELED);
    close_scope(s);
    /* A new scope is cancelled from the beginning. */
    s = open_scope();
    require(vthread_scope_fork(s, NULL, has_nothing, NULL, 0, 0)
            == ECANCELED);
    close_scope(s);
    return 0;
}

static void *cancels_over_a_head(void *arg)
{
    start_counting();
    vthread_scope_t *s = open_scope();
    fork_number(s, computes_meanwhile, 0);
    until_running(1);
    require(vthread_scope_cancel(s) == 0);
    require(vthread_scope_join(s) == ECANCELED);
    close_scope(s);
    return arg;
}

START_TEST(cancel_reaches_grandchildren_while_the_child_computes)
{
    on_both_kinds(cancels_over_a_head);
}
END_TEST

static atomic_int shielded_may_end;

static int waits_for_leave(const void *args, void *result)
{
    (void)args, (void)result;
    atomic_fetch_add(&running, 1);
    until(&shielded_may_end);
    return vthread_testcancel();
}

static int shields(const void *args, void *result)
{
    (void)args, (void)result;
    require(vthread_cancel_disable() == 0);
    vthread_scope_t *s = open_scope();
    require(vthread_cancel_enable() == 0);
    fork_number(s, waits_for_leave, 0);
    require(vthread_cancel_disable() == 0);
    int err = vthread_scope_join(s);
    require(vthread_cancel_enable() == 0);
    close_scope(s);
    require(vthread_testcancel() == ECANCELED);
    return err;
}

static void *cancels_a_shielded_scope(void *arg)
{
    start_counting();
    atomic_store(&shielded_may_end, 0);
    vthread_scope_t *s = open_policy(VTHREAD_SCOPE_WAIT_ALL);
    uint32_t task = fork_number(s, shields, 0);
    until_running(1);
    require(vthread_scope_cancel(s) == 0);
    atomic_store(&shielded_may_end, 1);
    require(vthread_scope_join(s) == ECANCELED);
    require(result_of(s, task) == 0);
    close_scope(s);
    return arg;
}

START_TEST(a_scope_opened_with_cancellation_disabled_is_shielded)
{
    on_both_kinds(cancels_a_shielded_scope);
}
END_TEST

static void *is_interrupted_in_join(void *arg)
{
    start_counting();
    vthread_scope_t *s = open_scope();
    fork_number(s, parks, 0);
    vthread_interrupt(vthread_self());
    require(vthread_scope_join(s) == ECANCELED);
    require(vthread_scope_join_until(s, 1) == ETIMEDOUT);
    require(vthread_scope_join_until(s, vthread_after(VTHREAD_US))
            == ETIMEDOUT);
    until_running(1);
    require(atomic_load(&ended) == 0);
    vthread_interrupt(vthread_self());
    close_scope(s);
    require(atomic_load(&ended) == 1);
    require(vthread_interrupted());
    return arg;
}

START_TEST(a_join_that_is_cancelled_leaves_the_children_alone)
{
    on_both_kinds(is_interrupted_in_join);
}
END_TEST

/* ---- Deadlines ---------------------------------------------------------- */

static vthread_scope_t *open_until(uint64_t deadline_ns)
{
    return open_attr((vthread_scope_attr_t){.deadline_ns = deadline_ns});
}

/* With a child that was forked before the deadline, however busy the machine
 * is. */
static vthread_scope_t *open_in_time(child_fn *fn, int64_t number)
{
    for (uint64_t time_ns = VTHREAD_MS;; time_ns *= 2) {
        vthread_scope_t *s = open_until(vthread_after(time_ns));
        start_counting();
        int err = vthread_scope_fork(s, NULL, fn, &number, sizeof number, 0);
        if (err == 0)
            return s;
        require(err == ETIMEDOUT);
        require(vthread_scope_join(s) == ETIMEDOUT);
        close_scope(s);
    }
}

static void *has_a_deadline(void *arg)
{
    vthread_scope_t *s = open_in_time(nests, 3);
    require(vthread_scope_join(s) == ETIMEDOUT);
    require(atomic_load(&ended) == atomic_load(&running));
    require(vthread_scope_fork(s, NULL, has_nothing, NULL, 0, 0)
            == ETIMEDOUT);
    require(vthread_scope_join(s) == ETIMEDOUT);
    close_scope(s);
    return arg;
}

START_TEST(a_deadline_cancels_all_that_is_below)
{
    on_both_kinds(has_a_deadline);
}
END_TEST

static void *does_not_join(void *arg)
{
    vthread_scope_t *s = open_in_time(parks, 0);
    while (atomic_load(&ended) == 0)
        vthread_yield();
    require(vthread_scope_join(s) == ETIMEDOUT);
    close_scope(s);
    return arg;
}

START_TEST(a_deadline_comes_while_the_owner_computes)
{
    on_both_kinds(does_not_join);
}
END_TEST

static int computes(const void *args, void *result)
{
    (void)args, (void)result;
    while (vthread_testcancel() == 0)
        continue;
    return ECANCELED;
}

/* The child keeps the only carrier of its scheduler. */
static void *has_a_child_that_computes(void *arg)
{
    vthread_scheduler_t *cpu = scheduler_of(1);
    int err;
    do {
        vthread_scope_t *s = open_attr((vthread_scope_attr_t){
            .deadline_ns = vthread_after(20 * VTHREAD_MS),
            .children = {.scheduler = cpu}});
        err = vthread_scope_fork(s, NULL, computes, NULL, 0, 0);
        require(vthread_scope_join(s) == ETIMEDOUT);
        close_scope(s);
    } while (err != 0); /* the deadline was first */
    shut_down(cpu);
    return arg;
}

START_TEST(a_deadline_reaches_children_that_keep_all_their_carriers)
{
    on_both_kinds(has_a_child_that_computes);
}
END_TEST

static void *is_in_time(void *arg)
{
    vthread_scope_t *s = open_until(vthread_after(600 * VTHREAD_SECOND));
    uint32_t task = fork_number(s, doubles, 4);
    require(vthread_scope_join(s) == 0);
    require(result_of(s, task) == 8);
    close_scope(s);
    s = open_until(vthread_after(600 * VTHREAD_SECOND));
    close_scope(s);
    s = open_until(1);
    require(vthread_scope_fork(s, NULL, has_nothing, NULL, 0, 0)
            == ETIMEDOUT);
    require(vthread_scope_join(s) == ETIMEDOUT);
    close_scope(s);
    return arg;
}

START_TEST(a_deadline_that_does_not_come_leaves_nothing_behind)
{
    on_both_kinds(is_in_time);
    ck_assert_uint_eq(stats_of(vthread_scheduler_default()).threads, 0);
}
END_TEST

/* ---- Races -------------------------------------------------------------- */

/* Forks until it is refused. */
static int forks_on(const void *args, void *result)
{
    vthread_scope_t *s = *(vthread_scope_t *const *)args;
    int err;
    (void)result;
    while ((err = vthread_scope_fork(s, NULL, parks, NULL, 0, 0)) == 0) {
        sched_yield(); /* who cancels may be an OS thread */
        vthread_yield();
    }
    return err;
}

static void *races_with_forks(void *arg)
{
    for (int round = 0; round < (int)how_often(8, 20); round++) {
        start_counting();
        vthread_scope_t *s = open_scope();
        for (int i = 0; i < 3; i++)
            require(vthread_scope_fork(s, NULL, forks_on, &s, sizeof s, 0)
                    == 0);
        until_running(round);
        if (round % 2 == 0)
            require(vthread_scope_cancel(s) == 0);
        close_scope(s);
        require(atomic_load(&ended) == atomic_load(&running));
    }
    return arg;
}

START_TEST(a_fork_that_races_a_cancel_is_refused_or_cancelled)
{
    on_both_kinds(races_with_forks);
    ck_assert_uint_eq(stats_of(vthread_scheduler_default()).threads, 0);
}
END_TEST

static void *races_with_failures(void *arg)
{
    for (int64_t round = 0; round < 200; round++) {
        vthread_scope_t *s = open_scope();
        for (int64_t i = 1; i < 8; i++) {
            int err = vthread_scope_fork(s, NULL, i % 2 ? fails : nests, &i,
                                         sizeof i, sizeof i);
            require(err == 0 || err == ECANCELED);
        }
        if (round % 3 == 0) {
            int err = vthread_scope_join(s);
            require(err >= 1 && err < 8);
        }
        close_scope(s);
    }
    return arg;
}

START_TEST(close_races_failing_children)
{
    on_both_kinds(races_with_failures);
    ck_assert_uint_eq(stats_of(vthread_scheduler_default()).threads, 0);
}
END_TEST

/* ---- The nth wait ------------------------------------------------------- */

static int stays_until_joined(const void *args, void *result)
{
    until_waiting(*(const vthread_t *)args);
    *(int64_t *)result = 1;
    return 0;
}

/* Two joins, sure to wait. */
static void *joins_twice(void *arg)
{
    vthread_t self = vthread_self();
    vthread_scope_t *s = open_scope();
    int err = 0;
    for (int i = 0; i < 2 && err == 0; i++) {
        err = vthread_scope_fork(s, NULL, stays_until_joined, &self,
                                 sizeof self, sizeof(int64_t));
        if (err == 0)
            err = vthread_scope_join(s);
    }
    if (arg)
        close_scope(s);
    return pointer((uintptr_t)err);
}

static void nobody_is_left(void *arg, unsigned n, void *result)
{
    (void)arg;
    ck_assert_uint_eq((uintptr_t)result, n == 0 ? 0 : ECANCELED);
    ck_assert_uint_eq(stats_of(vthread_scheduler_default()).threads, 0);
}

START_TEST(a_join_cancelled_at_any_wait_leaves_nobody_behind)
{
    ck_assert_uint_eq(cancel_at_every_wait(THREAD_INTERRUPT, joins_twice,
                                           pointer(1), nobody_is_left),
                      2);
    ck_assert_uint_eq(cancel_at_every_wait(THREAD_CANCEL, joins_twice, NULL,
                                           nobody_is_left),
                      2);
}
END_TEST

/* ---- Random trees ------------------------------------------------------- */

/* What a node does is in its number; the tree is finite in depth. */
struct node {
    uint64_t seed;
    int depth;
};

static atomic_int nodes_begun, nodes_ended;

static void node_ends(void *arg)
{
    (void)arg;
    vthread_yield();
    atomic_fetch_add(&nodes_ended, 1);
}

static int grows(const void *args, void *result);

static int grow_children(vthread_scope_t *s, struct random *random, int depth)
{
    int err = 0;
    for (uint64_t i = random_below(random, 6); i > 0 && err == 0; i--) {
        struct node child = {random_next(random), depth - 1};
        uint32_t task;
        err = vthread_scope_fork(s, i % 2 ? &task : NULL, grows, &child,
                                 sizeof child, random_below(random, 3) * 8);
    }
    return err;
}

static int grow_scope(struct random *random, int depth)
{
    vthread_scope_attr_t attr = {
        .policy = (enum vthread_scope_policy)random_below(random, 3),
        .deadline_ns = random_below(random, 8) == 0
                           ? vthread_after(random_below(random, VTHREAD_MS))
                           : 0};
    vthread_scope_t *s;
    int err = vthread_scope_open(&s, &attr);
    require(err == 0);
    err = grow_children(s, random, depth);
    switch (random_below(random, 6)) {
    case 0:
        vthread_exit(pointer((uintptr_t)err));
    case 1:
        vthread_scope_cancel(s);
        break;
    case 2:
        vthread_scope_join_until(s, vthread_after(VTHREAD_US));
        break;
    default:
        err = vthread_scope_join(s);
    }
    if (random_below(random, 4) > 0)
        close_scope(s);
    return err == ECHILD ? 0 : err;
}

static int grows(const void *args, void *result)
{
    struct node node = *(const struct node *)args;
    struct random random = {node.seed};
    (void)result;
    atomic_fetch_add(&nodes_begun, 1);
    require(vthread_cleanup_push(node_ends, NULL) == 0);
    uint64_t what = random_below(&random, 16);
    if (node.depth > 0 && what < 12)
        return grow_scope(&random, node.depth);
    if (what == 12)
        return EIO;
    if (what == 13)
        return vthread_sleep(random_below(&random, 100 * VTHREAD_US));
    return 0;
}

static void *grows_a_tree(void *arg)
{
    struct random *random = arg;
    vthread_scope_t *s = open_policy(VTHREAD_SCOPE_WAIT_ALL);
    for (int i = 0; i < 3; i++) {
        struct node root = {random_next(random), 5};
        require(vthread_scope_fork(s, NULL, grows, &root, sizeof root, 0)
                == 0);
    }
    if (random_below(random, 4) > 0)
        vthread_scope_join(s);
    close_scope(s);
    require(atomic_load(&nodes_begun) == atomic_load(&nodes_ended));
    return NULL;
}

START_TEST(random_trees_end_to_the_last_leaf)
{
    static struct random random;
    random = random_start("scope_cancel_test");
    for (int i = 0; i < (UNDER_SANITIZER ? 20 : 100); i++) {
        join(start(grows_a_tree, &random));
        ck_assert_uint_eq(stats_of(vthread_scheduler_default()).threads, 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scope_cancel");
    TCase *cases;
    cases = new_case(suite, "cancel");
    tcase_add_test(cases, cancel_reaches_ten_levels_down);
    tcase_add_test(cases,
                   cancel_reaches_grandchildren_while_the_child_computes);
    tcase_add_test(cases,
                   a_scope_opened_with_cancellation_disabled_is_shielded);
    tcase_add_test(cases, a_join_that_is_cancelled_leaves_the_children_alone);

    cases = new_case(suite, "deadlines");
    tcase_add_test(cases, a_deadline_cancels_all_that_is_below);
    tcase_add_test(cases, a_deadline_comes_while_the_owner_computes);
    tcase_add_test(cases,
                   a_deadline_reaches_children_that_keep_all_their_carriers);
    tcase_add_test(cases,
                   a_deadline_that_does_not_come_leaves_nothing_behind);

    cases = new_case(suite, "races");
    tcase_add_test(cases, a_fork_that_races_a_cancel_is_refused_or_cancelled);
    tcase_add_test(cases, close_races_failing_children);

    cases = new_case(suite, "nth_wait");
    tcase_add_test(cases, a_join_cancelled_at_any_wait_leaves_nobody_behind);

    cases = new_case(suite, "random");
    tcase_add_test(cases, random_trees_end_to_the_last_leaf);
    return run_suite(suite);
}
