/*
 * bench.c - what all benchmarks share.  See bench.h.
 */
#include "bench/bench.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

bool bench_is_quick;

/* ---- Checks ------------------------------------------------------------- */

void bench_die(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s: ", program_invocation_short_name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    _exit(1);
}

void bench_check(int err, const char *what)
{
    if (err != 0)
        bench_die("%s: %s", what, strerror(err));
}

int bench_check_errno(long result, const char *what)
{
    if (result < 0)
        bench_die("%s: %s", what, strerror(errno));
    return (int)result;
}

/* ---- Samples ------------------------------------------------------------ */

void bench_add(struct bench_samples *samples, double value)
{
    if (samples->count == BENCH_MAX_SAMPLES)
        bench_die("more than %d samples", BENCH_MAX_SAMPLES);
    samples->values[samples->count++] = value;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static struct bench_samples sorted(const struct bench_samples *samples)
{
    struct bench_samples s = *samples;

    if (s.count == 0)
        bench_die("no samples");
    qsort(s.values, s.count, sizeof s.values[0], compare);
    return s;
}

double bench_median(const struct bench_samples *samples)
{
    struct bench_samples s = sorted(samples);

    return (s.values[(s.count - 1) / 2] + s.values[s.count / 2]) / 2;
}

static double pair_ns;

void bench_set_pair(double ns)
{
    pair_ns = ns;
}

/* The figure in pairs, or null. */
static void print_pairs(double value, const char *unit)
{
    const char *pair = getenv("BENCH_PAIR_NS");

    if (pair_ns == 0 && pair != NULL)
        pair_ns = atof(pair);
    if (pair_ns > 0 && strcmp(unit, "ns") == 0)
        printf("%.5g", value / pair_ns);
    else
        printf("null");
}

void bench_report(const char *name, const struct bench_samples *samples,
                  const char *unit)
{
    struct bench_samples s = sorted(samples);
    double median = bench_median(samples);

    printf("{\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\", \"pairs\": ",
           name, median, unit);
    print_pairs(median, unit);
    printf(", \"low\": %.6g, \"high\": %.6g, \"samples\": %u}\n", s.values[0],
           s.values[s.count - 1], s.count);
    fflush(stdout);
}

void bench_report_one(const char *name, double value, const char *unit)
{
    struct bench_samples s = {.values = {value}, .count = 1};

    bench_report(name, &s, unit);
}

/* ---- Options ------------------------------------------------------------ */

static _Noreturn void usage(const char *about,
                            const struct bench_option *options, int status)
{
    printf("usage: %s [--quick]", program_invocation_short_name);
    for (const struct bench_option *o = options; o->name != NULL; o++)
        printf(" [--%s %s]", o->name, o->words ? "WORD" : "N");
    printf("\n%s\n  --quick  fewer samples\n", about);
    for (const struct bench_option *o = options; o->name != NULL; o++) {
        if (o->words)
            printf("  --%s WORD  %s (%s)\n", o->name, o->help,
                   o->words[*o->value]);
        else
            printf("  --%s N  %s (%lu)\n", o->name, o->help, *o->value);
    }
    exit(status);
}

static const struct bench_option *find(const struct bench_option *options,
                                       const char *word)
{
    if (strncmp(word, "--", 2) != 0)
        return NULL;
    for (const struct bench_option *o = options; o->name != NULL; o++)
        if (strcmp(o->name, word + 2) == 0)
            return o;
    return NULL;
}

/* False if that is no value for it. */
static bool set(const struct bench_option *option, const char *value)
{
    char *end = NULL;

    if (option->words == NULL) {
        *option->value = strtoul(value, &end, 10);
        return end != value && *end == '\0';
    }
    for (unsigned long i = 0; option->words[i] != NULL; i++)
        if (strcmp(option->words[i], value) == 0) {
            *option->value = i;
            return true;
        }
    return false;
}

void bench_parse(int argc, char **argv, const char *about,
                 const struct bench_option *options)
{
    for (int i = 1; i < argc; i++) {
        const struct bench_option *option = find(options, argv[i]);

        if (strcmp(argv[i], "--help") == 0)
            usage(about, options, 0);
        if (strcmp(argv[i], "--quick") == 0) {
            bench_is_quick = true;
            continue;
        }
        if (option == NULL || i + 1 == argc || !set(option, argv[++i]))
            usage(about, options, 2);
    }
}

unsigned bench_rounds(unsigned full, unsigned quick)
{
    return bench_is_quick ? quick : full;
}

/* ---- Time and memory ---------------------------------------------------- */

uint64_t bench_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t bench_cpu_ns(pid_t pid)
{
    struct timespec used;
    clockid_t clock;

    bench_check(clock_getcpuclockid(pid, &clock), "clock_getcpuclockid");
    bench_check_errno(clock_gettime(clock, &used), "clock_gettime");
    return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

/* The number of kB after a key in a file of /proc/PID. */
static uint64_t proc_bytes(pid_t pid, const char *file, const char *key)
{
    char path[64], line[256];
    unsigned long long kilobytes = 0;
    bool is_found = false;
    FILE *in;

    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    in = fopen(path, "r");
    if (in == NULL)
        bench_die("%s: %s", path, strerror(errno));
    while (!is_found && fgets(line, sizeof line, in) != NULL)
        is_found = strncmp(line, key, strlen(key)) == 0
                   && sscanf(line + strlen(key), "%llu", &kilobytes) == 1;
    fclose(in);
    if (!is_found)
        bench_die("%s: no %s", path, key);
    return kilobytes * 1024;
}

uint64_t bench_memory_bytes(pid_t pid)
{
    return proc_bytes(pid, "smaps_rollup", "Rss:")
           + proc_bytes(pid, "status", "VmPTE:");
}

void *bench_allocate(size_t bytes)
{
    void *memory = malloc(bytes);

    if (memory == NULL)
        bench_die("no memory for %zu bytes", bytes);
    memset(memory, 0, bytes);
    return memory;
}

/* ---- Processors --------------------------------------------------------- */

static cpu_set_t allowed(void)
{
    cpu_set_t set;

    bench_check_errno(sched_getaffinity(0, sizeof set, &set),
                      "sched_getaffinity");
    return set;
}

unsigned bench_processors(void)
{
    cpu_set_t set = allowed();

    return (unsigned)CPU_COUNT(&set);
}

void bench_use_processors(unsigned skip, unsigned count)
{
    cpu_set_t from = allowed(), to;
    unsigned seen = 0;

    if (skip + count > (unsigned)CPU_COUNT(&from))
        return;
    CPU_ZERO(&to);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &from) && seen++ >= skip && seen <= skip + count)
            CPU_SET(cpu, &to);
    bench_check_errno(sched_setaffinity(0, sizeof to, &to),
                      "sched_setaffinity");
}

/* ---- Schedulers --------------------------------------------------------- */

vthread_scheduler_t *bench_scheduler(unsigned carriers)
{
    vthread_scheduler_attr_t attr = {.name = "bench", .parallelism = carriers};
    vthread_scheduler_t *scheduler;

    bench_check(vthread_scheduler_create(&scheduler, &attr),
                "vthread_scheduler_create");
    return scheduler;
}

void bench_run_on(unsigned carriers, void *(*fn)(void *), void *arg)
{
    vthread_scheduler_t *scheduler = bench_scheduler(carriers);
    vthread_attr_t attr = {.scheduler = scheduler};
    vthread_t thread;

    bench_check(vthread_create(&thread, &attr, fn, arg), "vthread_create");
    bench_check(vthread_join(thread, NULL), "vthread_join");
    bench_check(vthread_scheduler_shutdown(scheduler, VTHREAD_NEVER),
                "vthread_scheduler_shutdown");
}
