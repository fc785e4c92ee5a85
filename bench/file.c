/*
 * file.c - reading blocks of a file at random places, by many threads.
 *
 *   file.cached.pread   one thread, pread(2), the file in the cache
 *   file.cached.1       the same by vthread_pread, one carrier
 *   file.cold.pool      the reference: a pool of OS threads that call
 *                       pread(2); the file is not in the cache
 *   file.cold.uring     a virtual thread for each reader, on two carriers
 *   file.cold.in_place  the same with VTHREAD_IO_URING=off
 *   file.direct.*       the same, opened with O_DIRECT
 *   *.cpu               user and system time of the process for a read
 *
 * All are ns for a read.  They take turns, round after round, each in a
 * process of its own; the file is put out of the cache before each.
 */
#include "bench/bench.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BLOCK = 4096 };

static unsigned long readers = 1000;
static unsigned long carriers = 2;
static unsigned long pool = 64;
static unsigned long megabytes;
static unsigned long reads;

static int fd;
static unsigned long blocks;
static atomic_long left;

/* ---- Readers ------------------------------------------------------------ */

static uint64_t scramble(uint64_t n)
{
    n = (n ^ (n >> 30)) * 0xbf58476d1ce4e5b9u;
    n = (n ^ (n >> 27)) * 0x94d049bb133111ebu;
    return n ^ (n >> 31);
}

static off_t place_of(long n)
{
    return (off_t)(scramble((uint64_t)n) % blocks * BLOCK);
}

static char *buffer(void)
{
    void *block = aligned_alloc(BLOCK, BLOCK);
    if (block == NULL)
        bench_die("no memory");
    return block;
}

static void *read_plainly(void *arg)
{
    char *block = buffer();
    long n;
    while ((n = atomic_fetch_sub(&left, 1)) > 0)
        if (pread(fd, block, BLOCK, place_of(n)) != BLOCK)
            bench_die("pread has failed");
    free(block);
    return arg;
}

static void *read_as_thread(void *arg)
{
    char *block = buffer();
    size_t done;
    long n;
    while ((n = atomic_fetch_sub(&left, 1)) > 0) {
        bench_check(vthread_pread(fd, block, BLOCK, place_of(n), &done),
                    "vthread_pread");
        if (done != BLOCK)
            bench_die("vthread_pread has read %zu bytes", done);
    }
    free(block);
    return arg;
}

static void *start_readers(void *count)
{
    unsigned long n = *(unsigned long *)count;
    vthread_t *threads = bench_allocate(n * sizeof *threads);
    for (unsigned long i = 0; i < n; i++)
        bench_check(vthread_create(&threads[i], NULL, read_as_thread, NULL),
                    "vthread_create");
    for (unsigned long i = 0; i < n; i++)
        bench_check(vthread_join(threads[i], NULL), "vthread_join");
    free(threads);
    return NULL;
}

/* ---- Who reads ---------------------------------------------------------- */

static void run_one(void)
{
    read_plainly(NULL);
}

static void run_thread(void)
{
    static unsigned long one = 1;
    bench_run_on(1, start_readers, &one);
}

static void run_pool(void)
{
    pthread_t *threads = bench_allocate(pool * sizeof *threads);
    for (unsigned long i = 0; i < pool; i++)
        if (pthread_create(&threads[i], NULL, read_plainly, NULL) != 0)
            bench_die("no thread");
    for (unsigned long i = 0; i < pool; i++)
        pthread_join(threads[i], NULL);
    free(threads);
}

static void run_threads(void)
{
    bench_run_on((unsigned)carriers, start_readers, &readers);
}

static void run_threads_in_place(void)
{
    setenv("VTHREAD_IO_URING", "off", 1);
    run_threads();
}

/* ---- The file ----------------------------------------------------------- */

static void make_file(void)
{
    char path[] = "bench-file-XXXXXX";
    char *chunk = bench_allocate(1 << 20);
    fd = bench_check_errno(mkstemp(path), "mkstemp");
    unlink(path);
    for (unsigned long i = 0; i < megabytes; i++) {
        memset(chunk, (int)i, 1 << 20);
        if (write(fd, chunk, 1 << 20) != 1 << 20)
            bench_die("the file cannot be written");
    }
    free(chunk);
    bench_check_errno(fsync(fd), "fsync");
    blocks = megabytes << 8;
    bench_check(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM), "posix_fadvise");
}

static void *read_whole(void *arg)
{
    char *block = buffer();
    for (unsigned long i = 0; i < blocks; i++)
        if (pread(fd, block, BLOCK, (off_t)(i * BLOCK)) != BLOCK)
            bench_die("pread has failed");
    free(block);
    return arg;
}

enum cache { CACHED, COLD, DIRECT };

static void prepare(enum cache cache)
{
    char path[64];
    if (cache == CACHED) {
        read_whole(NULL);
        return;
    }
    bench_check(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED),
                "posix_fadvise");
    if (cache == DIRECT) {
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        fd = bench_check_errno(open(path, O_RDONLY | O_DIRECT), "O_DIRECT");
    }
}

/* ---- Turns -------------------------------------------------------------- */

struct subject {
    const char *name;
    enum cache cache;
    void (*run)(void);
    struct bench_samples time, cpu;
};

static struct subject subjects[] = {
    {.name = "file.cached.pread", .cache = CACHED, .run = run_one},
    {.name = "file.cached.1", .cache = CACHED, .run = run_thread},
    {.name = "file.cold.pool", .cache = COLD, .run = run_pool},
    {.name = "file.cold.uring", .cache = COLD, .run = run_threads},
    {.name = "file.cold.in_place",
     .cache = COLD,
     .run = run_threads_in_place},
    {.name = "file.direct.pool", .cache = DIRECT, .run = run_pool},
    {.name = "file.direct.uring", .cache = DIRECT, .run = run_threads},
    {.name = "file.direct.in_place",
     .cache = DIRECT,
     .run = run_threads_in_place},
};

#define SUBJECTS (sizeof subjects / sizeof subjects[0])

struct figures {
    double time_ns, cpu_ns;
};

static void measure_here(const struct subject *s, struct figures *figures)
{
    prepare(s->cache);
    atomic_store(&left, (long)reads);
    uint64_t cpu_ns = bench_cpu_ns(getpid()), start_ns = bench_now_ns();
    s->run();
    figures->time_ns = (double)(bench_now_ns() - start_ns);
    figures->cpu_ns = (double)(bench_cpu_ns(getpid()) - cpu_ns);
}

static void measure(struct subject *s)
{
    int ends[2], status;
    struct figures figures;
    bench_check_errno(pipe(ends), "pipe");
    pid_t child = bench_check_errno(fork(), "fork");
    if (child == 0) {
        measure_here(s, &figures);
        _exit(write(ends[1], &figures, sizeof figures)
              != (ssize_t)sizeof figures);
    }
    close(ends[1]);
    if (read(ends[0], &figures, sizeof figures) != (ssize_t)sizeof figures)
        bench_die("%s has failed", s->name);
    close(ends[0]);
    waitpid(child, &status, 0);
    bench_add(&s->time, figures.time_ns / (double)reads);
    bench_add(&s->cpu, figures.cpu_ns / (double)reads);
}

static void report(const struct subject *s)
{
    char name[64];
    bench_report(s->name, &s->time, "ns");
    if (s->cache == CACHED)
        return;
    snprintf(name, sizeof name, "%s.cpu", s->name);
    bench_report(name, &s->cpu, "ns");
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"readers", &readers, "virtual threads", NULL},
        {"carriers", &carriers, "carriers", NULL},
        {"pool", &pool, "OS threads of the pool", NULL},
        {"megabytes", &megabytes, "size of the file; 0: choose", NULL},
        {"reads", &reads, "blocks read in each turn; 0: choose", NULL},
        {0}};
    bench_parse(argc, argv, "Blocks of a file, read by many threads.",
                options);
    if (megabytes == 0)
        megabytes = bench_is_quick ? 128 : 256;
    if (reads == 0)
        reads = bench_is_quick ? 10000 : 20000;
    make_file();
    for (unsigned i = 0; i < bench_rounds(7, 3); i++)
        for (unsigned j = 0; j < SUBJECTS; j++)
            measure(&subjects[j]);
    for (unsigned j = 0; j < SUBJECTS; j++)
        report(&subjects[j]);
    return 0;
}
