/*
 * pin_report.c - the OS thread that tells of episodes.
 *
 * It reads the ring (pin_ring.c) and passes each episode to the function that
 * vthread_pin_notify was given, and with VTHREAD_PIN=report to standard error.
 * So whoever was pinned does not wait for a terminal, the loader's lock, or a
 * function of the program.  It is started when one of the two is asked for.
 *
 * Episodes that are alike are told the first, second, fourth, eighth ... time,
 * and summed up at the end of the process.  Alike are those with the same
 * reasons, and the same places: of the last lock or pin, and of the wait.
 */
#include "inspect/pin_report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <vthread.h>

#include "inspect/pin.h"
#include "inspect/pin_ring.h"
#include "inspect/pin_words.h"
#include "platform/clock.h"
#include "platform/futex.h"
#include "platform/os_thread.h"
#include "platform/panic.h"
#include "settings.h"

enum { TEXT_BYTES = 8192, LINE_BYTES = 1000, GROUPS_MAX = 64, TOLD_MAX = 20 };

/* Episodes that are alike. */
struct group {
    vthread_pin_episode_t first;
    uint64_t count, total_ns, longest_ns, delay_ns;
};

static struct os_lock lock;
static struct group groups[GROUPS_MAX]; /* L, all of these */
static uint64_t seen;                   /* number of the last one looked at */
static uint64_t dropped, ungrouped;
static void (*notify_fn)(void *arg, const vthread_pin_episode_t *episode);
static void *notify_arg;
static bool has_reader;

/* A: the number that the reader waits for; 0: it is at work. */
static _Atomic uint64_t waits_for_number;
static __thread bool is_reader;

/* ---- Lines -------------------------------------------------------------- */

void pin_report_lines(const char *text)
{
    while (*text) {
        const char *end = strchrnul(text, '\n');
        char line[LINE_BYTES];
        size_t length = (size_t)(end - text);
        if (length >= sizeof line)
            length = sizeof line - 1;
        memcpy(line, text, length);
        line[length] = '\0';
        report("pin: %s", line);
        text = *end ? end + 1 : end;
    }
}

void pin_report_now(const vthread_pin_episode_t *episode)
{
    char text[TEXT_BYTES];
    vthread_pin_describe(episode, text, sizeof text);
    pin_report_lines(text);
}

/* ---- What is alike ------------------------------------------------------ */

static bool are_alike(const vthread_pin_episode_t *a,
                      const vthread_pin_episode_t *b)
{
    return a->reasons == b->reasons && a->frame_count == b->frame_count
           && a->hold_count == b->hold_count
           && (a->hold_count == 0 || a->holds[0].site == b->holds[0].site)
           && memcmp(a->frames, b->frames,
                     a->frame_count * sizeof a->frames[0])
                  == 0;
}

/* NULL: there is no room. */
static struct group *group_of(const vthread_pin_episode_t *episode)
{
    for (unsigned i = 0; i < GROUPS_MAX; i++) {
        if (groups[i].count == 0)
            groups[i].first = *episode;
        else if (!are_alike(&groups[i].first, episode))
            continue;
        return &groups[i];
    }
    return NULL;
}

/* How often the like of it has been seen, with this one; 0: not known. */
static uint64_t add_to_group(const vthread_pin_episode_t *episode)
{
    struct group *group = group_of(episode);
    if (!group) {
        ungrouped++;
        return 0;
    }
    group->count++;
    group->total_ns += episode->duration_ns;
    group->delay_ns += episode->delay_ns;
    if (episode->duration_ns > group->longest_ns)
        group->longest_ns = episode->duration_ns;
    return group->count;
}

static bool is_power_of_two(uint64_t n)
{
    return n != 0 && (n & (n - 1)) == 0;
}

/* ---- The summary -------------------------------------------------------- */

static int by_cost(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    if (x->delay_ns != y->delay_ns)
        return x->delay_ns < y->delay_ns ? 1 : -1;
    return x->total_ns < y->total_ns ? 1 : x->total_ns > y->total_ns ? -1 : 0;
}

static void sum_up_group(struct words *words, const struct group *group)
{
    words_add(words, "  %lu time%s, ", (unsigned long)group->count,
              group->count == 1 ? "" : "s");
    words_add_time(words, group->total_ns);
    words_add(words, " in all, the longest ");
    words_add_time(words, group->longest_ns);
    if (group->delay_ns > 0) {
        words_add(words, ", cost others ");
        words_add_time(words, group->delay_ns);
    }
    words_add(words, ": ");
    words_add_reason(words, &group->first);
    words_add(words, "; ");
    words_add_wait(words, &group->first);
    words_add(words, "\n");
}

static void sum_up(void)
{
    static char text[TEXT_BYTES];
    struct words words = {text, sizeof text, 0};
    unsigned count = 0;
    uint64_t episodes = ungrouped;
    for (; count < GROUPS_MAX && groups[count].count > 0; count++)
        episodes += groups[count].count;
    qsort(groups, count, sizeof groups[0], by_cost);
    if (episodes + dropped == 0)
        return;
    words_add(&words, "in all %lu wait%s of pinned threads, at %u place%s",
              (unsigned long)episodes, episodes == 1 ? "" : "s", count,
              count == 1 ? "" : "s");
    if (dropped > 0)
        words_add(&words, "; %lu more came too fast to be told",
                  (unsigned long)dropped);
    words_add(&words, "\n");
    for (unsigned i = 0; i < count && i < TOLD_MAX; i++)
        sum_up_group(&words, &groups[i]);
    if (!pin_locks_are_tracked())
        words_add(&words,
                  "pthread locks were not tracked: link with pkg-config "
                  "--libs vthread-pin, or run with "
                  "LD_PRELOAD=libvthread-pin.so.0\n");
    else
        words_add(&words, "locks inside libc (of stdio, the allocator, the "
                          "loader) are not seen\n");
    pin_report_lines(text);
}

/* ---- Reading ------------------------------------------------------------ */

static bool reports(void)
{
    return settings_get()->pin == PIN_REPORT;
}

/* With the lock. */
static void tell(const vthread_pin_episode_t *episode)
{
    if (notify_fn)
        notify_fn(notify_arg, episode);
    if (reports() && is_power_of_two(add_to_group(episode)))
        pin_report_now(episode);
}

static void tell_all(void)
{
    vthread_pin_episode_t episode;
    os_lock_acquire(&lock);
    while (pin_ring_get(seen + 1, &episode)) {
        dropped += episode.number - seen - 1;
        seen = episode.number;
        tell(&episode);
    }
    os_lock_release(&lock);
}

static void read_on(void *unused)
{
    (void)unused;
    is_reader = true;
    for (;;) {
        tell_all();
        /* Release: what was done for the episodes told is done when this is
         * seen; pairs with pin_report_idle. */
        atomic_store_explicit(&waits_for_number, pin_ring_next(),
                              memory_order_release);
        if (pin_ring_next() == seen + 1)
            pin_ring_wait(seen + 1, CLOCK_NEVER);
        atomic_store_explicit(&waits_for_number, 0, memory_order_relaxed);
    }
}

unsigned pin_report_idle(void)
{
    /* Acquire: pairs with read_on. */
    uint64_t number = atomic_load_explicit(&waits_for_number,
                                           memory_order_acquire);
    return number != 0 && number == pin_ring_next();
}

/* With the lock.  0, EAGAIN or ENOMEM. */
static int start_reader(void)
{
    struct os_thread reader;
    if (has_reader)
        return 0;
    int err = os_thread_start(&reader, "vthread-pins", read_on, NULL);
    if (err != 0)
        return err;
    os_thread_detach(&reader);
    has_reader = true;
    return 0;
}

/* ---- Who wants to know -------------------------------------------------- */

int vthread_pin_notify(void (*fn)(void *arg,
                                  const vthread_pin_episode_t *episode),
                       void *arg)
{
    if (settings_get()->pin == PIN_OFF)
        return ENOTSUP;
    if (!is_reader)
        os_lock_acquire(&lock);
    int err = fn ? start_reader() : 0;
    if (err == 0) {
        if (fn && !notify_fn)
            pin_listen();
        else if (!fn && notify_fn)
            pin_listen_no_more();
        notify_fn = fn;
        notify_arg = arg;
    }
    if (!is_reader)
        os_lock_release(&lock);
    return err;
}

/* What is told by atexit: at that time the reader may be in the middle. */
static void tell_at_exit(void)
{
    tell_all();
    os_lock_acquire(&lock);
    sum_up();
    os_lock_release(&lock);
}

void pin_start(void)
{
    enum pin_mode mode = settings_get()->pin;
    if (mode == PIN_QUIET || mode == PIN_OFF)
        return;
    pin_listen();
    if (!pin_locks_are_tracked())
        report("VTHREAD_PIN: pthread locks are not tracked: link with "
               "pkg-config --libs vthread-pin, or run with "
               "LD_PRELOAD=libvthread-pin.so.0");
    if (mode == PIN_ABORT)
        return;
    os_lock_acquire(&lock);
    int err = start_reader();
    os_lock_release(&lock);
    if (err != 0)
        report("VTHREAD_PIN: no OS thread to tell of pinned threads; told at "
               "exit");
    atexit(tell_at_exit);
}
