/*
 * trace_queues.c - how many threads wait in the carriers' queues, now and then.
 *
 * Whoever writes the recorder's events out looks at each carrier every 20 ms
 * or so, and notes what has changed.  An event for each thread that comes to a
 * queue would cost more than all the others together.
 */
#include "carrier/pool.h"
#include "inspect/trace.h"
#include "scheduler.h"

struct visit {
    struct vthread_scheduler *scheduler;
    bool is_first;
};

/* A pool_look_fn. */
static void note_queue(struct carrier *carrier,
                       const struct carrier_look *look, void *arg)
{
    const struct visit *visit = arg;
    unsigned number = carrier_number(carrier);
    struct station *station = scheduler_station(visit->scheduler, number);
    uint64_t queued = look->queued + look->forked;
    uint32_t count = queued < UINT32_MAX ? (uint32_t)queued : UINT32_MAX;
    if (!station || (station->told_queue == count && !visit->is_first))
        return;
    station->told_queue = count;
    trace_note(TRACE_QUEUE, (uint64_t)visit->scheduler->number << 48
                                | (uint64_t)number << 32 | count);
}

void trace_queues(bool is_first)
{
    /* One that begins or closes: the next time, then. */
    if (!trace_is_on() || !scheduler_try_hold_all())
        return;
    for (unsigned i = 1; i <= SCHEDULERS_MAX; i++) {
        struct visit visit = {scheduler_at((uint8_t)i), is_first};
        if (visit.scheduler)
            pool_look(visit.scheduler->pool, note_queue, &visit);
    }
    scheduler_release_all();
}
