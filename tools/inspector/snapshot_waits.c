/*
 * snapshot_waits.c - what a thread waits for, and for whom.
 *
 * The library keeps two things: a byte that says what kind of wait the last
 * one is, and for lists and joins an address.  A list is part of an object,
 * and says what kind that is; the object's word says who holds it.
 */
#include "snapshot.h"

#include <string.h>

#include "image.h"

uint32_t snapshot_number_at(const struct snapshot *snapshot, uint64_t address)
{
    const struct library *library = &snapshot->library;
    uint64_t table;
    if (address == 0
        || !image_read(snapshot->image, library->value[ADDRESS_thread_table],
                       &table, sizeof table)
        || address < table)
        return 0;
    uint64_t number = (address - table) / library->value[SIZE_thread];
    return number >> library->value[IS_THREAD_NUMBER_BITS] == 0
               ? (uint32_t)number
               : 0;
}

static uint32_t word_at(const unsigned char *bytes, uint64_t offset)
{
    uint32_t word = 0;
    if (offset <= 4)
        memcpy(&word, bytes + offset, sizeof word);
    return word;
}

/* The library's clock for notes; of a core file as it was when somebody noted
 * it last. */
static uint32_t ticks_now(const struct snapshot *snapshot)
{
    const struct library *library = &snapshot->library;
    if (!image_is_core(snapshot->image))
        return (uint32_t)(stop_now_ns()
                          >> library->value[IS_CLOCK_TICK_SHIFT]);
    return (uint32_t)library_peek(library, snapshot->image,
                                  library->value[ADDRESS_clock_recent],
                                  AT_clock_recent_ticks);
}

uint64_t snapshot_since(const struct snapshot *snapshot, uint32_t ticks)
{
    int32_t passed = (int32_t)(ticks_now(snapshot) - ticks);
    return passed > 0 ? (uint64_t)passed
                            << snapshot->library.value[IS_CLOCK_TICK_SHIFT]
                      : 0;
}

static void read_time(const struct snapshot *snapshot, struct seen_thread *t,
                      const void *object)
{
    const struct library *library = &snapshot->library;
    t->has_deadline = t->word & library->value[IS_THREAD_TIMED];
    if (t->has_deadline) {
        t->deadline_ns = library_field(library, object,
                                       AT_thread_deadline_ns);
        return;
    }
    t->waited_ns = snapshot_since(
        snapshot,
        (uint32_t)library_field(library, object, AT_thread_waits_since));
}

/* The 8 bytes before the list are where the object begins. */
static uint32_t holder_of(const struct library *library, uint64_t kind,
                          const unsigned char *object)
{
    const uint64_t *value = library->value;
    uint32_t word;
    if (kind == value[IS_WAIT_MUTEX])
        return word_at(object, value[AT_mutex_word])
               >> value[IS_MUTEX_HOLDER_SHIFT];
    if (kind == value[IS_WAIT_ONCE])
        return word_at(object, value[AT_once_word])
               >> value[IS_ONCE_RUNNER_SHIFT];
    if (kind != value[IS_WAIT_RWLOCK])
        return 0;
    word = word_at(object, value[AT_rwlock_word]);
    return word & value[IS_RWLOCK_WRITER]
               ? word_at(object, value[AT_rwlock_writer])
               : 0;
}

/* Where the object begins that the list lies in. */
static uint64_t object_of(const struct library *library, uint64_t kind,
                          uint64_t list)
{
    const uint64_t *value = library->value;
    if (kind == value[IS_WAIT_SEMAPHORE] || kind == value[IS_WAIT_LATCH])
        return list - 4;
    if (kind == 0 || kind == value[IS_WAIT_SCOPE]
        || kind == value[IS_WAIT_SLOT])
        return list;
    return list - 8;
}

void snapshot_read_wait(const struct snapshot *snapshot,
                        struct seen_thread *t, const void *object,
                        const void *around_list)
{
    const struct library *library = &snapshot->library;
    const uint64_t *value = library->value;
    uint64_t on = library_field(library, object, AT_thread_wait_on)
                  & ~UINT64_C(1);
    t->waits = true;
    t->waits_for = (uint8_t)library_field(library, object,
                                          AT_thread_waits_for);
    read_time(snapshot, t, object);
    if (t->waits_for == value[IS_FOR_END]) {
        t->holder = snapshot_number_at(snapshot, on);
    } else if (t->waits_for == value[IS_FOR_LISTED] && around_list && on) {
        uint32_t last;
        memcpy(&last, (const char *)around_list + 12, sizeof last);
        t->list_kind = (uint8_t)(last >> value[IS_THREAD_NUMBER_BITS]);
        t->object = object_of(library, t->list_kind, on);
        t->holder = holder_of(library, t->list_kind, around_list);
    }
}
