/*
 * waitlist.c - a queue of threads, linked through the threads themselves.
 *
 *   first                                     last
 *     |                                         |
 *     v         wait_next          wait_next    v
 *     A ------------------> B ---------------> C ----> 0
 *     0 <------------------ A <--------------- B
 *               wait_prev          wait_prev
 *
 * Not here: locks, and waiting itself (thread_wait, thread_wake).
 *
 * Invariant: a thread is on a list exactly if its wait_on is that list; so
 * removing one that a waker has just taken is recognised, not searched for.
 * The links of a thread that is on no list mean nothing, but for those of a
 * chain.
 */
#include "sync/waitlist.h"

#include "platform/panic.h"

/* Relaxed: see waitlist_wait_on. */
static void set_wait_on(struct thread *t, void *wait_on)
{
    atomic_store_explicit(&t->wait_on, wait_on, memory_order_relaxed);
}

static void append(struct waitlist *list, struct thread *t, void *wait_on)
{
    uint32_t number = thread_number(t);

    invariant(waitlist_wait_on(t) == NULL);
    set_wait_on(t, wait_on);
    t->wait_next = 0;
    t->wait_prev = list->last;
    if (list->last == 0)
        list->first = number;
    else
        thread_at(list->last)->wait_next = number;
    list->last = number & ((1u << THREAD_NUMBER_BITS) - 1);
}

void waitlist_append(struct waitlist *list, struct thread *t)
{
    append(list, t, list);
}

void waitlist_append_marked(struct waitlist *list, struct thread *t)
{
    append(list, t, (char *)list + 1);
}

static void unlink_thread(struct waitlist *list, struct thread *t)
{
    invariant(waitlist_has(list, t));
    if (t->wait_prev == 0)
        list->first = t->wait_next;
    else
        thread_at(t->wait_prev)->wait_next = t->wait_next;
    if (t->wait_next == 0)
        list->last = t->wait_prev & ((1u << THREAD_NUMBER_BITS) - 1);
    else
        thread_at(t->wait_next)->wait_prev = t->wait_prev;
    set_wait_on(t, NULL);
}

struct thread *waitlist_take_first(struct waitlist *list)
{
    struct thread *first;

    if (waitlist_is_empty(list))
        return NULL;
    first = thread_at(list->first);
    unlink_thread(list, first);
    first->wait_next = 0;
    return first;
}

struct thread *waitlist_take_all(struct waitlist *list)
{
    struct thread *first = waitlist_first(list);
    for (struct thread *t = first; t; t = waitlist_chain_next(t))
        set_wait_on(t, NULL);
    list->first = list->last = 0;
    return first;
}

struct thread *waitlist_take_unmarked(struct waitlist *list,
                                      uint32_t *count)
{
    struct thread *first = NULL, *last = NULL, *t;
    *count = 0;
    while ((t = waitlist_first(list)) != NULL && !waitlist_is_marked(t)) {
        waitlist_take_first(list);
        if (last)
            last->wait_next = thread_number(t);
        else
            first = t;
        last = t;
        ++*count;
    }
    return first;
}

void waitlist_wake_chain(struct thread *first)
{
    for (struct thread *t = first, *next; t; t = next) {
        next = waitlist_chain_next(t);
        thread_wake(t);
    }
}

bool waitlist_remove(struct waitlist *list, struct thread *t)
{
    if (!waitlist_has(list, t))
        return false;
    unlink_thread(list, t);
    return true;
}
