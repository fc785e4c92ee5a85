/*
 * multiwait.c - one thread that waits for several things at once.
 *
 * Here: the nodes, and who ends the wait.  Not here: locks, what an event is
 * (select.c, future.c).
 *
 * The word of a wait decides, by compare-and-swap, which one event ends it:
 *
 *   winner << 32 | left
 *
 *   left     events that are still needed, while winner is 0
 *   winner   1 + the position of the node whose event has ended it, or GIVEN_UP
 *
 *   0 | n    -> 0 | n-1        an event, n > 1        multiwait_claim
 *   0 | n    -> i | 0          the last, or decisive  multiwait_claim
 *   0 | n    -> GIVEN_UP | 0   time-out, interrupt    multiwait_wait
 *
 * So whoever makes winner non-zero is one party, and if it is a waker it
 * owes one thread_wake.
 *
 * Why a waker may touch nodes of a wait that another ends.  It has them from
 * a list, under the lock of that list; the thread frees the block only after
 * it has taken each lock once to leave the list.  A node that was not
 * claimed is not touched after the lock is released; one that was belongs to
 * the waker until its thread_wake, for the thread waits for that.
 */
#include "sync/multiwait.h"

#include <string.h>

#include "platform/memory.h"
#include "platform/panic.h"

#define GIVEN_UP UINT32_MAX

struct multiwait *multiwait_create(struct thread *self, size_t count,
                                   size_t extra_bytes, uint32_t enough)
{
    size_t size_bytes;
    if (count >= GIVEN_UP
        || __builtin_add_overflow(sizeof(struct multiwait)
                                      + count * sizeof(struct multiwait_node),
                                  extra_bytes, &size_bytes))
        return NULL;
    struct multiwait *m = memory_alloc(size_bytes);
    if (!m)
        return NULL;
    memset(m, 0, sizeof *m + count * sizeof m->nodes[0]);
    m->thread = self;
    m->count = (uint32_t)count;
    /* Relaxed: published by the locks under which nodes are entered. */
    atomic_store_explicit(&m->word, enough, memory_order_relaxed);
    for (uint32_t i = 0; i < count; i++) {
        m->nodes[i].wait = m;
        m->nodes[i].index = i;
    }
    return m;
}

void multiwait_free(struct multiwait *m)
{
    memory_free(m);
}

/* ---- Lists, under the lock ---------------------------------------------- */

void multiwait_enter(struct multiwait_list *list, struct multiwait_node *node)
{
    invariant(node->list == NULL);
    node->list = list;
    node->next = NULL;
    node->prev = list->last;
    if (list->last)
        list->last->next = node;
    else
        list->first = node;
    list->last = node;
}

void multiwait_leave(struct multiwait_node *node)
{
    struct multiwait_list *list = node->list;
    if (!list)
        return;
    if (node->prev)
        node->prev->next = node->next;
    else
        list->first = node->next;
    if (node->next)
        node->next->prev = node->prev;
    else
        list->last = node->prev;
    node->list = NULL;
}

struct multiwait_node *multiwait_take_first(struct multiwait_list *list)
{
    struct multiwait_node *first = list->first;
    if (first)
        multiwait_leave(first);
    return first;
}

/* ---- Who ends the wait -------------------------------------------------- */

static bool is_over(uint64_t word)
{
    return word >> 32 != 0;
}

/* False: it is over already. */
static bool end(struct multiwait *m, uint64_t *word, uint32_t winner)
{
    /* Acquire and release: who ends a wait of several events has seen what
     * the others did.  Pairs with itself; what the winner hands over is
     * published by its thread_wake. */
    while (!is_over(*word))
        if (atomic_compare_exchange_weak_explicit(
                &m->word, word, (uint64_t)winner << 32, memory_order_acq_rel,
                memory_order_relaxed))
            return true;
    return false;
}

/* An event among several.  True: it was the last that was needed, and the
 * wait is to be ended. */
static bool count_down(struct multiwait *m, uint64_t *word)
{
    while (!is_over(*word) && *word > 1)
        /* Release, for the one that ends it: see end. */
        if (atomic_compare_exchange_weak_explicit(
                &m->word, word, *word - 1, memory_order_acq_rel,
                memory_order_relaxed))
            return false;
    return !is_over(*word);
}

bool multiwait_claim(struct multiwait_node *node, bool decides)
{
    struct multiwait *m = node->wait;
    /* Relaxed: the compare-and-swap that follows orders it. */
    uint64_t word = atomic_load_explicit(&m->word, memory_order_relaxed);
    if (!decides && !count_down(m, &word))
        return false;
    return end(m, &word, (uint32_t)(node - m->nodes) + 1);
}

int multiwait_wait(struct multiwait *m, uint64_t deadline_ns)
{
    struct thread *self = m->thread;
    self->wait_on = m;
    int err = thread_wait_for(self, FOR_SEVERAL, deadline_ns, true);
    self->wait_on = NULL;
    if (err == 0)
        return 0;
    uint64_t word = atomic_load_explicit(&m->word, memory_order_relaxed);
    if (end(m, &word, GIVEN_UP))
        return err;
    thread_wait_out(self, err);
    return 0;
}

struct multiwait_node *multiwait_winner(struct multiwait *m)
{
    /* Relaxed: the wake-up has ordered it. */
    uint64_t word = atomic_load_explicit(&m->word, memory_order_relaxed);
    return &m->nodes[(word >> 32) - 1];
}
