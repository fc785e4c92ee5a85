/*
 * safepoint.c - time slices, for threads that come to safepoints.
 *
 * The monitor asks the carrier whose thread has run for too long while others
 * wait: it sets a flag in the carrier's station, together with the number of
 * the task that the carrier is at, and counts the request in a word that all
 * threads look at.  The next safepoint on that carrier takes the flag back and
 * yields.  If the thread leaves the carrier before it comes to one, the request
 * is for nobody: then the number differs, and whoever comes to a safepoint
 * takes it back.
 *
 * Rejected: a word for each carrier.  Its address would be that of a
 * thread-local, which compilers keep across a park; and the one word is in
 * every processor's cache while it does not change.
 */
#include "embed/safepoint.h"

#include "carrier/pool.h"
#include "embed/embedder.h"
#include "embed/world.h"
#include "local.h"
#include "scheduler.h"

/* Plain in the header, which C++ reads too; atomic all the same. */
uint32_t vthread_safepoint_requests;

/* Relaxed: the count tells to look, and what is looked at is atomic itself. */
static void count_requests(int change)
{
    __atomic_fetch_add(&vthread_safepoint_requests, (uint32_t)change,
                       __ATOMIC_RELAXED);
}

/* False: there was none, or somebody else has just taken it. */
static bool take_back(struct station *station)
{
    /* Relaxed: whoever takes it yields, or does nothing. */
    if (!atomic_exchange_explicit(&station->slice_is_over, false,
                                  memory_order_relaxed))
        return false;
    count_requests(-1);
    return true;
}

uint64_t safepoint_stuck_ns(uint64_t hog_ns)
{
    uint64_t slice_ns = embedder ? embedder->time_slice_ns : 0;
    if (slice_ns == 0)
        return hog_ns;
    return hog_ns == 0 || slice_ns < hog_ns ? slice_ns : hog_ns;
}

void safepoint_look(struct carrier *carrier, const struct pool_stuck *stuck)
{
    uint64_t slice_ns = embedder ? embedder->time_slice_ns : 0;
    struct station *station = scheduler_station(
        pool_owner(carrier_pool(carrier)), carrier_number(carrier));
    if (slice_ns == 0 || stuck->starved_ns < slice_ns || !station)
        return;
    /* Relaxed: written by the monitor only; who reads an old one takes a
     * request back, and the monitor's next look makes another. */
    atomic_store_explicit(&station->slice_tick, stuck->tick,
                          memory_order_relaxed);
    if (!atomic_exchange_explicit(&station->slice_is_over, true,
                                  memory_order_relaxed))
        count_requests(1);
}

/* Requests whose threads have left their carriers. */
static void take_back_stale(struct vthread_scheduler *s)
{
    unsigned count = pool_carrier_count(s->pool);
    for (unsigned i = 0; i < count; i++) {
        struct station *station = scheduler_station(s, i);
        if (station
            && atomic_load_explicit(&station->slice_is_over,
                                    memory_order_relaxed)
            && atomic_load_explicit(&station->slice_tick,
                                    memory_order_relaxed)
                   != carrier_tick(pool_carrier(s->pool, i)))
            take_back(station);
    }
}

void vthread_safepoint_reached(void)
{
    if (unlikely(world_is_stopped()))
        world_wait();
    struct local *here = local_self();
    if (!here->station)
        return;
    take_back_stale(here->scheduler);
    if (take_back(here->station))
        vthread_yield();
}
