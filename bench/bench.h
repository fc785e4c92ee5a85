/*
 * bench.h - what all benchmarks share: time, samples, memory, output.
 *
 * A benchmark takes several samples of a figure after a warm-up and reports
 * their median, as one line of JSON on standard output:
 *
 *     {"name": "yield.2", "value": 21.4, "unit": "ns", "pairs": 2.01,
 *      "low": 21.1, "high": 22.9, "samples": 9}
 *
 * low and high are the least and the greatest sample.  pairs is the value
 * divided by the reference of the same run (see pair.c), which bench/run
 * passes in BENCH_PAIR_NS; null without it, and for what is not a time.
 *
 * Anything that goes wrong ends the program: a figure of a benchmark that
 * did not do its work is worse than none.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <vthread.h>

#define BENCH_MAX_SAMPLES 64

/* Zero is valid: no samples. */
struct bench_samples {
    double values[BENCH_MAX_SAMPLES];
    unsigned count;
};

void bench_add(struct bench_samples *samples, double value);
double bench_median(const struct bench_samples *samples);

/* Prints the line above. */
void bench_report(const char *name, const struct bench_samples *samples,
                  const char *unit);

/* The same for a figure that is measured once. */
void bench_report_one(const char *name, double value, const char *unit);

/* Sets the reference for this process: pair.c has just measured it. */
void bench_set_pair(double ns);

/* ---- Options ------------------------------------------------------------ */

/* --name VALUE: a number, or, where there are words, one of them, whose index
 * is the value. */
struct bench_option {
    const char *name;
    unsigned long *value;
    const char *help;
    const char *const *words; /* ends with NULL; or NULL: none */
};

/* --quick: fewer samples, the same work. */
extern bool bench_is_quick;

/* Reads the command line; options ends with a NULL name. */
void bench_parse(int argc, char **argv, const char *about,
                 const struct bench_option *options);

/* As many of it, or with --quick so many. */
unsigned bench_rounds(unsigned full, unsigned quick);

/* ---- Time and memory ---------------------------------------------------- */

uint64_t bench_now_ns(void);

/* User and system time of a process. */
uint64_t bench_cpu_ns(pid_t pid);

/* What the process holds: resident pages and page tables, from
 * /proc/PID/smaps_rollup, which unlike statm is exact. */
uint64_t bench_memory_bytes(pid_t pid);

/* Memory that is touched already.  Ends the program when there is none. */
void *bench_allocate(size_t bytes);

/* Keeps the calling process on so many of the processors that it may use:
 * the first ones after `skip`.  Does nothing where there are not so many. */
void bench_use_processors(unsigned skip, unsigned count);

/* How many it may use. */
unsigned bench_processors(void);

/* ---- Checks ------------------------------------------------------------- */

_Noreturn void bench_die(const char *format, ...)
    __attribute__((format(printf, 1, 2)));

/* For the library's calls: err must be 0. */
void bench_check(int err, const char *what);

/* For system calls: result must not be negative. */
int bench_check_errno(long result, const char *what);

/* ---- Schedulers --------------------------------------------------------- */

vthread_scheduler_t *bench_scheduler(unsigned carriers);

/* Runs fn(arg) as a thread of a new scheduler with so many carriers, waits
 * for it and all that it started, and shuts the scheduler down. */
void bench_run_on(unsigned carriers, void *(*fn)(void *), void *arg);

#endif
