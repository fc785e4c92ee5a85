/*
 * sample_socket.c - a sample through the control socket: the answers to
 * stats and threads.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connection.h"
#include "fields.h"
#include "inspector.h"
#include "sample.h"

static void copy(char *to, size_t size, const struct fields *fields,
                 const char *name)
{
    const char *text = fields_text(fields, name);
    snprintf(to, size, "%s", text ? text : "");
}

/* The process's own name for a function, or a better one. */
static void copy_entry(char *to, size_t size, const struct fields *fields,
                       struct places *names)
{
    copy(to, size, fields, "entry");
    places_entry(names, fields_number(fields, "fn"), to, size);
}

#define COPY(to, fields, name) copy((to), sizeof(to), (fields), (name))

static void take_states(struct sample *sample, const struct fields *fields,
                        struct places *names)
{
    (void)names;
    sample->platform = fields_number(fields, "platform");
    for (unsigned i = 0; i < SAMPLE_STATES; i++) {
        sample->states[i] = fields_number(fields, sample_state_names[i]);
        sample->thread_total += sample->states[i];
    }
}

static void take_scheduler(struct sample *sample, const struct fields *fields,
                           struct places *names)
{
    (void)names;
    sample->schedulers =
        sample_grow(sample->schedulers, &sample->scheduler_count,
                    sizeof *sample->schedulers);
    struct sample_scheduler *s =
        &sample->schedulers[sample->scheduler_count - 1];
    s->number = (unsigned)fields_number(fields, "number");
    s->parallelism = (unsigned)fields_number(fields, "parallelism");
    COPY(s->name, fields, "name");
}

static void take_carrier(struct sample *sample, const struct fields *fields,
                         struct places *names)
{
    sample->carriers = sample_grow(sample->carriers, &sample->carrier_count,
                                   sizeof *sample->carriers);
    struct sample_carrier *c = &sample->carriers[sample->carrier_count - 1];
    c->scheduler = (unsigned)fields_number(fields, "scheduler");
    c->number = (unsigned)fields_number(fields, "number");
    c->os_thread = (int)fields_number(fields, "os_thread");
    c->runs = fields_number(fields, "runs");
    c->steals = fields_number(fields, "steals");
    c->calls = fields_number(fields, "calls");
    c->pinned = fields_number(fields, "pinned");
    c->queued = fields_number(fields, "queued");
    c->forked = fields_number(fields, "forked");
    c->thread = fields_number(fields, "thread");
    COPY(c->state, fields, "state");
    COPY(c->name, fields, "name");
    copy_entry(c->entry, sizeof c->entry, fields, names);
}

static void take_thread(struct sample *sample, const struct fields *fields,
                        struct places *names)
{
    const char *name = fields_text(fields, "state");
    unsigned state = 0;
    while (state < SAMPLE_STATES
           && (!name || strcmp(sample_state_names[state], name) != 0))
        state++;
    if (state == SAMPLE_STATES || !fields_text(fields, "home"))
        return; /* a platform thread */
    sample->threads = sample_grow(sample->threads, &sample->thread_count,
                                  sizeof *sample->threads);
    struct sample_thread *t = &sample->threads[sample->thread_count - 1];
    t->handle = fields_number(fields, "thread");
    t->state = (enum sample_state)state;
    t->depth_bytes = (uint32_t)fields_number(fields, "depth_bytes");
    t->frozen_bytes = (uint32_t)fields_number(fields, "frozen_bytes");
    COPY(t->name, fields, "name");
    copy_entry(t->entry, sizeof t->entry, fields, names);
    COPY(t->waits_for, fields, "waits_for");
    COPY(t->home, fields, "home");
}

static void take(struct sample *sample, const struct fields *fields,
                 struct places *names)
{
    static const struct {
        const char *kind;
        void (*take)(struct sample *sample, const struct fields *fields,
                     struct places *names);
    } kinds[] = {{"states", take_states},
                 {"scheduler", take_scheduler},
                 {"carrier", take_carrier},
                 {"thread", take_thread}};
    for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].kind, fields->kind) == 0)
            kinds[i].take(sample, fields, names);
}

static int ask(const struct target *target, struct places *names,
               const char *command, struct sample *sample, bool *is_there)
{
    char *answer;
    struct fields fields;
    int status = connection_answer(target->pid, command, &answer, is_there);
    char *rest = answer;
    while (rest && fields_next(&rest, &fields))
        take(sample, &fields, names);
    free(answer);
    return status;
}

int sample_by_socket(const struct target *target, struct places *names,
                     struct sample *sample, bool with_threads, bool *is_there)
{
    char command[32];
    snprintf(command, sizeof command, "threads %d", SAMPLE_THREADS_MAX);
    int status = ask(target, names, "stats", sample, is_there);
    if (status == STATUS_FINE && *is_there && with_threads)
        status = ask(target, names, command, sample, is_there);
    return status;
}
