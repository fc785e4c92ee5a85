/*
 * million.c - a million virtual threads, all asleep at once.
 *
 *     million [N]
 *
 * Starts N threads (default 1,000,000) that go to sleep for a day, says
 * what one costs in time and memory, wakes them all and joins them.
 *
 * How it measures: time is the wall clock from the first create until the
 * last thread is about to sleep.  Memory is the growth of the resident set
 * and of the page tables of the whole process between these moments, so it
 * includes run stacks, carriers and whatever the library keeps; the table of
 * handles is touched before and does not count.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vthread.h>

enum { BAR_WIDTH = 40 };
static const uint64_t DAY = 24 * 3600 * VTHREAD_SECOND;

/* A: how many threads have come to their sleep.  Relaxed: it is a count,
 * what the threads did before is of no interest. */
static _Atomic uint64_t asleep;

static void *sleeper(void *arg)
{
    atomic_fetch_add_explicit(&asleep, 1, memory_order_relaxed);
    vthread_sleep(DAY);
    return arg;
}

/* The value in KiB of a line "Key:  123 kB" of a file, or 0. */
static uint64_t kib_in(const char *path, const char *key)
{
    char line[256];
    uint64_t kib = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, key, strlen(key)) == 0)
            kib = strtoull(line + strlen(key), NULL, 10);
    fclose(file);
    return kib;
}

/* Exact on every kernel, unlike the counters in statm, which are updated in
 * batches. */
static uint64_t resident_bytes(void)
{
    return kib_in("/proc/self/smaps_rollup", "Rss:") * 1024;
}

static uint64_t page_table_bytes(void)
{
    return kib_in("/proc/self/status", "VmPTE:") * 1024;
}

/*
 * Shows how far a phase is: a bar that redraws itself on a terminal, else a
 * line for each quarter.  Called once for each thread, so all but a few
 * calls are one compare.
 */
static struct {
    bool is_terminal;
    uint64_t next; /* the next call that shows something */
} progress;

static void show_step(const char *phase, uint64_t done, uint64_t total)
{
    unsigned steps = progress.is_terminal ? BAR_WIDTH : 4;
    unsigned step = (unsigned)(done * steps / total);
    progress.next = ((step + 1) * total + steps - 1) / steps;
    if (progress.is_terminal)
        fprintf(stderr, "\r%-8s [%-*.*s] %3u %%%s", phase, BAR_WIDTH, (int)step,
                "########################################", step * 100 / steps,
                done == total ? "\n" : "");
    else if (step > 0)
        fprintf(stderr, "%s: %" PRIu64 " of %" PRIu64 "\n", phase, done, total);
}

static void show(const char *phase, uint64_t done, uint64_t total)
{
    if (done == 0 || done == total || done >= progress.next)
        show_step(phase, done, total);
}

/* Starts threads until all are there or one cannot be had.  Returns how
 * many. */
static uint64_t create_all(vthread_t *threads, uint64_t total)
{
    show("create", 0, total);
    for (uint64_t i = 0; i < total; i++) {
        int err = vthread_create(&threads[i], NULL, sleeper, NULL);
        if (err != 0) {
            fprintf(stderr, "\nmillion: thread %" PRIu64 ": %s\n", i + 1,
                    strerror(err));
            return i;
        }
        show("create", i + 1, total);
    }
    return total;
}

/* They may still be on their way when the last one has been created. */
static void wait_until_asleep(uint64_t count)
{
    while (atomic_load_explicit(&asleep, memory_order_relaxed) < count)
        vthread_sleep(VTHREAD_MS / 10);
}

static void wake_all(const vthread_t *threads, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        vthread_interrupt(threads[i]);
}

static void join_all(const vthread_t *threads, uint64_t count)
{
    show("join", 0, count);
    for (uint64_t i = 0; i < count; i++) {
        vthread_join(threads[i], NULL);
        show("join", i + 1, count);
    }
}

static uint64_t growth(uint64_t before, uint64_t after)
{
    return after > before ? after - before : 0;
}

static void print_time(const char *what, uint64_t ns, uint64_t count)
{
    printf("%-20s %8.3f s   %6" PRIu64 " ns each\n", what, (double)ns / 1e9,
           ns / count);
}

static void print_memory(uint64_t resident, uint64_t tables, uint64_t count)
{
    printf("%-20s %8.1f MiB %6" PRIu64 " bytes each, and %" PRIu64
           " of page tables\n",
           "memory while asleep", (double)resident / (1 << 20),
           resident / count, tables / count);
}

static int run(vthread_t *threads, uint64_t total)
{
    uint64_t resident = resident_bytes(), tables = page_table_bytes();
    uint64_t start = vthread_now();
    uint64_t count = create_all(threads, total);
    if (count == 0)
        return 1;
    wait_until_asleep(count);
    uint64_t parked = vthread_now();
    printf("%" PRIu64 " threads asleep at once\n", count);
    print_time("create and park", parked - start, count);
    print_memory(growth(resident, resident_bytes()),
                 growth(tables, page_table_bytes()), count);
    fflush(stdout);

    start = vthread_now();
    wake_all(threads, count);
    uint64_t woken = vthread_now();
    join_all(threads, count);
    print_time("wake", woken - start, count);
    print_time("run out and join", vthread_now() - woken, count);
    return count == total ? 0 : 1;
}

int main(int argc, char **argv)
{
    char *end = "";
    uint64_t total = 1000000;
    if (argc == 2)
        total = strtoull(argv[1], &end, 10);
    if (argc > 2 || total == 0 || total > UINT32_MAX || *end != '\0') {
        fprintf(stderr, "usage: million [NUMBER OF THREADS]\n");
        return 2;
    }
    vthread_t *threads = malloc(total * sizeof *threads);
    if (threads == NULL) {
        fprintf(stderr, "million: no memory for %" PRIu64 " handles\n", total);
        return 1;
    }
    progress.is_terminal = isatty(STDERR_FILENO);
    memset(threads, 0xff, total * sizeof *threads);
    int status = run(threads, total);
    free(threads);
    return status;
}
