/*
 * control_stats.c - the commands stats, census and threads: the present, in
 * records.
 *
 * All of it is read from an OS thread that has nothing else to do, without a
 * lock that a virtual thread takes on its way; so it is a picture of many
 * instants.  It is written into memory first and sent then, for who holds
 * schedulers or carriers must not wait for a client.
 *
 * Not here: the socket; see control.c.  The fields: tools/inspector reads
 * them, and doc/vthread.1 explains what it shows.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <vthread.h>

#include "entry.h"
#include "inspect/control.h"
#include "inspect/control_protocol.h"
#include "inspect/describe.h"
#include "inspect/pin.h"
#include "inspect/record.h"
#include "local.h"
#include "platform/clock.h"
#include "platform/memory.h"
#include "platform/panic.h"
#include "platform/system.h"
#include "scheduler.h"
#include "thread.h"
#include "waiting.h"

#define HOLD_TRIES 1000
#define ENTRY_BYTES 128
#define THREADS_DEFAULT 1000

int control_send_records(struct control_client *client,
                         struct records *records)
{
    record_begin(records, "end");
    record_end(records);
    bool has_failed = records->has_failed;
    if (!has_failed)
        (void)control_send(client, records->bytes, records->used);
    memory_free(records->bytes);
    return has_failed ? ENOMEM : 0;
}

/* ---- Threads ------------------------------------------------------------ */

/* Not atomic: the allocator clears the field with its neighbours. */
NO_SANITIZE_THREAD static entry_fn fn_of(const struct thread *t)
{
    return ((const volatile struct thread *)t)->fn;
}

void control_add_entry(struct records *records, entry_fn fn)
{
    char text[ENTRY_BYTES] = "";
    if (fn)
        entry_describe(fn, text, sizeof text);
    record_text(records, "entry", text);
    record_number(records, "fn", (uintptr_t)fn);
}

/* Its handle, name and entry function. */
static void add_identity(struct records *records, const struct thread *t)
{
    char name[sizeof((struct thread_extra *)0)->name];
    vthread_t handle = thread_handle(t);
    if (vthread_getname(handle, name, sizeof name) != 0)
        name[0] = '\0';
    record_number(records, "thread", handle);
    record_text(records, "name", name);
    control_add_entry(records, fn_of(t));
}

static const char *home_of(const struct continuation_glance *glance)
{
    if (!glance->has_home)
        return "none";
    return glance->flags & CONTINUATION_HAS_OWN ? "own" : "common";
}

static void add_thread(struct records *records, const struct thread *t,
                       uint64_t word)
{
    record_begin(records, "thread");
    add_identity(records, t);
    record_text(records, "state", describe_state(t, word));
    if (word & (THREAD_PARKED | THREAD_WAITING))
        record_text(records, "waits_for", describe_waits_for(waiting_what(t)));
    if (!(word & THREAD_PLATFORM)) {
        struct continuation_glance glance;
        continuation_glance(&t->continuation, &glance);
        record_text(records, "home", home_of(&glance));
        record_number(records, "depth_bytes", glance.depth_bytes);
        record_number(records, "frozen_bytes", glance.frozen_bytes);
    }
    record_end(records);
}

int control_serve_threads(struct control_client *client, const char *arguments)
{
    struct records records = {0};
    char *end;
    unsigned long limit =
        *arguments ? strtoul(arguments, &end, 10) : THREADS_DEFAULT;
    if ((*arguments && *end) || limit > CONTROL_THREADS_MAX)
        return EINVAL;
    uint64_t word;
    struct thread *t = thread_in_use_from(1, &word);
    for (; t && limit > 0; limit--) {
        add_thread(&records, t, word);
        t = thread_in_use_from(thread_number(t) + 1, &word);
    }
    return control_send_records(client, &records);
}

/* ---- The process -------------------------------------------------------- */

/* How many threads are in each state. */
struct states {
    const char *names[16];
    uint64_t counts[16];
};

static void count_state(struct states *states, const char *name)
{
    unsigned i = 0;
    while (states->names[i] && states->names[i] != name)
        i++;
    states->names[i] = name;
    states->counts[i]++;
}

static void add_states(struct records *records)
{
    struct states states = {{NULL}, {0}};
    uint64_t word, platform = 0;
    struct thread *t = thread_in_use_from(1, &word);
    for (; t; t = thread_in_use_from(thread_number(t) + 1, &word))
        if (word & THREAD_PLATFORM)
            platform++;
        else
            count_state(&states, describe_state(t, word));
    record_begin(records, "states");
    record_number(records, "platform", platform);
    for (unsigned i = 0; states.names[i]; i++)
        record_number(records, states.names[i], states.counts[i]);
    record_end(records);
}

static void add_process(struct records *records)
{
    record_begin(records, "process");
    record_number(records, "pid", (uint64_t)getpid());
    record_number(records, "time_ns", clock_now_ns());
    record_text(records, "program", program_invocation_short_name);
    record_number(records, "locks_tracked", pin_locks_are_tracked());
    record_end(records);
}

/* ---- Schedulers and carriers -------------------------------------------- */

static const char *const state_names[] = {
    [CARRIER_RUNS] = "running",    [CARRIER_SEARCHES] = "searching",
    [CARRIER_SLEEPS] = "sleeping", [CARRIER_POLLS] = "polling",
    [CARRIER_IN_CALL] = "in_call", [CARRIER_BLOCKED] = "blocked",
    [CARRIER_RESTS] = "resting",
};

struct carrier_visit {
    struct records *records;
    struct vthread_scheduler *scheduler;
};

static void add_station(struct records *records,
                        const struct station *station)
{
    /* Relaxed: a number, for words. */
    int os_thread = atomic_load_explicit(&station->os_thread,
                                         memory_order_relaxed);
    record_number(records, "os_thread", (uint64_t)os_thread);
    record_number(records, "pinned", station_read(&station->pinned_parks));
}

/* A pool_look_fn. */
static void add_carrier(struct carrier *carrier,
                        const struct carrier_look *look, void *arg)
{
    struct carrier_visit *visit = arg;
    struct records *records = visit->records;
    unsigned number = carrier_number(carrier);
    struct station *station = scheduler_station(visit->scheduler, number);
    bool has_os_thread = look->state != CARRIER_RESTS && station;
    record_begin(records, "carrier");
    record_number(records, "scheduler", visit->scheduler->number);
    record_number(records, "number", number);
    record_text(records, "state", state_names[look->state]);
    record_number(records, "runs", look->tick);
    record_number(records, "queued", look->queued);
    record_number(records, "forked", look->forked);
    record_number(records, "steals", look->steals);
    record_number(records, "calls", look->calls);
    if (station)
        add_station(records, station);
    struct thread *t = has_os_thread ? local_thread(station->local) : NULL;
    if (t)
        add_identity(records, t);
    record_end(records);
}

static void add_counters(struct records *records,
                         const vthread_scheduler_stats_t *stats)
{
    record_number(records, "threads", stats->threads);
    record_number(records, "created", stats->created);
    record_number(records, "mounts", stats->mounts);
    record_number(records, "freezes", stats->freezes);
    record_number(records, "frozen_bytes", stats->frozen_bytes);
    record_number(records, "home_waits", stats->home_waits);
    record_number(records, "steals", stats->steals);
    record_number(records, "submissions", stats->submissions);
    record_number(records, "sleeps", stats->sleeps);
    record_number(records, "pinned_parks", stats->pinned_parks);
    record_number(records, "hogs", stats->hogs);
    record_number(records, "homes_held", stats->homes_held);
    record_number(records, "calls_handed_off", stats->calls_handed_off);
    record_number(records, "calls_retaken", stats->calls_retaken);
    record_number(records, "slot_waits", stats->slot_waits);
    record_number(records, "carriers_started", stats->carriers_started);
    record_number(records, "carriers", stats->carriers);
    record_number(records, "carriers_active", stats->carriers_active);
}

static void add_scheduler(struct records *records, struct vthread_scheduler *s)
{
    vthread_scheduler_stats_t stats;
    struct carrier_visit visit = {records, s};
    if (vthread_scheduler_stats(s, &stats) != 0)
        return;
    record_begin(records, "scheduler");
    record_number(records, "number", s->number);
    record_text(records, "name", pool_name(s->pool));
    record_number(records, "parallelism", pool_parallelism(s->pool));
    add_counters(records, &stats);
    record_end(records);
    pool_look(s->pool, add_carrier, &visit);
}

/* With schedulers held: the time is that of some hundred carriers. */
static void add_schedulers(struct records *records)
{
    for (unsigned i = 1; i <= SCHEDULERS_MAX; i++)
        if (scheduler_at((uint8_t)i))
            add_scheduler(records, scheduler_at((uint8_t)i));
}

/* One that begins or closes, or a look for deadlocks, is in the way for
 * moments. */
static bool hold_schedulers(void)
{
    for (unsigned tries = 0; tries < HOLD_TRIES; tries++) {
        if (scheduler_try_hold_all())
            return true;
        system_poll(NULL, 0, 1);
    }
    return false;
}

int control_serve_stats(struct control_client *client, const char *arguments)
{
    struct records records = {0};
    (void)arguments;
    add_process(&records);
    add_states(&records);
    if (!hold_schedulers()) {
        memory_free(records.bytes);
        return EBUSY;
    }
    add_schedulers(&records);
    scheduler_release_all();
    return control_send_records(client, &records);
}

/* ---- Entry functions ---------------------------------------------------- */

/* A vthread_census_fn. */
static void add_census(const vthread_census_entry_t *entry, void *arg)
{
    struct records *records = arg;
    record_begin(records, "function");
    control_add_entry(records, entry->fn);
    record_number(records, "threads", entry->threads);
    record_number(records, "ended", entry->ended);
    record_number(records, "homes_none", entry->homes_none);
    record_number(records, "homes_common", entry->homes_common);
    record_number(records, "homes_own_plenty", entry->homes_own_plenty);
    record_number(records, "homes_own_asked", entry->homes_own_asked);
    record_number(records, "homes_own_escaped", entry->homes_own_escaped);
    record_number(records, "homes_own_held", entry->homes_own_held);
    record_number(records, "unmounted", entry->unmounted);
    record_number(records, "depth_bytes", entry->depth_bytes);
    record_number(records, "depth_bytes_max", entry->depth_bytes_max);
    record_number(records, "frozen", entry->frozen);
    record_number(records, "frozen_bytes", entry->frozen_bytes);
    record_number(records, "hogs", entry->hogs);
    record_number(records, "homes_held", entry->homes_held);
    record_end(records);
}

int control_serve_census(struct control_client *client, const char *arguments)
{
    struct records records = {0};
    (void)arguments;
    int err = vthread_census(add_census, &records);
    if (err == 0)
        return control_send_records(client, &records);
    memory_free(records.bytes);
    return err;
}
