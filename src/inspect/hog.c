/*
 * hog.c - threads that keep what others wait for.
 *
 *   a hog        keeps its carrier while others are ready to run and no
 *                carrier is free to take them
 *   HOME_HELD    stays mounted on a common home while others wait for that
 *                home, with as many carriers as there may be.  Its entry
 *                function is remembered: who starts with it later has a home
 *                of its own
 *
 * Both are counted once for each mount.  They are told to who asks for it
 * (VTHREAD_REPORT=hogs) only: a library that writes to standard error of its
 * own accord is no good guest, and the writing may wait.  A hog is told the
 * first, second, fourth, eighth ... time for each entry function, HOME_HELD
 * the first time.  As often each is kept in a table for readers from outside
 * (hog_table.c), whoever asks.
 *
 * Not here: when a carrier counts as stuck (carrier/monitor.c).
 *
 * Who it is.  The monitor finds the thread where the carrier keeps it, reads
 * what it wants to know, and looks whether carrier and thread are still at
 * the same task; then what it has read belongs together.  The thread may end
 * at any moment all the same.  Its object stays, so what is read of it is a
 * number at worst out of date; and its name is asked for by the handle,
 * which does not fit the object's next life.
 *
 * On a machine that has much to do a carrier may wait for a processor, with
 * its thread; that thread keeps nobody.  So when half the limit is over the
 * monitor looks how long the OS thread has run so far, and takes off what has
 * passed since then and was not run.  Who waits in the kernel for something
 * else is a hog like any other.
 *
 * Where it is, is asked of its OS thread (platform/stack_sample.h) when it is
 * to be told or recorded, a few times if it does not answer, and told if the
 * carrier is still at the same task after that.
 */
#include "inspect/hog.h"

#include <vthread.h>

#include "entry.h"
#include "inspect/describe.h"
#include "inspect/hog_table.h"
#include "inspect/place.h"
#include "inspect/trace.h"
#include "local.h"
#include "platform/clock.h"
#include "platform/panic.h"
#include "platform/processor_time.h"
#include "platform/stack_sample.h"
#include "running.h"
#include "scheduler.h"
#include "settings.h"
#include "thread.h"

/* What the monitor knows of the thread on a stuck carrier. */
struct suspect {
    vthread_t handle;
    entry_fn fn;
    unsigned waiting_for_home;
};

/* Not by an atomic read: the allocator clears the field with its
 * neighbours. */
NO_SANITIZE_THREAD static entry_fn fn_of(const struct thread *t)
{
    return ((const volatile struct thread *)t)->fn;
}

/* False: no thread, or another one by now. */
static bool look_at(struct suspect *suspect, const struct carrier *carrier,
                    const struct station *station, uint32_t tick)
{
    struct continuation_glance glance;
    struct thread *t = local_thread(station->local);
    if (!t)
        return false;
    continuation_glance(&t->continuation, &glance);
    *suspect = (struct suspect){
        .handle = thread_handle(t),
        .fn = fn_of(t),
        .waiting_for_home =
            glance.flags & CONTINUATION_HAS_OWN ? 0 : glance.waiting,
    };
    return carrier_tick(carrier) == tick && local_thread(station->local) == t;
}

/* ---- Words -------------------------------------------------------------- */

/* "thread 5 'reader', started with serve," */
static void describe(const struct suspect *suspect, char *buffer,
                     size_t size_bytes)
{
    char name[sizeof((struct thread_extra *)0)->name], fn[128];
    describe_name_of(suspect->handle, name, sizeof name);
    entry_describe(suspect->fn, fn, sizeof fn);
    format_text(buffer, size_bytes, "thread %llu%s%s%s, started with %s,",
                (unsigned long long)suspect->handle, *name ? " '" : "", name,
                *name ? "'" : "", fn);
}

static unsigned long to_ms(uint64_t ns)
{
    return (unsigned long)(ns / VTHREAD_MS);
}

static void tell_hog(const struct suspect *suspect,
                     const struct pool_stuck *stuck)
{
    char who[256];
    describe(suspect, who, sizeof who);
    report("%s has kept its carrier for %lu ms; for %lu ms others (%u or "
           "more now) have been ready to run, and no carrier is free. Let it "
           "call vthread_yield, or give what blocks or computes a scheduler "
           "of its own (doc/rules.md)",
           who, to_ms(stuck->held_ns), to_ms(stuck->starved_ns),
           stuck->waiting);
}

static void tell_home_held(const struct suspect *suspect,
                           const struct pool_stuck *stuck)
{
    char who[256];
    describe(suspect, who, sizeof who);
    report("HOME_HELD: %s has stayed on a common home for %lu ms, and %u "
           "wait for that home. Create it with VTHREAD_STACK_OWN, or let it "
           "call vthread_yield. From now on those started with that function "
           "have homes of their own (doc/rules.md)",
           who, to_ms(stuck->held_ns), suspect->waiting_for_home);
}

/* ---- Where -------------------------------------------------------------- */

enum { FRAMES_TOLD = 16 };

/* The innermost frame is an instruction, the others are return addresses,
 * before which the call is meant. */
static void tell_frames(const struct stack_sample *sample)
{
    for (unsigned i = 0; i < sample->count && i < FRAMES_TOLD; i++) {
        struct place place;
        char words[320];
        place_find((uintptr_t)sample->frames[i] + (i == 0), &place);
        place_describe(&place, words, sizeof words);
        report("    at %s", words);
    }
}

/* How often one is asked that waits for a processor, and so does not answer.
 * The monitor does nothing else meanwhile, and who wants to look at the
 * carriers waits: 150 ms is less than a recording at death has. */
enum { QUESTIONS = 3 };

/* False: it has not been told, or the carrier is at another task by now. */
static bool find_place(const struct carrier *carrier, int os_thread,
                       uint32_t tick, struct stack_sample *sample)
{
    for (int i = 0; i < QUESTIONS && carrier_tick(carrier) == tick; i++)
        if (stack_sample_take(os_thread, sample))
            return carrier_tick(carrier) == tick;
    return false;
}

static void tell_place(const struct stack_sample *sample)
{
    if (sample->is_in_kernel && sample->call >= 0)
        report("    it waits in system call %ld", sample->call);
    tell_frames(sample);
}

static void record(enum trace_kind kind, const struct suspect *suspect,
                   const struct stack_sample *sample)
{
    for (unsigned i = 0; i < sample->count && i < FRAMES_TOLD; i++)
        trace_note(TRACE_AT, (uintptr_t)sample->frames[i] - (i > 0));
    trace_note(kind, suspect->handle);
}

/* ---- What is seen ------------------------------------------------------- */

static bool is_power_of_two(uint32_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

/* Relaxed: it may have ended; then nobody answers. */
static int os_thread_of(const struct station *station)
{
    return atomic_load_explicit(&station->os_thread, memory_order_relaxed);
}

/* How long it has waited for a processor, as far as is known. */
static uint64_t not_run_ns(const struct station *station,
                           const struct pool_stuck *stuck)
{
    int os_thread = os_thread_of(station);
    uint64_t since_ns = stuck->held_ns - station->hog.held_ns;
    uint64_t ran_ns = processor_time_ns(os_thread) - station->hog.ran_ns;
    if (ran_ns >= since_ns || stack_sample_is_waiting(os_thread))
        return 0;
    return since_ns - ran_ns;
}

static void remember(struct station *station, const struct pool_stuck *stuck)
{
    station->hog = (struct hog_memory){
        .tick = stuck->tick,
        .held_ns = stuck->held_ns,
        .ran_ns = processor_time_ns(os_thread_of(station)),
    };
}

/* For readers from outside. */
static void keep(const struct suspect *suspect, const struct pool_stuck *stuck,
                 enum trace_kind kind, const struct stack_sample *sample)
{
    bool holds_home = kind == TRACE_HOME_HELD;
    struct hog_record record = {
        .inverted_handle = ~suspect->handle,
        .fn = (uintptr_t)suspect->fn,
        .told_ns = clock_now_ns(),
        .held_ns = stuck->held_ns,
        .starved_ns = stuck->starved_ns,
        .waiting = holds_home ? suspect->waiting_for_home : stuck->waiting,
        .holds_home = holds_home,
        .system_call = sample->is_in_kernel ? (int32_t)sample->call : -1,
    };
    for (; record.frames < sample->count && record.frames < HOG_FRAMES;
         record.frames++)
        record.frame[record.frames] =
            (uintptr_t)sample->frames[record.frames] - (record.frames > 0);
    describe_name_of(suspect->handle, record.name, sizeof record.name);
    hog_table_put(&record);
}

static void report_it(const struct suspect *suspect,
                      const struct pool_stuck *stuck, enum trace_kind kind,
                      const struct stack_sample *sample)
{
    if (kind == TRACE_HOG)
        tell_hog(suspect, stuck);
    else
        tell_home_held(suspect, stuck);
    tell_place(sample);
}

/* Keeps, tells and records what was found, each where it is wanted: is_due: it
 * is not one too many of its kind. */
static void tell(const struct carrier *carrier, const struct station *station,
                 const struct suspect *suspect, const struct pool_stuck *stuck,
                 enum trace_kind kind, bool is_due)
{
    struct stack_sample sample = {.count = 0};
    if (!is_due && !trace_is_on())
        return;
    if (!find_place(carrier, os_thread_of(station), stuck->tick, &sample))
        sample = (struct stack_sample){.count = 0};
    if (trace_is_on())
        record(kind, suspect, &sample);
    if (!is_due)
        return;
    keep(suspect, stuck, kind, &sample);
    if (settings_get()->report_hogs)
        report_it(suspect, stuck, kind, &sample);
}

/* Counted last: who sees the count sees what follows from it. */
static void hogs(const struct carrier *carrier, struct station *station,
                 const struct suspect *suspect, const struct pool_stuck *stuck)
{
    station->hog.hogs = true;
    bool is_due = is_power_of_two(entry_count_hog(suspect->fn));
    tell(carrier, station, suspect, stuck, TRACE_HOG, is_due);
    station_count(&station->hogs);
}

static void holds_home(const struct carrier *carrier, struct station *station,
                       const struct suspect *suspect,
                       const struct pool_stuck *stuck)
{
    station->hog.holds_home = true;
    bool is_due = entry_remember(suspect->fn, ENTRY_HOLDS);
    tell(carrier, station, suspect, stuck, TRACE_HOME_HELD, is_due);
    entry_count_home_held(suspect->fn);
    station_count(&station->homes_held);
}

/* Both limits are of the time that it has run, or waited by itself. */
static void judge(const struct carrier *carrier, struct station *station,
                  const struct suspect *suspect,
                  const struct pool_stuck *stuck)
{
    uint64_t limit_ns = settings_get()->hog_ms * VTHREAD_MS;
    bool may_hog = !station->hog.hogs && stuck->starved_ns >= limit_ns;
    bool may_hold = !station->hog.holds_home && suspect->waiting_for_home > 0
                    && stuck->held_ns >= limit_ns;
    if (!may_hog && !may_hold)
        return;
    limit_ns += not_run_ns(station, stuck);
    if (may_hog && stuck->starved_ns >= limit_ns)
        hogs(carrier, station, suspect, stuck);
    if (may_hold && stuck->held_ns >= limit_ns)
        holds_home(carrier, station, suspect, stuck);
}

void hog_look(struct carrier *carrier, const struct pool_stuck *stuck)
{
    struct pool *pool = carrier_pool(carrier);
    struct station *station =
        scheduler_station(pool_owner(pool), carrier_number(carrier));
    struct suspect suspect;
    if (!station || !look_at(&suspect, carrier, station, stuck->tick))
        return;
    if (station->hog.tick != stuck->tick)
        remember(station, stuck);
    judge(carrier, station, &suspect, stuck);
}
