/*
 * snapshot_batch.h - a batch of threads, between the files that read it.
 *
 *   snapshot_batch.c    threads: what they are, what they point to
 *   snapshot_chains.c   stacks that are no single piece
 *   snapshot_memory.c   what is read once for the whole snapshot
 */
#ifndef SNAPSHOT_BATCH_H
#define SNAPSHOT_BATCH_H

#include "image.h"
#include "registers.h"
#include "snapshot.h"
#include "unwind.h"

enum { CHAIN_MAX = 8 /* continuations in one another */ };

/* ---- snapshot_memory.c -------------------------------------------------- */

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

/* The memory, or the end of the tool. */
void *snapshot_need(void *memory);

/* A field of an object in the target; 0: it cannot be read. */
uint64_t snapshot_peek(const struct snapshot *snapshot, uint64_t object,
                       enum layout_number field);

struct memory *snapshot_memory(struct snapshot *snapshot);

const struct known *snapshot_home(struct snapshot *snapshot,
                                  uint64_t address);

/* The registers that a switch has left at sp, in the copy of that stack. */
bool snapshot_switched(struct snapshot *snapshot, uint64_t sp,
                       const unsigned char *bytes, size_t size_bytes,
                       struct registers *registers);

/* ---- snapshot_chains.c -------------------------------------------------- */

/* A thread whose stack is no single piece. */
struct chain {
    struct registers registers[CHAIN_MAX];
    struct unwind_range ranges[CHAIN_MAX];
    size_t parts, range_count;
};

/* The stack of a thread that is mounted; NULL: its registers are not known.
 * `own` is the thread's continuation. */
struct chain *chain_of_mounted(struct snapshot *snapshot,
                               const struct seen_carrier *carrier,
                               uint64_t own);

/* Of one that was unmounted with others inside of it. */
struct chain *chain_of_nested(struct snapshot *snapshot, uint64_t inner,
                              uint64_t own);

/* Of an OS thread; NULL: as above. */
struct chain *chain_of_native(struct snapshot *snapshot, pid_t os_thread);

void chain_free(struct chain *chain);

#endif
