/*
 * collect.h - objects of the collected heap whose lives tests follow.
 *
 * An object is hidden from the collector (its address is kept inverted) but
 * for the one place that a test is about.  It knows whether it is intact, and
 * its finalizer counts.
 */
#ifndef TESTS_COLLECT_H
#define TESTS_COLLECT_H

#define GC_THREADS 1
#define GC_NO_THREAD_REDIRECTS 1
#include <gc/gc.h>

#include "tests/threads.h"

#define INTACT UINT64_C(0x1f2e3d4c5b6a7988)

struct object {
    uint64_t begin;
    uint64_t number;
    struct object *next;
    uint64_t end;
};

static atomic_int objects_died;

static inline void object_dies(void *object, void *unused)
{
    (void)unused;
    memset(object, 0xdd, sizeof(struct object));
    atomic_fetch_add(&objects_died, 1);
}

/* Its address inverted, for the rest of this frame is gone then. */
static __attribute__((noinline, unused)) uintptr_t
object_hidden(uint64_t number)
{
    struct object *o = GC_MALLOC(sizeof *o);
    ck_assert_ptr_nonnull(o);
    *o = (struct object){.begin = INTACT, .number = number, .end = ~INTACT};
    GC_REGISTER_FINALIZER_NO_ORDER(o, object_dies, NULL, NULL, NULL);
    return ~(uintptr_t)o;
}

static inline struct object *object_at(uintptr_t hidden)
{
    return (struct object *)~hidden;
}

static inline bool object_is_intact(const struct object *o, uint64_t number)
{
    return o->begin == INTACT && o->end == ~INTACT && o->number == number;
}

/* What calls have left on this stack is no root any more. */
static __attribute__((noinline)) void forget(void)
{
    char room[32768];
    memset(room, 0, sizeof room);
    __asm__ volatile("" ::"r"(room) : "memory");
}

static inline void collect(void)
{
    forget();
    for (int i = 0; i < 3; i++)
        GC_gcollect();
}

/* Nothing refers to them any more; a few may be spared on account of a word
 * somewhere that looks like an address. */
static inline void until_died(int number)
{
    while (atomic_load(&objects_died) < number) {
        collect();
        vthread_sleep(VTHREAD_MS);
    }
}

static inline void enable(void)
{
    ck_assert_int_eq(vthread_gc_enable(), 0);
}

#endif
