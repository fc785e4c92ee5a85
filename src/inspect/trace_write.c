/*
 * trace_write.c - writing out what the recorder has, while it goes on.
 *
 * All of it works in a signal handler of a process that is about to end: no
 * memory is allocated, and no lock is waited for.  What is sent is put
 * together in the reader itself.
 *
 * See the head of trace.c for why what is copied is what was written.
 */
#include "inspect/trace.h"

#include <errno.h>
#include <string.h>

#include "continuation/continuation.h"
#include "inspect/describe.h"
#include "platform/system.h"
#include "thread.h"

enum { THREADS_AT_ONCE = 32, MAPS_AT_ONCE = 4096 };

/* ---- Blocks ------------------------------------------------------------- */

static void pass(struct trace_reader *reader, const void *data, size_t bytes)
{
    if (!reader->has_failed)
        reader->has_failed = !reader->sink->send(reader->sink, data, bytes);
}

void trace_write_block(struct trace_reader *reader, enum trace_block_kind kind,
                       const void *data, size_t bytes)
{
    static const char zeros[8];
    struct trace_block block = {.kind = (uint32_t)kind,
                                .bytes = (uint32_t)bytes};
    pass(reader, &block, sizeof block);
    if (bytes > 0)
        pass(reader, data, bytes);
    if (bytes % 8 > 0)
        pass(reader, zeros, 8 - bytes % 8);
}

void trace_write_text(struct trace_reader *reader, enum trace_block_kind kind,
                      const char *text)
{
    trace_write_block(reader, kind, text, strlen(text));
}

void trace_write_header(struct trace_reader *reader)
{
    struct trace_header header = {.version = TRACE_VERSION,
                                  .header_bytes = sizeof header,
                                  .pid = (uint32_t)getpid()};
    memcpy(header.magic, TRACE_MAGIC, sizeof header.magic);
    pass(reader, &header, sizeof header);
}

/* ---- State -------------------------------------------------------------- */

static void write_clock(struct trace_reader *reader)
{
    struct trace_clock clocks[2];
    trace_first_clock(&clocks[0]);
    trace_clock_now(&clocks[1]);
    trace_write_block(reader, TRACE_CLOCK, clocks, sizeof clocks);
}

/* Where the code of functions comes from. */
static void write_maps(struct trace_reader *reader)
{
    char text[MAPS_AT_ONCE];
    ssize_t length;
    int fd = system_open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    while ((length = system_read(fd, text, sizeof text)) > 0)
        trace_write_block(reader, TRACE_MAPS, text, (size_t)length);
    system_close(fd);
}

/* Not by an atomic read: the allocator clears the field with its
 * neighbours. */
NO_SANITIZE_THREAD static uint64_t fn_of(const struct thread *t)
{
    return (uintptr_t)((const volatile struct thread *)t)->fn;
}

static enum trace_state state_of(const struct thread *t, uint64_t word)
{
    struct continuation_glance glance;
    if (word & (THREAD_PARKED | THREAD_WAITING))
        return TRACE_WAITING;
    if (word & THREAD_PLATFORM)
        return TRACE_RUNS;
    continuation_glance(&t->continuation, &glance);
    return glance.state == CONTINUATION_MOUNTED ? TRACE_RUNS : TRACE_READY;
}

/* The argument of a platform thread's object is its number. */
NO_SANITIZE_THREAD static uint32_t os_thread_of(const struct thread *t)
{
    return (uint32_t)(uintptr_t)((const volatile struct thread *)t)->argument;
}

static void describe(struct trace_thread *entry, const struct thread *t,
                     uint64_t word)
{
    bool is_platform = word & THREAD_PLATFORM;
    *entry = (struct trace_thread){
        .handle = (word & 0xffffffff00000000u) | thread_number(t),
        .fn = is_platform ? 0 : fn_of(t),
        .os_thread = is_platform ? os_thread_of(t) : 0,
        .state = (uint8_t)state_of(t, word),
        /* Relaxed: may be out of date. */
        .waits_for = atomic_load_explicit(&t->waits_for, memory_order_relaxed),
    };
    describe_try_name(t, entry->name, sizeof entry->name);
}

static void write_threads(struct trace_reader *reader)
{
    struct trace_thread entries[THREADS_AT_ONCE];
    size_t count = 0;
    uint64_t word;
    struct thread *t = thread_in_use_from(1, &word);
    for (; t && !reader->has_failed;
         t = thread_in_use_from(thread_number(t) + 1, &word)) {
        if (word & THREAD_DONE)
            continue;
        describe(&entries[count++], t, word);
        if (count < THREADS_AT_ONCE)
            continue;
        trace_write_block(reader, TRACE_THREADS, entries, sizeof entries);
        count = 0;
    }
    if (count > 0)
        trace_write_block(reader, TRACE_THREADS, entries,
                          count * sizeof entries[0]);
}

void trace_write_state(struct trace_reader *reader)
{
    write_clock(reader);
    write_maps(reader);
    write_threads(reader);
}

/* ---- Events ------------------------------------------------------------- */

static struct trace_event read_place(const struct trace_place *place)
{
    /* Relaxed: see the head of trace.c. */
    return (struct trace_event){
        atomic_load_explicit(&place->when, memory_order_relaxed),
        atomic_load_explicit(&place->what, memory_order_relaxed)};
}

static struct trace_place *place_of(struct trace_ring *ring, uint64_t n)
{
    return &ring->places[n & (trace_ring_places() - 1)];
}

static uint64_t head_of(struct trace_ring *ring)
{
    /* Acquire: the events before it; pairs with put_own. */
    return atomic_load_explicit(&ring->head, memory_order_acquire);
}

/* The oldest event that nobody is overwriting when head is there. */
static uint64_t oldest(uint64_t head)
{
    uint64_t places = trace_ring_places();
    return head + 1 > places ? head + 1 - places : 0;
}

/* Copies events from `from` on; how many, and in *from the first of them. */
static size_t copy_own(struct trace_ring *ring, uint64_t *from, uint64_t head,
                       struct trace_event *events)
{
    uint64_t n = *from;
    size_t count = 0;
    while (n + count < head && count < TRACE_BATCH) {
        events[count] = read_place(place_of(ring, n + count));
        count++;
    }
    /* Reads of places, then of head: see the head of trace.c. */
    atomic_thread_fence(memory_order_acquire);
    uint64_t safe = oldest(head_of(ring));
    if (safe <= n)
        return count;
    size_t gone = safe - n < count ? (size_t)(safe - n) : count;
    *from = n + gone;
    memmove(events, events + gone, (count - gone) * sizeof *events);
    return count - gone;
}

/* The two places of one event of ring 0.  False: it is not there, being
 * written or overwritten. */
static bool copy_pair(struct trace_ring *ring, uint64_t n,
                      struct trace_event *events)
{
    struct trace_place *place = place_of(ring, n);
    /* Acquire: pairs with put_shared. */
    uint64_t when = atomic_load_explicit(&place->when, memory_order_acquire);
    events[0] = read_place(place);
    events[1] = read_place(place + 1);
    atomic_thread_fence(memory_order_acquire);
    return (when & ((1u << TRACE_KIND_BITS) - 1)) == TRACE_BY
           && atomic_load_explicit(&place->when, memory_order_relaxed) == when
           && events[0].what >> 32 == (uint32_t)(n / 2);
}

/* The same for ring 0, up to an event that is being written; *next is where
 * to go on. */
static size_t copy_shared(struct trace_ring *ring, uint64_t *next,
                          uint64_t head, bool waits,
                          struct trace_event *events, uint64_t *lost)
{
    uint64_t n = *next;
    size_t count = 0;
    for (; n < head && count + 2 <= TRACE_BATCH; n += 2) {
        if (copy_pair(ring, n, events + count))
            count += 2;
        else if (waits && head - n < trace_ring_places() / 2)
            break;
        else
            ++*lost;
    }
    *next = n;
    return count;
}

/* Those before `since` come first. */
static size_t leave_out_old(struct trace_event *events, size_t count,
                            uint64_t since)
{
    size_t old = 0;
    while (old < count && events[old].when >> TRACE_KIND_BITS < since)
        old++;
    memmove(events, events + old, (count - old) * sizeof *events);
    return count - old;
}

static void send_part(struct trace_reader *reader, unsigned number,
                      size_t count, uint64_t lost)
{
    struct trace_ring *ring = trace_ring_at(number);
    struct trace_part *part = &reader->out.part;
    /* Relaxed, all: see note_writer. */
    *part = (struct trace_part){
        .ring = number,
        .os_thread =
            atomic_load_explicit(&ring->os_thread, memory_order_relaxed),
        .scheduler =
            atomic_load_explicit(&ring->scheduler, memory_order_relaxed),
        .carrier = atomic_load_explicit(&ring->carrier, memory_order_relaxed),
        .lost = lost,
    };
    uint64_t name[2] = {
        atomic_load_explicit(&ring->name[0], memory_order_relaxed),
        atomic_load_explicit(&ring->name[1], memory_order_relaxed)};
    memcpy(part->name, name, sizeof part->name);
    size_t bytes = sizeof *part + count * sizeof reader->out.events[0];
    reader->out.block = (struct trace_block){TRACE_PART, (uint32_t)bytes};
    reader->lost += lost;
    pass(reader, &reader->out, sizeof reader->out.block + bytes);
}

/* One batch; false: there is no more now. */
static bool write_batch(struct trace_reader *reader, unsigned number,
                        uint64_t head)
{
    struct trace_ring *ring = trace_ring_at(number);
    struct trace_event *events = reader->out.events;
    uint64_t *next = &reader->next[number], from = *next, lost = 0;
    size_t count;
    if (from < oldest(head))
        from = oldest(head) + (number == 0 ? oldest(head) % 2 : 0);
    lost = (from - *next) / (number == 0 ? 2 : 1);
    if (number == 0) {
        *next = from;
        count = copy_shared(ring, next, head, !reader->is_last, events, &lost);
    } else {
        uint64_t first = from;
        count = copy_own(ring, &first, head, events);
        lost += first - from;
        *next = first + count;
    }
    bool has_read = *next > from || count > 0;
    count = leave_out_old(events, count, reader->since);
    /* What is left out because it is old counts as neither. */
    if (count > 0 || (lost > 0 && reader->since == 0))
        send_part(reader, number, count, reader->since == 0 ? lost : 0);
    return has_read && *next < head;
}

void trace_write_events(struct trace_reader *reader)
{
    unsigned count = trace_ring_count();
    for (unsigned i = 0; i < count; i++) {
        uint64_t head = head_of(trace_ring_at(i));
        while (!reader->has_failed && write_batch(reader, i, head))
            continue;
    }
}

void trace_reader_init(struct trace_reader *reader, struct trace_sink *sink,
                       uint64_t since)
{
    memset(reader, 0, sizeof *reader);
    reader->sink = sink;
    if (since != UINT64_MAX) {
        reader->since = since;
        return;
    }
    for (unsigned i = 0; i < trace_ring_count(); i++)
        reader->next[i] = head_of(trace_ring_at(i));
}
