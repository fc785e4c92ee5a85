/*
 * trace_record_test.c - what the flight recorder records.
 */
#include <errno.h>

#include "inspect/trace.h"
#include "platform/unwinder.h"
#include "tests/recordings.h"

/* ---- What is recorded --------------------------------------------------- */

static void *yields_and_parks(void *unused)
{
    (void)unused;
    vthread_yield();
    vthread_park();
    return NULL;
}

START_TEST(the_life_of_a_thread_is_recorded)
{
    start_recording(0, 0);
    vthread_attr_t attr = {.name = "a thread with a name"};
    vthread_t t = start_attr(attr, yields_and_parks, NULL);
    until_waiting(t);
    ck_assert_int_eq(vthread_unpark(t), 0);
    join(t);
    struct recording r = stop_recording();
    uint64_t letters[3];
    memcpy(letters, attr.name, sizeof letters - 4);
    ck_assert_uint_eq(count_of(&r, TRACE_CREATE, t), 1);
    ck_assert_uint_eq(count_of(&r, TRACE_IS, t), 2);
    ck_assert_uint_eq(
        count_of(&r, TRACE_IS_FUNCTION, (uintptr_t)yields_and_parks), 2);
    ck_assert_uint_eq(count_of(&r, TRACE_IS_NAMED, letters[0]), 2);
    ck_assert_uint_eq(count_of(&r, TRACE_IS_NAMED, letters[1]), 2);
    ck_assert_uint_eq(count_of(&r, TRACE_MOUNT, t), 3);
    ck_assert_uint_eq(count_of(&r, TRACE_YIELD, t), 1);
    ck_assert_uint_eq(count_of(&r, TRACE_WAIT + TRACE_FOR_UNPARK, t), 1);
    ck_assert_uint_eq(count_of(&r, TRACE_WAKE, t), 1);
    ck_assert_uint_eq(count_of(&r, TRACE_FINISH, t), 1);
}
END_TEST

static void *sleeps_twice(void *arg)
{
    vthread_sleep(VTHREAD_MS);
    vthread_sleep(VTHREAD_MS);
    return arg;
}

START_TEST(a_wait_that_time_ends_is_woken_by_none)
{
    start_recording(0, 0);
    vthread_t t = start(sleeps_twice, NULL);
    join(t);
    struct recording r = stop_recording();
    ck_assert_uint_eq(count_of(&r, TRACE_WAIT + TRACE_FOR_TIME, t), 2);
    ck_assert_uint_eq(count_of(&r, TRACE_EXPIRE, t), 2);
    ck_assert_uint_eq(count_of(&r, TRACE_WAKE, t), 0);
}
END_TEST

static void *blocks_here(void *arg)
{
    return arg;
}

static void *makes_a_call(void *arg)
{
    vthread_block(blocks_here, arg, NULL);
    return arg;
}

START_TEST(a_call_is_recorded_with_its_function)
{
    start_recording(0, 0);
    join(start(makes_a_call, NULL));
    struct recording r = stop_recording();
    ck_assert_uint_eq(count_kind(&r, TRACE_CALL), 1);
    ck_assert_uint_eq(count_of(&r, TRACE_CALL_IS, (uintptr_t)blocks_here), 1);
    ck_assert_uint_eq(count_kind(&r, TRACE_CALL_END), 1);
}
END_TEST

START_TEST(a_pinned_wait_is_recorded)
{
    start_recording(0, 0);
    vthread_t t = start(parks_pinned, NULL);
    until_waiting(t);
    vthread_unpark(t);
    join(t);
    struct recording r = stop_recording();
    ck_assert_uint_eq(count_of(&r, TRACE_PIN, t), 1);
    ck_assert_uint_eq(count_of(&r, TRACE_PIN_END, t), 1);
}
END_TEST

static void *names_itself(void *arg)
{
    vthread_setname(vthread_self(), "late");
    return arg;
}

START_TEST(a_name_given_later_is_recorded)
{
    start_recording(0, 0);
    vthread_t t = start(names_itself, NULL);
    join(t);
    struct recording r = stop_recording();
    uint64_t letters = 0;
    memcpy(&letters, "late", 4);
    ck_assert_uint_eq(count_of(&r, TRACE_IS, t), 3);
    ck_assert_uint_eq(count_of(&r, TRACE_IS_NAMED, letters), 2);
}
END_TEST

static int does_nothing(const void *args, void *result)
{
    (void)args;
    (void)result;
    return 0;
}

static void *opens_a_scope(void *place)
{
    vthread_scope_t *scope;
    ck_assert_int_eq(vthread_scope_open(&scope, NULL), 0);
    *(void **)place = scope;
    ck_assert_int_eq(vthread_scope_fork(scope, NULL, does_nothing, NULL, 0, 0),
                     0);
    ck_assert_int_eq(vthread_scope_join(scope), 0);
    ck_assert_int_eq(vthread_scope_close(scope), 0);
    return NULL;
}

START_TEST(a_child_is_recorded_with_its_scope)
{
    static void *scope;
    start_recording(0, 0);
    join(start(opens_a_scope, &scope));
    struct recording r = stop_recording();
    ck_assert_uint_eq(count_of(&r, TRACE_IS_CHILD, (uintptr_t)scope), 2);
}
END_TEST

/* Makes an event, and waits until it is in the file. */
static void until_written(const char *name)
{
    static char bytes[1 << 20];
    ssize_t size;
    ck_assert_int_eq(vthread_setname(vthread_self(), name), 0);
    do {
        int fd = open(recording_path(), O_RDONLY);
        size = read(fd, bytes, sizeof bytes);
        close(fd);
    } while (size <= 0 || !memmem(bytes, (size_t)size, name, strlen(name)));
}

/* Who writes looks at the queues, and then writes.  That look may have been
 * before this when what is written first is in the file. */
static void until_queues_are_looked_at(void)
{
    until_written("first");
    until_written("second");
}

static void *spins_until_recorded(void *s)
{
    vthread_t other = start(return_argument, NULL);
    vthread_scheduler_stats_t stats = {.hogs = 0};
    while (stats.hogs == 0)
        vthread_scheduler_stats(s, &stats);
    until_queues_are_looked_at();
    join(other);
    return NULL;
}

/* The other one waits in the queue for as long as the first one spins. */
START_TEST(a_hog_is_recorded_with_its_stack_and_the_queue_behind_it)
{
    setenv("VTHREAD_CONTROL", "1", 1); /* someone may ask where it is */
    set_mode("VTHREAD_HOG_MS", "50");
    if (!mode_is("VTHREAD_HOG_MS", "50"))
        return;
    start_recording(0, 0);
    vthread_scheduler_t *s = scheduler_of(1);
    vthread_t t = start_on(s, spins_until_recorded, s);
    join(t);
    shut_down(s);
    struct recording r = stop_recording();
    ck_assert_uint_eq(count_of(&r, TRACE_HOG, t), 1);
    ck_assert_uint_ge(count_kind(&r, TRACE_AT),
                      UNDER_SANITIZER || !UNWINDER_WALKS ? 0 : 1);
    ck_assert_uint_ge(count_kind(&r, TRACE_QUEUE), 1);
}
END_TEST

/* ---- Order -------------------------------------------------------------- */

/* Of each ring: who is mounted, and when its last event was. */
struct order {
    uint64_t mounted[TRACE_RINGS_MAX], last[TRACE_RINGS_MAX];
    size_t mounts;
};

static bool unmounts(enum trace_kind kind)
{
    return kind == TRACE_YIELD || kind == TRACE_FINISH || kind >= TRACE_WAIT;
}

static void check_order(void *arg, const struct trace_part *part,
                        const struct trace_event *e)
{
    struct order *order = arg;
    uint64_t *mounted = &order->mounted[part->ring];
    if (part->ring == 0)
        return;
    ck_assert_uint_ge(e->when >> TRACE_KIND_BITS, order->last[part->ring]);
    order->last[part->ring] = e->when >> TRACE_KIND_BITS;
    if (kind_of(e) == TRACE_MOUNT) {
        ck_assert_uint_eq(*mounted, 0);
        *mounted = e->what;
        order->mounts++;
    } else if (unmounts(kind_of(e))) {
        ck_assert_uint_eq(*mounted, e->what);
        *mounted = 0;
    }
}

enum { YIELDERS = 20, YIELDS = 200 };

static void *yields_on(void *arg)
{
    for (int i = 0; i < YIELDS; i++)
        vthread_yield();
    return arg;
}

START_TEST(every_mount_is_followed_by_its_unmount)
{
    static struct order order;
    vthread_t threads[YIELDERS];
    vthread_scheduler_t *s = scheduler_of(2);
    start_recording(0, 16 * 1024 * 1024);
    for (int i = 0; i < YIELDERS; i++)
        threads[i] = start_on(s, yields_on, NULL);
    for (int i = 0; i < YIELDERS; i++)
        join(threads[i]);
    shut_down(s);
    struct recording r = stop_recording();
    ck_assert_uint_eq(r.lost, 0);
    each_event(&r, check_order, &order);
    ck_assert_uint_ge(order.mounts, YIELDERS * (YIELDS + 1));
    for (unsigned i = 0; i < TRACE_RINGS_MAX; i++)
        ck_assert_uint_eq(order.mounted[i], 0);
}
END_TEST

/* A mount may have the time of the unmount before it, but never one from before
 * its thread was ready. */
enum { PAIRS = 4, ROUNDS = 3000 };

struct told {
    uint64_t when, thread;
    enum { IS_WOKEN, IS_MOUNTED, IS_UNMOUNTED } what;
};

struct story {
    struct told *told;
    size_t count;
};

static _Atomic uint64_t partner_of[2 * PAIRS];

static bool is_partner(uint64_t thread)
{
    for (size_t i = 0; i < 2 * PAIRS; i++)
        if (partner_of[i] == thread)
            return true;
    return false;
}

static void note_told(void *arg, const struct trace_part *part,
                      const struct trace_event *e)
{
    struct story *story = arg;
    enum trace_kind kind = kind_of(e);
    bool is_woken = kind == TRACE_WAKE || kind == TRACE_EXPIRE;
    (void)part;
    if (is_partner(e->what)
        && (is_woken || kind == TRACE_MOUNT || unmounts(kind)))
        story->told[story->count++] = (struct told){
            .when = e->when >> TRACE_KIND_BITS,
            .thread = e->what,
            .what = is_woken              ? IS_WOKEN
                    : kind == TRACE_MOUNT ? IS_MOUNTED
                                          : IS_UNMOUNTED,
        };
}

static int by_thread_and_time(const void *a, const void *b)
{
    const struct told *left = a, *right = b;
    if (left->thread != right->thread)
        return left->thread < right->thread ? -1 : 1;
    if (left->when != right->when)
        return left->when < right->when ? -1 : 1;
    return (int)left->what - (int)right->what;
}

/* The two of a pair wake each other in turn. */
static void *takes_turns(void *arg)
{
    size_t self = (size_t)(uintptr_t)arg;
    while (!partner_of[self ^ 1])
        vthread_yield();
    for (int i = 0; i < ROUNDS; i++) {
        ck_assert_int_eq(vthread_unpark(partner_of[self ^ 1]), 0);
        ck_assert_int_eq(vthread_park(), 0);
    }
    vthread_unpark(partner_of[self ^ 1]);
    return NULL;
}

START_TEST(nobody_is_mounted_before_being_woken)
{
    struct story story = {.count = 0};
    vthread_scheduler_t *s = scheduler_of(4);
    start_recording(0, 16 * 1024 * 1024);
    for (size_t i = 0; i < 2 * PAIRS; i++)
        partner_of[i] = start_on(s, takes_turns, (void *)(uintptr_t)i);
    for (size_t i = 0; i < 2 * PAIRS; i++)
        join(partner_of[i]);
    shut_down(s);
    struct recording r = stop_recording();
    story.told =
        malloc(r.size / sizeof(struct trace_event) * sizeof *story.told);
    each_event(&r, note_told, &story);
    qsort(story.told, story.count, sizeof *story.told, by_thread_and_time);
    ck_assert_uint_ge(count_kind(&r, TRACE_WAKE), PAIRS);
    for (size_t i = 1; i < story.count; i++)
        if (story.told[i].thread == story.told[i - 1].thread
            && story.told[i - 1].what == IS_WOKEN)
            ck_assert_int_eq(story.told[i].what, IS_MOUNTED);
    free(story.told);
}
END_TEST

/* ---- Rings -------------------------------------------------------------- */

START_TEST(a_ring_that_is_full_keeps_the_last_events)
{
    start_recording(VTHREAD_SECOND * 1000, 4096);
    vthread_scheduler_t *s = scheduler_of(1);
    join(start_on(s, yields_on, NULL));
    vthread_t last = start_on(s, return_argument, NULL);
    join(last);
    shut_down(s);
    ck_assert_int_eq(vthread_trace_write(recording_path(), UINT64_MAX), EBUSY);
    char path[80];
    snprintf(path, sizeof path, "%s.other", recording_path());
    ck_assert_int_eq(vthread_trace_write(path, UINT64_MAX), 0);
    ck_assert_int_eq(vthread_trace_stop(), 0);
    struct recording r = recording_of(path);
    unlink(path);
    ck_assert(r.is_complete);
    ck_assert_uint_eq(count_of(&r, TRACE_FINISH, last), 1);
    ck_assert_uint_lt(count_kind(&r, TRACE_MOUNT), 4096 / 16);
}
END_TEST

enum { TELLERS = 4, TOLD = 3000 };

static void *creates_many(void *arg)
{
    for (int i = 0; i < TOLD; i++)
        trace_note(TRACE_CREATE, (uintptr_t)arg << 32 | (uint32_t)i);
    return NULL;
}

/* Whose the next event is, and what that one said last. */
struct telling {
    uint32_t by, by_of[TELLERS + 1];
    int64_t last[TELLERS + 1];
    size_t count;
};

static void check_teller(void *arg, const struct trace_part *part,
                         const struct trace_event *e)
{
    struct telling *telling = arg;
    if (part->ring != 0)
        return;
    if (kind_of(e) == TRACE_BY) {
        telling->by = (uint32_t)e->what;
    } else if (kind_of(e) == TRACE_CREATE && e->what >> 32 <= TELLERS) {
        unsigned teller = (unsigned)(e->what >> 32);
        ck_assert_int_gt((uint32_t)e->what, telling->last[teller]);
        telling->last[teller] = (uint32_t)e->what;
        if (telling->by_of[teller] == 0)
            telling->by_of[teller] = telling->by;
        ck_assert_uint_eq(telling->by_of[teller], telling->by);
        telling->count++;
    }
}

static void tell_by_many(size_t memory_bytes, struct telling *telling,
                         uint64_t *lost)
{
    pthread_t tellers[TELLERS];
    for (int i = 0; i <= TELLERS; i++)
        telling->last[i] = -1;
    start_recording(0, memory_bytes);
    for (int i = 0; i < TELLERS; i++)
        tellers[i] = start_platform(creates_many, pointer((uintptr_t)i + 1));
    for (int i = 0; i < TELLERS; i++)
        join_platform(tellers[i]);
    struct recording r = stop_recording();
    each_event(&r, check_teller, telling);
    *lost = r.lost;
}

START_TEST(platform_threads_share_a_ring_and_nothing_is_lost_in_it)
{
    struct telling telling = {.by = 0};
    uint64_t lost;
    tell_by_many(16 * 1024 * 1024, &telling, &lost);
    ck_assert_uint_eq(lost, 0);
    ck_assert_uint_eq(telling.count, TELLERS * TOLD);
}
END_TEST

START_TEST(what_is_lost_of_a_small_ring_is_counted_and_the_rest_is_whole)
{
    struct telling telling = {.by = 0};
    uint64_t lost;
    tell_by_many(4096, &telling, &lost);
    ck_assert_uint_eq(telling.count + lost, TELLERS * TOLD);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("trace_record");
    TCase *order = new_case(suite, "order");
    tcase_add_test(order, every_mount_is_followed_by_its_unmount);
    tcase_add_test(order, nobody_is_mounted_before_being_woken);
    TCase *cases = new_case(suite, "events");
    tcase_add_test(cases, the_life_of_a_thread_is_recorded);
    tcase_add_test(cases, a_wait_that_time_ends_is_woken_by_none);
    tcase_add_test(cases, a_call_is_recorded_with_its_function);
    tcase_add_test(cases, a_pinned_wait_is_recorded);
    tcase_add_test(cases, a_name_given_later_is_recorded);
    tcase_add_test(cases, a_child_is_recorded_with_its_scope);
    cases = new_case(suite, "hogs");
    tcase_add_test(cases,
                   a_hog_is_recorded_with_its_stack_and_the_queue_behind_it);
    cases = new_case(suite, "rings");
    tcase_add_test(cases, a_ring_that_is_full_keeps_the_last_events);
    tcase_add_test(cases,
                   platform_threads_share_a_ring_and_nothing_is_lost_in_it);
    tcase_add_test(
        cases, what_is_lost_of_a_small_ring_is_counted_and_the_rest_is_whole);
    return run_suite(suite);
}
