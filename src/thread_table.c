/*
 * thread_table.c - where thread objects come from and go to.
 *
 *   thread_table                                             capacity
 *     | 0 | 1 | 2 | ...    | size ...       |                    |
 *     +---+---+---+--------+----------------+--------------------+
 *     |   | in use or free | never used     | reserved only      |
 *     +---+----------------+----------------+--------------------+
 *     <------------- committed ------------->
 *
 * One reserved range; a number is an index into it, and number 0 is nobody.
 * Free threads are kept in batches.  An OS thread that has entered owns a
 * cache of two batches and a range of threads never used; the others share
 * one such cache under a lock.  So most calls touch nothing but the thread
 * and the cache, and the lock is taken once for BATCH threads.
 *
 * Generations.  The word's upper half says which life of the object this
 * is; a handle names one life.  Invariant: a generation that some handle
 * holds is in the word during that life only.
 *
 *   never used   0                     no handle has generation 0
 *   in use       g << 32 | flags       g >= thread_generation_first, which
 *                                      is 1 but with a collector
 *   free         (g + 1) << 32 | THREAD_FREE
 *   retired      THREAD_FREE           g was the last: the object is never
 *                                      used again, rather than a handle
 *
 * Stale handles.  vthread_unpark reads the word through a handle, compares
 * the generation, and changes the word with a compare-exchange.  The end of
 * the life may come at any point between.  thread_free's store and that
 * exchange are two writes of one word, so one comes first:
 *   exchange first   it has changed a word nobody will look at again: the
 *                    store overwrites it, whatever its flags;
 *   store first      the exchange expects generation g; the word holds a
 *                    later one, now and for ever, for generations of an
 *                    object only grow.  It fails.
 * So a plain store is enough to end a life, and neither that store nor the
 * one in thread_alloc need be a read-modify-write: the one thing they read,
 * the generation, is changed by nobody else.  What this asks of others:
 * through a handle the word is changed by compare-exchange only; fetch_or
 * and its like are for those who know that the thread lives.
 *
 * Not here: what a thread is; see vthread.c.  Start at thread_alloc.
 */
#include "thread.h"

#include <errno.h>
#include <string.h>

#include "platform/futex.h"
#include "platform/memory.h"
#include "platform/panic.h"

/* How many threads go from a cache to the pool, or back, at once. */
#define BATCH 128

#define CAPACITY_MAX ((size_t)1 << THREAD_NUMBER_BITS)
#define CAPACITY_MIN ((size_t)1 << 16)

/* A program with few threads grows by small steps; from here on it has many
 * and wants huge pages. */
#define SPARSE_BYTES HUGE_PAGE_SIZE_BYTES
#define SPARSE_STEP_BYTES ((size_t)64 * 1024) /* of pages of any size */
#define DENSE_STEP_BYTES HUGE_PAGE_SIZE_BYTES

#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
_Static_assert(sizeof(struct thread) == 256, "thread.h promises 256 bytes");
_Static_assert(offsetof(struct thread, chunk) == 2 * CACHE_LINE,
               "the control fields fill two cache lines");
#endif
_Static_assert(CAPACITY_MIN * sizeof(struct thread) % DENSE_STEP_BYTES == 0,
               "the last step ends with the table");

/* Free threads, linked by next_free. */
struct batch {
    struct thread *first;
    uint32_t count;
};

struct cache {
    struct batch batch;        /* taken from and added to */
    struct batch spare;        /* empty or full */
    uint32_t fresh, fresh_end; /* numbers never used */
    bool entered;
};

struct thread *thread_table;
uint64_t thread_generation_first = 1;
_Atomic uint32_t thread_table_numbers; /* A: written under the lock */

static struct {
    struct os_lock lock;
    struct cache shared;    /* L: for OS threads that have none */
    struct thread *full;    /* L: batches, linked by wait_on */
    size_t capacity;        /* I */
    size_t committed_bytes; /* L */
} pool;

static _Thread_local struct cache own;

/* The table. */

static void *reserve(size_t *capacity)
{
    void *start = memory_table_reserve(*capacity * sizeof(struct thread));

    while (start == NULL && *capacity > CAPACITY_MIN) {
        *capacity /= 2;
        start = memory_table_reserve(*capacity * sizeof(struct thread));
    }
    return start;
}

int thread_table_init(void)
{
    size_t capacity = CAPACITY_MAX;
    void *start;

    if (thread_table != NULL)
        return 0;
    start = reserve(&capacity);
    if (start == NULL)
        return ENOMEM;
    if (capacity < CAPACITY_MAX && capacity >= 4 * CAPACITY_MIN
        && !memory_source()->reserve_table) {
        /* Address space is limited (ulimit -v) and we have just taken more
         * than half of what was left: leave some for the stacks. */
        memory_release(start, capacity * sizeof(struct thread));
        capacity /= 4;
        start = reserve(&capacity);
        if (start == NULL)
            return ENOMEM;
    }
    thread_table = start;
    pool.capacity = capacity;
    return 0;
}

uint32_t thread_table_size(void)
{
    /* Acquire pairs with the release in pool_carve: what is below the size
     * has been committed. */
    return atomic_load_explicit(&thread_table_numbers, memory_order_acquire);
}

/* Makes the table accessible up to that size.  Under the lock. */
static int pool_commit(size_t size)
{
    while (pool.committed_bytes < size * sizeof(struct thread)) {
        bool sparse = pool.committed_bytes < SPARSE_BYTES;
        size_t step_bytes = sparse ? SPARSE_STEP_BYTES : DENSE_STEP_BYTES;
        char *end = (char *)thread_table + pool.committed_bytes;
        int err = memory_table_commit(end, step_bytes, !sparse);
        if (err != 0)
            return err;
        pool.committed_bytes += step_bytes;
    }
    return 0;
}

/* Gives the cache threads never used.  Under the lock. */
static bool pool_carve(struct cache *cache)
{
    size_t size = atomic_load_explicit(&thread_table_numbers,
                                       memory_order_relaxed);
    size_t end = size + BATCH;

    if (end > pool.capacity)
        end = pool.capacity;
    if (end == size || pool_commit(end) != 0)
        return false;
    cache->fresh = size == 0 ? 1 : (uint32_t)size;
    cache->fresh_end = (uint32_t)end;
    /* Release: pairs with thread_table_size. */
    atomic_store_explicit(&thread_table_numbers, (uint32_t)end,
                          memory_order_release);
    return true;
}

/* Batches.  While a full one is in the pool, the first of its threads holds
 * the link to the next. */

static void pool_put(struct batch full)
{
    full.first->wait_on = pool.full;
    pool.full = full.first;
}

static struct batch pool_take(void)
{
    struct batch full = {pool.full, BATCH};

    pool.full = full.first->wait_on;
    return full;
}

static void batch_push(struct batch *batch, struct thread *t)
{
    t->next_free = batch->first;
    batch->first = t;
    batch->count++;
}

static struct thread *batch_pop(struct batch *batch)
{
    struct thread *t = batch->first;

    batch->first = t->next_free;
    batch->count--;
    /* The next one is wanted soon, and may have been cold for long. */
    __builtin_prefetch(batch->first, 1);
    return t;
}

/* Caches. */

static bool batch_move(struct batch *to, struct batch *from)
{
    *to = *from;
    *from = (struct batch){0};
    return to->count > 0;
}

/* Gets the empty cache something to give, new threads last.  Under the
 * lock. */
static bool cache_fill(struct cache *cache)
{
    if (pool.full != NULL) {
        cache->batch = pool_take();
        return true;
    }
    return batch_move(&cache->batch, &pool.shared.spare)
           || batch_move(&cache->batch, &pool.shared.batch)
           || pool_carve(cache);
}

static void lock_unless_shared(struct cache *cache)
{
    if (cache != &pool.shared)
        os_lock_acquire(&pool.lock);
}

static void unlock_unless_shared(struct cache *cache)
{
    if (cache != &pool.shared)
        os_lock_release(&pool.lock);
}

/* When the batch is empty: threads used before come first, for their memory
 * is there already. */
static __attribute__((noinline)) struct thread *
cache_take_slow(struct cache *cache)
{
    bool filled = true;

    if (!batch_move(&cache->batch, &cache->spare)
        && cache->fresh == cache->fresh_end) {
        lock_unless_shared(cache);
        filled = cache_fill(cache);
        unlock_unless_shared(cache);
    }
    if (!filled)
        return NULL;
    if (cache->batch.count > 0)
        return batch_pop(&cache->batch);
    return thread_at(cache->fresh++);
}

static inline struct thread *cache_take(struct cache *cache)
{
    if (likely(cache->batch.count > 0))
        return batch_pop(&cache->batch);
    return cache_take_slow(cache);
}

/* When the batch is full: it becomes the spare, which goes to the pool if
 * it is full too.  So taking and giving in turns never goes there. */
static __attribute__((noinline)) void cache_shift(struct cache *cache)
{
    if (cache->spare.count > 0) {
        lock_unless_shared(cache);
        pool_put(cache->spare);
        unlock_unless_shared(cache);
    }
    batch_move(&cache->spare, &cache->batch);
}

static inline void cache_give(struct cache *cache, struct thread *t)
{
    if (unlikely(cache->batch.count == BATCH))
        cache_shift(cache);
    batch_push(&cache->batch, t);
}

void thread_table_enter(void)
{
    own.entered = true;
}

void thread_table_leave(void)
{
    struct cache *shared = &pool.shared;

    own.entered = false;
    os_lock_acquire(&pool.lock);
    if (own.spare.count > 0)
        pool_put(own.spare);
    while (own.batch.count > 0)
        cache_give(shared, batch_pop(&own.batch));
    while (own.fresh < own.fresh_end)
        cache_give(shared, thread_at(own.fresh++));
    os_lock_release(&pool.lock);
    own = (struct cache){0};
}

/* Threads. */

static inline uint32_t generation_of(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

/* Zeroes the control fields, without the word: somebody with a stale handle
 * may be reading it.  By lines: for more than 64 bytes gcc writes `rep
 * stos`, and allocating and freeing takes 11 ns instead of 5. */
static void clear(struct thread *t)
{
    char *second_line = (char *)t + offsetof(struct thread, fn);

    memset(t, 0, offsetof(struct thread, word));
    memset(&t->continuation, 0, sizeof t->continuation);
    memset(second_line, 0, t->chunk - (unsigned char *)second_line);
}

/* Begins a life.  Relaxed: the handle is not known to anybody yet. */
static void begin(struct thread *t)
{
    uint64_t word = atomic_load_explicit(&t->word, memory_order_relaxed);
    uint64_t generation = generation_of(word);

    if (generation == 0)
        generation = thread_generation_first;
    /* Release: who sees anything of this life sees that the last one is over;
     * pairs with the fence of the census, which reads without a lock. */
    atomic_thread_fence(memory_order_release);
    clear(t);
    atomic_store_explicit(&t->word, generation << 32, memory_order_relaxed);
}

struct thread *thread_alloc(void)
{
    struct thread *t;

    if (likely(own.entered)) {
        t = cache_take(&own);
    } else {
        os_lock_acquire(&pool.lock);
        t = cache_take(&pool.shared);
        os_lock_release(&pool.lock);
    }
    if (likely(t != NULL))
        begin(t);
    return t;
}

void thread_free(struct thread *t)
{
    uint64_t word = atomic_load_explicit(&t->word, memory_order_relaxed);
    uint32_t next = generation_of(word) + 1;

    invariant(!(word & THREAD_FREE) && generation_of(word) != 0);
    /* Relaxed: it publishes nothing but itself, and the next life takes
     * the object from this OS thread's cache or under the lock.  After
     * generation 2^32 - 1 comes 0, and the object is not used again. */
    atomic_store_explicit(&t->word, (uint64_t)next << 32 | THREAD_FREE,
                          memory_order_relaxed);
    if (unlikely(next == 0))
        return;
    if (likely(own.entered)) {
        cache_give(&own, t);
    } else {
        os_lock_acquire(&pool.lock);
        cache_give(&pool.shared, t);
        os_lock_release(&pool.lock);
    }
}

static bool in_use(uint64_t word)
{
    return generation_of(word) != 0 && !(word & THREAD_FREE);
}

struct thread *thread_of_handle(vthread_t handle, uint64_t *word)
{
    uint32_t number = (uint32_t)handle;
    struct thread *t;

    thread_refuse_child();
    if (number >= thread_table_size())
        return NULL;
    t = thread_at(number);
    /* Acquire pairs with whatever release wrote the flags seen; see
     * vthread.c. */
    *word = atomic_load_explicit(&t->word, memory_order_acquire);
    if (generation_of(*word) != generation_of(handle) || !in_use(*word))
        return NULL;
    return t;
}

struct thread *thread_in_use_from(uint32_t number, uint64_t *word)
{
    uint32_t size = thread_table_size();

    for (; number < size; number++) {
        struct thread *t = thread_at(number);
        *word = atomic_load_explicit(&t->word, memory_order_acquire);
        if (in_use(*word))
            return t;
    }
    return NULL;
}
