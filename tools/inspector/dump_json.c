/*
 * dump_json.c - a dump for programs.
 */
#include <stdio.h>

#include "dump.h"
#include "dump_locks.h"
#include "json.h"
#include "stacks.h"
#include "symbols.h"

enum { NAME_BYTES = 120 };

static void put_stop(struct json *json, const struct dump *dump)
{
    const struct stop *stop = &dump->snapshot.stop;
    if (dump->is_core)
        return;
    json_open_object(json, "stopped");
    json_unsigned(json, "times", stop->stops);
    json_unsigned(json, "longest_ns", stop->longest_ns);
    json_unsigned(json, "all_ns", stop->all_ns);
    json_close_object(json);
}

static void put_head(struct json *json, const struct dump *dump)
{
    if (dump->is_core)
        json_text(json, "core", dump->options.target);
    else
        json_number(json, "process", dump->pid);
    json_text(json, "library", dump->snapshot.library.version);
    json_bool(json, "complete", !dump->snapshot.is_incomplete);
    put_stop(json, dump);
    json_unsigned(json, "threads", dump->snapshot.thread_count);
    json_bool(json, "locks_tracked", dump->snapshot.are_locks_tracked);
}

/* ---- Carriers ----------------------------------------------------------- */

static void put_thread_number(struct json *json, const char *key,
                              const struct dump *dump, uint32_t number)
{
    const struct seen_thread *t =
        number ? snapshot_thread(&dump->snapshot, number) : NULL;
    if (t)
        json_unsigned(json, key, t->handle);
}

static void put_carrier(struct json *json, const struct dump *dump,
                        const struct seen_carrier *c)
{
    json_open_object(json, NULL);
    json_unsigned(json, "number", c->number);
    json_number(json, "os_thread", c->os_thread);
    json_text(json, "state",
              c->runs && c->is_calling ? "calling"
              : c->runs                ? "running"
              : c->is_blocked          ? "blocked"
              : c->is_polling          ? "polling"
              : c->is_idle             ? "idle"
                                       : "between");
    put_thread_number(json, "runs", dump, c->runs);
    json_unsigned(json, "queued", c->queued);
    json_unsigned(json, "steals", c->steals);
    json_close_object(json);
}

static void put_schedulers(struct json *json, const struct dump *dump)
{
    const struct snapshot *snapshot = &dump->snapshot;
    json_open_array(json, "schedulers");
    for (size_t i = 0; i < snapshot->scheduler_count; i++) {
        const struct seen_scheduler *s = &snapshot->schedulers[i];
        json_open_object(json, NULL);
        json_unsigned(json, "number", s->number);
        json_text(json, "name", s->name);
        json_unsigned(json, "parallelism", s->parallelism);
        json_unsigned(json, "max_carriers", s->max_carriers);
        json_open_array(json, "carriers");
        for (size_t j = 0; j < snapshot->carrier_count; j++)
            if (snapshot->carriers[j].scheduler == s->number
                && snapshot->carriers[j].os_thread)
                put_carrier(json, dump, &snapshot->carriers[j]);
        json_close_array(json);
        json_close_object(json);
    }
    json_close_array(json);
}

/* ---- Waiting ------------------------------------------------------------ */

static void put_wait(struct json *json, const struct dump *dump,
                     const struct seen_thread *t)
{
    if (!t->waits)
        return;
    json_open_object(json, "waits");
    json_text(json, "for", dump_wait_kind(dump, t));
    if (t->object)
        json_address(json, "object", t->object);
    put_thread_number(json, "holder", dump, t->holder);
    if (t->has_deadline && dump->snapshot.taken_ns)
        json_number(json, "due_in_ns",
                    (int64_t)(t->deadline_ns - dump->snapshot.taken_ns));
    if (!t->has_deadline)
        json_unsigned(json, "waited_ns", t->waited_ns);
    json_close_object(json);
}

static void put_deadlocks(struct json *json, const struct dump *dump)
{
    json_open_array(json, "deadlocks");
    for (size_t i = 0; i < dump->circles.count; i++) {
        const struct circle *circle = &dump->circles.all[i];
        json_open_array(json, NULL);
        for (size_t j = 0; j < circle->count; j++) {
            const struct seen_thread *t =
                snapshot_thread(&dump->snapshot, circle->numbers[j]);
            json_open_object(json, NULL);
            json_unsigned(json, "thread", t->handle);
            put_wait(json, dump, t);
            json_close_object(json);
        }
        json_close_array(json);
    }
    json_close_array(json);
}

static void put_locks(struct json *json, const struct dump *dump)
{
    struct locks locks;
    locks_collect(&locks, dump);
    json_open_array(json, "locks");
    for (size_t i = 0; i < locks.count; i++) {
        json_open_object(json, NULL);
        json_text(json, "kind", locks.all[i].kind);
        json_address(json, "address", locks.all[i].address);
        json_unsigned(json, "waiters", locks.all[i].waiters);
        put_thread_number(json, "holder", dump, locks.all[i].holder);
        if (locks.all[i].site) {
            char place[2 * NAME_BYTES];
            dump_place(dump, locks.all[i].site, place, sizeof place);
            json_text(json, "taken_at", place);
        }
        json_close_object(json);
    }
    json_close_array(json);
    locks_free(&locks);
}

/* ---- Groups ------------------------------------------------------------- */

void dump_frame_json(void *arg, const struct symbol *symbol, uint64_t pc)
{
    struct json *json = arg;
    json_open_object(json, NULL);
    json_text(json, "function", symbol->function);
    if (symbol->file) {
        json_text(json, "file", symbol->file);
        json_unsigned(json, "line", symbol->line);
    }
    json_text(json, "module", symbol->module);
    json_address(json, "pc", pc);
    if (symbol->inlined_in)
        json_bool(json, "inlined", true);
    json_close_object(json);
}

static void put_stack(struct json *json, const struct dump *dump,
                      uint32_t number)
{
    const struct stack *stack = stacks_get(dump->snapshot.stacks, number);
    json_open_array(json, "stack");
    dump_frames(dump, number, dump_frame_json, json);
    json_close_array(json);
    if (stack && stack->is_cut)
        json_bool(json, "cut", true);
}

static void put_member(struct json *json, const struct dump *dump,
                       const struct seen_thread *t)
{
    json_open_object(json, NULL);
    json_unsigned(json, "id", t->handle);
    if (t->name[0])
        json_text(json, "name", t->name);
    if (t->os_thread)
        json_number(json, "os_thread", t->os_thread);
    if (t->depth_bytes)
        json_unsigned(json, "depth_bytes", t->depth_bytes);
    if (t->frozen_bytes)
        json_unsigned(json, "frozen_bytes", t->frozen_bytes);
    if (t->pins)
        json_unsigned(json, "pins", t->pins);
    put_wait(json, dump, t);
    json_close_object(json);
}

static void put_group(struct json *json, const struct dump *dump,
                      const struct group *group)
{
    char name[NAME_BYTES];
    const struct seen_thread *t = &dump->snapshot.threads[group->first];
    json_open_object(json, NULL);
    json_text(json, "state", dump_state(t));
    json_unsigned(json, "count", group->count);
    if (t->created_by) {
        char place[2 * NAME_BYTES];
        dump_place(dump, t->created_by, place, sizeof place);
        json_text(json, "created_at", place);
    }
    if (t->entry) {
        dump_function(dump, t->entry, name, sizeof name);
        json_text(json, "entry", name);
    }
    put_stack(json, dump, t->stack);
    json_open_array(json, "threads");
    for (uint32_t i = group->first; i != GROUP_END;
         i = dump->groups.next[i])
        put_member(json, dump, &dump->snapshot.threads[i]);
    json_close_array(json);
    json_close_object(json);
}

void dump_json(struct dump *dump)
{
    struct json json;
    json_start(&json, stdout, JSON_INDENTED);
    json_open_object(&json, NULL);
    put_head(&json, dump);
    if (dump->options.is_census) {
        dump_census_json(dump, &json);
    } else {
        put_schedulers(&json, dump);
        put_deadlocks(&json, dump);
        put_locks(&json, dump);
        dump_scopes_json(dump, &json);
        dump_hogs_json(dump, &json);
        json_open_array(&json, "groups");
        for (size_t i = 0; i < dump->groups.count; i++)
            put_group(&json, dump, &dump->groups.all[i]);
        json_close_array(&json);
    }
    json_close_object(&json);
}
