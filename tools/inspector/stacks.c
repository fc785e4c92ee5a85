/*
 * stacks.c - each stack once, and unwound once.
 *
 * Two tables.  `stacks` has the stacks themselves, found by their return
 * addresses.  `shapes` has what the frames of a parked thread look like: the
 * size, where it goes on, and the offset of each return address; it leads to
 * the stack.  Frames of the same size with the same return addresses at the
 * same offsets are those of the same calls: the functions are the same, from
 * the innermost outwards, and each has found its caller where the other did.
 */
#include "stacks.h"

#include <stdlib.h>
#include <string.h>

#include "registers.h"
#include "unwind.h"

#define SLOTS_MIN 256 /* a power of two */

struct shape {
    uint64_t pc; /* where it goes on */
    uint64_t size_bytes;
    uint32_t stack;
    uint32_t count;
    struct shape *next; /* with the same pc and size */
    struct {
        uint64_t word;
        uint32_t offset;
    } return_to[];
};

struct stacks {
    struct unwinder *unwinder;
    struct stack **all;
    size_t count, capacity;
    uint32_t *slots; /* number + 1; by return addresses */
    size_t size;     /* a power of two */
    struct shape *shapes[1024];
    size_t unwound;
};

struct stacks *stacks_open(struct unwinder *unwinder)
{
    struct stacks *stacks = calloc(1, sizeof *stacks);
    if (!stacks)
        return NULL;
    stacks->unwinder = unwinder;
    stacks->size = SLOTS_MIN;
    stacks->slots = calloc(stacks->size, sizeof *stacks->slots);
    if (stacks->slots)
        return stacks;
    free(stacks);
    return NULL;
}

void stacks_close(struct stacks *stacks)
{
    for (size_t i = 0; i < stacks->count; i++)
        free(stacks->all[i]);
    for (size_t i = 0; i < sizeof stacks->shapes / sizeof *stacks->shapes;
         i++)
        for (struct shape *s = stacks->shapes[i], *next; s; s = next) {
            next = s->next;
            free(s);
        }
    free(stacks->all);
    free(stacks->slots);
    free(stacks);
}

const struct stack *stacks_get(const struct stacks *stacks, uint32_t number)
{
    return number < stacks->count ? stacks->all[number] : NULL;
}

size_t stacks_count(const struct stacks *stacks)
{
    return stacks->count;
}

size_t stacks_unwound(const struct stacks *stacks)
{
    return stacks->unwound;
}

/* ---- Each once ---------------------------------------------------------- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15) ^ hash >> 29;
}

static uint64_t hash_of(const struct stack *stack)
{
    uint64_t hash = stack->depth;
    for (uint32_t i = 0; i < stack->depth; i++)
        hash = mix(hash, stack->pc[i]);
    return hash >> 20;
}

static bool are_equal(const struct stack *a, const struct stack *b)
{
    return a->depth == b->depth && a->is_cut == b->is_cut
           && a->is_parked == b->is_parked
           && memcmp(a->pc, b->pc, a->depth * sizeof a->pc[0]) == 0;
}

static uint32_t *slot_of(const struct stacks *stacks,
                         const struct stack *stack)
{
    size_t i = hash_of(stack) & (stacks->size - 1);
    while (stacks->slots[i]
           && !are_equal(stacks->all[stacks->slots[i] - 1], stack))
        i = (i + 1) & (stacks->size - 1);
    return &stacks->slots[i];
}

static bool make_room(struct stacks *stacks)
{
    if (stacks->count == stacks->capacity) {
        size_t capacity = stacks->capacity ? 2 * stacks->capacity : 64;
        struct stack **all = realloc(stacks->all, capacity * sizeof *all);
        if (!all)
            return false;
        stacks->all = all;
        stacks->capacity = capacity;
    }
    if (stacks->count < stacks->size / 2)
        return true;
    uint32_t *slots = calloc(2 * stacks->size, sizeof *slots);
    if (!slots)
        return false;
    free(stacks->slots);
    stacks->slots = slots;
    stacks->size *= 2;
    for (size_t i = 0; i < stacks->count; i++)
        *slot_of(stacks, stacks->all[i]) = (uint32_t)i + 1;
    return true;
}

/* Takes the stack over. */
static uint32_t keep(struct stacks *stacks, struct stack *stack)
{
    if (!stack || !make_room(stacks)) {
        free(stack);
        return STACK_NONE;
    }
    uint32_t *slot = slot_of(stacks, stack);
    if (*slot) {
        free(stack);
        return *slot - 1;
    }
    stacks->all[stacks->count++] = stack;
    *slot = (uint32_t)stacks->count;
    return *slot - 1;
}

uint32_t stacks_of_chain(struct stacks *stacks,
                         const struct registers *registers, size_t parts,
                         const struct unwind_range *ranges,
                         size_t range_count)
{
    struct unwind_frame frames[UNWIND_FRAMES];
    struct stack *stack =
        calloc(1, sizeof *stack + parts * UNWIND_FRAMES * sizeof(uint64_t));
    for (size_t part = 0; stack && part < parts; part++) {
        bool is_cut;
        size_t depth = unwind(stacks->unwinder, &registers[part], ranges,
                              range_count, frames, &is_cut);
        for (size_t i = 0; i < depth; i++)
            stack->pc[stack->depth++] = frames[i].pc;
        stack->is_cut = stack->is_cut || is_cut;
    }
    if (stack && parts > 0)
        stack->is_parked = registers[0].is_call;
    stacks->unwound++;
    return keep(stacks, stack);
}

/* ---- By their shape ----------------------------------------------------- */

static struct shape **bucket_of(struct stacks *stacks, uint64_t pc,
                                uint64_t size_bytes)
{
    const size_t count = sizeof stacks->shapes / sizeof *stacks->shapes;
    return &stacks->shapes[(mix(pc, size_bytes) >> 20) % count];
}

static bool fits(const struct shape *shape, uint64_t pc,
                 const struct unwind_range *range)
{
    uint64_t word;
    if (shape->pc != pc || shape->size_bytes != range->size_bytes)
        return false;
    for (uint32_t i = 0; i < shape->count; i++) {
        memcpy(&word, range->bytes + shape->return_to[i].offset, sizeof word);
        if (word != shape->return_to[i].word)
            return false;
    }
    return true;
}

/* Where the return address lies: the last place below that stack pointer, and
 * not below `least`, that has it. */
static bool find_return(const struct unwind_range *range, uint64_t wanted,
                        uint64_t sp, uint64_t least, uint64_t *offset)
{
    uint64_t word, at = sp - range->start;
    if (sp < range->start || at > range->size_bytes)
        return false;
    while (at >= least + sizeof word) {
        at -= sizeof word;
        memcpy(&word, range->bytes + at, sizeof word);
        if (word == wanted) {
            *offset = at;
            return true;
        }
    }
    return false;
}

/* Remembers what the frames look like; if a return address is not found
 * below the stack pointer of its frame, there is no shape. */
static void remember(struct stacks *stacks, uint64_t pc,
                     const struct unwind_range *range,
                     const struct unwind_frame *frames, size_t depth,
                     uint32_t stack)
{
    struct shape *shape =
        calloc(1, sizeof *shape + depth * sizeof shape->return_to[0]);
    uint64_t offset, least = 0;
    for (size_t i = 1; shape && i < depth; i++) {
        /* pc is one less: see unwind.h. */
        uint64_t wanted = frames[i].pc + 1;
        if (!find_return(range, wanted, frames[i].sp, least, &offset)) {
            free(shape);
            return;
        }
        shape->return_to[shape->count].word = wanted;
        shape->return_to[shape->count++].offset = (uint32_t)offset;
        least = offset + sizeof(uint64_t);
    }
    if (!shape)
        return;
    struct shape **bucket = bucket_of(stacks, pc, range->size_bytes);
    shape->pc = pc;
    shape->size_bytes = range->size_bytes;
    shape->stack = stack;
    shape->next = *bucket;
    *bucket = shape;
}

static uint32_t keep_frames(struct stacks *stacks,
                            const struct unwind_frame *frames, size_t depth,
                            bool is_cut)
{
    struct stack *stack =
        calloc(1, sizeof *stack + depth * sizeof stack->pc[0]);
    for (size_t i = 0; stack && i < depth; i++)
        stack->pc[i] = frames[i].pc;
    if (stack) {
        stack->depth = (uint32_t)depth;
        stack->is_cut = is_cut;
        stack->is_parked = true;
    }
    return keep(stacks, stack);
}

uint32_t stacks_of_parked(struct stacks *stacks,
                          const struct registers *registers,
                          const struct unwind_range *range)
{
    struct unwind_frame frames[UNWIND_FRAMES];
    bool is_cut;
    struct shape *shape =
        *bucket_of(stacks, registers->pc, range->size_bytes);
    for (; shape; shape = shape->next)
        if (fits(shape, registers->pc, range))
            return shape->stack;
    size_t depth = unwind(stacks->unwinder, registers, range, 1, frames,
                          &is_cut);
    stacks->unwound++;
    uint32_t number = keep_frames(stacks, frames, depth, is_cut);
    if (number != STACK_NONE)
        remember(stacks, registers->pc, range, frames, depth, number);
    return number;
}
