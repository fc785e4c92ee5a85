/*
 * continuation_frames_test.c - frames of any depth and registers come back
 * as they were, on any OS thread, though homes are shared.
 */
#include <errno.h>

#include "continuation/continuation.h"
#include "tests/continuations.h"

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

START_TEST(a_home_that_is_held_is_asked_for_again)
{
    int held = 0, ran = 0;
    set_mode("VTHREAD_OWN_LIMIT", "0");
    cont *holder = make(scope_a, stays, NULL);
    pthread_t t = start_to_stay(holder);
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

/* ---- The suite ---------------------------------------------------------- */

int main(void)
{
    Suite *suite = suite_create("continuation_frames");
    TCase *cases = new_trail_case(suite, "continuation_frames");
    tcase_add_test(cases, ten_thousand_frames_deep);
    tcase_add_test(cases,
                   a_yield_in_each_of_ten_thousand_frames_on_the_way_out);
    tcase_add_test(cases, forty_deep_after_a_resume);
    tcase_add_test(cases, frames_of_all_depths_survive_being_copied);
    tcase_add_test(cases, os_threads_run_it_in_turn);
    tcase_add_test(cases, a_home_that_is_held_is_asked_for_again);
    tcase_add_test(cases,
                   one_that_shares_its_home_is_not_run_inside_of_another);
#if defined __x86_64__
    tcase_add_test(cases, control_words_belong_to_the_continuation);
#endif
    return run_suite(suite);
}
