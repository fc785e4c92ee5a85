/*
 * timer.c - what deadlines cost.
 *
 *   timer.park        ns for one park + unpark of two threads in turn on one
 *                     carrier, without a deadline
 *   timer.deadline    the same with a far deadline: each park arms a timer
 *                     and each unpark cancels it
 *   timer.cancel      the difference: one arm + one cancel
 *   timer.cancel.N    the same with N timers of other threads pending
 *   sleepers.cpu      seconds of CPU (user + system) for 100,000 threads
 *   sleepers.time     that sleep 1 ms 20 times; from before the first
 *                     create until all have ended, and the wall time
 *
 * Rounds with and without a deadline take turns.  Warm-up: one of each.
 */
#include "bench/bench.h"

#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define PARKS_PER_ROUND 200000

static unsigned long pending = 100000;
static unsigned long sleepers = 100000;
static unsigned long sleeps = 20;
static unsigned long carriers;

/* ---- Park and unpark ---------------------------------------------------- */

static vthread_t players[2];
static uint64_t deadline_ns = VTHREAD_NEVER; /* of all parks of a round */
static bool is_over;

static void park(void)
{
    if (deadline_ns == VTHREAD_NEVER)
        bench_check(vthread_park(), "vthread_park");
    else
        bench_check(vthread_park_until(deadline_ns), "vthread_park_until");
}

static void *answer(void *unused)
{
    for (;;) {
        park();
        if (is_over)
            return unused;
        bench_check(vthread_unpark(players[0]), "vthread_unpark");
    }
}

/* Each turn is two parks and two unparks. */
static double time_round(uint64_t deadline)
{
    uint64_t start_ns;

    deadline_ns = deadline;
    start_ns = bench_now_ns();
    for (unsigned i = 0; i < PARKS_PER_ROUND / 2; i++) {
        bench_check(vthread_unpark(players[1]), "vthread_unpark");
        park();
    }
    return (double)(bench_now_ns() - start_ns) / PARKS_PER_ROUND;
}

static unsigned long asleep;

static void *sleep_long(void *unused)
{
    asleep++;
    vthread_sleep(1800 * VTHREAD_SECOND);
    return unused;
}

struct rounds {
    struct bench_samples park, deadline, cancel;
};

static void sample(struct rounds *out)
{
    double without = time_round(VTHREAD_NEVER);
    double with = time_round(vthread_after(3600 * VTHREAD_SECOND));

    bench_add(&out->park, without);
    bench_add(&out->deadline, with);
    bench_add(&out->cancel, with - without);
}

static void *play(void *argument)
{
    struct rounds *out = argument, warm_up = {0};

    players[0] = vthread_self();
    is_over = false;
    bench_check(vthread_create(&players[1], NULL, answer, NULL),
                "vthread_create");
    vthread_yield(); /* it parks */
    sample(&warm_up);
    for (unsigned i = 0; i < bench_rounds(15, 5); i++)
        sample(out);
    is_over = true;
    bench_check(vthread_unpark(players[1]), "vthread_unpark");
    bench_check(vthread_join(players[1], NULL), "vthread_join");
    return NULL;
}

static void *play_with_pending(void *argument)
{
    vthread_t *handles = bench_allocate(pending * sizeof handles[0]);

    for (unsigned long i = 0; i < pending; i++)
        bench_check(vthread_create(&handles[i], NULL, sleep_long, NULL),
                    "vthread_create");
    while (asleep < pending)
        vthread_yield();
    play(argument);
    for (unsigned long i = 0; i < pending; i++) {
        bench_check(vthread_interrupt(handles[i]), "vthread_interrupt");
        bench_check(vthread_join(handles[i], NULL), "vthread_join");
    }
    return NULL;
}

/* ---- Sleepers ----------------------------------------------------------- */

static _Atomic unsigned long completed;

static void *sleep_often(void *unused)
{
    for (unsigned long i = 0; i < sleeps; i++)
        bench_check(vthread_sleep(VTHREAD_MS), "vthread_sleep");
    atomic_fetch_add_explicit(&completed, 1, memory_order_relaxed);
    return unused;
}

static void *create_sleepers(void *unused)
{
    vthread_attr_t attr = {.flags = VTHREAD_DETACHED};

    for (unsigned long i = 0; i < sleepers; i++)
        bench_check(vthread_create(NULL, &attr, sleep_often, NULL),
                    "vthread_create");
    return unused;
}

static void measure_sleepers(void)
{
    struct bench_samples cpu = {0}, wall = {0};

    for (unsigned i = 0; i < bench_rounds(3, 1); i++) {
        uint64_t start_ns = bench_now_ns();
        uint64_t start_cpu_ns = bench_cpu_ns(getpid());

        completed = 0;
        bench_run_on((unsigned)carriers, create_sleepers, NULL);
        bench_add(&cpu, (double)(bench_cpu_ns(getpid()) - start_cpu_ns) / 1e9);
        bench_add(&wall, (double)(bench_now_ns() - start_ns) / 1e9);
        if (completed != sleepers)
            bench_die("%lu of %lu woke", (unsigned long)completed, sleepers);
    }
    bench_report("sleepers.cpu", &cpu, "s");
    bench_report("sleepers.time", &wall, "s");
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"pending", &pending, "other timers for timer.cancel.N", NULL},
        {"sleepers", &sleepers, "threads that sleep", NULL},
        {"sleeps", &sleeps, "times that each sleeps 1 ms", NULL},
        {"carriers", &carriers, "for them; 0: as many as processors", NULL},
        {0}};
    static struct rounds alone, among_others;
    char name[64];

    bench_parse(argc, argv, "Deadlines and sleeps.", options);
    measure_sleepers();
    bench_run_on(1, play, &alone);
    bench_report("timer.park", &alone.park, "ns");
    bench_report("timer.deadline", &alone.deadline, "ns");
    bench_report("timer.cancel", &alone.cancel, "ns");
    bench_run_on(1, play_with_pending, &among_others);
    snprintf(name, sizeof name, "timer.cancel.%lu", pending);
    bench_report(name, &among_others.cancel, "ns");
    return 0;
}
