/*
 * scope_test.c - structured concurrency: no child outlives its scope, and
 * cancel reaches all that is below.
 */
#include <errno.h>
#include <pthread.h>

#include "entry.h"
#include "platform/memory.h"
#include "tests/cancel_at.h"
#include "tests/random.h"

/* For children: says nothing while it holds. */
#define require(claim)                                                       \
    ((claim) ? (void)0                                                       \
             : ck_abort_msg("%s:%d: %s", __FILE__, __LINE__, #claim))

static vthread_scope_t *open_attr(vthread_scope_attr_t attr)
{
    vthread_scope_t *s = NULL;
    require(vthread_scope_open(&s, &attr) == 0);
    return s;
}

static vthread_scope_t *open_policy(enum vthread_scope_policy policy)
{
    return open_attr((vthread_scope_attr_t){.policy = policy});
}

static vthread_scope_t *open_scope(void)
{
    return open_policy(VTHREAD_SCOPE_ALL);
}

static void close_scope(vthread_scope_t *s)
{
    require(vthread_scope_close(s) == 0);
}

/* A child that is given a number and returns one. */
typedef int child_fn(const void *args, void *result);

static uint32_t fork_number(vthread_scope_t *s, child_fn *fn, int64_t number)
{
    uint32_t task = VTHREAD_SCOPE_NO_TASK;
    require(vthread_scope_fork(s, &task, fn, &number, sizeof number,
                               sizeof number)
            == 0);
    return task;
}

static int64_t result_of(vthread_scope_t *s, uint32_t task)
{
    int64_t result;
    require(vthread_scope_result(s, task, &result, sizeof result) == 0);
    return result;
}

static atomic_int running, ended;

static void ends(void *arg)
{
    (void)arg;
    atomic_fetch_add(&ended, 1);
}

static int doubles(const void *args, void *result)
{
    *(int64_t *)result = 2 * *(const int64_t *)args;
    return 0;
}

static int fails(const void *args, void *result)
{
    (void)result;
    return (int)*(const int64_t *)args;
}

/* Until it is cancelled. */
static int parks(const void *args, void *result)
{
    (void)args, (void)result;
    require(vthread_cleanup_push(ends, NULL) == 0);
    atomic_fetch_add(&running, 1);
    int err;
    while ((err = vthread_park()) == 0)
        continue;
    return err;
}

static void until_running(int count)
{
    while (atomic_load(&running) < count)
        vthread_yield();
}

static void start_counting(void)
{
    atomic_store(&running, 0);
    atomic_store(&ended, 0);
}

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

static int has_nothing(const void *args, void *result)
{
    return args || result ? EINVAL : 0;
}

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

/* ---- Cancel ------------------------------------------------------------- */

/* Opens a scope of its own, so many levels down, and waits in its join; on
 * each level one child parks besides. */
static int nests(const void *args, void *result)
{
    int64_t depth = *(const int64_t *)args;
    if (depth == 0)
        return parks(args, result);
    vthread_scope_t *s = open_scope();
    int err = vthread_scope_fork(s, NULL, parks, NULL, 0, 0);
    depth--;
    if (err == 0)
        err = vthread_scope_fork(s, NULL, nests, &depth, sizeof depth, 0);
    require(err == 0 || err == ECANCELED);
    err = vthread_scope_join(s);
    close_scope(s);
    return err;
}

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
        require(err == ECANCELED);
        close_scope(s);
    }
}

static void *has_a_deadline(void *arg)
{
    vthread_scope_t *s = open_in_time(nests, 3);
    require(vthread_scope_join(s) == ETIMEDOUT);
    require(atomic_load(&ended) == atomic_load(&running));
    require(vthread_scope_fork(s, NULL, has_nothing, NULL, 0, 0)
            == ECANCELED);
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
            == ECANCELED);
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
    while ((err = vthread_scope_fork(s, NULL, parks, NULL, 0, 0)) == 0)
        vthread_yield();
    return err;
}

static void *races_with_forks(void *arg)
{
    for (int round = 0; round < 20; round++) {
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
    int joined = vthread_scope_join(s);
    require(joined == 0);
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
    random = random_start("scope_test");
    for (int i = 0; i < (UNDER_SANITIZER ? 20 : 100); i++) {
        join(start(grows_a_tree, &random));
        ck_assert_uint_eq(stats_of(vthread_scheduler_default()).threads, 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scope");
    TCase *cases = new_case(suite, "results");
    tcase_add_test(cases, results_come_by_value);
    tcase_add_test(cases, large_arguments_and_results_are_copied);
    tcase_add_test(cases, no_arguments_no_result_no_task);
    tcase_add_test(cases, a_child_that_runs_has_no_result_yet);
    tcase_add_test(cases, ten_thousand_children);
    tcase_add_test(cases, a_scope_is_joined_again_and_again);

    cases = new_case(suite, "policies");
    tcase_add_test(cases, the_first_error_cancels_the_others);
    tcase_add_test(cases, the_first_success_cancels_the_others);
    tcase_add_test(cases, wait_all_goes_on_after_an_error);
    tcase_add_test(cases, a_policy_of_ones_own);
    tcase_add_test(cases, exit_in_decide_leaves_the_turn_to_the_next);
    tcase_add_test(cases, a_child_that_exits_returns_what_it_passes);

    cases = new_case(suite, "cancel");
    tcase_add_test(cases, cancel_reaches_ten_levels_down);
    tcase_add_test(cases,
                   cancel_reaches_grandchildren_while_the_child_computes);
    tcase_add_test(cases,
                   a_scope_opened_with_cancellation_disabled_is_shielded);
    tcase_add_test(cases, a_join_that_is_cancelled_leaves_the_children_alone);

    cases = new_case(suite, "leaving");
    tcase_add_test(cases, a_scope_left_open_is_closed_at_the_end_of_its_owner);
    tcase_add_test(cases, children_fork_into_their_scope);
    tcase_add_test(cases, strangers_are_refused);
    tcase_add_test(cases, nonsense_is_refused);
    tcase_add_test(cases, children_are_as_the_attribute_says);

    cases = new_case(suite, "deadlines");
    tcase_add_test(cases, a_deadline_cancels_all_that_is_below);
    tcase_add_test(cases, a_deadline_comes_while_the_owner_computes);
    tcase_add_test(cases,
                   a_deadline_that_does_not_come_leaves_nothing_behind);

    cases = new_case(suite, "races");
    tcase_add_test(cases, a_fork_that_races_a_cancel_is_refused_or_cancelled);
    tcase_add_test(cases, close_races_failing_children);

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

    cases = new_case(suite, "nth_wait");
    tcase_add_test(cases, a_join_cancelled_at_any_wait_leaves_nobody_behind);

    cases = new_case(suite, "random");
    tcase_add_test(cases, random_trees_end_to_the_last_leaf);
    return run_suite(suite);
}
