/*
 * snapshot.c - slices: stop, read some batches, let go, take them in.
 *
 * Each slice reads the carriers anew, for a thread that is mounted has its
 * registers there.  What the dump tells of carriers is what the first one has
 * seen.
 */
#include "snapshot.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "image.h"
#include "inspector.h"
#include "stacks.h"

/* Batches of one slice, at most. */
enum { SLICE_BATCHES = 16 };

void *snapshot_grow(void **array, size_t *count, size_t *capacity,
                    size_t size_bytes)
{
    if (*count == *capacity) {
        *capacity = *capacity ? 2 * *capacity : 64;
        *array = realloc(*array, *capacity * size_bytes);
        if (!*array) {
            complain("there is no memory");
            exit(STATUS_FAILED);
        }
    }
    void *element = (char *)*array + (*count)++ * size_bytes;
    memset(element, 0, size_bytes);
    return element;
}

const struct seen_thread *snapshot_thread(const struct snapshot *snapshot,
                                          uint32_t number)
{
    size_t low = 0, high = snapshot->thread_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        uint32_t here = snapshot_number(&snapshot->threads[middle]);
        if (here == number)
            return &snapshot->threads[middle];
        if (here < number)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* ---- Slices ------------------------------------------------------------- */

static uint32_t numbers_used(const struct snapshot *snapshot)
{
    uint32_t numbers = 0;
    const struct library *library = &snapshot->library;
    if (!image_read(snapshot->image,
                    library->value[ADDRESS_thread_table_numbers], &numbers,
                    sizeof numbers))
        return 0;
    return numbers;
}

struct slices {
    struct snapshot *snapshot;
    struct batch *batches[SLICE_BATCHES];
    uint32_t next; /* number of the first thread that has not been read */
    bool has_carriers;
};

/* The carriers that the dump tells of are those of the first slice; later
 * ones are for this slice only. */
static void read_carriers(struct slices *slices,
                          struct snapshot *carriers_then)
{
    struct snapshot *snapshot = slices->snapshot;
    if (slices->has_carriers) {
        *carriers_then = *snapshot;
        snapshot->carriers = NULL;
        snapshot->schedulers = NULL;
        snapshot->carrier_count = snapshot->carrier_capacity = 0;
        snapshot->scheduler_count = snapshot->scheduler_capacity = 0;
    }
    snapshot_read_carriers(snapshot);
}

static void restore_carriers(struct slices *slices,
                             const struct snapshot *then)
{
    struct snapshot *snapshot = slices->snapshot;
    if (slices->has_carriers) {
        free(snapshot->carriers);
        free(snapshot->schedulers);
        snapshot->carriers = then->carriers;
        snapshot->carrier_count = then->carrier_count;
        snapshot->carrier_capacity = then->carrier_capacity;
        snapshot->schedulers = then->schedulers;
        snapshot->scheduler_count = then->scheduler_count;
        snapshot->scheduler_capacity = then->scheduler_capacity;
    }
    slices->has_carriers = true;
}

/* One stop.  *is_last: there are no more threads. */
static int take_slice(struct slices *slices, bool *is_last)
{
    struct snapshot *snapshot = slices->snapshot, then = {.image = NULL};
    unsigned count = 0;
    int status = stop_begin(&snapshot->stop);
    if (status != STATUS_FINE)
        return status;
    uint32_t end = numbers_used(snapshot);
    struct natives *natives = NULL;
    read_carriers(slices, &then);
    snapshot_read_locks(snapshot);
    /* One at least: to stop it may have taken all the time. */
    while (count < SLICE_BATCHES && slices->next < end
           && (count == 0
               || stop_age_ns(&snapshot->stop) < SNAPSHOT_SLICE_NS))
        slices->next =
            batch_read(slices->batches[count++], slices->next, end);
    *is_last = slices->next >= end;
    if (*is_last)
        natives = snapshot_see_natives(snapshot);
    stop_end(&snapshot->stop);
    for (unsigned i = 0; i < count; i++) {
        batch_take(slices->batches[i]);
        stop_let_go(&snapshot->stop);
    }
    if (natives)
        snapshot_take_natives(snapshot, natives);
    restore_carriers(slices, &then);
    return STATUS_FINE;
}

static uint64_t clock_of_deadlines(const struct snapshot *snapshot)
{
    /* When a core file was written nobody knows on that clock. */
    return image_is_core(snapshot->image) ? 0 : stop_now_ns();
}

int snapshot_take(struct snapshot *snapshot)
{
    struct slices slices = {.snapshot = snapshot, .next = 1};
    bool is_last = false;
    int status = STATUS_FINE;
    snapshot->taken_ns = clock_of_deadlines(snapshot);
    for (unsigned i = 0; i < SLICE_BATCHES; i++)
        slices.batches[i] = batch_open(snapshot);
    while (status == STATUS_FINE && !is_last) {
        uint64_t begun_ns = stop_now_ns();
        status = take_slice(&slices, &is_last);
        /* It runs at least half of the time. */
        uint64_t stopped_ns = stop_age_ns(&snapshot->stop);
        uint64_t since_ns = stop_now_ns() - begun_ns;
        if (!is_last && since_ns < 2 * SNAPSHOT_SLICE_NS && stopped_ns > 0)
            usleep((2 * SNAPSHOT_SLICE_NS - since_ns) / 1000);
    }
    for (unsigned i = 0; i < SLICE_BATCHES; i++)
        batch_close(slices.batches[i]);
    return status;
}

void snapshot_free(struct snapshot *snapshot)
{
    free(snapshot->threads);
    free(snapshot->carriers);
    free(snapshot->schedulers);
    free(snapshot->scopes);
    free(snapshot->holds);
    free(snapshot->wants);
    free(snapshot->memory);
}
