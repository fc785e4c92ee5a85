/*
 * channel.c - what it costs to hand a value to another thread and get one
 * back.
 *
 *   channel.C        ns for one round trip of two threads on C carriers: a
 *                    word is sent on one rendezvous and comes back on
 *                    another; each thread waits once
 *   channel.C.large  the same with values of 64 bytes
 *   select.C.N       the same, but the one who answers selects over N
 *                    channels, to which the other sends in turn
 *   select.ready.N   ns for one select over N channels when one of them, in
 *                    turn, has a value; with the send that put it there
 *
 * Each answer is compared with what was sent.  Warm-up: one sample of each,
 * not counted.
 */
#include "bench/bench.h"

#include <stdio.h>
#include <string.h>

#define TRIPS 100000
#define MAX_CHANNELS 64
#define LARGE_BYTES 64

static unsigned long carriers = 1;
static unsigned long channels = 8;

static vthread_channel_t *there[MAX_CHANNELS], *back;

/* ---- Who answers -------------------------------------------------------- */

static void *echo(void *unused)
{
    uint64_t value[LARGE_BYTES / 8];

    while (vthread_channel_receive(there[0], value) == 0)
        bench_check(vthread_channel_send(back, value), "send");
    return unused;
}

static void *echo_selected(void *unused)
{
    vthread_select_case_t cases[MAX_CHANNELS];
    uint64_t value;
    size_t chosen;

    for (size_t i = 0; i < channels; i++)
        cases[i] = (vthread_select_case_t){.channel = there[i],
                                           .op = VTHREAD_SELECT_RECEIVE,
                                           .value = &value};
    for (;;) {
        bench_check(vthread_select(cases, channels, &chosen), "select");
        if (cases[chosen].result != 0)
            return unused;
        bench_check(vthread_channel_send(back, &value), "send");
    }
}

/* ---- Who asks ----------------------------------------------------------- */

static void open_channels(size_t count, size_t element_bytes, size_t capacity)
{
    for (size_t i = 0; i < count; i++)
        bench_check(
            vthread_channel_create(&there[i], element_bytes, capacity),
            "vthread_channel_create");
    bench_check(vthread_channel_create(&back, element_bytes, 0),
                "vthread_channel_create");
}

static void close_channels(size_t count)
{
    for (size_t i = 0; i < count; i++)
        bench_check(vthread_channel_destroy(there[i]),
                    "vthread_channel_destroy");
    bench_check(vthread_channel_destroy(back), "vthread_channel_destroy");
}

static double time_trips(size_t count)
{
    uint64_t start_ns = bench_now_ns();
    uint64_t value[LARGE_BYTES / 8] = {0}, answer[LARGE_BYTES / 8];

    for (uint64_t i = 0; i < TRIPS; i++) {
        value[0] = i;
        bench_check(vthread_channel_send(there[i % count], value), "send");
        bench_check(vthread_channel_receive(back, answer), "receive");
        if (answer[0] != i)
            bench_die("sent %lu, got %lu", (unsigned long)i,
                      (unsigned long)answer[0]);
    }
    return (double)(bench_now_ns() - start_ns) / TRIPS;
}

static void take_trips(struct bench_samples *samples, size_t count,
                       size_t element_bytes, void *(*answer)(void *))
{
    vthread_attr_t attr = {.flags = VTHREAD_STACK_OWN};
    vthread_t other;

    open_channels(count, element_bytes, 0);
    bench_check(vthread_create(&other, &attr, answer, NULL), "vthread_create");
    time_trips(count);
    for (unsigned i = 0; i < bench_rounds(15, 5); i++)
        bench_add(samples, time_trips(count));
    bench_check(vthread_channel_close(there[0]), "vthread_channel_close");
    bench_check(vthread_join(other, NULL), "vthread_join");
    close_channels(count);
}

/* ---- A select that finds something -------------------------------------- */

static double time_ready(vthread_select_case_t *cases)
{
    uint64_t start_ns = bench_now_ns(), value;
    size_t chosen;

    for (uint64_t i = 0; i < TRIPS; i++) {
        bench_check(vthread_channel_send(there[i % channels], &i), "send");
        cases[i % channels].value = &value;
        bench_check(vthread_select(cases, channels, &chosen), "select");
        if (chosen != i % channels || value != i)
            bench_die("sent %lu, chose %zu", (unsigned long)i, chosen);
    }
    return (double)(bench_now_ns() - start_ns) / TRIPS;
}

static void take_ready(struct bench_samples *samples)
{
    vthread_select_case_t cases[MAX_CHANNELS];
    uint64_t value;

    open_channels(channels, sizeof value, 1);
    for (size_t i = 0; i < channels; i++)
        cases[i] = (vthread_select_case_t){.channel = there[i],
                                           .op = VTHREAD_SELECT_RECEIVE,
                                           .value = &value};
    time_ready(cases);
    for (unsigned i = 0; i < bench_rounds(15, 5); i++)
        bench_add(samples, time_ready(cases));
    close_channels(channels);
}

/* ---- All ---------------------------------------------------------------- */

static struct bench_samples small, large, selected, ready;

static void *measure(void *unused)
{
    take_trips(&small, 1, sizeof(uint64_t), echo);
    take_trips(&large, 1, LARGE_BYTES, echo);
    take_trips(&selected, channels, sizeof(uint64_t), echo_selected);
    if (carriers == 1)
        take_ready(&ready);
    return unused;
}

static void report(const char *format, unsigned long number,
                   const struct bench_samples *samples)
{
    char name[64];

    snprintf(name, sizeof name, format, number, channels);
    bench_report(name, samples, "ns");
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"carriers", &carriers, "carriers", NULL},
        {"channels", &channels, "channels of a select, 64 at most", NULL},
        {0}};

    bench_parse(argc, argv, "A round trip through channels, in ns.", options);
    if (channels == 0 || channels > MAX_CHANNELS)
        bench_die("--channels must be 1 to %d", MAX_CHANNELS);
    bench_run_on((unsigned)carriers, measure, NULL);
    report("channel.%lu", carriers, &small);
    report("channel.%lu.large", carriers, &large);
    report("select.%lu.%lu", carriers, &selected);
    if (carriers == 1)
        report("select.ready.%lu", channels, &ready);
    return 0;
}
