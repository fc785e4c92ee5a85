/*
 * crowd.c - thousands of virtual threads that do the same, and what it takes.
 *
 * What is here: a scheduler, its ticker, crowds, counts.  Not here: the command
 * line and the table, see crowd_table.c.
 *
 * Main, a platform thread, starts the threads of a crowd and then looks every
 * 20 ms at how far they are and how many OS threads the process has, until the
 * last one has counted the latch down.
 */
#include "crowd.h"

#include "crowd_table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LOOK_MS = 20, FAILURES_TOLD = 10, BAR_WIDTH = 30, NEEDED_ELSE = 64 };

/* All counts are relaxed: nothing is published by them; what the threads did
 * is seen by whoever has waited for the latch. */
static struct {
    vthread_scheduler_t *scheduler;
    vthread_t ticker;
    vthread_latch_t running; /* threads of this crowd that have not returned */
    void (*work)(unsigned number);
    void (*conduct)(unsigned threads);
    _Atomic uint64_t done;
    _Atomic uint64_t ticks;
    _Atomic uint64_t longest_gap_ns;
    _Atomic unsigned failures;
    _Atomic unsigned inside, inside_most;
    unsigned os_threads_most;
    uint64_t shown_ns;
} crowd;

static void raise_to(_Atomic unsigned *most, unsigned value)
{
    unsigned old = atomic_load_explicit(most, memory_order_relaxed);
    while (old < value
           && !atomic_compare_exchange_weak_explicit(
               most, &old, value, memory_order_relaxed, memory_order_relaxed))
        ;
}

void crowd_count(void)
{
    atomic_fetch_add_explicit(&crowd.done, 1, memory_order_relaxed);
}

void crowd_fail(const char *format, ...)
{
    unsigned number =
        atomic_fetch_add_explicit(&crowd.failures, 1, memory_order_relaxed);
    char text[512];
    va_list arguments;
    if (number > FAILURES_TOLD)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (number == FAILURES_TOLD)
        strcpy(text, "more failures are counted only");
    fprintf(stderr, "%s%s: %s\n", crowd.shown_ns != 0 ? "\n" : "",
            program_invocation_short_name, text);
}

unsigned crowd_failures(void)
{
    return atomic_load_explicit(&crowd.failures, memory_order_relaxed);
}

void crowd_enter(void)
{
    raise_to(
        &crowd.inside_most,
        1 + atomic_fetch_add_explicit(&crowd.inside, 1, memory_order_relaxed));
}

void crowd_leave(void)
{
    atomic_fetch_sub_explicit(&crowd.inside, 1, memory_order_relaxed);
}

unsigned crowd_inside(void)
{
    return atomic_load_explicit(&crowd.inside, memory_order_relaxed);
}

static void *tick(void *unused)
{
    uint64_t before_ns = vthread_now();
    while (vthread_sleep(VTHREAD_MS) == 0) {
        uint64_t now_ns = vthread_now(), gap_ns = now_ns - before_ns;
        before_ns = now_ns;
        if (gap_ns > crowd.longest_gap_ns) /* nobody else writes it */
            crowd.longest_gap_ns = gap_ns;
        atomic_fetch_add_explicit(&crowd.ticks, 1, memory_order_relaxed);
    }
    return unused;
}

void crowd_await_ticks(unsigned n)
{
    uint64_t until =
        atomic_load_explicit(&crowd.ticks, memory_order_relaxed) + n;
    while (atomic_load_explicit(&crowd.ticks, memory_order_relaxed) < until)
        vthread_sleep(VTHREAD_MS);
}

unsigned crowd_os_threads(void)
{
    return (unsigned)crowd_status("Threads:");
}

static _Noreturn void die(const char *what, int err)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what,
            strerror(err));
    exit(1);
}

void crowd_open(const char *program, unsigned carriers)
{
    if (!vthread_posix_is_active()) {
        fprintf(stderr,
                "%s: something else stands before libvthread-posix; "
                "each wait would block a carrier\n",
                program);
        exit(1);
    }
    vthread_scheduler_attr_t attr = {.name = program, .parallelism = carriers};
    int err = vthread_scheduler_create(&crowd.scheduler, &attr);
    vthread_attr_t ticker = {.name = "ticker", .scheduler = crowd.scheduler};
    if (err == 0)
        err = vthread_create(&crowd.ticker, &ticker, tick, NULL);
    if (err != 0)
        die("cannot start threads", err);
}

void crowd_need_descriptors(unsigned count)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("descriptors", errno);
    if (limit.rlim_cur >= count + NEEDED_ELSE)
        return;
    if (limit.rlim_max < count + NEEDED_ELSE) {
        fprintf(stderr,
                "%s: that takes %u descriptors, and a process may have %lu "
                "here (ulimit -Hn)\n",
                program_invocation_short_name, count + NEEDED_ELSE,
                (unsigned long)limit.rlim_max);
        exit(1);
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("descriptors", errno);
}

/*
 * A crowd.
 */

static void *run_worker(void *number)
{
    crowd.work((unsigned)(uintptr_t)number);
    vthread_latch_count_down(&crowd.running, 1);
    return NULL;
}

static void *run_conductor(void *threads)
{
    crowd.conduct((unsigned)(uintptr_t)threads);
    vthread_latch_count_down(&crowd.running, 1);
    return NULL;
}

static void start(void *(*run)(void *), unsigned number, const char *name)
{
    vthread_attr_t attr = {
        .name = name, .flags = VTHREAD_DETACHED, .scheduler = crowd.scheduler};
    int err = vthread_create(NULL, &attr, run, (void *)(uintptr_t)number);
    if (err == 0)
        return;
    crowd_fail("cannot start a thread: %s", strerror(err));
    vthread_latch_count_down(&crowd.running, 1);
}

static void show(const char *what, uint64_t total, uint64_t now_ns,
                 bool is_end)
{
    uint64_t done = atomic_load_explicit(&crowd.done, memory_order_relaxed);
    unsigned bar = total == 0 ? 0 : (unsigned)(done * BAR_WIDTH / total);
    if (!isatty(STDERR_FILENO)
        || (!is_end && now_ns - crowd.shown_ns < 100 * VTHREAD_MS))
        return;
    crowd.shown_ns = is_end ? 0 : now_ns;
    fprintf(stderr,
            "\r%s [%-*.*s] %" PRIu64 " of %" PRIu64 ", %u OS threads \033[K%s",
            what, BAR_WIDTH, (int)(bar > BAR_WIDTH ? BAR_WIDTH : bar),
            "##############################", done, total,
            crowd.os_threads_most, is_end ? "\n" : "");
}

static void await_crowd(const char *what, uint64_t total)
{
    int err;
    do {
        err = vthread_latch_wait_until(&crowd.running,
                                       vthread_after(LOOK_MS * VTHREAD_MS));
        unsigned os_threads = crowd_os_threads();
        if (os_threads > crowd.os_threads_most)
            crowd.os_threads_most = os_threads;
        show(what, total, vthread_now(), err == 0);
    } while (err == ETIMEDOUT);
    if (err != 0)
        die("cannot wait for the threads", err);
}

uint64_t crowd_run(const char *what, unsigned threads, uint64_t total,
                   void (*work)(unsigned number),
                   void (*conduct)(unsigned threads))
{
    uint64_t start_ns = vthread_now();
    crowd.work = work;
    crowd.conduct = conduct;
    crowd.done = 0;
    vthread_latch_add(&crowd.running, threads + (conduct != NULL));
    for (unsigned i = 0; i < threads; i++)
        start(run_worker, i, what);
    if (conduct != NULL)
        start(run_conductor, threads, "conductor");
    await_crowd(what, total);
    return vthread_now() - start_ns;
}

void crowd_costs(const char *what, uint64_t count, uint64_t duration_ns)
{
    char label[64];
    double seconds = (double)duration_ns / 1e9;
    snprintf(label, sizeof label, "%s per second", what);
    crowd_row("count", what, (double)count, "");
    crowd_row("seconds", "time", seconds, "s");
    crowd_row("per_second", label, (double)count / seconds, "");
    crowd_row("inside_most", "waiting inside the library, at most",
              crowd.inside_most, "");
    crowd_row("os_threads_most", "OS threads, at most", crowd.os_threads_most,
              "");
    crowd_row("longest_gap_s", "longest pause of the ticker",
              (double)crowd.longest_gap_ns / 1e9, "s");
    crowd_row("memory_mib", "memory, at most",
              (double)crowd_status("VmHWM:") / 1024, "MiB");
}

int crowd_close(void)
{
    vthread_interrupt(crowd.ticker);
    vthread_join(crowd.ticker, NULL);
    vthread_scheduler_shutdown(crowd.scheduler, VTHREAD_NEVER);
    crowd_row("failures", "failures", crowd_failures(), "");
    crowd_print();
    return crowd_failures() > 0;
}
