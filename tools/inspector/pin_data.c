/*
 * pin_data.c - keeps episodes, finds their places, and puts those that are
 * alike together.
 *
 * The place of a wait is the innermost frame that is not the library's own,
 * for all waits end there.
 */
#include "pin_data.h"

#include <stdlib.h>
#include <string.h>

#include "inspector.h"
#include "sample.h"

enum { INLINED_MAX = 16, LIBRARYS_MAX = 16 };

/* ---- Processes ---------------------------------------------------------- */

uint32_t pin_data_add_process(struct pin_data *data, pid_t pid)
{
    data->processes = sample_grow(data->processes, &data->process_count,
                                  sizeof *data->processes);
    struct pin_process *process = &data->processes[data->process_count - 1];
    process->pid = pid;
    process->places = places_open(pid);
    return (uint32_t)data->process_count - 1;
}

void pin_data_set_header(struct pin_process *process,
                         const struct pin_header *header)
{
    process->is_known = true;
    process->locks_tracked = header->locks_tracked;
    process->threshold_ns = header->threshold_ns;
    process->to_realtime_ns =
        (int64_t)(header->realtime_ns - header->monotonic_ns);
}

/* ---- Places ------------------------------------------------------------- */

static bool is_same_place(const struct place *a, const struct place *b)
{
    return a->line == b->line && strcmp(a->function, b->function) == 0
           && strcmp(a->file, b->file) == 0
           && strcmp(a->module, b->module) == 0;
}

/* What has been loaded since they were opened is not known yet. */
static size_t find_places(struct pin_process *process, uint64_t address,
                          struct place *found, size_t room)
{
    bool is_known;
    size_t count =
        places_find(process->places, address, found, room, &is_known);
    struct places *again = is_known ? NULL : places_open(process->pid);
    if (!again)
        return count;
    count = places_find(again, address, found, room, &is_known);
    if (!is_known) {
        places_close(again);
        return count;
    }
    places_close(process->places);
    process->places = again;
    return count;
}

static uint32_t add_place(struct pin_data *data, const struct place *place)
{
    for (size_t i = 0; i < data->place_count; i++)
        if (is_same_place(&data->places[i], place))
            return (uint32_t)i;
    data->places =
        sample_grow(data->places, &data->place_count, sizeof *data->places);
    data->places[data->place_count - 1] = *place;
    return (uint32_t)data->place_count - 1;
}

/* Where a lock was taken: the line itself, whatever it is inlined into. */
static uint32_t place_of_site(struct pin_data *data, uint32_t process,
                              uint64_t address)
{
    struct place found[INLINED_MAX];
    if (address == 0)
        return PIN_NO_PLACE;
    find_places(&data->processes[process], address, found, INLINED_MAX);
    return add_place(data, found);
}

static bool starts_with(const char *text, const char *beginning)
{
    return strncmp(text, beginning, strlen(beginning)) == 0;
}

static bool is_in_library(const struct place *place)
{
    return starts_with(place->module, "libvthread");
}

/* What a program calls to wait: in one that is linked with the archive the
 * frames before it are the library's, too. */
static bool is_way_in(const struct place *place)
{
    return starts_with(place->function, "vthread_")
           || starts_with(place->function, "pthread_")
           || starts_with(place->function, "__wrap_");
}

/* What calls the entry function. */
static bool is_way_out(const struct place *place)
{
    return is_in_library(place) || strcmp(place->function, "thread_main") == 0
           || strcmp(place->function, "switch_base") == 0;
}

/* Leaves the frames of the program: between the library's that wait, and the
 * library's that have called it.  Of a stack that is the library's from end
 * to end all. */
static void trim(const struct pin_data *data, struct pin_episode *episode)
{
    uint32_t first = 0, end = episode->frame_count;
    uint32_t *frames = episode->frames;
    while (end > 0 && is_way_out(&data->places[frames[end - 1]]))
        end--;
    for (uint32_t i = 0; i < end && i < LIBRARYS_MAX; i++)
        if ((first == i && is_in_library(&data->places[frames[i]]))
            || is_way_in(&data->places[frames[i]]))
            first = i + 1;
    if (first >= end)
        return;
    episode->frame_count = end - first;
    memmove(frames, frames + first, (end - first) * sizeof *frames);
}

static void add_frame(struct pin_data *data, struct pin_episode *episode,
                      uint64_t address)
{
    struct place found[INLINED_MAX];
    if (address == 0)
        return;
    size_t count = find_places(&data->processes[episode->process], address,
                               found, INLINED_MAX);
    for (size_t i = 0; i < count && episode->frame_count < PIN_FRAMES_MAX; i++)
        episode->frames[episode->frame_count++] = add_place(data, &found[i]);
}

static void add_places(struct pin_data *data, struct pin_episode *episode)
{
    const vthread_pin_episode_t *told = &episode->told;
    for (uint32_t i = 0; i < told->hold_count; i++) {
        episode->taken[i] =
            place_of_site(data, episode->process, told->holds[i].site);
        /* After that, which looks anew at what the process has loaded. */
        places_variable(data->processes[episode->process].places,
                        told->holds[i].object, episode->locks[i],
                        sizeof episode->locks[i]);
    }
    for (uint32_t i = 0; i < told->frame_count; i++)
        add_frame(data, episode, told->frames[i]);
    trim(data, episode);
    places_entry(data->processes[episode->process].places, told->entry,
                 episode->entry, sizeof episode->entry);
}

/* ---- Sites -------------------------------------------------------------- */

const vthread_pin_hold_t *pin_data_lock(const struct pin_episode *episode)
{
    const vthread_pin_episode_t *told = &episode->told;
    const vthread_pin_hold_t *found = NULL;
    for (uint32_t i = 0; i < told->hold_count; i++)
        if (!found || told->holds[i].waited_ns > found->waited_ns)
            found = &told->holds[i];
    return found;
}

static struct pin_site key_of(const struct pin_episode *episode)
{
    const vthread_pin_hold_t *lock = pin_data_lock(episode);
    return (struct pin_site){
        .reasons = episode->told.reasons,
        .taken =
            lock ? episode->taken[lock - episode->told.holds] : PIN_NO_PLACE,
        .parked = episode->frame_count ? episode->frames[0] : PIN_NO_PLACE,
    };
}

static struct pin_site *site_for(struct pin_data *data,
                                 struct pin_episode *episode)
{
    struct pin_site key = key_of(episode);
    for (size_t i = 0; i < data->site_count; i++) {
        struct pin_site *site = &data->sites[i];
        if (site->reasons == key.reasons && site->taken == key.taken
            && site->parked == key.parked) {
            episode->site = (uint32_t)i;
            return site;
        }
    }
    data->sites =
        sample_grow(data->sites, &data->site_count, sizeof *data->sites);
    episode->site = (uint32_t)data->site_count - 1;
    data->sites[episode->site] = key;
    return &data->sites[episode->site];
}

static uint64_t lock_address(const struct pin_episode *episode)
{
    const vthread_pin_hold_t *lock = pin_data_lock(episode);
    return lock ? lock->object : 0;
}

static void add_to_site(struct pin_data *data, uint32_t number)
{
    struct pin_episode *episode = &data->episodes[number];
    const vthread_pin_episode_t *told = &episode->told;
    struct pin_site *site = site_for(data, episode);
    uint64_t address = lock_address(episode);
    if (site->count++ == 0)
        site->locks = address != 0;
    else if (address != lock_address(&data->episodes[site->example]))
        site->locks = 2;
    site->total_ns += told->duration_ns;
    site->delay_ns += told->delay_ns;
    site->spares += told->spares;
    for (uint32_t i = 0; i < told->hold_count; i++)
        site->waiters += told->holds[i].waiters;
    if (told->duration_ns < site->longest_ns)
        return;
    site->longest_ns = told->duration_ns;
    site->example = number;
}

/* ---- Episodes ----------------------------------------------------------- */

/* What comes from another process is not trusted. */
static void check(vthread_pin_episode_t *told)
{
    if (told->hold_count > VTHREAD_PIN_HOLDS_MAX)
        told->hold_count = VTHREAD_PIN_HOLDS_MAX;
    if (told->frame_count > VTHREAD_PIN_FRAMES_MAX)
        told->frame_count = VTHREAD_PIN_FRAMES_MAX;
    told->waits_for[sizeof told->waits_for - 1] = '\0';
    told->name[sizeof told->name - 1] = '\0';
    told->why[sizeof told->why - 1] = '\0';
}

/* Those before the first one that came were before our time. */
static void count_dropped(struct pin_data *data, struct pin_process *process,
                          uint64_t number)
{
    if (process->last_number > 0 && number > process->last_number + 1)
        data->dropped += number - process->last_number - 1;
    process->last_number = number;
}

uint32_t pin_data_add(struct pin_data *data, uint32_t process,
                      const vthread_pin_episode_t *told)
{
    data->episodes = sample_grow(data->episodes, &data->episode_count,
                                 sizeof *data->episodes);
    uint32_t number = (uint32_t)data->episode_count - 1;
    struct pin_episode *episode = &data->episodes[number];
    episode->told = *told;
    episode->process = process;
    check(&episode->told);
    count_dropped(data, &data->processes[process], told->number);
    add_places(data, episode);
    add_to_site(data, number);
    return number;
}

static int compare_sites(const void *left, const void *right, void *arg)
{
    const struct pin_data *data = arg;
    const struct pin_site *a = &data->sites[*(const uint32_t *)left];
    const struct pin_site *b = &data->sites[*(const uint32_t *)right];
    if (a->delay_ns != b->delay_ns)
        return a->delay_ns < b->delay_ns ? 1 : -1;
    if (a->total_ns != b->total_ns)
        return a->total_ns < b->total_ns ? 1 : -1;
    return *(const uint32_t *)left < *(const uint32_t *)right ? -1 : 1;
}

uint32_t *pin_data_order(const struct pin_data *data)
{
    uint32_t *order = NULL;
    size_t count = 0;
    while (count < data->site_count) {
        order = sample_grow(order, &count, sizeof *order);
        order[count - 1] = (uint32_t)count - 1;
    }
    if (count > 1)
        qsort_r(order, count, sizeof *order, compare_sites, (void *)data);
    return order;
}

void pin_data_free(struct pin_data *data)
{
    for (size_t i = 0; i < data->process_count; i++)
        places_close(data->processes[i].places);
    free(data->processes);
    free(data->episodes);
    free(data->sites);
    free(data->places);
}
