/*
 * top.c - vthread top: the command line, rates, and the order of threads.
 *
 * Not here: where the numbers come from (sample.c), and what they look like
 * (top_print.c, top_screen.c).
 */
#include "top.h"

#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inspector.h"

const char *const top_order_names[TOP_ORDERS] = {
    [TOP_BY_STATE] = "state", [TOP_BY_ID] = "id",     [TOP_BY_NAME] = "name",
    [TOP_BY_ENTRY] = "entry", [TOP_BY_WAIT] = "wait", [TOP_BY_DEPTH] = "depth",
};

/* ---- Rates -------------------------------------------------------------- */

static double seconds_between(const struct top *top)
{
    return (double)(top->now.time_ns - top->before.time_ns) / 1e9;
}

/* A counter of 32 bits in the library may begin again. */
static double per_second(uint64_t before, uint64_t now, double seconds)
{
    uint64_t grown = now >= before ? now - before : (uint32_t)(now - before);
    return seconds > 0 ? (double)grown / seconds : 0;
}

struct top_rates top_rates_of(const struct top *top,
                              const struct sample_carrier *carrier)
{
    const struct sample_carrier *before =
        sample_carrier_in(&top->before, carrier);
    double seconds = seconds_between(top);
    if (!before || top->before.time_ns == 0)
        return (struct top_rates){0};
    struct top_rates rates = {
        .runs = per_second(before->runs, carrier->runs, seconds),
        .steals = per_second(before->steals, carrier->steals, seconds),
        .calls = per_second(before->calls, carrier->calls, seconds),
        .pinned = per_second(before->pinned, carrier->pinned, seconds),
    };
    if (before->os_thread == carrier->os_thread)
        rates.cpu_percent =
            100.0 * per_second(before->cpu_ticks, carrier->cpu_ticks, seconds)
            / (double)sysconf(_SC_CLK_TCK);
    return rates;
}

struct top_rates top_rates_of_all(const struct top *top)
{
    struct top_rates all = {0};
    for (size_t i = 0; i < top->now.carrier_count; i++) {
        struct top_rates one = top_rates_of(top, &top->now.carriers[i]);
        all.runs += one.runs;
        all.steals += one.steals;
        all.calls += one.calls;
        all.pinned += one.pinned;
        all.cpu_percent += one.cpu_percent;
    }
    return all;
}

const char *top_scheduler_name(const struct sample *sample, unsigned number)
{
    for (size_t i = 0; i < sample->scheduler_count; i++)
        if (sample->schedulers[i].number == number)
            return sample->schedulers[i].name;
    return "?";
}

/* ---- Order -------------------------------------------------------------- */

/* Those that do something first. */
static int compare_states(const struct sample_thread *a,
                          const struct sample_thread *b)
{
    static const int rank[SAMPLE_STATES] = {
        [SAMPLE_RUNNING] = 0,   [SAMPLE_PINNED] = 1, [SAMPLE_RUNNABLE] = 2,
        [SAMPLE_NEW] = 3,       [SAMPLE_PARKED] = 4, [SAMPLE_TIMED_PARKED] = 5,
        [SAMPLE_TERMINATED] = 6};
    return rank[a->state] - rank[b->state];
}

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare(const void *left, const void *right, void *arg)
{
    const struct sample_thread *a = left, *b = right;
    const struct top *top = arg;
    int order = 0;
    switch (top->order) {
    case TOP_BY_NAME:
        order = strcmp(a->name, b->name);
        break;
    case TOP_BY_ENTRY:
        order = strcmp(a->entry, b->entry);
        break;
    case TOP_BY_WAIT:
        order = strcmp(a->waits_for, b->waits_for);
        break;
    case TOP_BY_DEPTH:
        order = compare_numbers(b->depth_bytes, a->depth_bytes);
        break;
    case TOP_BY_STATE:
        order = compare_states(a, b);
        break;
    default:
        break;
    }
    if (order == 0)
        order = compare_numbers((uint32_t)a->handle, (uint32_t)b->handle);
    return top->is_reversed ? -order : order;
}

void top_sort(struct top *top)
{
    if (top->now.thread_count > 0)
        qsort_r(top->now.threads, top->now.thread_count,
                sizeof *top->now.threads, compare, top);
}

int top_refresh(struct top *top)
{
    struct sample next;
    int status = sample_take(top->sampler, &next, top->with_threads);
    if (status != STATUS_FINE) {
        sample_free(&next);
        return status;
    }
    sample_free(&top->before);
    top->before = top->now;
    top->now = next;
    top_sort(top);
    return STATUS_FINE;
}

/* ---- The command -------------------------------------------------------- */

static void print_help(void)
{
    printf(
        "usage: vthread top [OPTION...] PID\n\n"
        "Shows what a process does with its virtual threads: carriers and "
        "who runs there,\ntheir queues, threads by state, and how much "
        "happens in a second.  The process\nis not stopped.\n\n"
        "  -d, --delay SECONDS  between two looks; 1\n"
        "  -s, --sort ORDER     of the threads: state, id, name, entry, wait, "
        "depth\n"
        "  -r, --reverse        the other way round\n"
        "  -1, --once           print it once, over one delay, and end\n"
        "  -j, --json           the same as JSON\n"
        "      --help           this\n\n"
        "Keys: q quits, s changes the order, r reverses it, arrows and pages "
        "move, + and\n- change the delay, h explains.\n\n"
        "The numbers come through the process's control socket "
        "(VTHREAD_CONTROL=1), or,\nif it has none, from its memory, which "
        "takes the right to trace it.\n");
}

static int read_delay(struct top *top, const char *text)
{
    char *end;
    double seconds = strtod(text, &end);
    if (end == text || *end || !(seconds >= 0.05 && seconds <= 3600))
        return complain_usage("top",
                              "'%s' is no delay from 0.05 to 3600 "
                              "seconds",
                              text);
    top->interval_ms = (unsigned)(seconds * 1000);
    return STATUS_FINE;
}

static int read_order(struct top *top, const char *text)
{
    for (unsigned i = 0; i < TOP_ORDERS; i++)
        if (strcmp(top_order_names[i], text) == 0) {
            top->order = (enum top_order)i;
            return STATUS_FINE;
        }
    return complain_usage("top", "there is no order '%s'", text);
}

typedef int top_show_fn(struct top *top);

enum { HELP = 256 };

static int read_options(struct top *top, top_show_fn **show, int argc,
                        char **argv)
{
    static const struct option options[] = {
        {"delay", required_argument, NULL, 'd'},
        {"sort", required_argument, NULL, 's'},
        {"reverse", no_argument, NULL, 'r'},
        {"once", no_argument, NULL, '1'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, HELP},
        {NULL, 0, NULL, 0}};
    int status = STATUS_FINE;
    for (int option;
         status == STATUS_FINE
         && (option = getopt_long(argc, argv, ":d:s:r1j", options, NULL))
                != -1;)
        switch (option) {
        case 'd':
            status = read_delay(top, optarg);
            break;
        case 's':
            status = read_order(top, optarg);
            break;
        case 'r':
            top->is_reversed = true;
            break;
        case '1':
            *show = *show == top_print_json ? *show : top_print;
            break;
        case 'j':
            *show = top_print_json;
            break;
        case HELP:
            print_help();
            return -1;
        default:
            return complain_option("top", option, argv);
        }
    if (status == STATUS_FINE && optind + 1 != argc)
        return complain_usage("top", optind == argc ? "which process?"
                                                    : "one process at a time");
    return status;
}

/* The first look, and when something is only printed the second. */
static int look(struct top *top, top_show_fn *show)
{
    int status = top_refresh(top);
    if (status != STATUS_FINE || show == top_screen)
        return status;
    poll(NULL, 0, (int)top->interval_ms);
    return top_refresh(top);
}

int cmd_top(int argc, char **argv)
{
    struct top top = {.interval_ms = 1000, .with_threads = true};
    top_show_fn *show = top_screen;
    int status = read_options(&top, &show, argc, argv);
    if (status != STATUS_FINE)
        return status < 0 ? finish_output(STATUS_FINE) : status;
    status = target_open(&top.target, "top", argv[optind]);
    if (status == STATUS_FINE)
        status = sampler_open(&top.sampler, &top.target);
    if (status != STATUS_FINE)
        return status;
    status = look(&top, show);
    if (status == STATUS_FINE)
        status = show(&top);
    sample_free(&top.before);
    sample_free(&top.now);
    sampler_close(top.sampler);
    return finish_output(status);
}
