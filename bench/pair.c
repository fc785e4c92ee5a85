/*
 * pair.c - the reference of all other figures: one resume + one yield.
 *
 *   pair               the naked switch: two calls of switch_stacks, the
 *                      library's own assembly, between the OS thread's
 *                      stack and another.  Nothing else: no claim, no state.
 *   pair.continuation  the same through the public engine: one
 *                      vthread_continuation_run + one yield, in place.
 *
 * The two are sampled in turn.  Warm-up: one round of each, not counted.
 *
 * The only benchmark that uses an internal header.
 */
#include "bench/bench.h"

#include <stdlib.h>

#include "continuation/switch.h"

#define STACK_BYTES (64 * 1024)

static const char scope[] = "pair";

/* ---- The naked switch --------------------------------------------------- */

/* sp of the one of the two that does not run. */
static void *caller_sp, *other_sp;

static void switch_forever(void *argument)
{
    (void)argument;
    for (;;)
        switch_stacks(&other_sp, caller_sp, 0);
}

static void prepare_other_stack(void)
{
    char *stack = aligned_alloc(64, STACK_BYTES);

    if (stack == NULL)
        bench_die("no memory");
    other_sp = switch_prepare(stack + STACK_BYTES, switch_forever, NULL);
}

static double time_switches(unsigned long pairs)
{
    uint64_t start_ns = bench_now_ns();

    for (unsigned long i = 0; i < pairs; i++)
        switch_stacks(&caller_sp, other_sp, 0);
    return (double)(bench_now_ns() - start_ns) / (double)pairs;
}

/* ---- The public engine -------------------------------------------------- */

static uint64_t resumes;

static void yield_forever(void *argument)
{
    (void)argument;
    for (;;) {
        resumes++;
        vthread_continuation_yield(scope);
    }
}

static double time_continuation(vthread_continuation_t *c, unsigned long pairs)
{
    uint64_t before = resumes;
    uint64_t start_ns = bench_now_ns(), end_ns;

    for (unsigned long i = 0; i < pairs; i++)
        vthread_continuation_run(c);
    end_ns = bench_now_ns();
    if (resumes - before != pairs)
        bench_die("%lu runs resumed %lu times", pairs,
                  (unsigned long)(resumes - before));
    return (double)(end_ns - start_ns) / (double)pairs;
}

/* ---- Both, in turn ------------------------------------------------------ */

int main(int argc, char **argv)
{
    unsigned long pairs = 1000000;
    const struct bench_option options[] = {
        {"pairs", &pairs, "resume + yield in a sample", NULL}, {0}};
    vthread_continuation_attr_t attr = {.scope = scope};
    struct bench_samples naked = {0}, engine = {0};
    vthread_continuation_t *c;

    bench_parse(argc, argv, "One bare resume + yield, in ns.", options);
    prepare_other_stack();
    bench_check(vthread_continuation_create(&c, &attr, yield_forever, NULL),
                "vthread_continuation_create");
    time_switches(pairs);
    time_continuation(c, pairs);
    for (unsigned i = 0; i < bench_rounds(15, 7); i++) {
        bench_add(&naked, time_switches(pairs));
        bench_add(&engine, time_continuation(c, pairs));
    }
    bench_check(vthread_continuation_destroy(c),
                "vthread_continuation_destroy");
    bench_set_pair(bench_median(&naked));
    bench_report("pair", &naked, "ns");
    bench_report("pair.continuation", &engine, "ns");
    return 0;
}
