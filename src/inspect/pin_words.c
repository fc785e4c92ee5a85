/*
 * pin_words.c - an episode in words.
 *
 * For a reader who has never heard of pins: who, why, since where, waiting for
 * what, at whose cost; and the command that turns the addresses into lines.
 *
 * Not here: when and where they are printed (pin_report.c).
 */
#include "inspect/pin_words.h"

#include <string.h>

#include "entry.h"
#include "inspect/place.h"
#include "platform/panic.h"

enum { PLACE_BYTES = 200, MODULES_MAX = 3 };

typedef vthread_pin_episode_t episode_t;

void words_add(struct words *words, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    words->length += format_text_list(words->start + words->length,
                                      words->size_bytes - words->length,
                                      format, &args);
    va_end(args);
}

void words_add_time(struct words *words, uint64_t ns)
{
    bool is_short = ns < 1000000;
    uint64_t tenths = ns / (is_short ? 100 : 100000);
    words_add(words, "%lu.%lu %s", tenths / 10, tenths % 10,
              is_short ? "us" : "ms");
}

static void add_place(struct words *words, uint64_t address)
{
    char text[PLACE_BYTES];
    struct place place;
    place_find(address, &place);
    place_describe(&place, text, sizeof text);
    words_add(words, "%s", text);
}

/* Where it lies, if that is no heap or stack. */
static void add_variable(struct words *words, uint64_t address)
{
    char text[PLACE_BYTES];
    struct place place;
    place_find_data(address, &place);
    if (!place.file[0])
        return;
    place_describe(&place, text, sizeof text);
    words_add(words, " in %s", text);
}

/* ---- Who ---------------------------------------------------------------- */

static void add_who(struct words *words, const episode_t *episode)
{
    char entry[PLACE_BYTES];
    entry_describe((entry_fn)(uintptr_t)episode->entry, entry, sizeof entry);
    words_add(words, "thread %lu%s%s%s (entry %s) kept carrier %u of "
                     "scheduler %u for ",
              (unsigned long)episode->thread, *episode->name ? " '" : "",
              episode->name, *episode->name ? "'" : "", entry,
              episode->carrier, episode->scheduler);
    words_add_time(words, episode->duration_ns);
    words_add(words, ": it waited while it was pinned\n");
}

/* ---- Why ---------------------------------------------------------------- */

static const char *kind_words(uint32_t kind)
{
    static const char *const words[] = {
        [VTHREAD_HOLD_MUTEX] = "mutex",
        [VTHREAD_HOLD_READ] = "rwlock (to read)",
        [VTHREAD_HOLD_WRITE] = "rwlock (to write)",
        [VTHREAD_HOLD_PIN] = "pin",
        [VTHREAD_HOLD_COND] = "condition",
        [VTHREAD_HOLD_OTHER] = "lock",
    };
    return kind < sizeof words / sizeof words[0] ? words[kind] : "lock";
}

static void add_waiters(struct words *words, const vthread_pin_hold_t *hold)
{
    if (hold->waiters == 0)
        return;
    words_add(words, "; meanwhile %u other%s waited for it, ", hold->waiters,
              hold->waiters == 1 ? "" : "s");
    words_add_time(words, hold->waited_ns);
    words_add(words, " together");
}

static void add_hold(struct words *words, const episode_t *episode,
                     const vthread_pin_hold_t *hold)
{
    if (hold->kind == VTHREAD_HOLD_PIN) {
        words_add(words, "was pinned by vthread_pin at ");
        add_place(words, hold->site);
        if (*episode->why)
            words_add(words, ": %s", episode->why);
        return;
    }
    words_add(words, "held %s %p", kind_words(hold->kind),
              (void *)(uintptr_t)hold->object);
    add_variable(words, hold->object);
    words_add(words, ", taken at ");
    add_place(words, hold->site);
    if (hold->count > 1)
        words_add(words, " and %u times more", hold->count - 1);
}

static void add_other_reasons(struct words *words, const episode_t *episode,
                              const char *before)
{
    if (episode->reasons & VTHREAD_PINNED_BY_FOREIGN)
        words_add(words, "%sforeign code that called back, or is being "
                         "called, lies below", before);
    if (episode->reasons & VTHREAD_PINNED_BY_NO_MEMORY)
        words_add(words, "%sthere was no memory to keep its frames", before);
}

void words_add_reason(struct words *words, const episode_t *episode)
{
    for (uint32_t i = 0; i < episode->hold_count; i++) {
        words_add(words, i > 0 ? ", and " : "");
        add_hold(words, episode, &episode->holds[i]);
    }
    add_other_reasons(words, episode, episode->hold_count > 0 ? ", and " : "");
    if (episode->hold_count == 0
        && episode->reasons & VTHREAD_PINNED_BY_PIN)
        words_add(words, "was pinned by vthread_pin");
}

static void add_why(struct words *words, const episode_t *episode)
{
    for (uint32_t i = 0; i < episode->hold_count; i++) {
        words_add(words, "  it ");
        add_hold(words, episode, &episode->holds[i]);
        add_waiters(words, &episode->holds[i]);
        words_add(words, "\n");
    }
    if (episode->holds_left_out > 0)
        words_add(words, "  and %u more that are not listed\n",
                  episode->holds_left_out);
    if (episode->reasons
        & (VTHREAD_PINNED_BY_FOREIGN | VTHREAD_PINNED_BY_NO_MEMORY)) {
        words_add(words, " ");
        add_other_reasons(words, episode, " ");
        words_add(words, "\n");
    }
    if (!episode->locks_tracked)
        words_add(words, "  pthread locks are not tracked, so it may have "
                         "held some: see vthread_pin(7)\n");
}

/* ---- Where -------------------------------------------------------------- */

static bool is_ours(uint64_t address)
{
    struct place place;
    place_find(address, &place);
    return place.is_ours;
}

/* The first frame that the user knows; frame_count: none.  And the first
 * behind them. */
static uint32_t first_of_user(const episode_t *episode)
{
    uint32_t i = 0;
    while (i < episode->frame_count && is_ours(episode->frames[i]))
        i++;
    return i;
}

static uint32_t end_of_user(const episode_t *episode)
{
    uint32_t end = episode->frame_count;
    while (end > 0 && is_ours(episode->frames[end - 1]))
        end--;
    return end;
}

static void add_wait(struct words *words, const episode_t *episode)
{
    words_add(words, "%s", episode->waits_for);
    if (episode->waits_on)
        words_add(words, " %p", (void *)(uintptr_t)episode->waits_on);
    if (episode->holder)
        words_add(words, "%sthread %lu", episode->waits_on ? " held by " : " ",
                  (unsigned long)episode->holder);
}

void words_add_wait(struct words *words, const episode_t *episode)
{
    uint32_t first = first_of_user(episode);
    add_wait(words, episode);
    if (first < episode->frame_count) {
        words_add(words, ", at ");
        add_place(words, episode->frames[first]);
    }
}

static void add_where(struct words *words, const episode_t *episode)
{
    words_add(words, "  it ");
    add_wait(words, episode);
    words_add(words, episode->frame_count > 0 ? ", at\n" : "\n");
    uint32_t end = end_of_user(episode);
    for (uint32_t i = first_of_user(episode); i < end; i++) {
        words_add(words, "    ");
        add_place(words, episode->frames[i]);
        for (uint32_t h = 0; h < episode->hold_count; h++)
            if (episode->holds[h].frame == i
                && episode->holds[h].kind != VTHREAD_HOLD_PIN)
                words_add(words, ", which took %s %p",
                          kind_words(episode->holds[h].kind),
                          (void *)(uintptr_t)episode->holds[h].object);
        words_add(words, "\n");
    }
}

/* ---- What it cost ------------------------------------------------------- */

static void add_cost(struct words *words, const episode_t *episode)
{
    if (episode->delay_ns + episode->spares + episode->stranded == 0)
        return;
    words_add(words, "  it delayed others by ");
    words_add_time(words, episode->delay_ns);
    if (episode->stranded > 0)
        words_add(words, "; %u ready thread%s %s taken by nobody",
                  episode->stranded, episode->stranded == 1 ? "" : "s",
                  episode->stranded == 1 ? "was" : "were");
    if (episode->spares > 0)
        words_add(words, "; %u spare carrier%s started meanwhile",
                  episode->spares, episode->spares == 1 ? " was" : "s were");
    words_add(words, "\n");
}

/* ---- Lines -------------------------------------------------------------- */

struct module {
    char file[sizeof((struct place *)0)->file];
    uint64_t offsets[VTHREAD_PIN_FRAMES_MAX + VTHREAD_PIN_HOLDS_MAX];
    unsigned count;
};

static void add_to_module(struct module *modules, uint64_t address)
{
    struct place place;
    place_find(address, &place);
    if (place.is_ours || !place.file[0])
        return;
    for (unsigned i = 0; i < MODULES_MAX; i++) {
        struct module *module = &modules[i];
        if (module->count > 0 && strcmp(module->file, place.file) != 0)
            continue;
        memcpy(module->file, place.file, sizeof place.file);
        module->offsets[module->count++] = place.offset;
        return;
    }
}

/* Where locks were taken, then where it waited. */
static void add_commands(struct words *words, const episode_t *episode)
{
    struct module modules[MODULES_MAX] = {{.count = 0}};
    for (uint32_t i = 0; i < episode->hold_count; i++)
        add_to_module(modules, episode->holds[i].site);
    for (uint32_t i = 0; i < episode->frame_count; i++)
        add_to_module(modules, episode->frames[i]);
    for (unsigned i = 0; i < MODULES_MAX && modules[i].count > 0; i++) {
        words_add(words, "  lines: addr2line -Cfipe %s", modules[i].file);
        for (unsigned n = 0; n < modules[i].count; n++)
            words_add(words, " 0x%lx", (unsigned long)modules[i].offsets[n]);
        words_add(words, "\n");
    }
}

size_t vthread_pin_describe(const vthread_pin_episode_t *episode,
                            char *buffer, size_t size_bytes)
{
    struct words words = {buffer, size_bytes, 0};
    if (size_bytes == 0)
        return 0;
    add_who(&words, episode);
    add_why(&words, episode);
    add_where(&words, episode);
    add_cost(&words, episode);
    add_commands(&words, episode);
    return words.length;
}
