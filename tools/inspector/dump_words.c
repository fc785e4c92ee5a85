/*
 * dump_words.c - states, waits and frames in words.
 */
#include "dump.h"

#include <stdio.h>
#include <string.h>

#include "stacks.h"
#include "symbols.h"

static const char *const state_names[STATES] = {
    [STATE_RUNNING] = "running",   [STATE_CALLING] = "in a call",
    [STATE_PINNED] = "pinned",     [STATE_PARKED] = "parked",
    [STATE_RUNNABLE] = "runnable", [STATE_NEW] = "new",
    [STATE_ENDED] = "ended",       [STATE_PLATFORM] = "platform, running",
    [STATE_PLATFORM_WAITS] = "platform, waiting",
};

/* The library's constants, and what they are called. */
struct word {
    enum layout_number number;
    const char *kind, *words;
};

static const struct word kinds_of_wait[] = {
    {IS_FOR_UNPARK, "unpark", "waits to be unparked"},
    {IS_FOR_TIME, "time", "sleeps"},
    {IS_FOR_END, "join", "waits for the end of"},
    {IS_FOR_CHANNEL, "channel", "waits at a channel"},
    {IS_FOR_SEVERAL, "several", "waits for one of several channels or futures"},
    {IS_FOR_FUTURE, "future", "waits for a future"},
    {IS_FOR_SCOPE, "scope", "waits for the threads of a scope"},
    {IS_FOR_DESCRIPTOR, "descriptor", "waits for a descriptor"},
    {IS_FOR_POLL, "poll", "waits for descriptors"},
    {IS_FOR_FILE, "file", "waits for a file"},
    {IS_FOR_SIGNAL, "signal", "waits for a signal"},
    {IS_FOR_CALL, "call", "waits for a foreign call"},
    {IS_FOR_CERTAIN, "wake-up", "is being woken"},
};

static const struct word kinds_of_list[] = {
    {IS_WAIT_MUTEX, "mutex", NULL},
    {IS_WAIT_COND, "condition", NULL},
    {IS_WAIT_SEMAPHORE, "semaphore", NULL},
    {IS_WAIT_LATCH, "latch", NULL},
    {IS_WAIT_ONCE, "once", NULL},
    {IS_WAIT_BARRIER, "barrier", NULL},
    {IS_WAIT_RWLOCK, "rwlock", NULL},
    {IS_WAIT_SCOPE, "scope", NULL},
    {IS_WAIT_SLOT, "slot", NULL},
};

static const struct word kinds_of_lock[] = {
    {IS_VTHREAD_HOLD_MUTEX, "pthread mutex", NULL},
    {IS_VTHREAD_HOLD_READ, "pthread rwlock", NULL},
    {IS_VTHREAD_HOLD_WRITE, "pthread rwlock", NULL},
    {IS_VTHREAD_HOLD_COND, "pthread condition", NULL},
    {IS_VTHREAD_HOLD_OTHER, "lock", NULL},
};

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

const char *dump_state(const struct seen_thread *t)
{
    return state_names[t->state];
}

static const struct word *find(const struct dump *dump,
                               const struct word *words, size_t count,
                               uint64_t value)
{
    for (size_t i = 0; i < count; i++)
        if (dump->snapshot.library.value[words[i].number] == value)
            return &words[i];
    return NULL;
}

static bool is_listed(const struct dump *dump, const struct seen_thread *t)
{
    return t->waits_for == dump->snapshot.library.value[IS_FOR_LISTED];
}

const char *dump_lock_kind(const struct dump *dump, uint32_t kind)
{
    const struct word *word =
        find(dump, kinds_of_lock, COUNT_OF(kinds_of_lock), kind);
    return word ? word->kind : "lock";
}

const char *dump_wait_kind(const struct dump *dump,
                           const struct seen_thread *t)
{
    const struct word *word =
        is_listed(dump, t)
            ? find(dump, kinds_of_list, COUNT_OF(kinds_of_list),
                   t->list_kind)
            : find(dump, kinds_of_wait, COUNT_OF(kinds_of_wait),
                   t->waits_for);
    if (!t->waits)
        return NULL;
    if (t->wants_lock)
        return dump_lock_kind(dump, t->lock_kind);
    return word ? word->kind : "something";
}

void dump_name(const struct seen_thread *t, char *buffer, size_t size_bytes)
{
    if (t->is_native) {
        snprintf(buffer, size_bytes, "OS thread %d", (int)t->os_thread);
        return;
    }
    bool is_platform = t->state == STATE_PLATFORM
                       || t->state == STATE_PLATFORM_WAITS;
    snprintf(buffer, size_bytes, "%sthread %llu%s%s%s",
             is_platform ? "platform " : "", (unsigned long long)t->handle,
             t->name[0] ? " '" : "", t->name, t->name[0] ? "'" : "");
}

void dump_wait(const struct dump *dump, const struct seen_thread *t,
               bool with_object, bool with_holder, char *buffer,
               size_t size_bytes)
{
    char holder[80] = "", object[32] = "";
    const struct word *word = find(dump, kinds_of_wait,
                                   COUNT_OF(kinds_of_wait), t->waits_for);
    const struct seen_thread *other =
        with_holder ? snapshot_thread(&dump->snapshot, t->holder) : NULL;
    buffer[0] = '\0';
    if (!t->waits)
        return;
    if (other)
        dump_name(other, holder, sizeof holder);
    if (with_object && t->object)
        snprintf(object, sizeof object, " %#llx",
                 (unsigned long long)t->object);
    if (t->wants_lock || is_listed(dump, t))
        snprintf(buffer, size_bytes, "waits for %s%s%s%s",
                 dump_wait_kind(dump, t), object, other ? " held by " : "",
                 holder);
    else
        snprintf(buffer, size_bytes, "%s%s%s", word ? word->words : "waits",
                 other ? " " : word && word->number == IS_FOR_END
                     ? " threads"
                     : "",
                 holder);
}

void dump_function(const struct dump *dump, uint64_t fn, char *buffer,
                   size_t size_bytes)
{
    const struct symbol *symbol = symbols_find(dump->symbols, fn);
    if (symbol->function)
        snprintf(buffer, size_bytes, "%s", symbol->function);
    else
        symbols_describe(symbol, fn, buffer, size_bytes);
}

void dump_place(const struct dump *dump, uint64_t site, char *buffer,
                size_t size_bytes)
{
    symbols_describe(symbols_find(dump->symbols, site - 1), site - 1, buffer,
                     size_bytes);
}

/* ---- Frames ------------------------------------------------------------- */

/* Whether the name of the function, not of what was inlined there, begins
 * so. */
static bool is_function(const struct dump *dump, uint64_t pc,
                        const char *name, size_t length)
{
    const struct symbol *symbol = symbols_find(dump->symbols, pc);
    while (symbol->inlined_in)
        symbol = symbol->inlined_in;
    const char *function = symbol->function;
    return function && strncmp(function, name, length) == 0;
}

static bool is_named(const struct dump *dump, uint64_t pc, const char *name)
{
    return is_function(dump, pc, name, strlen(name) + 1);
}

/* libvthread-pin, preloaded: it is called by the names of pthreads. */
static bool is_of_track(const struct dump *dump, uint64_t pc)
{
    static const char file[] = "libvthread-pin.";
    const char *module = symbols_find(dump->symbols, pc)->module;
    return module && strncmp(module, file, sizeof file - 1) == 0;
}

static bool is_public(const struct dump *dump, uint64_t pc)
{
    static const char prefix[] = "vthread_", locks[] = "pthread_";
    return is_function(dump, pc, prefix, sizeof prefix - 1)
           || (is_of_track(dump, pc)
               && is_function(dump, pc, locks, sizeof locks - 1));
}

/* In a program that is linked with the archive it cannot be told, but for
 * some names. */
static bool is_of_library(const struct dump *dump, uint64_t pc)
{
    const char *module = symbols_find(dump->symbols, pc)->module;
    if (is_of_track(dump, pc))
        return true;
    if (dump->library_file)
        return module && strcmp(module, dump->library_file) == 0;
    return is_named(dump, pc, "switch_base")
           || is_named(dump, pc, "thread_main")
           || is_named(dump, pc, "child_main");
}

/* With the archive: the outermost function of the library that a thread has
 * called before it switched away. */
static uint32_t skip_archive(const struct dump *dump,
                             const struct stack *stack)
{
    uint32_t outermost = 0;
    bool is_any = false;
    for (uint32_t i = 0; stack->is_parked && i < stack->depth; i++) {
        if (is_public(dump, stack->pc[i]))
            outermost = i;
        else if (is_any)
            break;
        is_any = is_any || is_public(dump, stack->pc[i]);
    }
    return outermost;
}

/* Of frames of the library in a row only the outermost is of interest: the
 * one that the program has called. */
static bool is_shown(const struct dump *dump, const struct stack *stack,
                     uint32_t i, uint32_t skipped)
{
    if (dump->options.is_full)
        return true;
    if (i < skipped)
        return false;
    if (!is_of_library(dump, stack->pc[i]))
        return true;
    return is_public(dump, stack->pc[i])
           && (i + 1 == stack->depth
               || !is_of_library(dump, stack->pc[i + 1]));
}

void dump_frames(const struct dump *dump, uint32_t number,
                 void (*visit)(void *arg, const struct symbol *symbol,
                               uint64_t pc),
                 void *arg)
{
    dump_stack(dump, stacks_get(dump->snapshot.stacks, number), visit, arg);
}

void dump_stack(const struct dump *dump, const struct stack *stack,
                void (*visit)(void *arg, const struct symbol *symbol,
                              uint64_t pc),
                void *arg)
{
    uint32_t shown = 0;
    uint32_t skipped =
        stack && !dump->library_file ? skip_archive(dump, stack) : 0;
    for (uint32_t i = 0; stack && i < stack->depth; i++)
        shown += is_shown(dump, stack, i, skipped);
    for (uint32_t i = 0; stack && i < stack->depth; i++) {
        const struct symbol *symbol = symbols_find(dump->symbols,
                                                   stack->pc[i]);
        if (shown > 0 && !is_shown(dump, stack, i, skipped))
            continue;
        /* What was inlined into the library's function is its affair. */
        while (!dump->options.is_full && symbol->inlined_in
               && is_of_library(dump, stack->pc[i]))
            symbol = symbol->inlined_in;
        for (; symbol; symbol = symbol->inlined_in)
            visit(arg, symbol, stack->pc[i]);
    }
}
