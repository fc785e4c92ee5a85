/*
 * top_print.c - vthread top on paper: as text, and as JSON.
 */
#include <inttypes.h>
#include <stdio.h>

#include "inspector.h"
#include "json.h"
#include "top.h"

#define THREADS_PRINTED 50

/* ---- Text --------------------------------------------------------------- */

static void print_head(const struct top *top)
{
    const struct sample *now = &top->now;
    struct top_rates rates = top_rates_of_all(top);
    printf("process %d: %" PRIu64 " virtual threads, %" PRIu64
           " platform threads\n",
           (int)top->target.pid, now->thread_total, now->platform);
    for (unsigned i = 0; i < SAMPLE_STATES; i++)
        printf("%s%" PRIu64 " %s", i ? ", " : "", now->states[i],
               sample_state_names[i]);
    printf("\nper second: %.0f switches, %.0f steals, %.0f calls, %.0f pinned "
           "waits\n\n",
           rates.runs, rates.steals, rates.calls, rates.pinned);
}

static void print_carriers(const struct top *top)
{
    printf("%-12s %3s %-9s %5s %6s %6s %10s %9s %8s  %s\n", "SCHEDULER", "NO",
           "STATE", "CPU%", "QUEUE", "FORKED", "RUNS/S", "STEALS/S", "CALLS/S",
           "RUNS");
    for (size_t i = 0; i < top->now.carrier_count; i++) {
        const struct sample_carrier *c = &top->now.carriers[i];
        struct top_rates rates = top_rates_of(top, c);
        printf("%-12.12s %3u %-9s %5.1f %6" PRIu64 " %6" PRIu64
               " %10.0f %9.0f %8.0f  %s%s%s\n",
               top_scheduler_name(&top->now, c->scheduler), c->number,
               c->state, rates.cpu_percent, c->queued, c->forked, rates.runs,
               rates.steals, rates.calls, c->entry, *c->name ? " " : "",
               c->name);
    }
}

static void print_threads(const struct top *top)
{
    size_t shown = top->now.thread_count < THREADS_PRINTED
                       ? top->now.thread_count
                       : THREADS_PRINTED;
    printf("\n%-20s %-12s %-6s %7s  %-24s %-20s %s\n", "THREAD", "STATE",
           "HOME", "DEPTH", "ENTRY", "NAME", "WAIT");
    for (size_t i = 0; i < shown; i++) {
        const struct sample_thread *t = &top->now.threads[i];
        printf("%-20" PRIu64 " %-12s %-6s %7u  %-24.24s %-20.20s %s\n",
               t->handle, sample_state_names[t->state], t->home,
               t->depth_bytes, t->entry, t->name, t->waits_for);
    }
    if (top->now.thread_total > shown)
        printf("... and %" PRIu64 " more\n",
               top->now.thread_total - (uint64_t)shown);
}

int top_print(struct top *top)
{
    print_head(top);
    print_carriers(top);
    print_threads(top);
    return STATUS_FINE;
}

/* ---- JSON --------------------------------------------------------------- */

static void write_carrier(struct json *json, const struct top *top,
                          const struct sample_carrier *c)
{
    struct top_rates rates = top_rates_of(top, c);
    json_open_object(json, NULL);
    json_text(json, "scheduler", top_scheduler_name(&top->now, c->scheduler));
    json_number(json, "number", c->number);
    json_number(json, "os_thread", c->os_thread);
    json_text(json, "state", c->state);
    json_unsigned(json, "queued", c->queued);
    json_unsigned(json, "forked", c->forked);
    json_real(json, "cpu_percent", rates.cpu_percent);
    json_real(json, "runs_per_second", rates.runs);
    json_real(json, "steals_per_second", rates.steals);
    json_real(json, "calls_per_second", rates.calls);
    json_real(json, "pinned_waits_per_second", rates.pinned);
    if (c->thread) {
        json_unsigned(json, "thread", c->thread);
        json_text(json, "name", c->name);
        json_text(json, "entry", c->entry);
    }
    json_close_object(json);
}

static void write_thread(struct json *json, const struct sample_thread *t)
{
    json_open_object(json, NULL);
    json_unsigned(json, "thread", t->handle);
    json_text(json, "name", t->name);
    json_text(json, "entry", t->entry);
    json_text(json, "state", sample_state_names[t->state]);
    json_text(json, "waits_for", *t->waits_for ? t->waits_for : NULL);
    json_text(json, "home", t->home);
    json_number(json, "depth_bytes", t->depth_bytes);
    json_number(json, "frozen_bytes", t->frozen_bytes);
    json_close_object(json);
}

static void write_head(struct json *json, const struct top *top)
{
    const struct sample *now = &top->now;
    struct top_rates rates = top_rates_of_all(top);
    json_number(json, "pid", top->target.pid);
    json_text(json, "source", now->by_socket ? "socket" : "memory");
    json_unsigned(json, "threads_in_all", now->thread_total);
    json_unsigned(json, "platform_threads", now->platform);
    json_open_object(json, "states");
    for (unsigned i = 0; i < SAMPLE_STATES; i++)
        json_unsigned(json, sample_state_names[i], now->states[i]);
    json_close_object(json);
    json_real(json, "switches_per_second", rates.runs);
    json_real(json, "steals_per_second", rates.steals);
    json_real(json, "calls_per_second", rates.calls);
    json_real(json, "pinned_waits_per_second", rates.pinned);
}

int top_print_json(struct top *top)
{
    struct json json;
    json_start(&json, stdout, JSON_INDENTED);
    json_open_object(&json, NULL);
    write_head(&json, top);
    json_open_array(&json, "carriers");
    for (size_t i = 0; i < top->now.carrier_count; i++)
        write_carrier(&json, top, &top->now.carriers[i]);
    json_close_array(&json);
    json_open_array(&json, "threads");
    for (size_t i = 0; i < top->now.thread_count; i++)
        write_thread(&json, &top->now.threads[i]);
    json_close_array(&json);
    json_close_object(&json);
    return STATUS_FINE;
}
