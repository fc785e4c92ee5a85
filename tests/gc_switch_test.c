/*
 * gc_switch_test.c - collections at every nth switch, while foreign calls
 * last, and under stress.
 *
 * STRESS=1 in the environment: the last test takes GC_SECONDS, or 8; in
 * make check-stress, which runs it in each setting, ten minutes together.
 */
#include "tests/collect.h"

#include <errno.h>

#include <vthread.h>

#if defined HAVE_FFI
#include <vthread/call.h>
#endif

#include "continuation/watch.h"

/* ---- At every nth switch ------------------------------------------------ */

static atomic_uint switches;
static unsigned each;

static void collect_at_times(struct continuation *c)
{
    (void)c;
    if (atomic_fetch_add(&switches, 1) % each == 0)
        GC_gcollect();
}

static const struct watcher collecting = {.mounting = collect_at_times,
                                          .unmounted = collect_at_times};

/* A tree whose leaves know their depth; every frame holds a node while those
 * below it yield. */
struct tree {
    struct tree *left, *right;
    uint64_t depth, end;
};

static __attribute__((noinline)) struct tree *grow_tree(uint64_t depth)
{
    struct tree *t = GC_MALLOC(sizeof *t);
    vthread_yield();
    if (depth > 0) {
        t->left = grow_tree(depth - 1);
        t->right = grow_tree(depth - 1);
    }
    t->depth = depth;
    t->end = ~depth;
    return t;
}

static void expect_tree(const struct tree *t, uint64_t depth)
{
    ck_assert_uint_eq(t->depth, depth);
    ck_assert_uint_eq(t->end, ~depth);
    if (depth > 0) {
        expect_tree(t->left, depth - 1);
        expect_tree(t->right, depth - 1);
    }
}

static void *grows_tree(void *depth)
{
    expect_tree(grow_tree((uintptr_t)depth), (uintptr_t)depth);
    return NULL;
}

START_TEST(a_collection_at_every_nth_switch_loses_nothing)
{
    static const unsigned steps[] = {1, 2, 3, 5, 7};
    vthread_t threads[4];
    /* What has been vacated is poisoned, and all share two homes. */
    set_mode("VTHREAD_FREEZE", "eager");
    set_mode("VTHREAD_OWN_LIMIT", "0");
    set_mode("VTHREAD_COMMON_HOMES", "2");
    enable();
    each = steps[_i];
    watch_begin(WATCH_EMBED, &collecting);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start(grows_tree, pointer(4));
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    watch_end(WATCH_EMBED);
    ck_assert_uint_gt(switches, 100);
}
END_TEST

/* ---- Foreign calls ------------------------------------------------------ */

#if defined HAVE_FFI

enum { CALLS = 4 };

static atomic_int entered, may_return, returned, intact;
static uintptr_t passed; /* inverted */
static uint64_t passed_number;

/* All that it has is its argument. */
static void looks_at(struct object *o)
{
    atomic_store(&entered, 1);
    while (!atomic_load(&may_return))
        sched_yield();
    atomic_fetch_add(&intact, object_is_intact(o, passed_number));
    atomic_store(&returned, 1);
}

static int call_with_object(unsigned policy, uint64_t deadline_ns)
{
    static vthread_call_site_t sites[4];
    vthread_call_site_t *site = &sites[policy];
    struct object *o = object_at(passed);
    void *args[] = {&o};
    if (!site->signature)
        *site = (vthread_call_site_t){.signature = "v(p)", .policy = policy};
    int err = vthread_call_until(site, (void (*)(void))looks_at, NULL, args,
                                 NULL, deadline_ns);
    o = NULL;
    __asm__ volatile("" ::"r"(args) : "memory");
    return err;
}

static void *calls_in_place(void *policy)
{
    ck_assert_int_eq(
        call_with_object((unsigned)(uintptr_t)policy, VTHREAD_NEVER), 0);
    return NULL;
}

/* Leaves the call alone, and ends. */
static void *calls_and_gives_up(void *policy)
{
    while (call_with_object((unsigned)(uintptr_t)policy,
                            vthread_after(20 * VTHREAD_MS))
               == ETIMEDOUT
           && atomic_load(&entered) == 0)
        continue;
    return NULL;
}

static void hold_one(uint64_t number, void *(*calls)(void *), unsigned policy)
{
    atomic_store(&entered, 0);
    atomic_store(&may_return, 0);
    atomic_store(&returned, 0);
    GC_disable();
    passed_number = number;
    passed = object_hidden(number);
    vthread_t t = start(calls, pointer(policy));
    while (!atomic_load(&entered))
        vthread_yield();
    if (calls == calls_and_gives_up)
        join(t);
    GC_enable();
    for (int i = 0; i < 5; i++)
        collect();
    atomic_store(&may_return, 1);
    while (!atomic_load(&returned))
        vthread_yield();
    if (calls != calls_and_gives_up)
        join(t);
}

/* A word somewhere that looks like its address keeps one at times, not most
 * of them.  One that has died is not intact. */
static void hold_by_call(void *(*calls)(void *), unsigned policy)
{
    enable();
    for (uint64_t i = 1; i <= CALLS; i++)
        hold_one(i, calls, policy);
    ck_assert_int_eq(atomic_load(&intact), CALLS);
    until_died(CALLS / 2);
}

START_TEST(what_a_call_in_place_was_given_lives_as_long)
{
    hold_by_call(calls_in_place, VTHREAD_CALL_BLOCKING);
}
END_TEST

START_TEST(what_a_detached_call_was_given_lives_as_long)
{
    hold_by_call(calls_in_place, VTHREAD_CALL_DETACHED);
}
END_TEST

START_TEST(what_an_abandoned_call_was_given_lives_as_long)
{
    hold_by_call(calls_and_gives_up, VTHREAD_CALL_DETACHED);
}
END_TEST

#endif

/* ---- Stress ------------------------------------------------------------- */

enum { WORKERS = 24 };

static _Atomic uint64_t end_ns;
static vthread_channel_t *exchange;

static bool is_over(void)
{
    return vthread_now() >= atomic_load(&end_ns);
}

/* Trees that go from thread to thread through a channel. */
static void *exchanges_trees(void *unused)
{
    (void)unused;
    while (!is_over()) {
        struct tree *t = grow_tree(5);
        ck_assert_int_eq(vthread_channel_send(exchange, &t), 0);
        t = NULL;
        ck_assert_int_eq(vthread_channel_receive(exchange, &t), 0);
        expect_tree(t, 5);
    }
    return NULL;
}

static void generates_trees(void *place)
{
    for (;;) {
        *(struct tree **)place = grow_tree(3);
        ck_assert_int_eq(vthread_continuation_yield(exchange), 0);
    }
}

static void *uses_generators(void *unused)
{
    vthread_continuation_attr_t attr = {.scope = exchange};
    (void)unused;
    while (!is_over()) {
        vthread_continuation_t *c;
        struct tree *t = NULL;
        ck_assert_int_eq(
            vthread_continuation_create(&c, &attr, generates_trees, &t), 0);
        for (int i = 0; i < 10; i++) {
            ck_assert_int_eq(vthread_continuation_run(c), 0);
            expect_tree(t, 3);
        }
        ck_assert_int_eq(vthread_continuation_destroy(c), 0);
    }
    return NULL;
}

static void *returns_tree(void *depth)
{
    return grow_tree((uintptr_t)depth);
}

static void *starts_threads(void *unused)
{
    (void)unused;
    while (!is_over()) {
        vthread_t threads[8];
        for (unsigned i = 0; i < COUNT_OF(threads); i++)
            threads[i] = start(returns_tree, pointer(i % 5));
        for (unsigned i = 0; i < COUNT_OF(threads); i++)
            expect_tree(join(threads[i]), i % 5);
    }
    return NULL;
}

static atomic_int finalized;

static void counts_death(void *object, void *unused)
{
    (void)object;
    (void)unused;
    vthread_yield();
    atomic_fetch_add(&finalized, 1);
}

static void *makes_finalizable(void *unused)
{
    (void)unused;
    while (!is_over()) {
        GC_REGISTER_FINALIZER_NO_ORDER(GC_MALLOC(64), counts_death, NULL, NULL,
                                       NULL);
        vthread_sleep(50 * VTHREAD_US);
    }
    return NULL;
}

START_TEST(programs_that_allocate_much_lose_nothing)
{
    static void *(*const works[])(void *) = {
        exchanges_trees, uses_generators, starts_threads, makes_finalizable};
    vthread_t threads[WORKERS];
    uint64_t seconds = number_from("GC_SECONDS", 8);
    enable();
    ck_assert_int_eq(
        vthread_channel_create(&exchange, sizeof(void *), WORKERS), 0);
    atomic_store(&end_ns,
                 vthread_after(getenv("STRESS") ? seconds * 1000 * VTHREAD_MS
                                                : 150 * VTHREAD_MS));
    for (unsigned i = 0; i < WORKERS; i++)
        threads[i] = start(works[i % COUNT_OF(works)], NULL);
    while (!is_over()) {
        GC_gcollect();
        vthread_sleep(2 * VTHREAD_MS);
    }
    for (unsigned i = 0; i < WORKERS; i++)
        join(threads[i]);
    while (!atomic_load(&finalized)) {
        collect();
        vthread_sleep(VTHREAD_MS);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gc_switch");
    TCase *nth = new_case(suite, "nth");
    tcase_add_loop_test(nth, a_collection_at_every_nth_switch_loses_nothing, 0,
                        5);
#if defined HAVE_FFI
    TCase *calls = new_case(suite, "calls");
    tcase_add_test(calls, what_a_call_in_place_was_given_lives_as_long);
    tcase_add_test(calls, what_a_detached_call_was_given_lives_as_long);
    tcase_add_test(calls, what_an_abandoned_call_was_given_lives_as_long);
#endif
    TCase *stress = new_case(suite, "stress");
    tcase_add_test(stress, programs_that_allocate_much_lose_nothing);
    return run_suite(suite);
}
