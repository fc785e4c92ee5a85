/*
 * deadlock_report.c - who waits for what, and who for whom in a circle.
 *
 * Here nobody runs and all threads wait for ever, so their objects are read
 * as if they were our own; deadlock.c has seen each wait begin.
 *
 * Not here: which object a list lies in, and who holds it; see waiting.c.
 * What is no list of an object's own kind has its words here.
 */
#include <stdbool.h>
#include <string.h>

#include "entry.h"
#include "inspect/deadlock.h"
#include "inspect/describe.h"
#include "platform/panic.h"
#include "scheduler.h"
#include "thread.h"
#include "waiting.h"

enum {
    LINES_MAX = 20,
    NAMED_MAX = 8,    /* threads of a circle that are named */
    CIRCLE_MAX = 256, /* longer ones are not looked for */
    CIRCLES_MAX = 3,
    THREAD_BYTES = 80, /* a thread in words, */
    ENTRY_BYTES = 120, /* its entry function, */
    WAIT_BYTES = 200   /* its wait */
};

/* The one who has to end the wait, or NULL: anybody might. */
static struct thread *holder_of(const struct thread *t)
{
    struct waiting waiting;
    return waiting_of(t, &waiting) ? waiting.holder : NULL;
}

/* ---- Threads ------------------------------------------------------------ */

/* The first thread that waits whose number is at least that, or NULL. */
static struct thread *waiter_from(uint32_t number)
{
    uint64_t word;
    struct thread *t = thread_in_use_from(number, &word);
    while (t && word & THREAD_DONE)
        t = thread_in_use_from(thread_number(t) + 1, &word);
    return t;
}

static struct thread *next_waiter(const struct thread *t)
{
    return waiter_from(thread_number(t) + 1);
}

/* "waits for mutex 0x10 held by thread 5". */
static void describe_object(const struct waiting *waiting, char *buffer,
                            size_t size_bytes)
{
    char holder[THREAD_BYTES] = "";
    if (waiting->holder)
        thread_describe_name(waiting->holder, holder, sizeof holder);
    format_text(buffer, size_bytes, "waits for %s %p%s%s", waiting->kind,
                waiting->object, waiting->holder ? " held by " : "", holder);
}

static void describe_wait(const struct thread *t, char *buffer,
                          size_t size_bytes)
{
    char joined[THREAD_BYTES];
    struct waiting waiting;
    const struct vthread_scheduler *closed = deadlock_closed_by(t);
    if (closed) {
        format_text(buffer, size_bytes,
                    "waits in vthread_scheduler_shutdown for the threads of "
                    "scheduler %u",
                    closed->number);
    } else if (!waiting_of(t, &waiting)) {
        format_text(buffer, size_bytes, "%s",
                    describe_waits_for(waiting_what(t)));
    } else if (waiting_what(t) == FOR_END) {
        thread_describe_name(waiting.holder, joined, sizeof joined);
        format_text(buffer, size_bytes, "%s %s", describe_waits_for(FOR_END),
                    joined);
    } else {
        describe_object(&waiting, buffer, size_bytes);
    }
}

/* ---- Lines -------------------------------------------------------------- */

struct text {
    char *start;
    size_t size_bytes, length;
};

/* Whole lines only. */
static void add_line(struct text *text, const char *line)
{
    if (text->length + strlen(line) + 2 <= text->size_bytes)
        text->length +=
            format_text(text->start + text->length,
                        text->size_bytes - text->length, "%s\n", line);
}

/* Threads with the same entry function that wait for the same. */
struct group {
    struct thread *first;
    uint64_t count;
};

static bool are_alike(const struct thread *a, const struct thread *b)
{
    return a->fn == b->fn && waiting_what(a) == waiting_what(b) &&
           (a->wait_on == b->wait_on || waiting_what(a) == FOR_END);
}

/* False: there is no place for one more. */
static bool add_to_group(struct group *groups, const struct thread *t)
{
    for (unsigned i = 0; i < LINES_MAX; i++) {
        if (!groups[i].first)
            groups[i].first = (struct thread *)t;
        else if (!are_alike(groups[i].first, t))
            continue;
        groups[i].count++;
        return true;
    }
    return false;
}

static void add_group(struct text *text, const struct group *group)
{
    char name[THREAD_BYTES], wait[WAIT_BYTES], entry[ENTRY_BYTES] = "";
    char line[THREAD_BYTES + WAIT_BYTES + ENTRY_BYTES + 40];
    struct thread *t = group->first;
    thread_describe_name(t, name, sizeof name);
    describe_wait(t, wait, sizeof wait);
    if (t->fn)
        entry_describe(t->fn, entry, sizeof entry);
    size_t length = format_text(line, sizeof line, "%s%s%s%s %s", name,
                                *entry ? ", entry " : "", entry,
                                *entry ? "," : "", wait);
    if (group->count > 1)
        format_text(line + length, sizeof line - length,
                    ", and %lu more like it", group->count - 1);
    add_line(text, line);
}

/* One by one, if they are few. */
static void add_each(struct text *text)
{
    for (struct thread *t = waiter_from(1); t; t = next_waiter(t))
        add_group(text, &(struct group){t, 1});
}

static void add_grouped(struct text *text)
{
    struct group groups[LINES_MAX] = {{NULL, 0}};
    char line[80];
    uint64_t others = 0;
    for (struct thread *t = waiter_from(1); t; t = next_waiter(t))
        others += !add_to_group(groups, t);
    for (unsigned i = 0; i < LINES_MAX && groups[i].first; i++)
        add_group(text, &groups[i]);
    format_text(line, sizeof line, "and %lu more threads", others);
    if (others > 0)
        add_line(text, line);
}

/* ---- Circles ------------------------------------------------------------ */

/* How many threads there are in the circle that begins with t, as the one
 * with the lowest number; 0: there is none. */
static unsigned circle_of(const struct thread *t)
{
    const struct thread *other = holder_of(t);
    unsigned count = 1;
    while (other && other > t && count < CIRCLE_MAX) {
        other = holder_of(other);
        count++;
    }
    return other == t ? count : 0;
}

/* "A waits for the end of B, which waits for the end of A". */
static void add_circle(struct text *text, const struct thread *t,
                       unsigned count)
{
    char line[NAMED_MAX * WAIT_BYTES + THREAD_BYTES], wait[WAIT_BYTES];
    char name[THREAD_BYTES];
    thread_describe_name(t, name, sizeof name);
    size_t length = format_text(line, sizeof line, "deadlock: %s", name);
    for (unsigned i = 0; i < count && i < NAMED_MAX; i++) {
        describe_wait(t, wait, sizeof wait);
        length += format_text(line + length, sizeof line - length, "%s %s",
                              i > 0 ? ", which" : "", wait);
        t = holder_of(t);
    }
    if (count > NAMED_MAX)
        format_text(line + length, sizeof line - length,
                    ", and so on: %u threads in a circle", count);
    add_line(text, line);
}

static void add_circles(struct text *text)
{
    unsigned found = 0;
    for (struct thread *t = waiter_from(1); t && found < CIRCLES_MAX;
         t = next_waiter(t)) {
        unsigned count = circle_of(t);
        if (count > 0) {
            add_circle(text, t, count);
            found++;
        }
    }
}

void deadlock_describe(char *buffer, size_t size_bytes)
{
    struct text text = {.start = buffer, .size_bytes = size_bytes};
    char line[120];
    uint64_t count = 0;
    for (struct thread *t = waiter_from(1); t; t = next_waiter(t))
        count++;
    format_text(line, sizeof line,
                "deadlock: all %lu threads wait, and nothing is left that "
                "could wake one",
                count);
    buffer[0] = '\0';
    add_line(&text, line);
    if (count <= LINES_MAX)
        add_each(&text);
    else
        add_grouped(&text);
    add_circles(&text);
}
