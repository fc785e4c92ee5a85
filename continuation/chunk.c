/*
 * chunk.c - external chunks: one block of the heap each.
 *
 * Sizes are rounded up to 16 bytes only: a thread tends to park at the same
 * depth, and what is parked is counted in bytes.
 */
#include "continuation/chunk.h"

#include "platform/memory.h"

struct chunk *chunk_fit(struct chunk *old, size_t size_bytes)
{
    if (old && old->capacity_bytes >= size_bytes)
        return old;
    size_t capacity = (size_bytes + 15) & ~(size_t)15;
    struct chunk *chunk = memory_alloc_plain(MEMORY_ALIGNMENT_BYTES,
                                             sizeof *chunk + capacity);
    if (!chunk)
        return NULL;
    chunk->capacity_bytes = (uint32_t)capacity;
    chunk->checksum = 0;
    memory_free(old);
    return chunk;
}

void chunk_free(struct chunk *chunk)
{
    memory_free(chunk);
}
