/*
 * snapshot_carriers.c - schedulers and their carriers, and who runs there.
 */
#include "snapshot.h"

#include <stdlib.h>

#include "image.h"

/* A broken process may have any number. */
enum { CARRIERS_MAX = 4096 };

static uint64_t peek(const struct snapshot *snapshot, uint64_t object,
                     enum layout_number field)
{
    return library_peek(&snapshot->library, snapshot->image, object, field);
}

static uint64_t length_of(const struct snapshot *snapshot, uint64_t carrier,
                          enum layout_number queue)
{
    uint64_t deque = carrier + snapshot->library.value[queue];
    uint64_t head = peek(snapshot, deque, AT_deque_head);
    uint64_t tail = peek(snapshot, deque, AT_deque_tail);
    return head < tail ? tail - head : 0;
}

/* The innermost continuation on its OS thread. */
static uint64_t inner_of(const struct snapshot *snapshot, uint64_t station)
{
    uint64_t counts = peek(snapshot, station, AT_station_counts);
    uint64_t mount_point =
        counts ? counts - snapshot->library.value[AT_mount_point_counts] : 0;
    return peek(snapshot, mount_point, AT_mount_point_current);
}

static void read_carrier(struct snapshot *snapshot, unsigned scheduler,
                         uint64_t carrier, uint64_t station)
{
    const struct library *library = &snapshot->library;
    struct seen_carrier *seen = snapshot_grow(
        (void **)&snapshot->carriers, &snapshot->carrier_count,
        &snapshot->carrier_capacity, sizeof *seen);
    uint64_t call = peek(snapshot, carrier, AT_carrier_call)
                    & library->value[IS_CALL_STATE];
    seen->scheduler = scheduler;
    seen->number = (unsigned)peek(snapshot, carrier, AT_carrier_number);
    seen->os_thread = (pid_t)peek(snapshot, station, AT_station_os_thread);
    seen->queued = length_of(snapshot, carrier, AT_carrier_queue)
                   + length_of(snapshot, carrier, AT_carrier_forked)
                   + (peek(snapshot, carrier, AT_carrier_next) != 0);
    seen->steals = peek(snapshot, carrier, AT_carrier_steals);
    seen->is_idle = peek(snapshot, carrier, AT_carrier_is_idle);
    seen->is_polling = peek(snapshot, carrier, AT_carrier_is_polling);
    seen->is_blocked = peek(snapshot, carrier, AT_carrier_blocks) > 0;
    seen->is_calling = call == library->value[IS_CALL_IN]
                       || call == library->value[IS_CALL_HANDED];
    if (seen->os_thread == 0)
        return;
    seen->thread = peek(snapshot,
                        peek(snapshot, station, AT_station_local),
                        AT_local_thread);
    seen->runs = snapshot_number_at(snapshot, seen->thread);
    seen->inner = seen->thread ? inner_of(snapshot, station) : 0;
}

static void read_scheduler(struct snapshot *snapshot, unsigned number,
                           uint64_t scheduler)
{
    const struct library *library = &snapshot->library;
    uint64_t pool = peek(snapshot, scheduler, AT_vthread_scheduler_pool);
    if (pool == 0)
        return;
    struct seen_scheduler *seen = snapshot_grow(
        (void **)&snapshot->schedulers, &snapshot->scheduler_count,
        &snapshot->scheduler_capacity, sizeof *seen);
    seen->number = number;
    image_read(snapshot->image, pool + library->value[AT_pool_name],
               seen->name, sizeof seen->name - 1);
    seen->parallelism = (unsigned)peek(snapshot, pool, AT_pool_parallelism);
    seen->max_carriers = (unsigned)peek(snapshot, pool,
                                        AT_pool_max_carriers);
    uint64_t count = peek(snapshot, pool, AT_pool_count);
    for (uint64_t i = 0; i < count && i < CARRIERS_MAX; i++) {
        uint64_t carrier = 0;
        uint64_t station = scheduler
                           + library->value[AT_vthread_scheduler_stations]
                           + i * library->value[SIZE_station];
        if (image_read(snapshot->image,
                       pool + library->value[AT_pool_carriers]
                           + i * sizeof carrier,
                       &carrier, sizeof carrier)
            && carrier)
            read_carrier(snapshot, number, carrier, station);
    }
}

void snapshot_read_carriers(struct snapshot *snapshot)
{
    uint64_t table = snapshot->library.value[ADDRESS_scheduler_table];
    uint64_t count = snapshot->library.value[IS_SCHEDULERS_MAX] + 1;
    for (uint64_t i = 1; i < count && i < CARRIERS_MAX; i++) {
        uint64_t scheduler;
        if (image_read(snapshot->image, table + i * sizeof scheduler,
                       &scheduler, sizeof scheduler)
            && scheduler)
            read_scheduler(snapshot, (unsigned)i, scheduler);
    }
}

const struct seen_carrier *snapshot_carrier_of(const struct snapshot *snapshot,
                                               uint64_t thread)
{
    for (size_t i = 0; i < snapshot->carrier_count; i++)
        if (snapshot->carriers[i].thread == thread)
            return &snapshot->carriers[i];
    return NULL;
}
