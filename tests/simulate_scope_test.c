/*
 * simulate_scope_test.c - scopes and cancellation on the simulated machine:
 * fork, join, close, failures, deadlines, masks and ends of threads, each
 * against a cancel that comes at any moment.
 *
 * The owner is thread 0; children are forked by it.  Each child leaves a mark
 * in plain memory as its last act, and the owner reads it after the close:
 * a child that outlived its scope would be a data race.  One whom a cancel
 * has missed would wait for ever.
 */
#include <errno.h>

#include <vthread/cancel.h>
#include <vthread/scope.h>
#include <vthread/scoped_value.h>
#include <vthread/semaphore.h>

#include "tests/simulate/simulate.h"
#include "tests/threads.h"

#define CHILDREN_MAX 4

static vthread_semaphore_t semaphore;
static vthread_scope_t *scope;     /* for those who did not open it */
static _Atomic vthread_t victim;
static unsigned begun;             /* atomic: children */
static int marks[CHILDREN_MAX];    /* plain: of children that have ended */
static int value;                  /* plain */
static const vthread_scoped_t bound;

static void forget(void)
{
    simulate_expect(vthread_semaphore_init(&semaphore, 0) == 0);
    scope = NULL;
    atomic_store(&victim, 0);
    begun = 0;
    memset(marks, 0, sizeof marks);
    value = 0;
}

/* ---- What all do -------------------------------------------------------- */

static vthread_scope_t *open_with(vthread_scope_attr_t attr)
{
    vthread_scope_t *s = NULL;
    simulate_expect(vthread_scope_open(&s, &attr) == 0);
    return s;
}

static vthread_scope_t *open_scope(void)
{
    return open_with((vthread_scope_attr_t){.policy = VTHREAD_SCOPE_ALL});
}

typedef int child_fn(const void *number, void *result);

static int fork_into(vthread_scope_t *s, child_fn *fn, int number)
{
    uint32_t task;
    return vthread_scope_fork(s, &task, fn, &number, sizeof number,
                              sizeof number);
}

static void forks_into(vthread_scope_t *s, child_fn *fn, int number)
{
    simulate_expect(fork_into(s, fn, number) == 0);
}

static int result_of(vthread_scope_t *s, uint32_t task)
{
    int result = -1;
    simulate_expect(vthread_scope_result(s, task, &result, sizeof result)
                    == 0);
    return result;
}

static void mark(void *place)
{
    *(int *)place = 1;
}

/* Handlers run when the thread ends, after all else that it does. */
static void child_begins(const void *number)
{
    __atomic_fetch_add(&begun, 1, __ATOMIC_RELAXED);
    simulate_expect(vthread_cleanup_push(mark, &marks[*(const int *)number])
                    == 0);
}

/* The scope has been closed. */
static void all_have_ended(void)
{
    unsigned ended = 0;
    for (unsigned i = 0; i < CHILDREN_MAX; i++)
        ended += (unsigned)marks[i];
    simulate_expect(ended == __atomic_load_n(&begun, __ATOMIC_RELAXED));
}

static void close_scope(vthread_scope_t *s)
{
    simulate_expect(vthread_scope_close(s) == 0);
}

static void closes(vthread_scope_t *s)
{
    close_scope(s);
    all_have_ended();
}

/* Cancelled for good: each wait, and testcancel, say so. */
static void is_cancelled_for_good(void)
{
    for (int i = 0; i < 2; i++)
        simulate_expect(vthread_park() == ECANCELED);
    simulate_expect(vthread_testcancel() == ECANCELED);
}

/* ---- Children ----------------------------------------------------------- */

static int succeeds(const void *number, void *result)
{
    child_begins(number);
    *(int *)result = *(const int *)number + 10;
    return 0;
}

static int fails(const void *number, void *result)
{
    (void)result;
    child_begins(number);
    return EIO;
}

static int parks(const void *number, void *result)
{
    (void)result;
    child_begins(number);
    is_cancelled_for_good();
    return ECANCELED;
}

/* Into the scope that it is a child of. */
static int forks_another(const void *number, void *result)
{
    vthread_scope_t *s = scope;
    (void)result;
    child_begins(number);
    int err = fork_into(s, parks, 1);
    simulate_expect(err == 0 || err == ECANCELED);
    return err;
}

/* Has a scope of its own, and waits in its join. */
static int has_child_that_parks(const void *number, void *result)
{
    (void)result;
    child_begins(number);
    vthread_scope_t *s = open_scope();
    int err = fork_into(s, parks, 1);
    simulate_expect(err == 0 || err == ECANCELED);
    if (err == 0)
        simulate_expect(vthread_scope_join(s) == ECANCELED);
    close_scope(s);
    return ECANCELED;
}

/* The same, but does not see the cancel itself: that reaches the grandchild
 * through the scope, or the scope when it is opened. */
static int waits_for_child_that_parks(const void *number, void *result)
{
    (void)result;
    child_begins(number);
    vthread_scope_t *s = open_scope();
    simulate_expect(vthread_cancel_disable() == 0);
    int err = fork_into(s, parks, 1);
    simulate_expect(err == 0 || err == ECANCELED);
    if (err == 0)
        simulate_expect(vthread_scope_join(s) == ECANCELED);
    simulate_expect(vthread_cancel_enable() == 0);
    close_scope(s);
    is_cancelled_for_good();
    return 0;
}

/* The same as the first, but its end closes the scope. */
static int leaves_child_that_parks(const void *number, void *result)
{
    (void)result;
    child_begins(number);
    int err = fork_into(open_scope(), parks, 1);
    simulate_expect(err == 0 || err == ECANCELED);
    return 0;
}

/* Its scope is being closed when somebody may walk through it. */
static int has_child_that_succeeds(const void *number, void *result)
{
    (void)result;
    child_begins(number);
    vthread_scope_t *s = open_scope();
    int err = fork_into(s, succeeds, 1);
    simulate_expect(err == 0 || err == ECANCELED);
    close_scope(s);
    return 0;
}

/* What it does while cancellation is disabled is not cancelled. */
static int masks(const void *number, void *result)
{
    (void)result;
    child_begins(number);
    simulate_expect(vthread_cancel_disable() == 0);
    simulate_expect(vthread_testcancel() == 0);
    simulate_expect(vthread_semaphore_wait(&semaphore) == 0);
    simulate_expect(vthread_cancel_enable() == 0);
    is_cancelled_for_good();
    return 0;
}

static int takes_permit(const void *number, void *result)
{
    (void)result;
    child_begins(number);
    simulate_expect(vthread_semaphore_wait(&semaphore) == 0);
    return 0;
}

/* A scope that is opened while cancellation is disabled is not reached. */
static int shields(const void *number, void *result)
{
    (void)result;
    child_begins(number);
    simulate_expect(vthread_cancel_disable() == 0);
    vthread_scope_t *s = open_scope();
    forks_into(s, takes_permit, 1);
    simulate_expect(vthread_scope_join(s) == 0);
    close_scope(s);
    simulate_expect(vthread_cancel_enable() == 0);
    is_cancelled_for_good();
    return 0;
}

static void tells(unsigned thread)
{
    simulate_expect(vthread_unpark(simulate_thread(thread)) == 0);
}

/* Is interrupted by thread 1, and cancelled by the owner. */
static int becomes_victim(const void *number, void *result)
{
    (void)result;
    child_begins(number);
    atomic_store(&victim, vthread_self());
    tells(1);
    is_cancelled_for_good();
    return 0;
}

/* Interrupted only: that is seen once. */
static int becomes_victim_once(const void *number, void *result)
{
    (void)result;
    child_begins(number);
    atomic_store(&victim, vthread_self());
    tells(1);
    simulate_expect(vthread_park() == ECANCELED);
    simulate_expect(vthread_testcancel() == 0);
    simulate_expect(!vthread_interrupted());
    simulate_expect(vthread_semaphore_wait(&semaphore) == 0);
    return 0;
}

/* Both requests come before or after the mask is taken off; the interrupt is
 * not lost in the cancel. */
static int masks_and_becomes_victim(const void *number, void *result)
{
    simulate_expect(vthread_cancel_disable() == 0);
    (void)result;
    child_begins(number);
    atomic_store(&victim, vthread_self());
    tells(1);
    simulate_expect(vthread_semaphore_wait(&semaphore) == 0);
    simulate_expect(vthread_cancel_enable() == 0);
    is_cancelled_for_good();
    return 0;
}

static int sleeps_until_deadline(const void *number, void *result)
{
    (void)result;
    child_begins(number);
    int err = vthread_sleep_until(SIMULATE_SOON);
    simulate_expect(err == 0 || err == ECANCELED);
    return err;
}

static int sees_binding(const void *number, void *result)
{
    (void)result;
    child_begins(number);
    simulate_expect(vthread_scoped_get(&bound) == &value);
    return 0;
}

/* ---- Owners ------------------------------------------------------------- */

static void *fork_meets_cancel(void *unused)
{
    vthread_scope_t *s = scope = open_scope();
    forks_into(s, forks_another, 0);
    simulate_expect(vthread_scope_cancel(s) == 0);
    simulate_expect(fork_into(s, parks, 2) == ECANCELED);
    simulate_expect(vthread_scope_join(s) == ECANCELED);
    closes(s);
    return unused;
}

/* The cancel is another thread's. */
static void *fork_meets_foreign_cancel(void *unused)
{
    vthread_scope_t *s = scope = open_scope();
    tells(1);
    for (int i = 0; i < 2; i++) {
        int err = fork_into(s, parks, i);
        simulate_expect(err == 0 || err == ECANCELED);
    }
    simulate_expect(vthread_scope_join(s) == ECANCELED);
    simulate_expect(vthread_join(simulate_thread(1), NULL) == 0);
    closes(s);
    return unused;
}

static void *cancels(void *unused)
{
    simulate_expect(vthread_park() == 0);
    simulate_expect(vthread_scope_cancel(scope) == 0);
    return unused;
}

static void *close_meets_failure(void *unused)
{
    vthread_scope_t *s = open_scope();
    forks_into(s, fails, 0);
    int err = fork_into(s, parks, 1);
    simulate_expect(err == 0 || err == ECANCELED);
    closes(s);
    return unused;
}

static void *join_meets_failure(void *unused)
{
    uint32_t first = 9;
    vthread_scope_t *s = open_scope();
    forks_into(s, fails, 0);
    int err = fork_into(s, parks, 1);
    simulate_expect(err == 0 || err == ECANCELED);
    simulate_expect(vthread_scope_join(s) == EIO);
    simulate_expect(vthread_scope_first(s, &first) == 0 && first == 0);
    closes(s);
    return unused;
}

/* One fails while the other closes a scope of its own, with children. */
static void *failure_meets_inner_close(void *unused)
{
    vthread_scope_t *s = open_scope();
    forks_into(s, has_child_that_succeeds, 0);
    int err = fork_into(s, fails, 2);
    simulate_expect(err == 0);
    simulate_expect(vthread_scope_join(s) == EIO);
    closes(s);
    return unused;
}

/* A scope with a deadline and a child; NULL: the deadline came first. */
static vthread_scope_t *fork_until_soon(child_fn *fn)
{
    vthread_scope_t *s = open_with(
        (vthread_scope_attr_t){.deadline_ns = SIMULATE_SOON});
    int err = fork_into(s, fn, 0);
    if (err == 0)
        return s;
    simulate_expect(err == ETIMEDOUT && vthread_now() >= SIMULATE_SOON);
    simulate_expect(vthread_scope_join(s) == ETIMEDOUT);
    closes(s);
    return NULL;
}

static void *deadline_meets_join(void *unused)
{
    vthread_scope_t *s = fork_until_soon(sleeps_until_deadline);
    if (!s)
        return unused;
    int err = vthread_scope_join(s);
    simulate_expect(err == 0 || err == ETIMEDOUT);
    simulate_expect(vthread_now() >= SIMULATE_SOON);
    closes(s);
    return unused;
}

static void *deadline_meets_end(void *unused)
{
    vthread_scope_t *s = fork_until_soon(succeeds);
    if (!s)
        return unused;
    int err = vthread_scope_join(s);
    simulate_expect(err == 0 || err == ETIMEDOUT);
    simulate_expect(result_of(s, 0) == 10);
    closes(s);
    return unused;
}

static void *deadline_ends_parked(void *unused)
{
    vthread_scope_t *s = fork_until_soon(parks);
    if (!s)
        return unused;
    simulate_expect(vthread_scope_join(s) == ETIMEDOUT);
    closes(s);
    return unused;
}

/* The join's deadline is that of the scope. */
static void *deadline_meets_deadline(void *unused)
{
    vthread_scope_t *s = fork_until_soon(parks);
    if (!s)
        return unused;
    simulate_expect(vthread_scope_join_until(s, SIMULATE_SOON) == ETIMEDOUT);
    closes(s);
    return unused;
}

/* Without a deadline of the scope: it times out, or all have ended. */
static void *join_until_meets_end(void *unused)
{
    vthread_scope_t *s = open_scope();
    forks_into(s, sleeps_until_deadline, 0);
    int err = vthread_scope_join_until(s, SIMULATE_SOON);
    simulate_expect(err == 0 || err == ETIMEDOUT);
    simulate_expect(vthread_scope_join(s) == 0);
    closes(s);
    return unused;
}

static void *cancel_meets(child_fn *fn)
{
    vthread_scope_t *s = open_scope();
    forks_into(s, fn, 0);
    simulate_expect(vthread_scope_cancel(s) == 0);
    closes(s);
    return NULL;
}

static void *cancel_meets_park(void *unused)
{
    (void)unused;
    return cancel_meets(parks);
}

static void *cancel_meets_grandchild(void *unused)
{
    (void)unused;
    return cancel_meets(has_child_that_parks);
}

static void *cancel_reaches_grandchild(void *unused)
{
    (void)unused;
    return cancel_meets(waits_for_child_that_parks);
}

static void *cancel_meets_scope_left_open(void *unused)
{
    (void)unused;
    return cancel_meets(leaves_child_that_parks);
}

static void *cancel_meets_inner_close(void *unused)
{
    (void)unused;
    return cancel_meets(has_child_that_succeeds);
}

static void *posts(void *unused)
{
    simulate_expect(vthread_semaphore_post(&semaphore) == 0);
    return unused;
}

static void *cancel_meets_mask(void *unused)
{
    (void)unused;
    return cancel_meets(masks);
}

static void *cancel_meets_shield(void *unused)
{
    (void)unused;
    return cancel_meets(shields);
}

static void *interrupts_victim(void *unused)
{
    simulate_expect(vthread_park() == 0);
    int err = vthread_interrupt(atomic_load(&victim));
    simulate_expect(err == 0 || err == ESRCH);
    return posts(unused);
}

/* Thread 1 interrupts the child, and the owner cancels it. */
static void *cancel_meets_interrupt(void *unused)
{
    (void)unused;
    return cancel_meets(becomes_victim);
}

static void *cancel_meets_interrupt_and_mask(void *unused)
{
    (void)unused;
    return cancel_meets(masks_and_becomes_victim);
}

static void *interrupt_alone(void *unused)
{
    vthread_scope_t *s = open_scope();
    forks_into(s, becomes_victim_once, 0);
    simulate_expect(vthread_scope_join(s) == 0);
    closes(s);
    return unused;
}

static void *interrupts_owner(void *unused)
{
    simulate_expect(vthread_interrupt(simulate_thread(0)) == 0);
    return unused;
}

/* The interrupt is for one wait: the join's, or a later one. */
static void *join_meets_interrupt(void *unused)
{
    vthread_scope_t *s = open_scope();
    forks_into(s, succeeds, 0);
    int err = vthread_scope_join(s);
    simulate_expect(err == 0 || err == ECANCELED);
    if (err == 0)
        simulate_expect(vthread_park() == ECANCELED);
    simulate_expect(vthread_scope_join(s) == 0);
    simulate_expect(result_of(s, 0) == 10);
    simulate_expect(!vthread_interrupted());
    closes(s);
    return unused;
}

static vthread_scope_t *open_first_success(void)
{
    return open_with((vthread_scope_attr_t){
        .policy = VTHREAD_SCOPE_FIRST_SUCCESS});
}

static void *success_meets_success(void *unused)
{
    uint32_t first = 9;
    vthread_scope_t *s = open_first_success();
    forks_into(s, succeeds, 0);
    int err = fork_into(s, succeeds, 1);
    simulate_expect(err == 0 || err == ECANCELED);
    simulate_expect(vthread_scope_join(s) == 0);
    simulate_expect(vthread_scope_first(s, &first) == 0 && first <= 1);
    simulate_expect(result_of(s, first) == (int)first + 10);
    closes(s);
    return unused;
}

static void *success_meets_failure(void *unused)
{
    uint32_t first = 9;
    vthread_scope_t *s = open_first_success();
    forks_into(s, fails, 0);
    forks_into(s, succeeds, 1);
    simulate_expect(vthread_scope_join(s) == 0);
    simulate_expect(vthread_scope_first(s, &first) == 0 && first == 1);
    closes(s);
    return unused;
}

/* A plain counter: one at a time is asked. */
static bool decides(void *unused, uint32_t task, int error, int *outcome)
{
    (void)unused, (void)task;
    int before = value;
    vthread_yield();
    simulate_expect(value == before);
    value = before + 1;
    *outcome += error;
    return false;
}

static void *decisions_meet(void *unused)
{
    vthread_scope_t *s = open_with((vthread_scope_attr_t){
        .policy = VTHREAD_SCOPE_CUSTOM, .decide = decides});
    forks_into(s, fails, 0);
    forks_into(s, fails, 1);
    simulate_expect(vthread_scope_join(s) == 2 * EIO);
    simulate_expect(value == 2);
    closes(s);
    return unused;
}

/* The end closes the scope, after which the child's mark is there. */
static void *ends_with_scope_open(void *unused)
{
    forks_into(open_scope(), parks, 0);
    return unused;
}

static void *exits_with_scopes_open(void *unused)
{
    forks_into(open_scope(), parks, 0);
    forks_into(open_scope(), succeeds, 1);
    vthread_exit(unused);
}

static void *joins_owner(void *unused)
{
    simulate_expect(vthread_join(simulate_thread(0), NULL) == 0);
    all_have_ended();
    return unused;
}

static void forks_two(void *unused)
{
    (void)unused;
    vthread_scope_t *s = open_scope();
    forks_into(s, sees_binding, 0);
    forks_into(s, sees_binding, 1);
    closes(s);
}

static void *bindings_are_inherited(void *unused)
{
    simulate_expect(vthread_scoped_run(&bound, &value, forks_two, NULL) == 0);
    return unused;
}

/* ---- The programs ------------------------------------------------------- */

/* carriers: for the threads of the program and their children. */
#define PROGRAM(title, count, ...)                                            \
    {.name = title, .begin = forget, .end = all_have_ended,                   \
     .carriers = count, .threads = {__VA_ARGS__}}

static const struct {
    struct simulate_program program;
    unsigned preemptions;
} programs[] = {
    {PROGRAM("scope_fork_cancel", 3, fork_meets_cancel), 2},
    {PROGRAM("scope_fork_foreign", 3, fork_meets_foreign_cancel, cancels), 1},
    {PROGRAM("scope_close_failure", 3, close_meets_failure), 1},
    {PROGRAM("scope_join_failure", 3, join_meets_failure), 2},
    {PROGRAM("scope_failure_close", 3, failure_meets_inner_close), 1},
    {PROGRAM("scope_deadline_join", 3, deadline_meets_join), 1},
    {PROGRAM("scope_deadline_end", 3, deadline_meets_end), 1},
    {PROGRAM("scope_deadline_park", 3, deadline_ends_parked), 1},
    {PROGRAM("scope_deadlines", 3, deadline_meets_deadline), 1},
    {PROGRAM("scope_join_until", 2, join_until_meets_end), 1},
    {PROGRAM("scope_cancel_park", 2, cancel_meets_park), 2},
    {PROGRAM("scope_cancel_below", 3, cancel_meets_grandchild), 2},
    {PROGRAM("scope_cancel_reaches", 3, cancel_reaches_grandchild), 2},
    {PROGRAM("scope_cancel_left", 3, cancel_meets_scope_left_open), 2},
    {PROGRAM("scope_cancel_close", 3, cancel_meets_inner_close), 2},
    {PROGRAM("scope_cancel_mask", 3, cancel_meets_mask, posts), 1},
    {PROGRAM("scope_cancel_shield", 4, cancel_meets_shield, posts), 1},
    {PROGRAM("scope_interrupt", 3, interrupt_alone, interrupts_victim), 2},
    {PROGRAM("scope_cancel_interrupt", 3, cancel_meets_interrupt,
             interrupts_victim),
     1},
    {PROGRAM("scope_interrupt_mask", 3, cancel_meets_interrupt_and_mask,
             interrupts_victim),
     1},
    {PROGRAM("scope_join_interrupt", 3, join_meets_interrupt,
             interrupts_owner),
     1},
    {PROGRAM("scope_success_success", 3, success_meets_success), 2},
    {PROGRAM("scope_success_failure", 3, success_meets_failure), 2},
    {PROGRAM("scope_decisions", 3, decisions_meet), 1},
    {PROGRAM("scope_end_open", 3, ends_with_scope_open, joins_owner), 1},
    {PROGRAM("scope_exit_open", 3, exits_with_scopes_open, joins_owner), 1},
    {PROGRAM("scope_bindings", 3, bindings_are_inherited), 1},
};

START_TEST(scopes_hold_what_they_promise_in_every_schedule)
{
    simulate(&programs[_i].program,
             programs[_i].preemptions + (getenv("STRESS") != NULL));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("simulate_scope");
    TCase *cases = new_case(suite, "schedules");
    tcase_set_timeout(cases, SIMULATE_TIMEOUT);
    tcase_add_loop_test(cases, scopes_hold_what_they_promise_in_every_schedule,
                        0, COUNT_OF(programs));
    return run_suite(suite);
}
