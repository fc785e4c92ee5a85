/*
 * dump_text.c - a dump for people.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "dump.h"
#include "dump_locks.h"
#include "stacks.h"
#include "symbols.h"

enum { NAME_BYTES = 120, WAIT_BYTES = 240, NAMED_MAX = 8, LOCKS_MAX = 20 };

static const struct seen_thread *thread_at(const struct dump *dump,
                                           uint32_t index)
{
    return &dump->snapshot.threads[index];
}

/* ---- What it is of ------------------------------------------------------ */

static void write_head(const struct dump *dump)
{
    const struct snapshot *snapshot = &dump->snapshot;
    const struct stop *stop = &snapshot->stop;
    size_t all = dump->options.is_leaked ? dump->thread_count
                                         : snapshot->thread_count;
    if (dump->is_core)
        printf("Core file %s, libvthread %s: %zu threads\n",
               dump->options.target, snapshot->library.version,
               all);
    else
        printf("Process %d, libvthread %s: %zu threads\n"
               "Stopped %u times, %.1f ms at most, %.1f ms in all\n",
               (int)dump->pid, snapshot->library.version,
               all, stop->stops,
               (double)stop->longest_ns / 1e6, (double)stop->all_ns / 1e6);
    if (snapshot->is_incomplete)
        printf("Not all of it could be read\n");
}

static void write_states(const struct dump *dump)
{
    size_t counts[STATES] = {0};
    const char *before = "";
    for (size_t i = 0; i < dump->snapshot.thread_count; i++)
        counts[dump->snapshot.threads[i].state]++;
    for (unsigned i = 0; i < STATES; i++) {
        struct seen_thread like = {.state = (uint8_t)i};
        if (counts[i] > 0) {
            printf("%s%zu %s", before, counts[i], dump_state(&like));
            before = "; ";
        }
    }
    printf("\n");
}

/* ---- Carriers ----------------------------------------------------------- */

static void write_carrier(const struct dump *dump,
                          const struct seen_carrier *c)
{
    char name[NAME_BYTES];
    const struct seen_thread *t = c->runs ? snapshot_thread(&dump->snapshot,
                                                            c->runs)
                                          : NULL;
    if (c->os_thread == 0)
        return;
    printf("  carrier %u, OS thread %d: ", c->number, (int)c->os_thread);
    if (t)
        dump_name(t, name, sizeof name);
    if (c->runs)
        printf("runs %s%s", t ? name : "a thread that has ended",
               c->is_calling ? ", in a call" : "");
    else
        printf("%s", c->is_blocked   ? "waits with a pinned thread"
                     : c->is_polling ? "waits for events"
                     : c->is_idle    ? "idle"
                                     : "between two threads");
    if (c->queued > 0)
        printf("; %" PRIu64 " queued", c->queued);
    printf("\n");
}

static void write_schedulers(const struct dump *dump)
{
    const struct snapshot *snapshot = &dump->snapshot;
    for (size_t i = 0; i < snapshot->scheduler_count; i++) {
        const struct seen_scheduler *s = &snapshot->schedulers[i];
        printf("\nScheduler %u '%s': parallelism %u, at most %u carriers\n",
               s->number, s->name, s->parallelism, s->max_carriers);
        for (size_t j = 0; j < snapshot->carrier_count; j++)
            if (snapshot->carriers[j].scheduler == s->number)
                write_carrier(dump, &snapshot->carriers[j]);
    }
}

/* ---- Stacks ------------------------------------------------------------- */

void dump_frame_text(void *unused, const struct symbol *symbol, uint64_t pc)
{
    char words[NAME_BYTES * 2];
    (void)unused;
    symbols_describe(symbol, pc, words, sizeof words);
    printf("    %s\n", words);
}

static void write_stack(const struct dump *dump, uint32_t number)
{
    const struct stack *stack = stacks_get(dump->snapshot.stacks, number);
    dump_frames(dump, number, dump_frame_text, NULL);
    if (stack && stack->is_cut)
        printf("    and so on\n");
}

static bool begins(const char *text, const char *with)
{
    return text && strncmp(text, with, strlen(with)) == 0;
}

/* The innermost frame that is the program's. */
static void write_place(void *arg, const struct symbol *symbol, uint64_t pc)
{
    char words[NAME_BYTES * 2];
    bool *is_done = arg;
    if (*is_done || begins(symbol->function, "vthread_")
        || begins(symbol->module, "libc.")
        || begins(symbol->module, "libvthread"))
        return;
    symbols_describe(symbol, pc, words, sizeof words);
    printf("    at %s\n", words);
    *is_done = true;
}

/* ---- Deadlocks and locks ------------------------------------------------ */

static void write_circle(const struct dump *dump,
                         const struct circle *circle)
{
    char name[NAME_BYTES], wait[WAIT_BYTES];
    printf("\nDeadlock of %zu threads\n", circle->count);
    for (size_t i = 0; i < circle->count; i++) {
        const struct seen_thread *t = snapshot_thread(&dump->snapshot,
                                                      circle->numbers[i]);
        dump_name(t, name, sizeof name);
        dump_wait(dump, t, true, true, wait, sizeof wait);
        printf("  %s %s\n", name, wait);
        bool is_done = false;
        dump_frames(dump, t->stack, write_place, &is_done);
    }
}

static void write_lock(const struct dump *dump, const struct lock *lock)
{
    char words[NAME_BYTES * 2];
    const struct seen_thread *holder =
        snapshot_thread(&dump->snapshot, lock->holder);
    printf("  %s %#" PRIx64 ": ", lock->kind, lock->address);
    if (lock->waiters > 0)
        printf("%zu wait; ", lock->waiters);
    if (!holder) {
        printf("the holder is not known\n");
        return;
    }
    dump_name(holder, words, sizeof words);
    printf("held by %s, %s\n", words, dump_state(holder));
    if (lock->site) {
        dump_place(dump, lock->site, words, sizeof words);
        printf("    taken at %s\n", words);
    }
}

static void write_locks(const struct dump *dump)
{
    struct locks locks;
    locks_collect(&locks, dump);
    printf("\nLocks%s\n", dump->snapshot.are_locks_tracked
                              ? ""
                              : " (those of pthreads are not tracked, "
                                "see vthread run)");
    for (size_t i = 0; i < locks.count && i < LOCKS_MAX; i++)
        write_lock(dump, &locks.all[i]);
    if (locks.count == 0)
        printf("  none is waited for%s\n",
               dump->snapshot.are_locks_tracked ? " or held" : "");
    if (locks.count > LOCKS_MAX)
        printf("  and %zu more\n", locks.count - LOCKS_MAX);
    locks_free(&locks);
}

/* ---- Groups ------------------------------------------------------------- */

static void write_due(const struct dump *dump, const struct group *group)
{
    double first = ((double)group->due_first_ns
                    - (double)dump->snapshot.taken_ns)
                   / 1e9;
    double last = ((double)group->due_last_ns
                   - (double)dump->snapshot.taken_ns)
                  / 1e9;
    if (!group->are_due || dump->snapshot.taken_ns == 0)
        return;
    if (group->count > 1)
        printf(", due in %.1f s to %.1f s", first, last);
    else
        printf(", due in %.1f s", first);
}

/* "for 0.3 s", or of several "for 0.3 s to 5.0 s". */
static void write_age(const struct dump *dump, const struct group *group)
{
    const struct seen_thread *t = thread_at(dump, group->first);
    double least = (double)group->waited_least_ns / 1e9;
    double most = (double)group->waited_most_ns / 1e9;
    if (!t->waits || group->are_due)
        return;
    printf(", for %s", dump->is_core ? "at least " : "");
    if (group->count > 1)
        printf("%.1f s to %.1f s", least, most);
    else
        printf("%.1f s", least);
}

static void write_homes(const struct seen_thread *t)
{
    if (t->frozen_bytes > 0)
        printf(", %u bytes of frames in chunks", t->frozen_bytes);
    else if (t->depth_bytes > 0)
        printf(", %u bytes of frames in place", t->depth_bytes);
    if (t->os_thread && !t->is_native)
        printf(", OS thread %d", (int)t->os_thread);
    if (t->pins > 0 && t->state != STATE_CALLING)
        printf(", pinned %u times", t->pins);
}

static void write_members(const struct dump *dump, const struct group *group)
{
    char name[NAME_BYTES];
    uint32_t index = group->first;
    printf("  ");
    for (unsigned i = 0; index != GROUP_END && i < NAMED_MAX; i++) {
        const struct seen_thread *t = thread_at(dump, index);
        dump_name(t, name, sizeof name);
        printf("%s%s", i > 0 ? ", " : "", name);
        index = dump->groups.next[index];
    }
    if (group->count > NAMED_MAX)
        printf(" and %zu more", group->count - NAMED_MAX);
    printf("\n");
}

static void write_group(const struct dump *dump, const struct group *group)
{
    char name[NAME_BYTES], wait[WAIT_BYTES];
    const struct seen_thread *t = thread_at(dump, group->first);
    dump_wait(dump, t, group->has_one_object, group->has_one_holder, wait,
              sizeof wait);
    if (group->count > 1) {
        printf("\n%zu threads, %s%s%s", group->count, dump_state(t),
               *wait ? ": each " : "", wait);
        write_due(dump, group);
        write_age(dump, group);
        printf("\n");
        write_members(dump, group);
    } else {
        dump_name(t, name, sizeof name);
        name[0] = (char)toupper((unsigned char)name[0]);
        printf("\n%s, %s%s%s", name, dump_state(t), *wait ? ": " : "", wait);
        write_due(dump, group);
        write_age(dump, group);
        write_homes(t);
        printf("\n");
    }
    if (t->stack != STACK_NONE) {
        write_stack(dump, t->stack);
    } else if (t->entry) {
        dump_function(dump, t->entry, name, sizeof name);
        printf("    entry function %s\n", name);
    }
    if (t->created_by) {
        dump_place(dump, t->created_by, name, sizeof name);
        printf("    created at %s\n", name);
    }
}

void dump_text(struct dump *dump)
{
    write_head(dump);
    if (dump->options.is_census) {
        dump_census_text(dump);
        return;
    }
    if (dump->options.is_leaked) {
        printf("%zu of them can never be woken\n",
               dump->snapshot.thread_count);
    } else {
        write_states(dump);
        write_schedulers(dump);
        for (size_t i = 0; i < dump->circles.count; i++)
            write_circle(dump, &dump->circles.all[i]);
        write_locks(dump);
        dump_scopes_text(dump);
        dump_hogs_text(dump);
    }
    for (size_t i = 0; i < dump->groups.count; i++)
        write_group(dump, &dump->groups.all[i]);
}
