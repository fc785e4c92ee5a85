/*
 * gc.c - the Boehm collector: what it costs a switch, and how long it stops
 * everything when many threads are parked.
 *
 *   gc.off, gc.on   ns for one yield among `threads` on one carrier, each in
 *                   a process of its own, without the collector and with it
 *   gc.ratio        the second by the first
 *   gc.pause.N      ms of one collection with N threads parked, each with
 *                   one object of the collected heap
 *
 * Warm-up: a yield as in yield.c; one collection before those that count.
 */
#define GC_THREADS 1
#define GC_NO_THREAD_REDIRECTS 1
#include <gc/gc.h>

#include "bench/bench.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vthread/gc.h>

#define YIELDS 200000

static unsigned long threads = 2;
static unsigned long parked = 1000000;

/* ---- Switches ----------------------------------------------------------- */

static _Atomic bool is_over;

static void *yields_on(void *unused)
{
    while (!atomic_load_explicit(&is_over, memory_order_relaxed))
        vthread_yield();
    return unused;
}

static void *take_time(void *out)
{
    vthread_attr_t attr = {.flags = VTHREAD_DETACHED};
    unsigned long turns = YIELDS / threads + 1;
    for (unsigned long i = 1; i < threads; i++)
        bench_check(vthread_create(NULL, &attr, yields_on, NULL),
                    "vthread_create");
    for (unsigned i = 0; i <= bench_rounds(15, 5); i++) {
        uint64_t start_ns = bench_now_ns();
        for (unsigned long turn = 0; turn < turns; turn++)
            vthread_yield();
        if (i > 0)
            bench_add(out, (double)(bench_now_ns() - start_ns)
                               / (double)(turns * threads));
    }
    atomic_store(&is_over, true);
    return NULL;
}

static double median_of_yields(bool is_on, const char *name)
{
    struct bench_samples samples = {.count = 0};
    if (is_on)
        bench_check(vthread_gc_enable(), "vthread_gc_enable");
    bench_run_on(1, take_time, &samples);
    bench_report(name, &samples, "ns");
    fflush(stdout);
    return bench_median(&samples);
}

/* In a process of its own; what it has measured comes by a pipe. */
static double measure_apart(bool is_on, const char *name)
{
    int ends[2];
    double value = 0;
    bench_check_errno(pipe(ends), "pipe");
    pid_t child = bench_check_errno(fork(), "fork");
    if (child == 0) {
        value = median_of_yields(is_on, name);
        _exit(write(ends[1], &value, sizeof value) == sizeof value ? 0 : 1);
    }
    int status;
    close(ends[1]);
    bench_check_errno(waitpid(child, &status, 0), "waitpid");
    if (status != 0
        || read(ends[0], &value, sizeof value) != (ssize_t)sizeof value)
        bench_die("the process that measures %s has failed", name);
    close(ends[0]);
    return value;
}

/* ---- Pauses ------------------------------------------------------------- */

static _Atomic unsigned long waiting;
static vthread_latch_t never = VTHREAD_LATCH_INITIALIZER(1);

static void *parks_with_object(void *unused)
{
    void *volatile object = GC_MALLOC(32);
    atomic_fetch_add(&waiting, 1);
    vthread_latch_wait(&never);
    return object ? unused : NULL;
}

static void park_up_to(unsigned long count)
{
    vthread_attr_t attr = {.flags = VTHREAD_DETACHED};
    for (unsigned long n = atomic_load(&waiting); n < count; n++)
        bench_check(vthread_create(NULL, &attr, parks_with_object, NULL),
                    "vthread_create");
    while (atomic_load(&waiting) < count)
        vthread_sleep(VTHREAD_MS);
    vthread_sleep(10 * VTHREAD_MS);
}

static void measure_pause(unsigned long count)
{
    struct bench_samples samples = {.count = 0};
    char name[64];
    park_up_to(count);
    for (unsigned i = 0; i <= bench_rounds(7, 3); i++) {
        uint64_t start_ns = bench_now_ns();
        GC_gcollect();
        if (i > 0)
            bench_add(&samples, (double)(bench_now_ns() - start_ns) / 1e6);
    }
    snprintf(name, sizeof name, "gc.pause.%lu", count);
    bench_report(name, &samples, "ms");
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"threads", &threads, "threads that yield", NULL},
        {"parked", &parked, "threads that are parked, at most", NULL},
        {0}};
    bench_parse(argc, argv,
                "A switch with the Boehm collector on and off, and the pause "
                "of a collection.",
                options);
    double off = measure_apart(false, "gc.off");
    double on = measure_apart(true, "gc.on");
    bench_report_one("gc.ratio", on / off, "times");
    bench_check(vthread_gc_enable(), "vthread_gc_enable");
    for (unsigned long count = 10000; count <= parked; count *= 10)
        measure_pause(count);
    fflush(stdout);
    _exit(0); /* the parked threads are not to be waited for */
}
