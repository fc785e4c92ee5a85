/*
 * lock.c - ns for one lock and unlock of a pthread mutex that nobody else
 * wants, on a virtual thread, as libvthread-pin tracks it.
 *
 *   --by tracked   tracked
 *   --by off       with VTHREAD_PIN=off: the real functions behind a branch
 *   --by real      those directly
 */
#include "bench/bench.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define ROUNDS 2000000

/* The linker's names for what libvthread-pin stands before. */
int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);

enum { TRACKED, OFF, REAL };
static const char *const words[] = {"tracked", "off", "real", NULL};
static const char *const names[] = {"lock", "lock.off", "lock.real"};
static unsigned long by;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static volatile unsigned long count;

static void lock_wrapped(void)
{
    for (unsigned long i = 0; i < ROUNDS; i++) {
        pthread_mutex_lock(&mutex);
        count++;
        pthread_mutex_unlock(&mutex);
    }
}

static void lock_really(void)
{
    for (unsigned long i = 0; i < ROUNDS; i++) {
        __real_pthread_mutex_lock(&mutex);
        count++;
        __real_pthread_mutex_unlock(&mutex);
    }
}

static void *take_time(void *out)
{
    for (unsigned i = 0; i < bench_rounds(15, 5) + 1; i++) {
        count = 0;
        uint64_t start_ns = bench_now_ns();
        if (by == REAL)
            lock_really();
        else
            lock_wrapped();
        uint64_t end_ns = bench_now_ns();
        if (count != ROUNDS)
            bench_die("%lu rounds were counted", count);
        if (i > 0)
            bench_add(out, (double)(end_ns - start_ns) / ROUNDS);
    }
    return NULL;
}

/* The library reads it before main. */
static void begin_anew(char **argv)
{
    if (getenv("VTHREAD_PIN"))
        return;
    setenv("VTHREAD_PIN", "off", 1);
    bench_check_errno(execv("/proc/self/exe", argv), "execv");
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"by", &by, "tracked, off or real", words},
        {0}};
    static struct bench_samples samples;

    bench_parse(argc, argv, "Lock + unlock of a pthread mutex, in ns.",
                options);
    if (by == OFF)
        begin_anew(argv);
    bench_run_on(1, take_time, &samples);
    bench_report(names[by], &samples, "ns");
    return 0;
}
