/*
 * create.c - ns to create a thread, run it and join it, one after the
 * other, from within a virtual thread.
 *
 * The thread does next to nothing; that it ran is seen in its result.
 * Warm-up: one round.
 */
#include "bench/bench.h"

#include <stdio.h>

#define PER_ROUND 100000

static void *add_one(void *number) { return (char *)number + 1; }

static void create_and_join(uintptr_t number)
{
    vthread_t thread;
    void *result;

    bench_check(vthread_create(&thread, NULL, add_one, (void *)number),
                "vthread_create");
    bench_check(vthread_join(thread, &result), "vthread_join");
    if ((uintptr_t)result != number + 1)
        bench_die("thread %lu did not run", (unsigned long)number);
}

static double time_round(void)
{
    uint64_t start_ns = bench_now_ns();

    for (uintptr_t i = 0; i < PER_ROUND; i++)
        create_and_join(i);
    return (double)(bench_now_ns() - start_ns) / PER_ROUND;
}

static void *take_time(void *out)
{
    struct bench_samples *samples = out;

    time_round();
    for (unsigned i = 0; i < bench_rounds(15, 5); i++)
        bench_add(samples, time_round());
    return NULL;
}

int main(int argc, char **argv)
{
    unsigned long carriers = 1;
    const struct bench_option options[] = {
        {"carriers", &carriers, "carriers of the scheduler", NULL}, {0}};
    static struct bench_samples samples;
    char name[64];

    bench_parse(argc, argv, "Create + run + join of one thread, in ns.",
                options);
    bench_run_on((unsigned)carriers, take_time, &samples);
    snprintf(name, sizeof name, "create.%lu", carriers);
    bench_report(name, &samples, "ns");
    return 0;
}
