/*
 * scope_test.c - structured concurrency: results, policies, and that no child
 * outlives its scope.
 */
#include "tests/scopes.h"
#include "waiting.h"

/* ---- Results ------------------------------------------------------------ */

static void *forks_and_adds(void *arg)
{
    uint32_t tasks[20];
    int64_t sum = 0;
    vthread_scope_t *s = open_scope();
    for (int i = 0; i < 20; i++)
        tasks[i] = fork_number(s, doubles, i);
    require(vthread_scope_join(s) == 0);
    for (int i = 0; i < 20; i++)
        sum += result_of(s, tasks[i]);
    require(sum == 380);
    close_scope(s);
    return arg;
}

START_TEST(results_come_by_value)
{
    on_both_kinds(forks_and_adds);
}
END_TEST

struct large {
    uint64_t words[1000];
};

static int reverses(const void *args, void *result)
{
    const struct large *from = args;
    struct large *to = result;
    vthread_yield();
    for (int i = 0; i < 1000; i++)
        to->words[i] = from->words[999 - i];
    return 0;
}

static void *passes_large_values(void *arg)
{
    struct large *value = malloc(sizeof *value);
    uint32_t task;
    vthread_scope_t *s = open_scope();
    for (int i = 0; i < 1000; i++)
        value->words[i] = (uint64_t)i;
    require(vthread_scope_fork(s, &task, reverses, value, sizeof *value,
                               sizeof *value)
            == 0);
    memset(value, 0, sizeof *value);
    require(vthread_scope_join(s) == 0);
    require(vthread_scope_result(s, task, value, sizeof *value) == 0);
    for (int i = 0; i < 1000; i++)
        require(value->words[i] == (uint64_t)(999 - i));
    close_scope(s);
    free(value);
    return arg;
}

START_TEST(large_arguments_and_results_are_copied)
{
    on_both_kinds(passes_large_values);
}
END_TEST

static int finds_zeros(const void *args, void *result)
{
    (void)args;
    for (int i = 0; i < 13; i++)
        if (((char *)result)[i] != 0)
            return EINVAL;
    return 0;
}

static void *passes_nothing(void *arg)
{
    char result[13];
    uint32_t task;
    vthread_scope_t *s = open_scope();
    require(vthread_scope_fork(s, &task, has_nothing, NULL, 0, 0) == 0);
    require(vthread_scope_fork(s, NULL, finds_zeros, "abc", 3, 13) == 0);
    require(vthread_scope_join(s) == 0);
    require(vthread_scope_result(s, task, NULL, 0) == 0);
    require(vthread_scope_result(s, task, result, 1) == EINVAL);
    require(vthread_scope_result(s, 1, result, 13) == EINVAL);
    require(vthread_scope_result(s, VTHREAD_SCOPE_NO_TASK, NULL, 0)
            == EINVAL);
    close_scope(s);
    return arg;
}

START_TEST(no_arguments_no_result_no_task)
{
    on_both_kinds(passes_nothing);
}
END_TEST

static void *asks_too_early(void *arg)
{
    int64_t result = 7;
    vthread_scope_t *s = open_scope();
    uint32_t task = fork_number(s, parks, 0);
    require(vthread_scope_result(s, task, &result, sizeof result) == EAGAIN);
    require(result == 7);
    close_scope(s);
    return arg;
}

START_TEST(a_child_that_runs_has_no_result_yet)
{
    on_both_kinds(asks_too_early);
}
END_TEST

enum { MANY = UNDER_SANITIZER ? 1000 : 10000 };

static void *forks_many(void *arg)
{
    static uint32_t tasks[MANY];
    vthread_scope_t *s = open_scope();
    for (int i = 0; i < MANY; i++)
        tasks[i] = fork_number(s, doubles, i);
    require(vthread_scope_join(s) == 0);
    for (int i = 0; i < MANY; i++)
        require(result_of(s, tasks[i]) == 2 * i);
    close_scope(s);
    return arg;
}

START_TEST(ten_thousand_children)
{
    on_both_kinds(forks_many);
    ck_assert_uint_eq(stats_of(vthread_scheduler_default()).threads, 0);
}
END_TEST

static void *forks_for_ever(void *arg)
{
    vthread_scope_t *s = open_scope();
    for (int round = 0; round < 100; round++) {
        for (int64_t i = 0; i < 100; i++)
            require(vthread_scope_fork(s, NULL, doubles, &i, sizeof i,
                                       sizeof i)
                    == 0);
        require(vthread_scope_join(s) == 0);
    }
    close_scope(s);
    return arg;
}

START_TEST(a_scope_is_joined_again_and_again)
{
    on_both_kinds(forks_for_ever);
}
END_TEST

static void *joins_for_long(void *scope)
{
    vthread_scope_t *s = open_scope();
    fork_number(s, parks, 0);
    *(vthread_scope_t **)scope = s;
    require(vthread_scope_join(s) == ECANCELED);
    close_scope(s);
    return NULL;
}

START_TEST(it_is_told_that_an_owner_waits_for_its_scope)
{
    static vthread_scope_t *scope;
    struct waiting waiting;
    uint64_t word;
    vthread_t t = start(joins_for_long, &scope);
    until_waiting(t);
    ck_assert(waiting_of(thread_of_handle(t, &word), &waiting));
    ck_assert_str_eq(waiting.kind, "scope");
    ck_assert_ptr_eq(waiting.object, scope);
    ck_assert_ptr_null(waiting.holder);
    vthread_scope_cancel(scope);
    join(t);
}
END_TEST

/* ---- Policies ----------------------------------------------------------- */

static int joins_with(vthread_scope_t *s, int64_t error)
{
    start_counting();
    fork_number(s, parks, 0);
    fork_number(s, parks, 0);
    until_running(2);
    fork_number(s, fails, error);
    int err = vthread_scope_join(s);
    require(atomic_load(&ended) == 2);
    return err;
}

static void *fails_fast(void *arg)
{
    uint32_t first = 99;
    vthread_scope_t *s = open_scope();
    require(vthread_scope_first(s, &first) == ESRCH);
    require(joins_with(s, EIO) == EIO);
    require(vthread_scope_first(s, &first) == 0 && first == 2);
    require(vthread_scope_fork(s, NULL, has_nothing, NULL, 0, 0)
            == ECANCELED);
    require(vthread_scope_join(s) == EIO);
    close_scope(s);
    return arg;
}

START_TEST(the_first_error_cancels_the_others)
{
    on_both_kinds(fails_fast);
}
END_TEST

static void *first_success(void *arg)
{
    uint32_t first = 99;
    vthread_scope_t *s = open_policy(VTHREAD_SCOPE_FIRST_SUCCESS);
    require(joins_with(s, 0) == 0);
    require(vthread_scope_first(s, &first) == 0 && first == 2);
    close_scope(s);
    s = open_policy(VTHREAD_SCOPE_FIRST_SUCCESS);
    require(vthread_scope_join(s) == ECHILD);
    fork_number(s, fails, EIO);
    require(vthread_scope_join(s) == EIO);
    fork_number(s, fails, EPIPE);
    require(vthread_scope_join(s) == EIO);
    require(vthread_scope_first(s, &first) == 0 && first == 0);
    fork_number(s, doubles, 4);
    require(vthread_scope_join(s) == 0);
    close_scope(s);
    return arg;
}

START_TEST(the_first_success_cancels_the_others)
{
    on_both_kinds(first_success);
}
END_TEST

static void *waits_for_all(void *arg)
{
    vthread_scope_t *s = open_policy(VTHREAD_SCOPE_WAIT_ALL);
    uint32_t failed = fork_number(s, fails, EIO);
    require(vthread_scope_join(s) == EIO);
    uint32_t good = fork_number(s, doubles, 21);
    require(vthread_scope_join(s) == EIO);
    require(result_of(s, good) == 42);
    int64_t result;
    require(vthread_scope_result(s, failed, &result, sizeof result) == EIO);
    close_scope(s);
    return arg;
}

START_TEST(wait_all_goes_on_after_an_error)
{
    on_both_kinds(waits_for_all);
}
END_TEST

/* Two errors are enough; one call at a time, which waits. */
struct tally {
    int errors, calls; /* no atomics */
};

static bool tallies(void *arg, uint32_t task, int error, int *outcome)
{
    struct tally *tally = arg;
    int calls = tally->calls;
    require(task != VTHREAD_SCOPE_NO_TASK);
    vthread_yield();
    require(vthread_sleep(1) == 0 || error != 0);
    tally->calls = calls + 1;
    tally->errors += error != 0 && error != ECANCELED;
    *outcome = tally->errors;
    return tally->errors == 2;
}

static void *decides_itself(void *arg)
{
    struct tally *tally = calloc(1, sizeof *tally);
    vthread_scope_t *s = open_attr((vthread_scope_attr_t){
        .policy = VTHREAD_SCOPE_CUSTOM,
        .decide = tallies,
        .decide_arg = tally,
    });
    for (int i = 0; i < 20; i++)
        fork_number(s, doubles, i);
    require(vthread_scope_join(s) == 0);
    require(tally->calls == 20);
    fork_number(s, fails, EIO);
    require(vthread_scope_join(s) == 1);
    require(joins_with(s, EIO) == 2);
    require(tally->calls == 24);
    close_scope(s);
    free(tally);
    return arg;
}

START_TEST(a_policy_of_ones_own)
{
    on_both_kinds(decides_itself);
}
END_TEST

static bool exits(void *arg, uint32_t task, int error, int *outcome)
{
    (void)arg, (void)task, (void)error, (void)outcome;
    vthread_exit(NULL);
}

static void *decides_by_exit(void *arg)
{
    vthread_scope_t *s = open_attr((vthread_scope_attr_t){
        .policy = VTHREAD_SCOPE_CUSTOM, .decide = exits});
    for (int i = 0; i < 20; i++)
        fork_number(s, doubles, i);
    require(vthread_scope_join(s) == 0);
    close_scope(s);
    return arg;
}

static _Atomic int living, cleaned;

static int lives_long(const void *args, void *result)
{
    (void)args, (void)result;
    living++;
    while (vthread_park() != ECANCELED)
        continue;
    living--;
    return 0;
}

static void cleans(void *arg)
{
    (void)arg;
    cleaned++;
}

static bool leaves_things_behind(void *arg, uint32_t task, int error,
                                 int *outcome)
{
    (void)arg, (void)task, (void)error, (void)outcome;
    require(vthread_cleanup_push(cleans, NULL) == 0);
    vthread_scope_t *s = open_scope();
    require(vthread_scope_fork(s, NULL, lives_long, NULL, 0, 0) == 0);
    vthread_yield();
    return false;
}

static void *closes_what_decide_left(void *arg)
{
    cleaned = 0;
    vthread_scope_t *s = open_attr((vthread_scope_attr_t){
        .policy = VTHREAD_SCOPE_CUSTOM, .decide = leaves_things_behind});
    for (int i = 0; i < 5; i++)
        fork_number(s, doubles, i);
    require(vthread_scope_join(s) == 0);
    require(living == 0 && cleaned == 5);
    close_scope(s);
    return arg;
}

START_TEST(what_decide_leaves_behind_ends_with_the_child)
{
    on_both_kinds(closes_what_decide_left);
}
END_TEST

START_TEST(exit_in_decide_leaves_the_turn_to_the_next)
{
    on_both_kinds(decides_by_exit);
}
END_TEST

static int exits_with(const void *args, void *result)
{
    (void)result;
    vthread_exit(pointer((uintptr_t) * (const int64_t *)args));
}

static void *children_exit(void *arg)
{
    vthread_scope_t *s = open_policy(VTHREAD_SCOPE_WAIT_ALL);
    fork_number(s, exits_with, 0);
    require(vthread_scope_join(s) == 0);
    fork_number(s, exits_with, EXDEV);
    require(vthread_scope_join(s) == EXDEV);
    close_scope(s);
    return arg;
}

START_TEST(a_child_that_exits_returns_what_it_passes)
{
    on_both_kinds(children_exit);
}
END_TEST

/* ---- Leaving early ------------------------------------------------------ */

static void *exits_with_scopes_open(void *arg)
{
    start_counting();
    for (int i = 0; i < 3; i++)
        fork_number(open_scope(), parks, 0);
    until_running(3);
    vthread_exit(arg);
}

static void *returns_with_scopes_open(void *arg)
{
    start_counting();
    fork_number(open_scope(), nests, 3);
    fork_number(open_scope(), nests, 3);
    return arg;
}

static void *leaves_early(void *arg)
{
    join(start(exits_with_scopes_open, NULL));
    require(atomic_load(&ended) == 3);
    join(start(returns_with_scopes_open, NULL));
    require(atomic_load(&ended) == atomic_load(&running));
    return arg;
}

START_TEST(a_scope_left_open_is_closed_at_the_end_of_its_owner)
{
    pthread_t p;
    on_both_kinds(leaves_early);
    ck_assert_int_eq(pthread_create(&p, NULL, exits_with_scopes_open, NULL),
                     0);
    pthread_join(p, NULL);
    ck_assert_int_eq(atomic_load(&ended), 3);
}
END_TEST

static int forks_a_sibling(const void *args, void *result)
{
    vthread_scope_t *s = *(vthread_scope_t *const *)args;
    (void)result;
    int64_t number = 5;
    int err = vthread_scope_fork(s, NULL, doubles, &number, sizeof number,
                                 sizeof number);
    require(vthread_scope_join(s) == EPERM);
    require(vthread_scope_close(s) == EPERM);
    return err;
}

static void *children_fork(void *arg)
{
    vthread_scope_t *s = open_scope();
    for (int i = 0; i < 50; i++)
        require(vthread_scope_fork(s, NULL, forks_a_sibling, &s, sizeof s, 0)
                == 0);
    require(vthread_scope_join(s) == 0);
    close_scope(s);
    return arg;
}

START_TEST(children_fork_into_their_scope)
{
    on_both_kinds(children_fork);
}
END_TEST

static void *is_a_stranger(void *scope)
{
    vthread_scope_t *s = scope;
    require(vthread_scope_fork(s, NULL, has_nothing, NULL, 0, 0) == EPERM);
    require(vthread_scope_join(s) == EPERM);
    require(vthread_scope_close(s) == EPERM);
    require(vthread_scope_result(s, 0, NULL, 0) == EPERM);
    return NULL;
}

static int is_a_grandchild(const void *args, void *result)
{
    (void)result;
    is_a_stranger(*(void *const *)args);
    return 0;
}

static int has_a_child(const void *args, void *result)
{
    (void)result;
    vthread_scope_t *s = open_scope();
    require(vthread_scope_fork(s, NULL, is_a_grandchild, args, sizeof(void *),
                               0)
            == 0);
    require(vthread_scope_join(s) == 0);
    close_scope(s);
    return 0;
}

static void *meets_strangers(void *arg)
{
    vthread_scope_t *s = open_scope();
    join(start(is_a_stranger, s));
    require(vthread_scope_fork(s, NULL, has_a_child, &s, sizeof s, 0) == 0);
    require(vthread_scope_join(s) == 0);
    close_scope(s);
    return arg;
}

START_TEST(strangers_are_refused)
{
    on_both_kinds(meets_strangers);
}
END_TEST

static void *asks_nonsense(void *arg)
{
    vthread_scope_attr_t bad[] = {
        {.policy = (enum vthread_scope_policy)9},
        {.reserved = 1},
        {.policy = VTHREAD_SCOPE_CUSTOM},
        {.decide = exits},
        {.children.flags = VTHREAD_DETACHED},
        {.children.stack_size_bytes = 17},
    };
    vthread_scope_t *s;
    for (unsigned i = 0; i < COUNT_OF(bad); i++)
        require(vthread_scope_open(&s, &bad[i]) == EINVAL);
    require(vthread_scope_open(NULL, NULL) == EINVAL);
    require(vthread_scope_join(NULL) == EINVAL);
    require(vthread_scope_close(NULL) == EINVAL);
    require(vthread_scope_cancel(NULL) == EINVAL);
    s = open_scope();
    require(vthread_scope_fork(s, NULL, NULL, NULL, 0, 0) == EINVAL);
    require(vthread_scope_fork(s, NULL, doubles, NULL, 8, 8) == EINVAL);
    require(vthread_scope_fork(s, NULL, doubles, &s, 8, SIZE_MAX) == EINVAL);
    require(vthread_scope_result(s, 0, NULL, 0) == EINVAL);
    close_scope(s);
    return arg;
}

START_TEST(nonsense_is_refused)
{
    on_both_kinds(asks_nonsense);
}
END_TEST

static int tries_to_get_away(const void *args, void *result)
{
    (void)args, (void)result;
    require(vthread_detach(vthread_self()) == EINVAL);
    return 0;
}

static int knows_its_name(const void *args, void *result)
{
    char name[32];
    (void)args, (void)result;
    require(vthread_getname(vthread_self(), name, sizeof name) == 0);
    return strcmp(name, "worker") == 0 ? 0 : EINVAL;
}

static void *has_named_children(void *arg)
{
    vthread_scope_t *s = open_attr((vthread_scope_attr_t){
        .children = {.name = "worker", .flags = VTHREAD_STACK_OWN}});
    fork_number(s, knows_its_name, 0);
    fork_number(s, tries_to_get_away, 0);
    require(vthread_scope_join(s) == 0);
    close_scope(s);
    return arg;
}

START_TEST(children_are_as_the_attribute_says)
{
    on_both_kinds(has_named_children);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scope");
    TCase *cases;
    cases = new_case(suite, "results");
    tcase_add_test(cases, results_come_by_value);
    tcase_add_test(cases, large_arguments_and_results_are_copied);
    tcase_add_test(cases, no_arguments_no_result_no_task);
    tcase_add_test(cases, a_child_that_runs_has_no_result_yet);
    tcase_add_test(cases, ten_thousand_children);
    tcase_add_test(cases, a_scope_is_joined_again_and_again);
    tcase_add_test(cases, it_is_told_that_an_owner_waits_for_its_scope);

    cases = new_case(suite, "policies");
    tcase_add_test(cases, the_first_error_cancels_the_others);
    tcase_add_test(cases, the_first_success_cancels_the_others);
    tcase_add_test(cases, wait_all_goes_on_after_an_error);
    tcase_add_test(cases, a_policy_of_ones_own);
    tcase_add_test(cases, exit_in_decide_leaves_the_turn_to_the_next);
    tcase_add_test(cases, what_decide_leaves_behind_ends_with_the_child);
    tcase_add_test(cases, a_child_that_exits_returns_what_it_passes);

    cases = new_case(suite, "leaving");
    tcase_add_test(cases, a_scope_left_open_is_closed_at_the_end_of_its_owner);
    tcase_add_test(cases, children_fork_into_their_scope);
    tcase_add_test(cases, strangers_are_refused);
    tcase_add_test(cases, nonsense_is_refused);
    tcase_add_test(cases, children_are_as_the_attribute_says);
    return run_suite(suite);
}
