/*
 * escape.c - pointers into a stack that are handed to others.
 *
 * While a thread with a common home is parked its locals are not at their
 * addresses, so a pointer to one is good for nothing.  Who hands one out
 * asks for an own home by that:
 *
 *   its home is its own      right as it is
 *   nobody shares it yet     the home becomes its own
 *   others share it          too late: EFAULT, with words that say the cure
 *
 * In all three cases the entry function is remembered, so that threads
 * started with it later have own homes from the beginning.
 *
 * The table of entry functions only grows, is searched without a lock, and
 * when it is full forgets nothing: it takes no more.
 */
#include "escape.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>

#include "local.h"
#include "platform/panic.h"

#define ENTRIES 1024 /* a power of two */

static _Atomic(uintptr_t) entries[ENTRIES];

static unsigned slot_of(uintptr_t fn)
{
    return (unsigned)((fn * UINT64_C(0x9e3779b97f4a7c15)) >> 54) % ENTRIES;
}

bool escape_is_remembered(void *(*fn)(void *))
{
    uintptr_t key = (uintptr_t)fn;
    /* Relaxed: a set of numbers that publish nothing but themselves. */
    for (unsigned i = slot_of(key), n = 0; n < ENTRIES; n++) {
        uintptr_t entry = atomic_load_explicit(&entries[(i + n) % ENTRIES],
                                               memory_order_relaxed);
        if (entry == key)
            return true;
        if (entry == 0)
            break;
    }
    return false;
}

static void remember(void *(*fn)(void *))
{
    uintptr_t key = (uintptr_t)fn;
    for (unsigned i = slot_of(key), n = 0; n < ENTRIES; n++) {
        uintptr_t entry = 0;
        if (atomic_compare_exchange_strong_explicit(
                &entries[(i + n) % ENTRIES], &entry, key,
                memory_order_relaxed, memory_order_relaxed)
            || entry == key)
            return;
    }
}

static void tell(struct thread *self, const void *address,
                 const char *function, const char *outcome)
{
    char name[80];
    thread_describe(self, name, sizeof name);
    report("%s: %s passes %p, an address on its own stack: %s", function,
           name, address, outcome);
}

static int check_own_stack(struct thread *self, const void *address,
                           const char *function)
{
    struct continuation *c = &self->continuation;
    remember(self->fn);
    if (continuation_freeze_mode != FREEZE_LAZY
        && !(c->flags & CONTINUATION_WANTS_OWN))
        tell(self, address, function,
             "give the thread VTHREAD_STACK_OWN, or pass a value");
    if (continuation_own_home(c))
        return 0;
    tell(self, address, function,
         "that stack is shared with other threads and copied away while "
         "this one waits. Pass a value, use the heap, or create the thread "
         "with VTHREAD_STACK_OWN");
    return EFAULT;
}

int escape_check(const void *address, const char *function)
{
    struct thread *self = local_self()->thread;
    if (self && continuation_contains(&self->continuation, address))
        return check_own_stack(self, address, function);
    if (!run_stack_is_common_address(address))
        return 0;
    struct run_stack *stack = run_stack_of_address(address);
    return stack && run_stack_is_converted(stack) ? 0 : EFAULT;
}
