/*
 * skynet.c - a tree of threads: each starts ten children, down to a million
 * leaves, and sums up what they tell.
 *
 *   --by scope    children are forked into a scope and return their sums
 *   --by channel  children are threads that send theirs to a channel of their
 *                 parent, a rendezvous; it is the form in which the benchmark
 *                 is known, but for the join: nobody collects a channel that
 *                 somebody may still be leaving
 *
 * The sum of all leaves' numbers must be right.  The time is that of the
 * whole tree, 1,111,111 threads, by the clock and in CPU time; the memory is
 * the most that the process has held, less what it held before.
 */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define CHILDREN 10

static unsigned long leaves = 1000000;

struct part {
    uint64_t first, size; /* numbers of its leaves */
};

/* ---- By scope ----------------------------------------------------------- */

static struct part child_of(const struct part *part, uint64_t i)
{
    uint64_t size = part->size / CHILDREN;

    return (struct part){part->first + i * size, size};
}

static int sum_of(const void *args, void *result)
{
    const struct part *part = args;
    uint64_t *sum = result, term;
    vthread_scope_t *scope;
    uint32_t tasks[CHILDREN];

    if (part->size == 1) {
        *sum = part->first;
        return 0;
    }
    bench_check(vthread_scope_open(&scope, NULL), "vthread_scope_open");
    for (uint64_t i = 0; i < CHILDREN; i++) {
        struct part child = child_of(part, i);
        bench_check(vthread_scope_fork(scope, &tasks[i], sum_of, &child,
                                       sizeof child, sizeof term),
                    "vthread_scope_fork");
    }
    bench_check(vthread_scope_join(scope), "vthread_scope_join");
    for (int i = 0; i < CHILDREN; i++) {
        bench_check(vthread_scope_result(scope, tasks[i], &term, sizeof term),
                    "vthread_scope_result");
        *sum += term;
    }
    return vthread_scope_close(scope);
}

static uint64_t sum_by_scope(const struct part *all)
{
    uint64_t sum = 0;

    bench_check(sum_of(all, &sum), "skynet");
    return sum;
}

/* ---- By channel --------------------------------------------------------- */

/* On the heap: its parent's stack may be shared with others. */
struct node {
    vthread_channel_t *to;
    struct part part;
    vthread_t thread;
};

static uint64_t sum_by_channel(const struct part *part);

static void *send_sum(void *arg)
{
    const struct node *node = arg;
    uint64_t sum = sum_by_channel(&node->part);

    bench_check(vthread_channel_send(node->to, &sum), "send");
    return NULL;
}

static struct node *start_children(const struct part *part,
                                   vthread_channel_t *to)
{
    struct node *nodes = malloc(CHILDREN * sizeof *nodes);

    if (nodes == NULL)
        bench_die("no memory");
    for (uint64_t i = 0; i < CHILDREN; i++) {
        nodes[i].to = to;
        nodes[i].part = child_of(part, i);
        bench_check(vthread_create(&nodes[i].thread, NULL, send_sum,
                                   &nodes[i]),
                    "vthread_create");
    }
    return nodes;
}

static uint64_t sum_by_channel(const struct part *part)
{
    vthread_channel_t *from;
    uint64_t sum = 0, term;

    if (part->size == 1)
        return part->first;
    bench_check(vthread_channel_create(&from, sizeof term, 0),
                "vthread_channel_create");
    struct node *nodes = start_children(part, from);
    for (int i = 0; i < CHILDREN; i++) {
        bench_check(vthread_channel_receive(from, &term), "receive");
        sum += term;
    }
    for (int i = 0; i < CHILDREN; i++)
        bench_check(vthread_join(nodes[i].thread, NULL), "vthread_join");
    bench_check(vthread_channel_destroy(from), "vthread_channel_destroy");
    free(nodes);
    return sum;
}

/* ---- All ---------------------------------------------------------------- */

static const char *const forms[] = {"scope", "channel", NULL};
static uint64_t (*const sum_by[])(const struct part *) = {sum_by_scope,
                                                           sum_by_channel};
static unsigned long form;
static struct bench_samples times, cpu_times;

static void grow_tree(void)
{
    struct part all = {0, leaves};
    uint64_t sum = sum_by[form](&all);

    if (sum != (uint64_t)leaves * (leaves - 1) / 2)
        bench_die("the sum is wrong: %llu", (unsigned long long)sum);
}

static void time_tree(void)
{
    uint64_t start_ns = bench_now_ns(), start_cpu_ns = bench_cpu_ns(getpid());

    grow_tree();
    bench_add(&cpu_times,
              (double)(bench_cpu_ns(getpid()) - start_cpu_ns) / 1e9);
    bench_add(&times, (double)(bench_now_ns() - start_ns) / 1e9);
}

/* The warm-up brings the memory; the rounds after it find it there. */
static void *take_time(void *unused)
{
    grow_tree();
    for (unsigned i = 0; i < bench_rounds(9, 3); i++)
        time_tree();
    return unused;
}

static double peak_bytes(void)
{
    struct rusage usage;

    bench_check_errno(getrusage(RUSAGE_SELF, &usage), "getrusage");
    return (double)usage.ru_maxrss * 1024;
}

int main(int argc, char **argv)
{
    unsigned long carriers = 2;
    const struct bench_option options[] = {
        {"carriers", &carriers, "carriers of the scheduler", NULL},
        {"leaves", &leaves, "a power of ten", NULL},
        {"by", &form, "how they tell: scope, channel", forms},
        {0}};
    char name[64];

    bench_parse(argc, argv, "A tree of threads, in seconds.", options);
    double before = peak_bytes();
    bench_run_on((unsigned)carriers, take_time, NULL);
    snprintf(name, sizeof name, "skynet.%s.%lu", forms[form], carriers);
    bench_report(name, &times, "s");
    snprintf(name, sizeof name, "skynet.%s.%lu.cpu", forms[form], carriers);
    bench_report(name, &cpu_times, "s");
    snprintf(name, sizeof name, "skynet.%s.%lu.memory", forms[form], carriers);
    bench_report_one(name, (peak_bytes() - before) / 1e6, "MB");
    return 0;
}
