/*
 * snapshot_batch.c - some thousand threads at a time: all that is known of
 * them is copied while the process is stopped, and looked at afterwards.
 *
 * Reading goes in three steps, each with few system calls: the objects, one
 * block of the table; then what they point to, frames and chunks and names
 * and lists, all pieces at once; then the few things that have to be
 * followed from one to the next (chains of continuations, open scopes, the
 * stacks of those that run).
 */
#include "snapshot_batch.h"

#include <stdlib.h>
#include <string.h>

#include "inspector.h"
#include "stacks.h"

enum {
    BATCH_THREADS = 1024,
    BATCH_BYTES = 2 * 1024 * 1024, /* of frames: then it is full */
    BATCH_PARTS = 4 * BATCH_THREADS,
    ARENA_BYTES = 1024 * 1024,     /* at first */
    LIST_BYTES = 16,               /* around the list that is waited in */
    SCOPES_MAX = 64                /* that one thread has open */
};

/* Where pieces go.  Offsets, because it grows while they are planned. */
struct arena {
    char *bytes;
    size_t size_bytes, capacity_bytes;
};

/* A piece that is planned; `part` indexes the batch's parts. */
#define NO_PART UINT32_MAX

struct capture {
    struct seen_thread seen;
    const char *object; /* the copy */
    uint64_t sp;        /* where its frames begin */
    uint32_t frames_bytes;
    uint32_t inner_part, outer_part; /* chunk or home; see plan_frames */
    uint32_t extra_part, list_part, child_part;
    struct chain *chain;
};

struct batch {
    struct snapshot *snapshot;
    char *objects;
    struct capture *captures;
    size_t count;
    struct image_part *parts;
    size_t part_count, part_capacity;
    size_t *offsets; /* of the parts, in the arena */
    struct arena arena;
};

/* ---- A batch ------------------------------------------------------------ */

/* Memory whose pages are there: with the process stopped each that comes only
 * then would cost it a microsecond. */
static void *need_pages(size_t size_bytes)
{
    return memset(snapshot_need(malloc(size_bytes)), 0xff, size_bytes);
}

struct batch *batch_open(struct snapshot *snapshot)
{
    size_t object_bytes = snapshot->library.value[SIZE_thread];
    struct batch *batch = snapshot_need(calloc(1, sizeof *batch));
    batch->snapshot = snapshot;
    batch->objects = need_pages(BATCH_THREADS * object_bytes);
    batch->captures = need_pages(BATCH_THREADS * sizeof *batch->captures);
    batch->part_capacity = BATCH_PARTS;
    batch->parts = need_pages(BATCH_PARTS * sizeof *batch->parts);
    batch->offsets = need_pages(BATCH_PARTS * sizeof *batch->offsets);
    batch->arena.capacity_bytes = ARENA_BYTES;
    batch->arena.bytes = need_pages(ARENA_BYTES);
    return batch;
}

void batch_close(struct batch *batch)
{
    free(batch->objects);
    free(batch->captures);
    free(batch->parts);
    free(batch->offsets);
    free(batch->arena.bytes);
    free(batch);
}

static uint32_t plan(struct batch *batch, uint64_t address, size_t size_bytes)
{
    struct arena *arena = &batch->arena;
    if (batch->part_count == batch->part_capacity) {
        size_t capacity = 2 * batch->part_capacity;
        batch->parts = snapshot_need(
            realloc(batch->parts, capacity * sizeof *batch->parts));
        batch->offsets = snapshot_need(
            realloc(batch->offsets, capacity * sizeof *batch->offsets));
        batch->part_capacity = capacity;
    }
    batch->parts[batch->part_count] = (struct image_part){
        .address = address,
        .size_bytes = size_bytes,
    };
    batch->offsets[batch->part_count] = arena->size_bytes;
    arena->size_bytes += (size_bytes + 15) & ~(size_t)15;
    return (uint32_t)batch->part_count++;
}

static void read_planned(struct batch *batch)
{
    struct arena *arena = &batch->arena;
    if (arena->size_bytes > arena->capacity_bytes) {
        free(arena->bytes);
        arena->bytes = snapshot_need(malloc(arena->size_bytes));
        arena->capacity_bytes = arena->size_bytes;
    }
    for (size_t i = 0; i < batch->part_count; i++)
        batch->parts[i].buffer = arena->bytes + batch->offsets[i];
    image_read_parts(batch->snapshot->image, batch->parts, batch->part_count);
}

static const void *part_of(const struct batch *batch, uint32_t part)
{
    return part != NO_PART && batch->parts[part].is_read
               ? batch->parts[part].buffer
               : NULL;
}

/* ---- What a thread is --------------------------------------------------- */

static uint64_t field(const struct batch *batch, const struct capture *c,
                      enum layout_number number)
{
    return library_field(&batch->snapshot->library, c->object, number);
}

static uint64_t of_continuation(const struct batch *batch,
                                const struct capture *c,
                                enum layout_number number)
{
    const struct library *library = &batch->snapshot->library;
    return library_field(
        library, c->object + library->value[AT_thread_continuation], number);
}

/* Whether the library says so of its word. */
static bool is(const struct batch *batch, const struct capture *c,
               enum layout_number flag)
{
    return c->seen.word & batch->snapshot->library.value[flag];
}

static enum thread_state state_of_virtual(const struct batch *batch,
                                          const struct capture *c,
                                          const struct seen_carrier *carrier)
{
    const uint64_t *value = batch->snapshot->library.value;
    uint64_t state = of_continuation(batch, c, AT_continuation_state);
    if (c->seen.wants_lock)
        return STATE_PINNED;
    if (c->seen.waits)
        return is(batch, c, IS_THREAD_KERNEL) ? STATE_PINNED : STATE_PARKED;
    if (carrier)
        return carrier->is_calling ? STATE_CALLING : STATE_RUNNING;
    if (state == value[IS_CONTINUATION_NEW])
        return STATE_NEW;
    return state == value[IS_CONTINUATION_MOUNTED] ? STATE_RUNNING
                                                   : STATE_RUNNABLE;
}

static void classify(const struct batch *batch, struct capture *c,
                     const struct seen_carrier *carrier)
{
    const struct seen_want *want =
        snapshot_want_of(batch->snapshot, snapshot_number(&c->seen));
    c->seen.waits =
        is(batch, c, IS_THREAD_PARKED) || is(batch, c, IS_THREAD_WAITING);
    if (want)
        snapshot_take_want(batch->snapshot, &c->seen, want);
    if (is(batch, c, IS_THREAD_DONE)) {
        c->seen.state = STATE_ENDED;
        c->seen.waits = false;
        if (!is(batch, c, IS_THREAD_PLATFORM))
            c->seen.entry = field(batch, c, AT_thread_fn);
    } else if (is(batch, c, IS_THREAD_PLATFORM)) {
        c->seen.state = c->seen.waits ? STATE_PLATFORM_WAITS : STATE_PLATFORM;
        c->seen.os_thread = (pid_t)field(batch, c, AT_thread_argument);
    } else {
        c->seen.state = (uint8_t)state_of_virtual(batch, c, carrier);
        c->seen.entry = field(batch, c, AT_thread_fn);
    }
    if (carrier)
        c->seen.os_thread = carrier->os_thread;
}

/* ---- Stacks that are one piece ------------------------------------------ */

static void read_kind(struct batch *batch, const struct capture *c)
{
    struct memory *memory = snapshot_memory(batch->snapshot);
    uint64_t kind = of_continuation(batch, c, AT_continuation_kind);
    if (kind == 0 || kind == memory->kind)
        return;
    memory->kind = kind;
    memory->inline_offset = snapshot_peek(batch->snapshot, kind,
                                          AT_continuation_kind_inline_offset);
    memory->inline_bytes = snapshot_peek(batch->snapshot, kind,
                                         AT_continuation_kind_inline_bytes);
}

/* The lowest frames are in the inline chunk, which is in the object's copy;
 * what is above them in the other one. */
static void plan_frozen(struct batch *batch, struct capture *c)
{
    struct memory *memory = snapshot_memory(batch->snapshot);
    uint64_t inside = memory->inline_bytes;
    uint64_t chunk = of_continuation(batch, c, AT_continuation_chunk);
    c->frames_bytes = c->seen.frozen_bytes;
    if (c->frames_bytes <= inside || chunk == 0)
        return;
    /* One piece of the arena has both. */
    c->inner_part = plan(batch, 0, 0);
    batch->arena.size_bytes += inside;
    c->outer_part =
        plan(batch, chunk + batch->snapshot->library.value[SIZE_chunk],
             c->frames_bytes - inside);
}

/* The thread is not mounted: its frames are frozen, or lie on its home. */
static void plan_frames(struct batch *batch, struct capture *c)
{
    if (c->seen.depth_bytes == 0)
        return;
    read_kind(batch, c);
    if (c->seen.frozen_bytes > 0) {
        plan_frozen(batch, c);
        return;
    }
    c->frames_bytes = c->seen.depth_bytes;
    c->outer_part = plan(batch, c->sp, c->frames_bytes);
}

/* The frames as one piece, lowest first; NULL: they could not be read. */
static const unsigned char *frames_of(const struct batch *batch,
                                      const struct capture *c)
{
    const struct memory *memory = batch->snapshot->memory;
    const char *inline_chunk =
        c->object + batch->snapshot->library.value[AT_thread_continuation]
        + memory->inline_offset;
    if (c->frames_bytes == 0)
        return NULL;
    if (c->seen.frozen_bytes == 0)
        return part_of(batch, c->outer_part);
    if (c->frames_bytes <= memory->inline_bytes)
        return (const unsigned char *)inline_chunk;
    if (!part_of(batch, c->outer_part))
        return NULL;
    char *bytes = batch->arena.bytes + batch->offsets[c->inner_part];
    memcpy(bytes, inline_chunk, memory->inline_bytes);
    return (const unsigned char *)bytes;
}

/* ---- Scopes ------------------------------------------------------------- */

static void read_scope(struct batch *batch, struct capture *c,
                       uint64_t address)
{
    struct snapshot *snapshot = batch->snapshot;
    const uint64_t *value = snapshot->library.value;
    struct seen_scope *seen =
        snapshot_grow((void **)&snapshot->scopes, &snapshot->scope_count,
                      &snapshot->scope_capacity, sizeof *seen);
    uint64_t options =
        snapshot_peek(snapshot, address, AT_vthread_scope_options);
    seen->address = address;
    seen->owner = snapshot_number(&c->seen);
    seen->pending =
        (uint32_t)snapshot_peek(snapshot, address, AT_vthread_scope_pending)
        / 2;
    seen->is_cancelled =
        snapshot_peek(snapshot, address, AT_vthread_scope_cancelled);
    if (options)
        image_read_text(snapshot->image, options + value[AT_options_name],
                        seen->name, sizeof seen->name);
}

static void read_scopes(struct batch *batch, struct capture *c,
                        const void *extra)
{
    const struct library *library = &batch->snapshot->library;
    uint64_t scope = library_field(library, extra, AT_thread_extra_scopes);
    for (unsigned i = 0; scope && i < SCOPES_MAX; i++) {
        read_scope(batch, c, scope);
        scope =
            snapshot_peek(batch->snapshot, scope, AT_vthread_scope_next_open);
    }
}

/* ---- Reading ------------------------------------------------------------ */

static void plan_home(struct batch *batch, struct capture *c)
{
    uint64_t home = of_continuation(batch, c, AT_continuation_home);
    const uint64_t *value = batch->snapshot->library.value;
    c->seen.has_home = home != 0;
    c->seen.flags = (uint8_t)of_continuation(batch, c, AT_continuation_flags);
    c->seen.pins = (uint8_t)of_continuation(batch, c, AT_continuation_pins);
    if (!home)
        return;
    const struct known *known = snapshot_home(batch->snapshot, home);
    c->sp = of_continuation(batch, c, AT_continuation_sp);
    c->seen.is_common = known->is_common;
    c->seen.frozen_bytes =
        (uint32_t)of_continuation(batch, c, AT_continuation_frozen_bytes);
    if (of_continuation(batch, c, AT_continuation_state)
            == value[IS_CONTINUATION_UNMOUNTED]
        && c->sp > known->bottom && c->sp < known->top)
        c->seen.depth_bytes = (uint32_t)(known->top - c->sp);
}

static void plan_rest(struct batch *batch, struct capture *c)
{
    const uint64_t *value = batch->snapshot->library.value;
    uint64_t extra = field(batch, c, AT_thread_extra);
    uint64_t on = field(batch, c, AT_thread_wait_on) & ~UINT64_C(1);
    if (extra)
        c->extra_part = plan(batch, extra, value[SIZE_thread_extra]);
    if (c->seen.waits && !c->seen.wants_lock && on > LIST_BYTES
        && field(batch, c, AT_thread_waits_for) == value[IS_FOR_LISTED])
        c->list_part = plan(batch, on - LIST_BYTES / 2, LIST_BYTES);
    if (is(batch, c, IS_THREAD_CHILD) && c->seen.state != STATE_ENDED)
        c->child_part = plan(batch, field(batch, c, AT_thread_argument),
                             value[SIZE_child]);
}

/* What can be read in one go is planned; the rest is read at once. */
static void plan_thread(struct batch *batch, struct capture *c)
{
    struct snapshot *snapshot = batch->snapshot;
    const uint64_t *value = snapshot->library.value;
    uint64_t address = snapshot_memory(snapshot)->table
                       + snapshot_number(&c->seen) * value[SIZE_thread];
    uint64_t own = address + value[AT_thread_continuation];
    uint64_t inner = of_continuation(batch, c, AT_continuation_link);
    const struct seen_carrier *carrier =
        snapshot_carrier_of(snapshot, address);
    classify(batch, c, carrier);
    plan_rest(batch, c);
    if (is(batch, c, IS_THREAD_PLATFORM)) {
        c->chain = chain_of_native(snapshot, c->seen.os_thread);
        return;
    }
    plan_home(batch, c);
    if (c->seen.state == STATE_ENDED || c->seen.state == STATE_NEW)
        return;
    if (carrier)
        c->chain = chain_of_mounted(snapshot, carrier, own);
    else if (c->seen.depth_bytes > 0 && inner && inner != own)
        c->chain = chain_of_nested(snapshot, inner, own);
    else
        plan_frames(batch, c);
}

/* The object's copy, if it is a thread. */
static bool is_thread(const struct batch *batch, const char *object,
                      uint64_t *word)
{
    const struct library *library = &batch->snapshot->library;
    *word = library_field(library, object, AT_thread_word);
    return *word >> 32 != 0 && !(*word & library->value[IS_THREAD_FREE]);
}

static void add_capture(struct batch *batch, uint32_t number,
                        const char *object, uint64_t word)
{
    const struct library *library = &batch->snapshot->library;
    struct capture *c = &batch->captures[batch->count++];
    *c = (struct capture){
        .object = object,
        .inner_part = NO_PART,
        .outer_part = NO_PART,
        .extra_part = NO_PART,
        .list_part = NO_PART,
        .child_part = NO_PART,
    };
    c->seen.handle = (word & 0xffffffff00000000u) | number;
    c->seen.word = word & 0xffffffffu;
    c->seen.stack = STACK_NONE;
    c->seen.scheduler =
        (uint8_t)library_field(library, object, AT_thread_scheduler);
    plan_thread(batch, c);
}

uint32_t batch_read(struct batch *batch, uint32_t number, uint32_t end)
{
    struct snapshot *snapshot = batch->snapshot;
    size_t size = snapshot->library.value[SIZE_thread];
    batch->count = batch->part_count = 0;
    batch->arena.size_bytes = 0;
    if (end - number > BATCH_THREADS)
        end = number + BATCH_THREADS;
    if (!image_read(snapshot->image,
                    snapshot_memory(snapshot)->table + number * size,
                    batch->objects, (end - number) * size)) {
        snapshot->is_incomplete = true;
        return end;
    }
    uint32_t first = number;
    for (; number < end && batch->arena.size_bytes < BATCH_BYTES; number++) {
        const char *object = batch->objects + (number - first) * size;
        uint64_t word;
        if (is_thread(batch, object, &word))
            add_capture(batch, number, object, word);
    }
    read_planned(batch);
    for (size_t i = 0; i < batch->count; i++) {
        const void *extra = part_of(batch, batch->captures[i].extra_part);
        if (extra)
            read_scopes(batch, &batch->captures[i], extra);
    }
    return number;
}

/* ---- Taking them in ----------------------------------------------------- */

static uint32_t stack_of(struct batch *batch, struct capture *c)
{
    struct snapshot *snapshot = batch->snapshot;
    struct registers registers;
    if (!snapshot->stacks)
        return STACK_NONE;
    if (c->chain)
        return c->chain->parts == 0
                   ? STACK_NONE
                   : stacks_of_chain(snapshot->stacks, c->chain->registers,
                                     c->chain->parts, c->chain->ranges,
                                     c->chain->range_count);
    const unsigned char *frames = frames_of(batch, c);
    struct unwind_range range = {c->sp, frames, c->frames_bytes};
    if (!frames
        || !snapshot_switched(snapshot, c->sp, frames, c->frames_bytes,
                              &registers))
        return STACK_NONE;
    return stacks_of_parked(snapshot->stacks, &registers, &range);
}

static void take(struct batch *batch, struct capture *c)
{
    struct snapshot *snapshot = batch->snapshot;
    const struct library *library = &snapshot->library;
    const void *extra = part_of(batch, c->extra_part);
    const void *child = part_of(batch, c->child_part);
    if (extra)
        memcpy(c->seen.name,
               (const char *)extra + library->value[AT_thread_extra_name],
               sizeof c->seen.name - 1);
    if (child)
        c->seen.scope = library_field(library, child, AT_child_scope);
    if (c->seen.waits && !c->seen.wants_lock)
        snapshot_read_wait(snapshot, &c->seen, c->object,
                           part_of(batch, c->list_part));
    c->seen.stack = stack_of(batch, c);
    if (c->chain)
        chain_free(c->chain);
    struct seen_thread *t =
        snapshot_grow((void **)&snapshot->threads, &snapshot->thread_count,
                      &snapshot->thread_capacity, sizeof *t);
    *t = c->seen;
}

void batch_take(struct batch *batch)
{
    snapshot_memory(batch->snapshot);
    for (size_t i = 0; i < batch->count; i++)
        take(batch, &batch->captures[i]);
    batch->count = 0;
}
