/*
 * no_home.c - telling that threads can have no stack to begin on.
 *
 * In guard mode, that is: otherwise a thread that needs one of its own has it
 * from its creation, or is not created, and the others share.  Such a thread
 * stays ready, and is tried again and again: others will give theirs back.
 * Where they do not, because as many are parked as there can be stacks, the
 * program seems to hang with busy carriers.  So it is told, once, when it has
 * gone on for a second: on standard error without being asked, as other faults
 * are.
 *
 * first_ns and last_ns are of the time in which nobody got one: the next
 * failure is never long after the one before.  Carriers may write them at the
 * same time; what comes of that is a line that is told a little later.
 */
#include "inspect/no_home.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "inspect/describe.h"
#include "platform/clock.h"
#include "platform/panic.h"
#include "thread.h"

#define PATIENCE_NS VTHREAD_SECOND

/* A carrier may wait for a processor. */
#define PAUSE_NS VTHREAD_SECOND

static _Atomic uint64_t first_ns, last_ns;
static atomic_bool is_told;

static void tell(const struct thread *t)
{
    char name[sizeof((struct thread_extra *)0)->name];
    describe_name_of(thread_handle(t), name, sizeof name);
    report("thread %llu%s%s%s cannot begin: for a second there has been no "
           "memory, or no mapping, for a stack (vm.max_map_count: before "
           "Linux 6.13 a stack takes two). It waits until others end. In "
           "guard mode each thread needs a stack (doc/rules.md)",
           (unsigned long long)thread_handle(t), *name ? " '" : "", name,
           *name ? "'" : "");
}

void no_home_note(const struct thread *t)
{
    uint64_t now_ns = clock_now_ns();
    uint64_t before_ns =
        atomic_exchange_explicit(&last_ns, now_ns, memory_order_relaxed);
    if (now_ns > before_ns + PAUSE_NS)
        atomic_store_explicit(&first_ns, now_ns, memory_order_relaxed);
    else if (now_ns > atomic_load_explicit(&first_ns, memory_order_relaxed)
                          + PATIENCE_NS
             && !atomic_exchange_explicit(&is_told, true,
                                          memory_order_relaxed))
        tell(t);
}

bool no_home_is_told(void)
{
    return atomic_load_explicit(&is_told, memory_order_relaxed);
}
