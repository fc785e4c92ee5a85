/*
 * misuse_test.c - stacks that overflow, pointers to what is not there, and
 * hogs: what goes wrong goes wrong in words.
 */
#include <errno.h>

#include "entry.h"
#include "platform/libc.h"
#include "tests/children.h"

/* ---- Stack overflow ----------------------------------------------------- */

static bool digger_yields;

__attribute__((noinline)) static long dig(long n)
{
    volatile long space[20] = {n};
    if (digger_yields)
        vthread_yield();
    return n > 0 ? dig(n + 1) + space[1] : 0;
}

static void *digs(void *arg)
{
    return pointer((uintptr_t)dig((long)(uintptr_t)arg));
}

static size_t digger_stack;

static void overflow(void)
{
    vthread_t t;
    vthread_attr_t attr = {.name = "digger",
                           .stack_size_bytes = digger_stack};
    expect(vthread_create(&t, &attr, digs, pointer(1)) == 0);
    vthread_join(t, NULL);
}

static unsigned least_frames = 5;

static void overflow_is_told(size_t least, size_t most)
{
    aborts(overflow);
    said("stack overflow of thread");
    said("'digger'");
    const char *size = strstr(text, "its stack of ");
    ck_assert_ptr_nonnull(size);
    size_t told = strtoul(size + strlen("its stack of "), NULL, 10);
    ck_assert_uint_ge(told, least);
    ck_assert_uint_le(told, most);
    /* The top frames follow, one on a line. */
    unsigned frames = 0;
    for (const char *p = text; (p = strstr(p, "[0x")) != NULL; p++)
        frames++;
    if (backtrace_can_walk)
        ck_assert_uint_ge(frames, least_frames);
}

START_TEST(an_overflow_names_the_thread_its_size_and_frames)
{
    overflow_is_told(240 << 10, 256 << 10);
}
END_TEST

START_TEST(an_overflow_of_a_common_home_is_told_too)
{
    setenv("VTHREAD_OWN_LIMIT", "0", 1);
    overflow_is_told(240 << 10, 256 << 10);
}
END_TEST

START_TEST(an_overflow_of_a_large_stack_is_told_too)
{
    digger_stack = 2 << 20;
    overflow_is_told(2 << 20, (2 << 20) + 8192);
}
END_TEST

START_TEST(an_overflow_inside_of_a_yield_is_told_too)
{
#if !defined __SANITIZE_THREAD__ /* it would happen inside of TSan */
    digger_yields = true;
    /* Valgrind moves the stack pointer before a push that faults: no walk
     * leads out of that. */
    if (sanitizer_is_valgrind)
        least_frames = 1;
    overflow_is_told(240 << 10, 256 << 10);
#endif
}
END_TEST

static void digs_bare(void *arg)
{
    digs(arg);
}

static void overflow_bare(void)
{
    vthread_continuation_t *c;
    expect(vthread_continuation_create(&c, NULL, digs_bare, pointer(1)) == 0);
    vthread_continuation_run(c);
}

START_TEST(an_overflow_of_a_bare_continuation_is_told_too)
{
    aborts(overflow_bare);
    said("stack overflow of continuation");
}
END_TEST

static void *touches_nothing(void *arg)
{
    *(volatile int *)arg = 1;
    return NULL;
}

static void fault_of_the_program(void)
{
    vthread_join(child_start("breaker", touches_nothing, pointer(8)), NULL);
}

START_TEST(a_fault_of_the_program_takes_its_course)
{
    int status = end_of_child(fault_of_the_program, text, sizeof text);
    ck_assert(WIFSIGNALED(status) || UNDER_SANITIZER);
    ck_assert_ptr_null(strstr(text, "overflow of"));
}
END_TEST

/* ---- Pointers to what is not there -------------------------------------- */

static volatile int *volatile stray;

static void *lends_and_parks(void *arg)
{
    volatile int local = 42;
    stray = &local;
    vthread_park();
    return pointer((uintptr_t)local + (uintptr_t)arg);
}

static void *reads_stray(void *arg)
{
    (void)arg;
    return pointer((uintptr_t)*stray);
}

static void read_in_guard_mode(void)
{
    setenv("VTHREAD_FREEZE", "guard", 1);
    vthread_t owner = child_start("owner", lends_and_parks, NULL);
    until_waiting(owner);
    vthread_join(child_start("reacher", reads_stray, NULL), NULL);
}

START_TEST(guard_mode_names_both_threads_of_a_stray_access)
{
    aborts(read_in_guard_mode);
    said("'reacher'");
    said("'owner'");
    said("doc/rules.md");
}
END_TEST

static void read_in_guard_mode_from_outside(void)
{
    setenv("VTHREAD_FREEZE", "guard", 1);
    until_waiting(child_start("owner", lends_and_parks, NULL));
    reads_stray(NULL);
}

START_TEST(guard_mode_catches_platform_threads_too)
{
    aborts(read_in_guard_mode_from_outside);
    said("platform thread");
    said("'owner'");
}
END_TEST

static void write_in_eager_mode(void)
{
    setenv("VTHREAD_FREEZE", "eager", 1);
    vthread_t owner = child_start("owner", lends_and_parks, NULL);
    until_waiting(owner);
    *stray = 43;
    vthread_unpark(owner);
    vthread_join(owner, NULL);
}

START_TEST(eager_mode_notices_a_write_to_a_vacated_stack)
{
    if (UNDER_SANITIZER)
        return; /* which notices it first */
    aborts(write_in_eager_mode);
    said("somebody wrote to");
    said("'owner'");
}
END_TEST

static void read_in_eager_mode(void)
{
    setenv("VTHREAD_FREEZE", "eager", 1);
    vthread_t owner = child_start("owner", lends_and_parks, NULL);
    until_waiting(owner);
    expect(*stray != 42);
    vthread_unpark(owner);
    void *result;
    expect(vthread_join(owner, &result) == 0 && result == pointer(42));
}

START_TEST(eager_mode_hides_the_locals_of_a_parked_thread)
{
    if (UNDER_SANITIZER)
        return;
    ends_well(read_in_eager_mode);
}
END_TEST

static void write_to_a_chunk(void)
{
    uint64_t word;
    setenv("VTHREAD_FREEZE", "eager", 1);
    vthread_t owner = child_start("owner", lends_and_parks, NULL);
    until_waiting(owner);
    thread_of_handle(owner, &word)->chunk[5] ^= 1;
    vthread_unpark(owner);
    vthread_join(owner, NULL);
}

START_TEST(eager_mode_notices_a_write_to_frozen_frames)
{
    aborts(write_to_a_chunk);
    said("saved frames");
    said("'owner'");
}
END_TEST

static void *lets_a_pointer_escape(void *arg)
{
    int local = 7;
    vthread_t t;
    (void)arg;
    expect(vthread_create(&t, NULL, reads_stray, &local) == EFAULT);
    return NULL;
}

static void escape_from_a_shared_home(void)
{
    on_a_shared_home(lets_a_pointer_escape);
}

START_TEST(an_escape_is_refused_in_words_that_say_the_cure)
{
    ends_well(escape_from_a_shared_home);
    said("'escaper'");
    said("VTHREAD_STACK_OWN");
}
END_TEST

/* ---- Hogs --------------------------------------------------------------- */

static void *hogs(void *arg)
{
    vthread_t other;
    vthread_scheduler_stats_t stats;
    expect(vthread_create(&other, NULL, parks, NULL) == 0);
    do
        vthread_scheduler_stats(vthread_scheduler_default(), &stats);
    while (stats.hogs == 0);
    vthread_unpark(other);
    vthread_join(other, NULL);
    return arg;
}

static void hog_one_carrier(void)
{
    setenv("VTHREAD_PARALLELISM", "1", 1);
    setenv("VTHREAD_HOG_MS", "1", 1);
    vthread_join(child_start("hog", hogs, NULL), NULL);
}

static void hog_and_report(void)
{
    setenv("VTHREAD_REPORT", "hogs", 1);
    hog_one_carrier();
}

START_TEST(a_hog_is_told_by_name_and_function_to_who_asks)
{
    ends_well(hog_and_report);
    said("'hog'");
    said("misuse_test+0x");
    said("vthread_yield");
    ends_well(hog_one_carrier);
    ck_assert_ptr_null(strstr(text, "hog"));
}
END_TEST

static vthread_scheduler_t *pair;
static atomic_int is_mounted;

/* Until it has been seen itself: on a machine that is busy others are seen to
 * hold the home as well, for as long as the system does not run them. */
static void *holds(void *arg)
{
    atomic_store(&is_mounted, 1);
    while (entry_counts_of(holds).homes_held == 0)
        ;
    return arg;
}

static void hold_a_home(void)
{
    vthread_t parked[64], holder;
    vthread_scheduler_attr_t two = {.parallelism = 2};
    setenv("VTHREAD_FREEZE", "lazy", 1);
    setenv("VTHREAD_OWN_LIMIT", "0", 1);
    setenv("VTHREAD_COMMON_HOMES", "1", 1);
    setenv("VTHREAD_HOG_MS", "1", 1);
    setenv("VTHREAD_REPORT", "hogs", 1);
    expect(vthread_scheduler_create(&pair, &two) == 0);
    vthread_attr_t attr = {.scheduler = pair};
    for (unsigned i = 0; i < COUNT_OF(parked); i++)
        expect(vthread_create(&parked[i], &attr, parks, NULL) == 0);
    for (unsigned i = 0; i < COUNT_OF(parked); i++)
        until_waiting(parked[i]);
    attr.name = "holder";
    expect(vthread_create(&holder, &attr, holds, NULL) == 0);
    until(&is_mounted);
    for (unsigned i = 0; i < COUNT_OF(parked); i++)
        vthread_unpark(parked[i]);
    vthread_join(holder, NULL);
    for (unsigned i = 0; i < COUNT_OF(parked); i++)
        vthread_join(parked[i], NULL);
}

/* How many lines of what was said have both. */
static unsigned lines_with(const char *one, const char *other)
{
    unsigned count = 0;
    char *rest, *line = strtok_r(text, "\n", &rest);
    for (; line; line = strtok_r(NULL, "\n", &rest))
        count += strstr(line, one) && strstr(line, other);
    return count;
}

START_TEST(one_who_holds_a_common_home_is_told_once_with_the_cure)
{
    ends_well(hold_a_home);
    said("VTHREAD_STACK_OWN");
    ck_assert_uint_eq(lines_with("HOME_HELD", "'holder'"), 1);
}
END_TEST

/* ---- The suite ---------------------------------------------------------- */

int main(void)
{
    Suite *suite = suite_create("misuse");
    TCase *cases = new_case(suite, "stacks");
    tcase_add_test(cases, an_overflow_names_the_thread_its_size_and_frames);
    tcase_add_test(cases, an_overflow_of_a_common_home_is_told_too);
    tcase_add_test(cases, an_overflow_of_a_large_stack_is_told_too);
    tcase_add_test(cases, an_overflow_inside_of_a_yield_is_told_too);
    tcase_add_test(cases, an_overflow_of_a_bare_continuation_is_told_too);
    tcase_add_test(cases, a_fault_of_the_program_takes_its_course);
    cases = new_case(suite, "pointers");
    tcase_add_test(cases, guard_mode_names_both_threads_of_a_stray_access);
    tcase_add_test(cases, guard_mode_catches_platform_threads_too);
    tcase_add_test(cases, eager_mode_notices_a_write_to_a_vacated_stack);
    tcase_add_test(cases, eager_mode_hides_the_locals_of_a_parked_thread);
    tcase_add_test(cases, eager_mode_notices_a_write_to_frozen_frames);
    tcase_add_test(cases, an_escape_is_refused_in_words_that_say_the_cure);
    tcase_add_test(cases, a_hog_is_told_by_name_and_function_to_who_asks);
    tcase_add_test(cases,
                   one_who_holds_a_common_home_is_told_once_with_the_cure);
    return run_suite(suite);
}
