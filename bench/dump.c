/*
 * dump.c - how long `vthread dump` takes, and how long the process that it
 * looks at is stopped.
 *
 *   dump.N            the tool from its start to its end, as text
 *   dump.N.stopped    of that the target is stopped, in all
 *   dump.N.longest    and the longest time at a stretch
 *
 * The threads are parked at a few places, at different depths.
 */
#include "bench/bench.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned long count = 100000;

static void fail(const char *what)
{
    fprintf(stderr, "dump: %s\n", what);
    exit(1);
}

static __attribute__((noinline)) void parks_below(unsigned depth)
{
    volatile char room[48];
    room[0] = (char)depth;
    if (depth > 0)
        parks_below(depth - 1);
    else
        vthread_park();
    room[1] = room[0];
}

static void *parks(void *arg)
{
    parks_below((unsigned)(uintptr_t)arg);
    return NULL;
}

static void start_threads(void)
{
    vthread_scheduler_stats_t stats;
    for (unsigned long i = 0; i < count; i++) {
        vthread_t thread;
        if (vthread_create(&thread, NULL, parks, (void *)(i % 8)) != 0)
            fail("no memory for the threads");
    }
    do {
        usleep(1000);
        vthread_scheduler_stats(vthread_scheduler_default(), &stats);
    } while (stats.mounts < count);
}

/* build/bench/dump: the tool is in build/tools. */
static void find_tool(char *command, size_t size_bytes)
{
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length < 0)
        fail("/proc/self/exe");
    path[length] = '\0';
    snprintf(command, size_bytes, "%s/../tools/vthread dump %d",
             dirname(path), (int)getpid());
}

/* "Stopped 10 times, 11.4 ms at most, 77.6 ms in all". */
static void run_tool(struct bench_samples *ms, struct bench_samples *longest,
                     struct bench_samples *all)
{
    char command[PATH_MAX + 64], line[4096];
    double longest_ms = 0, all_ms = 0;
    unsigned times;
    find_tool(command, sizeof command);
    uint64_t begun_ns = bench_now_ns();
    FILE *out = popen(command, "r");
    while (out && fgets(line, sizeof line, out))
        if (strncmp(line, "Stopped ", 8) == 0
            && sscanf(line, "Stopped %u times, %lf ms at most, %lf", &times,
                      &longest_ms, &all_ms)
                   != 3)
            fail("the tool says something else now");
    if (!out || pclose(out) != 0)
        fail(command);
    bench_add(ms, (double)(bench_now_ns() - begun_ns) / 1e6);
    bench_add(longest, longest_ms);
    bench_add(all, all_ms);
}

static void report(const char *what, const struct bench_samples *samples)
{
    char name[64];
    snprintf(name, sizeof name, "dump.%lu%s", count, what);
    bench_report(name, samples, "ms");
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"count", &count, "threads", NULL}, {0}};
    struct bench_samples ms = {0}, longest = {0}, all = {0};

    bench_parse(argc, argv, "vthread dump of parked threads.", options);
    start_threads();
    for (unsigned i = bench_rounds(9, 3); i > 0; i--)
        run_tool(&ms, &longest, &all);
    report("", &ms);
    report(".stopped", &all);
    report(".longest", &longest);
    return 0;
}
