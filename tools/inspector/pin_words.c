/*
 * pin_words.c - episodes and sites in words: the lines as they happen, and the
 * table at the end.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pin_data.h"

enum { PLACE_BYTES = 192, CAUSE_BYTES = 192, CALLERS_SHOWN = 4 };

const char *pin_describe_ns(uint64_t ns, char text[24])
{
    double value = (double)ns;
    if (ns < 1000000)
        snprintf(text, 24, "%.0f us", value / 1e3);
    else if (ns < 1000000000)
        snprintf(text, 24, "%.1f ms", value / 1e6);
    else
        snprintf(text, 24, "%.2f s", value / 1e9);
    return text;
}

const char *pin_kind_name(uint32_t kind)
{
    switch (kind) {
    case VTHREAD_HOLD_MUTEX:
        return "mutex";
    case VTHREAD_HOLD_READ:
        return "rwlock (to read)";
    case VTHREAD_HOLD_WRITE:
        return "rwlock (to write)";
    case VTHREAD_HOLD_PIN:
        return "vthread_pin";
    default:
        return "lock";
    }
}

void pin_describe_place(const struct pin_data *data, uint32_t number,
                        char *buffer, size_t size)
{
    if (number == PIN_NO_PLACE) {
        snprintf(buffer, size, "not known");
        return;
    }
    const struct place *place = &data->places[number];
    if (*place->file)
        snprintf(buffer, size, "%s (%s:%u)", place->function, place->file,
                 place->line);
    else if (*place->module)
        snprintf(buffer, size, "%s (%s)", place->function, place->module);
    else
        snprintf(buffer, size, "%s", place->function);
}

/* Without a lock: why it was pinned. */
static const char *reason_name(uint32_t reasons)
{
    if (reasons & VTHREAD_PINNED_BY_FOREIGN)
        return "a foreign function that called back";
    if (reasons & VTHREAD_PINNED_BY_NO_MEMORY)
        return "no memory for its frames";
    if (reasons & VTHREAD_PINNED_BY_PIN)
        return "vthread_pin";
    return "a reason that is not known";
}

void pin_describe_cause(const struct pin_site *site,
                        const struct pin_episode *episode, char *buffer,
                        size_t size)
{
    const vthread_pin_hold_t *lock = pin_data_lock(episode);
    const char *why = episode->told.why;
    if (!lock)
        snprintf(buffer, size, "%s", reason_name(episode->told.reasons));
    else if (lock->object == 0)
        snprintf(buffer, size, "%s%s%s%s", pin_kind_name(lock->kind),
                 *why ? " (" : "", why, *why ? ")" : "");
    else if (site && site->locks > 1)
        snprintf(buffer, size, "%s, several of them",
                 pin_kind_name(lock->kind));
    else if (*episode->locks[lock - episode->told.holds])
        snprintf(buffer, size, "%s %s", pin_kind_name(lock->kind),
                 episode->locks[lock - episode->told.holds]);
    else
        snprintf(buffer, size, "%s %#" PRIx64, pin_kind_name(lock->kind),
                 lock->object);
}

/* ---- As they happen ----------------------------------------------------- */

/* When it ended. */
static void describe_time(const struct pin_data *data,
                          const struct pin_episode *episode, char text[24])
{
    const struct pin_process *process = &data->processes[episode->process];
    int64_t end_ns =
        (int64_t)(episode->told.start_ns + episode->told.duration_ns)
        + process->to_realtime_ns;
    time_t seconds = (time_t)(end_ns / 1000000000);
    struct tm parts;
    char clock[16];
    localtime_r(&seconds, &parts);
    strftime(clock, sizeof clock, "%H:%M:%S", &parts);
    snprintf(text, 24, "%s.%03d", clock, (int)(end_ns % 1000000000 / 1000000));
}

static const char *who(const struct pin_episode *episode)
{
    return *episode->told.name ? episode->told.name : episode->entry;
}

void pin_print_episode(FILE *out, const struct pin_data *data, uint32_t number)
{
    const struct pin_episode *episode = &data->episodes[number];
    const struct pin_site *site = &data->sites[episode->site];
    char when[24], lasted[24], delay[24];
    char cause[CAUSE_BYTES], taken[PLACE_BYTES], parked[PLACE_BYTES];
    describe_time(data, episode, when);
    pin_describe_cause(NULL, episode, cause, sizeof cause);
    pin_describe_place(data, site->taken, taken, sizeof taken);
    pin_describe_place(data, site->parked, parked, sizeof parked);
    fprintf(out, "%s  pinned %8s  %s: %s", when,
            pin_describe_ns(episode->told.duration_ns, lasted), who(episode),
            cause);
    if (site->taken != PIN_NO_PLACE)
        fprintf(out, " taken in %s", taken);
    fprintf(out, ", waits in %s", parked);
    if (episode->told.delay_ns > 0)
        fprintf(out, "; others lost %s",
                pin_describe_ns(episode->told.delay_ns, delay));
    fputc('\n', out);
}

/* ---- At the end --------------------------------------------------------- */

/* "query <- price <- serve", from the place of the wait outwards. */
static void print_callers(FILE *out, const struct pin_data *data,
                          const struct pin_episode *episode)
{
    for (uint32_t i = 1; i < episode->frame_count && i <= CALLERS_SHOWN; i++) {
        char place[PLACE_BYTES];
        pin_describe_place(data, episode->frames[i], place, sizeof place);
        fprintf(out, "      from    %s\n", place);
    }
}

static void print_site(FILE *out, const struct pin_data *data, unsigned rank,
                       const struct pin_site *site)
{
    const struct pin_episode *example = &data->episodes[site->example];
    char delay[24], total[24], longest[24];
    char cause[CAUSE_BYTES], taken[PLACE_BYTES], parked[PLACE_BYTES];
    pin_describe_cause(site, example, cause, sizeof cause);
    pin_describe_place(data, site->taken, taken, sizeof taken);
    pin_describe_place(data, site->parked, parked, sizeof parked);
    fprintf(out, "%3u  %11s  %10s  %10s  %6u  %s\n", rank,
            site->delay_ns ? pin_describe_ns(site->delay_ns, delay) : "-",
            pin_describe_ns(site->total_ns, total),
            pin_describe_ns(site->longest_ns, longest), site->count, cause);
    if (site->taken != PIN_NO_PLACE)
        fprintf(out, "      taken   %s\n", taken);
    fprintf(out, "      parked  %s; %s\n", parked, example->told.waits_for);
    print_callers(out, data, example);
}

static void print_notes(FILE *out, const struct pin_data *data)
{
    bool is_any_tracked = false;
    for (size_t i = 0; i < data->process_count; i++) {
        if (!data->processes[i].is_known)
            continue;
        if (data->processes[i].locks_tracked)
            is_any_tracked = true;
        else
            fprintf(out,
                    "Locks are NOT TRACKED in process %d: what it held is "
                    "not known.\n",
                    (int)data->processes[i].pid);
    }
    if (is_any_tracked && data->site_count > 0)
        fprintf(out, "Locks inside libc (of stdio, the allocator, the loader) "
                     "are not seen.\n");
    if (data->dropped > 0)
        fprintf(out,
                "%" PRIu64 " more came too fast, and are not in this "
                "table.\n",
                data->dropped);
}

static void print_heading(FILE *out, const struct pin_data *data)
{
    fprintf(out,
            "\n%zu %s, at %zu %s; what delayed others most comes first.\n\n"
            "     OTHERS LOST       TOTAL     LONGEST   COUNT  PINNED BY\n",
            data->episode_count,
            data->episode_count == 1 ? "wait of a pinned thread"
                                     : "waits of pinned threads",
            data->site_count, data->site_count == 1 ? "place" : "places");
}

void pin_print_sites(FILE *out, const struct pin_data *data)
{
    uint32_t *order = pin_data_order(data);
    if (data->site_count == 0)
        fprintf(out, "No thread was pinned for long.\n");
    else
        print_heading(out, data);
    for (size_t i = 0; i < data->site_count; i++)
        print_site(out, data, (unsigned)i + 1, &data->sites[order[i]]);
    print_notes(out, data);
    free(order);
}
