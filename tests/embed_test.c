/*
 * embed_test.c - what a language machine is told of its threads, their
 * pointers, stacks and time slices.
 */
#include <errno.h>

#include <vthread/embed.h>

#include "tests/threads.h"

/* What the machine has of a thread. */
struct machine_thread {
    struct machine_thread *creator;
    _Atomic int children, mounts, unmounts, ends;
};

static _Thread_local struct machine_thread *current;

static _Atomic int made, carriers_started, carriers_stopped;

static void *create_thread(void *creator)
{
    static struct machine_thread all[16];
    int number = made++;
    ck_assert_int_lt(number, 16);
    struct machine_thread *m = &all[number];
    m->creator = creator;
    if (creator)
        m->creator->children++;
    return m;
}

/* After the last unmount. */
static void end_thread(void *user)
{
    struct machine_thread *m = user;
    ck_assert_int_eq(m->mounts, m->unmounts);
    m->ends++;
}

static void set_current(void *user)
{
    ck_assert_ptr_null(current);
    current = user;
    current->mounts++;
}

static void reset_current(void *user)
{
    ck_assert_ptr_eq(current, user);
    current->unmounts++;
    current = NULL;
}

static void count_start(void)
{
    carriers_started++;
}

static void count_stop(void)
{
    carriers_stopped++;
}

static const vthread_embedder_t machine = {
    .created = create_thread,
    .ended = end_thread,
    .mounting = set_current,
    .unmounted = reset_current,
    .carrier_started = count_start,
    .carrier_stopped = count_stop,
};

/* Where the compiler cannot keep the address of the thread-local. */
static __attribute__((noinline)) struct machine_thread *current_now(void)
{
    __asm__ volatile("");
    return current;
}

static void *sees_itself(void *arg)
{
    for (int i = 0; i < 100; i++) {
        ck_assert_ptr_nonnull(vthread_user());
        ck_assert_ptr_eq(current_now(), vthread_user());
        vthread_yield();
    }
    return arg;
}

/* Returns what the machine has of it. */
static void *has_children(void *arg)
{
    vthread_t t[3];
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(vthread_create(&t[i], NULL, sees_itself, NULL), 0);
    sees_itself(arg);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(vthread_join(t[i], NULL), 0);
    return vthread_user();
}

START_TEST(the_current_thread_is_right_on_every_carrier)
{
    ck_assert_int_eq(vthread_embed(&machine), 0);
    void *result;
    vthread_t t;
    ck_assert_int_eq(vthread_create(&t, NULL, has_children, NULL), 0);
    ck_assert_int_eq(vthread_join(t, &result), 0);
    const struct machine_thread *m = result;
    ck_assert_ptr_null(m->creator);
    ck_assert_int_eq(m->children, 3);
    ck_assert_int_eq(made, 4);
    ck_assert_int_eq(m->ends, 1);
    ck_assert_int_ge(m->mounts, 100);
    ck_assert_int_eq(m->mounts, m->unmounts);
}
END_TEST


static void *returns_user(void *arg)
{
    (void)arg;
    return vthread_user();
}

START_TEST(a_pointer_is_inherited_where_the_machine_makes_none)
{
    static const vthread_embedder_t plain = {.ended = end_thread};
    static struct machine_thread mine; /* mounts are not counted */
    ck_assert_int_eq(vthread_embed(&plain), 0);
    ck_assert_ptr_null(vthread_user());
    ck_assert_int_eq(vthread_set_user(&mine), 0);
    ck_assert_ptr_eq(vthread_user(), &mine);
    void *result;
    vthread_t t;
    ck_assert_int_eq(vthread_create(&t, NULL, returns_user, NULL), 0);
    ck_assert_int_eq(vthread_join(t, &result), 0);
    ck_assert_ptr_eq(result, &mine);
    ck_assert_int_eq(mine.ends, 1);
    ck_assert_int_eq(vthread_set_user(NULL), 0);
    ck_assert_int_eq(vthread_create(&t, NULL, returns_user, NULL), 0);
    ck_assert_int_eq(vthread_join(t, &result), 0);
    ck_assert_ptr_null(result);
}
END_TEST

START_TEST(carriers_are_told_of_when_they_come_and_go)
{
    ck_assert_int_eq(vthread_embed(&machine), 0);
    vthread_scheduler_t *s = scheduler_of(2);
    join(start_attr((vthread_attr_t){.scheduler = s}, returns_user, NULL));
    ck_assert_int_ge(carriers_started, 1);
    shut_down(s);
    ck_assert_int_eq(carriers_started, carriers_stopped);
}
END_TEST

START_TEST(a_bad_embedder_a_second_and_a_late_one_are_refused)
{
    vthread_embedder_t bad = {.reserved = {1}};
    ck_assert_int_eq(vthread_embed(NULL), EINVAL);
    ck_assert_int_eq(vthread_embed(&bad), EINVAL);
    bad = (vthread_embedder_t){.time_slice_ns = VTHREAD_MS - 1};
    ck_assert_int_eq(vthread_embed(&bad), EINVAL);
    ck_assert_int_eq(vthread_embed(&machine), 0);
    ck_assert_int_eq(vthread_embed(&machine), EBUSY);
}
END_TEST

START_TEST(after_the_first_thread_it_is_too_late)
{
    join(start(returns_user, NULL));
    ck_assert_int_eq(vthread_embed(&machine), EBUSY);
}
END_TEST

/* ---- Stacks ------------------------------------------------------------- */

static void *looks_at_its_stack(void *arg)
{
    char local;
    vthread_stack_bounds_t bounds;
    ck_assert_int_eq(vthread_stack_bounds(NULL), EINVAL);
    ck_assert_int_eq(vthread_stack_bounds(&bounds), 0);
    ck_assert_uint_lt((uintptr_t)bounds.low, (uintptr_t)&local);
    ck_assert_uint_gt((uintptr_t)bounds.high, (uintptr_t)&local);
    size_t left = (size_t)(&local - (char *)bounds.low);
    ck_assert(vthread_stack_has(left / 2));
    ck_assert(!vthread_stack_has(left + 4096));
    return arg;
}

static void looks_inside(void *arg)
{
    looks_at_its_stack(arg);
}

START_TEST(a_stack_has_bounds_wherever_one_is)
{
    looks_at_its_stack(NULL);
    join(start(looks_at_its_stack, NULL));
    vthread_continuation_t *c;
    ck_assert_int_eq(vthread_continuation_create(&c, NULL, looks_inside,
                                                 NULL), 0);
    ck_assert_int_eq(vthread_continuation_run(c), 0);
    ck_assert(vthread_continuation_is_done(c));
    ck_assert_int_eq(vthread_continuation_destroy(c), 0);
}
END_TEST

static void *digs(void *depth)
{
    volatile char room[512];
    room[0] = 1;
    if (!vthread_stack_has(8192))
        return depth;
    void *result = digs((char *)depth + 1);
    return room[0] ? result : NULL;
}

START_TEST(a_recursion_that_asks_stops_before_the_guard)
{
    void *depth;
    vthread_t t;
    ck_assert_int_eq(vthread_create(&t, NULL, digs, NULL), 0);
    ck_assert_int_eq(vthread_join(t, &depth), 0);
    ck_assert_uint_gt((uintptr_t)depth, 100);
}
END_TEST

/* ---- Time slices -------------------------------------------------------- */

static _Atomic bool is_told;

static void *is_busy(void *arg)
{
    while (!is_told)
        vthread_safepoint();
    return arg;
}

static void *tells(void *arg)
{
    is_told = true;
    return arg;
}

START_TEST(a_busy_thread_lets_others_run_at_its_safepoints)
{
    static const vthread_embedder_t slicing = {.time_slice_ns = VTHREAD_MS};
    ck_assert_int_eq(vthread_embed(&slicing), 0);
    vthread_scheduler_t *s = scheduler_of(1);
    vthread_attr_t attr = {.scheduler = s};
    vthread_t busy = start_attr(attr, is_busy, NULL);
    vthread_t other = start_attr(attr, tells, NULL);
    join(busy);
    join(other);
    shut_down(s);
}
END_TEST

static void *counts_its_turns(void *turns)
{
    for (int i = 0; i < 5; i++) {
        uint64_t end_ns = vthread_after(5 * VTHREAD_MS);
        while (vthread_now() < end_ns)
            vthread_safepoint();
        ++*(_Atomic int *)turns;
        vthread_yield();
    }
    return NULL;
}

/* A monitor may just change them. */
static uint32_t safepoint_requests(void)
{
    return __atomic_load_n(&vthread_safepoint_requests, __ATOMIC_RELAXED);
}

static void *comes_to_one_without_a_request(void *arg)
{
    vthread_safepoint_reached();
    return arg;
}

START_TEST(a_safepoint_that_nobody_asked_for_goes_on)
{
    comes_to_one_without_a_request(NULL);
    join(start(comes_to_one_without_a_request, NULL));
    ck_assert_uint_eq(safepoint_requests(), 0);
}
END_TEST

START_TEST(requests_are_taken_back_when_nobody_is_there_for_them)
{
    static const vthread_embedder_t slicing = {.time_slice_ns = VTHREAD_MS};
    static _Atomic int turns;
    ck_assert_int_eq(vthread_embed(&slicing), 0);
    vthread_scheduler_t *s = scheduler_of(2);
    vthread_t t[4];
    for (int i = 0; i < 4; i++)
        t[i] = start_attr((vthread_attr_t){.scheduler = s}, counts_its_turns,
                          (void *)&turns);
    for (int i = 0; i < 4; i++)
        join(t[i]);
    ck_assert_int_eq(turns, 20);
    ck_assert_uint_le(safepoint_requests(), 2);
    shut_down(s);
}
END_TEST

/* ---- Cancelling a continuation ------------------------------------------ */

static int told;

static void yields_once(void *scope)
{
    told = vthread_continuation_yield(scope);
}

START_TEST(a_cancelled_continuation_finds_the_error_in_its_yield)
{
    static const char scope[] = "scope";
    vthread_continuation_attr_t attr = {.scope = scope};
    vthread_continuation_t *c;
    ck_assert_int_eq(vthread_continuation_create(&c, &attr, yields_once,
                                                 (void *)scope), 0);
    ck_assert_int_eq(vthread_continuation_cancel(NULL, ECANCELED), EINVAL);
    ck_assert_int_eq(vthread_continuation_cancel(c, 0), EINVAL);
    ck_assert_int_eq(vthread_continuation_cancel(c, -1), EINVAL);
    ck_assert_int_eq(vthread_continuation_cancel(c, ECANCELED), EPERM);
    ck_assert_int_eq(vthread_continuation_run(c), 0);
    ck_assert_int_eq(vthread_continuation_cancel(c, ECANCELED), 0);
    ck_assert_int_eq(told, ECANCELED);
    ck_assert(vthread_continuation_is_done(c));
    ck_assert_int_eq(vthread_continuation_cancel(c, ECANCELED), ESRCH);
    ck_assert_int_eq(vthread_continuation_destroy(c), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("embed");
    TCase *cases = new_case(suite, "machine");
    tcase_add_test(cases, the_current_thread_is_right_on_every_carrier);
    tcase_add_test(cases, a_pointer_is_inherited_where_the_machine_makes_none);
    tcase_add_test(cases, carriers_are_told_of_when_they_come_and_go);
    tcase_add_test(cases, a_bad_embedder_a_second_and_a_late_one_are_refused);
    tcase_add_test(cases, after_the_first_thread_it_is_too_late);
    cases = new_case(suite, "stack");
    tcase_add_test(cases, a_stack_has_bounds_wherever_one_is);
    tcase_add_test(cases, a_recursion_that_asks_stops_before_the_guard);
    cases = new_case(suite, "safepoint");
    tcase_add_test(cases, a_busy_thread_lets_others_run_at_its_safepoints);
    tcase_add_test(cases, a_safepoint_that_nobody_asked_for_goes_on);
    tcase_add_test(cases,
                   requests_are_taken_back_when_nobody_is_there_for_them);
    cases = new_case(suite, "cancel");
    tcase_add_test(cases,
                   a_cancelled_continuation_finds_the_error_in_its_yield);
    return run_suite(suite);
}
