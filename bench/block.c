/*
 * block.c - calls that block the OS thread: vthread_block.
 *
 *   block.time     s for 10,000 calls that sleep 1 ms, 64 at a time: by 64
 *                  threads on two carriers, which make one call after the
 *                  other
 *   block.pool     the same by 64 pthreads that take jobs from a queue; the
 *                  floor is 10,000 / 64 ms
 *   block.threads  the same by 10,000 threads of one call each, on a
 *                  scheduler whose calls find 64 slots
 *   block.cpu, block.pool.cpu  CPU time of the first two
 *   block.empty    ns for a call of a function that does nothing, on one
 *                  carrier
 *
 * Each sample of these is between two of the others, so that they see the
 * same moments of the machine.  The calls are counted, and each sleeps by the
 * kernel's clock.
 */
#include "bench/bench.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define EMPTY_CALLS 100000

static unsigned long calls = 10000, at_once = 64, carriers = 2;

static atomic_ulong begun, ended;

static void *sleep_1_ms(void *arg)
{
    struct timespec time = {.tv_nsec = 1000000};

    bench_check_errno(clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL),
                      "clock_nanosleep");
    atomic_fetch_add(&ended, 1);
    return arg;
}

static void begin_round(void)
{
    atomic_store(&begun, 0);
    atomic_store(&ended, 0);
}

static void end_round(void)
{
    if (ended != calls)
        bench_die("%lu calls were made", (unsigned long)ended);
}

/* ---- Threads ------------------------------------------------------------ */

static void *block_on(void *arg)
{
    while (atomic_fetch_add(&begun, 1) < calls)
        bench_check(vthread_block(sleep_1_ms, NULL, NULL), "vthread_block");
    return arg;
}

static void *block_once(void *arg)
{
    bench_check(vthread_block(sleep_1_ms, NULL, NULL), "vthread_block");
    return arg;
}

static void run_threads(vthread_scheduler_t *scheduler, unsigned long count,
                        void *(*fn)(void *))
{
    vthread_t *all = bench_allocate(count * sizeof *all);
    vthread_attr_t attr = {.scheduler = scheduler};

    begin_round();
    for (unsigned long i = 0; i < count; i++)
        bench_check(vthread_create(&all[i], &attr, fn, NULL),
                    "vthread_create");
    for (unsigned long i = 0; i < count; i++)
        bench_check(vthread_join(all[i], NULL), "vthread_join");
    end_round();
    free(all);
}

static vthread_scheduler_t *loopers, *burst;

static void run_loopers(void)
{
    run_threads(loopers, at_once, block_on);
}

static void run_burst(void)
{
    run_threads(burst, calls, block_once);
}

/* ---- A pool of pthreads ------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t has_jobs;
    unsigned long jobs;
    bool is_over;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .has_jobs = PTHREAD_COND_INITIALIZER};

/* False: no more will come. */
static bool take_job(void)
{
    pthread_mutex_lock(&pool.lock);
    while (pool.jobs == 0 && !pool.is_over)
        pthread_cond_wait(&pool.has_jobs, &pool.lock);
    bool has = pool.jobs > 0;
    pool.jobs -= has;
    pthread_mutex_unlock(&pool.lock);
    return has;
}

static void *work(void *arg)
{
    while (take_job())
        sleep_1_ms(NULL);
    return arg;
}

static void run_pool(void)
{
    begin_round();
    for (unsigned long i = 0; i < calls; i++) {
        pthread_mutex_lock(&pool.lock);
        pool.jobs++;
        pthread_mutex_unlock(&pool.lock);
        pthread_cond_signal(&pool.has_jobs);
    }
    while (ended < calls)
        usleep(200);
    end_round();
}

static void start_pool(pthread_t *threads)
{
    for (unsigned long i = 0; i < at_once; i++)
        bench_check(pthread_create(&threads[i], NULL, work, NULL),
                    "pthread_create");
}

static void end_pool(pthread_t *threads)
{
    pthread_mutex_lock(&pool.lock);
    pool.is_over = true;
    pthread_mutex_unlock(&pool.lock);
    pthread_cond_broadcast(&pool.has_jobs);
    for (unsigned long i = 0; i < at_once; i++)
        bench_check(pthread_join(threads[i], NULL), "pthread_join");
}

/* ---- Samples ------------------------------------------------------------ */

static void time_run(struct bench_samples *time, struct bench_samples *cpu,
                     void (*run)(void))
{
    uint64_t start_ns = bench_now_ns(), cpu_ns = bench_cpu_ns(getpid());

    run();
    if (time)
        bench_add(time, (double)(bench_now_ns() - start_ns) / 1e9);
    if (cpu)
        bench_add(cpu, (double)(bench_cpu_ns(getpid()) - cpu_ns) / 1e9);
}

static void time_calls(void)
{
    static struct bench_samples time, cpu, by_pool, by_pool_cpu, by_burst;
    pthread_t *threads = bench_allocate(at_once * sizeof *threads);

    start_pool(threads);
    time_run(NULL, NULL, run_loopers);
    time_run(NULL, NULL, run_pool);
    time_run(NULL, NULL, run_burst);
    for (unsigned i = 0; i < bench_rounds(9, 3); i++) {
        time_run(&time, &cpu, run_loopers);
        time_run(&by_pool, &by_pool_cpu, run_pool);
        time_run(&by_burst, NULL, run_burst);
    }
    end_pool(threads);
    bench_report("block.time", &time, "s");
    bench_report("block.pool", &by_pool, "s");
    bench_report("block.threads", &by_burst, "s");
    bench_report("block.cpu", &cpu, "s");
    bench_report("block.pool.cpu", &by_pool_cpu, "s");
    free(threads);
}

static void *do_nothing(void *arg)
{
    return arg;
}

static double time_empty(void)
{
    uint64_t start_ns = bench_now_ns();

    for (unsigned i = 0; i < EMPTY_CALLS; i++)
        vthread_block(do_nothing, NULL, NULL);
    return (double)(bench_now_ns() - start_ns) / EMPTY_CALLS;
}

static void *take_time_of_empty(void *out)
{
    time_empty();
    for (unsigned i = 0; i < bench_rounds(15, 5); i++)
        bench_add(out, time_empty());
    return NULL;
}

/* ---- The whole ---------------------------------------------------------- */

/* Some slots are kept for calls that were expected to be short: as many as
 * there are carriers. */
static vthread_scheduler_t *make_burst_scheduler(void)
{
    vthread_scheduler_attr_t attr = {.name = "burst",
                                     .parallelism = (unsigned)carriers};
    vthread_scheduler_t *s;

    attr.max_carriers = (unsigned)(at_once + 2 * carriers);
    bench_check(vthread_scheduler_create(&s, &attr),
                "vthread_scheduler_create");
    return s;
}

static void end_scheduler(vthread_scheduler_t *s)
{
    bench_check(vthread_scheduler_shutdown(s, VTHREAD_NEVER),
                "vthread_scheduler_shutdown");
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"calls", &calls, "calls of 1 ms", NULL},
        {"at-once", &at_once, "calls at the same time", NULL},
        {"carriers", &carriers, "carriers of the scheduler", NULL},
        {0}};
    static struct bench_samples empty;

    bench_parse(argc, argv, "Calls that block, in s and ns.", options);
    loopers = bench_scheduler((unsigned)carriers);
    burst = make_burst_scheduler();
    time_calls();
    end_scheduler(loopers);
    end_scheduler(burst);
    bench_run_on(1, take_time_of_empty, &empty);
    bench_report("block.empty", &empty, "ns");
    return 0;
}
