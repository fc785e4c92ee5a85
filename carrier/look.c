/*
 * look.c - carriers as somebody sees them who has nothing to do with them.
 *
 * Each value was right at some instant; no carrier notices.  What only the
 * carrier itself writes is read all the same: numbers, at worst out of date.
 */
#include "carrier/carrier.h"

#include "platform/sanitizer.h"

NO_SANITIZE_THREAD static enum carrier_state state_of(const struct carrier *c)
{
    const volatile struct carrier *seen = c;
    if (!seen->is_watched)
        return CARRIER_RESTS;
    if (call_is_handed(c))
        return CARRIER_IN_CALL;
    if (seen->blocks > 0)
        return CARRIER_BLOCKED;
    if (atomic_load_explicit(&c->is_polling, memory_order_relaxed))
        return CARRIER_POLLS;
    if (seen->is_idle)
        return CARRIER_SLEEPS;
    return seen->is_searching ? CARRIER_SEARCHES : CARRIER_RUNS;
}

const char *pool_name(const struct pool *pool)
{
    return pool->name;
}

static void look(const struct carrier *c, struct carrier_look *look)
{
    *look = (struct carrier_look){
        .state = state_of(c),
        .tick = carrier_tick(c),
        .queued =
            deque_length(&c->queue)
            + (atomic_load_explicit(&c->next, memory_order_relaxed) != NULL),
        .forked = deque_length(&c->forked),
        .calls = atomic_load_explicit(&c->call, memory_order_relaxed)
                 / (CALL_STATE + 1),
        .steals = atomic_load_explicit(&c->steals, memory_order_relaxed),
    };
}

void pool_look(struct pool *pool, pool_look_fn *visit, void *arg)
{
    unsigned count = pool_carrier_count(pool);
    for (unsigned i = 0; i < count; i++) {
        struct carrier *c = pool_carrier(pool, i);
        struct carrier_look seen;
        os_lock_acquire(&pool->watch);
        look(c, &seen);
        visit(c, &seen, arg);
        os_lock_release(&pool->watch);
    }
}
