/*
 * station.c - what each carrier keeps for the threads it runs: timers and
 * counters; and what a pool asks of a scheduler.
 *
 * A station outlives the OS threads of its carrier (carrier/spare.c).  What
 * the engine counts it counts in thread-locals: who adds up reads them there,
 * under the scheduler's counts_lock, under which they move to the station
 * when the OS thread ends.
 */
#include "scheduler.h"

#include "carrier_local.h"
#include "embed/embedder.h"
#include "embed/safepoint.h"
#include "inspect/deadlock.h"
#include "inspect/pin_chain.h"
#include "inspect/trace.h"
#include "io/descriptor.h"
#include "local.h"
#include "platform/clock.h"
#include "platform/os_thread.h"
#include "platform/poller.h"
#include "platform/stack_sample.h"
#include "running.h"
#include "settings.h"
#include "thread.h"

#define EXPIRE_BATCH 256
#define OTHERS_SLACK_NS 200000

/* ---- Polling and time --------------------------------------------------- */

static void resubmit_all(struct task *task)
{
    while (task) {
        struct task *next = task->next;
        thread_resubmit((struct thread *)task);
        task = next;
    }
}

/* A wheel is best expired by its own carrier, which has the threads in its
 * cache.  One that is awake does that before OTHERS_SLACK_NS have passed;
 * others see to it if it is busy with a thread, or has come from sleep. */
static void expire(struct vthread_scheduler *s, struct station *own,
                   uint64_t slack_ns)
{
    uint64_t now_ns = 0;
    unsigned count = pool_carrier_count(s->pool);
    for (unsigned i = 0; i < count; i++) {
        struct station *station = scheduler_station(s, i);
        uint64_t next_ns =
            station ? wheel_next_ns(&station->wheel) : CLOCK_NEVER;
        if (next_ns == CLOCK_NEVER)
            continue;
        if (now_ns == 0)
            now_ns = clock_now_ns();
        if (next_ns <= now_ns - (station == own ? 0 : slack_ns))
            resubmit_all(wheel_expire(&station->wheel, now_ns, EXPIRE_BATCH));
    }
}

static void poll_events(struct carrier *carrier, uint64_t deadline_ns)
{
    if (deadline_ns > 0 || descriptor_any())
        descriptor_poll(deadline_ns);
    expire(pool_owner(carrier_pool(carrier)), local_self()->station,
           deadline_ns > 0 ? 0 : OTHERS_SLACK_NS);
}

static bool poll_for_all(void)
{
    return descriptor_any() && descriptor_poll(0) > 0;
}

void scheduler_poll_returned(void)
{
    struct carrier *carrier = local_self()->carrier;
    if (carrier)
        carrier_awake(carrier);
}

static void interrupt_poll(struct carrier *carrier)
{
    (void)carrier;
    poller_interrupt();
}

static uint64_t next_deadline(struct pool *pool)
{
    struct vthread_scheduler *s = pool_owner(pool);
    uint64_t earliest = CLOCK_NEVER;
    unsigned count = pool_carrier_count(pool);
    for (unsigned i = 0; i < count; i++) {
        /* A carrier that is just starting has none yet, and no timers. */
        struct station *station = scheduler_station(s, i);
        if (station && wheel_next_ns(&station->wheel) < earliest)
            earliest = wheel_next_ns(&station->wheel);
    }
    return earliest;
}

/* ---- OS threads come and go --------------------------------------------- */

/* Its wheel and its counters go on where the last OS thread left them.  What
 * is counted by the engine is counted in thread-locals. */
static void open_station(struct vthread_scheduler *s, struct station *station,
                         unsigned number)
{
    struct continuation_counts *counts = continuation_counts_self();
    os_lock_acquire(&s->counts_lock);
    /* Relaxed: only the carrier changes it. */
    if (atomic_load_explicit(&station->counts, memory_order_relaxed))
        *counts = station->past;
    else
        wheel_init(&station->wheel, (uint8_t)number, clock_now_ns());
    /* Publishes the station; pairs with scheduler_station. */
    atomic_store_explicit(&station->counts, counts, memory_order_release);
    os_lock_release(&s->counts_lock);
}

static void leave_station(struct vthread_scheduler *s, struct station *station)
{
    os_lock_acquire(&s->counts_lock);
    station->past = *continuation_counts_self();
    /* Release: as above. */
    atomic_store_explicit(&station->counts, &station->past,
                          memory_order_release);
    os_lock_release(&s->counts_lock);
}

/* Whether somebody may want to know where threads are: it takes a signal of
 * the program's. */
static bool wants_samples(void)
{
    const struct settings *settings = settings_get();
    return settings->report_hogs || settings->trace || *settings->control;
}

static void carrier_enter(struct carrier *carrier)
{
    struct vthread_scheduler *s = pool_owner(carrier_pool(carrier));
    unsigned number = carrier_number(carrier);
    struct station *station = &s->stations[number];
    continuation_thread_enter();
    run_stack_thread_enter();
    thread_table_enter();
    *local_self() = (struct local){
        .carrier = carrier,
        .scheduler = s,
        .station = station,
    };
    station->local = local_self();
    station->looks = carrier_looks(carrier);
    trace_carrier_enters(station);
    if (wants_samples())
        (void)stack_sample_allow(); /* else it is told without the place */
    /* Relaxed, here and below: for those who look from outside. */
    atomic_store_explicit(&station->os_thread, os_thread_number(),
                          memory_order_relaxed);
    open_station(s, station, number);
    if (embedder && embedder->carrier_started)
        embedder->carrier_started();
}

/* Bound threads come back to this carrier.  In the mode that changes carriers
 * at each park there must be as many as can be changed to. */
static bool may_retire(struct carrier *carrier)
{
    struct pool *pool = carrier_pool(carrier);
    struct vthread_scheduler *s = pool_owner(pool);
    unsigned number = carrier_number(carrier);
    /* Relaxed: only the carrier itself adds to it. */
    return atomic_load_explicit(&s->stations[number].bound,
                                memory_order_relaxed)
               == 0
           && !(running_migrates && number < pool_parallelism(pool));
}

/* The OS thread is nobody in particular when the destructors of its values
 * are called. */
static void carrier_leave(struct carrier *carrier)
{
    (void)carrier;
    if (embedder && embedder->carrier_stopped)
        embedder->carrier_stopped();
    atomic_store_explicit(&local_self()->station->os_thread, 0,
                          memory_order_relaxed);
    leave_station(local_self()->scheduler, local_self()->station);
    *local_self() = (struct local){.carrier = NULL};
    carrier_local_leave();
    thread_table_leave();
    run_stack_thread_leave();
    continuation_thread_leave();
}

static void look_at_stuck(struct carrier *carrier,
                          const struct pool_stuck *stuck)
{
    uint64_t hog_ns = settings_get()->hog_ms * VTHREAD_MS;
    safepoint_look(carrier, stuck);
    if (hog_ns > 0 && stuck->held_ns >= hog_stuck_ns(hog_ns))
        hog_look(carrier, stuck);
}

/* ---- The recorder ------------------------------------------------------- */

static void note_stolen(struct carrier *victim, unsigned count)
{
    if (trace_is_on())
        trace_note(TRACE_STEAL,
                   (uint64_t)carrier_number(victim) << 32 | count);
}

/* ---- The client --------------------------------------------------------- */

const struct pool_client station_client = {
    .work = running_work,
    .poll = poll_events,
    .poll_events = poll_for_all,
    .poll_interrupt = interrupt_poll,
    .next_deadline = next_deadline,
    .stuck = look_at_stuck,
    .exhausted = pin_chain_look,
    .quiet = deadlock_look,
    .may_retire = may_retire,
    .stolen = note_stolen,
    .carrier_enter = carrier_enter,
    .carrier_leave = carrier_leave,
};

/* ---- Counting ----------------------------------------------------------- */

void station_add(const struct station *station,
                 vthread_scheduler_stats_t *stats)
{
    stats->created += station_read(&station->created);
    stats->pinned_parks += station_read(&station->pinned_parks);
    stats->mounts += station_read(&station->counts->mounts);
    stats->freezes += station_read(&station->counts->freezes);
    stats->frozen_bytes += station_read(&station->counts->frozen_bytes);
    stats->home_waits += station_read(&station->counts->home_waits);
    stats->homes_held += station_read(&station->homes_held);
    stats->hogs += station_read(&station->hogs);
}

/* As many threads have ended here as came from elsewhere, or the other way
 * round.  The sum over all is zero. */
void station_close(struct vthread_scheduler *s, struct station *station)
{
    atomic_fetch_add_explicit(&s->created_outside,
                              station_read(&station->created)
                                  - station_read(&station->ended),
                              memory_order_relaxed);
    *station = (struct station){.counts = NULL};
}
