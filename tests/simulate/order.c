/*
 * order.c - what happens before what, races, and stores that are seen late.
 *
 * A context counts its releases; a clock holds for each context how far its
 * doings are known.  An atomic object keeps the clock that its last store
 * released (a release sequence goes on through read-modify-writes, whatever
 * their order), and who acquires it knows as much.  A plain access is ordered
 * after an earlier one if its context's clock covers the moment of that; else
 * it is a race in C, even where in this schedule nothing went wrong.  So a
 * release or acquire that is missing is found although the machine is
 * sequentially consistent.
 *
 * What that cannot show, a fence missing between a store and a load that
 * follows, is shown by delays: a store that is not sequentially consistent
 * may wait in the context's buffer, as on x86, until the context does a
 * read-modify-write, a fence or a sequentially consistent store, waits, or
 * is chosen anew after others.  The buffer keeps the order of stores.
 * Plain stores do not wait in it: in a program without races nobody can
 * look at them earlier than at the atomic store that publishes them.
 *
 * Nor can it show a load that is made before what stands before it, as ARM
 * and RISC-V may do it even behind a read-modify-write.  For that an object
 * keeps its last values (versions), and a load that is not sequentially
 * consistent may return an older one, unless the context knows a later one:
 * that was written, or read by somebody, before something that it has
 * acquired, or before a sequentially consistent fence that came before one of
 * its own.
 *
 * The tables are forgotten at the beginning of a schedule by a new epoch.
 */
#include "tests/simulate/machine.h"

#include <stdint.h>
#include <string.h>

#define LOCATIONS 4096  /* powers of two */
#define GRANULES 16384
#define DELAYS_MAX 16
#define VERSIONS 4

/* A value that an atomic object had. */
struct version {
    uint64_t value;
    struct order released;
    uint32_t written; /* the writer's count */
    uint8_t writer;
    uint32_t read[MACHINE_CONTEXTS]; /* the readers' counts, 0: it has not */
};

/* An atomic object. */
struct location {
    const void *object;
    uint32_t epoch;
    struct order released;
    unsigned stores; /* the last of them are versions; 0: none is known */
    struct version versions[VERSIONS];
};

/* Eight bytes of memory: who wrote each of them last, and who has read it
 * since.  Mostly all eight are written and read together: then the first lane
 * tells of all. */
struct granule {
    uintptr_t number;
    uint32_t epoch;
    bool is_one;
    struct lane {
        const void *written_at;
        uint32_t written; /* the writer's count, 0: nobody */
        uint8_t writer;
        uint32_t read[MACHINE_CONTEXTS];
    } lanes[8];
};

struct delayed {
    void *object;
    uint64_t value;
    unsigned size_bytes;
    struct order released;
    bool releases;
};

/* What is known of each context. */
static struct {
    struct order clock;
    struct order fence_released;  /* by its last release fence */
    struct order loaded;          /* for its next acquire fence */
    struct delayed delayed[DELAYS_MAX];
    unsigned delayed_count;
} known[MACHINE_CONTEXTS];

/* What was seen at any sequentially consistent fence so far, and at the end of
 * any step that is taken as one. */
static struct order fenced, stepped;

/* The count at which the last store was made. */
static uint32_t stored_at;

static struct location locations[LOCATIONS];
static struct granule granules[GRANULES];
static uint32_t epoch = 1;

/* ---- Clocks ------------------------------------------------------------- */

static void join_counts(uint32_t *a, const uint32_t *b)
{
    for (unsigned i = 0; i < MACHINE_CONTEXTS; i++)
        if (a[i] < b[i])
            a[i] = b[i];
}

/* What is seen decides on choices, which must be the same each time; which
 * locks are taken in a step that is taken as one may not be. */
static void join(struct order *a, const struct order *b)
{
    join_counts(a->at, b->at);
    if (machine_quiet == 0)
        join_counts(a->seen, b->seen);
}

static struct order *clock_self(void)
{
    return &known[machine_current->number].clock;
}

/* What it does from now on is not covered by what it has released. */
static void step_self(void)
{
    unsigned self = machine_current->number;
    clock_self()->seen[self] = ++clock_self()->at[self];
}

void order_forget(void)
{
    epoch++;
    memset(known, 0, sizeof known);
    memset(&fenced, 0, sizeof fenced);
    memset(&stepped, 0, sizeof stepped);
    for (unsigned i = 0; i < MACHINE_CONTEXTS; i++)
        known[i].clock.at[i] = known[i].clock.seen[i] = 1;
}

void order_release(struct order *order)
{
    if (!machine_current)
        return;
    if (order->epoch != epoch)
        *order = (struct order){.epoch = epoch};
    join(order, clock_self());
    step_self();
}

void order_acquire(const struct order *order)
{
    if (order->epoch == epoch)
        join(clock_self(), order);
}

/* ---- Atomic objects ----------------------------------------------------- */

static uint64_t hash(uintptr_t key)
{
    return (key * UINT64_C(0x9e3779b97f4a7c15)) >> 32;
}

static struct location *location_of(const void *object)
{
    for (uint64_t i = hash((uintptr_t)object);; i++) {
        struct location *l = &locations[i % LOCATIONS];
        if (l->epoch != epoch)
            *l = (struct location){.object = object, .epoch = epoch};
        if (l->object == object)
            return l;
    }
}

static struct order *released_by(const void *object)
{
    return &location_of(object)->released;
}

static bool acquires(int order)
{
    return order != __ATOMIC_RELAXED && order != __ATOMIC_RELEASE;
}

static bool releases(int order)
{
    return order >= __ATOMIC_RELEASE;
}

static void acquire_from(const struct order *released, int order)
{
    struct order *self = clock_self();
    join(acquires(order) ? self : &known[machine_current->number].loaded,
         released);
}

/* What a store or read-modify-write of this context releases. */
static const struct order *release_of(int order)
{
    return releases(order) ? clock_self()
                           : &known[machine_current->number].fence_released;
}

void order_load(const void *object, int order)
{
    if (machine_current)
        acquire_from(released_by(object), order);
}

void order_store(const void *object, int order)
{
    if (!machine_current)
        return;
    struct order *released = released_by(object);
    memset(released->at, 0, sizeof released->at);
    if (machine_quiet == 0)
        memset(released->seen, 0, sizeof released->seen);
    join(released, release_of(order));
    stored_at = clock_self()->at[machine_current->number];
    if (releases(order))
        step_self();
}

void order_read_modify_write(const void *object, int order)
{
    if (!machine_current)
        return;
    struct order *released = released_by(object);
    acquire_from(released, order);
    join(released, release_of(order));
    stored_at = clock_self()->at[machine_current->number];
    if (releases(order))
        step_self();
}

void order_fence(int order)
{
    if (!machine_current)
        return;
    unsigned self = machine_current->number;
    if (acquires(order))
        join(clock_self(), &known[self].loaded);
    if (order == __ATOMIC_SEQ_CST) {
        join_counts(clock_self()->seen, fenced.seen);
        fenced = *clock_self();
    }
    if (releases(order)) {
        known[self].fence_released = *clock_self();
        step_self();
    }
    if (order == __ATOMIC_SEQ_CST)
        order_drain(machine_current);
}

/* ---- Stores that are seen late ------------------------------------------ */

void order_delay(void *object, uint64_t value, unsigned size_bytes, int order)
{
    struct context *c = machine_current;
    if (known[c->number].delayed_count == DELAYS_MAX)
        order_drain(c);
    known[c->number].delayed[known[c->number].delayed_count++]
        = (struct delayed){object, value, size_bytes, *release_of(order),
                           releases(order)};
    if (releases(order))
        step_self();
}

bool order_has_delayed(const struct context *c)
{
    return known[c->number].delayed_count > 0;
}

static bool overlaps(const struct delayed *d, const void *object,
                     unsigned size_bytes)
{
    uintptr_t a = (uintptr_t)d->object, b = (uintptr_t)object;
    return a < b + size_bytes && b < a + d->size_bytes;
}

bool order_is_delayed(const void *object, unsigned size_bytes,
                      uint64_t *value)
{
    struct context *c = machine_current;
    if (!c || !order_has_delayed(c))
        return false;
    for (unsigned i = known[c->number].delayed_count; i-- > 0;) {
        const struct delayed *d = &known[c->number].delayed[i];
        if (!overlaps(d, object, size_bytes))
            continue;
        if (d->object == object && d->size_bytes == size_bytes) {
            *value = d->value;
            return true;
        }
        order_drain(c);
        return false;
    }
    return false;
}

static void see(const struct delayed *d)
{
    switch (d->size_bytes) {
    case 1:
        *(volatile uint8_t *)d->object = (uint8_t)d->value;
        break;
    case 2:
        *(volatile uint16_t *)d->object = (uint16_t)d->value;
        break;
    case 4:
        *(volatile uint32_t *)d->object = (uint32_t)d->value;
        break;
    default:
        *(volatile uint64_t *)d->object = d->value;
        break;
    }
    *released_by(d->object) = d->released;
}

void order_drain(struct context *c)
{
    for (unsigned i = 0; i < known[c->number].delayed_count; i++)
        see(&known[c->number].delayed[i]);
    known[c->number].delayed_count = 0;
}

/* ---- Loads that are made early ------------------------------------------ */

void order_one_step(void)
{
    if (!machine_current || machine_quiet > 0)
        return;
    join_counts(clock_self()->seen, stepped.seen);
    stepped = *clock_self();
}

static struct version *version(struct location *l, unsigned number)
{
    return &l->versions[number % VERSIONS];
}

void order_wrote(const void *object, uint64_t before, uint64_t value)
{
    if (!machine_current || !explore_early || machine_quiet > 0
        || machine_is_thread_local(object))
        return;
    struct location *l = location_of(object);
    if (l->stores > 0 && version(l, l->stores)->value != before)
        l->stores = 0; /* it was written otherwise: it is a new object */
    if (l->stores == 0)
        *version(l, ++l->stores) = (struct version){.value = before};
    *version(l, ++l->stores) = (struct version){
        .value = value,
        .released = l->released,
        .written = stored_at,
        .writer = machine_current->number,
    };
}

/* The current context cannot see what was before it. */
static bool is_known(const struct version *v)
{
    const uint32_t *seen = clock_self()->seen;
    if (v->written <= seen[v->writer])
        return true;
    for (unsigned i = 0; i < MACHINE_CONTEXTS; i++)
        if (v->read[i] > 0 && v->read[i] <= seen[i])
            return true;
    return false;
}

static void read_version(struct version *v)
{
    unsigned self = machine_current->number;
    if (v->read[self] == 0)
        v->read[self] = clock_self()->at[self];
}

void order_read_newest(const void *object)
{
    if (!machine_current || !explore_early || machine_quiet > 0)
        return;
    struct location *l = location_of(object);
    if (l->stores > 0)
        read_version(version(l, l->stores));
}

bool order_read_early(const void *object, int order, uint64_t *value)
{
    if (!machine_current || !explore_early || machine_quiet > 0
        || order == __ATOMIC_SEQ_CST)
        return false;
    struct location *l = location_of(object);
    if (l->stores == 0 || version(l, l->stores)->value != *value)
        return false;
    unsigned self = machine_current->number, number = l->stores;
    while (number > 1 && number + VERSIONS > l->stores + 1
           && !is_known(version(l, number))
           && explore_choose(1u << self | 1u << MACHINE_DELAY, self,
                             CHOICE_DELAY)
                  == MACHINE_DELAY)
        number--;
    if (number == l->stores)
        return false;
    struct version *v = version(l, number);
    *value = v->value;
    acquire_from(&v->released, order);
    read_version(v);
    return true;
}

/* ---- Plain accesses ----------------------------------------------------- */

static void clear(struct granule *g)
{
    g->is_one = true;
    g->lanes[0] = (struct lane){0};
}

static struct granule *granule_of(uintptr_t number)
{
    uint64_t i = hash(number);
    for (unsigned tries = 0; tries < GRANULES; tries++, i++) {
        struct granule *g = &granules[i % GRANULES];
        if (g->epoch != epoch) {
            clear(g);
            g->number = number;
            g->epoch = epoch;
        }
        if (g->number == number)
            return g;
    }
    machine_fail("the program touches too much memory");
}

_Noreturn static void race(const void *address, const char *access,
                           const void *pc, const char *other, unsigned who,
                           const void *other_pc)
{
    machine_fail("data race: %c %s %p at %#zx, and nothing orders that after "
                 "%c's %s%s%#zx",
                 machine_current->letter, access, address, machine_place(pc),
                 machine_contexts[who].letter, other,
                 other_pc ? " at " : " somewhere, ",
                 other_pc ? machine_place(other_pc) : 0);
}

static void check_reads(const struct lane *lane, const struct order *clock,
                        const void *address, const void *pc)
{
    for (unsigned i = 0; i < MACHINE_CONTEXTS; i++)
        if (lane->read[i] > clock->at[i])
            race(address, "writes", pc, "read", i, NULL);
}

static void touch(struct lane *lane, const void *address, bool is_write,
                  const void *pc)
{
    unsigned self = machine_current->number;
    const struct order *clock = &known[self].clock;
    if (lane->written > clock->at[lane->writer])
        race(address, is_write ? "writes" : "reads", pc, "write",
             lane->writer, lane->written_at);
    if (!is_write) {
        lane->read[self] = clock->at[self];
        return;
    }
    check_reads(lane, clock, address, pc);
    memset(lane->read, 0, sizeof lane->read);
    lane->written = clock->at[self];
    lane->writer = (uint8_t)self;
    lane->written_at = pc;
}

static void split(struct granule *g)
{
    for (unsigned i = 1; i < 8; i++)
        g->lanes[i] = g->lanes[0];
    g->is_one = false;
}

/* Bytes of one granule. */
static void touch_bytes(uintptr_t address, uintptr_t end, bool is_write,
                        const void *pc)
{
    struct granule *g = granule_of(address / 8);
    bool is_whole = end - address == 8;
    if (g->is_one && is_whole) {
        touch(&g->lanes[0], (const void *)address, is_write, pc);
        return;
    }
    if (g->is_one)
        split(g);
    for (; address < end; address++)
        touch(&g->lanes[address % 8], (const void *)address, is_write, pc);
    g->is_one = is_whole && is_write;
}

void order_access(const void *start, size_t size_bytes, bool is_write,
                  const void *pc)
{
    uintptr_t address = (uintptr_t)start, end = address + size_bytes;
    if (!machine_current || machine_quiet > 0 || machine_is_thread_local(start))
        return;
    while (address < end) {
        uintptr_t next = (address / 8 + 1) * 8;
        touch_bytes(address, next < end ? next : end, is_write, pc);
        address = next;
    }
}

void order_new_memory(const void *start, size_t size_bytes)
{
    uintptr_t number = (uintptr_t)start / 8;
    uintptr_t end = ((uintptr_t)start + size_bytes + 7) / 8;
    for (; number < end; number++)
        clear(granule_of(number));
}
