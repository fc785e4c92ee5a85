/*
 * gc_race_test.c - looks for leaks beside threads that wake each other: who is
 * about to be woken is none, at whatever instruction all was stopped.
 *
 * First the states that last for some instructions only, made by hand; then
 * many looks beside those who go through them, GC_LOOKS in each test: six, or
 * two hundred with STRESS, in each setting.
 */
#include "tests/collect.h"

#include <vthread.h>
#include <vthread/gc.h>

#include "sync/multiwait.h"
#include "sync/mutex.h"
#define word_of scope_word_of /* threads.h has one by handle */
#include "scope/scope_parts.h"
#undef word_of

static uint64_t number_of_leaks(void)
{
    size_t count = SIZE_MAX;
    forget();
    ck_assert_int_eq(vthread_gc_leaks(NULL, 0, &count), 0);
    return count;
}

/* A carrier that is on the way to sleep may have something left over. */
static void until_leaks_are(uint64_t count)
{
    while (number_of_leaks() != count)
        vthread_sleep(VTHREAD_MS);
}

/* ---- About to be woken -------------------------------------------------- */

/* The n-th thread that waits, by number, so that nobody has its handle. */
static struct thread *waiter(unsigned n)
{
    uint64_t word;
    struct thread *t = thread_in_use_from(1, &word);
    for (; t; t = thread_in_use_from(thread_number(t) + 1, &word))
        if (word & (THREAD_PARKED | THREAD_WAITING)
            && !(word & (THREAD_OUTSIDE | THREAD_PLATFORM)) && n-- == 0)
            return t;
    return NULL;
}

static void until_waits(unsigned count)
{
    while (!waiter(count - 1))
        vthread_yield();
}

static void *parks(void *unused)
{
    vthread_park();
    return unused;
}

/* As soon as there is one that waits. */
static void *joins_other(void *unused)
{
    vthread_t t;
    (void)unused;
    ck_assert_int_eq(vthread_create(&t, NULL, parks, NULL), 0);
    vthread_join(t, NULL);
    return NULL;
}

START_TEST(who_joins_what_has_just_ended_is_none)
{
    enable();
    ck_assert_int_eq(vthread_create(NULL, NULL, joins_other, NULL), 0);
    until_waits(2);
    until_leaks_are(2);
    struct thread *joiner = waiter(0), *joined = waiter(1);
    if (joiner->waits_for != FOR_END) {
        joiner = joined;
        joined = waiter(0);
    }
    uint64_t word = joined->word;
    joined->word = (word & ~(uint64_t)THREAD_PARKED) | THREAD_DONE;
    ck_assert_uint_eq(number_of_leaks(), 0);
    joined->word = word;
}
END_TEST

static void *holds_and_parks(void *mutex)
{
    vthread_mutex_lock(mutex);
    return parks(NULL);
}

static void *locks(void *mutex)
{
    vthread_mutex_lock(mutex);
    return NULL;
}

static __attribute__((noinline)) void plant_lockers(void)
{
    vthread_mutex_t *m = GC_MALLOC(sizeof *m);
    ck_assert_int_eq(vthread_create(NULL, NULL, holds_and_parks, m), 0);
    until_waits(1);
    ck_assert_int_eq(vthread_create(NULL, NULL, locks, m), 0);
}

START_TEST(who_waits_first_for_a_lock_that_is_free_is_none)
{
    enable();
    plant_lockers();
    until_waits(2);
    until_leaks_are(2);
    struct thread *t = waiter(waiter(0)->waits_for == FOR_LISTED ? 0 : 1);
    struct mutex *m = (struct mutex *)mutex_of_list(t->wait_on);
    uint32_t word = m->word;
    m->word = word & ((1u << MUTEX_HOLDER_SHIFT) - 1);
    /* It would have the other's mutex; but nobody has that one's handle. */
    ck_assert_uint_eq(number_of_leaks(), 1);
    m->word = word;
}
END_TEST

static int child_parks(const void *args, void *result)
{
    (void)args;
    (void)result;
    vthread_park();
    return 0;
}

static void *joins_scope(void *unused)
{
    vthread_scope_t *s;
    ck_assert_int_eq(vthread_scope_open(&s, NULL), 0);
    ck_assert_int_eq(vthread_scope_fork(s, NULL, child_parks, NULL, 0, 0), 0);
    vthread_scope_join(s);
    vthread_scope_close(s);
    return unused;
}

START_TEST(the_owner_of_a_scope_whose_children_have_ended_is_none)
{
    enable();
    ck_assert_int_eq(vthread_create(NULL, NULL, joins_scope, NULL), 0);
    until_waits(2);
    until_leaks_are(2);
    struct thread *owner = waiter(waiter(0)->waits_for == FOR_LISTED ? 0 : 1);
    vthread_scope_t *s = owner->wait_on;
    ck_assert_uint_eq(s->pending, 3);
    s->pending = 1;
    /* The owner has the child's handle. */
    ck_assert_uint_eq(number_of_leaks(), 0);
    s->pending = 3;
}
END_TEST

static void *selects(void *unused)
{
    vthread_channel_t *channels[2];
    void *value;
    size_t which;
    (void)unused;
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(
            vthread_channel_create(&channels[i], sizeof(void *), 0), 0);
    vthread_select_case_t cases[2] = {
        {channels[0], VTHREAD_SELECT_RECEIVE, 0, &value},
        {channels[1], VTHREAD_SELECT_RECEIVE, 0, &value},
    };
    vthread_select(cases, 2, &which);
    return NULL;
}

START_TEST(who_waits_for_several_one_of_which_has_come_is_none)
{
    enable();
    ck_assert_int_eq(vthread_create(NULL, NULL, selects, NULL), 0);
    until_waits(1);
    until_leaks_are(1);
    struct multiwait *m = waiter(0)->wait_on;
    uint64_t word = m->word;
    m->word = word | UINT64_C(1) << 32;
    ck_assert_uint_eq(number_of_leaks(), 0);
    m->word = word;
}
END_TEST

/* ---- Looks beside others ------------------------------------------------ */

enum { PAIRS = 4 };

static atomic_bool is_over;

static bool goes_on(void)
{
    return !atomic_load(&is_over);
}

static void *yields(void *unused)
{
    vthread_yield();
    return unused;
}

static void *joins_others(void *unused)
{
    while (goes_on())
        join(start(yields, NULL));
    return unused;
}

/* Its handle is then where a compiler keeps it, and nowhere else. */
static __attribute__((noinline)) vthread_t start_detached(void)
{
    vthread_t t = start(parks, NULL);
    ck_assert_int_eq(vthread_detach(t), 0);
    return t;
}

static void *unparks_others(void *unused)
{
    while (goes_on()) {
        vthread_t t = start_detached();
        for (int i = 0; i < 3; i++)
            vthread_yield();
        vthread_unpark(t);
    }
    return unused;
}

static void *interrupts_others(void *unused)
{
    while (goes_on()) {
        vthread_t t = start_detached();
        for (int i = 0; i < 3; i++)
            vthread_yield();
        vthread_interrupt(t);
    }
    return unused;
}

static int child_yields(const void *args, void *result)
{
    (void)args;
    (void)result;
    vthread_yield();
    return 0;
}

static void *opens_scopes(void *unused)
{
    while (goes_on()) {
        vthread_scope_t *s;
        ck_assert_int_eq(vthread_scope_open(&s, NULL), 0);
        for (int i = 0; i < 2; i++)
            ck_assert_int_eq(
                vthread_scope_fork(s, NULL, child_yields, NULL, 0, 0), 0);
        ck_assert_int_eq(vthread_scope_join(s), 0);
        ck_assert_int_eq(vthread_scope_close(s), 0);
    }
    return unused;
}

/* Two channels, and one who sends to either. */
static void *sends_to_either(void *argument)
{
    vthread_channel_t **channels = argument;
    uint64_t value = 0;
    while (goes_on())
        ck_assert_int_eq(vthread_channel_send(channels[value++ & 1], &value),
                         0);
    vthread_channel_close(channels[0]);
    vthread_channel_close(channels[1]);
    return NULL;
}

static void *receives_from_either(void *unused)
{
    vthread_channel_t **channels = GC_MALLOC(2 * sizeof *channels);
    uint64_t value;
    size_t which;
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(vthread_channel_create(&channels[i], sizeof value, 0),
                         0);
    ck_assert_int_eq(vthread_create(NULL, NULL, sends_to_either, channels), 0);
    vthread_select_case_t cases[2] = {
        {channels[0], VTHREAD_SELECT_RECEIVE, 0, &value},
        {channels[1], VTHREAD_SELECT_RECEIVE, 0, &value},
    };
    while (vthread_select(cases, 2, &which) == 0 && cases[which].result == 0)
        continue;
    return unused;
}

/* The one has the other wait for a mutex, a condition and a future. */
struct shared {
    vthread_mutex_t mutex;
    vthread_cond_t changed;
    vthread_future_t future;
    uint64_t turn;
};

static void take_turns(struct shared *s, uint64_t whose)
{
    vthread_mutex_lock(&s->mutex);
    while (s->turn % 2 != whose && goes_on())
        vthread_cond_wait(&s->changed, &s->mutex);
    s->turn++;
    vthread_cond_signal(&s->changed);
    vthread_mutex_unlock(&s->mutex);
}

static void *answers(void *shared)
{
    struct shared *s = shared;
    for (int i = 0; i < 8; i++)
        take_turns(s, 1);
    vthread_future_set(&s->future, NULL);
    return NULL;
}

static void *asks(void *unused)
{
    while (goes_on()) {
        struct shared *s = GC_MALLOC(sizeof *s);
        ck_assert_int_eq(vthread_create(NULL, NULL, answers, s), 0);
        for (int i = 0; i < 8; i++)
            take_turns(s, 0);
        vthread_future_await(&s->future, NULL);
    }
    return unused;
}

static void *contends(void *mutex)
{
    while (goes_on()) {
        vthread_mutex_lock(mutex);
        vthread_yield();
        vthread_mutex_unlock(mutex);
    }
    return NULL;
}

static void *locks_with_others(void *unused)
{
    vthread_mutex_t *m = GC_MALLOC(sizeof *m);
    ck_assert_int_eq(vthread_create(NULL, NULL, contends, m), 0);
    ck_assert_int_eq(vthread_create(NULL, NULL, contends, m), 0);
    return contends(m) ? unused : NULL;
}

static void *(*const works[])(void *) = {
    joins_others,         unparks_others, interrupts_others, opens_scopes,
    receives_from_either, asks,           locks_with_others};

START_TEST(a_look_beside_threads_that_wake_each_other_finds_none)
{
    vthread_t threads[PAIRS];
    uint64_t looks = number_from("GC_LOOKS", getenv("STRESS")        ? 200
                                             : sanitizer_is_valgrind ? 5
                                                                     : 6);
    enable();
    for (int i = 0; i < PAIRS; i++)
        threads[i] = start(works[_i], NULL);
    for (uint64_t i = 0; i < looks; i++)
        ck_assert_uint_eq(number_of_leaks(), 0);
    atomic_store(&is_over, true);
    for (int i = 0; i < PAIRS; i++)
        join(threads[i]);
}
END_TEST

START_TEST(leaks_are_found_beside_threads_that_wake_each_other)
{
    vthread_t threads[COUNT_OF(works)];
    enable();
    ck_assert_int_eq(vthread_create(NULL, NULL, joins_other, NULL), 0);
    until_waits(2);
    for (unsigned i = 0; i < COUNT_OF(works); i++)
        threads[i] = start(works[i], NULL);
    until_leaks_are(2);
    atomic_store(&is_over, true);
    for (unsigned i = 0; i < COUNT_OF(works); i++)
        join(threads[i]);
    until_leaks_are(2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gc_race");
    TCase *hands = new_case(suite, "by hand");
    tcase_add_test(hands, who_joins_what_has_just_ended_is_none);
    tcase_add_test(hands, who_waits_first_for_a_lock_that_is_free_is_none);
    tcase_add_test(hands,
                   the_owner_of_a_scope_whose_children_have_ended_is_none);
    tcase_add_test(hands, who_waits_for_several_one_of_which_has_come_is_none);
    TCase *beside = new_case(suite, "beside");
    tcase_add_loop_test(beside,
                        a_look_beside_threads_that_wake_each_other_finds_none,
                        0, COUNT_OF(works));
    tcase_add_test(beside,
                   leaks_are_found_beside_threads_that_wake_each_other);
    return run_suite(suite);
}
