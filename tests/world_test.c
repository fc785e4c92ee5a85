/*
 * world_test.c - stopping all threads, and what is found in their frames.
 */
#include <errno.h>

#include <vthread/embed.h>

#include "platform/sanitizer.h"
#include "tests/threads.h"

static const vthread_embedder_t machine = {.flags = VTHREAD_EMBED_WORLD};

/* ---- Who has what -------------------------------------------------------- */

/* Words that nothing else holds: a thread keeps it in its frame, or four of
 * them in registers.  Told apart by their lower half. */
#define MARK UINT64_C(0x5eed0ddba11d0000)
#define MARKS 4096
#define NEXT (MARKS / 4) /* from one of the four to the next */

static unsigned found[MARKS];

/* It reads what is none of its business: whole stacks. */
__attribute__((no_sanitize("address", "thread"))) static void
look_for_marks(void *arg, vthread_t thread, void *user,
                           const void *low, const void *high)
{
    (void)arg;
    (void)thread;
    (void)user;
    for (const uint64_t *word = low; word < (const uint64_t *)high; word++) {
        uint64_t mark = *word - MARK;
        sanitizer_defined(&mark, sizeof mark);
        if (mark < MARKS)
            found[mark]++;
    }
}

static void forget_marks(void)
{
    memset(found, 0, sizeof found);
}

static void find_marks(void)
{
    forget_marks();
    ck_assert_int_eq(vthread_world_stop(), 0);
    ck_assert_int_eq(vthread_world_roots(look_for_marks, NULL), 0);
    ck_assert_int_eq(vthread_world_start(), 0);
}

/* Four of those that calls preserve. */
#if defined __x86_64__
#define FIRST "r12"
#define SECOND "r13"
#define THIRD "r14"
#define FOURTH "r15"
#elif defined __aarch64__
#define FIRST "x25"
#define SECOND "x26"
#define THIRD "x27"
#define FOURTH "x28"
#else
#define FIRST "s8"
#define SECOND "s9"
#define THIRD "s10"
#define FOURTH "s11"
#endif

static __attribute__((noinline)) void hold_in_frame(uint64_t number,
                                                    void (*act)(void))
{
    volatile uint64_t mark[2] = {MARK + number, 0};
    act();
    ck_assert_uint_eq(mark[0], MARK + number);
}

static __attribute__((noinline)) void hold_in_registers(uint64_t number,
                                                        void (*act)(void))
{
    volatile uint64_t same = number; /* the marks are not computed twice */
    register uint64_t a __asm__(FIRST) = MARK + number;
    register uint64_t b __asm__(SECOND) = MARK + number + NEXT;
    register uint64_t c __asm__(THIRD) = MARK + number + 2 * NEXT;
    register uint64_t d __asm__(FOURTH) = MARK + number + 3 * NEXT;
    __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
    act();
    __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
    ck_assert_uint_eq(a - MARK, same);
    ck_assert_uint_eq(b - MARK - NEXT, same);
    ck_assert_uint_eq(c - MARK - 2 * NEXT, same);
    ck_assert_uint_eq(d - MARK - 3 * NEXT, same);
}

/* Has marks there, and nowhere else, while it does that. */
static void hold(uint64_t number, void (*act)(void))
{
    (number % 2 ? hold_in_registers : hold_in_frame)(number, act);
}

static void park(void)
{
    vthread_park();
}

static _Atomic int parking, running;
static _Atomic bool is_over;

static void *parks_with_mark(void *number)
{
    parking++;
    hold((uintptr_t)number, park);
    return NULL;
}

static void spin(void)
{
    running++;
    while (!is_over)
        vthread_safepoint();
}

static void *spins_with_mark(void *number)
{
    hold((uintptr_t)number, spin);
    return NULL;
}

/* Leaves nothing of what earlier calls have left below. */
static __attribute__((noinline)) void wipe_stack(void)
{
    volatile char bytes[2048];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = 0;
}

static void *stays_away(void *arg)
{
    wipe_stack();
    running++;
    while (!is_over)
        sched_yield();
    return arg;
}

static void call(void)
{
    ck_assert_int_eq(vthread_block(stays_away, NULL, NULL), 0);
}

static void *calls_with_mark(void *number)
{
    hold((uintptr_t)number, call);
    return NULL;
}

static void ck_all_found(unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++)
        for (unsigned mark = i; mark < (i % 2 ? MARKS : NEXT); mark += NEXT)
            ck_assert_msg(found[mark] > 0, "mark %u was not found", mark);
}

static void until_at_least(const _Atomic int *count, int least)
{
    while (*count < least)
        sched_yield();
}

enum { PARKED = 1000, CALLS = 4, SPINNERS = 2 };

/* One of them at most is on a common home, or they would wait for each
 * other's. */
static vthread_attr_t stays_mounted(vthread_scheduler_t *s, bool is_common)
{
    return (vthread_attr_t){.scheduler = s,
                            .flags = is_common ? 0 : VTHREAD_STACK_OWN};
}

START_TEST(what_threads_hold_is_found_wherever_their_frames_are)
{
    static vthread_t t[PARKED + CALLS + SPINNERS];
    unsigned n = 0;
    set_mode("VTHREAD_OWN_LIMIT", "100");
    set_mode("VTHREAD_COMMON_HOMES", "4");
    ck_assert_int_eq(vthread_embed(&machine), 0);
    vthread_scheduler_t *s = scheduler_of(SPINNERS);
    for (; n < PARKED; n++)
        t[n] = start_on(s, parks_with_mark, pointer(n));
    until_at_least(&parking, PARKED);
    for (; n < PARKED + CALLS; n++)
        t[n] = start_attr(stays_mounted(s, (int)n - PARKED == _i),
                          calls_with_mark, pointer(n));
    until_at_least(&running, CALLS);
    /* They keep all the carriers there are. */
    for (; n < PARKED + CALLS + SPINNERS; n++)
        t[n] = start_attr(stays_mounted(s, (int)n - PARKED == _i),
                          spins_with_mark, pointer(n));
    until_at_least(&running, CALLS + SPINNERS);
    for (int round = 0; round < 10; round++) {
        find_marks();
        ck_all_found(0, n);
    }
    is_over = true;
    for (unsigned i = 0; i < PARKED; i++)
        vthread_unpark(t[i]);
    for (unsigned i = 0; i < n; i++)
        join(t[i]);
    find_marks();
    for (unsigned i = 0; i < n; i++)
        ck_assert_uint_eq(found[i], 0);
    shut_down(s);
}
END_TEST

/* ---- Platform threads ---------------------------------------------------- */

static void bare_main(void *number)
{
    static void (*const acts[])(void) = {spin, call, park, find_marks};
    hold((uintptr_t)number, acts[(uintptr_t)number / 2]);
}

static void *runs_bare(void *number)
{
    vthread_continuation_t *c;
    ck_assert_int_eq(vthread_continuation_create(&c, NULL, bare_main, number),
                     0);
    parking++;
    ck_assert_int_eq(vthread_continuation_run(c), 0);
    ck_assert(vthread_continuation_is_done(c));
    ck_assert_int_eq(vthread_continuation_destroy(c), 0);
    return NULL;
}

static _Atomic vthread_t parkers[2];

static void *runs_parking(void *number)
{
    parkers[(uintptr_t)number - 4] = vthread_self();
    return runs_bare(number);
}

START_TEST(continuations_on_platform_threads_are_stopped_and_looked_at_too)
{
    pthread_t t[6];
    ck_assert_int_eq(vthread_embed(&machine), 0);
    for (unsigned i = 0; i < 4; i++)
        t[i] = start_platform(runs_bare, pointer(i));
    for (unsigned i = 4; i < 6; i++)
        t[i] = start_platform(runs_parking, pointer(i));
    until_at_least(&running, 4);
    until_at_least(&parking, 6);
    for (unsigned i = 0; i < 2; i++)
        until_waiting(parkers[i]);
    for (unsigned i = 6; i < 8; i++) { /* these stop it themselves */
        runs_bare(pointer(i));
        ck_all_found(0, 6);
        ck_all_found(i, 1);
    }
    find_marks();
    ck_all_found(0, 6);
    is_over = true;
    for (unsigned i = 0; i < 2; i++)
        vthread_unpark(parkers[i]);
    for (unsigned i = 0; i < 6; i++)
        join_platform(t[i]);
    find_marks();
    for (unsigned i = 0; i < 8; i++)
        ck_assert_uint_eq(found[i], 0);
}
END_TEST

/* ---- Nobody runs --------------------------------------------------------- */

static _Atomic uint64_t steps;
static _Atomic int stops;

static void *steps_on(void *arg)
{
    uint64_t number = (uintptr_t)arg;
    for (int i = 0; !is_over; i++) {
        steps++;
        if (i % 64 == 63)
            vthread_yield();
        else if ((uint64_t)i % 1000 == number)
            vthread_sleep(1);
        vthread_safepoint();
    }
    return NULL;
}

static void stop_once(void)
{
    ck_assert_int_eq(vthread_world_stop(), 0);
    uint64_t before = steps;
    for (int i = 0; i < 1000; i++)
        cpu_relax();
    ck_assert_uint_eq(steps, before);
    forget_marks();
    ck_assert_int_eq(vthread_world_roots(look_for_marks, NULL), 0);
    ck_assert_uint_eq(steps, before);
    stops++;
    ck_assert_int_eq(vthread_world_start(), 0);
}

static void *stops_often(void *rounds)
{
    for (uintptr_t i = 0; i < (uintptr_t)rounds; i++) {
        stop_once();
        vthread_yield();
    }
    return NULL;
}

START_TEST(nobody_takes_a_step_while_it_is_stopped_whoever_stops_it)
{
    vthread_t t[20], stopper[3];
    ck_assert_int_eq(vthread_embed(&machine), 0);
    for (int i = 0; i < 20; i++)
        t[i] = start(steps_on, (void *)(uintptr_t)i);
    for (int i = 0; i < 3; i++)
        stopper[i] = start(stops_often, (void *)(uintptr_t)50);
    for (int i = 0; i < 50; i++)
        stop_once();
    for (int i = 0; i < 3; i++)
        join(stopper[i]);
    ck_assert_int_eq(stops, 200);
    is_over = true;
    for (int i = 0; i < 20; i++)
        join(t[i]);
}
END_TEST

/* ---- Hooks and callers --------------------------------------------------- */

static int collections_begun, collections_ended;

static void begins(void)
{
    ck_assert_int_eq(collections_begun++, collections_ended);
}

static void ends(void)
{
    ck_assert_int_eq(++collections_ended, collections_begun);
}

START_TEST(the_machine_is_told_of_the_beginning_and_the_end)
{
    vthread_embedder_t hooked = machine;
    hooked.world_stopped = begins;
    hooked.world_starting = ends;
    ck_assert_int_eq(vthread_embed(&hooked), 0);
    ck_assert_int_eq(vthread_world_stop(), 0);
    ck_assert_int_eq(collections_begun, 1);
    ck_assert_int_eq(vthread_world_start(), 0);
    ck_assert_int_eq(collections_ended, 1);
    join(start(stops_often, pointer(10)));
    ck_assert_int_eq(collections_begun, 11);
    ck_assert_int_eq(collections_ended, 11);
}
END_TEST

static bool sees_thread, sees_user;
static vthread_t whose;

static void look_at_owner(void *arg, vthread_t thread, void *user,
                          const void *low, const void *high)
{
    ck_assert(low <= high);
    if (thread != whose)
        return;
    sees_thread = true;
    sees_user = user == arg;
}

static void *parks_as(void *user)
{
    ck_assert_int_eq(vthread_set_user(user), 0);
    vthread_park();
    return NULL;
}

START_TEST(a_range_tells_whose_it_is)
{
    static int user;
    ck_assert_int_eq(vthread_embed(&machine), 0);
    whose = start(parks_as, &user);
    until_waiting(whose);
    ck_assert_int_eq(vthread_world_stop(), 0);
    ck_assert_int_eq(vthread_world_roots(look_at_owner, &user), 0);
    ck_assert_int_eq(vthread_world_start(), 0);
    ck_assert(sees_thread && sees_user);
    vthread_unpark(whose);
    join(whose);
}
END_TEST

/* ---- Wrong use ----------------------------------------------------------- */

START_TEST(wrong_calls_are_errors_and_change_nothing)
{
    ck_assert_int_eq(vthread_world_stop(), ENOTSUP);
    ck_assert_int_eq(vthread_embed(&machine), 0);
    ck_assert_int_eq(vthread_gc_enable(), ENOTSUP);
    ck_assert_int_eq(vthread_world_start(), EPERM);
    ck_assert_int_eq(vthread_world_roots(look_for_marks, NULL), EPERM);
    ck_assert_int_eq(vthread_world_stop(), 0);
    ck_assert_int_eq(vthread_world_stop(), EDEADLK);
    ck_assert_int_eq(vthread_world_roots(NULL, NULL), EINVAL);
    ck_assert_int_eq(vthread_world_start(), 0);
    ck_assert_int_eq(vthread_world_start(), EPERM);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("world");
    TCase *cases = new_case(suite, "world");
    tcase_add_loop_test(cases,
                        what_threads_hold_is_found_wherever_their_frames_are,
                        0, CALLS + SPINNERS);
    tcase_add_test(
        cases, continuations_on_platform_threads_are_stopped_and_looked_at_too);
    tcase_add_test(cases,
                   nobody_takes_a_step_while_it_is_stopped_whoever_stops_it);
    tcase_add_test(cases, the_machine_is_told_of_the_beginning_and_the_end);
    tcase_add_test(cases, a_range_tells_whose_it_is);
    tcase_add_test(cases, wrong_calls_are_errors_and_change_nothing);
    return run_suite(suite);
}
