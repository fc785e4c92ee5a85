/*
 * pin_json.c - all that vthread pin knows, as JSON: for scripts, and for the
 * page.
 *
 * Places are listed once, and named by their number elsewhere; so are sites,
 * in the order of the table.  Times are in ns, those of episodes since the
 * first one began.
 */
#include <stdlib.h>

#include "json.h"
#include "pin_data.h"

static void write_place(struct json *json, const char *key, uint32_t place)
{
    if (place == PIN_NO_PLACE)
        json_null(json, key);
    else
        json_number(json, key, place);
}

static void write_places(struct json *json, const struct pin_data *data)
{
    json_open_array(json, "places");
    for (size_t i = 0; i < data->place_count; i++) {
        const struct place *place = &data->places[i];
        json_open_object(json, NULL);
        json_text(json, "function", place->function);
        json_text(json, "file", *place->file ? place->file : NULL);
        if (place->line)
            json_number(json, "line", place->line);
        json_text(json, "module", *place->module ? place->module : NULL);
        json_close_object(json);
    }
    json_close_array(json);
}

static void write_processes(struct json *json, const struct pin_data *data)
{
    json_open_array(json, "processes");
    for (size_t i = 0; i < data->process_count; i++) {
        const struct pin_process *process = &data->processes[i];
        json_open_object(json, NULL);
        json_number(json, "pid", process->pid);
        json_text(json, "libvthread", process->version);
        json_bool(json, "locks_tracked", process->locks_tracked);
        json_unsigned(json, "threshold_ns", process->threshold_ns);
        json_close_object(json);
    }
    json_close_array(json);
}

static void write_reasons(struct json *json, uint32_t reasons)
{
    static const struct {
        uint32_t reason;
        const char *name;
    } names[] = {{VTHREAD_PINNED_BY_LOCK, "lock"},
                 {VTHREAD_PINNED_BY_PIN, "pin"},
                 {VTHREAD_PINNED_BY_FOREIGN, "foreign"},
                 {VTHREAD_PINNED_BY_NO_MEMORY, "no memory"}};
    json_open_array(json, "reasons");
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (reasons & names[i].reason)
            json_text(json, NULL, names[i].name);
    json_close_array(json);
}

static void write_site(struct json *json, const struct pin_data *data,
                       const struct pin_site *site)
{
    const struct pin_episode *example = &data->episodes[site->example];
    char cause[192];
    pin_describe_cause(site, example, cause, sizeof cause);
    json_open_object(json, NULL);
    json_text(json, "pinned_by", cause);
    write_reasons(json, site->reasons);
    write_place(json, "taken", site->taken);
    write_place(json, "parked", site->parked);
    json_text(json, "waits_for", example->told.waits_for);
    json_number(json, "count", site->count);
    json_unsigned(json, "others_lost_ns", site->delay_ns);
    json_unsigned(json, "total_ns", site->total_ns);
    json_unsigned(json, "longest_ns", site->longest_ns);
    json_unsigned(json, "waiters", site->waiters);
    json_unsigned(json, "spare_carriers", site->spares);
    json_close_object(json);
}

static void write_holds(struct json *json, const struct pin_episode *episode)
{
    json_open_array(json, "holds");
    for (uint32_t i = 0; i < episode->told.hold_count; i++) {
        const vthread_pin_hold_t *hold = &episode->told.holds[i];
        json_open_object(json, NULL);
        json_text(json, "kind", pin_kind_name(hold->kind));
        if (hold->object)
            json_address(json, "address", hold->object);
        if (*episode->locks[i])
            json_text(json, "name", episode->locks[i]);
        write_place(json, "taken", episode->taken[i]);
        json_unsigned(json, "others_waited_ns", hold->waited_ns);
        json_number(json, "waiters", hold->waiters);
        json_close_object(json);
    }
    json_close_array(json);
}

static void write_stack(struct json *json, const struct pin_episode *episode)
{
    json_open_array(json, "stack");
    for (uint32_t i = 0; i < episode->frame_count; i++)
        json_number(json, NULL, episode->frames[i]);
    json_close_array(json);
}

static void write_episode(struct json *json, const struct pin_data *data,
                          const struct pin_episode *episode,
                          const uint32_t *rank, uint64_t start_ns)
{
    const vthread_pin_episode_t *told = &episode->told;
    json_open_object(json, NULL);
    json_number(json, "site", rank[episode->site]);
    json_number(json, "pid", data->processes[episode->process].pid);
    json_unsigned(json, "number", told->number);
    json_unsigned(json, "start_ns", told->start_ns - start_ns);
    json_unsigned(json, "duration_ns", told->duration_ns);
    json_unsigned(json, "others_lost_ns", told->delay_ns);
    json_unsigned(json, "thread", told->thread);
    json_text(json, "name", told->name);
    json_text(json, "entry", episode->entry);
    json_number(json, "scheduler", told->scheduler);
    json_number(json, "carrier", told->carrier);
    json_number(json, "os_thread", told->os_thread);
    write_reasons(json, told->reasons);
    if (*told->why)
        json_text(json, "why", told->why);
    json_text(json, "waits_for", told->waits_for);
    json_number(json, "ready", told->ready);
    json_number(json, "stranded", told->stranded);
    json_number(json, "spare_carriers", told->spares);
    write_holds(json, episode);
    write_stack(json, episode);
    json_close_object(json);
}

/* By the time it began, of the first. */
static uint64_t start_of(const struct pin_data *data)
{
    uint64_t start_ns = UINT64_MAX;
    for (size_t i = 0; i < data->episode_count; i++)
        if (data->episodes[i].told.start_ns < start_ns)
            start_ns = data->episodes[i].told.start_ns;
    return start_ns;
}

static void write_sites_and_episodes(struct json *json,
                                     const struct pin_data *data)
{
    uint32_t *order = pin_data_order(data);
    uint32_t *rank = pin_data_order(data);
    uint64_t start_ns = start_of(data);
    json_open_array(json, "sites");
    for (size_t i = 0; i < data->site_count; i++) {
        rank[order[i]] = (uint32_t)i;
        write_site(json, data, &data->sites[order[i]]);
    }
    json_close_array(json);
    json_open_array(json, "episodes");
    for (size_t i = 0; i < data->episode_count; i++)
        write_episode(json, data, &data->episodes[i], rank, start_ns);
    json_close_array(json);
    free(order);
    free(rank);
}

void pin_write_json(FILE *out, const struct pin_data *data, const char *title)
{
    struct json json;
    json_start(&json, out, JSON_INDENTED);
    json_open_object(&json, NULL);
    json_text(&json, "target", title);
    json_text(&json, "tool", PACKAGE_VERSION);
    write_processes(&json, data);
    json_unsigned(&json, "dropped", data->dropped);
    write_places(&json, data);
    write_sites_and_episodes(&json, data);
    json_close_object(&json);
}
