/*
 * pin_episode_test.c - each reason for a pin is found, with what was held,
 * where that was taken, where the thread waited and how long; and nothing
 * else is.
 */
#include <errno.h>

#include "inspect/pin_ring.h"
#include "platform/clock.h"
#include "platform/memory.h"
#include "tests/pin_episodes.h"

static int lock, other_lock;

/* ---- Planted pins ------------------------------------------------------- */

static OWN_FRAME void parks(void)
{
    vthread_park();
    end_of_frame();
}

static OWN_FRAME void holds_a_lock(void)
{
    vthread_lock_taken(&lock, VTHREAD_HOLD_OTHER, NULL);
    parks();
    vthread_lock_released(&lock);
}

static OWN_FRAME void holds_a_lock_twice(void)
{
    vthread_lock_taken(&lock, VTHREAD_HOLD_MUTEX, NULL);
    vthread_lock_taken(&lock, VTHREAD_HOLD_MUTEX, NULL);
    parks();
    vthread_lock_released(&lock);
    vthread_lock_released(&lock);
}

static OWN_FRAME void takes(void)
{
    vthread_lock_taken(&lock, VTHREAD_HOLD_READ, NULL);
    end_of_frame();
}

static OWN_FRAME void holds_what_another_function_took(void)
{
    takes();
    parks();
    vthread_lock_released(&lock);
}

static OWN_FRAME void holds_the_second_of_two(void)
{
    vthread_lock_taken(&lock, VTHREAD_HOLD_READ, NULL);
    vthread_lock_taken(&other_lock, VTHREAD_HOLD_WRITE, NULL);
    vthread_lock_released(&lock);
    parks();
    vthread_lock_released(&other_lock);
}

/* As around a wait for a condition: what is told is where it was taken. */
static OWN_FRAME void suspends_and_resumes(void)
{
    vthread_lock_place_t place = vthread_lock_suspend(&lock);
    ck_assert_ptr_nonnull(place.site);
    vthread_lock_resume(&lock, &place);
}

static OWN_FRAME void has_suspended_what_it_holds(void)
{
    vthread_lock_taken(&lock, VTHREAD_HOLD_MUTEX, NULL);
    vthread_lock_taken(&lock, VTHREAD_HOLD_MUTEX, NULL);
    suspends_and_resumes();
    parks();
    vthread_lock_released(&lock);
    vthread_lock_released(&lock);
}

static OWN_FRAME void pins(void)
{
    vthread_pin();
    parks();
    vthread_unpin();
}

static OWN_FRAME void pins_with_a_reason(void)
{
    vthread_pin_reason("a value in a thread-local");
    parks();
    vthread_unpin();
}

static OWN_FRAME void *parks_in_a_call(void *arg)
{
    parks();
    end_of_frame();
    return arg;
}

static OWN_FRAME void is_called_by_foreign_code(void)
{
    vthread_block(parks_in_a_call, NULL, NULL);
    end_of_frame();
}

static OWN_FRAME void has_no_memory(void)
{
    volatile char frames[4096];
    frames[0] = 1;
    memory_fail_after(1);
    parks();
    memory_fail_after(0);
    ck_assert_int_eq(frames[0], 1);
}

static void pins_inside(void *arg)
{
    vthread_lock_taken(&lock, VTHREAD_HOLD_OTHER, NULL);
    parks();
    vthread_lock_released(&lock);
    (void)arg;
}

static OWN_FRAME void holds_inside_of_a_generator(void)
{
    vthread_continuation_t *c;
    ck_assert_int_eq(vthread_continuation_create(&c, NULL, pins_inside, NULL),
                     0);
    ck_assert_int_eq(vthread_continuation_run(c), 0);
    ck_assert(vthread_continuation_is_done(c));
    vthread_continuation_destroy(c);
}

/* What has to be found of each. */
static const struct expectation {
    void (*fn)(void);
    uint32_t reasons;
    uint32_t holds;
    const void *object;   /* of the last one, */
    vthread_hold_kind_t kind;
    uint32_t count;
    void (*taker)(void);  /* and who took it */
    bool taker_is_active; /* its frame is among those of the wait */
    const char *why;
} expectations[] = {
    {holds_a_lock, VTHREAD_PINNED_BY_LOCK, 1, &lock, VTHREAD_HOLD_OTHER, 1,
     holds_a_lock, true, ""},
    {holds_a_lock_twice, VTHREAD_PINNED_BY_LOCK, 1, &lock, VTHREAD_HOLD_MUTEX,
     2, holds_a_lock_twice, true, ""},
    {holds_what_another_function_took, VTHREAD_PINNED_BY_LOCK, 1, &lock,
     VTHREAD_HOLD_READ, 1, takes, false, ""},
    {holds_the_second_of_two, VTHREAD_PINNED_BY_LOCK, 1, &other_lock,
     VTHREAD_HOLD_WRITE, 1, holds_the_second_of_two, true, ""},
    {has_suspended_what_it_holds, VTHREAD_PINNED_BY_LOCK, 1, &lock,
     VTHREAD_HOLD_MUTEX, 2, has_suspended_what_it_holds, true, ""},
    {pins, VTHREAD_PINNED_BY_PIN, 1, NULL, VTHREAD_HOLD_PIN, 1, pins, true,
     ""},
    {pins_with_a_reason, VTHREAD_PINNED_BY_PIN, 1, NULL, VTHREAD_HOLD_PIN, 1,
     pins_with_a_reason, true, "a value in a thread-local"},
    {is_called_by_foreign_code, VTHREAD_PINNED_BY_FOREIGN, 0, NULL, 0, 0,
     NULL, false, ""},
    {has_no_memory, VTHREAD_PINNED_BY_NO_MEMORY, 0, NULL, 0, 0, NULL, false,
     ""},
    {holds_inside_of_a_generator, VTHREAD_PINNED_BY_LOCK, 1, &lock,
     VTHREAD_HOLD_OTHER, 1, (void (*)(void))pins_inside, true, ""},
};

static void *runs(void *expectation)
{
    const struct expectation *e = expectation;
    e->fn();
    return NULL;
}

static void check_hold(const struct expectation *e,
                       const vthread_pin_episode_t *episode)
{
    const vthread_pin_hold_t *hold = &episode->holds[0];
    ck_assert_uint_eq(hold->object, (uintptr_t)e->object);
    ck_assert_uint_eq(hold->kind, e->kind);
    ck_assert_uint_eq(hold->count, e->count);
    ck_assert(is_in(hold->site, (void *)e->taker));
    ck_assert_uint_eq(hold->frame < episode->frame_count,
                      e->taker_is_active);
    if (e->taker_is_active)
        ck_assert(is_in(episode->frames[hold->frame], (void *)e->taker));
}

START_TEST(each_reason_is_found_with_its_lock_sites_and_time)
{
    const struct expectation *e = &expectations[_i];
    /* Frames that are copied need memory. */
    if (e->reasons == VTHREAD_PINNED_BY_NO_MEMORY) {
        set_mode("VTHREAD_OWN_LIMIT", "0");
        if (!mode_is("VTHREAD_OWN_LIMIT", "0")
            || mode_is("VTHREAD_FREEZE", "guard"))
            return;
    }
    collect_episodes();
    vthread_t t = start(runs, (void *)e);
    vthread_setname(t, "planted");
    until_waiting(t);
    uint64_t from_ns = clock_now_ns();
    sched_yield();
    uint64_t to_ns = clock_now_ns();
    vthread_unpark(t);
    join(t);
    until_episodes(1);
    const vthread_pin_episode_t *episode = &episodes[0];
    ck_assert_int_eq(atomic_load(&episode_count), 1);
    ck_assert_uint_eq(episode->size_bytes, sizeof *episode);
    ck_assert_uint_eq(episode->number, 1);
    ck_assert_uint_eq(episode->reasons, e->reasons);
    ck_assert_uint_eq(episode->thread, t);
    ck_assert_uint_eq(episode->entry, (uintptr_t)runs);
    ck_assert_uint_le(episode->start_ns, from_ns);
    ck_assert_uint_ge(episode->start_ns + episode->duration_ns, to_ns);
    ck_assert_str_eq(episode->waits_for, "is parked");
    ck_assert_str_eq(episode->why, e->why);
    ck_assert(waits_in(episode, (void *)parks));
    ck_assert_uint_eq(episode->hold_count, e->holds);
    ck_assert_uint_eq(episode->holds_left_out, 0);
    if (e->holds > 0)
        check_hold(e, episode);
}
END_TEST

/* ---- No false ones ------------------------------------------------------ */

static void waits_with_a_suspended_lock(void)
{
    vthread_lock_taken(&lock, VTHREAD_HOLD_OTHER, NULL);
    vthread_lock_place_t place = vthread_lock_suspend(&lock);
    vthread_sleep(VTHREAD_US);
    vthread_lock_resume(&lock, &place);
    vthread_lock_released(&lock);
    vthread_sleep(VTHREAD_US);
}

static void *waits_without_a_pin(void *arg)
{
    vthread_lock_taken(&lock, VTHREAD_HOLD_OTHER, NULL);
    vthread_lock_released(&lock);
    vthread_park();
    vthread_pin();
    vthread_unpin();
    vthread_sleep(VTHREAD_US);
    vthread_yield();
    vthread_lock_taken(&lock, VTHREAD_HOLD_OTHER, NULL);
    vthread_lock_taken(&lock, VTHREAD_HOLD_OTHER, NULL);
    vthread_lock_released(&lock);
    vthread_lock_released(&lock);
    vthread_sleep(VTHREAD_US);
    vthread_lock_taken(&lock, VTHREAD_HOLD_OTHER, NULL);
    vthread_lock_taken(&lock, VTHREAD_HOLD_OTHER, NULL);
    vthread_lock_forget(&lock);
    vthread_sleep(VTHREAD_US);
    waits_with_a_suspended_lock();
    vthread_block(return_argument, NULL, NULL);
    vthread_sleep(VTHREAD_US);
    return arg;
}

START_TEST(a_wait_that_is_not_pinned_is_no_episode)
{
    vthread_t threads[16];
    collect_episodes();
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start(waits_without_a_pin, NULL);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        vthread_unpark(threads[i]);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    ck_assert_uint_eq(pin_ring_next(), 1);
}
END_TEST

static void *names_what_it_does_not_hold(void *arg)
{
    vthread_lock_forget(&lock);
    vthread_lock_place_t place = vthread_lock_suspend(&lock);
    ck_assert_ptr_null(place.site);
    vthread_lock_resume(&lock, &place);
    vthread_lock_resume(&lock, NULL);
    vthread_sleep(VTHREAD_US);
    return arg;
}

START_TEST(what_is_not_held_cannot_be_suspended_or_forgotten)
{
    collect_episodes();
    names_what_it_does_not_hold(NULL);
    join(start(names_what_it_does_not_hold, NULL));
    ck_assert_uint_eq(pin_ring_next(), 1);
}
END_TEST

static void *pins_and_parks(void *arg)
{
    pins();
    return arg;
}

static void unpark_when_waiting(vthread_t t)
{
    until_waiting(t);
    vthread_unpark(t);
    join(t);
}

START_TEST(below_the_threshold_nothing_is_recorded)
{
    setenv("VTHREAD_PIN_MS", "3600000", 1);
    ck_assert_int_eq(vthread_pin_notify(collect_episode, NULL), 0);
    unpark_when_waiting(start(pins_and_parks, NULL));
    ck_assert_uint_eq(pin_ring_next(), 1);
}
END_TEST

START_TEST(nothing_is_recorded_for_nobody)
{
    setenv("VTHREAD_PIN_MS", "0", 1);
    unpark_when_waiting(start(pins_and_parks, NULL));
    ck_assert_uint_eq(pin_ring_next(), 1);
    collect_episodes();
    unpark_when_waiting(start(pins_and_parks, NULL));
    until_episodes(1);
    ck_assert_int_eq(vthread_pin_notify(NULL, NULL), 0);
    unpark_when_waiting(start(pins_and_parks, NULL));
    ck_assert_uint_eq(pin_ring_next(), 2);
}
END_TEST

START_TEST(switched_off_nobody_can_have_them)
{
    setenv("VTHREAD_PIN", "off", 1);
    ck_assert_int_eq(vthread_pin_notify(collect_episode, NULL), ENOTSUP);
    ck_assert(!vthread_lock_track());
    unpark_when_waiting(start(pins_and_parks, NULL));
    ck_assert_uint_eq(pin_ring_next(), 1);
}
END_TEST

/* ---- In words ----------------------------------------------------------- */

static void *pins_for_a_reason(void *arg)
{
    pins_with_a_reason();
    return arg;
}

static const char *episode_words(void)
{
    static char text[4096];
    collect_episodes();
    vthread_t t = start_attr((vthread_attr_t){.name = "pinner"},
                             pins_for_a_reason, NULL);
    unpark_when_waiting(t);
    until_episodes(1);
    size_t length = vthread_pin_describe(&episodes[0], text, sizeof text);
    ck_assert_uint_gt(length, 0);
    ck_assert_uint_eq(length, strlen(text));
    return text;
}

START_TEST(an_episode_is_told_in_lines)
{
    const char *text = episode_words();
    char who[100];
    snprintf(who, sizeof who, "thread %lu 'pinner' (entry ",
             (unsigned long)episodes[0].thread);
    ck_assert_int_eq(strncmp(text, who, strlen(who)), 0);
    ck_assert_ptr_nonnull(strstr(text, "was pinned by vthread_pin at "));
    ck_assert_ptr_nonnull(strstr(text, ": a value in a thread-local"));
    ck_assert_ptr_nonnull(strstr(text, "pin_episode_test"));
    ck_assert_int_eq(text[strlen(text) - 1], '\n');
}
END_TEST

START_TEST(an_episode_is_cut_to_the_size)
{
    const char *text = episode_words();
    char cut[4096];
    ck_assert_uint_eq(vthread_pin_describe(&episodes[0], NULL, 0), 0);
    for (size_t size = 1; size <= strlen(text); size++) {
        memset(cut, '#', sizeof cut);
        size_t length = vthread_pin_describe(&episodes[0], cut, size);
        ck_assert_uint_eq(length, size - 1);
        ck_assert_uint_eq(length, strlen(cut));
        ck_assert_int_eq(strncmp(cut, text, length), 0);
        ck_assert_int_eq(cut[size], '#');
    }
}
END_TEST

/* ---- What it waits for -------------------------------------------------- */

static vthread_mutex_t mutex = VTHREAD_MUTEX_INITIALIZER;

static void *holds_the_mutex(void *arg)
{
    vthread_mutex_lock(&mutex);
    vthread_park();
    vthread_mutex_unlock(&mutex);
    return arg;
}

static void *wants_the_mutex_pinned(void *arg)
{
    vthread_pin();
    vthread_mutex_lock(&mutex);
    vthread_mutex_unlock(&mutex);
    vthread_unpin();
    return arg;
}

START_TEST(what_it_waited_for_is_named_with_the_holder)
{
    collect_episodes();
    vthread_t holder = start(holds_the_mutex, NULL);
    until_waiting(holder);
    vthread_t t = start(wants_the_mutex_pinned, NULL);
    until_waiting(t);
    vthread_unpark(holder);
    join(holder);
    join(t);
    until_episodes(1);
    ck_assert_str_eq(episodes[0].waits_for, "waits for mutex");
    ck_assert_uint_eq(episodes[0].waits_on, (uintptr_t)&mutex);
    ck_assert_uint_eq(episodes[0].holder, holder);
}
END_TEST

/* ---- What it cost ------------------------------------------------------- */

/* Stands for a lock: open when it is 1. */
static _Atomic uint32_t gate;
static atomic_int at_gate;

static int waits_at_gate(void *request)
{
    ck_assert_int_eq(*(int *)request, 42);
    atomic_fetch_add(&at_gate, 1);
    while (atomic_load(&gate) == 0)
        sched_yield();
    return 7;
}

static void *wants_the_lock(void *arg)
{
    int request = 42;
    ck_assert_int_eq(vthread_lock_wait(&lock, NULL, VTHREAD_HOLD_OTHER,
                                       waits_at_gate, &request,
                                       sizeof request),
                     7);
    return arg;
}

static void *holds_the_lock(void *arg)
{
    holds_a_lock();
    atomic_store(&gate, 1);
    return arg;
}

START_TEST(those_who_waited_for_its_lock_are_counted_with_their_time)
{
    collect_episodes();
    vthread_t holder = start(holds_the_lock, NULL);
    until_waiting(holder);
    vthread_t virtual_one = start(wants_the_lock, NULL);
    pthread_t platform_one = start_platform(wants_the_lock, NULL);
    while (atomic_load(&at_gate) < 2)
        sched_yield();
    uint64_t from_ns = clock_now_ns();
    sched_yield();
    uint64_t least_ns = 2 * (clock_now_ns() - from_ns);
    vthread_unpark(holder);
    join(holder);
    join(virtual_one);
    join_platform(platform_one);
    until_episodes(1);
    ck_assert_int_eq(atomic_load(&episode_count), 1);
    const vthread_pin_hold_t *hold = &episodes[0].holds[0];
    ck_assert_uint_eq(hold->waiters, 2);
    ck_assert_uint_ge(hold->waited_ns, least_ns);
    ck_assert_uint_le(hold->waited_ns, 2 * episodes[0].duration_ns);
    ck_assert_uint_ge(episodes[0].delay_ns, hold->waited_ns);
    /* With forced migration there may be enough carriers before. */
    if (!mode_is("VTHREAD_MIGRATE", "always"))
        ck_assert_uint_ge(episodes[0].spares, 1);
}
END_TEST

static void *holds_another_and_wants_the_lock(void *arg)
{
    vthread_lock_taken(&other_lock, VTHREAD_HOLD_OTHER, NULL);
    wants_the_lock(NULL);
    vthread_lock_released(&other_lock);
    return arg;
}

START_TEST(who_waits_for_a_lock_and_holds_another_is_pinned_by_that)
{
    collect_episodes();
    vthread_t holder = start(holds_the_lock, NULL);
    until_waiting(holder);
    vthread_t t = start(holds_another_and_wants_the_lock, NULL);
    while (atomic_load(&at_gate) < 1)
        sched_yield();
    vthread_unpark(holder);
    join(holder);
    join(t);
    until_episodes(2);
    const vthread_pin_episode_t *episode
        = &episodes[episodes[0].thread == t ? 0 : 1];
    ck_assert_uint_eq(episode->thread, t);
    ck_assert_uint_eq(episode->waits_on, (uintptr_t)&lock);
    ck_assert_uint_eq(episode->holder, holder);
    ck_assert_uint_eq(episode->hold_count, 1);
    ck_assert_uint_eq(episode->holds[0].object, (uintptr_t)&other_lock);
}
END_TEST

START_TEST(a_request_that_is_too_large_is_refused)
{
    char request[VTHREAD_LOCK_REQUEST_MAX + 1] = {0};
    ck_assert_int_eq(vthread_lock_wait(&lock, NULL, VTHREAD_HOLD_OTHER,
                                       waits_at_gate, request,
                                       sizeof request),
                     EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pin_episode");
    TCase *cases = new_case(suite, "planted");
    tcase_add_loop_test(cases,
                        each_reason_is_found_with_its_lock_sites_and_time, 0,
                        COUNT_OF(expectations));
    cases = new_case(suite, "none");
    tcase_add_test(cases, a_wait_that_is_not_pinned_is_no_episode);
    tcase_add_test(cases, what_is_not_held_cannot_be_suspended_or_forgotten);
    tcase_add_test(cases, below_the_threshold_nothing_is_recorded);
    tcase_add_test(cases, nothing_is_recorded_for_nobody);
    tcase_add_test(cases, switched_off_nobody_can_have_them);
    cases = new_case(suite, "words");
    tcase_add_test(cases, an_episode_is_told_in_lines);
    tcase_add_test(cases, an_episode_is_cut_to_the_size);
    cases = new_case(suite, "costs");
    tcase_add_test(cases, what_it_waited_for_is_named_with_the_holder);
    tcase_add_test(cases,
                   those_who_waited_for_its_lock_are_counted_with_their_time);
    tcase_add_test(cases,
                   who_waits_for_a_lock_and_holds_another_is_pinned_by_that);
    tcase_add_test(cases, a_request_that_is_too_large_is_refused);
    return run_suite(suite);
}
