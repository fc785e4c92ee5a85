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
#include <stdlib.h>
#include <string.h>

#include "image.h"
#include "inspector.h"
#include "snapshot.h"
#include "stacks.h"
#include "unwind.h"

enum {
    BATCH_THREADS = 4096,
    BATCH_BYTES = 8 * 1024 * 1024, /* of frames: then it is full */
    STACK_BYTES_MAX = 1024 * 1024, /* of one thread that are looked at */
    PAGE_BYTES = 4096,
    NATIVE_PAGES = 16,
    LIST_BYTES = 16, /* around the list that is waited in */
    CHAIN_MAX = 8,   /* continuations in one another */
    SCOPES_MAX = 64  /* that one thread has open */
};

/* Where pieces go.  Offsets, because it grows while they are planned. */
struct arena {
    char *bytes;
    size_t size_bytes, capacity_bytes;
};

/* A piece that is planned; `part` indexes the batch's parts. */
#define NO_PART UINT32_MAX

/* A thread whose stack is no single piece. */
struct chain {
    struct registers registers[CHAIN_MAX];
    struct unwind_range ranges[CHAIN_MAX];
    size_t parts, range_count;
};

struct capture {
    struct seen_thread seen;
    const char *object;       /* the copy */
    uint64_t sp;              /* where its frames begin */
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

/* ---- Memory that stays -------------------------------------------------- */

/* Borders of homes, which never change, and kinds, which are constants. */
struct known {
    uint64_t address;
    uint64_t top, bottom;
    bool is_common;
};

enum { KNOWN_SLOTS = 1 << 16 };

struct memory {
    struct known homes[KNOWN_SLOTS];
    uint64_t kind, inline_offset, inline_bytes; /* of threads */
    uint64_t table;
    struct registers switched; /* scratch */
    struct {
        uint32_t number, offset;
    } slots[REGISTERS_MAX];
    size_t slot_count;
};

static void *need(void *memory)
{
    if (memory)
        return memory;
    complain("there is no memory");
    exit(STATUS_FAILED);
}

static uint64_t peek(const struct snapshot *snapshot, uint64_t object,
                     enum layout_number field)
{
    return library_peek(&snapshot->library, snapshot->image, object, field);
}

static void read_switch_slots(struct snapshot *snapshot,
                              struct memory *memory)
{
    const uint64_t *value = snapshot->library.value;
    size_t count = value[IS_SWITCH_SLOTS];
    for (size_t i = 0; i < count && i < REGISTERS_MAX; i++) {
        uint64_t slot = value[ADDRESS_switch_slots]
                        + i * value[SIZE_switch_slot];
        memory->slots[memory->slot_count].number =
            (uint32_t)peek(snapshot, slot, AT_switch_slot_dwarf_number);
        memory->slots[memory->slot_count++].offset =
            (uint32_t)peek(snapshot, slot, AT_switch_slot_offset);
    }
}

static struct memory *memory_of(struct snapshot *snapshot)
{
    if (snapshot->memory)
        return snapshot->memory;
    struct memory *memory = need(calloc(1, sizeof *memory));
    image_read(snapshot->image,
               snapshot->library.value[ADDRESS_thread_table],
               &memory->table, sizeof memory->table);
    read_switch_slots(snapshot, memory);
    snapshot->memory = memory;
    return memory;
}

static const struct known *home_of(struct snapshot *snapshot,
                                   uint64_t address)
{
    struct memory *memory = memory_of(snapshot);
    struct known *home =
        &memory->homes[address * UINT64_C(0x9e3779b97f4a7c15) >> 48];
    if (home->address == address)
        return home;
    home->address = address;
    home->top = peek(snapshot, address, AT_run_stack_top);
    home->bottom = peek(snapshot, address, AT_run_stack_bottom);
    home->is_common = peek(snapshot, address, AT_run_stack_is_common);
    return home;
}

/* The registers that a switch has left at sp, in the copy of that stack. */
static bool registers_at(struct snapshot *snapshot, uint64_t sp,
                         const unsigned char *bytes, size_t size_bytes,
                         struct registers *registers)
{
    const struct memory *memory = memory_of(snapshot);
    uint64_t frame_bytes = snapshot->library.value[IS_SWITCH_FRAME_BYTES];
    if (size_bytes < frame_bytes)
        return false;
    *registers = (struct registers){.is_call = true};
    for (size_t i = 0; i < memory->slot_count; i++) {
        uint64_t value;
        if (memory->slots[i].offset + sizeof value > size_bytes)
            return false;
        memcpy(&value, bytes + memory->slots[i].offset, sizeof value);
        registers_set(registers, memory->slots[i].number, value);
        /* The last one is where it goes on. */
        registers->pc = value;
    }
    registers_set(registers, registers_sp, sp + frame_bytes);
    return memory->slot_count > 0;
}

/* ---- A batch ------------------------------------------------------------ */

struct batch *batch_open(struct snapshot *snapshot)
{
    struct batch *batch = need(calloc(1, sizeof *batch));
    batch->snapshot = snapshot;
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
        size_t capacity = batch->part_capacity ? 2 * batch->part_capacity
                                               : 8192;
        batch->parts = need(realloc(batch->parts,
                                    capacity * sizeof *batch->parts));
        batch->offsets = need(realloc(batch->offsets,
                                      capacity * sizeof *batch->offsets));
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
        arena->bytes = need(malloc(arena->size_bytes));
        arena->capacity_bytes = arena->size_bytes;
    }
    for (size_t i = 0; i < batch->part_count; i++)
        batch->parts[i].buffer = arena->bytes + batch->offsets[i];
    image_read_parts(batch->snapshot->image, batch->parts,
                     batch->part_count);
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
    return library_field(library,
                         c->object + library->value[AT_thread_continuation],
                         number);
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
    c->seen.waits = is(batch, c, IS_THREAD_PARKED)
                    || is(batch, c, IS_THREAD_WAITING);
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
    struct memory *memory = memory_of(batch->snapshot);
    uint64_t kind = of_continuation(batch, c, AT_continuation_kind);
    if (kind == 0 || kind == memory->kind)
        return;
    memory->kind = kind;
    memory->inline_offset = peek(batch->snapshot, kind,
                                 AT_continuation_kind_inline_offset);
    memory->inline_bytes = peek(batch->snapshot, kind,
                                AT_continuation_kind_inline_bytes);
}

/* The lowest frames are in the inline chunk, which is in the object's copy;
 * what is above them in the other one. */
static void plan_frozen(struct batch *batch, struct capture *c)
{
    struct memory *memory = memory_of(batch->snapshot);
    uint64_t inside = memory->inline_bytes;
    uint64_t chunk = of_continuation(batch, c, AT_continuation_chunk);
    c->frames_bytes = c->seen.frozen_bytes;
    if (c->frames_bytes <= inside || chunk == 0)
        return;
    /* One piece of the arena has both. */
    c->inner_part = plan(batch, 0, 0);
    batch->arena.size_bytes += inside;
    c->outer_part = plan(batch,
                         chunk + batch->snapshot->library.value[SIZE_chunk],
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
        c->object
        + batch->snapshot->library.value[AT_thread_continuation]
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

/* ---- Chains, and those that run ----------------------------------------- */

/* A copy of [start, end), or of as much of it as there is. */
static void add_range(struct batch *batch, struct chain *chain,
                      uint64_t start, uint64_t end)
{
    if (end <= start || chain->range_count == CHAIN_MAX)
        return;
    if (end - start > STACK_BYTES_MAX)
        end = start + STACK_BYTES_MAX;
    unsigned char *bytes = need(malloc(end - start));
    size_t size_bytes = end - start;
    while (size_bytes > 0
           && !image_read(batch->snapshot->image, start, bytes, size_bytes))
        size_bytes /= 2;
    chain->ranges[chain->range_count++] = (struct unwind_range){
        .start = start,
        .bytes = bytes,
        .size_bytes = size_bytes & ~(size_t)7,
    };
}

/* The native stack from sp on, page by page as far as it goes. */
static void add_native(struct batch *batch, struct chain *chain, uint64_t sp)
{
    uint64_t end = (sp / PAGE_BYTES + 1) * PAGE_BYTES;
    char byte;
    for (unsigned i = 0; i < NATIVE_PAGES; i++, end += PAGE_BYTES)
        if (!image_read(batch->snapshot->image, end, &byte, 1))
            break;
    add_range(batch, chain, sp & ~UINT64_C(7), end);
}

/* The frames of a continuation that are in its chunks. */
static void add_frozen(struct batch *batch, struct chain *chain,
                       uint64_t continuation, uint64_t sp, size_t size_bytes)
{
    struct snapshot *snapshot = batch->snapshot;
    uint64_t kind = peek(snapshot, continuation, AT_continuation_kind);
    uint64_t chunk = peek(snapshot, continuation, AT_continuation_chunk);
    uint64_t offset = peek(snapshot, kind, AT_continuation_kind_inline_offset);
    size_t inside = peek(snapshot, kind, AT_continuation_kind_inline_bytes);
    if (size_bytes > STACK_BYTES_MAX || chain->range_count == CHAIN_MAX)
        return;
    unsigned char *bytes = need(malloc(size_bytes));
    if (inside > size_bytes)
        inside = size_bytes;
    bool is_read = image_read(snapshot->image, continuation + offset, bytes,
                              inside)
                   && image_read(snapshot->image,
                                 chunk + snapshot->library.value[SIZE_chunk],
                                 bytes + inside, size_bytes - inside);
    chain->ranges[chain->range_count++] = (struct unwind_range){
        .start = sp,
        .bytes = bytes,
        .size_bytes = is_read ? size_bytes : 0,
    };
}

/* One that has been switched away from. */
static void add_switched(struct batch *batch, struct chain *chain,
                         uint64_t continuation)
{
    struct snapshot *snapshot = batch->snapshot;
    uint64_t sp = peek(snapshot, continuation, AT_continuation_sp);
    uint64_t frozen = peek(snapshot, continuation,
                           AT_continuation_frozen_bytes);
    const struct known *home = home_of(
        snapshot, peek(snapshot, continuation, AT_continuation_home));
    if (sp < home->bottom || sp >= home->top)
        return;
    size_t index = chain->range_count;
    if (frozen > 0)
        add_frozen(batch, chain, continuation, sp, frozen);
    else
        add_range(batch, chain, sp, home->top);
    if (index < chain->range_count
        && registers_at(snapshot, sp, chain->ranges[index].bytes,
                        chain->ranges[index].size_bytes,
                        &chain->registers[chain->parts]))
        chain->parts++;
}

/* The one that runs. */
static void add_running(struct batch *batch, struct chain *chain,
                        uint64_t continuation,
                        const struct registers *registers)
{
    struct snapshot *snapshot = batch->snapshot;
    uint64_t sp = registers->value[registers_sp];
    const struct known *home = home_of(
        snapshot, peek(snapshot, continuation, AT_continuation_home));
    chain->registers[chain->parts++] = *registers;
    if (sp >= home->bottom && sp < home->top)
        add_range(batch, chain, sp & ~UINT64_C(7), home->top);
    else
        add_native(batch, chain, sp);
}

/* From the continuation given out to the thread's own. */
static void add_callers(struct batch *batch, struct chain *chain,
                        uint64_t inner, uint64_t own)
{
    while (inner && inner != own && chain->parts < CHAIN_MAX) {
        inner = peek(batch->snapshot, inner, AT_continuation_link);
        if (inner)
            add_switched(batch, chain, inner);
    }
}

/* The thread is mounted, and its carrier's registers are known. */
static void read_mounted(struct batch *batch, struct capture *c,
                         const struct seen_carrier *carrier, uint64_t own)
{
    const struct registers *registers =
        stop_registers(&batch->snapshot->stop, carrier->os_thread);
    uint64_t inner = carrier->inner ? carrier->inner : own;
    if (!registers)
        return;
    c->chain = need(calloc(1, sizeof *c->chain));
    add_running(batch, c->chain, inner, registers);
    add_callers(batch, c->chain, inner, own);
}

/* It was unmounted with others inside of it. */
static void read_nested(struct batch *batch, struct capture *c,
                        uint64_t inner, uint64_t own)
{
    c->chain = need(calloc(1, sizeof *c->chain));
    add_switched(batch, c->chain, inner);
    add_callers(batch, c->chain, inner, own);
}

static void read_platform(struct batch *batch, struct capture *c)
{
    const struct registers *registers =
        stop_registers(&batch->snapshot->stop, c->seen.os_thread);
    if (!registers)
        return;
    c->chain = need(calloc(1, sizeof *c->chain));
    c->chain->registers[c->chain->parts++] = *registers;
    add_native(batch, c->chain, registers->value[registers_sp]);
}

static void free_chain(struct chain *chain)
{
    for (size_t i = 0; i < chain->range_count; i++)
        free((void *)(uintptr_t)chain->ranges[i].bytes);
    free(chain);
}

/* ---- Scopes ------------------------------------------------------------- */

static void read_scope(struct batch *batch, struct capture *c,
                       uint64_t address)
{
    struct snapshot *snapshot = batch->snapshot;
    const uint64_t *value = snapshot->library.value;
    struct seen_scope *seen = snapshot_grow(
        (void **)&snapshot->scopes, &snapshot->scope_count,
        &snapshot->scope_capacity, sizeof *seen);
    uint64_t options = peek(snapshot, address, AT_vthread_scope_options);
    seen->address = address;
    seen->owner = snapshot_number(&c->seen);
    seen->pending = (uint32_t)peek(snapshot, address,
                                   AT_vthread_scope_pending)
                    / 2;
    seen->is_cancelled = peek(snapshot, address,
                              AT_vthread_scope_cancelled);
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
        scope = peek(batch->snapshot, scope, AT_vthread_scope_next_open);
    }
}

/* ---- Reading ------------------------------------------------------------ */

static void plan_home(struct batch *batch, struct capture *c)
{
    uint64_t home = of_continuation(batch, c, AT_continuation_home);
    const uint64_t *value = batch->snapshot->library.value;
    c->seen.has_home = home != 0;
    c->seen.flags = (uint8_t)of_continuation(batch, c,
                                             AT_continuation_flags);
    c->seen.pins = (uint8_t)of_continuation(batch, c, AT_continuation_pins);
    if (!home)
        return;
    const struct known *known = home_of(batch->snapshot, home);
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
    if (c->seen.waits && on > LIST_BYTES
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
    uint64_t address = memory_of(snapshot)->table
                       + snapshot_number(&c->seen) * value[SIZE_thread];
    uint64_t own = address + value[AT_thread_continuation];
    uint64_t inner = of_continuation(batch, c, AT_continuation_link);
    const struct seen_carrier *carrier = snapshot_carrier_of(snapshot,
                                                             address);
    classify(batch, c, carrier);
    plan_rest(batch, c);
    if (is(batch, c, IS_THREAD_PLATFORM)) {
        read_platform(batch, c);
        return;
    }
    plan_home(batch, c);
    if (c->seen.state == STATE_ENDED || c->seen.state == STATE_NEW)
        return;
    if (carrier)
        read_mounted(batch, c, carrier, own);
    else if (c->seen.depth_bytes > 0 && inner && inner != own)
        read_nested(batch, c, inner, own);
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
    c->seen.scheduler = (uint8_t)library_field(library, object,
                                               AT_thread_scheduler);
    plan_thread(batch, c);
}

static void begin_batch(struct batch *batch, size_t object_bytes)
{
    if (!batch->objects) {
        batch->objects = need(malloc(BATCH_THREADS * object_bytes));
        batch->captures =
            need(malloc(BATCH_THREADS * sizeof *batch->captures));
    }
    batch->count = batch->part_count = 0;
    batch->arena.size_bytes = 0;
}

uint32_t batch_read(struct batch *batch, uint32_t number, uint32_t end)
{
    struct snapshot *snapshot = batch->snapshot;
    size_t size = snapshot->library.value[SIZE_thread];
    begin_batch(batch, size);
    if (end - number > BATCH_THREADS)
        end = number + BATCH_THREADS;
    if (!image_read(snapshot->image, memory_of(snapshot)->table
                                         + number * size,
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
        || !registers_at(snapshot, c->sp, frames, c->frames_bytes,
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
    if (c->seen.waits)
        snapshot_read_wait(snapshot, &c->seen, c->object,
                           part_of(batch, c->list_part));
    c->seen.stack = stack_of(batch, c);
    if (c->chain)
        free_chain(c->chain);
    struct seen_thread *t = snapshot_grow(
        (void **)&snapshot->threads, &snapshot->thread_count,
        &snapshot->thread_capacity, sizeof *t);
    *t = c->seen;
}

void batch_take(struct batch *batch)
{
    memory_of(batch->snapshot);
    for (size_t i = 0; i < batch->count; i++)
        take(batch, &batch->captures[i]);
    batch->count = 0;
}
