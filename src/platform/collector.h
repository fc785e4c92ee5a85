/*
 * collector.h - what a collector of the program's memory wants of ours: that
 * memory which may hold its pointers is scanned, that it knows our OS
 * threads, and that it need not stop those that sleep.
 *
 * Without one each of these places costs a load and a branch, and none of
 * them is on the way of a switch.
 */
#ifndef PLATFORM_COLLECTOR_H
#define PLATFORM_COLLECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "platform/atomics.h"

struct collector {
    /* A block that is scanned unless it is plain, and never collected by
     * itself; NULL without memory.  NULL here: blocks are not scanned, and
     * `free` is NULL too. */
    void *(*alloc)(size_t alignment_bytes, size_t size_bytes, bool is_plain);
    /* Frees one of those; false: it is none. */
    bool (*free)(void *block);
    /* The calling OS thread may come upon the program's memory from now on;
     * no more.  Calls nest. */
    void (*enter)(void);
    void (*leave)(void);
    /* A virtual thread has been made, and not been started yet, for who will
     * return to `caller`.  NULL: it does not care. */
    void (*created)(uint32_t number, const void *caller);
    /* Calls fn(arg), which sleeps, and meanwhile neither reads nor writes
     * what is collected, nor runs continuations. */
    void (*sleep)(void (*fn)(void *arg), void *arg);
};

/* NULL: there is none.  Set once, while there is one OS thread that calls
 * us; so plain reads will do. */
extern __attribute__((visibility("hidden"))) const struct collector *collector;

static inline void collector_enter(void)
{
    if (unlikely(collector != NULL))
        collector->enter();
}

static inline void collector_leave(void)
{
    if (unlikely(collector != NULL))
        collector->leave();
}

static inline void collector_created(uint32_t number, const void *caller)
{
    if (unlikely(collector != NULL) && collector->created)
        collector->created(number, caller);
}

static inline void collector_sleep(void (*fn)(void *arg), void *arg)
{
    if (unlikely(collector != NULL))
        collector->sleep(fn, arg);
    else
        fn(arg);
}

#endif
