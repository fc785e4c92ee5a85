/*
 * verify.c - what eager and guard mode do to find stray pointers.
 *
 * While a thread with a common home is parked, its locals are not at their
 * addresses.  A program that reaches for them anyway reads and writes
 * another thread's frames, and nobody notices for long.  Eager mode makes
 * such a read return poison and such a write break a checksum or the
 * poison; guard mode makes both fault at once.
 */
#include "continuation/verify.h"

#include <string.h>

#include "continuation/chunk.h"
#include "platform/memory.h"
#include "platform/panic.h"
#include "platform/sanitizer.h"

#define POISON 0xdb

/* Like FNV-1a, but over words, which is quick enough; each step takes the high
 * bits down, so that a change of any bit gets everywhere.  Stack pointers, and
 * so all sizes, are multiples of a word. */
static uint64_t checksum_add(uint64_t sum, const void *bytes, size_t size)
{
    const char *p = bytes;
    uint64_t word;
    invariant(size % sizeof word == 0);
    for (size_t i = 0; i < size; i += sizeof word) {
        memcpy(&word, p + i, sizeof word);
        sum = (sum ^ word) * UINT64_C(0x100000001b3);
        sum ^= sum >> 32;
    }
    return sum;
}

static uint32_t checksum(const struct continuation *c)
{
    size_t inside = c->kind->inline_bytes;
    size_t size = c->frozen_bytes;
    size_t first = size < inside ? size : inside;
    uint64_t sum = checksum_add(UINT64_C(0xcbf29ce484222325),
                                (const char *)c + c->kind->inline_offset,
                                first);
    sum = checksum_add(sum, c->chunk->bytes, size - first);
    /* Frames have holes that nobody has written to. */
    sanitizer_defined(&sum, sizeof sum);
    return (uint32_t)sum;
}

void verify_frozen(struct continuation *c)
{
    c->chunk->checksum = checksum(c);
    memset(c->sp, POISON, c->frozen_bytes);
    c->home->poisoned = c;
}

/* If nobody else has used the home since, the poison must be whole. */
static void check_poison(const struct continuation *c)
{
    const unsigned char *p = c->sp;
    if (c->home->poisoned != c)
        return;
    for (size_t i = 0; i < c->frozen_bytes; i++)
        if (p[i] != POISON)
            panic("somebody wrote to %p, a frame of a parked thread: its "
                  "stack is copied away while it waits (doc/rules.md)",
                  (const void *)(p + i));
}

void verify_before_thaw(struct continuation *c)
{
    if (c->chunk->checksum != checksum(c))
        panic("the saved frames of a parked thread have been changed: "
              "a write went through a stray pointer into the heap");
    check_poison(c);
}

static char *page_of(const void *address)
{
    return (char *)((uintptr_t)address & ~(uintptr_t)(memory_page_bytes() - 1));
}

static size_t hidden_bytes(const struct continuation *c)
{
    return (size_t)(page_of(c->home->top - 1) + memory_page_bytes()
                    - page_of(c->sp));
}

void verify_hide(struct continuation *c)
{
    /* Failing to hide loses a check, nothing else. */
    (void)memory_hide(page_of(c->sp), hidden_bytes(c));
}

void verify_show(struct continuation *c)
{
    if (memory_show(page_of(c->sp), hidden_bytes(c)) != 0)
        panic("cannot make a stack accessible again: out of memory");
}
