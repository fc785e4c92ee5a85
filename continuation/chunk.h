/*
 * chunk.h - the heap's part of the frames.
 *
 * Small frames fit into the inline chunk, which is part of the object that
 * embeds the continuation.  What does not fit goes to an external chunk,
 * allocated at the first yield that needs it and kept for the next.
 */
#ifndef CONTINUATION_CHUNK_H
#define CONTINUATION_CHUNK_H

#include <stddef.h>
#include <stdint.h>

/* The inline chunk is copied whole: cheaper than asking how much of it is
 * used.  So the gap above a run stack's top is at least as large. */
#define INLINE_CHUNK_BYTES 128

struct chunk {
    uint32_t capacity_bytes;
    uint32_t checksum;       /* of all frozen frames, in eager mode */
    unsigned char bytes[];
};

/* Returns a chunk that holds size_bytes: the old one if that is large
 * enough, else a new one, the old being freed.  NULL without memory: the
 * old one is still there. */
struct chunk *chunk_fit(struct chunk *old, size_t size_bytes);

void chunk_free(struct chunk *chunk);

#endif
