/*
 * park.c - create many threads, all asleep at once: seconds, and bytes each.
 *
 *   park.N.time    seconds from before the first create until all N are
 *                  parked: N have been created and no carrier is active any
 *                  more (looked at each ms).  Then each of them must have
 *                  reached its sleep, or the figure is not printed.
 *   park.N.bytes   growth of the process (resident pages and page tables)
 *                  for each.  It begins before the library's first call, so
 *                  run stacks, tables and carriers are in it.  Not in it:
 *                  this program's own tables, which are touched before.
 *   park.N.frames  bytes of a thread's frames, where they have been copied:
 *                  the mean, from the scheduler's statistics.
 *   park.N.wake    seconds to interrupt all, and for all to have ended: the
 *                  proof that they were asleep and alive.  The creator
 *                  does it by ordinary calls.
 *
 * With --depth D the sleep is D frames of 64 bytes deep, names begin with
 * "deep", and
 *
 *   deep.N.used    bytes of stack in use when the sleep is called, measured
 *                  by addresses: from the entry function's frame, that
 *                  included, to the stack pointer at the call of the sleep.
 *
 * There is no warm-up of the library: what a first million costs is what is
 * asked.  But the machine's memory is warmed up: a child process touches
 * three times the memory that the threads will need, once in small pages and
 * once in huge ones, and ends.  Without that, in a virtual machine the host
 * has to find the pages first, at up to 20 us for each.  The child then takes
 * the time of what nobody can do without:
 *
 *   park.N.floor   seconds to touch 256 bytes for each thread, and 64 for
 *                  each frame, in fresh small pages on one processor
 */
#include "bench/bench.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GIVE_UP_NS (300 * VTHREAD_SECOND)

static unsigned long count = 1000000;
static unsigned long depth;
static unsigned long carriers;

static vthread_scheduler_t *scheduler;
static uint64_t far_ns; /* when the first would wake by itself */
static vthread_t *handles;
static unsigned char *reached; /* 1: about to sleep, 2: was interrupted */
static uintptr_t used_bytes;   /* written by the first thread */

/* ---- The threads -------------------------------------------------------- */

/* The caller's stack pointer: where this frame begins. */
__attribute__((noinline)) static uintptr_t caller_sp(void)
{
    return (uintptr_t)__builtin_frame_address(0) + 2 * sizeof(void *);
}

static inline int sleep_here(uintptr_t index)
{
    int err;

    reached[index] = 1;
    err = vthread_sleep_until(far_ns + index % 1000 * VTHREAD_MS);
    if (err == ECANCELED)
        reached[index] = 2;
    return err;
}

__attribute__((noinline)) static int sleep_deep(uintptr_t index, uintptr_t top)
{
    if (index == 0)
        used_bytes = top - caller_sp();
    return sleep_here(index);
}

/* A frame of 64 bytes: return address, frame pointer, 48 of locals. */
__attribute__((noinline)) static int descend(uintptr_t index, uintptr_t top,
                                             unsigned long frames)
{
    volatile uintptr_t locals[6];

    locals[0] = index;
    locals[5] = top;
    if (frames > 1)
        locals[1] = (uintptr_t)descend(locals[0], locals[5], frames - 1);
    else
        locals[1] = (uintptr_t)sleep_deep(locals[0], locals[5]);
    return (int)locals[1];
}

static void *sleeper(void *argument)
{
    uintptr_t index = (uintptr_t)argument;
    uintptr_t top = (uintptr_t)__builtin_frame_address(0) + 2 * sizeof(void *);

    if (depth > 0)
        descend(index, top, depth);
    else
        sleep_here(index);
    return NULL;
}

static void *create_all(void *unused)
{
    vthread_attr_t attr = {.flags = VTHREAD_DETACHED};

    for (uintptr_t i = 0; i < count; i++)
        bench_check(vthread_create(&handles[i], &attr, sleeper, (void *)i),
                    "vthread_create");
    return unused;
}

/* ---- Waiting for them --------------------------------------------------- */

static bool all_are_parked(void)
{
    vthread_scheduler_stats_t stats;

    bench_check(vthread_scheduler_stats(scheduler, &stats),
                "vthread_scheduler_stats");
    return stats.created == count + 1 && stats.threads == count
           && stats.carriers_active == 0;
}

static void wait_until_parked(uint64_t start_ns)
{
    const struct timespec one_ms = {.tv_nsec = 1000000};

    while (!all_are_parked()) {
        if (bench_now_ns() - start_ns > GIVE_UP_NS)
            bench_die("not all parked after %d s",
                      (int)(GIVE_UP_NS / VTHREAD_SECOND));
        nanosleep(&one_ms, NULL);
    }
}

static void check_all(unsigned char wanted, const char *what)
{
    for (unsigned long i = 0; i < count; i++)
        if (reached[i] != wanted)
            bench_die("thread %lu %s", i, what);
}

static void wake_all(void)
{
    for (unsigned long i = 0; i < count; i++)
        bench_check(vthread_interrupt(handles[i]), "vthread_interrupt");
    bench_check(vthread_scheduler_shutdown(scheduler, VTHREAD_NEVER),
                "vthread_scheduler_shutdown");
}

/* ---- The floor ---------------------------------------------------------- */

static double seconds_since(uint64_t start_ns)
{
    return (double)(bench_now_ns() - start_ns) / 1e9;
}

static void *map(size_t bytes, int flags)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_ANONYMOUS | flags, -1, 0);

    if (memory == MAP_FAILED)
        bench_die("mmap of %zu bytes: %s", bytes, strerror(errno));
    return memory;
}

static double time_touch(size_t bytes, int advice)
{
    uint64_t start_ns = bench_now_ns();
    volatile char *memory = map(bytes, MAP_PRIVATE);
    double seconds;

    madvise((void *)memory, bytes, advice);
    for (size_t i = 0; i < bytes; i += 4096)
        memory[i] = 1;
    seconds = seconds_since(start_ns);
    munmap((void *)memory, bytes);
    return seconds;
}

/* In a child, so that nothing of it stays in this process. */
static double measure_floor(void)
{
    size_t bytes = count * (256 + 64 * depth);
    double *seconds = map(sizeof *seconds, MAP_SHARED);
    pid_t pid = bench_check_errno(fork(), "fork");
    int status;

    if (pid == 0) {
        time_touch(3 * bytes, MADV_NOHUGEPAGE);
        time_touch(3 * bytes, MADV_HUGEPAGE);
        *seconds = time_touch(bytes, MADV_NOHUGEPAGE);
        _exit(0);
    }
    if (waitpid(pid, &status, 0) < 0 || status != 0)
        bench_die("no memory to touch");
    return *seconds;
}

/* ---- The figures -------------------------------------------------------- */

static void report(const char *what, double value, const char *unit)
{
    char name[64];

    snprintf(name, sizeof name, "%s.%lu.%s", depth > 0 ? "deep" : "park",
             count, what);
    bench_report_one(name, value, unit);
}

static void report_frames(void)
{
    vthread_scheduler_stats_t stats;

    bench_check(vthread_scheduler_stats(scheduler, &stats),
                "vthread_scheduler_stats");
    if (stats.freezes > 0)
        report("frames", (double)stats.frozen_bytes / (double)stats.freezes,
               "bytes");
}

static void measure(void)
{
    uint64_t before_bytes = bench_memory_bytes(getpid());
    uint64_t start_ns = bench_now_ns();
    double seconds, bytes;
    vthread_attr_t attr = {0};

    scheduler = bench_scheduler((unsigned)carriers);
    attr.scheduler = scheduler;
    attr.flags = VTHREAD_DETACHED;
    bench_check(vthread_create(NULL, &attr, create_all, NULL),
                "vthread_create");
    wait_until_parked(start_ns);
    seconds = seconds_since(start_ns);
    bytes = (double)(bench_memory_bytes(getpid()) - before_bytes);
    check_all(1, "is not asleep");

    report("time", seconds, "s");
    report("bytes", bytes / (double)count, "bytes");
    report_frames();
    if (depth > 0)
        report("used", (double)used_bytes, "bytes");
}

static void measure_wake(void)
{
    uint64_t start_ns = bench_now_ns();

    wake_all();
    report("wake", seconds_since(start_ns), "s");
    check_all(2, "did not wake");
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"count", &count, "threads", NULL},
        {"depth", &depth, "frames of 64 bytes below the entry function", NULL},
        {"carriers", &carriers, "carriers; 0: as many as processors", NULL},
        {0}};

    bench_parse(argc, argv,
                "Create threads that sleep: seconds, and bytes each.",
                options);
    report("floor", measure_floor(), "s");
    far_ns = vthread_after(3600 * VTHREAD_SECOND);
    handles = bench_allocate(count * sizeof handles[0]);
    reached = bench_allocate(count);
    measure();
    measure_wake();
    return 0;
}
