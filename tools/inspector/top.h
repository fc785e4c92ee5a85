/*
 * top.h - vthread top, inside: what is shown, and in which order.
 */
#ifndef TOP_H
#define TOP_H

#include "sample.h"

enum top_order {
    TOP_BY_STATE,
    TOP_BY_ID,
    TOP_BY_NAME,
    TOP_BY_ENTRY,
    TOP_BY_WAIT,
    TOP_BY_DEPTH,
    TOP_ORDERS
};

extern const char *const top_order_names[TOP_ORDERS];

struct top {
    struct target target;
    struct sampler *sampler;
    struct sample before, now; /* rates are what lies between */
    unsigned interval_ms;
    enum top_order order;
    bool is_reversed;
    bool with_threads;
};

/* What happened in a second, between the two samples. */
struct top_rates {
    double runs, steals, calls, pinned, cpu_percent;
};
struct top_rates top_rates_of(const struct top *top,
                              const struct sample_carrier *carrier);
struct top_rates top_rates_of_all(const struct top *top);

/* Takes the next sample and puts its threads in order.  STATUS_FINE, or a
 * status and a complaint. */
int top_refresh(struct top *top);
void top_sort(struct top *top);

/* "reader", or "reader [scheduler]" of a carrier. */
const char *top_scheduler_name(const struct sample *sample, unsigned number);

/* The ways to show it: once on standard output, or full screen until the user
 * has enough.  They return the status. */
int top_print(struct top *top);
int top_print_json(struct top *top);
int top_screen(struct top *top);

#endif
