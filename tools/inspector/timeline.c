/*
 * timeline.c - what each thread, carrier and call did, as slices of tracks.
 *
 * Twice through the events.  First who the threads are (timeline_threads.c).
 * Then what they did.  A thread is in one state at a time, and so there is one
 * slice at a time on its track; its first event tells in which state it was
 * before that.
 *
 *     carriers          a slice for each mount, with the thread's name
 *     scope ..., FN     threads: runs, ready, waits for ...
 *     foreign calls     a track for each OS thread that made some
 *     collector         collections
 *     counters          threads that run, are ready, wait; queues
 *
 * A wake-up is an instant on the track of who wakes, and an arrow from there
 * to where the other one runs.
 */
#include "timeline.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perfetto.h"
#include "recording.h"
#include "symbols.h"
#include "timeline_data.h"

enum { IDLE_THREADS_MAX = 10000, COUNT_EVERY_NS = 10000 };

/* ---- States ------------------------------------------------------------- */

static const char *const state_names[STATES] = {
    [READY] = "ready", [RUNS] = "runs"};

/* How many are in each state, not more often than every 10 us. */
static void tell_counts(struct timeline *t, uint64_t ns, bool at_once)
{
    if (!at_once && ns < t->told_ns + COUNT_EVERY_NS)
        return;
    for (unsigned i = READY; i < ENDED; i++)
        if (t->counts[i] != t->told[i] || at_once)
            perfetto_counter(t->out, t->counters[i], ns,
                             t->told[i] = t->counts[i]);
    t->told_ns = ns;
}

static bool has_slice(enum state state)
{
    return state != UNKNOWN && state != ENDED;
}

/* The slice of the old state ends, that of the new one begins. */
static void change(struct timeline *t, struct thread *thread, uint64_t ns,
                   enum state state, const char *name)
{
    struct perfetto_details details = {.flow_end = 0};
    if (has_slice(thread->state))
        perfetto_slice_end(t->out, thread->track, ns);
    t->counts[thread->state]--;
    t->counts[state]++;
    thread->state = state;
    if (state == RUNS) {
        details.flow_end = thread->flow;
        thread->flow = 0;
    }
    if (has_slice(state))
        perfetto_slice(t->out, thread->track, ns,
                       name ? name : state_names[state], &details);
    tell_counts(t, ns, false);
}

/* The state that a thread was in before its first event. */
static void begin_with(struct timeline *t, struct thread *thread,
                       uint32_t kind)
{
    uint64_t ns = t->recording->begin_ns;
    if (thread->state != UNKNOWN || kind == TRACE_CREATE)
        return;
    if (kind == TRACE_MOUNT)
        change(t, thread, ns, READY, NULL);
    else if (kind == TRACE_WAKE || kind == TRACE_EXPIRE)
        change(t, thread, ns, WAITS, "waits");
    else if (kind == TRACE_PIN_END)
        change(t, thread, ns, PINNED, "pinned, waits");
    else
        change(t, thread, ns, RUNS, NULL);
}

/* ---- Carriers ----------------------------------------------------------- */

static uint64_t track_of(struct timeline *t, struct place *place,
                         uint32_t source)
{
    const struct source *s = &t->recording->sources[source];
    char name[NAME_BYTES];
    if (place->track)
        return place->track;
    if (s->is_carrier)
        snprintf(name, sizeof name, "carrier %u of scheduler %u (%s)",
                 s->carrier, s->scheduler, s->name);
    else
        snprintf(name, sizeof name, "OS thread %u%s", s->os_thread,
                 s->os_thread == t->recording->pid ? " (main)" : "");
    uint64_t parent = s->is_carrier ? t->carriers : 0;
    return place->track = timeline_new_track(t, parent, name);
}

static void unmount(struct timeline *t, struct place *place, uint32_t source,
                    uint64_t ns)
{
    if (place->mounted)
        perfetto_slice_end(t->out, track_of(t, place, source), ns);
    place->mounted = NULL;
}

static void mount(struct timeline *t, struct place *place, uint32_t source,
                  struct thread *thread, uint64_t ns)
{
    struct perfetto_details details = {.number_key = "handle",
                                       .number = thread->handle};
    unmount(t, place, source, ns);
    perfetto_slice(t->out, track_of(t, place, source), ns, thread->name,
                   &details);
    place->mounted = thread;
    change(t, thread, ns, RUNS, NULL);
}

/* It is unmounted; if that is the first that is heard of it, it was mounted
 * from the beginning on. */
static void leave(struct timeline *t, struct place *place, uint32_t source,
                  struct thread *thread, uint64_t ns, enum state state,
                  const char *name)
{
    if (place->mounted == thread)
        unmount(t, place, source, ns);
    change(t, thread, ns, state, name);
}

/* ---- Arrows ------------------------------------------------------------- */

static void tell_wake(struct timeline *t, struct place *place, uint32_t source,
                      struct thread *thread, uint64_t ns, const char *verb)
{
    char name[NAME_BYTES + 16];
    struct perfetto_details details = {.flow = ++t->last_flow};
    uint64_t track =
        place->mounted ? place->mounted->track : track_of(t, place, source);
    snprintf(name, sizeof name, "%s %s", verb, thread->name);
    perfetto_instant(t->out, track, ns, name, &details);
    thread->flow = details.flow;
}

/* ---- Calls -------------------------------------------------------------- */

static void open_call(struct timeline *t, struct place *place, uint32_t source,
                      const char *name)
{
    const struct source *s = &t->recording->sources[source];
    char track_name[NAME_BYTES];
    place->has_call = false;
    if (!place->calls_track) {
        snprintf(track_name, sizeof track_name,
                 s->is_carrier ? "calls of carrier %u" : "calls of thread %u",
                 s->is_carrier ? s->carrier : s->os_thread);
        place->calls_track = timeline_new_track(t, t->calls, track_name);
    }
    perfetto_slice(t->out, place->calls_track, place->call_ns, name, NULL);
    place->calls++;
    if (place->mounted && place->mounted->state == RUNS) {
        snprintf(track_name, sizeof track_name, "calls %s", name);
        change(t, place->mounted, place->call_ns, CALLS, track_name);
    }
}

static void close_call(struct timeline *t, struct place *place, uint64_t ns)
{
    if (place->calls == 0)
        return; /* it has begun before the recording */
    perfetto_slice_end(t->out, place->calls_track, ns);
    place->calls--;
    if (place->mounted && place->mounted->state == CALLS && place->calls == 0)
        change(t, place->mounted, ns, RUNS, NULL);
}

/* ---- Events ------------------------------------------------------------- */

static struct place *place_of(struct timeline *t, uint32_t source)
{
    if (source < t->place_count)
        return &t->places[source];
    size_t count = source + 64;
    struct place *places = realloc(t->places, count * sizeof *places);
    if (!places) {
        t->has_failed = true;
        return NULL;
    }
    memset(places + t->place_count, 0,
           (count - t->place_count) * sizeof *places);
    t->places = places;
    t->place_count = count;
    return &places[source];
}

/* ---- Hogs --------------------------------------------------------------- */

static void add_frame(struct place *place, uint64_t pc)
{
    if (place->frame_count < FRAMES_MAX)
        place->frames[place->frame_count++] = pc;
}

/* "spins (a.c:12) < serves (a.c:30)", and so on outwards. */
static void describe_frames(const struct timeline *t,
                            const struct place *place, char *text, size_t size)
{
    size_t used = 0;
    *text = '\0';
    for (unsigned i = 0; i < place->frame_count && used < size; i++) {
        static const struct symbol unknown;
        const struct symbol *symbol =
            t->symbols ? symbols_find(t->symbols, place->frames[i]) : &unknown;
        char words[128];
        symbols_describe(symbol, place->frames[i], words, sizeof words);
        used += (size_t)snprintf(text + used, size - used, "%s%s",
                                 i > 0 ? " < " : "", words);
    }
}

static void show_hog(struct timeline *t, struct place *place,
                     const struct thread *thread, const struct event *e)
{
    char stack[FRAMES_MAX * 131];
    struct perfetto_details details = {.flow = 0};
    describe_frames(t, place, stack, sizeof stack);
    place->frame_count = 0;
    if (*stack) {
        details.key = "stack";
        details.text = stack;
    }
    perfetto_instant(t->out, thread->track, e->ns,
                     e->kind == TRACE_HOG
                         ? "has kept its carrier from others"
                         : "HOME_HELD: others wait for its home",
                     &details);
}

/* ---- Queues ------------------------------------------------------------- */

/* 0: no memory. */
static uint64_t queue_track(struct timeline *t, uint32_t carrier)
{
    char name[NAME_BYTES];
    for (size_t i = 0; i < t->queue_count; i++)
        if (t->queues[i].carrier == carrier)
            return t->queues[i].track;
    struct queue *queues =
        realloc(t->queues, (t->queue_count + 1) * sizeof *queues);
    if (!queues) {
        t->has_failed = true;
        return 0;
    }
    t->queues = queues;
    queues[t->queue_count] = (struct queue){carrier, ++t->last_track};
    snprintf(name, sizeof name, "queue of carrier %u of scheduler %u",
             carrier & 0xffff, carrier >> 16);
    perfetto_counter_track(t->out, t->last_track, name);
    return queues[t->queue_count++].track;
}

static void show_queue(struct timeline *t, const struct event *e)
{
    uint64_t track = queue_track(t, (uint32_t)(e->what >> 32));
    if (track)
        perfetto_counter(t->out, track, e->ns, (uint32_t)e->what);
}

/* ---- Events of threads -------------------------------------------------- */

static void show_of_thread(struct timeline *t, struct place *place,
                           const struct event *e)
{
    struct thread *thread = timeline_slot_of(t, e->what);
    char name[NAME_BYTES];
    if (e->what == 0 || thread->handle == 0)
        return;
    begin_with(t, thread, e->kind);
    switch (e->kind) {
    case TRACE_CREATE:
        tell_wake(t, place, e->source, thread, e->ns, "creates");
        change(t, thread, e->ns, READY, NULL);
        break;
    case TRACE_MOUNT:
        mount(t, place, e->source, thread, e->ns);
        break;
    case TRACE_YIELD:
        leave(t, place, e->source, thread, e->ns, READY, NULL);
        break;
    case TRACE_FINISH:
        leave(t, place, e->source, thread, e->ns, ENDED, NULL);
        break;
    case TRACE_WAKE:
        tell_wake(t, place, e->source, thread, e->ns, "wakes");
        if (thread->state == WAITS)
            change(t, thread, e->ns, READY, NULL);
        break;
    case TRACE_EXPIRE:
        change(t, thread, e->ns, READY, NULL);
        break;
    case TRACE_PIN:
        snprintf(name, sizeof name, "pinned, %s",
                 thread->waits_for ? thread->waits_for : "waits");
        change(t, thread, e->ns, PINNED, name);
        perfetto_slice(t->out, track_of(t, place, e->source), e->ns, name,
                       NULL);
        place->is_pinned = true;
        break;
    case TRACE_PIN_END:
        if (place->is_pinned)
            perfetto_slice_end(t->out, track_of(t, place, e->source), e->ns);
        place->is_pinned = false;
        change(t, thread, e->ns, READY, NULL);
        break;
    case TRACE_HOG:
    case TRACE_HOME_HELD:
        show_hog(t, place, thread, e);
        break;
    default:
        thread->waits_for = timeline_wait_named(e->kind);
        leave(t, place, e->source, thread, e->ns, WAITS, thread->waits_for);
    }
}

static void show_steal(struct timeline *t, struct place *place,
                       const struct event *e)
{
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "steals from carrier %u",
             (unsigned)(e->what >> 32));
    struct perfetto_details details = {.number_key = "threads",
                                       .number = (uint32_t)e->what};
    perfetto_instant(t->out, track_of(t, place, e->source), e->ns, name,
                     &details);
}

static void show_collection(struct timeline *t, const struct event *e)
{
    if (!t->collector) {
        t->collector = timeline_new_track(t, 0, "collector");
        t->heap = ++t->last_track;
        perfetto_counter_track(t->out, t->heap, "bytes in use");
    }
    if (e->kind == TRACE_GC) {
        perfetto_slice(t->out, t->collector, e->ns, "collection", NULL);
        return;
    }
    perfetto_slice_end(t->out, t->collector, e->ns);
    perfetto_counter(t->out, t->heap, e->ns, (int64_t)e->what);
}

static void show(struct timeline *t, const struct event *e)
{
    struct place *place = place_of(t, e->source);
    char name[64];
    if (!place)
        return;
    if (place->has_call && e->kind != TRACE_CALL_IS)
        open_call(t, place, e->source, "call");
    switch (e->kind) {
    case TRACE_CALL:
        place->has_call = true;
        place->call_ns = e->ns;
        break;
    case TRACE_CALL_IS:
        timeline_name_function(t, e->what, name, sizeof name);
        if (place->has_call)
            open_call(t, place, e->source, name);
        break;
    case TRACE_CALL_END:
        close_call(t, place, e->ns);
        break;
    case TRACE_STEAL:
        show_steal(t, place, e);
        break;
    case TRACE_AT:
        add_frame(place, e->what);
        break;
    case TRACE_QUEUE:
        show_queue(t, e);
        break;
    case TRACE_GC:
    case TRACE_GC_END:
        show_collection(t, e);
        break;
    default:
        if (timeline_is_of_thread(e->kind))
            show_of_thread(t, place, e);
    }
}

/* ---- As a whole --------------------------------------------------------- */

static void make_tracks(struct timeline *t, struct timeline_counts *counts)
{
    static const char *const names[STATES] = {
        [READY] = "threads ready",    [RUNS] = "threads running",
        [CALLS] = "threads in calls", [WAITS] = "threads waiting",
        [PINNED] = "threads pinned",
    };
    t->carriers = timeline_new_track(t, 0, "carriers");
    t->calls = timeline_new_track(t, 0, "foreign calls");
    for (unsigned i = READY; i < ENDED; i++) {
        t->counters[i] = ++t->last_track;
        perfetto_counter_track(t->out, t->counters[i], names[i]);
    }
    size_t idle = 0;
    for (size_t i = 0; i < t->size; i++) {
        struct thread *thread = &t->threads[i];
        if (thread->handle == 0)
            continue;
        t->counts[thread->state]++;
        if (thread->is_idle && ++idle > IDLE_THREADS_MAX) {
            counts->left_out++;
            continue;
        }
        timeline_place_thread(t, thread);
        counts->threads++;
    }
}

/* Threads that do nothing all the time. */
static void show_idle(struct timeline *t)
{
    for (size_t i = 0; i < t->size; i++) {
        struct thread *thread = &t->threads[i];
        if (!thread->is_idle || !thread->track)
            continue;
        const char *name = thread->state == WAITS ? thread->waits_for
                                                  : state_names[thread->state];
        perfetto_slice(t->out, thread->track, t->recording->begin_ns, name,
                       NULL);
    }
}

/* What is open at the end ends there. */
static void close_all(struct timeline *t)
{
    uint64_t ns = t->recording->end_ns;
    for (size_t i = 0; i < t->place_count; i++) {
        struct place *place = &t->places[i];
        if (place->mounted || place->is_pinned)
            perfetto_slice_end(t->out, place->track, ns);
        while (place->calls > 0) {
            perfetto_slice_end(t->out, place->calls_track, ns);
            place->calls--;
        }
    }
    for (size_t i = 0; i < t->size; i++)
        if (t->threads[i].handle && t->threads[i].track
            && has_slice(t->threads[i].state))
            perfetto_slice_end(t->out, t->threads[i].track, ns);
    tell_counts(t, ns, true);
}

static void show_all(struct timeline *t)
{
    struct event event;
    tell_counts(t, t->recording->begin_ns, true);
    show_idle(t);
    recording_rewind(t->recording);
    while (!t->has_failed && recording_next(t->recording, &event))
        show(t, &event);
    close_all(t);
}

bool timeline_write(struct recording *recording, struct symbols *symbols,
                    struct perfetto *perfetto, struct timeline_counts *counts)
{
    struct timeline t = {
        .recording = recording, .symbols = symbols, .out = perfetto};
    *counts = (struct timeline_counts){0};
    timeline_learn(&t);
    if (!t.has_failed) {
        make_tracks(&t, counts);
        show_all(&t);
    }
    free(t.threads);
    free(t.places);
    free(t.groups);
    free(t.queues);
    return !t.has_failed;
}
