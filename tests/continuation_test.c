/*
 * continuation_test.c - the bare engine: <vthread/continuation.h> word for
 * word.
 *
 * Runs in every freeze mode; with VTHREAD_OWN_LIMIT=0 all that are not made
 * inside of another share homes, and are copied.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>

#include <vthread.h>

#include "continuation/continuation.h"
#include "tests/support.h"

typedef vthread_continuation_t cont;

static const char scope_a[] = "A", scope_b[] = "B", scope_c[] = "C";

static cont *make_attr(const vthread_continuation_attr_t *attr,
                       void (*fn)(void *), void *arg)
{
    cont *c = NULL;
    ck_assert_int_eq(vthread_continuation_create(&c, attr, fn, arg), 0);
    ck_assert_ptr_nonnull(c);
    return c;
}

static cont *make(const void *scope, void (*fn)(void *), void *arg)
{
    vthread_continuation_attr_t attr = {.scope = scope};
    return make_attr(&attr, fn, arg);
}

static int run(cont *c)
{
    return vthread_continuation_run(c);
}

static int yield_to(const void *scope)
{
    return vthread_continuation_yield(scope);
}

static bool done(cont *c)
{
    return vthread_continuation_is_done(c);
}

/* Runs it to its end, at most `limit` times; returns how often. */
static int run_out(cont *c, int limit)
{
    int runs = 0;
    while (!done(c) && runs < limit) {
        ck_assert_int_eq(run(c), 0);
        runs++;
    }
    ck_assert(done(c));
    return runs;
}

static void destroy(cont *c)
{
    ck_assert_int_eq(vthread_continuation_destroy(c), 0);
}

/* What happened, as a word. */
static char trail[256];

static void step(char letter)
{
    size_t n = strlen(trail);
    ck_assert_uint_lt(n + 1, sizeof trail);
    trail[n] = letter;
    trail[n + 1] = '\0';
}

/* Runs fn(arg) on an OS thread of its own, to the end. */
static void elsewhere(void *(*fn)(void *), void *arg)
{
    pthread_t t;
    ck_assert_int_eq(pthread_create(&t, NULL, fn, arg), 0);
    ck_assert_int_eq(pthread_join(t, NULL), 0);
}

/* ---- Life --------------------------------------------------------------- */

static void twice(void *arg)
{
    (void)arg;
    step('1');
    ck_assert_int_eq(yield_to(scope_a), 0);
    step('2');
    ck_assert_int_eq(yield_to(scope_a), 0);
    step('3');
}

START_TEST(it_runs_from_yield_to_yield_to_its_end)
{
    cont *c = make(scope_a, twice, NULL);
    ck_assert_str_eq(trail, "");
    ck_assert(!done(c));
    ck_assert_int_eq(run(c), 0);
    ck_assert_str_eq(trail, "1");
    ck_assert(!done(c));
    ck_assert_int_eq(run(c), 0);
    ck_assert_str_eq(trail, "12");
    ck_assert(!done(c));
    ck_assert_int_eq(run(c), 0);
    ck_assert_str_eq(trail, "123");
    ck_assert(done(c));
    destroy(c);
}
END_TEST

static void nothing(void *arg)
{
    (void)arg;
}

START_TEST(one_that_never_yields_ends_in_one_run)
{
    cont *c = make(NULL, nothing, NULL);
    ck_assert_int_eq(run_out(c, 1), 1);
    destroy(c);
}
END_TEST

START_TEST(a_finished_one_is_not_run_again)
{
    cont *c = make(scope_a, twice, NULL);
    run_out(c, 3);
    ck_assert_int_eq(run(c), ESRCH);
    ck_assert_int_eq(run(c), ESRCH);
    ck_assert(done(c));
    ck_assert_str_eq(trail, "123");
    destroy(c);
}
END_TEST

static cont *myself;

static void runs_itself(void *arg)
{
    (void)arg;
    ck_assert_int_eq(run(myself), EBUSY);
    ck_assert(!done(myself));
    ck_assert_int_eq(vthread_continuation_destroy(myself), EBUSY);
    ck_assert_int_eq(yield_to(scope_a), 0);
    ck_assert_int_eq(run(myself), EBUSY);
}

START_TEST(one_that_is_mounted_here_is_busy)
{
    myself = make(scope_a, runs_itself, NULL);
    ck_assert_int_eq(run_out(myself, 2), 2);
    destroy(myself);
}
END_TEST

static sem_t inside, go_on;

static void stays(void *arg)
{
    (void)arg;
    sem_post(&inside);
    sem_wait(&go_on);
    ck_assert_int_eq(yield_to(scope_a), 0);
    step('!');
}

static void *run_elsewhere(void *c)
{
    ck_assert_int_eq(run(c), 0);
    return NULL;
}

START_TEST(one_that_is_mounted_elsewhere_is_busy)
{
    pthread_t t;
    cont *c = make(scope_a, stays, NULL);
    sem_init(&inside, 0, 0);
    sem_init(&go_on, 0, 0);
    ck_assert_int_eq(pthread_create(&t, NULL, run_elsewhere, c), 0);
    sem_wait(&inside);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(run(c), EBUSY);
        ck_assert_int_eq(vthread_continuation_destroy(c), EBUSY);
    }
    sem_post(&go_on);
    pthread_join(t, NULL);
    ck_assert(!done(c));
    ck_assert_int_eq(run_out(c, 1), 1);
    ck_assert_str_eq(trail, "!");
    destroy(c);
}
END_TEST

static void count_up(void *out)
{
    for (int i = 1; i <= 1000; i++) {
        *(int *)out = i * i;
        ck_assert_int_eq(yield_to(scope_a), 0);
    }
}

START_TEST(a_generator_hands_out_its_values)
{
    static int value;
    cont *c = make(scope_a, count_up, &value);
    for (int i = 1; i <= 1000; i++) {
        ck_assert_int_eq(run(c), 0);
        ck_assert_int_eq(value, i * i);
    }
    ck_assert_int_eq(run_out(c, 1), 1);
    destroy(c);
}
END_TEST

/* ---- Destruction -------------------------------------------------------- */

START_TEST(destroying_nothing_is_allowed)
{
    ck_assert_int_eq(vthread_continuation_destroy(NULL), 0);
}
END_TEST

START_TEST(a_new_one_can_be_destroyed)
{
    for (int i = 0; i < 1000; i++)
        destroy(make(scope_a, twice, NULL));
    ck_assert_str_eq(trail, "");
}
END_TEST

START_TEST(an_unmounted_one_can_be_destroyed)
{
    for (int i = 0; i < 3000; i++) {
        cont *c = make(scope_a, twice, NULL);
        ck_assert_int_eq(run(c), 0);
        destroy(c);
        trail[0] = '\0';
    }
}
END_TEST

/* More than there are common homes, so that some share one. */
#define CROWD 700

static cont *crowd[CROWD];

static void destroys_the_crowd(void *arg)
{
    (void)arg;
    for (int i = 0; i < CROWD; i++)
        destroy(crowd[i]);
}

static void yields_once(void *arg)
{
    (void)arg;
    ck_assert_int_eq(yield_to(scope_a), 0);
}

START_TEST(one_can_be_destroyed_by_one_that_shares_its_home)
{
    set_mode("VTHREAD_OWN_LIMIT", "0");
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = make(scope_a, yields_once, NULL);
        ck_assert_int_eq(run(crowd[i]), 0);
    }
    cont *c = make(scope_b, destroys_the_crowd, NULL);
    ck_assert_int_eq(run_out(c, 1), 1);
    destroy(c);
}
END_TEST

/* ---- Scopes ------------------------------------------------------------- */

static void yields_to_none(void *arg)
{
    (void)arg;
    ck_assert_int_eq(yield_to(scope_b), EINVAL);
    step('x');
    ck_assert_int_eq(yield_to(scope_a), 0);
    ck_assert_int_eq(yield_to(scope_b), EINVAL);
    step('y');
}

START_TEST(a_yield_to_no_scope_is_an_error_and_changes_nothing)
{
    ck_assert_int_eq(yield_to(scope_a), EINVAL);
    ck_assert_int_eq(yield_to(NULL), EINVAL);
    cont *c = make(scope_a, yields_to_none, NULL);
    ck_assert_int_eq(run(c), 0);
    ck_assert_str_eq(trail, "x");
    ck_assert_int_eq(yield_to(scope_a), EINVAL);
    ck_assert_int_eq(run_out(c, 1), 1);
    ck_assert_str_eq(trail, "xy");
    destroy(c);
}
END_TEST

static void in_null_scope(void *arg)
{
    (void)arg;
    ck_assert_ptr_nonnull(vthread_continuation_current(NULL));
    ck_assert_int_eq(yield_to(NULL), 0);
}

START_TEST(no_scope_is_a_scope_too)
{
    cont *c = make(NULL, in_null_scope, NULL);
    ck_assert_int_eq(run_out(c, 2), 2);
    destroy(c);
}
END_TEST

/* A runs B, B runs C. */
static cont *nest_a, *nest_b, *nest_c;

static void innermost(void *arg)
{
    (void)arg;
    step('c');
    ck_assert_ptr_eq(vthread_continuation_current(scope_a), nest_a);
    ck_assert_ptr_eq(vthread_continuation_current(scope_b), nest_b);
    ck_assert_ptr_eq(vthread_continuation_current(scope_c), nest_c);
    ck_assert_int_eq(yield_to(scope_a), 0);
    step('C');
    ck_assert_ptr_eq(vthread_continuation_current(scope_a), nest_a);
    ck_assert_ptr_eq(vthread_continuation_current(scope_b), nest_b);
    ck_assert_ptr_eq(vthread_continuation_current(scope_c), nest_c);
    ck_assert_int_eq(yield_to(scope_b), 0);
    step('D');
    ck_assert_int_eq(yield_to(scope_c), 0);
    step('E');
}

static void middle(void *arg)
{
    (void)arg;
    step('b');
    nest_c = make(scope_c, innermost, NULL);
    ck_assert_int_eq(run(nest_c), 0);
    step('B');
    ck_assert(!done(nest_c));
    ck_assert_ptr_null(vthread_continuation_current(scope_c));
    ck_assert_int_eq(run(nest_c), 0);
    ck_assert(done(nest_c));
    destroy(nest_c);
}

static void outermost(void *arg)
{
    (void)arg;
    step('a');
    nest_b = make(scope_b, middle, NULL);
    ck_assert_int_eq(run(nest_b), 0);
    step('A');
    ck_assert(!done(nest_b));
    ck_assert_int_eq(run(nest_b), 0);
    ck_assert(done(nest_b));
    destroy(nest_b);
}

static void *run_nest_elsewhere(void *arg)
{
    (void)arg;
    ck_assert_int_eq(run(nest_a), 0);
    return NULL;
}

START_TEST(a_yield_unmounts_all_out_to_its_scope)
{
    nest_a = make(scope_a, outermost, NULL);
    ck_assert_int_eq(run(nest_a), 0);
    /* C yielded to A: all three are unmounted, and A goes on inside C. */
    ck_assert_str_eq(trail, "abc");
    ck_assert(!done(nest_a) && !done(nest_b) && !done(nest_c));
    ck_assert_ptr_null(vthread_continuation_current(scope_a));
    ck_assert_ptr_null(vthread_continuation_current(scope_c));
    ck_assert_int_eq(run(nest_a), 0);
    ck_assert(done(nest_a));
    /* C: yield to B returned to A's run of B; then B, C on to C's yield;
     * then the end of C. */
    ck_assert_str_eq(trail, "abcCADBE");
    destroy(nest_a);
}
END_TEST

START_TEST(a_nest_goes_on_on_another_os_thread)
{
    nest_a = make(scope_a, outermost, NULL);
    elsewhere(run_nest_elsewhere, NULL);
    ck_assert_str_eq(trail, "abc");
    elsewhere(run_nest_elsewhere, NULL);
    ck_assert(done(nest_a));
    ck_assert_str_eq(trail, "abcCADBE");
    destroy(nest_a);
}
END_TEST

START_TEST(those_inside_of_an_unmounted_one_are_busy)
{
    nest_a = make(scope_a, outermost, NULL);
    ck_assert_int_eq(run(nest_a), 0);
    ck_assert_int_eq(run(nest_b), EBUSY);
    ck_assert_int_eq(run(nest_c), EBUSY);
    ck_assert_int_eq(vthread_continuation_destroy(nest_b), EBUSY);
    ck_assert_int_eq(vthread_continuation_destroy(nest_c), EBUSY);
    ck_assert_int_eq(run(nest_a), 0);
    ck_assert_str_eq(trail, "abcCADBE");
    destroy(nest_a);
}
END_TEST

static void same_inner(void *arg)
{
    (void)arg;
    step('i');
    ck_assert_int_eq(yield_to(scope_a), 0);
    step('j');
}

static void same_outer(void *arg)
{
    (void)arg;
    cont *inner = make(scope_a, same_inner, NULL);
    ck_assert_int_eq(run(inner), 0);
    step('o');
    ck_assert_int_eq(run(inner), 0);
    ck_assert(done(inner));
    destroy(inner);
    ck_assert_int_eq(yield_to(scope_a), 0);
    step('p');
}

START_TEST(of_equal_scopes_the_innermost_is_meant)
{
    cont *c = make(scope_a, same_outer, NULL);
    ck_assert_int_eq(run(c), 0);
    ck_assert_str_eq(trail, "ioj");
    ck_assert_int_eq(run_out(c, 1), 1);
    ck_assert_str_eq(trail, "iojp");
    destroy(c);
}
END_TEST

/* A generator made inside lends its locals. */
static void lends(void *out)
{
    int numbers[16], *volatile address = numbers;
    *(int **)out = address;
    for (int i = 0; i < 16; i++) {
        numbers[i] = 100 + i;
        ck_assert_int_eq(yield_to(scope_b), 0);
    }
}

static void borrows(void *arg)
{
    (void)arg;
    int *numbers = NULL;
    cont *inner = make(scope_b, lends, &numbers);
    for (int i = 0; i < 16; i++) {
        ck_assert_int_eq(run(inner), 0);
        ck_assert_int_eq(yield_to(scope_a), 0);
        ck_assert_int_eq(numbers[i], 100 + i);
    }
    ck_assert_int_eq(run_out(inner, 1), 1);
    destroy(inner);
}

START_TEST(one_made_inside_has_a_home_of_its_own)
{
    static cont *many[64];
    set_mode("VTHREAD_OWN_LIMIT", "0");
    for (unsigned i = 0; i < COUNT_OF(many); i++)
        many[i] = make(scope_a, borrows, NULL);
    for (int round = 0; round < 17; round++)
        for (unsigned i = 0; i < COUNT_OF(many); i++)
            ck_assert_int_eq(run(many[i]), 0);
    for (unsigned i = 0; i < COUNT_OF(many); i++) {
        ck_assert(done(many[i]));
        destroy(many[i]);
    }
}
END_TEST

static int *lent;

static void ends_with_one_inside(void *arg)
{
    cont **inner = arg;
    *inner = make(scope_b, lends, &lent);
    ck_assert_int_eq(run(*inner), 0);
}

START_TEST(one_made_inside_outlives_its_maker)
{
    static cont *inner;
    cont *c = make(scope_a, ends_with_one_inside, &inner);
    ck_assert_int_eq(run_out(c, 1), 1);
    destroy(c);
    for (int i = 0; i < 15; i++)
        ck_assert_int_eq(run(inner), 0);
    ck_assert_int_eq(run_out(inner, 1), 1);
    destroy(inner);
}
END_TEST

/* ---- Pins --------------------------------------------------------------- */

static void pinned(void *arg)
{
    (void)arg;
    ck_assert_int_eq(vthread_continuation_unpin(), EPERM);
    ck_assert_int_eq(vthread_continuation_pin(), 0);
    ck_assert_int_eq(vthread_continuation_pin(), 0);
    ck_assert_int_eq(yield_to(scope_a), EBUSY);
    ck_assert_int_eq(vthread_continuation_unpin(), 0);
    ck_assert_int_eq(yield_to(scope_a), EBUSY);
    ck_assert_int_eq(vthread_continuation_unpin(), 0);
    ck_assert_int_eq(vthread_continuation_unpin(), EPERM);
    step('p');
    ck_assert_int_eq(yield_to(scope_a), 0);
    step('q');
    ck_assert_int_eq(vthread_continuation_unpin(), EPERM);
}

START_TEST(a_pinned_one_does_not_yield_and_pins_nest)
{
    cont *c = make(scope_a, pinned, NULL);
    ck_assert_int_eq(run(c), 0);
    ck_assert_str_eq(trail, "p");
    ck_assert_int_eq(run_out(c, 1), 1);
    ck_assert_str_eq(trail, "pq");
    destroy(c);
}
END_TEST

START_TEST(a_pin_outside_is_not_permitted)
{
    ck_assert_int_eq(vthread_continuation_pin(), EPERM);
    ck_assert_int_eq(vthread_continuation_unpin(), EPERM);
}
END_TEST

static void ends_pinned(void *arg)
{
    (void)arg;
    ck_assert_int_eq(vthread_continuation_pin(), 0);
}

START_TEST(one_that_ends_pinned_pins_nobody_else)
{
    for (int i = 0; i < 10; i++) {
        cont *c = make(scope_a, ends_pinned, NULL);
        ck_assert_int_eq(run_out(c, 1), 1);
        destroy(c);
        c = make(scope_a, yields_once, NULL);
        ck_assert_int_eq(run_out(c, 2), 2);
        destroy(c);
    }
}
END_TEST

static void inner_pinned(void *arg)
{
    (void)arg;
    ck_assert_int_eq(vthread_continuation_pin(), 0);
    ck_assert_int_eq(yield_to(scope_a), EBUSY);
    ck_assert_int_eq(yield_to(scope_b), EBUSY);
    ck_assert_int_eq(vthread_continuation_unpin(), 0);
    step('i');
    ck_assert_int_eq(yield_to(scope_a), 0);
    step('j');
}

static void outer_of_pinned(void *arg)
{
    (void)arg;
    cont *inner = make(scope_b, inner_pinned, NULL);
    ck_assert_int_eq(run(inner), 0);
    ck_assert(done(inner));
    destroy(inner);
}

START_TEST(a_pin_inside_stops_the_yield_of_all)
{
    cont *c = make(scope_a, outer_of_pinned, NULL);
    ck_assert_int_eq(run(c), 0);
    ck_assert_str_eq(trail, "i");
    ck_assert_int_eq(run_out(c, 1), 1);
    ck_assert_str_eq(trail, "ij");
    destroy(c);
}
END_TEST

static void inner_of_pinned(void *arg)
{
    (void)arg;
    ck_assert_int_eq(yield_to(scope_a), EBUSY);
    ck_assert_int_eq(yield_to(scope_b), 0);
    step('k');
}

static void outer_pinned(void *arg)
{
    (void)arg;
    cont *inner = make(scope_b, inner_of_pinned, NULL);
    ck_assert_int_eq(vthread_continuation_pin(), 0);
    ck_assert_int_eq(run_out(inner, 2), 2);
    ck_assert_int_eq(yield_to(scope_a), EBUSY);
    ck_assert_int_eq(vthread_continuation_unpin(), 0);
    destroy(inner);
    ck_assert_int_eq(yield_to(scope_a), 0);
}

START_TEST(a_pin_outside_of_the_scope_does_not_matter)
{
    cont *c = make(scope_a, outer_pinned, NULL);
    ck_assert_int_eq(run(c), 0);
    ck_assert_str_eq(trail, "k");
    ck_assert_int_eq(run_out(c, 1), 1);
    destroy(c);
}
END_TEST

/* ---- Depth -------------------------------------------------------------- */

static int yield_every; /* on the way out; 0: only at the bottom */

__attribute__((noinline)) static long descend(int levels, long x)
{
    volatile long keep = x * 31 + levels;
    if (levels == 0) {
        ck_assert_int_eq(yield_to(scope_a), 0);
        return keep;
    }
    long below = descend(levels - 1, keep % 1000003);
    if (yield_every && levels % yield_every == 0)
        ck_assert_int_eq(yield_to(scope_a), 0);
    return below + keep;
}

static long descend_native(int levels, long x)
{
    long sum = 0;
    for (; levels >= 0; levels--) {
        long keep = x * 31 + levels;
        sum += keep;
        x = keep % 1000003;
    }
    return sum;
}

struct descent {
    int levels;
    long result;
};

static void go_down(void *arg)
{
    struct descent *d = arg;
    d->result = descend(d->levels, 7);
}

static void descend_and_compare(int levels, size_t stack_size, int runs)
{
    struct descent *d = malloc(sizeof *d);
    *d = (struct descent){.levels = levels};
    vthread_continuation_attr_t attr = {.scope = scope_a,
                                        .stack_size_bytes = stack_size};
    cont *c = make_attr(&attr, go_down, d);
    ck_assert_int_eq(run_out(c, runs), runs);
    ck_assert_int_eq(d->result, descend_native(levels, 7));
    destroy(c);
    free(d);
}

START_TEST(ten_thousand_frames_deep)
{
    yield_every = 0;
    descend_and_compare(10000, 64 << 20, 2);
}
END_TEST

START_TEST(a_yield_in_each_of_ten_thousand_frames_on_the_way_out)
{
    yield_every = 1;
    descend_and_compare(10000, 64 << 20, 10002);
}
END_TEST

static void forty_after_a_resume(void *arg)
{
    struct descent *d = arg;
    ck_assert_int_eq(yield_to(scope_a), 0);
    for (int i = 0; i < 20; i++)
        d->result += descend(40, i);
}

START_TEST(forty_deep_after_a_resume)
{
    static struct descent d;
    long expected = 0;
    yield_every = 0;
    cont *c = make(scope_a, forty_after_a_resume, &d);
    ck_assert_int_eq(run_out(c, 22), 22);
    for (int i = 0; i < 20; i++)
        expected += descend_native(40, i);
    ck_assert_int_eq(d.result, expected);
    destroy(c);
}
END_TEST

static void grows_and_shrinks(void *arg)
{
    struct descent *d = arg;
    static const int depths[] = {1, 200, 3, 40, 150, 0, 80, 7, 300, 2};
    for (unsigned i = 0; i < COUNT_OF(depths); i++) {
        d->result += descend(depths[i], i);
        ck_assert_int_eq(yield_to(scope_a), 0);
    }
}

static long grown_and_shrunk(void)
{
    static const int depths[] = {1, 200, 3, 40, 150, 0, 80, 7, 300, 2};
    long sum = 0;
    for (unsigned i = 0; i < COUNT_OF(depths); i++)
        sum += descend_native(depths[i], i);
    return sum;
}

START_TEST(frames_of_all_depths_survive_being_copied)
{
    static struct descent results[CROWD];
    set_mode("VTHREAD_OWN_LIMIT", "0");
    yield_every = 29;
    uint64_t freezes = continuation_counts_self()->freezes;
    for (int i = 0; i < CROWD; i++)
        crowd[i] = make(scope_a, grows_and_shrinks, &results[i]);
    for (int left = CROWD; left > 0;) {
        left = 0;
        for (int i = 0; i < CROWD; i++)
            if (!done(crowd[i])) {
                ck_assert_int_eq(run(crowd[i]), 0);
                left++;
            }
    }
    for (int i = 0; i < CROWD; i++) {
        ck_assert_int_eq(results[i].result, grown_and_shrunk());
        destroy(crowd[i]);
    }
    if (mode_is("VTHREAD_OWN_LIMIT", "0")
        && !mode_is("VTHREAD_FREEZE", "guard"))
        ck_assert_uint_gt(continuation_counts_self()->freezes, freezes);
}
END_TEST

/* ---- Several OS threads ------------------------------------------------- */

static void *runs_the_crowd_once(void *arg)
{
    (void)arg;
    for (int i = 0; i < CROWD; i++)
        if (!done(crowd[i]))
            ck_assert_int_eq(run(crowd[i]), 0);
    return NULL;
}

START_TEST(os_threads_run_it_in_turn)
{
    static struct descent results[CROWD];
    set_mode("VTHREAD_OWN_LIMIT", "100");
    yield_every = 0;
    for (int i = 0; i < CROWD; i++)
        crowd[i] = make(scope_a, grows_and_shrinks, &results[i]);
    for (int i = 0; i < 21; i++)
        elsewhere(runs_the_crowd_once, NULL);
    for (int i = 0; i < CROWD; i++) {
        ck_assert(done(crowd[i]));
        ck_assert_int_eq(results[i].result, grown_and_shrunk());
        destroy(crowd[i]);
    }
}
END_TEST

static void *runs_one_of_the_crowd(void *arg)
{
    run_elsewhere(arg);
    return NULL;
}

START_TEST(a_home_that_is_held_is_asked_for_again)
{
    pthread_t t;
    int held = 0, ran = 0;
    set_mode("VTHREAD_OWN_LIMIT", "0");
    sem_init(&inside, 0, 0);
    sem_init(&go_on, 0, 0);
    cont *holder = make(scope_a, stays, NULL);
    ck_assert_int_eq(pthread_create(&t, NULL, runs_one_of_the_crowd, holder),
                     0);
    sem_wait(&inside);
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = make(scope_a, yields_once, NULL);
        int err = run(crowd[i]);
        if (err == EAGAIN)
            err = run(crowd[i]);
        ck_assert_msg(err == 0 || err == EAGAIN, "%s", strerror(err));
        ck_assert(!done(crowd[i]));
        held += err == EAGAIN;
        ran += err == 0;
    }
    if (mode_is("VTHREAD_OWN_LIMIT", "0")
        && !mode_is("VTHREAD_FREEZE", "guard"))
        ck_assert_int_gt(held, 0);
    ck_assert_int_gt(ran, 0);
    sem_post(&go_on);
    pthread_join(t, NULL);
    for (int i = 0; i < CROWD; i++) {
        run_out(crowd[i], 2);
        destroy(crowd[i]);
    }
    run_out(holder, 1);
    destroy(holder);
}
END_TEST

static void runs_the_crowd(void *arg)
{
    int *refused = arg;
    for (int i = 0; i < CROWD; i++) {
        int err = run(crowd[i]);
        ck_assert_msg(err == 0 || err == EPERM, "%s", strerror(err));
        *refused += err == EPERM;
    }
}

START_TEST(one_that_shares_its_home_is_not_run_inside_of_another)
{
    static int refused;
    set_mode("VTHREAD_OWN_LIMIT", "0");
    for (int i = 0; i < CROWD; i++)
        crowd[i] = make(scope_a, yields_once, NULL);
    for (int i = 0; i < CROWD; i++)
        ck_assert_int_eq(run(crowd[i]), 0);
    cont *c = make(scope_b, runs_the_crowd, &refused);
    ck_assert_int_eq(run_out(c, 1), 1);
    destroy(c);
    if (mode_is("VTHREAD_OWN_LIMIT", "0")
        && !mode_is("VTHREAD_FREEZE", "guard"))
        ck_assert_int_eq(refused, CROWD);
    for (int i = 0; i < CROWD; i++) {
        if (!done(crowd[i]))
            run_out(crowd[i], 1);
        destroy(crowd[i]);
    }
}
END_TEST

/* ---- Registers ---------------------------------------------------------- */

#if defined __x86_64__
struct control_words {
    unsigned mxcsr;
    unsigned short x87;
};

static struct control_words control_words(void)
{
    struct control_words w;
    __asm__ volatile("stmxcsr %0" : "=m"(w.mxcsr));
    __asm__ volatile("fnstcw %0" : "=m"(w.x87));
    w.mxcsr &= ~0x3fu; /* the sticky flags are nobody's */
    return w;
}

static void set_control_words(struct control_words w)
{
    __asm__ volatile("ldmxcsr %0" : : "m"(w.mxcsr));
    __asm__ volatile("fldcw %0" : : "m"(w.x87));
}

static void assert_control_words(unsigned mxcsr, unsigned x87)
{
    struct control_words w = control_words();
    ck_assert_uint_eq(w.mxcsr, mxcsr);
    ck_assert_uint_eq(w.x87, x87);
}

/* Every rounding mode, one after the other. */
static void rounds_its_own_way(void *arg)
{
    unsigned first = *(unsigned *)arg;
    for (unsigned i = 0; i < 8; i++) {
        unsigned mode = (first + i) % 4;
        struct control_words w = {0x1f80u | mode << 13,
                                  (unsigned short)(0x037f | mode << 10)};
        set_control_words(w);
        ck_assert_int_eq(yield_to(scope_a), 0);
        assert_control_words(w.mxcsr, w.x87);
    }
}

START_TEST(control_words_belong_to_the_continuation)
{
    static unsigned first[CROWD];
    struct control_words mine = control_words();
    set_mode("VTHREAD_OWN_LIMIT", "100");
    for (unsigned i = 0; i < CROWD; i++) {
        first[i] = i;
        crowd[i] = make(scope_a, rounds_its_own_way, &first[i]);
    }
    for (int round = 0; round < 9; round++)
        for (int i = 0; i < CROWD; i++) {
            ck_assert_int_eq(run(crowd[i]), 0);
            assert_control_words(mine.mxcsr, mine.x87);
        }
    for (int i = 0; i < CROWD; i++) {
        ck_assert(done(crowd[i]));
        destroy(crowd[i]);
    }
}
END_TEST
#endif

/* ---- Attributes --------------------------------------------------------- */

static void refused(vthread_continuation_attr_t attr)
{
    cont *c = (cont *)&attr;
    ck_assert_int_eq(vthread_continuation_create(&c, &attr, nothing, NULL),
                     EINVAL);
    ck_assert_ptr_eq(c, (cont *)&attr);
}

START_TEST(bad_attributes_are_refused_and_nothing_is_stored)
{
    refused((vthread_continuation_attr_t){.stack_size_bytes = 4096});
    refused((vthread_continuation_attr_t){
        .stack_size_bytes = VTHREAD_STACK_SIZE_MIN - 4096});
    refused((vthread_continuation_attr_t){.stack_size_bytes = 100000});
    refused((vthread_continuation_attr_t){
        .stack_size_bytes = VTHREAD_STACK_SIZE_MAX + 4096});
    refused((vthread_continuation_attr_t){.stack_size_bytes = SIZE_MAX - 4095});
    refused((vthread_continuation_attr_t){.flags = 0x80000000u});
    refused((vthread_continuation_attr_t){.reserved = 1});
}
END_TEST

START_TEST(no_attributes_are_the_defaults)
{
    cont *c;
    ck_assert_int_eq(vthread_continuation_create(&c, NULL, nothing, NULL), 0);
    ck_assert_int_eq(run_out(c, 1), 1);
    destroy(c);
}
END_TEST

static void fills_its_stack(void *arg)
{
    size_t size = *(size_t *)arg;
    volatile char *space = __builtin_alloca(size);
    for (size_t i = 0; i < size; i += 512)
        space[i] = (char)i;
    ck_assert_int_eq(yield_to(scope_a), 0);
    for (size_t i = 0; i < size; i += 512)
        ck_assert_int_eq(space[i], (char)i);
}

START_TEST(a_stack_has_the_size_that_was_asked_for)
{
    static const size_t sizes[] = {
        VTHREAD_STACK_SIZE_DEFAULT, 512 << 10, 1 << 20, 8 << 20, 1 << 20};
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        static size_t use;
        use = sizes[i] - (16 << 10); /* check's own needs some */
        vthread_continuation_attr_t attr = {
            .scope = scope_a, .stack_size_bytes = sizes[i]};
        cont *c = make_attr(&attr, fills_its_stack, &use);
        ck_assert_int_eq(run_out(c, 2), 2);
        destroy(c);
    }
}
END_TEST

static void forget_the_trail(void)
{
    trail[0] = '\0';
}

static Suite *continuation_suite(void)
{
    Suite *suite = suite_create("continuation");
    TCase *cases = tcase_create("continuation");
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, forget_the_trail, NULL);
    tcase_add_test(cases, it_runs_from_yield_to_yield_to_its_end);
    tcase_add_test(cases, one_that_never_yields_ends_in_one_run);
    tcase_add_test(cases, a_finished_one_is_not_run_again);
    tcase_add_test(cases, one_that_is_mounted_here_is_busy);
    tcase_add_test(cases, one_that_is_mounted_elsewhere_is_busy);
    tcase_add_test(cases, a_generator_hands_out_its_values);
    tcase_add_test(cases, destroying_nothing_is_allowed);
    tcase_add_test(cases, a_new_one_can_be_destroyed);
    tcase_add_test(cases, an_unmounted_one_can_be_destroyed);
    tcase_add_test(cases, one_can_be_destroyed_by_one_that_shares_its_home);
    tcase_add_test(cases,
                   a_yield_to_no_scope_is_an_error_and_changes_nothing);
    tcase_add_test(cases, no_scope_is_a_scope_too);
    tcase_add_test(cases, a_yield_unmounts_all_out_to_its_scope);
    tcase_add_test(cases, a_nest_goes_on_on_another_os_thread);
    tcase_add_test(cases, those_inside_of_an_unmounted_one_are_busy);
    tcase_add_test(cases, of_equal_scopes_the_innermost_is_meant);
    tcase_add_test(cases, one_made_inside_has_a_home_of_its_own);
    tcase_add_test(cases, one_made_inside_outlives_its_maker);
    tcase_add_test(cases, a_pinned_one_does_not_yield_and_pins_nest);
    tcase_add_test(cases, a_pin_outside_is_not_permitted);
    tcase_add_test(cases, one_that_ends_pinned_pins_nobody_else);
    tcase_add_test(cases, a_pin_inside_stops_the_yield_of_all);
    tcase_add_test(cases, a_pin_outside_of_the_scope_does_not_matter);
    tcase_add_test(cases, ten_thousand_frames_deep);
    tcase_add_test(cases,
                   a_yield_in_each_of_ten_thousand_frames_on_the_way_out);
    tcase_add_test(cases, forty_deep_after_a_resume);
    tcase_add_test(cases, frames_of_all_depths_survive_being_copied);
    tcase_add_test(cases, os_threads_run_it_in_turn);
    tcase_add_test(cases, a_home_that_is_held_is_asked_for_again);
    tcase_add_test(cases, one_that_shares_its_home_is_not_run_inside_of_another);
#if defined __x86_64__
    tcase_add_test(cases, control_words_belong_to_the_continuation);
#endif
    tcase_add_test(cases, bad_attributes_are_refused_and_nothing_is_stored);
    tcase_add_test(cases, no_attributes_are_the_defaults);
    tcase_add_test(cases, a_stack_has_the_size_that_was_asked_for);
    suite_add_tcase(suite, cases);
    return suite;
}

int main(void)
{
    return run_suite(continuation_suite());
}
