/*
 * future_test.c - results that are set once: awaiting one, all, any, the
 * first; against setting, failing, timing-out and cancelled twins; freed by
 * those who await while they are set.
 */
#include <errno.h>

#include "platform/memory.h"
#include "tests/random.h"
#include "tests/threads.h"

/* ---- One thread --------------------------------------------------------- */

START_TEST(a_future_is_set_once)
{
    vthread_future_t f = {0}, g = {0};
    void *value = NULL;
    ck_assert(!vthread_future_is_done(&f));
    ck_assert_int_eq(vthread_future_await_until(&f, &value, 1), ETIMEDOUT);
    ck_assert_int_eq(vthread_future_set(&f, pointer(7)), 0);
    ck_assert(vthread_future_is_done(&f));
    ck_assert_int_eq(vthread_future_set(&f, pointer(8)), EALREADY);
    ck_assert_int_eq(vthread_future_fail(&f, EIO), EALREADY);
    ck_assert_int_eq(vthread_future_await(&f, &value), 0);
    ck_assert_ptr_eq(value, pointer(7));
    ck_assert_int_eq(vthread_future_await(&f, NULL), 0);
    ck_assert_int_eq(vthread_future_fail(&g, 0), EINVAL);
    ck_assert_int_eq(vthread_future_fail(&g, -1), EINVAL);
    ck_assert_int_eq(vthread_future_fail(&g, EIO), 0);
    ck_assert_int_eq(vthread_future_set(&g, pointer(8)), EALREADY);
    ck_assert_int_eq(vthread_future_await_until(&g, &value, 1), EIO);
    ck_assert_ptr_eq(value, pointer(7));
}
END_TEST

typedef int combinator(vthread_future_t *const *, size_t, size_t *, uint64_t);

/* Three futures: '.' pending, 'v' fulfilled, 'e' failed with 1 + index. */
static void expect_of(combinator *combine, const char *states, int result,
                      size_t index)
{
    vthread_future_t f[3] = {{0}};
    vthread_future_t *all[] = {&f[0], &f[1], &f[2]};
    size_t which = 9;
    for (int i = 0; i < 3; i++)
        if (states[i] == 'v')
            ck_assert_int_eq(vthread_future_set(&f[i], NULL), 0);
        else if (states[i] == 'e')
            ck_assert_int_eq(vthread_future_fail(&f[i], 1 + i), 0);
    ck_assert_int_eq(combine(all, 3, &which, 1), result);
    ck_assert_uint_eq(which, index);
    ck_assert_int_eq(combine(all, 3, NULL, 1), result);
}

START_TEST(what_is_decided_needs_no_wait)
{
    expect_of(vthread_future_all, "...", ETIMEDOUT, 9);
    expect_of(vthread_future_all, "vv.", ETIMEDOUT, 9);
    expect_of(vthread_future_all, "vvv", 0, 9);
    expect_of(vthread_future_all, ".e.", 2, 1);
    expect_of(vthread_future_all, "vve", 3, 2);
    expect_of(vthread_future_any, "ee.", ETIMEDOUT, 9);
    expect_of(vthread_future_any, "e.v", 0, 2);
    expect_of(vthread_future_any, "eee", 3, 2);
    expect_of(vthread_future_any, "v..", 0, 0);
    expect_of(vthread_future_race, "...", ETIMEDOUT, 9);
    expect_of(vthread_future_race, ".v.", 0, 1);
    expect_of(vthread_future_race, ".e.", 2, 1);
}
END_TEST

START_TEST(of_no_futures_all_are_fulfilled)
{
    size_t which = 9;
    ck_assert_int_eq(vthread_future_all(NULL, 0, &which, 1), 0);
    ck_assert_int_eq(vthread_future_any(NULL, 0, &which, 1), EINVAL);
    ck_assert_int_eq(vthread_future_race(NULL, 0, &which, 1), EINVAL);
    ck_assert_uint_eq(which, 9);
}
END_TEST

START_TEST(without_memory_nothing_is_waited_for)
{
    vthread_future_t f = {0};
    vthread_future_t *all[] = {&f, &f};
    size_t which = 9;
    ck_assert_uint_ne(vthread_self(), 0);
    memory_fail_after(1);
    ck_assert_int_eq(vthread_future_all(all, 2, &which, VTHREAD_NEVER),
                     ENOMEM);
    ck_assert_int_eq(vthread_future_any(all, 2, &which, VTHREAD_NEVER),
                     ENOMEM);
    ck_assert_int_eq(vthread_future_race(all, 2, &which, VTHREAD_NEVER),
                     ENOMEM);
    ck_assert_int_eq(vthread_future_set(&f, NULL), 0);
    ck_assert_int_eq(vthread_future_all(all, 2, &which, 1), 0);
    memory_fail_after(0);
    ck_assert_uint_eq(which, 9);
}
END_TEST

/* ---- Those who wait ----------------------------------------------------- */

enum { COUNT = 4 };

/* On the heap: futures, and what a thread awaits. */
struct wait {
    vthread_future_t futures[COUNT];
    struct wait *of;     /* whose futures it awaits: its own, or another's */
    combinator *combine; /* NULL: awaits the first */
    uint64_t deadline_ns;
    void *value;
    size_t index;
    int result;
    _Atomic vthread_t handle;
};

static struct wait *new_wait(combinator *combine, uint64_t deadline_ns)
{
    struct wait *w = calloc(1, sizeof *w);
    w->of = w;
    w->combine = combine;
    w->deadline_ns = deadline_ns;
    w->index = 9;
    return w;
}

static void *awaits(void *arg)
{
    struct wait *w = arg;
    vthread_future_t *all[COUNT];
    void *value = NULL;
    size_t index = 9;
    atomic_store(&w->handle, vthread_self());
    for (int i = 0; i < COUNT; i++)
        all[i] = &w->of->futures[i];
    w->result = w->combine
                    ? w->combine(all, COUNT, &index, w->deadline_ns)
                    : vthread_future_await_until(all[0], &value,
                                                 w->deadline_ns);
    w->value = value;
    w->index = index;
    return NULL;
}

static pthread_t begin_platform(struct wait *w)
{
    pthread_t p;
    ck_assert_int_eq(pthread_create(&p, NULL, awaits, w), 0);
    while (!atomic_load(&w->handle))
        sched_yield();
    until_waiting(w->handle);
    return p;
}

static vthread_t begin_virtual(struct wait *w)
{
    vthread_t t = start(awaits, w);
    until_waiting(t);
    return t;
}

/* By _i: threads with own homes for the most part, then all on one. */
static void choose_homes(int i)
{
    if (i == 0)
        return;
    set_mode("VTHREAD_OWN_LIMIT", "0");
    set_mode("VTHREAD_COMMON_HOMES", "1");
}

START_TEST(all_who_await_it_get_it)
{
    enum { MANY = 30 };
    choose_homes(_i);
    for (int error = 0; error < 2; error++) {
        struct wait *first = new_wait(NULL, VTHREAD_NEVER), *waits[MANY];
        vthread_t threads[MANY];
        pthread_t p = begin_platform(first);
        for (int i = 0; i < MANY; i++) {
            waits[i] = new_wait(NULL, VTHREAD_NEVER);
            waits[i]->of = first;
            threads[i] = begin_virtual(waits[i]);
        }
        ck_assert_int_eq(error ? vthread_future_fail(first->futures, EIO)
                               : vthread_future_set(first->futures, first),
                         0);
        for (int i = 0; i < MANY; i++) {
            join(threads[i]);
            ck_assert_int_eq(waits[i]->result, error ? EIO : 0);
            ck_assert_ptr_eq(waits[i]->value, error ? NULL : first);
            free(waits[i]);
        }
        pthread_join(p, NULL);
        ck_assert_int_eq(first->result, error ? EIO : 0);
        ck_assert_ptr_eq(first->value, error ? NULL : first);
        free(first);
    }
}
END_TEST

/* Each step: index and 'v' or 'e'; the last one ends the wait. */
static void steps_end(combinator *combine, const char *steps, int result,
                      size_t index)
{
    for (int kind = 0; kind < 2; kind++) {
        struct wait *w = new_wait(combine, VTHREAD_NEVER);
        pthread_t p = kind ? begin_platform(w) : 0;
        vthread_t t = kind ? 0 : begin_virtual(w);
        for (const char *s = steps; *s; s += 2) {
            vthread_future_t *f = &w->futures[s[0] - '0'];
            ck_assert(word_of(w->handle) & THREAD_WAITING);
            ck_assert_int_eq(s[1] == 'v'
                                 ? vthread_future_set(f, NULL)
                                 : vthread_future_fail(f, 1 + s[0] - '0'),
                             0);
        }
        if (kind)
            pthread_join(p, NULL);
        else
            join(t);
        ck_assert_int_eq(w->result, result);
        ck_assert_uint_eq(w->index, index);
        free(w);
    }
}

START_TEST(all_ends_with_the_last_value_or_the_first_error)
{
    choose_homes(_i);
    steps_end(vthread_future_all, "0v1v2v3v", 0, 9);
    steps_end(vthread_future_all, "3v0v2v1v", 0, 9);
    steps_end(vthread_future_all, "2e", 3, 2);
    steps_end(vthread_future_all, "3v1v0e", 1, 0);
}
END_TEST

START_TEST(any_ends_with_the_first_value_or_the_last_error)
{
    choose_homes(_i);
    steps_end(vthread_future_any, "1v", 0, 1);
    steps_end(vthread_future_any, "0e3e2v", 0, 2);
    steps_end(vthread_future_any, "0e3e2e1e", 2, 1);
}
END_TEST

START_TEST(race_ends_with_the_first)
{
    choose_homes(_i);
    steps_end(vthread_future_race, "3v", 0, 3);
    steps_end(vthread_future_race, "2e", 3, 2);
}
END_TEST

static combinator *const combinators[] = {NULL, vthread_future_all,
                                          vthread_future_any,
                                          vthread_future_race};

START_TEST(deadlines_and_interrupts_end_each_wait)
{
    choose_homes(_i);
    for (size_t i = 0; i < COUNT_OF(combinators); i++) {
        struct wait *w = new_wait(combinators[i], vthread_after(VTHREAD_MS));
        join(start(awaits, w));
        ck_assert_int_eq(w->result, ETIMEDOUT);
        w->deadline_ns = VTHREAD_NEVER;
        vthread_t t = begin_virtual(w);
        ck_assert_int_eq(vthread_interrupt(t), 0);
        join(t);
        ck_assert_int_eq(w->result, ECANCELED);
        ck_assert_uint_eq(w->index, 9);
        /* Nobody is on a list any more. */
        for (int n = 0; n < COUNT; n++)
            ck_assert_int_eq(vthread_future_set(&w->futures[n], NULL), 0);
        free(w);
    }
}
END_TEST

static void *awaits_and_parks(void *arg)
{
    awaits(arg);
    return pointer((uintptr_t)vthread_park_until(
        vthread_after(60 * VTHREAD_SECOND)));
}

/* On one carrier: the interrupted one has not left when the future is set,
 * so it is told, and its next wait is cancelled. */
static void *interrupts_and_sets(void *arg)
{
    for (size_t i = 0; i < COUNT_OF(combinators); i++) {
        struct wait *w = new_wait(combinators[i], VTHREAD_NEVER);
        vthread_t t = start(awaits_and_parks, w);
        until_waiting(t);
        ck_assert_int_eq(vthread_interrupt(t), 0);
        for (int n = 0; n < COUNT; n++)
            ck_assert_int_eq(vthread_future_set(&w->futures[n], w), 0);
        ck_assert_ptr_eq(join(t), pointer(ECANCELED));
        ck_assert_int_eq(w->result, 0);
        free(w);
    }
    return arg;
}

START_TEST(a_set_before_the_interrupted_one_leaves_is_told)
{
    choose_homes(_i);
    vthread_scheduler_t *s = scheduler_of(1);
    join(start_on(s, interrupts_and_sets, NULL));
    shut_down(s);
}
END_TEST

START_TEST(a_future_may_be_there_several_times)
{
    vthread_future_t *f = calloc(1, sizeof *f);
    vthread_future_t *same[] = {f, f, f};
    ck_assert_int_eq(vthread_future_all(same, 3, NULL, 1), ETIMEDOUT);
    ck_assert_int_eq(vthread_future_set(f, NULL), 0);
    ck_assert_int_eq(vthread_future_all(same, 3, NULL, 1), 0);
    free(f);
}
END_TEST

static void *sets_a_local(void *arg)
{
    int local = 3;
    return pointer((uintptr_t)vthread_future_set(arg, &local));
}

static void *parks(void *arg)
{
    vthread_park();
    return arg;
}

START_TEST(an_address_on_a_shared_stack_is_not_set)
{
    setenv("VTHREAD_FREEZE", "lazy", 1);
    setenv("VTHREAD_OWN_LIMIT", "0", 1);
    setenv("VTHREAD_COMMON_HOMES", "1", 1);
    setenv("VTHREAD_PARALLELISM", "1", 1);
    vthread_future_t *f = calloc(1, sizeof *f);
    vthread_t crowd[50];
    for (size_t i = 0; i < COUNT_OF(crowd); i++)
        until_waiting(crowd[i] = start(parks, NULL));
    ck_assert_ptr_eq(join(start(sets_a_local, f)), pointer(EFAULT));
    ck_assert(!vthread_future_is_done(f));
    for (size_t i = 0; i < COUNT_OF(crowd); i++) {
        vthread_unpark(crowd[i]);
        join(crowd[i]);
    }
    free(f);
}
END_TEST

/* ---- Everything at once ------------------------------------------------- */

/*
 * In each round some futures on the heap are set by several threads at once
 * while another awaits them with a deadline or under interrupts.  When they
 * are all done it frees them at once: a setter that touched them later, or
 * a waker that did not let go of a node, is found by ASan and TSan.
 *
 * The setters have carriers of their own, which sleep until a round begins:
 * so all go at once, and nobody spins while another has no processor.
 */
enum { SETTERS = 3 };

struct round {
    vthread_future_t futures[COUNT];
};

struct relay {
    struct round *round;
    _Atomic unsigned set[COUNT]; /* rounds in which it was set by one */
    vthread_semaphore_t begin[SETTERS], ended; /* a round */
    atomic_int is_over;
    struct random random;
    unsigned rounds;
};

struct setter {
    struct relay *relay;
    unsigned number;
    struct random random;
};

/* Each future has one setter, which may still be in its call when the
 * future is freed. */
static void *sets(void *arg)
{
    struct setter *s = arg;
    for (unsigned n = 1; n <= s->relay->rounds; n++) {
        ck_assert_int_eq(
            vthread_semaphore_wait(&s->relay->begin[s->number]), 0);
        struct round *round = s->relay->round;
        for (unsigned i = s->number; i < COUNT; i += SETTERS) {
            unsigned what = (unsigned)random_below(&s->random, 3);
            int err = what == 0
                          ? vthread_future_fail(&round->futures[i], 1 + (int)i)
                          : vthread_future_set(&round->futures[i],
                                               pointer(i));
            ck_assert_int_eq(err, 0);
            atomic_fetch_add(&s->relay->set[i], 1);
        }
        vthread_semaphore_post(&s->relay->ended);
    }
    return NULL;
}

static bool are_all_done(struct round *round)
{
    bool done = true;
    for (int i = 0; i < COUNT; i++)
        done = done && vthread_future_is_done(&round->futures[i]);
    return done;
}

/* What a combinator says is so. */
static void verify(combinator *combine, struct round *round, int result,
                   size_t index)
{
    if (result == ETIMEDOUT || result == ECANCELED)
        return;
    if (combine == vthread_future_all && result == 0) {
        for (int i = 0; i < COUNT; i++)
            ck_assert_int_eq(
                vthread_future_await_until(&round->futures[i], NULL, 1), 0);
        return;
    }
    ck_assert_uint_lt(index, COUNT);
    ck_assert(result == 0 || (size_t)result == 1 + index);
    ck_assert_int_eq(
        vthread_future_await_until(&round->futures[index], NULL, 1), result);
    if (combine == vthread_future_any && result != 0)
        ck_assert(are_all_done(round));
}

static void await_round(struct relay *r, struct round *round)
{
    vthread_future_t *all[COUNT];
    for (int i = 0; i < COUNT; i++)
        all[i] = &round->futures[i];
    while (!are_all_done(round)) {
        combinator *combine
            = combinators[1 + random_below(&r->random,
                                           COUNT_OF(combinators) - 1)];
        size_t index = 9;
        uint64_t due_ns = random_below(&r->random, 2)
                              ? VTHREAD_NEVER
                              : vthread_after(random_below(
                                    &r->random, 20 * VTHREAD_US));
        int err = combine(all, COUNT, &index, due_ns);
        verify(combine, round, err, index);
        size_t one = random_below(&r->random, COUNT);
        void *value = NULL;
        err = vthread_future_await_until(all[one], &value, due_ns);
        ck_assert(err == ETIMEDOUT || err == ECANCELED
                  || err == 1 + (int)one
                  || (err == 0 && value == pointer(one)));
    }
}

static void *awaits_and_frees(void *arg)
{
    struct relay *r = arg;
    for (unsigned n = 1; n <= r->rounds; n++) {
        struct round *round = r->round = calloc(1, sizeof *round);
        for (int i = 0; i < SETTERS; i++)
            vthread_semaphore_post(&r->begin[i]);
        await_round(r, round);
        free(round);
        for (int i = 0; i < SETTERS; i++)
            while (vthread_semaphore_wait(&r->ended) == ECANCELED)
                continue;
    }
    atomic_store(&r->is_over, 1);
    return NULL;
}

static uint64_t seed;

START_TEST(futures_that_are_freed_at_once_are_left_alone)
{
    choose_homes(_i);
    struct random random = {seed + (uint64_t)_i};
    struct relay *r = calloc(1, sizeof *r);
    struct setter *setters = calloc(SETTERS, sizeof *setters);
    vthread_scheduler_t *scheduler = scheduler_of(SETTERS);
    vthread_t threads[SETTERS];
    r->random.state = random_next(&random);
    r->rounds = UNDER_SANITIZER ? 300 : how_often(500, 2000);
    vthread_t waiter = start(awaits_and_frees, r);
    for (unsigned i = 0; i < SETTERS; i++) {
        setters[i] = (struct setter){r, i, {random_next(&random)}};
        threads[i] = start_on(scheduler, sets, &setters[i]);
    }
    while (!atomic_load(&r->is_over)) {
        vthread_interrupt(waiter);
        vthread_sleep(50 * VTHREAD_US);
    }
    for (unsigned i = 0; i < SETTERS; i++)
        join(threads[i]);
    join(waiter);
    for (unsigned i = 0; i < COUNT; i++)
        ck_assert_uint_eq(r->set[i], r->rounds);
    shut_down(scheduler);
    free(setters);
    free(r);
}
END_TEST

static Suite *future_suite(void)
{
    Suite *suite = suite_create("future");
    TCase *alone = new_case(suite, "alone");
    tcase_add_test(alone, a_future_is_set_once);
    tcase_add_test(alone, what_is_decided_needs_no_wait);
    tcase_add_test(alone, of_no_futures_all_are_fulfilled);
    tcase_add_test(alone, without_memory_nothing_is_waited_for);
    tcase_add_test(alone, a_future_may_be_there_several_times);
    TCase *waits = new_case(suite, "waits");
    tcase_add_loop_test(waits, all_who_await_it_get_it, 0, 2);
    tcase_add_loop_test(
        waits, all_ends_with_the_last_value_or_the_first_error, 0, 2);
    tcase_add_loop_test(
        waits, any_ends_with_the_first_value_or_the_last_error, 0, 2);
    tcase_add_loop_test(waits, race_ends_with_the_first, 0, 2);
    tcase_add_loop_test(waits, deadlines_and_interrupts_end_each_wait, 0, 2);
    tcase_add_loop_test(
        waits, a_set_before_the_interrupted_one_leaves_is_told, 0, 2);
    if (tests_fork())
        tcase_add_test(waits, an_address_on_a_shared_stack_is_not_set);
    TCase *stress = new_case(suite, "stress");
    tcase_add_loop_test(stress, futures_that_are_freed_at_once_are_left_alone,
                        0, 2);
    return suite;
}

int main(void)
{
    seed = random_start("future_test").state;
    return run_suite(future_suite());
}
