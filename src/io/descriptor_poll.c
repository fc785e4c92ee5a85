/*
 * descriptor_poll.c - looking for events: a batch at a time, handed to the
 * records they are for (descriptor.c), and to those within the library that
 * read descriptors of their own.
 */
#include "io/descriptor.h"

#include <errno.h>

#include "platform/collector.h"
#include "platform/poller.h"
#include "platform/sanitizer.h"
#include "scheduler.h"

enum { BATCH = 128 };

/* No descriptor has this number. */
#define LISTENED_COOKIE ((uint64_t)UINT32_MAX)

enum { LISTENERS_MAX = 4 };
static void (*_Atomic listeners[LISTENERS_MAX])(void);

/* Relaxed: whoever registered a descriptor sees it, and sees to polling. */
static _Atomic bool any;

bool descriptor_any(void)
{
    return atomic_load_explicit(&any, memory_order_relaxed);
}

void descriptor_note_any(void)
{
    atomic_store_explicit(&any, true, memory_order_relaxed);
}

/* ---- Polling ------------------------------------------------------------ */

/* Events come for descriptors that have not been looked at for long: their
 * records come into the cache together, and then the threads that wait.
 * What is read without the lock is a hint only. */
NO_SANITIZE_THREAD static void prefetch(const struct poller_event *events,
                                        int count)
{
    for (int i = 0; i < count; i++)
        __builtin_prefetch(descriptor_find((int)(uint32_t)events[i].cookie),
                           1);
    for (int i = 0; i < count; i++) {
        struct descriptor *d
            = descriptor_find((int)(uint32_t)events[i].cookie);
        unsigned direction = events[i].ready & POLLER_READABLE
                                 ? DIRECTION_READ
                                 : DIRECTION_WRITE;
        const char *t = (const char *)thread_at(d->waiting[direction].first);
        __builtin_prefetch(t, 1);
        __builtin_prefetch(t + CACHE_LINE, 1);
    }
}

/* Takes those of descriptor_listen out; whether there were any. */
static bool take_heard(struct poller_event *events, int *count)
{
    int left = 0;
    for (int i = 0; i < *count; i++)
        if (events[i].cookie != LISTENED_COOKIE)
            events[left++] = events[i];
    bool heard_any = left < *count;
    *count = left;
    return heard_any;
}

struct idle_wait {
    struct poller_event *events;
    uint64_t deadline_ns;
    int found;
};

static void wait_now(void *argument)
{
    struct idle_wait *wait = argument;
    wait->found = poller_wait(wait->events, BATCH, wait->deadline_ns);
}

/* A collector need not disturb the carrier meanwhile. */
static int wait_idle(struct poller_event *events, uint64_t deadline_ns)
{
    struct idle_wait wait = {.events = events, .deadline_ns = deadline_ns};
    collector_sleep(wait_now, &wait);
    return wait.found;
}

/* Relaxed: the registration of what is heard came after it. */
static void (*listener_at(int i))(void)
{
    return atomic_load_explicit(&listeners[i], memory_order_relaxed);
}

int descriptor_poll(uint64_t deadline_ns)
{
    struct poller_event events[BATCH];
    int found = deadline_ns > 0 ? wait_idle(events, deadline_ns)
                                : poller_wait(events, BATCH, 0);
    int count = found;
    if (deadline_ns > 0)
        scheduler_poll_returned();
    bool heard_any = unlikely(listener_at(0) != NULL)
                     && take_heard(events, &count);
    prefetch(events, count);
    for (int i = 0; i < count; i++)
        descriptor_deliver(&events[i]);
    for (int i = 0; unlikely(heard_any) && i < LISTENERS_MAX; i++)
        if (listener_at(i))
            listener_at(i)();
    return found;
}

/* ---- Listeners ---------------------------------------------------------- */

static bool add_listener(void (*function)(void))
{
    for (int i = 0; i < LISTENERS_MAX; i++) {
        void (*before)(void) = NULL;
        if (atomic_compare_exchange_strong_explicit(
                &listeners[i], &before, function, memory_order_relaxed,
                memory_order_relaxed)
            || before == function)
            return true;
    }
    return false;
}

int descriptor_listen(int fd, void (*function)(void))
{
    int err = !add_listener(function) ? ENOSPC
              : poller_is_open()      ? 0
                                      : poller_open();
    if (err == 0)
        err = poller_add(fd, LISTENED_COOKIE);
    if (err == 0)
        descriptor_note_any();
    return err;
}
