/*
 * scratch.c - memory straight from the system, given back at once.
 */
#include "embed/scratch.h"

#include <errno.h>

#include "platform/memory.h"

#define RESERVED_MAX ((size_t)1 << 36)
#define RESERVED_MIN ((size_t)1 << 26)
#define STEP_BYTES ((size_t)4 << 20)
#define MAP_SIZE_FIRST ((size_t)1 << 14)

int scratch_open(struct scratch *s)
{
    *s = (struct scratch){.reserved_bytes = RESERVED_MAX};
    while ((s->start = memory_reserve(s->reserved_bytes)) == NULL)
        if ((s->reserved_bytes /= 4) < RESERVED_MIN)
            return ENOMEM;
    return 0;
}

void scratch_close(struct scratch *s)
{
    if (s->start)
        memory_release(s->start, s->reserved_bytes);
    s->start = NULL;
}

static bool commit(struct scratch *s, size_t size_bytes)
{
    size_t more =
        (size_bytes - s->committed_bytes + STEP_BYTES - 1) & ~(STEP_BYTES - 1);
    if (more > s->reserved_bytes - s->committed_bytes
        || memory_commit(s->start + s->committed_bytes, more) != 0)
        return false;
    s->committed_bytes += more;
    return true;
}

void *scratch_take(struct scratch *s, size_t size_bytes)
{
    size_bytes = (size_bytes + 15) & ~(size_t)15;
    size_t used = s->used_bytes + size_bytes;
    if (used < size_bytes || (used > s->committed_bytes && !commit(s, used)))
        return NULL;
    void *taken = s->start + s->used_bytes;
    s->used_bytes = used;
    return taken;
}

/* ---- Words -------------------------------------------------------------- */

/* Its slot, or the free one where it belongs. */
static struct word_number *slot_of(const struct word_map *map, uintptr_t word)
{
    size_t i = (size_t)((word >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20);
    while (map->slots[i & (map->size - 1)].word != 0
           && map->slots[i & (map->size - 1)].word != word)
        i++;
    return &map->slots[i & (map->size - 1)];
}

/* The old slots are left where they are. */
static bool grow(struct word_map *map)
{
    struct word_map larger = *map;
    larger.size = map->size ? 4 * map->size : MAP_SIZE_FIRST;
    larger.slots =
        scratch_take(map->memory, larger.size * sizeof *larger.slots);
    if (!larger.slots)
        return false;
    for (size_t i = 0; i < map->size; i++)
        if (map->slots[i].word)
            *slot_of(&larger, map->slots[i].word) = map->slots[i];
    *map = larger;
    return true;
}

uint32_t *word_map_add(struct word_map *map, uintptr_t word, bool *is_new)
{
    if (2 * map->count >= map->size && !grow(map))
        return NULL;
    struct word_number *slot = slot_of(map, word);
    *is_new = slot->word == 0;
    slot->word = word;
    map->count += *is_new;
    return &slot->number;
}

uint32_t *word_map_find(const struct word_map *map, uintptr_t word)
{
    if (map->size == 0)
        return NULL;
    struct word_number *slot = slot_of(map, word);
    return slot->word ? &slot->number : NULL;
}
