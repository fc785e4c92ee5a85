/*
 * recording.c - a recording in memory, and its events in the order of time.
 *
 * The file is read as a whole.  Events of one ring are in order, or nearly so
 * in that which several OS threads share; those of several rings are merged
 * as they are asked for.
 */
#include "recording.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "inspector.h"

enum { RINGS_MAX = 1024 };

struct piece {
    const struct trace_event *events;
    size_t count;
};

struct ring {
    struct piece *pieces;
    size_t piece_count;
    size_t piece, event; /* where it is read */
    uint32_t source;     /* who has recorded it; of ring 0: the next event */
    bool has_source;
};

/* ---- The file ----------------------------------------------------------- */

static int fail(const char *path, const char *why)
{
    complain("%s: %s", path, why);
    return STATUS_FAILED;
}

bool recording_is(const char *path)
{
    char magic[16];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    bool is = read(fd, magic, sizeof magic) == (ssize_t)sizeof magic
              && memcmp(magic, TRACE_MAGIC, sizeof magic) == 0;
    close(fd);
    return is;
}

static int map_file(struct recording *r, const char *path)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) != 0) {
        int err = errno;
        if (fd >= 0)
            close(fd);
        return fail(path, strerror(err));
    }
    r->size = (size_t)status.st_size;
    r->bytes = r->size > 0 ? mmap(NULL, r->size, PROT_READ, MAP_PRIVATE, fd, 0)
                           : NULL;
    close(fd);
    if (r->bytes == MAP_FAILED) {
        r->bytes = NULL;
        return fail(path, strerror(errno));
    }
    return STATUS_FINE;
}

static int check_header(struct recording *r, const char *path)
{
    const struct trace_header *header = (void *)r->bytes;
    if (r->size < sizeof *header
        || memcmp(header->magic, TRACE_MAGIC, sizeof header->magic) != 0)
        return fail(path, "this is no recording");
    if (header->version != TRACE_VERSION) {
        complain("%s: a recording of version %u, and this is a tool for "
                 "version %u",
                 path, header->version, TRACE_VERSION);
        return STATUS_TARGET;
    }
    if (header->header_bytes < sizeof *header || header->header_bytes > r->size
        || header->header_bytes % 8 != 0)
        return fail(path, "its header makes no sense");
    r->pid = header->pid;
    return STATUS_FINE;
}

/* ---- Blocks ------------------------------------------------------------- */

static bool append(void *array, size_t *count, size_t size, const void *from,
                   size_t more)
{
    char **place = array;
    char *larger = realloc(*place, (*count + more) * size);
    if (!larger)
        return false;
    memcpy(larger + *count * size, from, more * size);
    *place = larger;
    *count += more;
    return true;
}

static bool take_clock(struct recording *r, const char *data, size_t bytes)
{
    struct trace_clock clocks[2];
    if (bytes != sizeof clocks)
        return true;
    memcpy(clocks, data, sizeof clocks);
    if (r->begin_ns == 0)
        r->begin_ns = clocks[1].monotonic_ns;
    r->first = clocks[0];
    r->last = clocks[1];
    return true;
}

/* Of the last time that they were written. */
static bool take_maps(struct recording *r, const char *data, size_t bytes)
{
    if (r->last_kind != TRACE_MAPS)
        r->maps_size = 0;
    return append(&r->maps, &r->maps_size, 1, data, bytes);
}

static bool take_threads(struct recording *r, const char *data, size_t bytes)
{
    if (r->last_kind != TRACE_THREADS)
        r->thread_count = 0;
    return append(&r->threads, &r->thread_count, sizeof *r->threads, data,
                  bytes / sizeof *r->threads);
}

static bool take_reason(struct recording *r, const char *data, size_t bytes)
{
    size_t length = bytes < sizeof r->reason ? bytes : sizeof r->reason - 1;
    memcpy(r->reason, data, length);
    r->reason[length] = '\0';
    return true;
}

static bool add_source(struct recording *r, const struct source *source,
                       uint32_t *number)
{
    *number = (uint32_t)r->source_count;
    return append(&r->sources, &r->source_count, sizeof *source, source, 1);
}

static bool note_carrier(struct recording *r, struct ring *ring,
                         const struct trace_part *part)
{
    if (part->ring == 0 || ring->has_source)
        return true;
    struct source source = {.is_carrier = true,
                            .scheduler = part->scheduler,
                            .carrier = part->carrier,
                            .os_thread = part->os_thread};
    memcpy(source.name, part->name, sizeof part->name);
    ring->has_source = true;
    return add_source(r, &source, &ring->source);
}

static bool take_part(struct recording *r, const char *data, size_t bytes)
{
    const struct trace_part *part = (const void *)data;
    if (bytes < sizeof *part || part->ring >= RINGS_MAX)
        return true;
    struct ring *ring = &r->rings[part->ring];
    struct piece piece = {(const void *)(part + 1),
                          (bytes - sizeof *part) / sizeof *piece.events};
    r->lost += part->lost;
    r->events += piece.count;
    return note_carrier(r, ring, part)
           && append(&ring->pieces, &ring->piece_count, sizeof piece, &piece,
                     1);
}

static bool take_end(struct recording *r, const char *data, size_t bytes)
{
    (void)data;
    (void)bytes;
    r->is_complete = true;
    return true;
}

static bool take_block(struct recording *r, uint32_t kind, const char *data,
                       size_t bytes)
{
    static bool (*const take[])(struct recording *, const char *, size_t) = {
        [TRACE_CLOCK] = take_clock,     [TRACE_MAPS] = take_maps,
        [TRACE_THREADS] = take_threads, [TRACE_PART] = take_part,
        [TRACE_REASON] = take_reason,   [TRACE_END] = take_end,
    };
    bool is_good = kind >= sizeof take / sizeof take[0] || !take[kind]
                   || take[kind](r, data, bytes);
    r->last_kind = kind;
    return is_good;
}

static int read_blocks(struct recording *r, const char *path)
{
    const struct trace_block *block;
    size_t at = ((struct trace_header *)(void *)r->bytes)->header_bytes;
    while (r->size - at >= sizeof *block) {
        block = (const void *)(r->bytes + at);
        at += sizeof *block;
        if (block->bytes > r->size - at)
            break;
        if (!take_block(r, block->kind, r->bytes + at, block->bytes))
            return fail(path, "no memory for it");
        size_t padded = ((size_t)block->bytes + 7) & ~(size_t)7;
        at += padded < r->size - at ? padded : r->size - at;
    }
    return STATUS_FINE;
}

/* ---- Time --------------------------------------------------------------- */

static uint64_t to_ns(const struct recording *r, uint64_t ticks)
{
    double tick_ns =
        r->last.ticks > r->first.ticks
            ? (double)(r->last.monotonic_ns - r->first.monotonic_ns)
                  / (double)(r->last.ticks - r->first.ticks)
            : 1;
    return r->first.monotonic_ns
           + (uint64_t)((double)(int64_t)(ticks - r->first.ticks) * tick_ns);
}

/* The next event of a ring; false: there is none. */
static bool peek(struct ring *ring, struct trace_event *event)
{
    while (ring->piece < ring->piece_count
           && ring->event >= ring->pieces[ring->piece].count) {
        ring->piece++;
        ring->event = 0;
    }
    if (ring->piece >= ring->piece_count)
        return false;
    *event = ring->pieces[ring->piece].events[ring->event];
    return true;
}

static struct ring *earliest(struct recording *r, struct trace_event *event)
{
    struct ring *found = NULL;
    struct trace_event candidate;
    for (unsigned i = 0; i < RINGS_MAX; i++) {
        struct ring *ring = &r->rings[i];
        if (ring->piece_count == 0 || !peek(ring, &candidate))
            continue;
        if (found
            && candidate.when >> TRACE_KIND_BITS >= event->when
                   >> TRACE_KIND_BITS)
            continue;
        found = ring;
        *event = candidate;
    }
    return found;
}

/* ---- Events ------------------------------------------------------------- */

/* Whose the next event of ring 0 is. */
static void change_source(struct recording *r, struct ring *ring,
                          uint32_t os_thread)
{
    for (size_t i = 0; i < r->source_count; i++)
        if (!r->sources[i].is_carrier
            && r->sources[i].os_thread == os_thread) {
            ring->source = (uint32_t)i;
            ring->has_source = true;
            return;
        }
    struct source source = {.os_thread = os_thread};
    ring->has_source = add_source(r, &source, &ring->source);
}

void recording_rewind(struct recording *r)
{
    for (unsigned i = 0; i < RINGS_MAX; i++)
        r->rings[i].piece = r->rings[i].event = 0;
}

bool recording_next(struct recording *r, struct event *event)
{
    struct trace_event next;
    struct ring *ring;
    while ((ring = earliest(r, &next)) != NULL) {
        uint32_t kind = next.when & ((1u << TRACE_KIND_BITS) - 1);
        ring->event++;
        if (ring == &r->rings[0] && kind == TRACE_BY)
            change_source(r, ring, (uint32_t)next.what);
        else if (kind != TRACE_NOTHING && ring->has_source) {
            *event = (struct event){
                .ns = to_ns(r, next.when >> TRACE_KIND_BITS),
                .what = next.what,
                .source = ring->source,
                .kind = kind,
            };
            return true;
        }
    }
    return false;
}

/* ---- As a whole --------------------------------------------------------- */

/* From the first clock or event to the last. */
static void find_span(struct recording *r)
{
    struct event event;
    recording_rewind(r);
    r->end_ns = r->last.monotonic_ns;
    for (bool is_first = true; recording_next(r, &event); is_first = false) {
        if (is_first && (r->begin_ns == 0 || event.ns < r->begin_ns))
            r->begin_ns = event.ns;
        if (event.ns > r->end_ns)
            r->end_ns = event.ns;
    }
    recording_rewind(r);
}

void recording_close(struct recording *r)
{
    for (unsigned i = 0; r->rings && i < RINGS_MAX; i++)
        free(r->rings[i].pieces);
    free(r->rings);
    free(r->maps);
    free(r->threads);
    free(r->sources);
    if (r->bytes)
        munmap(r->bytes, r->size);
}

int recording_open(struct recording *r, const char *path)
{
    *r = (struct recording){.pid = 0};
    r->rings = calloc(RINGS_MAX, sizeof *r->rings);
    int status = r->rings ? map_file(r, path) : fail(path, strerror(ENOMEM));
    if (status == STATUS_FINE)
        status = check_header(r, path);
    if (status == STATUS_FINE)
        status = read_blocks(r, path);
    if (status == STATUS_FINE && !append(&r->maps, &r->maps_size, 1, "", 1))
        status = fail(path, strerror(ENOMEM));
    if (status == STATUS_FINE)
        find_span(r);
    else
        recording_close(r);
    return status;
}
