/*
 * sample_memory.c - a sample read out of the memory of a process that knows
 * nothing of it.
 *
 * Where everything is the library itself says (layout.h).  Nothing is locked
 * or stopped, so a carrier may be seen in one state and its thread in the
 * next; what cannot be read is left out.  A thread is an object of 256 bytes
 * in one table, read in large pieces.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "inspector.h"
#include "library.h"
#include "sample.h"

enum { PIECE = 4096, CARRIERS_MAX = 4096 };

struct sample_memory {
    struct image *image;
    struct library library;
    struct places *names; /* of the sample that is being taken */
};

/* ---- Opening ------------------------------------------------------------ */

int sample_memory_open(struct sample_memory **memory,
                       const struct target *target)
{
    struct sample_memory *m = calloc(1, sizeof *m);
    m->image = image_of_process(target->pid);
    /* Whether we may read at all, in words. */
    char magic[sizeof LAYOUT_MAGIC];
    int status =
        target_read(target, target->layout_address, magic, sizeof magic);
    if (status == STATUS_FINE)
        status = library_open(&m->library, m->image, target->layout_address);
    if (status == STATUS_FINE) {
        *memory = m;
    } else {
        image_close(m->image);
        free(m);
    }
    return status;
}

void sample_memory_close(struct sample_memory *memory)
{
    image_close(memory->image);
    free(memory);
}

/* ---- Fields ------------------------------------------------------------- */

static uint64_t peek(struct sample_memory *m, uint64_t object,
                     enum layout_number field)
{
    return object ? library_peek(&m->library, m->image, object, field) : 0;
}

static uint64_t peek_pointer(struct sample_memory *m, uint64_t address)
{
    uint64_t pointer = 0;
    return image_read(m->image, address, &pointer, sizeof pointer) ? pointer
                                                                   : 0;
}

static uint64_t number(struct sample_memory *m, enum layout_number constant)
{
    return m->library.value[constant];
}

static void name_thread(struct sample_memory *m, const void *object,
                        char name[32])
{
    uint64_t extra = library_field(&m->library, object, AT_thread_extra);
    if (extra)
        image_read_text(m->image, extra + number(m, AT_thread_extra_name),
                        name, 32);
    name[31] = '\0';
}

/* ---- Threads ------------------------------------------------------------ */

/* As describe_state has it. */
static enum sample_state state_of(struct sample_memory *m, uint64_t word,
                                  const void *object)
{
    const char *continuation =
        (const char *)object + number(m, AT_thread_continuation);
    uint64_t state =
        library_field(&m->library, continuation, AT_continuation_state);
    if (word & number(m, IS_THREAD_DONE))
        return SAMPLE_TERMINATED;
    if (word & (number(m, IS_THREAD_PARKED) | number(m, IS_THREAD_WAITING))) {
        if (word & number(m, IS_THREAD_KERNEL))
            return SAMPLE_PINNED;
        return word & number(m, IS_THREAD_TIMED) ? SAMPLE_TIMED_PARKED
                                                 : SAMPLE_PARKED;
    }
    if (state == number(m, IS_CONTINUATION_NEW))
        return SAMPLE_NEW;
    return state == number(m, IS_CONTINUATION_MOUNTED) ? SAMPLE_RUNNING
                                                       : SAMPLE_RUNNABLE;
}

static const char *words_for(struct sample_memory *m, uint64_t waits_for)
{
    static const struct {
        enum layout_number kind;
        const char *words;
    } table[] = {
        {IS_FOR_LISTED, "waits"},
        {IS_FOR_UNPARK, "is parked"},
        {IS_FOR_TIME, "sleeps"},
        {IS_FOR_END, "waits for the end of"},
        {IS_FOR_CHANNEL, "waits at a channel"},
        {IS_FOR_SEVERAL, "waits for one of several channels or futures"},
        {IS_FOR_FUTURE, "waits for a future"},
        {IS_FOR_SCOPE, "waits for the threads of a scope"},
        {IS_FOR_DESCRIPTOR, "waits for a descriptor"},
        {IS_FOR_POLL, "waits for descriptors"},
        {IS_FOR_FILE, "waits for a file"},
        {IS_FOR_SIGNAL, "waits for a signal"},
        {IS_FOR_CALL, "waits for a foreign call"},
        {IS_FOR_CERTAIN, "is being woken"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (number(m, table[i].kind) == waits_for)
            return table[i].words;
    return "";
}

static void read_home(struct sample_memory *m, const char *continuation,
                      struct sample_thread *t)
{
    const struct library *library = &m->library;
    uint64_t home = library_field(library, continuation, AT_continuation_home);
    uint64_t flags =
        library_field(library, continuation, AT_continuation_flags);
    uint64_t sp = library_field(library, continuation, AT_continuation_sp);
    uint64_t top = peek(m, home, AT_run_stack_top);
    t->frozen_bytes = (uint32_t)library_field(library, continuation,
                                              AT_continuation_frozen_bytes);
    if (t->state != SAMPLE_RUNNING && t->state != SAMPLE_NEW && sp < top)
        t->depth_bytes = (uint32_t)(top - sp);
    snprintf(t->home, sizeof t->home, "%s",
             !home                                        ? "none"
             : flags & number(m, IS_CONTINUATION_HAS_OWN) ? "own"
                                                          : "common");
}

static void list_thread(struct sample_memory *m, struct sample *sample,
                        const char *object, uint64_t handle,
                        enum sample_state state)
{
    const struct library *library = &m->library;
    sample->threads = sample_grow(sample->threads, &sample->thread_count,
                                  sizeof *sample->threads);
    struct sample_thread *t = &sample->threads[sample->thread_count - 1];
    t->handle = handle;
    t->state = state;
    name_thread(m, object, t->name);
    places_entry(m->names, library_field(library, object, AT_thread_fn),
                 t->entry, sizeof t->entry);
    read_home(m, object + number(m, AT_thread_continuation), t);
    if (state == SAMPLE_PARKED || state == SAMPLE_TIMED_PARKED
        || state == SAMPLE_PINNED)
        snprintf(
            t->waits_for, sizeof t->waits_for, "%s",
            words_for(m, library_field(library, object, AT_thread_waits_for)));
}

static void read_thread(struct sample_memory *m, struct sample *sample,
                        const char *object, uint64_t index, bool is_listed)
{
    uint64_t word = library_field(&m->library, object, AT_thread_word);
    if (word >> 32 == 0 || word & number(m, IS_THREAD_FREE))
        return;
    if (word & number(m, IS_THREAD_PLATFORM)) {
        sample->platform++;
        return;
    }
    enum sample_state state = state_of(m, word, object);
    sample->states[state]++;
    sample->thread_total++;
    if (is_listed && sample->thread_count < SAMPLE_THREADS_MAX)
        list_thread(m, sample, object, word >> 32 << 32 | index, state);
}

static void read_threads(struct sample_memory *m, struct sample *sample,
                         bool are_listed)
{
    uint64_t table = peek_pointer(m, number(m, ADDRESS_thread_table));
    uint32_t end = 0;
    uint64_t size = number(m, SIZE_thread);
    char *piece = malloc(PIECE * size);
    image_read(m->image, number(m, ADDRESS_thread_table_numbers), &end,
               sizeof end);
    for (uint64_t i = 1; piece && table && i < end; i += PIECE) {
        uint64_t count = end - i < PIECE ? end - i : PIECE;
        if (!image_read(m->image, table + i * size, piece, count * size))
            continue;
        for (uint64_t k = 0; k < count; k++)
            read_thread(m, sample, piece + k * size, i + k, are_listed);
    }
    free(piece);
}

/* ---- Carriers ----------------------------------------------------------- */

static uint64_t length_of(struct sample_memory *m, uint64_t carrier,
                          enum layout_number queue)
{
    uint64_t deque = carrier + number(m, queue);
    uint64_t head = peek(m, deque, AT_deque_head);
    uint64_t tail = peek(m, deque, AT_deque_tail);
    return head < tail ? tail - head : 0;
}

static const char *carrier_state(struct sample_memory *m, uint64_t carrier,
                                 const struct sample_carrier *c)
{
    uint64_t call =
        peek(m, carrier, AT_carrier_call) & number(m, IS_CALL_STATE);
    if (c->os_thread == 0)
        return "resting";
    if (call == number(m, IS_CALL_HANDED))
        return "in_call";
    if (peek(m, carrier, AT_carrier_blocks) > 0)
        return "blocked";
    if (peek(m, carrier, AT_carrier_is_polling))
        return "polling";
    if (peek(m, carrier, AT_carrier_is_idle))
        return "sleeping";
    return c->thread ? "running" : "searching";
}

/* Who is mounted there. */
static void read_mounted(struct sample_memory *m, uint64_t station,
                         struct sample_carrier *c)
{
    uint64_t size = number(m, SIZE_thread);
    uint64_t table = peek_pointer(m, number(m, ADDRESS_thread_table));
    uint64_t thread =
        peek(m, peek(m, station, AT_station_local), AT_local_thread);
    char *object = thread > table ? malloc(size) : NULL;
    if (object && image_read(m->image, thread, object, size)) {
        uint64_t word = library_field(&m->library, object, AT_thread_word);
        c->thread = word >> 32 << 32 | (thread - table) / size;
        name_thread(m, object, c->name);
        places_entry(m->names,
                     library_field(&m->library, object, AT_thread_fn),
                     c->entry, sizeof c->entry);
    }
    free(object);
}

static void read_carrier(struct sample_memory *m, struct sample *sample,
                         unsigned scheduler, uint64_t carrier,
                         uint64_t station)
{
    sample->carriers = sample_grow(sample->carriers, &sample->carrier_count,
                                   sizeof *sample->carriers);
    struct sample_carrier *c = &sample->carriers[sample->carrier_count - 1];
    c->scheduler = scheduler;
    c->number = (unsigned)peek(m, carrier, AT_carrier_number);
    c->os_thread = (int)peek(m, station, AT_station_os_thread);
    c->runs = peek(m, carrier, AT_carrier_tick);
    c->steals = peek(m, carrier, AT_carrier_steals);
    c->calls =
        peek(m, carrier, AT_carrier_call) / (number(m, IS_CALL_STATE) + 1);
    c->pinned = peek(m, station, AT_station_pinned_parks);
    c->queued = length_of(m, carrier, AT_carrier_queue)
                + (peek(m, carrier, AT_carrier_next) != 0);
    c->forked = length_of(m, carrier, AT_carrier_forked);
    if (c->os_thread)
        read_mounted(m, station, c);
    snprintf(c->state, sizeof c->state, "%s", carrier_state(m, carrier, c));
}

static void read_scheduler(struct sample_memory *m, struct sample *sample,
                           unsigned index, uint64_t scheduler)
{
    uint64_t pool = peek(m, scheduler, AT_vthread_scheduler_pool);
    uint64_t count = peek(m, pool, AT_pool_count);
    if (!pool)
        return;
    sample->schedulers =
        sample_grow(sample->schedulers, &sample->scheduler_count,
                    sizeof *sample->schedulers);
    struct sample_scheduler *s =
        &sample->schedulers[sample->scheduler_count - 1];
    s->number = index;
    s->parallelism = (unsigned)peek(m, pool, AT_pool_parallelism);
    image_read_text(m->image, pool + number(m, AT_pool_name), s->name,
                    sizeof s->name - 1);
    for (uint64_t i = 0; i < count && i < CARRIERS_MAX; i++) {
        uint64_t carrier = peek_pointer(m, pool + number(m, AT_pool_carriers)
                                               + i * sizeof carrier);
        uint64_t station = scheduler + number(m, AT_vthread_scheduler_stations)
                           + i * number(m, SIZE_station);
        if (carrier)
            read_carrier(m, sample, index, carrier, station);
    }
}

int sample_by_memory(struct sample_memory *m, struct places *names,
                     struct sample *sample, bool with_threads)
{
    m->names = names;
    uint64_t table = number(m, ADDRESS_scheduler_table);
    for (unsigned i = 1; i <= number(m, IS_SCHEDULERS_MAX); i++) {
        uint64_t scheduler = peek_pointer(m, table + i * sizeof scheduler);
        if (scheduler)
            read_scheduler(m, sample, i, scheduler);
    }
    read_threads(m, sample, with_threads);
    return STATUS_FINE;
}
