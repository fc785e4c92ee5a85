/*
 * yield.c - ns for one yield among N threads on one carrier.
 *
 * One thread takes the time and yields like the others; all count their
 * yields, so a sample is time divided by the yields that really took place
 * in it, whoever made them.  A sample is at least one turn of all threads
 * and at least 200,000 yields.  Warm-up: two turns, in which every thread
 * is mounted for the first time.
 */
#include "bench/bench.h"

#include <stdatomic.h>
#include <stdio.h>

#define YIELDS_AT_LEAST 200000

static unsigned long threads = 2;

/* One carrier: plain loads and stores, atomic for form's sake only. */
static _Atomic uint64_t yields;
static _Atomic bool is_over;

static void yield_once(void)
{
    uint64_t n = atomic_load_explicit(&yields, memory_order_relaxed);

    atomic_store_explicit(&yields, n + 1, memory_order_relaxed);
    vthread_yield();
}

static void *yield_on(void *unused)
{
    while (!atomic_load_explicit(&is_over, memory_order_relaxed))
        yield_once();
    return unused;
}

/* Yields until `count` more have been made by all; returns how many were. */
static uint64_t yield_until(uint64_t count)
{
    uint64_t first = yields, made;

    do {
        yield_once();
        made = atomic_load_explicit(&yields, memory_order_relaxed) - first;
    } while (made < count);
    return made;
}

static void create_others(void)
{
    vthread_attr_t attr = {.flags = VTHREAD_DETACHED};

    for (unsigned long i = 1; i < threads; i++)
        bench_check(vthread_create(NULL, &attr, yield_on, NULL),
                    "vthread_create");
}

static void *take_time(void *out)
{
    struct bench_samples *samples = out;
    uint64_t batch = threads > YIELDS_AT_LEAST ? threads : YIELDS_AT_LEAST;

    create_others();
    yield_until(2 * batch);
    for (unsigned i = 0; i < bench_rounds(15, 5); i++) {
        uint64_t start_ns = bench_now_ns();
        uint64_t made = yield_until(batch);

        bench_add(samples, (double)(bench_now_ns() - start_ns) / (double)made);
    }
    is_over = true;
    return NULL;
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"threads", &threads, "threads that yield", NULL}, {0}};
    static struct bench_samples samples;
    char name[64];

    bench_parse(argc, argv, "One yield among N threads on one carrier, in ns.",
                options);
    bench_run_on(1, take_time, &samples);
    snprintf(name, sizeof name, "yield.%lu", threads);
    bench_report(name, &samples, "ns");
    return 0;
}
