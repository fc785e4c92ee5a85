/*
 * recordings.h - making recordings, and reading what is in them.
 */
#ifndef TESTS_RECORDINGS_H
#define TESTS_RECORDINGS_H

#include <fcntl.h>
#include <sys/stat.h>

#include <vthread/trace.h>

#include "inspect/trace_format.h"
#include "tests/threads.h"

struct recording {
    char *bytes;
    size_t size;
    bool is_complete; /* it has its END */
    uint64_t lost;
    unsigned parts;
    char reason[64];
};

/* Where this test's recording goes. */
static inline const char *recording_path(void)
{
    static char path[64];
    if (!*path)
        snprintf(path, sizeof path, "/tmp/vthread-recording-%d", getpid());
    return path;
}

static inline bool has_file(const char *path)
{
    return access(path, F_OK) == 0;
}

/* The block at *offset; NULL at the end. */
static inline const struct trace_block *next_block(const struct recording *r,
                                                   size_t *offset)
{
    const struct trace_block *block = (void *)(r->bytes + *offset);
    if (r->size - *offset < sizeof *block)
        return NULL;
    ck_assert_uint_le(block->bytes, r->size - *offset - sizeof *block);
    *offset += sizeof *block + ((block->bytes + 7u) & ~7u);
    return block;
}

static inline void note_block(struct recording *r,
                              const struct trace_block *block)
{
    const struct trace_part *part = (const void *)(block + 1);
    r->is_complete = block->kind == TRACE_END;
    if (block->kind == TRACE_PART) {
        r->lost += part->lost;
        r->parts++;
    }
    if (block->kind == TRACE_REASON)
        snprintf(r->reason, sizeof r->reason, "%.*s", (int)block->bytes,
                 (const char *)(block + 1));
}

/* Gone when the next one is read. */
static inline struct recording recording_of(const char *path)
{
    static char *bytes; /* of the last one */
    struct recording r = {.lost = 0};
    struct stat status;
    size_t offset = sizeof(struct trace_header);
    const struct trace_block *block;
    int fd = open(path, O_RDONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &status), 0);
    r.size = (size_t)status.st_size;
    free(bytes);
    r.bytes = bytes = malloc(r.size + 1);
    ck_assert_int_eq(read(fd, r.bytes, r.size), (ssize_t)r.size);
    close(fd);
    ck_assert_uint_ge(r.size, offset);
    const struct trace_header *header = (void *)r.bytes;
    ck_assert_mem_eq(header->magic, TRACE_MAGIC, sizeof header->magic);
    ck_assert_uint_eq(header->version, TRACE_VERSION);
    while ((block = next_block(&r, &offset)) != NULL)
        note_block(&r, block);
    return r;
}

static inline enum trace_kind kind_of(const struct trace_event *e)
{
    return (enum trace_kind)(e->when & ((1u << TRACE_KIND_BITS) - 1));
}

/* Calls fn(arg, part, event) for each event, in the order of the file. */
static inline void each_event(const struct recording *r,
                              void (*fn)(void *arg,
                                         const struct trace_part *part,
                                         const struct trace_event *e),
                              void *arg)
{
    size_t offset = sizeof(struct trace_header);
    const struct trace_block *block;
    while ((block = next_block(r, &offset)) != NULL) {
        if (block->kind != TRACE_PART)
            continue;
        const struct trace_part *part = (const void *)(block + 1);
        const struct trace_event *e = (const void *)(part + 1);
        const char *end = (const char *)(block + 1) + block->bytes;
        for (; (const char *)e < end; e++)
            fn(arg, part, e);
    }
}

struct looked_for {
    enum trace_kind kind;
    uint64_t what;
    bool is_any; /* whatever `what` is */
    size_t count;
};

static inline void count_if_meant(void *arg, const struct trace_part *part,
                                  const struct trace_event *e)
{
    struct looked_for *wanted = arg;
    (void)part;
    wanted->count += kind_of(e) == wanted->kind
                     && (wanted->is_any || e->what == wanted->what);
}

static inline size_t count_of(const struct recording *r, enum trace_kind kind,
                              uint64_t what)
{
    struct looked_for wanted = {.kind = kind, .what = what};
    each_event(r, count_if_meant, &wanted);
    return wanted.count;
}

static inline size_t count_kind(const struct recording *r,
                                enum trace_kind kind)
{
    struct looked_for wanted = {.kind = kind, .is_any = true};
    each_event(r, count_if_meant, &wanted);
    return wanted.count;
}

static inline void start_recording(uint64_t last_ns, size_t memory_bytes)
{
    vthread_trace_attr_t attr = {.path = recording_path(),
                                 .last_ns = last_ns,
                                 .memory_bytes = memory_bytes};
    ck_assert_int_eq(vthread_trace_start(&attr), 0);
}

static inline struct recording stop_recording(void)
{
    ck_assert_int_eq(vthread_trace_stop(), 0);
    struct recording r = recording_of(recording_path());
    ck_assert(r.is_complete);
    unlink(recording_path());
    return r;
}

/* For those who look at its event and at what follows from it. */
static inline void *parks_pinned(void *arg)
{
    vthread_pin();
    vthread_park();
    vthread_unpin();
    return arg;
}

#endif
