/*
 * snapshot_chains.c - stacks that are no single piece: those of threads that
 * run, of continuations in one another, and native ones.
 *
 * All is read with the process stopped.  A chain has a set of registers for
 * each continuation, the innermost first: those of the OS thread, or what a
 * switch has left.
 */
#include "snapshot_batch.h"

#include <stdlib.h>

enum {
    STACK_BYTES_MAX = 1024 * 1024, /* of one thread that are looked at */
    PAGE_BYTES = 4096,
    NATIVE_PAGES = 16
};

/* A copy of [start, end), or of as much of it as there is. */
static void add_range(struct snapshot *snapshot, struct chain *chain,
                      uint64_t start, uint64_t end)
{
    if (end <= start || chain->range_count == CHAIN_MAX)
        return;
    if (end - start > STACK_BYTES_MAX)
        end = start + STACK_BYTES_MAX;
    unsigned char *bytes = snapshot_need(malloc(end - start));
    size_t size_bytes = end - start;
    while (size_bytes > 0
           && !image_read(snapshot->image, start, bytes, size_bytes))
        size_bytes /= 2;
    chain->ranges[chain->range_count++] = (struct unwind_range){
        .start = start,
        .bytes = bytes,
        .size_bytes = size_bytes & ~(size_t)7,
    };
}

/* The native stack from sp on, page by page as far as it goes. */
static void add_native(struct snapshot *snapshot, struct chain *chain,
                       uint64_t sp)
{
    uint64_t end = (sp / PAGE_BYTES + 1) * PAGE_BYTES;
    char byte;
    for (unsigned i = 0; i < NATIVE_PAGES; i++, end += PAGE_BYTES)
        if (!image_read(snapshot->image, end, &byte, 1))
            break;
    add_range(snapshot, chain, sp & ~UINT64_C(7), end);
}

/* The frames of a continuation that are in its chunks. */
static void add_frozen(struct snapshot *snapshot, struct chain *chain,
                       uint64_t continuation, uint64_t sp, size_t size_bytes)
{
    uint64_t kind =
        snapshot_peek(snapshot, continuation, AT_continuation_kind);
    uint64_t chunk =
        snapshot_peek(snapshot, continuation, AT_continuation_chunk);
    uint64_t offset =
        snapshot_peek(snapshot, kind, AT_continuation_kind_inline_offset);
    size_t inside =
        snapshot_peek(snapshot, kind, AT_continuation_kind_inline_bytes);
    if (size_bytes > STACK_BYTES_MAX || chain->range_count == CHAIN_MAX)
        return;
    unsigned char *bytes = snapshot_need(malloc(size_bytes));
    if (inside > size_bytes)
        inside = size_bytes;
    bool is_read =
        image_read(snapshot->image, continuation + offset, bytes, inside)
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
static void add_switched(struct snapshot *snapshot, struct chain *chain,
                         uint64_t continuation)
{
    uint64_t sp = snapshot_peek(snapshot, continuation, AT_continuation_sp);
    uint64_t frozen =
        snapshot_peek(snapshot, continuation, AT_continuation_frozen_bytes);
    const struct known *home = snapshot_home(
        snapshot, snapshot_peek(snapshot, continuation, AT_continuation_home));
    if (sp < home->bottom || sp >= home->top)
        return;
    size_t index = chain->range_count;
    if (frozen > 0)
        add_frozen(snapshot, chain, continuation, sp, frozen);
    else
        add_range(snapshot, chain, sp, home->top);
    if (index < chain->range_count
        && snapshot_switched(snapshot, sp, chain->ranges[index].bytes,
                             chain->ranges[index].size_bytes,
                             &chain->registers[chain->parts]))
        chain->parts++;
}

/* The one that runs. */
static void add_running(struct snapshot *snapshot, struct chain *chain,
                        uint64_t continuation,
                        const struct registers *registers)
{
    uint64_t sp = registers->value[registers_sp];
    const struct known *home = snapshot_home(
        snapshot, snapshot_peek(snapshot, continuation, AT_continuation_home));
    chain->registers[chain->parts++] = *registers;
    if (sp >= home->bottom && sp < home->top)
        add_range(snapshot, chain, sp & ~UINT64_C(7), home->top);
    else
        add_native(snapshot, chain, sp);
}

/* From the continuation given out to the thread's own. */
static void add_callers(struct snapshot *snapshot, struct chain *chain,
                        uint64_t inner, uint64_t own)
{
    while (inner && inner != own && chain->parts < CHAIN_MAX) {
        inner = snapshot_peek(snapshot, inner, AT_continuation_link);
        if (inner)
            add_switched(snapshot, chain, inner);
    }
}

struct chain *chain_of_mounted(struct snapshot *snapshot,
                               const struct seen_carrier *carrier,
                               uint64_t own)
{
    const struct registers *registers =
        stop_registers(&snapshot->stop, carrier->os_thread);
    uint64_t inner = carrier->inner ? carrier->inner : own;
    if (!registers)
        return NULL;
    struct chain *chain = snapshot_need(calloc(1, sizeof *chain));
    add_running(snapshot, chain, inner, registers);
    add_callers(snapshot, chain, inner, own);
    return chain;
}

struct chain *chain_of_nested(struct snapshot *snapshot, uint64_t inner,
                              uint64_t own)
{
    struct chain *chain = snapshot_need(calloc(1, sizeof *chain));
    add_switched(snapshot, chain, inner);
    add_callers(snapshot, chain, inner, own);
    return chain;
}

struct chain *chain_of_native(struct snapshot *snapshot, pid_t os_thread)
{
    const struct registers *registers =
        stop_registers(&snapshot->stop, os_thread);
    if (!registers)
        return NULL;
    struct chain *chain = snapshot_need(calloc(1, sizeof *chain));
    chain->registers[chain->parts++] = *registers;
    add_native(snapshot, chain, registers->value[registers_sp]);
    return chain;
}

void chain_free(struct chain *chain)
{
    for (size_t i = 0; i < chain->range_count; i++)
        free((void *)(uintptr_t)chain->ranges[i].bytes);
    free(chain);
}
