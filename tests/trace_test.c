/*
 * trace_test.c - the fuzzer: random programs, with and without yields.
 *
 * In the manner of the test of that name that the JDK has for continuations.
 * A program (trace_program.c) is run as a plain function first, where a yield
 * does nothing, and then as a bare continuation, each of whose steps is made
 * by some OS thread, and as a virtual thread.  What it computes, what it
 * records on the way and the stack that an unwinder sees after a yield must
 * be the same.
 *
 * A program is a function of its seed alone.  What differs is told with the
 * command that runs the program again; the modes are those of the
 * environment: VTHREAD_FREEZE, VTHREAD_MIGRATE, VTHREAD_OWN_LIMIT and so on.
 * TRACE_ITERATIONS tells how many batches of programs each test runs: one, or
 * eight with STRESS.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "tests/support.h"
#include "tests/trace.h"

#define BATCH 32

static uint64_t first_seed;

/* ---- What is expected --------------------------------------------------- */

static const char *modes(void)
{
    static char text[200];
    static const char *const variables[] = {
        "VTHREAD_FREEZE", "VTHREAD_MIGRATE", "VTHREAD_PARALLELISM",
        "VTHREAD_OWN_LIMIT", "VTHREAD_COMMON_HOMES"};
    text[0] = '\0';
    for (unsigned i = 0; i < COUNT_OF(variables); i++) {
        const char *value = getenv(variables[i]);
        size_t n = strlen(text);
        if (value)
            snprintf(text + n, sizeof text - n, "%s=%s ", variables[i],
                     value);
    }
    return text;
}

static uint64_t iterations(void)
{
    bool is_slow = UNDER_SANITIZER || sanitizer_is_valgrind;
    return number_from("TRACE_ITERATIONS", is_slow ? 1 : how_often(1, 8));
}

/* What programs compute as plain functions. */
struct expectation {
    uint64_t record, result;
    unsigned events;
};

static struct expectation *expectations;

static struct expectation *expected_of(uint64_t batch_seed, unsigned i)
{
    return &expectations[(batch_seed - first_seed) * BATCH + i];
}

static void verify(const struct trace *t, const struct expectation *expected,
                   uint64_t batch_seed)
{
    if (t->error[0] == '\0' && t->record == expected->record
        && t->events == expected->events && t->result == expected->result)
        return;
    ck_abort_msg("program %#llx differs: %s (%u events, %u expected; "
                 "%u yields, %u refused)\nreplay: SEED=%llu "
                 "TRACE_ITERATIONS=1 %stests/trace_test",
                 (unsigned long long)t->seed,
                 t->error[0] ? t->error : "other events or another result",
                 t->events, expected->events, t->yields, t->refusals,
                 (unsigned long long)batch_seed, modes());
}

static struct trace *new_batch(uint64_t seed, const struct way *way)
{
    struct random random = {seed};
    struct trace *batch = calloc(BATCH, sizeof *batch);
    ck_assert_ptr_nonnull(batch);
    for (unsigned i = 0; i < BATCH; i++)
        trace_init(&batch[i], random_next(&random), way);
    return batch;
}

static void expect_batch(uint64_t seed)
{
    struct trace *batch = new_batch(seed, &plain);
    for (unsigned i = 0; i < BATCH; i++) {
        struct trace *t = &batch[i];
        run_program(t);
        ck_assert_msg(t->error[0] == '\0', "without yields: %s", t->error);
        *expected_of(seed, i) =
            (struct expectation){t->record, t->result, t->events};
    }
    free(batch);
}

/* Once for all tests, before they fork. */
static void expect_all(void)
{
    prepare_foreign_calls();
    expectations = calloc(iterations() * BATCH, sizeof *expectations);
    ck_assert_ptr_nonnull(expectations);
    for (uint64_t i = 0; i < iterations(); i++)
        expect_batch(first_seed + i);
}

static void forget_all(void)
{
    free(expectations);
}

static void verify_batch(struct trace *batch, uint64_t seed)
{
    unsigned yields = 0;
    for (unsigned i = 0; i < BATCH; i++) {
        verify(&batch[i], expected_of(seed, i), seed);
        yields += batch[i].yields;
    }
    ck_assert_uint_gt(yields, 0);
    free(batch);
}

/* ---- As bare continuations ---------------------------------------------- */

static int yield_bare(struct trace *t)
{
    bool inner = t->nesting > 0 && random_below(&t->chance, 3) == 0;
    int err = vthread_continuation_yield(inner ? inner_scope : outer_scope);
    bool expect_refusal = (inner ? t->inner_pins : t->pins) > 0;
    if (expect_refusal != (err == EBUSY))
        trace_error(t, "a pin was not heeded or imagined", "yield");
    return err;
}

static const struct way bare = {yield_bare, vthread_continuation_pin,
                                vthread_continuation_unpin, true};

struct runner {
    pthread_t thread;
    struct trace *batch;
    struct random random;
};

static bool step_of(struct trace *t)
{
    if (atomic_flag_test_and_set(&t->is_taken))
        return false;
    bool is_done = vthread_continuation_is_done(t->continuation);
    if (!is_done) {
        uint32_t before = control_words();
        int err = vthread_continuation_run(t->continuation);
        uint32_t after = control_words();
        if (err != 0 && err != EAGAIN)
            trace_error(t, strerror(err), "step");
        if (before != after)
            trace_error(t, "the runner's control words have changed",
                        "step");
    }
    atomic_flag_clear(&t->is_taken);
    return is_done;
}

/* Any of the batch, any number of times, until all have ended. */
static void *run_steps(void *argument)
{
    struct runner *r = argument;
    unsigned done;
    do {
        for (unsigned i = 0; i < BATCH; i++)
            step_of(&r->batch[random_below(&r->random, BATCH)]);
        done = 0;
        for (unsigned i = 0; i < BATCH; i++)
            done += vthread_continuation_is_done(r->batch[i].continuation);
    } while (done < BATCH);
    return NULL;
}

static void run_bare(uint64_t seed, unsigned os_threads)
{
    struct runner runners[8];
    vthread_continuation_attr_t attr = {.scope = outer_scope};
    struct trace *batch = new_batch(seed, &bare);
    for (unsigned i = 0; i < BATCH; i++)
        ck_assert_int_eq(
            vthread_continuation_create(&batch[i].continuation, &attr,
                                        run_program, &batch[i]),
            0);
    for (unsigned i = 0; i < os_threads; i++) {
        runners[i] = (struct runner){.batch = batch, .random = {seed + i}};
        ck_assert_int_eq(pthread_create(&runners[i].thread, NULL, run_steps,
                                        &runners[i]),
                         0);
    }
    for (unsigned i = 0; i < os_threads; i++)
        pthread_join(runners[i].thread, NULL);
    for (unsigned i = 0; i < BATCH; i++)
        ck_assert_int_eq(
            vthread_continuation_destroy(batch[i].continuation), 0);
    verify_batch(batch, seed);
}

static void fuzz_bare(void)
{
    static const unsigned os_threads[] = {1, 2, 4};
    for (uint64_t i = 0; i < iterations(); i++)
        for (unsigned j = 0; j < COUNT_OF(os_threads); j++)
            run_bare(first_seed + i, os_threads[j]);
}

/* ---- As virtual threads ------------------------------------------------- */

static FRAME long os_thread(void)
{
    return syscall(SYS_gettid);
}

/* Any way of waiting that ends by itself. */
static int wait_somehow(struct trace *t)
{
    switch (random_below(&t->chance, 8)) {
    case 0:
        return vthread_sleep(random_below(&t->chance, 30000));
    case 1:
        vthread_unpark(vthread_self());
        return vthread_park();
    case 2:
        return vthread_park_until(vthread_after(1000)) == ETIMEDOUT ? 0
                                                                    : EINVAL;
    default:
        vthread_yield();
        return 0;
    }
}

static int yield_thread(struct trace *t)
{
    bool inner = t->nesting > 0 && random_below(&t->chance, 3) == 0;
    if (inner)
        return vthread_continuation_yield(inner_scope);
    long before = os_thread();
    int err = wait_somehow(t);
    if (t->pins > 0 && os_thread() != before)
        trace_error(t, "moved though pinned", "yield");
    return err;
}

static const struct way as_thread = {yield_thread, vthread_pin, vthread_unpin,
                                     true};

static void *run_as_thread(void *argument)
{
    run_program(argument);
    return argument;
}

static void run_threads(uint64_t seed, unsigned carriers)
{
    static vthread_t threads[BATCH];
    struct trace *batch = new_batch(seed, &as_thread);
    vthread_scheduler_t *s;
    vthread_scheduler_attr_t sa = {.parallelism = carriers};
    ck_assert_int_eq(vthread_scheduler_create(&s, &sa), 0);
    for (unsigned i = 0; i < BATCH; i++) {
        vthread_attr_t attr = {.scheduler = s};
        ck_assert_int_eq(vthread_create(&threads[i], &attr, run_as_thread,
                                        &batch[i]),
                         0);
    }
    for (unsigned i = 0; i < BATCH; i++)
        ck_assert_int_eq(vthread_join(threads[i], NULL), 0);
    ck_assert_int_eq(vthread_scheduler_shutdown(s, VTHREAD_NEVER), 0);
    verify_batch(batch, seed);
}

static void fuzz_threads(void)
{
    static const unsigned carriers[] = {1, 2, 8};
    for (uint64_t i = 0; i < iterations(); i++)
        for (unsigned j = 0; j < COUNT_OF(carriers); j++)
            run_threads(first_seed + i, carriers[j]);
}

/* ---- The tests ---------------------------------------------------------- */

/* One mode after the other, unless the environment says which. */
static const struct {
    const char *freeze, *own_limit, *migrate;
} mode_list[] = {
    {"lazy", "1024", ""},
    {"lazy", "0", ""},
    {"lazy", "0", "always"},
    {"eager", "0", ""},
    {"guard", "0", ""},
};

/* If the environment says how to freeze, the last two are like the second. */
static int number_of_modes(void)
{
    if (!tests_fork())
        return 1;
    return (int)COUNT_OF(mode_list) - (getenv("VTHREAD_FREEZE") ? 2 : 0);
}

static void set_modes(int i)
{
    set_mode("VTHREAD_COMMON_HOMES", "4");
    if (!tests_fork())
        return;
    set_mode("VTHREAD_FREEZE", mode_list[i].freeze);
    set_mode("VTHREAD_OWN_LIMIT", mode_list[i].own_limit);
    set_mode("VTHREAD_MIGRATE", mode_list[i].migrate);
}

START_TEST(a_program_is_a_function_of_its_seed)
{
    for (uint64_t i = 0; i < iterations(); i++) {
        struct trace *batch = new_batch(first_seed + i, &plain);
        for (unsigned j = 0; j < BATCH; j++)
            run_program(&batch[j]);
        verify_batch(batch, first_seed + i);
    }
}
END_TEST

START_TEST(bare_continuations_compute_the_same)
{
    set_modes(_i);
    fuzz_bare();
}
END_TEST

START_TEST(virtual_threads_compute_the_same)
{
    set_modes(_i);
    fuzz_threads();
}
END_TEST

/* ---- That the fuzzer can fail ------------------------------------------- */

static int yield_and_change_a_local(struct trace *t)
{
    /* Not where a jump may leave the frame before it looks. */
    if (t->plant.victim && !t->catch && !t->plant.is_done) {
        *t->plant.victim ^= 1;
        t->plant.is_done = true;
    }
    return 0;
}

static int yield_and_change_the_rounding(struct trace *t)
{
    if (t->control != control_words_of(0)) {
        set_control_words(control_words_of(0));
        t->plant.is_done = true;
    }
    return 0;
}

static FRAME int yield_and_change_registers(struct trace *t)
{
    t->plant.is_done = true;
    CHANGE_REGISTERS();
    return 0;
}

/* False if the program had no such place. */
static bool finds_plant(uint64_t seed, int (*yield)(struct trace *))
{
    static struct trace t;
    const struct way way = {yield, plain.pin, plain.unpin, false};
    trace_init(&t, seed, &way);
    run_program(&t);
    if (t.plant.is_done && t.error[0] == '\0')
        ck_abort_msg("program %#llx: a planted error was not noticed",
                     (unsigned long long)seed);
    return t.plant.is_done;
}

static void plant(int (*yield)(struct trace *))
{
    unsigned found = 0;
    for (uint64_t i = 0; i < 50; i++)
        found += finds_plant(first_seed + i, yield);
    ck_assert_uint_gt(found, 0);
}

START_TEST(a_local_that_changes_is_noticed)
{
    plant(yield_and_change_a_local);
}
END_TEST

START_TEST(a_rounding_mode_that_changes_is_noticed)
{
    plant(yield_and_change_the_rounding);
}
END_TEST

static void corrupt_registers(void)
{
    /* Ends well only if nothing is noticed. */
    static struct trace t, expected;
    const struct way way = {yield_and_change_registers, plain.pin,
                            plain.unpin, false};
    for (uint64_t i = 0; i < 50; i++) {
        trace_init(&t, first_seed + i, &way);
        trace_init(&expected, first_seed + i, &plain);
        run_program(&expected);
        run_program(&t);
        if (t.error[0] || t.record != expected.record
            || t.result != expected.result)
            abort();
    }
}

START_TEST(registers_that_change_are_noticed)
{
    static char text[4096];
    int status = end_of_child(corrupt_registers, text, sizeof text);
    ck_assert(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("trace");
    TCase *cases = tcase_create("trace");
    first_seed = random_start("trace_test").state;
    tcase_set_timeout(cases, (double)(PATIENCE_S + 20 * iterations()));
    tcase_add_unchecked_fixture(cases, expect_all, forget_all);
    tcase_add_test(cases, a_program_is_a_function_of_its_seed);
    tcase_add_loop_test(cases, bare_continuations_compute_the_same, 0,
                        number_of_modes());
    tcase_add_loop_test(cases, virtual_threads_compute_the_same, 0,
                        number_of_modes());
    tcase_add_test(cases, a_local_that_changes_is_noticed);
    tcase_add_test(cases, a_rounding_mode_that_changes_is_noticed);
    tcase_add_test(cases, registers_that_change_are_noticed);
    suite_add_tcase(suite, cases);
    return run_suite(suite);
}
