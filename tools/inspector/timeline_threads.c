/*
 * timeline_threads.c - who the threads of a recording are, and their tracks.
 *
 * Their names, functions and scopes may be told at their ends only, so this
 * goes through all events before the first of them is shown.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "perfetto.h"
#include "recording.h"
#include "symbols.h"
#include "timeline_data.h"

#define THREADS_MIN 1024 /* a power of two */

static const char *const waits[TRACE_WAITS] = {
    [TRACE_FOR_LIST] = "waits: lock or the like",
    [TRACE_FOR_UNPARK] = "waits: unpark",
    [TRACE_FOR_TIME] = "sleeps",
    [TRACE_FOR_END] = "waits: end of a thread",
    [TRACE_FOR_CHANNEL] = "waits: channel",
    [TRACE_FOR_SEVERAL] = "waits: one of several",
    [TRACE_FOR_FUTURE] = "waits: future",
    [TRACE_FOR_SCOPE] = "waits: scope",
    [TRACE_FOR_DESCRIPTOR] = "waits: descriptor",
    [TRACE_FOR_POLL] = "waits: descriptors",
    [TRACE_FOR_FILE] = "waits: file",
    [TRACE_FOR_SIGNAL] = "waits: signal",
    [TRACE_FOR_CALL] = "waits: call made elsewhere",
    [TRACE_FOR_CERTAIN] = "waits: about to be woken",
};

const char *timeline_wait_named(uint32_t kind)
{
    uint32_t what = kind - TRACE_WAIT;
    return what < TRACE_WAITS ? waits[what] : "waits";
}

/* ---- Who is who --------------------------------------------------------- */

struct thread *timeline_slot_of(const struct timeline *t, uint64_t handle)
{
    size_t i = (size_t)((handle * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
    while (t->threads[i & (t->size - 1)].handle != 0
           && t->threads[i & (t->size - 1)].handle != handle)
        i++;
    return &t->threads[i & (t->size - 1)];
}

static bool grow(struct timeline *t)
{
    struct timeline larger = {.size = t->size ? 2 * t->size : THREADS_MIN};
    larger.threads = calloc(larger.size, sizeof *larger.threads);
    if (!larger.threads)
        return false;
    for (size_t i = 0; i < t->size; i++)
        if (t->threads[i].handle != 0)
            *timeline_slot_of(&larger, t->threads[i].handle) = t->threads[i];
    free(t->threads);
    t->threads = larger.threads;
    t->size = larger.size;
    return true;
}

/* The first time through it may move those that are there. */
static struct thread *thread_of(struct timeline *t, uint64_t handle)
{
    if (t->used >= t->size / 2 && !grow(t)) {
        t->has_failed = true;
        return NULL;
    }
    struct thread *thread = timeline_slot_of(t, handle);
    if (thread->handle == 0 && handle != 0) {
        thread->handle = handle;
        t->used++;
    }
    return handle != 0 ? thread : NULL;
}

static void add_letters(struct thread *thread, uint64_t letters)
{
    if (thread->letters + sizeof letters >= sizeof thread->given)
        return;
    memcpy(thread->given + thread->letters, &letters, sizeof letters);
    thread->letters += sizeof letters;
    thread->given[thread->letters] = '\0';
}

bool timeline_is_of_thread(uint32_t kind)
{
    switch (kind) {
    case TRACE_CREATE:
    case TRACE_MOUNT:
    case TRACE_YIELD:
    case TRACE_FINISH:
    case TRACE_WAKE:
    case TRACE_EXPIRE:
    case TRACE_PIN:
    case TRACE_PIN_END:
    case TRACE_HOG:
    case TRACE_HOME_HELD:
        return true;
    default:
        return kind >= TRACE_WAIT;
    }
}

/* Handles of subjects, for the table moves; in the place's flow of events. */
static void learn(struct timeline *t, const struct event *e,
                  uint64_t *subjects)
{
    struct thread *thread;
    if (timeline_is_of_thread(e->kind))
        thread_of(t, e->what);
    if (e->kind == TRACE_IS) {
        subjects[e->source] = e->what;
        thread = thread_of(t, e->what);
        if (thread)
            thread->letters = 0;
        return;
    }
    thread =
        subjects[e->source] ? timeline_slot_of(t, subjects[e->source]) : NULL;
    if (!thread)
        return;
    if (e->kind == TRACE_IS_FUNCTION)
        thread->fn = e->what;
    else if (e->kind == TRACE_IS_CHILD)
        thread->scope = e->what;
    else if (e->kind == TRACE_IS_NAMED)
        add_letters(thread, e->what);
}

static void learn_of_living(struct timeline *t)
{
    const struct recording *r = t->recording;
    for (size_t i = 0; i < r->thread_count; i++) {
        const struct trace_thread *living = &r->threads[i];
        size_t used = t->used;
        struct thread *thread = thread_of(t, living->handle);
        if (!thread)
            continue;
        thread->is_idle = t->used > used;
        thread->is_platform = living->fn == 0;
        thread->fn = living->fn;
        memcpy(thread->given, living->name, sizeof living->name);
        if (thread->is_idle)
            thread->state = living->state == TRACE_READY  ? READY
                            : living->state == TRACE_RUNS ? RUNS
                                                          : WAITS;
        thread->waits_for =
            timeline_wait_named(TRACE_WAIT + living->waits_for);
    }
}

void timeline_learn(struct timeline *t)
{
    struct event event;
    size_t count = 65536 + t->recording->source_count;
    uint64_t *subjects = calloc(count, sizeof *subjects);
    if (!subjects) {
        t->has_failed = true;
        return;
    }
    recording_rewind(t->recording);
    while (!t->has_failed && recording_next(t->recording, &event))
        if (event.source < count)
            learn(t, &event, subjects);
    free(subjects);
    if (!t->has_failed && (t->size > 0 || grow(t)))
        learn_of_living(t);
}

/* ---- Names and tracks --------------------------------------------------- */

void timeline_name_function(struct timeline *t, uint64_t fn, char *name,
                            size_t size_bytes)
{
    const struct symbol *symbol =
        t->symbols && fn ? symbols_find(t->symbols, fn) : NULL;
    if (symbol && symbol->function)
        snprintf(name, size_bytes, "%s", symbol->function);
    else
        snprintf(name, size_bytes, "0x%" PRIx64, fn);
}

uint64_t timeline_new_track(struct timeline *t, uint64_t parent,
                            const char *name)
{
    perfetto_track(t->out, ++t->last_track, parent, name);
    return t->last_track;
}

/* The track above those of a scope's children, or of threads of a function. */
static uint64_t group_track(struct timeline *t, uint64_t key, const char *name)
{
    for (size_t i = 0; i < t->group_count; i++)
        if (t->groups[i].key == key)
            return t->groups[i].track;
    struct group *groups =
        realloc(t->groups, (t->group_count + 1) * sizeof *groups);
    if (!groups) {
        t->has_failed = true;
        return 0;
    }
    t->groups = groups;
    groups[t->group_count] =
        (struct group){key, timeline_new_track(t, 0, name)};
    return groups[t->group_count++].track;
}

static void name_thread(struct timeline *t, struct thread *thread)
{
    char fn[64];
    timeline_name_function(t, thread->fn, fn, sizeof fn);
    const char *name = *thread->given        ? thread->given
                       : thread->is_platform ? "platform thread"
                       : thread->fn          ? fn
                                             : "thread";
    snprintf(thread->name, sizeof thread->name, "%s #%u", name,
             (unsigned)thread->handle);
}

void timeline_place_thread(struct timeline *t, struct thread *thread)
{
    char fn[64], group[NAME_BYTES];
    name_thread(t, thread);
    timeline_name_function(t, thread->fn, fn, sizeof fn);
    if (thread->scope)
        snprintf(group, sizeof group, "scope 0x%" PRIx64, thread->scope);
    else if (thread->is_platform)
        snprintf(group, sizeof group, "platform threads");
    else
        snprintf(group, sizeof group, "threads: %s", fn);
    uint64_t key = thread->scope ? thread->scope : thread->fn;
    thread->track =
        timeline_new_track(t, group_track(t, key, group), thread->name);
}
