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
 * The links of a thread that is on no list mean nothing.
 */
#include "waitlist.h"

#include "platform/panic.h"

void waitlist_append(struct waitlist *list, struct thread *t)
{
    uint32_t number = thread_number(t);

    invariant(t->wait_on == NULL);
    t->wait_on = list;
    t->wait_next = 0;
    t->wait_prev = list->last;
    if (list->last == 0)
        list->first = number;
    else
        thread_at(list->last)->wait_next = number;
    list->last = number;
}

static void unlink_thread(struct waitlist *list, struct thread *t)
{
    invariant(t->wait_on == list);
    if (t->wait_prev == 0)
        list->first = t->wait_next;
    else
        thread_at(t->wait_prev)->wait_next = t->wait_next;
    if (t->wait_next == 0)
        list->last = t->wait_prev;
    else
        thread_at(t->wait_next)->wait_prev = t->wait_prev;
    t->wait_on = NULL;
}

struct thread *waitlist_take_first(struct waitlist *list)
{
    struct thread *first;

    if (waitlist_is_empty(list))
        return NULL;
    first = thread_at(list->first);
    unlink_thread(list, first);
    return first;
}

bool waitlist_remove(struct waitlist *list, struct thread *t)
{
    if (t->wait_on != list)
        return false;
    unlink_thread(list, t);
    return true;
}
