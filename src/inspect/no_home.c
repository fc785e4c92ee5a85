/*
 * no_home.c - telling that threads have to wait for a stack to begin on.
 *
 * In guard mode, nearly always: otherwise a thread that needs one of its own
 * has it from its creation, or is not created, and the others share.  Such a
 * thread stays ready, and is tried again and again: others will give theirs
 * back.  Where they do not, because as many are parked as there can be stacks,
 * the program seems to hang with busy carriers.  So it is told, once, when it
 * has gone on for a second: on standard error without being asked, as other
 * faults are.
 *
 * first_ns and last_ns are of a time in which some could not begin: the next
 * failure is never long after the one before.  Carriers may write them at the
 * same time, and first_ns before last_ns; what comes of that is a line that is
 * told a little later.
 */
#include "inspect/no_home.h"

#include <stdatomic.h>
#include <stdint.h>

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
    char who[256];
    thread_describe_name(t, who, sizeof who);
    report("%s has to wait for a stack: for a second some threads could not "
           "begin, for there was no memory or no mapping for one "
           "(vm.max_map_count: in guard mode a parked stack takes two). They "
           "begin when others end (doc/rules.md)",
           who);
}

void no_home_note(const struct thread *t)
{
    uint64_t now_ns = clock_now_ns();
    /* Acquire: the first_ns that goes with it; pairs with the release. */
    uint64_t before_ns = atomic_load_explicit(&last_ns, memory_order_acquire);
    if (now_ns > before_ns + PAUSE_NS)
        atomic_store_explicit(&first_ns, now_ns, memory_order_relaxed);
    else if (now_ns > atomic_load_explicit(&first_ns, memory_order_relaxed)
                          + PATIENCE_NS
             && !atomic_exchange_explicit(&is_told, true,
                                          memory_order_relaxed))
        tell(t);
    atomic_store_explicit(&last_ns, now_ns, memory_order_release);
}

bool no_home_is_told(void)
{
    return atomic_load_explicit(&is_told, memory_order_relaxed);
}
