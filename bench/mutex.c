/*
 * mutex.c - ns for one lock and unlock of a mutex among N threads on M
 * carriers.
 *
 * Each thread locks, counts and unlocks, again and again, with nothing
 * between: with one thread that is the uncontended case, with more of them
 * on several carriers the worst one.  The number of rounds is shared out
 * evenly, so no thread can do the work of another; who has done its share
 * ends.  The time of a sample is that from the first round to the last, of
 * all threads: they are created before, and start when the gate is opened.
 *
 * The count, which is nobody's but under the lock, is the check.
 */
#include "bench/bench.h"

#include <stdatomic.h>
#include <stdio.h>

#define ROUNDS 2000000

static unsigned long threads = 1000, carriers = 2;

static vthread_mutex_t mutex = VTHREAD_MUTEX_INITIALIZER;
static uint64_t count;

static void *lock_on(void *rounds)
{
    bench_check(vthread_park(), "vthread_park");
    for (uintptr_t i = 0; i < (uintptr_t)rounds; i++) {
        vthread_mutex_lock(&mutex);
        count++;
        vthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static double time_round(vthread_t *all)
{
    uintptr_t rounds = ROUNDS / threads;

    count = 0;
    for (unsigned long i = 0; i < threads; i++)
        bench_check(vthread_create(&all[i], NULL, lock_on, (void *)rounds),
                    "vthread_create");
    vthread_sleep(5 * VTHREAD_MS); /* they are parked, or find the permit */
    uint64_t start_ns = bench_now_ns();
    for (unsigned long i = 0; i < threads; i++)
        bench_check(vthread_unpark(all[i]), "vthread_unpark");
    for (unsigned long i = 0; i < threads; i++)
        bench_check(vthread_join(all[i], NULL), "vthread_join");
    uint64_t end_ns = bench_now_ns();
    if (count != rounds * threads)
        bench_die("%lu rounds were counted", (unsigned long)count);
    return (double)(end_ns - start_ns) / (double)count;
}

static void *take_time(void *out)
{
    vthread_t *all = bench_allocate(threads * sizeof *all);

    time_round(all);
    for (unsigned i = 0; i < bench_rounds(15, 5); i++)
        bench_add(out, time_round(all));
    return NULL;
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"threads", &threads, "threads that lock and unlock", NULL},
        {"carriers", &carriers, "carriers of the scheduler", NULL},
        {0}};
    static struct bench_samples samples;
    char name[64];

    bench_parse(argc, argv, "Lock + unlock of one mutex, in ns.", options);
    bench_run_on((unsigned)carriers, take_time, &samples);
    snprintf(name, sizeof name, "mutex.%lu.%lu", threads, carriers);
    bench_report(name, &samples, "ns");
    return 0;
}
