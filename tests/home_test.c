/*
 * home_test.c - the stacks that threads live on: own and common homes,
 * copied frames, pointers that escape, continuations inside threads.
 */
#include <errno.h>

#include "continuation/run_stack.h"
#include "tests/random.h"
#include "tests/threads.h"
#include "thread.h"

/* ---- Homes -------------------------------------------------------------- */

struct sum {
    unsigned rounds;
    uint64_t value;
};

__attribute__((noinline)) static uint64_t fold(unsigned depth, uint64_t seed,
                                               bool waits)
{
    uint64_t words[8];
    struct random random = {seed};
    for (unsigned i = 0; i < 8; i++)
        words[i] = random_next(&random);
    uint64_t below = depth ? fold(depth - 1, words[0], waits) : 0;
    if (waits && words[1] % 16 == 0)
        vthread_sleep(words[2] % 50000);
    else if (waits && (depth == 0 || words[1] % 4 == 0))
        vthread_yield();
    for (unsigned i = 0; i < 8; i++)
        below = below * 31 + words[i];
    return below;
}

static void *folds(void *arg)
{
    struct sum *sum = arg;
    for (unsigned i = 0; i < sum->rounds; i++)
        sum->value += fold(i * 5 % 40, i, true);
    return NULL;
}

static void fold_on(vthread_scheduler_t *s, unsigned threads)
{
    struct sum *sums = calloc(threads, sizeof *sums);
    vthread_t *handles = calloc(threads, sizeof *handles);
    uint64_t expected = 0;
    unsigned rounds = 12;
    for (unsigned i = 0; i < rounds; i++)
        expected += fold(i * 5 % 40, i, false);
    for (unsigned i = 0; i < threads; i++) {
        sums[i].rounds = rounds;
        handles[i] = start_on(s, folds, &sums[i]);
    }
    for (unsigned i = 0; i < threads; i++) {
        join(handles[i]);
        ck_assert_uint_eq(sums[i].value, expected);
    }
    free(handles);
    free(sums);
}

START_TEST(frames_beyond_the_own_limit_are_copied_and_right)
{
    set_mode("VTHREAD_OWN_LIMIT", "16");
    set_mode("VTHREAD_COMMON_HOMES", "4");
    vthread_scheduler_t *s = scheduler_of(2);
    fold_on(s, UNDER_SANITIZER ? 200 : 1000);
    if (!mode_is("VTHREAD_FREEZE", "guard")) {
        ck_assert_uint_gt(stats_of(s).freezes, 0);
        ck_assert_uint_gt(stats_of(s).frozen_bytes, 0);
    }
    shut_down(s);
}
END_TEST

START_TEST(own_homes_are_not_copied)
{
    if (mode_is("VTHREAD_FREEZE", "eager"))
        return;
    set_mode("VTHREAD_OWN_LIMIT", "1024");
    vthread_scheduler_t *s = scheduler_of(2);
    fold_on(s, 100);
    if (mode_is("VTHREAD_OWN_LIMIT", "1024"))
        ck_assert_uint_eq(stats_of(s).freezes, 0);
    shut_down(s);
}
END_TEST

START_TEST(all_may_share_a_few_homes_on_many_carriers)
{
    set_mode("VTHREAD_OWN_LIMIT", "0");
    set_mode("VTHREAD_COMMON_HOMES", "1");
    vthread_scheduler_t *s = scheduler_of(8);
    fold_on(s, UNDER_SANITIZER ? 100 : 400);
    shut_down(s);
}
END_TEST

static void *lends_a_local(void *arg)
{
    volatile int local = 1;
    *(volatile int **)arg = &local;
    vthread_park();
    return pointer((uintptr_t)local);
}

START_TEST(locals_on_an_own_home_are_there_while_it_is_parked)
{
    static volatile int *locals[200];
    vthread_t threads[COUNT_OF(locals)];
    set_mode("VTHREAD_OWN_LIMIT", "0");
    for (unsigned i = 0; i < COUNT_OF(locals); i++)
        threads[i] = start_attr((vthread_attr_t){.flags = VTHREAD_STACK_OWN},
                                lends_a_local, &locals[i]);
    for (unsigned i = 0; i < COUNT_OF(locals); i++) {
        until_waiting(threads[i]);
        ck_assert_int_eq(*locals[i], 1);
        *locals[i] = (int)i + 7;
    }
    for (unsigned i = 0; i < COUNT_OF(locals); i++) {
        vthread_unpark(threads[i]);
        ck_assert_ptr_eq(join(threads[i]), pointer(i + 7));
    }
}
END_TEST

static void *only_sleeps(void *arg)
{
    vthread_sleep_until(VTHREAD_NEVER - 1);
    return arg;
}

/* 256 bytes are all that it costs: nothing of it lies elsewhere.  On the
 * other processors the switch alone keeps more registers than fit. */
START_TEST(the_frames_of_a_sleeper_fit_its_object)
{
    static vthread_t sleepers[64];
    uint64_t word;
    set_mode("VTHREAD_OWN_LIMIT", "0");
    for (unsigned i = 0; i < COUNT_OF(sleepers); i++)
        sleepers[i] = start(only_sleeps, NULL);
    for (unsigned i = 0; i < COUNT_OF(sleepers); i++)
        until_waiting(sleepers[i]);
#if defined __x86_64__ && defined __OPTIMIZE__                                \
    && !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    for (unsigned i = 0; i < COUNT_OF(sleepers); i++)
        if (!mode_is("VTHREAD_FREEZE", "eager"))
            ck_assert_ptr_null(
                thread_of_handle(sleepers[i], &word)->continuation.chunk);
#else
    (void)word;
#endif
    for (unsigned i = 0; i < COUNT_OF(sleepers); i++) {
        ck_assert_int_eq(vthread_interrupt(sleepers[i]), 0);
        join(sleepers[i]);
    }
}
END_TEST

static void *adds_one(void *arg)
{
    ++*(int *)arg;
    return NULL;
}

static void *passes_a_local(void *arg)
{
    int local = 41;
    vthread_t t;
    (void)arg;
    ck_assert_int_eq(vthread_create(&t, NULL, adds_one, &local), 0);
    join(t);
    return pointer((uintptr_t)local);
}

START_TEST(a_pointer_to_a_local_makes_an_unshared_home_an_own_one)
{
    set_mode("VTHREAD_OWN_LIMIT", "0");
    /* The first alone on its home; those after it are known to need one. */
    for (int i = 0; i < 100; i++)
        ck_assert_ptr_eq(join(start(passes_a_local, NULL)), pointer(42));
}
END_TEST

static void *crowds(void *arg)
{
    (void)arg;
    vthread_park();
    return NULL;
}

static void *is_refused(void *arg)
{
    int local = 41;
    vthread_t t = 42;
    (void)arg;
    int err = vthread_create(&t, NULL, adds_one, &local);
    if (err == 0)
        join(t);
    else
        ck_assert_uint_eq(t, 42);
    return pointer((uintptr_t)err);
}

START_TEST(a_pointer_into_a_shared_home_is_refused)
{
    static vthread_t parked[600];
    set_mode("VTHREAD_OWN_LIMIT", "0");
    set_mode("VTHREAD_COMMON_HOMES", "16");
    for (unsigned i = 0; i < COUNT_OF(parked); i++)
        parked[i] = start(crowds, NULL);
    for (unsigned i = 0; i < COUNT_OF(parked); i++)
        until_waiting(parked[i]);
    void *result = join(start(is_refused, NULL));
    if (mode_is("VTHREAD_OWN_LIMIT", "0")
        && !mode_is("VTHREAD_FREEZE", "guard"))
        ck_assert_ptr_eq(result, pointer(EFAULT));
    /* From now on they have own homes. */
    ck_assert_ptr_eq(join(start(is_refused, NULL)), NULL);
    for (unsigned i = 0; i < COUNT_OF(parked); i++) {
        vthread_unpark(parked[i]);
        join(parked[i]);
    }
}
END_TEST

static void *takes_any_word(void *arg)
{
    return arg;
}

static void *is_accepted(void *word)
{
    vthread_t t;
    ck_assert_int_eq(vthread_create(&t, NULL, takes_any_word, word), 0);
    ck_assert_ptr_eq(join(t), word);
    return NULL;
}

/* Handles of some generations do. */
START_TEST(a_number_that_looks_like_a_home_to_be_is_accepted)
{
    set_mode("VTHREAD_OWN_LIMIT", "0");
    set_mode("VTHREAD_COMMON_HOMES", "16");
    join(start(takes_any_word, NULL));
    uintptr_t last = atomic_load(&run_stack_doubtful_start)
                     + atomic_load(&run_stack_doubtful_bytes) - 1;
    if (continuation_freeze_mode == FREEZE_LAZY)
        ck_assert(!run_stack_of_address(pointer(last)));
    join(start(is_accepted, pointer(last)));
}
END_TEST

static vthread_scheduler_t *scheduler;
static atomic_int is_mounted;

static bool has_own_home(void)
{
    uint64_t word;
    return thread_of_handle(vthread_self(), &word)->continuation.flags
           & CONTINUATION_HAS_OWN;
}

/* Stays until somebody has noticed. */
static void *stays(void *arg)
{
    (void)arg;
    if (has_own_home())
        return pointer(1);
    atomic_store(&is_mounted, 1);
    while (stats_of(scheduler).homes_held == 0)
        cpu_relax();
    return NULL;
}

/* More threads than homes, so that some share that of the one who stays. */
START_TEST(one_who_holds_a_common_home_is_counted_and_remembered)
{
    static vthread_t parked[64];
    set_mode("VTHREAD_HOG_MS", "1");
    set_mode("VTHREAD_OWN_LIMIT", "0");
    set_mode("VTHREAD_COMMON_HOMES", "1");
    if (!mode_is("VTHREAD_OWN_LIMIT", "0")
        || mode_is("VTHREAD_FREEZE", "guard"))
        return;
    scheduler = scheduler_of(2);
    for (unsigned i = 0; i < COUNT_OF(parked); i++)
        parked[i] = start_on(scheduler, crowds, NULL);
    for (unsigned i = 0; i < COUNT_OF(parked); i++)
        until_waiting(parked[i]);
    vthread_t first = start_on(scheduler, stays, NULL);
    until(&is_mounted);
    for (unsigned i = 0; i < COUNT_OF(parked); i++)
        vthread_unpark(parked[i]);
    ck_assert_ptr_eq(join(first), NULL);
    for (unsigned i = 0; i < COUNT_OF(parked); i++)
        join(parked[i]);
    /* From now on they have own homes. */
    ck_assert_ptr_eq(join(start_on(scheduler, stays, NULL)), pointer(1));
    shut_down(scheduler);
}
END_TEST

/* Two that take a home at the same instant. */
static struct run_stack *_Atomic taken[2];
static atomic_uint arrivals;

static void meet(unsigned round)
{
    atomic_fetch_add(&arrivals, 1);
    while (atomic_load(&arrivals) < 2 * round)
        sched_yield();
}

static void *takes_and_gives_back(void *number)
{
    unsigned i = (unsigned)(uintptr_t)number, same = 0;
    unsigned rounds = how_often(200, 20000);
    for (unsigned round = 0; round < rounds; round++) {
        meet(3 * round + 1);
        atomic_store(&taken[i], run_stack_take_common());
        meet(3 * round + 2);
        same += atomic_load(&taken[0]) == atomic_load(&taken[1]);
        meet(3 * round + 3);
        run_stack_give_back(atomic_load(&taken[i]));
    }
    return pointer(same);
}

START_TEST(two_that_come_at_once_get_two_homes)
{
    pthread_t other;
    void *same;
    shut_down(scheduler_of(2));
    atomic_store(&arrivals, 0);
    ck_assert_int_eq(pthread_create(&other, NULL, takes_and_gives_back,
                                    pointer(1)),
                     0);
    ck_assert_ptr_null(takes_and_gives_back(pointer(0)));
    ck_assert_int_eq(pthread_join(other, &same), 0);
}
END_TEST

/* ---- Continuations inside threads --------------------------------------- */

static const char numbers[] = "numbers";

/* A generator that lets its thread wait in between. */
static void generates(void *out)
{
    for (uint64_t i = 1; i <= 40; i++) {
        uint64_t local = i * i;
        if (i % 3 == 0)
            vthread_yield();
        else if (i % 3 == 1)
            vthread_sleep(10000);
        *(uint64_t *)out = local;
        ck_assert_int_eq(vthread_continuation_yield(numbers), 0);
    }
}

static void *consumes(void *arg)
{
    uint64_t *value = calloc(1, sizeof *value);
    vthread_continuation_t *c;
    vthread_continuation_attr_t attr = {.scope = numbers};
    (void)arg;
    ck_assert_int_eq(vthread_continuation_create(&c, &attr, generates, value),
                     0);
    for (uint64_t i = 1; i <= 40; i++) {
        ck_assert_int_eq(vthread_continuation_run(c), 0);
        ck_assert_uint_eq(*value, i * i);
        vthread_yield();
    }
    ck_assert_int_eq(vthread_continuation_run(c), 0);
    ck_assert(vthread_continuation_is_done(c));
    ck_assert_int_eq(vthread_continuation_destroy(c), 0);
    free(value);
    return NULL;
}

START_TEST(a_thread_waits_inside_of_a_generator)
{
    vthread_t threads[64];
    set_mode("VTHREAD_OWN_LIMIT", "8");
    vthread_scheduler_t *s = scheduler_of(4);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start_on(s, consumes, NULL);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    shut_down(s);
}
END_TEST

static void exits_inside(void *arg)
{
    vthread_exit(arg);
}

static vthread_continuation_t *abandoned;

static void *exits_in_generator(void *arg)
{
    (void)arg;
    ck_assert_int_eq(vthread_continuation_create(&abandoned, NULL,
                                                 exits_inside, pointer(8)),
                     0);
    vthread_continuation_run(abandoned);
    ck_abort_msg("exit has returned");
    return NULL;
}

START_TEST(exit_ends_the_thread_from_inside_of_a_generator)
{
    for (int i = 0; i < 20; i++) {
        ck_assert_ptr_eq(join(start(exits_in_generator, NULL)), pointer(8));
        ck_assert_int_eq(vthread_continuation_run(abandoned), ESRCH);
        ck_assert_int_eq(vthread_continuation_destroy(abandoned), 0);
    }
}
END_TEST

/* ---- The suite ---------------------------------------------------------- */

static void add_homes(Suite *suite)
{
    TCase *cases = new_case(suite, "homes");
    tcase_add_test(cases, frames_beyond_the_own_limit_are_copied_and_right);
    tcase_add_test(cases, own_homes_are_not_copied);
    tcase_add_test(cases, all_may_share_a_few_homes_on_many_carriers);
    tcase_add_test(cases, the_frames_of_a_sleeper_fit_its_object);
    tcase_add_test(cases, locals_on_an_own_home_are_there_while_it_is_parked);
    tcase_add_test(cases,
                   a_pointer_to_a_local_makes_an_unshared_home_an_own_one);
    tcase_add_test(cases, a_pointer_into_a_shared_home_is_refused);
    tcase_add_test(cases,
                   a_number_that_looks_like_a_home_to_be_is_accepted);
    tcase_add_test(cases,
                   one_who_holds_a_common_home_is_counted_and_remembered);
}

static void add_continuations(Suite *suite)
{
    TCase *cases = new_case(suite, "continuations");
    tcase_add_test(cases, two_that_come_at_once_get_two_homes);
    tcase_add_test(cases, a_thread_waits_inside_of_a_generator);
    tcase_add_test(cases, exit_ends_the_thread_from_inside_of_a_generator);
}

int main(void)
{
    Suite *suite = suite_create("home");
    add_homes(suite);
    add_continuations(suite);
    return run_suite(suite);
}
