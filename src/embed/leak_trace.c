/*
 * leak_trace.c - the search for threads that nothing can ever wake.
 *
 * A thread is live if it runs or can run, if its wait may end from outside (a
 * deadline, a descriptor, a call), or if something live can get at it: holds
 * its handle, or what it waits for.  All others wait for ever.  What is live
 * is found by tracing, like reachable objects:
 *
 *   roots      stacks of OS threads, static data, memory of malloc; threads
 *              that need nobody to wake them
 *   a word     that is the handle of a thread      makes it live
 *              that points to a collected object   has that scanned, once
 *              that points into a parked frame     makes its thread live
 *   a thread   that becomes live                   has its frames scanned
 *   an object  a thread that becomes live          makes those live who wait
 *                                                  for it
 *
 * What a thread waits for, where it is known better than "something that
 * lies there":
 *
 *   a lock, a once    the thread that has it; nobody else can end the wait
 *   a join            the thread that is joined
 *   vthread_park      nothing: its handle decides
 *
 * Cycles need no care: none of a cycle becomes live by itself.
 *
 * It errs on one side only.  A number that looks like a handle, or an
 * address left over in freed memory, may make a leaked thread live; memory
 * that is not looked at, which is what the program has mapped itself, could
 * make a live one look leaked, so a thread that waits for something there
 * counts as live.
 *
 * Nothing is changed by it, in the heap or in threads.
 */
#include "embed/leak_trace.h"

#include <errno.h>

#include "continuation/continuation.h"
#include "continuation/switch.h"
#include "embed/process_memory.h"
#include "embed/roots.h"
#include "local.h"
#include "platform/memory.h"
#include "sync/waitlist.h"
#include "thread.h"
#include "waiting.h"

#define WAITS (THREAD_PARKED | THREAD_WAITING)

/* ---- Work --------------------------------------------------------------- */

/* To be scanned: a thread (bytes 0), or a range, for handles only if the
 * lowest bit of bytes is set. */
struct item {
    uintptr_t start, bytes;
};

static void push(struct leak_trace *t, const void *start, size_t bytes,
                 bool handles_only)
{
    struct item *item = scratch_take(&t->work, sizeof *item);
    if (item)
        *item = (struct item){(uintptr_t)start,
                              (bytes & ~(size_t)7) | handles_only};
    else
        t->error = ENOMEM;
}

static bool pop(struct leak_trace *t, struct item *item)
{
    if (t->work.used_bytes == 0 || t->error != 0)
        return false;
    t->work.used_bytes -= sizeof *item;
    *item = *(struct item *)(t->work.start + t->work.used_bytes);
    return true;
}

/* ---- What becomes live -------------------------------------------------- */

static bool is_live(const struct leak_trace *t, uint32_t number)
{
    return t->is_live[number / 64] >> number % 64 & 1;
}

static void thread_is_live(struct leak_trace *t, const struct thread *thread)
{
    uint32_t number = thread_number(thread);
    if (is_live(t, number))
        return;
    t->is_live[number / 64] |= UINT64_C(1) << number % 64;
    push(t, thread, 0, false);
}

/* Those who wait for it. */
static void wake_waiters(struct leak_trace *t, const void *what)
{
    const uint32_t *first = word_map_find(&t->waiters, (uintptr_t)what);
    for (uint32_t n = first ? *first : 0; n != 0; n = t->next_waiter[n])
        thread_is_live(t, thread_at(n));
}

static void object_is_live(struct leak_trace *t, void *base)
{
    bool is_new, has_pointers;
    if (!word_map_add(&t->seen, (uintptr_t)base, &is_new)) {
        t->error = ENOMEM;
        return;
    }
    if (!is_new)
        return;
    size_t size = t->heap->size(base, &has_pointers);
    push(t, base, size, !has_pointers);
    wake_waiters(t, base);
}

static uint64_t word_of(const struct thread *thread)
{
    return atomic_load_explicit(&thread->word, memory_order_relaxed);
}

/* The thread that the address is in the object of, or NULL. */
static struct thread *thread_containing(const struct leak_trace *t,
                                        const void *address)
{
    uintptr_t offset = (uintptr_t)address - (uintptr_t)thread_table;
    return offset < t->threads * sizeof(struct thread)
               ? thread_at((uint32_t)(offset / sizeof(struct thread)))
               : NULL;
}

/* Whose frames are in place at the address, the thread being parked.  Not
 * those of the switch itself, which we know of. */
static struct thread *parked_at(const struct leak_trace *t,
                                const void *address)
{
    struct run_stack *stack = run_stack_of_address(address);
    struct continuation *c = stack ? run_stack_resident(stack) : NULL;
    if (!c || !(c->flags & CONTINUATION_HAS_OWN)
        || c->state != CONTINUATION_UNMOUNTED
        || (const char *)address < (char *)c->sp + SWITCH_FRAME_BYTES
        || (const char *)address >= stack->top)
        return NULL;
    return thread_containing(t, c);
}

/* ---- Words -------------------------------------------------------------- */

static void look_for_handle(struct leak_trace *t, uint64_t word)
{
    uint32_t number = (uint32_t)word;
    if (number >= t->threads || number == 0 || word >> 32 == 0)
        return;
    struct thread *thread = thread_at(number);
    uint64_t now = word_of(thread);
    if (now >> 32 == word >> 32 && !(now & THREAD_FREE))
        thread_is_live(t, thread);
}

static bool may_be_address(uintptr_t word)
{
    return word >= PAGE_SIZE_MIN_BYTES && word >> 47 == 0;
}

/* The address of a thread object counts for nothing: what our own structures
 * know threads by is left in them when it is over.  See awaited for what
 * counts instead. */
static void look_for_address(struct leak_trace *t, uintptr_t word)
{
    void *base = t->heap->base((void *)word);
    struct thread *thread = base ? NULL : parked_at(t, (void *)word);
    if (base)
        object_is_live(t, base);
    else if (thread)
        thread_is_live(t, thread);
}

/* No sanitizer has a say in what is read here. */
__attribute__((no_sanitize("address"))) static void scan(struct leak_trace *t,
                                                         const void *low,
                                                         const void *high,
                                                         bool handles_only)
{
    const uintptr_t *word = low;
    for (; word + 1 <= (const uintptr_t *)high && t->error == 0; word++) {
        look_for_handle(t, *word);
        if (!handles_only && may_be_address(*word))
            look_for_address(t, *word);
    }
}

/* ---- Ranges ------------------------------------------------------------- */

struct stack_visitor {
    struct roots_visitor roots;
    struct leak_trace *trace;
};

/* A carrier's own stack while it has nothing in hand: it sleeps, or is below
 * a thread that runs; what is there of threads is left over.  In between it
 * may be ending one, and be the last to know of a scope whose owner waits
 * for that: then its stack counts, with registers and left-overs. */
static bool is_carriers_own(const struct roots_visitor *visitor,
                            enum root_kind kind)
{
    if (kind != ROOT_NATIVE && kind != ROOT_STOPPED)
        return false;
    const struct roots_os_thread *there = visitor->os_thread;
    return there->local->carrier && (kind == ROOT_NATIVE || there->is_asleep);
}

static void visit_stack(struct roots_visitor *visitor, enum root_kind kind,
                        const struct thread *owner, const void *low,
                        const void *high)
{
    (void)owner;
    if (is_carriers_own(visitor, kind))
        return;
    scan(((struct stack_visitor *)visitor)->trace, low, high, false);
}

struct memory_visitor {
    struct process_memory_visitor memory;
    struct leak_trace *trace;
};

static void visit_memory(struct process_memory_visitor *visitor,
                         const void *low, const void *high)
{
    scan(((struct memory_visitor *)visitor)->trace, low, high, false);
}

static const struct leak_trace *running; /* is_foreign has no argument */

static bool lies_in(const struct scratch *s, const void *address)
{
    return (uintptr_t)address - (uintptr_t)s->start < s->reserved_bytes;
}

static bool is_foreign(const void *page)
{
    const struct leak_trace *t = running;
    return t->heap->is_page(page) || thread_containing(t, page)
           || run_stack_of_address(page) || lies_in(&t->memory, page)
           || lies_in(&t->work, page);
}

static void scan_item(struct leak_trace *t, const struct item *item)
{
    const char *start = (const char *)item->start;
    if (item->bytes >> 3 != 0) {
        scan(t, start, start + (item->bytes & ~(uintptr_t)7), item->bytes & 1);
    } else if (thread_containing(t, start)) {
        struct stack_visitor visitor = {{.range = visit_stack}, t};
        roots_of_thread(&visitor.roots, (const struct thread *)start);
        wake_waiters(t, start);
    }
}

static void scan_all(struct leak_trace *t)
{
    struct item item;
    while (pop(t, &item))
        scan_item(t, &item);
}

/* ---- Who waits for what ------------------------------------------------- */

/* A thread whose turn it is to end the wait, an object, or NULL: the thread's
 * own handle alone decides.  *is_known false: it cannot be told, or somebody
 * is just ending it. */
static const void *awaited(const struct leak_trace *t,
                           const struct thread *waiter, bool *is_known)
{
    struct waiting waiting;
    const void *place =
        (const void *)((uintptr_t)waitlist_wait_on(waiter) & ~(uintptr_t)1);
    *is_known = true;
    if (waiting_is_ending(waiter)) {
        *is_known = false;
        return NULL;
    }
    if (waiting_what(waiter) == FOR_UNPARK)
        return NULL;
    if (waiting_of(waiter, &waiting) && waiting.holder)
        return waiting.holder;
    const void *owner = t->heap->base((void *)place);
    if (!owner)
        owner = parked_at(t, place);
    *is_known = owner != NULL;
    return owner != waiter ? owner : NULL;
}

static void add_waiter(struct leak_trace *t, const struct thread *waiter)
{
    bool is_known, is_new;
    uint32_t number = thread_number(waiter);
    const void *what = awaited(t, waiter, &is_known);
    if (!is_known)
        thread_is_live(t, waiter);
    if (!what)
        return;
    uint32_t *first = word_map_add(&t->waiters, (uintptr_t)what, &is_new);
    if (!first) {
        t->error = ENOMEM;
        return;
    }
    t->next_waiter[number] = *first;
    *first = number;
}

static bool is_suspect(uint64_t word)
{
    return word & WAITS
           && !(word & (THREAD_OUTSIDE | THREAD_PLATFORM | THREAD_DONE));
}

/* What has ended is live if somebody has its handle, but can wake nobody by
 * itself. */
static void sort_threads(struct leak_trace *t)
{
    uint64_t word;
    for (struct thread *at = thread_in_use_from(1, &word); at;
         at = thread_in_use_from(thread_number(at) + 1, &word))
        if (is_suspect(word))
            add_waiter(t, at);
        else if (!(word & THREAD_DONE))
            thread_is_live(t, at);
}

static void keep_found(struct leak_trace *t)
{
    uint64_t word;
    for (struct thread *at = thread_in_use_from(1, &word); at;
         at = thread_in_use_from(thread_number(at) + 1, &word))
        if (is_suspect(word) && !is_live(t, thread_number(at)))
            t->found[t->found_count++] = thread_handle(at);
}

/* ---- The interface ------------------------------------------------------ */

int leak_trace_open(struct leak_trace *t, const struct leak_heap *heap)
{
    *t = (struct leak_trace){.heap = heap};
    if (scratch_open(&t->memory) != 0 || scratch_open(&t->work) != 0) {
        leak_trace_close(t);
        return ENOMEM;
    }
    t->seen.memory = t->waiters.memory = &t->memory;
    return 0;
}

void leak_trace_close(struct leak_trace *t)
{
    scratch_close(&t->memory);
    scratch_close(&t->work);
}

int leak_trace_run(struct leak_trace *t)
{
    struct stack_visitor stacks = {{.range = visit_stack}, t};
    struct memory_visitor memory = {
        {visit_memory, is_foreign, t->heap->left_out}, t};
    size_t size = (size_t)thread_table_size() + 1;
    t->threads = thread_table_size();
    t->is_live = scratch_take(&t->memory, size / 8 + 8);
    t->next_waiter = scratch_take(&t->memory, size * sizeof(uint32_t));
    t->found = scratch_take(&t->memory, size * sizeof *t->found);
    if (!t->is_live || !t->next_waiter || !t->found)
        return ENOMEM;
    running = t;
    roots_begin();
    sort_threads(t);
    int err = process_memory_each(&memory.memory);
    roots_of_others(&stacks.roots);
    scan_all(t);
    keep_found(t);
    roots_end();
    return err != 0 ? err : t->error;
}
