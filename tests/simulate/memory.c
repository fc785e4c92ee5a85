/*
 * memory.c - malloc in a schedule: the same addresses each time.
 *
 * Some code goes by addresses (a select locks its channels in their order),
 * so what it does must not depend on what earlier schedules left free.
 * Blocks are cut off an arena one after the other, and none is used twice in
 * a schedule; so a block that is touched after its end, by someone whom
 * nothing orders before that, is found as a data race.
 *
 * Invariant: the arena starts anew only when no block is in use.  Blocks
 * that the library keeps for longer come to lie behind each other; when the
 * arena is full, malloc is asked.
 *
 * Not here: memory that is mapped (run stacks, the table of threads).
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "tests/simulate/machine.h"

#define ARENA_BYTES ((size_t)1 << 20)
#define ALIGNMENT_BYTES 16

/* Before each block. */
struct header {
    size_t size_bytes;
} __attribute__((aligned(ALIGNMENT_BYTES)));

static char arena[ARENA_BYTES] __attribute__((aligned(4096)));
static size_t used_bytes;
static unsigned blocks; /* in use */
static bool is_open;

void memory_schedule_begins(void)
{
    is_open = true;
    if (blocks == 0)
        used_bytes = 0;
}

void memory_schedule_ends(void)
{
    is_open = false;
}

static void *cut_off(size_t alignment_bytes, size_t size_bytes)
{
    uintptr_t first = (uintptr_t)arena + used_bytes + sizeof(struct header);
    uintptr_t start = (first + alignment_bytes - 1) & -alignment_bytes;
    uintptr_t end = (uintptr_t)arena + ARENA_BYTES;
    if (!is_open || start > end || size_bytes > end - start)
        return NULL;
    ((struct header *)start)[-1].size_bytes = size_bytes;
    used_bytes = start + size_bytes - (uintptr_t)arena;
    used_bytes = (used_bytes + ALIGNMENT_BYTES - 1)
                 & ~(size_t)(ALIGNMENT_BYTES - 1);
    blocks++;
    return (void *)start;
}

/* What was done there before, in this schedule, does not count: only blocks
 * of malloc itself are used again, and it orders one use after another. */
static void *begin_block(void *memory, size_t size_bytes)
{
    if (machine_current && memory)
        order_new_memory(memory, size_bytes);
    return memory;
}

void *__real_malloc(size_t size_bytes);
void *__wrap_malloc(size_t size_bytes);
void *__wrap_malloc(size_t size_bytes)
{
    void *memory = cut_off(ALIGNMENT_BYTES, size_bytes);
    return memory ? memory
                  : begin_block(__real_malloc(size_bytes), size_bytes);
}

int __real_posix_memalign(void **memory, size_t alignment_bytes,
                          size_t size_bytes);
int __wrap_posix_memalign(void **memory, size_t alignment_bytes,
                          size_t size_bytes);
int __wrap_posix_memalign(void **memory, size_t alignment_bytes,
                          size_t size_bytes)
{
    void *block = cut_off(alignment_bytes < ALIGNMENT_BYTES ? ALIGNMENT_BYTES
                                                            : alignment_bytes,
                          size_bytes);
    if (block) {
        *memory = block;
        return 0;
    }
    int err = __real_posix_memalign(memory, alignment_bytes, size_bytes);
    if (err == 0)
        begin_block(*memory, size_bytes);
    return err;
}

void __real_free(void *memory);
void __wrap_free(void *memory);
void __wrap_free(void *memory)
{
    if ((uintptr_t)memory - (uintptr_t)arena >= ARENA_BYTES) {
        __real_free(memory);
        return;
    }
    order_access(memory, ((struct header *)memory)[-1].size_bytes, true,
                 __builtin_return_address(0));
    blocks--;
}
