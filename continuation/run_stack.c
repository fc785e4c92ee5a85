/*
 * run_stack.c - run stacks: where they lie, who has them, who may use them.
 *
 * Two regions of address space are reserved at the start, one for own and
 * one for common homes, cut into slots of VTHREAD_STACK_SIZE_DEFAULT.  They
 * grow by batches: one mprotect makes 16 slots usable, and one mapping
 * covers all that are; the guard page of each, after the first few thousand
 * (memory.c), costs no mapping where the kernel knows MADV_GUARD_INSTALL.
 * (One mapping for each stack would end at vm.max_map_count, 65,530.)  A
 * stack of another size has a mapping of its own.  Records and slots are
 * never given back to the system, so a record may be read at any time.
 *
 * Own homes.  `out` counts those that are not in the free list, whether a
 * continuation has them or an OS thread's magazine; beyond `limit` only who
 * insists gets one.  The magazine makes take and give back free of locks
 * for a carrier, and hands out the stack used last, which is in the cache.
 *
 * Common homes.  The claim word is a lock whose waiters are tasks:
 *
 *    0            free
 *    1            claimed
 *    waiter | 1   claimed; a stack of waiters, newest first
 *
 *    claim    0 -> 1                   (A) acquires; pairs with (B)
 *    wait     w -> waiter | 1          only from a claimed word, so a release
 *                                      will see the waiter
 *    release  w -> 0                   (B) releases the frames, the resident
 *                                      and the chunks; hands out all waiters
 *
 * All waiters are handed out at once and try again in the order of their
 * queue.  Rejected: passing the claim to the first of them, which is fair
 * to the letter but keeps the home claimed for as long as that one sits in
 * a run queue; then everybody else with that home queues up behind it.
 * There are as many contenders as carriers at most, since only a carrier
 * that runs a task tries to claim, so a wait is short and rare.
 */
#include "continuation/run_stack.h"

#include <errno.h>

#include "continuation/chunk.h"
#include "platform/futex.h"
#include "platform/memory.h"
#include "platform/panic.h"
#include "platform/sanitizer.h"

#define SLOT_BYTES ((size_t)256 * 1024)
#define BATCH 16
#define OWN_SLOTS_MAX (1u << 18)
#define COMMON_SLOTS_MAX (1u << 15)
#define SLOTS_MIN 64u
#define CONVERTED 0x80000000u
#define MAGAZINE_SIZE 16

struct region {
    char *start;             /* I */
    struct run_stack *table; /* I: a record for each slot */
    uint32_t slots;          /* I: that are reserved */
    _Atomic uint32_t ready;  /* A: that are usable, from the start */
};

static struct region own, common;
static _Atomic uint32_t common_cursor;

/* A: so many there shall be when threads share them.  A process that has own
 * homes for all its threads needs none: 256 cost it half a millisecond, and
 * 512 mappings, which each fork copies.  So there is one batch at first, and
 * one more each time that a thread gets a common home. */
static _Atomic uint32_t common_wanted;

/* A stack larger than a slot.  Its record is kept. */
struct large_stack {
    struct run_stack stack;        /* first; `next`: all of them */
    struct large_stack *next_free; /* L: while it is nobody's */
};

static struct {
    struct os_lock lock;
    struct run_stack *free;  /* L */
    _Atomic uint32_t out;    /* L; A: read as a hint */
    uint32_t limit;          /* I */
    struct run_stack *_Atomic large; /* L, A: newest first, never unlinked */
    struct large_stack *large_free;  /* L: of these, who are nobody's */
} pool;

/* The own homes that a carrier keeps at hand. */
static __thread struct {
    bool is_open;
    unsigned count;
    struct run_stack *homes[MAGAZINE_SIZE];
} magazine;

/* ---- Regions ------------------------------------------------------------ */

static int reserve(struct region *region, uint32_t slots)
{
    for (; slots >= SLOTS_MIN; slots /= 2) {
        region->start = memory_reserve(slots * SLOT_BYTES);
        if (!region->start)
            continue;
        region->table = memory_reserve(slots * sizeof(struct run_stack));
        if (region->table) {
            region->slots = slots;
            return 0;
        }
        memory_release(region->start, slots * SLOT_BYTES);
    }
    region->start = NULL;
    return ENOMEM;
}

/* Top and bottom of a stack in a range of its own.  The gap is one of 44
 * multiples of the cache line, in an order that spreads neighbours. */
static void lay_out(struct run_stack *stack, char *start, size_t size_bytes,
                    uint32_t number)
{
    size_t gap = INLINE_CHUNK_BYTES + (number * 7u % 44u) * CACHE_LINE;
    stack->top = start + size_bytes - gap;
    stack->bottom = start + memory_page_bytes();
    sanitizer_stack_registered(stack->bottom, start + size_bytes);
}

/* Makes the next batch of slots usable.  Under the pool's lock. */
static int grow(struct region *region)
{
    uint32_t first = atomic_load_explicit(&region->ready,
                                          memory_order_relaxed);
    if (first + BATCH > region->slots)
        return ENOMEM;
    char *start = region->start + first * SLOT_BYTES;
    struct run_stack *records = region->table + first;
    size_t page_bytes = memory_page_bytes();
    /* Twice committed is no harm: a failed attempt may be repeated. */
    if (memory_commit(start, BATCH * SLOT_BYTES) != 0
        || memory_commit((char *)((uintptr_t)records
                                  & ~(uintptr_t)(page_bytes - 1)),
                         page_bytes) != 0)
        return ENOMEM;
    for (uint32_t i = 0; i < BATCH; i++) {
        char *slot = start + i * SLOT_BYTES;
        if (memory_guard(slot, page_bytes) != 0)
            return ENOMEM;
        lay_out(&records[i], slot, SLOT_BYTES, first + i);
        records[i].is_common = region == &common;
    }
    /* Publishes the records; pairs with the acquire in take_common and
     * run_stack_of_address. */
    atomic_store_explicit(&region->ready, first + BATCH,
                          memory_order_release);
    return 0;
}

_Static_assert(PAGE_SIZE_MIN_BYTES % (BATCH * sizeof(struct run_stack)) == 0,
               "the records of a batch lie in one page");

int run_stack_init(unsigned own_limit, unsigned common_count)
{
    if (own.start == NULL && reserve(&own, OWN_SLOTS_MAX) != 0)
        return ENOMEM;
    if (common.start == NULL && reserve(&common, COMMON_SLOTS_MAX) != 0)
        return ENOMEM;
    pool.limit = own_limit;
    return run_stack_grow_common(common_count);
}

int run_stack_grow_common(unsigned common_count)
{
    int err = 0;
    os_lock_acquire(&pool.lock);
    /* Relaxed: who sees it late makes a batch later. */
    if (atomic_load_explicit(&common_wanted, memory_order_relaxed)
        < common_count)
        atomic_store_explicit(&common_wanted, common_count,
                              memory_order_relaxed);
    if (common.ready == 0)
        err = grow(&common);
    os_lock_release(&pool.lock);
    return err;
}

/* Without memory those that are there must do. */
static __attribute__((noinline)) void make_common(void)
{
    os_lock_acquire(&pool.lock);
    uint32_t wanted = atomic_load_explicit(&common_wanted,
                                           memory_order_relaxed);
    if (common.ready < wanted && grow(&common) != 0)
        atomic_store_explicit(&common_wanted, common.ready,
                              memory_order_relaxed);
    os_lock_release(&pool.lock);
}

/* ---- Own homes ---------------------------------------------------------- */

/* From the free list, or a new slot.  Under the lock. */
static struct run_stack *take_free(void)
{
    if (!pool.free) {
        uint32_t first = own.ready;
        if (grow(&own) != 0)
            return NULL;
        for (uint32_t i = BATCH; i-- > 0;) {
            own.table[first + i].next = pool.free;
            pool.free = &own.table[first + i];
        }
    }
    struct run_stack *stack = pool.free;
    pool.free = stack->next;
    return stack;
}

static struct run_stack *take_from_pool(bool insist)
{
    /* Relaxed: a hint, decided under the lock. */
    if (!insist
        && atomic_load_explicit(&pool.out, memory_order_relaxed) >= pool.limit)
        return NULL;
    struct run_stack *stack = NULL;
    os_lock_acquire(&pool.lock);
    if (insist || pool.out < pool.limit) {
        stack = take_free();
        if (stack)
            pool.out++;
    }
    os_lock_release(&pool.lock);
    return stack;
}

static void give_to_pool(struct run_stack *stack)
{
    os_lock_acquire(&pool.lock);
    stack->next = pool.free;
    pool.free = stack;
    pool.out--;
    os_lock_release(&pool.lock);
}

static bool fits(const struct run_stack *stack, size_t stack_size_bytes)
{
    size_t size = (size_t)(stack->top - stack->bottom);
    return size >= stack_size_bytes && size <= 2 * stack_size_bytes;
}

/* One that was given back.  In the usual case all are of one size, and the
 * first fits. */
static struct run_stack *take_large_free(size_t stack_size_bytes)
{
    os_lock_acquire(&pool.lock);
    struct large_stack **link = &pool.large_free;
    while (*link && !fits(&(*link)->stack, stack_size_bytes))
        link = &(*link)->next_free;
    struct large_stack *large = *link;
    if (large)
        *link = large->next_free;
    os_lock_release(&pool.lock);
    return large ? &large->stack : NULL;
}

/* A stack larger than a slot: a mapping of its own, and a record that is
 * kept, for run_stack_of_address, and used again for the same size. */
static struct run_stack *take_large(size_t stack_size_bytes)
{
    size_t size = stack_size_bytes + 2 * memory_page_bytes();
    struct run_stack *stack = take_large_free(stack_size_bytes);
    if (stack)
        return stack;

    struct large_stack *large = memory_alloc_plain(CACHE_LINE, sizeof *large);
    char *start = large ? memory_reserve(size) : NULL;
    if (!start || memory_commit(start, size) != 0
        || memory_guard(start, memory_page_bytes()) != 0) {
        if (start)
            memory_release(start, size);
        memory_free(large);
        return NULL;
    }
    stack = &large->stack;
    *stack = (struct run_stack){.shares = 1, .is_large = true};
    lay_out(stack, start, size, 0);
    os_lock_acquire(&pool.lock);
    stack->next = pool.large;
    atomic_store_explicit(&pool.large, stack, memory_order_release);
    os_lock_release(&pool.lock);
    return stack;
}

static void give_large(struct run_stack *stack)
{
    struct large_stack *large = (struct large_stack *)stack;
    memory_discard(stack->bottom,
                   run_stack_size(stack) & ~(memory_page_bytes() - 1));
    os_lock_acquire(&pool.lock);
    large->next_free = pool.large_free;
    pool.large_free = large;
    os_lock_release(&pool.lock);
}

struct run_stack *run_stack_take_own(size_t stack_size_bytes, bool insist)
{
    if (unlikely(stack_size_bytes > SLOT_BYTES))
        return take_large(stack_size_bytes);
    if (magazine.count > 0)
        return magazine.homes[--magazine.count];
    return take_from_pool(insist);
}

static void give_own(struct run_stack *stack)
{
    run_stack_set_resident(stack, NULL);
    if (stack->is_large)
        give_large(stack);
    else if (magazine.is_open && magazine.count < MAGAZINE_SIZE)
        magazine.homes[magazine.count++] = stack;
    else
        give_to_pool(stack);
}

void run_stack_thread_enter(void)
{
    magazine.is_open = true;
}

void run_stack_thread_leave(void)
{
    magazine.is_open = false;
    while (magazine.count > 0)
        give_to_pool(magazine.homes[--magazine.count]);
}

/* ---- Common homes ------------------------------------------------------- */

static uint32_t shares_of(const struct run_stack *stack)
{
    /* Relaxed: the count orders nothing; frames are under the claim. */
    return atomic_load_explicit(&stack->shares, memory_order_relaxed);
}

/* Counts a newcomer in, unless there are other shares than the chooser has
 * seen, or the home has become somebody's own. */
static bool share(struct run_stack *stack, uint32_t shares)
{
    return !(shares & CONVERTED)
           && atomic_compare_exchange_strong_explicit(
               &stack->shares, &shares, shares + 1, memory_order_relaxed,
               memory_order_relaxed);
}

static uint32_t usable_common(void)
{
    /* Pairs with the release in grow. */
    return atomic_load_explicit(&common.ready, memory_order_acquire);
}

/* Homes are taken in turn, the less shared of two: as good as the least
 * shared of all, without looking at all.  Who finds that another has just
 * taken the same one looks further: should the other not come back soon, it
 * would wait for it without need.  NULL: there is none, or others were
 * faster each time. */
struct run_stack *run_stack_take_common(void)
{
    uint32_t count = usable_common();
    /* Relaxed: see run_stack_grow_common. */
    if (unlikely(atomic_load_explicit(&common_wanted, memory_order_relaxed)
                 > count)) {
        make_common();
        count = usable_common();
    }
    /* Not a fetch-and-add: it costs more than a second look. */
    uint32_t turn = atomic_load_explicit(&common_cursor,
                                         memory_order_relaxed);
    for (uint32_t tries = 0; tries < count; tries++) {
        struct run_stack *a = &common.table[turn % count];
        struct run_stack *b = &common.table[(turn + count / 2) % count];
        uint32_t of_a = shares_of(a), of_b = shares_of(b);
        turn++;
        if (of_b < of_a ? share(b, of_b) : share(a, of_a)) {
            atomic_store_explicit(&common_cursor, turn,
                                  memory_order_relaxed);
            return of_b < of_a ? b : a;
        }
    }
    return NULL;
}

static void give_common(struct run_stack *stack)
{
    uint32_t shares = atomic_load_explicit(&stack->shares,
                                           memory_order_relaxed);
    if (shares & CONVERTED) {
        /* Back among the common ones: nobody else has it. */
        run_stack_set_resident(stack, NULL);
        atomic_store_explicit(&stack->claim, 0, memory_order_release);
        atomic_store_explicit(&stack->shares, 0, memory_order_release);
        return;
    }
    atomic_fetch_sub_explicit(&stack->shares, 1, memory_order_relaxed);
}

void run_stack_give_back(struct run_stack *stack)
{
    if (stack->is_common)
        give_common(stack);
    else
        give_own(stack);
}

bool run_stack_convert(struct run_stack *stack)
{
    uint32_t alone = 1;
    return atomic_compare_exchange_strong_explicit(
        &stack->shares, &alone, CONVERTED | 1, memory_order_relaxed,
        memory_order_relaxed);
}

bool run_stack_is_converted(struct run_stack *stack)
{
    return atomic_load_explicit(&stack->shares, memory_order_relaxed)
           & CONVERTED;
}

bool run_stack_try_claim(struct run_stack *stack)
{
    uintptr_t word = 0;
    /* (A) acquires what the last holder did; pairs with run_stack_release
     * (B). */
    return atomic_compare_exchange_strong_explicit(
        &stack->claim, &word, 1, memory_order_acquire, memory_order_relaxed);
}

/* True: it is claimed after all. */
static __attribute__((noinline)) bool
enlist(struct run_stack *stack, struct stack_waiter *waiter)
{
    /* Counted before it can be taken out, so the count is never below the
     * truth.  Relaxed: the claim orders the two counts of one waiter. */
    atomic_fetch_add_explicit(&stack->waiting, 1, memory_order_relaxed);
    do {
        uintptr_t word = atomic_load_explicit(&stack->claim,
                                              memory_order_relaxed);
        while (word != 0) {
            waiter->next = (struct stack_waiter *)(word & ~(uintptr_t)1);
            /* Releases the waiter; pairs with the exchange in
             * run_stack_release. */
            if (atomic_compare_exchange_weak_explicit(
                    &stack->claim, &word, (uintptr_t)waiter | 1,
                    memory_order_release, memory_order_relaxed))
                return false;
        }
    } while (!run_stack_try_claim(stack));
    atomic_fetch_sub_explicit(&stack->waiting, 1, memory_order_relaxed);
    return true;
}

bool run_stack_claim(struct run_stack *stack, struct stack_waiter *waiter)
{
    return likely(run_stack_try_claim(stack)) || enlist(stack, waiter);
}

struct stack_waiter *run_stack_release(struct run_stack *stack)
{
    uintptr_t word = 1;
    /* (B) releases frames and resident; pairs with run_stack_try_claim
     * (A). */
    if (likely(atomic_compare_exchange_strong_explicit(
            &stack->claim, &word, 0, memory_order_release,
            memory_order_relaxed)))
        return NULL;
    /* Acquires the waiters; pairs with run_stack_claim. */
    word = atomic_exchange_explicit(&stack->claim, 0, memory_order_acq_rel);
    struct stack_waiter *newest = (struct stack_waiter *)(word & ~(uintptr_t)1);
    struct stack_waiter *oldest = NULL;
    uint32_t taken = 0;
    while (newest) {
        struct stack_waiter *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
        taken++;
    }
    /* Relaxed: see enlist. */
    atomic_fetch_sub_explicit(&stack->waiting, taken, memory_order_relaxed);
    return oldest;
}

/* ---- Addresses ---------------------------------------------------------- */

/* The region may be just about to be there, for another thread.  Acquires its
 * borders; pairs with the release in grow. */
static bool lies_in(const struct region *region, const void *address)
{
    return atomic_load_explicit(&region->ready, memory_order_acquire) > 0
           && (uintptr_t)address - (uintptr_t)region->start
                  < region->slots * SLOT_BYTES;
}

_Atomic(uintptr_t) run_stack_doubtful_start, run_stack_doubtful_bytes;

void run_stack_set_doubtful(bool all)
{
    uintptr_t start = all ? 0 : (uintptr_t)common.start;
    atomic_store_explicit(&run_stack_doubtful_start, start,
                          memory_order_relaxed);
    atomic_store_explicit(&run_stack_doubtful_bytes,
                          all ? UINTPTR_MAX : common.slots * SLOT_BYTES,
                          memory_order_relaxed);
}

static struct run_stack *find(struct region *region, const void *address)
{
    size_t slot = ((uintptr_t)address - (uintptr_t)region->start) / SLOT_BYTES;
    /* Pairs with the release in grow. */
    if (slot >= atomic_load_explicit(&region->ready, memory_order_acquire))
        return NULL;
    return &region->table[slot];
}

bool run_stack_is_common_address(const void *address)
{
    return lies_in(&common, address) && find(&common, address) != NULL;
}

struct run_stack *run_stack_of_address(const void *address)
{
    if (lies_in(&own, address))
        return find(&own, address);
    if (lies_in(&common, address))
        return find(&common, address);
    struct run_stack *stack = atomic_load_explicit(&pool.large,
                                                   memory_order_acquire);
    for (; stack; stack = stack->next)
        if ((char *)address >= stack->bottom - memory_page_bytes()
            && (char *)address < stack->top)
            return stack;
    return NULL;
}

unsigned run_stack_own_count(void)
{
    return atomic_load_explicit(&pool.out, memory_order_relaxed);
}

unsigned run_stack_common_count(void)
{
    return atomic_load_explicit(&common.ready, memory_order_relaxed);
}
