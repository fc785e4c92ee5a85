/*
 * describe.c - names, and threads in words.
 */
#include <errno.h>
#include <string.h>

#include "inspect/describe.h"
#include "inspect/trace.h"
#include "local.h"
#include "platform/futex.h"
#include "platform/memory.h"
#include "platform/panic.h"
#include "platform/sanitizer.h"
#include "thread.h"

/* ---- Names -------------------------------------------------------------- */

/* A name may be given, asked for and freed by three threads at once.  Taken
 * for threads that have one, or get one, only. */
static struct os_lock names;

int thread_set_name(struct thread *t, const char *name)
{
    bool has_name = name && *name;
    struct thread_extra *extra = has_name ? thread_make_extra(t)
                                          : thread_extra(t);
    if (!extra)
        return has_name ? ENOMEM : 0;
    memset(extra->name, 0, sizeof extra->name);
    if (has_name)
        strncpy(extra->name, name, sizeof extra->name - 1);
    return 0;
}

struct thread_extra *thread_make_extra(struct thread *t)
{
    struct thread_extra *extra = thread_extra(t), *other = NULL;
    if (extra || !(extra = memory_alloc(sizeof *extra)))
        return extra;
    memset(extra, 0, sizeof *extra);
    /* The thread itself and one that gives it a name may both be at it.
     * Releases the zeros; pairs with thread_extra. */
    if (atomic_compare_exchange_strong_explicit(&t->extra, &other, extra,
                                                memory_order_acq_rel,
                                                memory_order_acquire))
        return extra;
    memory_free(extra);
    return other;
}

void thread_free_extra(struct thread *t)
{
    os_lock_acquire(&names);
    struct thread_extra *extra = thread_extra(t);
    atomic_store_explicit(&t->extra, NULL, memory_order_relaxed);
    os_lock_release(&names);
    memory_free(extra);
}

void *thread_user(const struct thread *t)
{
    os_lock_acquire(&names);
    const struct thread_extra *extra = thread_extra(t);
    void *user = extra ? extra->user : NULL;
    os_lock_release(&names);
    return user;
}

int vthread_setname(vthread_t thread, const char *name)
{
    uint64_t word;
    os_lock_acquire(&names);
    struct thread *t = thread_of_handle(thread, &word);
    int err = t ? thread_set_name(t, name) : ESRCH;
    os_lock_release(&names);
    if (err == 0 && trace_is_on())
        trace_named(t);
    return err;
}

int vthread_getname(vthread_t thread, char *buffer, size_t size_bytes)
{
    uint64_t word;
    int err = ERANGE;
    if (!buffer)
        return EINVAL;
    os_lock_acquire(&names);
    struct thread *t = thread_of_handle(thread, &word);
    struct thread_extra *extra = t ? thread_extra(t) : NULL;
    const char *name = extra ? extra->name : "";
    size_t length = strlen(name);
    if (!t)
        err = ESRCH;
    else if (length < size_bytes)
        err = 0;
    if (err == 0)
        memcpy(buffer, name, length + 1);
    os_lock_release(&names);
    return err;
}

/* Not by an atomic read: the allocator clears the field with its neighbours.
 * It has been NULL by then, since the lock was held for that. */
NO_SANITIZE_THREAD static const struct thread_extra *
extra_from_outside(const struct thread *t)
{
    return *(struct thread_extra *const volatile *)&t->extra;
}

void describe_name_of(vthread_t thread, char *buffer, size_t size_bytes)
{
    uint64_t word;
    memset(buffer, 0, size_bytes);
    os_lock_acquire(&names);
    const struct thread *t = thread_of_handle(thread, &word);
    const struct thread_extra *extra = t ? extra_from_outside(t) : NULL;
    if (extra)
        strncpy(buffer, extra->name, size_bytes - 1);
    os_lock_release(&names);
}

bool describe_try_name(const struct thread *t, char *buffer,
                       size_t size_bytes)
{
    if (!os_lock_try(&names))
        return false;
    struct thread_extra *extra = thread_extra(t);
    memset(buffer, 0, size_bytes);
    if (extra)
        strncpy(buffer, extra->name, size_bytes - 1);
    os_lock_release(&names);
    return true;
}

/* ---- Words -------------------------------------------------------------- */

static const char *const words_for[FOR_KINDS] = {
    [FOR_LISTED] = "waits",
    [FOR_UNPARK] = "is parked",
    [FOR_TIME] = "sleeps",
    [FOR_END] = "waits for the end of",
    [FOR_CHANNEL] = "waits at a channel",
    [FOR_SEVERAL] = "waits for one of several channels or futures",
    [FOR_FUTURE] = "waits for a future",
    [FOR_SCOPE] = "waits for the threads of a scope",
    [FOR_DESCRIPTOR] = "waits for a descriptor",
    [FOR_POLL] = "waits for descriptors",
    [FOR_FILE] = "waits for a file",
    [FOR_SIGNAL] = "waits for a signal",
    [FOR_CALL] = "waits for a foreign call",
    [FOR_CERTAIN] = "is being woken",
};

const char *describe_waits_for(enum waits_for what)
{
    return what < FOR_KINDS ? words_for[what] : words_for[FOR_LISTED];
}

/* Not atomic, and read whoever has it: for words. */
NO_SANITIZE_THREAD static enum continuation_state
state_seen(const struct thread *t)
{
    return ((const volatile struct thread *)t)->continuation.state;
}

const char *describe_state(const struct thread *t, uint64_t word)
{
    if (word & THREAD_DONE)
        return "TERMINATED";
    if (word & (THREAD_PARKED | THREAD_WAITING)) {
        if (word & THREAD_KERNEL && !(word & THREAD_PLATFORM))
            return "PINNED";
        return word & THREAD_TIMED ? "TIMED_PARKED" : "PARKED";
    }
    if (word & THREAD_PLATFORM)
        return "RUNNING";
    switch (state_seen(t)) {
    case CONTINUATION_NEW:
        return "NEW";
    case CONTINUATION_MOUNTED:
        return "RUNNING";
    default:
        return "RUNNABLE";
    }
}

void thread_describe_name(const struct thread *t, char *buffer,
                          size_t size_bytes)
{
    uint64_t word = atomic_load_explicit(&t->word, memory_order_relaxed);
    const char *kind = word & THREAD_PLATFORM ? "platform thread" : "thread";
    struct thread_extra *extra = thread_extra(t);
    const char *name = extra ? extra->name : "";
    format_text(buffer, size_bytes, "%s %llu%s%s%s", kind,
                (unsigned long long)thread_handle(t), *name ? " '" : "",
                name, *name ? "'" : "");
}

void thread_describe(const struct thread *t, char *buffer, size_t size_bytes)
{
    char name[80];
    uint64_t word = atomic_load_explicit(&t->word, memory_order_relaxed);
    thread_describe_name(t, name, sizeof name);
    format_text(buffer, size_bytes, "%s (%s)", name, describe_state(t, word));
}

void describe_continuation(const struct continuation *c, char *buffer,
                           size_t size_bytes)
{
    thread_describe(thread_of_continuation(c), buffer, size_bytes);
}

void describe_self(char *buffer, size_t size_bytes)
{
    struct thread *self = local_thread(local_self());
    if (self)
        thread_describe(self, buffer, size_bytes);
    else
        format_text(buffer, size_bytes, "a platform thread");
}

/* ---- Faults ------------------------------------------------------------- */

static size_t page_floor(size_t n)
{
    return n & ~(memory_page_bytes() - 1);
}

static bool is_guard(const struct run_stack *stack, const void *address)
{
    return (const char *)address < stack->bottom
           && (const char *)address >= stack->bottom - memory_page_bytes();
}

bool describe_fault(void *address, char *buffer, size_t size_bytes)
{
    struct run_stack *stack = run_stack_of_address(address);
    if (!stack)
        return false;
    char self[80], owner[80] = "nobody";
    struct continuation *resident = run_stack_resident(stack);
    if (resident)
        resident->kind->describe(resident, owner, sizeof owner);
    if (is_guard(stack, address)) {
        format_text(buffer, size_bytes,
                    "stack overflow of %s: its stack of %zu bytes is used "
                    "up. Give it more with stack_size_bytes",
                    owner, page_floor(run_stack_size(stack)));
        return true;
    }
    describe_self(self, sizeof self);
    format_text(buffer, size_bytes,
                "%s reached for %p, on the stack of %s, which is parked: "
                "its locals are not there while it waits (doc/rules.md)",
                self, address, owner);
    return true;
}
