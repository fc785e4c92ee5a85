/*
 * deadlock_report_test.c - all threads wait for ever: who waits for what, and
 * who for whom in a circle, is told in words.
 */
#include "tests/deadlocks.h"

START_TEST(main_that_joins_a_parked_thread_ends_with_status_2)
{
    is_told(joins_a_parker);
    said("all 2 threads");
    said("waits for the end of thread");
    said("'parker'");
    said("deadlock_report_test");
    said(" is parked\n");
    ck_assert_uint_eq(times_said("which"), 0);
}
END_TEST

static void prints_and_hangs(void)
{
    dup2(STDERR_FILENO, STDOUT_FILENO);
    static char buffer[100];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    printf("not yet written");
    joins_a_parker();
}

START_TEST(what_was_printed_is_written)
{
    is_told(prints_and_hangs);
    said("not yet written");
}
END_TEST

static _Atomic vthread_t ring[300];
static unsigned ring_size;

static void *joins_the_next(void *arg)
{
    unsigned next = (unsigned)((uintptr_t)arg + 1) % ring_size;
    while (!ring[next])
        vthread_yield();
    vthread_join(ring[next], NULL);
    return NULL;
}

static void make_ring(void)
{
    for (unsigned i = 0; i < ring_size; i++) {
        char name[16];
        snprintf(name, sizeof name, "r%u", i);
        ring[i] = child_start(name, joins_the_next, pointer(i));
    }
    parks_for_ever(NULL);
}

START_TEST(two_threads_that_join_each_other_are_named)
{
    ring_size = 2;
    is_told(make_ring);
    said("vthread: deadlock: thread ");
    const char *circle = strstr(text, "vthread: deadlock: thread ");
    unsigned long a, b, c;
    ck_assert_msg(sscanf(circle,
                         "vthread: deadlock: thread %lu 'r0' waits for the "
                         "end of thread %lu 'r1', which waits for the end of "
                         "thread %lu 'r0'\n",
                         &a, &b, &c)
                      == 3,
                  "%s", circle);
    ck_assert_uint_eq(a, c);
    ck_assert_uint_ne(a, b);
}
END_TEST

START_TEST(a_long_circle_is_cut)
{
    ring_size = 100;
    is_told(make_ring);
    said("100 threads in a circle");
    said("more like it");
    ck_assert_uint_eq(times_said("deadlock: thread"), 1);
}
END_TEST

static vthread_mutex_t locks[2];
static atomic_int have_locked;

static void *locks_both(void *arg)
{
    unsigned first = (unsigned)(uintptr_t)arg;
    vthread_mutex_lock(&locks[first]);
    have_locked++;
    while (have_locked < 2)
        vthread_yield();
    vthread_mutex_lock(&locks[1 - first]);
    return NULL;
}

static void lock_crosswise(void)
{
    vthread_t a = child_start("a", locks_both, pointer(0));
    child_start("b", locks_both, pointer(1));
    vthread_join(a, NULL);
}

START_TEST(mutexes_locked_crosswise_are_named_with_their_holders)
{
    char line[400];
    is_told(lock_crosswise);
    const char *circle = strstr(text, "vthread: deadlock: thread ");
    ck_assert_ptr_nonnull(circle);
    unsigned long a, b, again;
    void *first, *second;
    ck_assert_msg(sscanf(circle,
                         "vthread: deadlock: thread %lu 'a' waits for mutex "
                         "%p held by thread %lu 'b', which waits for mutex "
                         "%p held by thread %lu 'a'",
                         &a, &second, &b, &first, &again)
                      == 5,
                  "%s", circle);
    ck_assert_uint_eq(a, again);
    ck_assert_ptr_eq(first, &locks[0]);
    ck_assert_ptr_eq(second, &locks[1]);
    snprintf(line, sizeof line, " waits for the end of thread %lu 'a'\n", a);
    said(line);
}
END_TEST

static vthread_channel_t *channels[2];

static void *forwards(void *arg)
{
    unsigned from = (unsigned)(uintptr_t)arg;
    uint64_t value;
    if (vthread_channel_receive(channels[from], &value) == 0)
        vthread_channel_send(channels[1 - from], &value);
    return NULL;
}

static void *selects(void *arg)
{
    uint64_t v;
    size_t chosen;
    vthread_select_case_t cases[2] = {
        {.channel = channels[0], .op = VTHREAD_SELECT_RECEIVE, .value = &v},
        {.channel = channels[1], .op = VTHREAD_SELECT_RECEIVE, .value = &v}};
    vthread_select(cases, 2, &chosen);
    return arg;
}

static void all_receive(void)
{
    for (int i = 0; i < 2; i++)
        expect(vthread_channel_create(&channels[i], sizeof(uint64_t), 0)
               == 0);
    child_start("selects", selects, NULL);
    child_start("forwards", forwards, pointer(0));
    forwards(pointer(1));
}

START_TEST(those_who_receive_what_nobody_sends_are_told_of)
{
    is_told(all_receive);
    said("all 3 threads");
    ck_assert_uint_eq(times_said("waits at a channel"), 2);
    said("waits for one of several");
}
END_TEST

static void many_park(void)
{
    for (int i = 0; i < 1000; i++)
        child_start(NULL, parks_for_ever, NULL);
    joins_a_parker();
}

START_TEST(many_that_are_alike_are_grouped)
{
    is_told(many_park);
    said("all 1002 threads");
    said("and 1000 more like it");
    ck_assert_msg(times_said("\n") <= 4, "%.6000s", text);
}
END_TEST

static void *pins_and_parks(void *arg)
{
    vthread_pin();
    return parks_for_ever(arg);
}

static void joins_a_pinned_one(void)
{
    vthread_join(child_start("pinned", pins_and_parks, NULL), NULL);
}

START_TEST(a_pinned_thread_is_told_of)
{
    is_told(joins_a_pinned_one);
}
END_TEST

START_TEST(a_pinned_thread_that_keeps_the_last_carrier_is_told_of)
{
    setenv("VTHREAD_MAX_CARRIERS", "1", 1);
    is_told(joins_a_pinned_one);
}
END_TEST

static void platform_threads_park(void)
{
    for (int i = 0; i < 3; i++)
        child_pthread(parks_for_ever);
    joins_a_parker();
}

START_TEST(platform_threads_that_wait_are_told_of)
{
    is_told(platform_threads_park);
    said("all 5 threads");
    ck_assert_uint_eq(times_said("platform thread"), 4);
}
END_TEST

static void shuts_down(void)
{
    child_start("parker", parks_for_ever, NULL);
    vthread_scheduler_shutdown(vthread_scheduler_default(), VTHREAD_NEVER);
}

START_TEST(a_shutdown_that_waits_for_ever_is_told_of)
{
    is_told(shuts_down);
    said("waits in vthread_scheduler_shutdown");
}
END_TEST

static void *shuts_down_default(void *arg)
{
    vthread_scheduler_shutdown(arg, VTHREAD_NEVER);
    return NULL;
}

static void other_shuts_down(void)
{
    vthread_scheduler_t *s, *first = vthread_scheduler_default();
    vthread_scheduler_attr_t attr = {.name = "other", .parallelism = 1};
    expect(vthread_scheduler_create(&s, &attr) == 0);
    child_start("parker", parks_for_ever, NULL);
    vthread_attr_t ta = {.scheduler = s};
    vthread_t t;
    expect(vthread_create(&t, &ta, shuts_down_default, first) == 0);
    vthread_join(t, NULL);
}

START_TEST(a_shutdown_by_a_thread_of_another_scheduler_is_told_of)
{
    is_told(other_shuts_down);
    said("all 3 threads");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("deadlock_report");
    TCase *cases = new_case(suite, "told");
    tcase_add_test(cases, main_that_joins_a_parked_thread_ends_with_status_2);
    tcase_add_test(cases, what_was_printed_is_written);
    tcase_add_test(cases, two_threads_that_join_each_other_are_named);
    tcase_add_test(cases, a_long_circle_is_cut);
    tcase_add_test(cases,
                   mutexes_locked_crosswise_are_named_with_their_holders);
    tcase_add_test(cases, those_who_receive_what_nobody_sends_are_told_of);
    tcase_add_test(cases, many_that_are_alike_are_grouped);
    tcase_add_test(cases, a_pinned_thread_is_told_of);
    tcase_add_test(cases,
                   a_pinned_thread_that_keeps_the_last_carrier_is_told_of);
    tcase_add_test(cases, platform_threads_that_wait_are_told_of);
    tcase_add_test(cases, a_shutdown_that_waits_for_ever_is_told_of);
    tcase_add_test(cases,
                   a_shutdown_by_a_thread_of_another_scheduler_is_told_of);
    return run_suite(suite);
}
