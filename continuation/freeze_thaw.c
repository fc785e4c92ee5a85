/*
 * freeze_thaw.c - frames to the heap and back.
 *
 *      run stack            object of the continuation      heap
 *      +----------+ top
 *      |  frames  |                                      +----------+
 *      |  of the  | - - - - - - - - - - - - - - - - - -> | external |
 *      |  callers |                                      | chunk    |
 *      +- - - - - + sp + 128                             +----------+
 *      |  lowest  | - - - - - - -> +--------------+
 *      |  frames  |                | inline chunk |
 *      +----------+ sp             +--------------+
 *
 * The invariant: between a yield and the next mount the bytes of [sp, top)
 * exist exactly once as the truth, on the home (frozen_bytes == 0) or in
 * the chunks (frozen_bytes == top - sp).  Whoever changes that has the
 * claim of the home.
 *
 * Budget: 3 ns for a copy that fits the inline chunk.  It is copied whole,
 * with a constant size: the compiler makes that eight moves and no branch.
 * What lies beyond the frames is the gap above the top of the stack, which
 * nobody reads.  Deeper frames cost a cache line for each 64 bytes, twice.
 *
 * The copy must not fail: it is made by a newcomer who wants the stack, and
 * at that time nothing else could be done.  So memory for it is found when
 * the continuation yields (freeze_reserve), where the failure has somebody
 * to go to: the yield itself.  Rejected: chunks reserved at creation, which
 * cost every thread the depth of the deepest; letting the mount fail, which
 * would make one thread's need another one's error.
 */
#include "continuation/freeze_thaw.h"

#include <stddef.h>

#include "continuation/chunk.h"
#include "continuation/verify.h"
#include "platform/panic.h"
#include "platform/sanitizer.h"

static size_t frame_bytes(const struct continuation *c)
{
    return (size_t)(c->home->top - (char *)c->sp);
}

static char *inline_chunk(const struct continuation *c)
{
    return (char *)c + c->kind->inline_offset;
}

/* The frames above those that the inline chunk takes. */
static size_t external_bytes(const struct continuation *c, size_t size)
{
    size_t inside = c->kind->inline_bytes;
    return size > inside ? size - inside : 0;
}

unsigned frame_ranges(const struct continuation *c,
                      struct frame_range ranges[2])
{
    if (!c->home || c->state == CONTINUATION_NEW
        || c->state == CONTINUATION_DONE)
        return 0;
    if (c->frozen_bytes == 0) {
        ranges[0] = (struct frame_range){c->sp, c->home->top};
        return 1;
    }
    size_t outside = external_bytes(c, c->frozen_bytes);
    char *inside = inline_chunk(c);
    ranges[0] = (struct frame_range){inside,
                                     inside + c->frozen_bytes - outside};
    if (outside)
        ranges[1] = (struct frame_range){c->chunk->bytes,
                                         c->chunk->bytes + outside};
    return outside ? 2 : 1;
}

bool freeze_reserve(struct continuation *c)
{
    size_t outside = external_bytes(c, frame_bytes(c));
    /* In eager mode every continuation has one, for its checksum. */
    if (likely(outside == 0)
        && likely(continuation_freeze_mode != FREEZE_EAGER))
        return true;
    struct chunk *chunk = chunk_fit(c->chunk, outside);
    if (!chunk)
        return false;
    c->chunk = chunk;
    return true;
}

void freeze(struct continuation *c)
{
    invariant(c->frozen_bytes == 0 && c->state == CONTINUATION_UNMOUNTED);
    size_t size = frame_bytes(c);
    size_t outside = external_bytes(c, size);
    if (c->kind->inline_bytes)
        sanitizer_copy(inline_chunk(c), c->sp, INLINE_CHUNK_BYTES);
    if (unlikely(outside))
        sanitizer_copy(c->chunk->bytes,
                       (char *)c->sp + c->kind->inline_bytes, outside);
    /* A collector's signal may stop us between any two instructions; it
     * finds the frames where frozen_bytes says. */
    atomic_signal_fence(memory_order_seq_cst);
    c->frozen_bytes = (uint32_t)size;
    sanitizer_frames_frozen(&c->sanitizer, c->sp, size);
    if (unlikely(continuation_freeze_mode == FREEZE_EAGER))
        verify_frozen(c);
}

void thaw(struct continuation *c)
{
    size_t size = c->frozen_bytes;
    size_t outside = external_bytes(c, size);
    invariant(size == frame_bytes(c));
    if (unlikely(continuation_freeze_mode == FREEZE_EAGER))
        verify_before_thaw(c);
    sanitizer_frames_thawed(&c->sanitizer, c->sp, size);
    if (c->kind->inline_bytes)
        sanitizer_copy(c->sp, inline_chunk(c), INLINE_CHUNK_BYTES);
    if (unlikely(outside))
        sanitizer_copy((char *)c->sp + c->kind->inline_bytes,
                       c->chunk->bytes, outside);
    atomic_signal_fence(memory_order_seq_cst); /* as in freeze */
    c->frozen_bytes = 0;
}
