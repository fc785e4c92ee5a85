/*
 * continuation_frames_test.c - frames of any depth and registers come back
 * as they were, on any OS thread, though homes are shared.
 */
#include <errno.h>
#include <fenv.h>

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

/* Thirds in all the arithmetic that the processor has (on x86-64 of two
 * kinds), rounded as it is told to at present. */
struct thirds {
    int mode;
    double up, down;
    long double long_up, long_down;
};

static struct thirds thirds(void)
{
    volatile double one = 1, three = 3;
    volatile long double long_one = 1, long_three = 3;
    return (struct thirds){fegetround(), one / three, -one / three,
                           long_one / long_three, -long_one / long_three};
}

static void assert_rounds_as(const struct thirds *before)
{
    struct thirds now = thirds();
    ck_assert_int_eq(now.mode, before->mode);
    ck_assert(now.up == before->up && now.down == before->down);
    ck_assert(now.long_up == before->long_up
              && now.long_down == before->long_down);
}

/* Every rounding mode, one after the other. */
static void rounds_its_own_way(void *arg)
{
    static const int modes[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD,
                                FE_TOWARDZERO};
    unsigned first = *(unsigned *)arg;
    for (unsigned i = 0; i < 8; i++) {
        ck_assert_int_eq(fesetround(modes[(first + i) % 4]), 0);
        struct thirds before = thirds();
        ck_assert_int_eq(yield_to(scope_a), 0);
        assert_rounds_as(&before);
    }
}

START_TEST(the_rounding_mode_belongs_to_the_continuation)
{
    static unsigned first[CROWD];
    struct thirds mine = thirds();
    set_mode("VTHREAD_OWN_LIMIT", "100");
    for (unsigned i = 0; i < CROWD; i++) {
        first[i] = i;
        crowd[i] = make(scope_a, rounds_its_own_way, &first[i]);
    }
    for (int round = 0; round < 9; round++)
        for (int i = 0; i < CROWD; i++) {
            ck_assert_int_eq(run(crowd[i]), 0);
            assert_rounds_as(&mine);
        }
    for (int i = 0; i < CROWD; i++) {
        ck_assert(done(crowd[i]));
        destroy(crowd[i]);
    }
}
END_TEST

/* More values of both kinds than any processor has registers that a call
 * preserves: the compiler keeps them there as far as they go, for what lies in
 * the arrays may be another thing after a call. */
__attribute__((noinline)) static void keeps_registers(const uint64_t *word,
                                                      const double *real)
{
    uint64_t a = word[0], b = word[1], c = word[2], d = word[3], e = word[4],
             f = word[5], g = word[6], h = word[7], i = word[8], j = word[9],
             k = word[10], l = word[11];
    double m = real[0], n = real[1], o = real[2], p = real[3], q = real[4],
           r = real[5], s = real[6], t = real[7], u = real[8], v = real[9],
           w = real[10], x = real[11];
    ck_assert_int_eq(yield_to(scope_a), 0);
    ck_assert(a == word[0] && b == word[1] && c == word[2] && d == word[3]);
    ck_assert(e == word[4] && f == word[5] && g == word[6] && h == word[7]);
    ck_assert(i == word[8] && j == word[9] && k == word[10] && l == word[11]);
    ck_assert(m == real[0] && n == real[1] && o == real[2] && p == real[3]);
    ck_assert(q == real[4] && r == real[5] && s == real[6] && t == real[7]);
    ck_assert(u == real[8] && v == real[9] && w == real[10] && x == real[11]);
}

static void keeps_registers_at_each_yield(void *arg)
{
    uint64_t words[12];
    double reals[12];
    for (unsigned i = 0; i < 7; i++) {
        for (unsigned n = 0; n < 12; n++) {
            words[n] = *(unsigned *)arg * 1000003u + i * 101u + n;
            reals[n] = (double)words[n] + 0.5;
        }
        keeps_registers(words, reals);
    }
}

START_TEST(registers_belong_to_the_continuation)
{
    static unsigned first[CROWD];
    for (unsigned i = 0; i < CROWD; i++) {
        first[i] = i + 1;
        crowd[i] = make(scope_a, keeps_registers_at_each_yield, &first[i]);
    }
    for (int i = 0; i < CROWD; i++) {
        run_out(crowd[i], 8);
        destroy(crowd[i]);
    }
}
END_TEST

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
    tcase_add_test(cases, the_rounding_mode_belongs_to_the_continuation);
    tcase_add_test(cases, registers_belong_to_the_continuation);
    return run_suite(suite);
}
