/*
 * stress_test.c - everything at once, at random, on real carriers.
 *
 * Actors, virtual and platform threads, do whatever the API offers to
 * themselves and to each other: wait in all ways, wake, interrupt, create,
 * join, detach, pin, recurse, run generators, start and stop schedulers.
 * Nobody waits for what only chance brings, so all come to an end.  Then the
 * books are closed: what each thread computed is right, as many threads
 * ended as were created, none is left.
 *
 * STRESS_SECONDS tells how long each test runs, which is otherwise a tenth of
 * one, and one with STRESS; SEED replays what the actors do, though not when
 * they do it.
 */
#include <errno.h>
#include <stdio.h>

#include "tests/random.h"
#include "tests/threads.h"

#define ACTORS 60
#define KNOWN 256 /* a power of two */

struct world {
    vthread_scheduler_t *scheduler;
    uint64_t end_ns;
    _Atomic vthread_t known[KNOWN]; /* threads, many of them gone */
    atomic_ulong created;           /* by actors */
    atomic_ulong operations;
    atomic_ulong parks, timeouts, cancels;
};

/* On the heap: an actor's stack may be anywhere while it waits. */
struct actor {
    struct world *world;
    struct random random;
    unsigned depth;      /* generations above it */
    unsigned operations; /* 0: until the end of the world */
    uint64_t value;      /* what it must return a hash of */
};

static void *act(void *arg);

static uint64_t hash(uint64_t n)
{
    return random_next(&(struct random){n});
}

static uint64_t below(struct actor *a, uint64_t limit)
{
    return random_below(&a->random, limit);
}

static vthread_t anybody(struct actor *a)
{
    return a->world->known[below(a, KNOWN)];
}

static void introduce(struct actor *a, vthread_t t)
{
    a->world->known[below(a, KNOWN)] = t;
}

/* ---- Waiting ------------------------------------------------------------ */

static void count_wait(struct world *w, int err)
{
    ck_assert_msg(err == 0 || err == ETIMEDOUT || err == ECANCELED, "%s",
                  strerror(err));
    atomic_fetch_add(&w->parks, 1);
    atomic_fetch_add(&w->timeouts, err == ETIMEDOUT);
    atomic_fetch_add(&w->cancels, err == ECANCELED);
}

static void wait_somehow(struct actor *a)
{
    uint64_t ns = below(a, 200000);
    switch (below(a, 6)) {
    case 0:
        count_wait(a->world, vthread_sleep(ns));
        break;
    case 1:
    case 2:
        count_wait(a->world, vthread_park_until(vthread_after(ns)));
        break;
    case 3:
        vthread_unpark(vthread_self());
        count_wait(a->world, vthread_park());
        break;
    case 4:
        count_wait(a->world, vthread_park_until(0));
        break;
    default:
        vthread_yield();
    }
}

static void disturb(struct actor *a)
{
    vthread_t t = anybody(a);
    char name[32];
    int err = 0;
    switch (below(a, 5)) {
    case 0:
        err = vthread_interrupt(t);
        break;
    case 1:
        vthread_interrupted();
        break;
    case 2:
        vthread_setname(vthread_self(), below(a, 2) ? "actor" : NULL);
        err = vthread_getname(vthread_self(), name, sizeof name);
        break;
    default:
        err = vthread_unpark(t);
    }
    ck_assert(err == 0 || err == ESRCH);
}

/* ---- Frames ------------------------------------------------------------- */

__attribute__((noinline)) static uint64_t recurse(struct actor *a,
                                                  unsigned levels)
{
    uint64_t words[6], sum = 0;
    uint64_t first = random_next(&a->random);
    for (unsigned i = 0; i < 6; i++)
        words[i] = hash(first + i);
    if (levels > 0)
        sum = recurse(a, levels - 1);
    if (words[0] % 8 == 0)
        wait_somehow(a);
    for (unsigned i = 0; i < 6; i++)
        ck_assert_uint_eq(words[i], hash(first + i));
    return sum + words[5];
}

static const char numbers[] = "numbers";

static void generate(void *arg)
{
    struct actor *a = arg;
    for (unsigned i = 0; i < 3; i++) {
        recurse(a, 2);
        ck_assert_int_eq(vthread_continuation_yield(numbers), 0);
    }
}

static void consume(struct actor *a)
{
    vthread_continuation_attr_t attr = {.scope = numbers};
    vthread_continuation_t *c;
    unsigned limit = (unsigned)below(a, 6);
    int err = vthread_continuation_create(&c, &attr, generate, a);
    ck_assert_int_eq(err, 0);
    /* Some are dropped before their end. */
    for (unsigned i = 0; i < limit && !vthread_continuation_is_done(c); i++)
        while ((err = vthread_continuation_run(c)) == EAGAIN)
            vthread_yield();
    ck_assert_int_eq(err, 0);
    ck_assert_int_eq(vthread_continuation_destroy(c), 0);
}

static void pinned(struct actor *a)
{
    ck_assert_int_eq(vthread_pin(), 0);
    long here = os_thread();
    wait_somehow(a);
    ck_assert_int_eq(os_thread(), here);
    ck_assert_int_eq(vthread_unpin(), 0);
}

/* ---- Others ------------------------------------------------------------- */

static vthread_t create_child(struct actor *a, uint64_t *value,
                              bool detached)
{
    struct actor *child = malloc(sizeof *child);
    ck_assert_ptr_nonnull(child);
    *child = (struct actor){
        .world = a->world,
        .random = {random_next(&a->random)},
        .depth = a->depth + 1,
        .operations = 1 + (unsigned)below(a, 8),
        .value = random_next(&a->random),
    };
    *value = child->value;
    vthread_attr_t attr = {
        .scheduler = a->world->scheduler,
        .name = below(a, 4) ? NULL : "child",
        .flags = (below(a, 5) ? 0 : VTHREAD_STACK_OWN)
                 | (below(a, 5) ? 0 : VTHREAD_BOUND)
                 | (detached ? VTHREAD_DETACHED : 0),
        .stack_size_bytes = below(a, 9) ? 0 : 64 << 10,
    };
    vthread_t t;
    ck_assert_int_eq(vthread_create(&t, &attr, act, child), 0);
    atomic_fetch_add(&a->world->created, 1);
    introduce(a, t);
    return t;
}

static void join_child(struct actor *a, vthread_t t, uint64_t value)
{
    void *result = NULL;
    int err;
    do {
        uint64_t deadline = below(a, 2) ? VTHREAD_NEVER
                                        : vthread_after(below(a, 100000));
        err = vthread_join_until(t, &result, deadline);
        ck_assert(err == 0 || err == ETIMEDOUT || err == ECANCELED);
        ck_assert(err != ETIMEDOUT || deadline != VTHREAD_NEVER);
    } while (err != 0);
    ck_assert_ptr_eq(result, pointer(hash(value)));
    ck_assert_int_eq(vthread_join(t, NULL), ESRCH);
}

static void have_children(struct actor *a)
{
    vthread_t children[4];
    uint64_t values[4];
    unsigned count = 1 + (unsigned)below(a, COUNT_OF(children));
    if (a->depth >= 3)
        return;
    for (unsigned i = 0; i < count; i++)
        children[i] = create_child(a, &values[i], false);
    for (unsigned i = 0; i < count; i++)
        if (below(a, 4) == 0)
            ck_assert_int_eq(vthread_detach(children[i]), 0);
        else
            join_child(a, children[i], values[i]);
    create_child(a, &values[0], true);
}

/* A scheduler of its own, for a moment. */
static void secede(struct actor *a)
{
    vthread_scheduler_t *s;
    vthread_scheduler_attr_t attr = {.parallelism = 1
                                                    + (unsigned)below(a, 2)};
    ck_assert_int_eq(vthread_scheduler_create(&s, &attr), 0);
    for (int i = 0; i < 3; i++) {
        vthread_t t = start_on(s, return_argument, pointer(7));
        introduce(a, t);
        int err;
        void *result;
        while ((err = vthread_join(t, &result)) == ECANCELED)
            continue;
        ck_assert_int_eq(err, 0);
        ck_assert_ptr_eq(result, pointer(7));
    }
    int err;
    while ((err = vthread_scheduler_shutdown(s, VTHREAD_NEVER)) == ECANCELED)
        continue;
    ck_assert_int_eq(err, 0);
}

/* ---- All of it ---------------------------------------------------------- */

static void act_once(struct actor *a)
{
    atomic_fetch_add_explicit(&a->world->operations, 1,
                              memory_order_relaxed);
    switch (below(a, 16)) {
    case 0:
    case 1:
        have_children(a);
        break;
    case 2:
        recurse(a, (unsigned)below(a, 60));
        break;
    case 3:
        consume(a);
        break;
    case 4:
        pinned(a);
        break;
    case 5:
        if (below(a, 40) == 0)
            secede(a);
        break;
    case 6:
    case 7:
    case 8:
    case 9:
    case 10:
        disturb(a);
        break;
    default:
        wait_somehow(a);
    }
}

static bool goes_on(struct actor *a)
{
    if (a->operations > 0)
        return --a->operations > 0;
    return vthread_now() < a->world->end_ns;
}

static void *act(void *arg)
{
    struct actor *a = arg;
    do
        act_once(a);
    while (goes_on(a));
    uint64_t value = a->value;
    free(a);
    return pointer(hash(value));
}

static struct actor *new_actor(struct world *w, uint64_t seed)
{
    struct actor *a = malloc(sizeof *a);
    ck_assert_ptr_nonnull(a);
    *a = (struct actor){.world = w, .random = {seed}, .value = seed};
    return a;
}

static uint64_t duration_ms(void)
{
    uint64_t seconds = number_from("STRESS_SECONDS", 0);
    return seconds > 0 ? seconds * 1000 : how_often(100, 1000);
}

static void close_the_books(struct world *w)
{
    vthread_scheduler_stats_t stats;
    /* Detached ones may still be at it. */
    while ((stats = stats_of(w->scheduler)).threads > 0)
        vthread_sleep(VTHREAD_MS);
    ck_assert_uint_eq(stats.created, ACTORS + atomic_load(&w->created));
    ck_assert_uint_ge(stats.mounts, stats.created);
    printf("%lu operations, %lu waits (%lu timed out, %lu canceled), "
           "%llu threads, %llu mounts, %llu freezes, %llu steals, "
           "%llu pinned parks, %u carriers\n",
           atomic_load(&w->operations), atomic_load(&w->parks),
           atomic_load(&w->timeouts), atomic_load(&w->cancels),
           (unsigned long long)stats.created,
           (unsigned long long)stats.mounts,
           (unsigned long long)stats.freezes,
           (unsigned long long)stats.steals,
           (unsigned long long)stats.pinned_parks, stats.carriers);
    fflush(stdout);
}

static void stress(unsigned carriers, uint64_t seed)
{
    static struct world world;
    vthread_t actors[ACTORS];
    pthread_t outsiders[2];
    struct random random = {seed};
    memset(&world, 0, sizeof world);
    world.scheduler = scheduler_of(carriers);
    world.end_ns = vthread_after(duration_ms() * VTHREAD_MS);
    uint64_t seeds[ACTORS];
    for (unsigned i = 0; i < ACTORS; i++) {
        seeds[i] = random_next(&random);
        actors[i] = start_on(world.scheduler, act,
                             new_actor(&world, seeds[i]));
        world.known[i] = actors[i];
    }
    for (unsigned i = 0; i < COUNT_OF(outsiders); i++)
        ck_assert_int_eq(pthread_create(&outsiders[i], NULL, act,
                                        new_actor(&world, seed + i)),
                         0);
    for (unsigned i = 0; i < ACTORS; i++)
        ck_assert_ptr_eq(join(actors[i]), pointer(hash(seeds[i])));
    for (unsigned i = 0; i < COUNT_OF(outsiders); i++)
        pthread_join(outsiders[i], NULL);
    close_the_books(&world);
    shut_down(world.scheduler);
    if (tests_fork())
        ck_assert_int_eq(
            vthread_scheduler_shutdown(vthread_scheduler_default(),
                                       VTHREAD_NEVER),
            0);
}

static uint64_t first_seed;

START_TEST(all_at_once_on_one_carrier)
{
    stress(1, first_seed);
}
END_TEST

START_TEST(all_at_once_on_two_carriers)
{
    set_mode("VTHREAD_OWN_LIMIT", "10");
    set_mode("VTHREAD_COMMON_HOMES", "1");
    stress(2, first_seed + 1);
}
END_TEST

START_TEST(all_at_once_on_eight_carriers)
{
    set_mode("VTHREAD_OWN_LIMIT", "0");
    set_mode("VTHREAD_COMMON_HOMES", "2");
    stress(8, first_seed + 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stress");
    TCase *cases = new_case(suite, "stress");
    first_seed = random_start("stress_test").state;
    tcase_set_timeout(cases, (double)(PATIENCE_S + 3 * duration_ms() / 1000));
    tcase_add_test(cases, all_at_once_on_one_carrier);
    tcase_add_test(cases, all_at_once_on_two_carriers);
    tcase_add_test(cases, all_at_once_on_eight_carriers);
    return run_suite(suite);
}
