/*
 * leak_table.c - see leak_table.h.
 *
 * Who created a thread is kept beside the objects, which have no room: a word
 * for each number, in memory that is committed as numbers grow.
 */
#include "embed/leak_table.h"

#include <errno.h>
#include <stdatomic.h>

#include "platform/futex.h"
#include "platform/memory.h"
#include "thread.h"

#define CREATORS_MAX ((size_t)1 << THREAD_NUMBER_BITS)
#define STEP ((size_t)1 << 16)

struct leak_table leak_table;

/* Mapped, not allocated: handles in collected memory would be found by the
 * next look. */
static size_t records_bytes;

static const void *_Atomic *creators; /* I */
static _Atomic uint32_t known;        /* A, grows under the lock */
static struct os_lock lock;

int leak_table_begin(size_t count)
{
    size_t size_bytes = (count + 1) * sizeof(struct leak_record);
    struct leak_record *records = memory_reserve(size_bytes);
    if (!records)
        return ENOMEM;
    if (memory_commit(records, size_bytes) != 0) {
        memory_release(records, size_bytes);
        return ENOMEM;
    }
    leak_table.looks++;
    atomic_signal_fence(memory_order_seq_cst); /* for who stops the process */
    if (leak_table.records)
        memory_release(leak_table.records, records_bytes);
    leak_table.count = 0;
    leak_table.records = records;
    records_bytes = size_bytes;
    return 0;
}

void leak_table_end(void)
{
    atomic_signal_fence(memory_order_seq_cst);
    leak_table.looks++;
}

int leak_table_open(void)
{
    if (!creators)
        creators = memory_reserve(CREATORS_MAX * sizeof *creators);
    return creators ? 0 : ENOMEM;
}

/* Without memory it stays unknown. */
static void grow(uint32_t number)
{
    os_lock_acquire(&lock);
    uint32_t size = atomic_load_explicit(&known, memory_order_relaxed);
    while (size <= number
           && memory_commit((void *)(creators + size), STEP * sizeof *creators)
                  == 0)
        size += STEP;
    /* Release: what is below is committed.  Pairs with is_known. */
    atomic_store_explicit(&known, size, memory_order_release);
    os_lock_release(&lock);
}

static bool is_known(uint32_t number)
{
    return number < atomic_load_explicit(&known, memory_order_acquire);
}

void leak_note_creator(uint32_t number, const void *caller)
{
    if (unlikely(!is_known(number)))
        grow(number);
    /* Relaxed: the thread's own publication is behind it. */
    if (likely(is_known(number)))
        atomic_store_explicit(&creators[number], caller, memory_order_relaxed);
}

const void *leak_creator(uint32_t number)
{
    return is_known(number)
               ? atomic_load_explicit(&creators[number], memory_order_relaxed)
               : NULL;
}
