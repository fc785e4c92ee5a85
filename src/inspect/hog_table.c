/*
 * hog_table.c - the last threads that kept what others wait for.
 *
 * Writers are the monitors of the pools.  Each takes a number, and with it a
 * place; an odd number there says that it is being written.  Who reads it from
 * outside looks at the number before and after.
 *
 * Not here: who is one (hog.c).
 */
#include "inspect/hog_table.h"

#include <stddef.h>
#include <string.h>

#include "platform/atomics.h"

enum { AFTER_NUMBER = offsetof(struct hog_record, inverted_handle) };

struct hog_record hog_table[HOG_RECORDS];
static _Atomic uint64_t last; /* number given */

static bool take(struct hog_record *place, uint64_t number)
{
    uint64_t before =
        atomic_load_explicit(&place->number, memory_order_relaxed);
    /* Acquire: after all that the last writer wrote. */
    return !(before & 1) && before < 2 * number
           && atomic_compare_exchange_strong_explicit(
               &place->number, &before, 2 * number + 1, memory_order_acquire,
               memory_order_relaxed);
}

void hog_table_put(const struct hog_record *record)
{
    /* Relaxed: a number, no more. */
    uint64_t number =
        atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
    struct hog_record *place = &hog_table[number % HOG_RECORDS];
    if (!take(place, number))
        return;
    /* Release: the odd number comes before what follows. */
    atomic_thread_fence(memory_order_release);
    memcpy((char *)place + AFTER_NUMBER, (const char *)record + AFTER_NUMBER,
           sizeof *record - AFTER_NUMBER);
    /* Release: it is complete; pairs with take, and with readers from
     * outside. */
    atomic_store_explicit(&place->number, 2 * number, memory_order_release);
}
