/*
 * misuse_test.c - what goes wrong goes wrong in words.
 *
 * Each fault is made in a child process, which has the library to itself;
 * the claim is about how the child ends and what it says.  Children do not
 * use check: they exit with a line number, or abort.
 */
#include <errno.h>
#include <signal.h>
#include <spawn.h>

#include "platform/memory.h"
#include "platform/os_thread.h"
#include "tests/threads.h"

extern char **environ;

static char text[1 << 16];

/* In a child: the claim does not hold. */
#define expect(claim)                                                        \
    do {                                                                     \
        if (!(claim)) {                                                      \
            fprintf(stderr, "line %d: not so: %s\n", __LINE__, #claim);      \
            _exit(1);                                                        \
        }                                                                    \
    } while (0)

static void ends_well(void (*fn)(void))
{
    int status = end_of_child(fn, text, sizeof text);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
                  "ended with status %#x, saying:\n%.2000s", status, text);
}

static void aborts(void (*fn)(void))
{
    int status = end_of_child(fn, text, sizeof text);
    ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
                  "ended with status %#x, saying:\n%.2000s", status, text);
}

static void said(const char *words)
{
    ck_assert_msg(strstr(text, words) != NULL,
                  "\"%s\" is not in:\n%.2000s", words, text);
}

/* As `start`, in a child. */
static vthread_t child_start(const char *name, void *(*fn)(void *), void *arg)
{
    vthread_t t;
    vthread_attr_t attr = {.name = name};
    expect(vthread_create(&t, &attr, fn, arg) == 0);
    return t;
}

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
    ck_assert_uint_ge(frames, 5);
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

static void *parks(void *arg)
{
    vthread_park();
    return arg;
}

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
    setenv("VTHREAD_FREEZE", "lazy", 1);
    setenv("VTHREAD_OWN_LIMIT", "0", 1);
    setenv("VTHREAD_COMMON_HOMES", "1", 1);
    setenv("VTHREAD_PARALLELISM", "1", 1);
    for (int i = 0; i < 100; i++)
        until_waiting(child_start("crowd", parks, NULL));
    vthread_join(child_start("escaper", lets_a_pointer_escape, NULL), NULL);
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

static void *holds(void *arg)
{
    vthread_scheduler_stats_t stats;
    atomic_store(&is_mounted, 1);
    do
        vthread_scheduler_stats(pair, &stats);
    while (stats.homes_held == 0);
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

START_TEST(one_who_holds_a_common_home_is_told_once_with_the_cure)
{
    ends_well(hold_a_home);
    said("HOME_HELD");
    said("'holder'");
    said("VTHREAD_STACK_OWN");
    const char *first = strstr(text, "HOME_HELD");
    ck_assert_ptr_null(strstr(first + 1, "HOME_HELD"));
}
END_TEST

/* ---- Fork --------------------------------------------------------------- */

static vthread_t parked;
static vthread_scheduler_t *scheduler;

static void calls(int which)
{
    vthread_scheduler_t *s;
    vthread_scheduler_stats_t stats;
    vthread_continuation_t *c;
    switch (which) {
    case 0:
        vthread_create(NULL, NULL, parks, NULL);
        break;
    case 1:
        vthread_join(parked, NULL);
        break;
    case 2:
        vthread_unpark(parked);
        break;
    case 3:
        vthread_interrupt(parked);
        break;
    case 4:
        vthread_park_until(vthread_after(VTHREAD_MS));
        break;
    case 5:
        vthread_sleep(VTHREAD_MS);
        break;
    case 6:
        vthread_self();
        break;
    case 7:
        vthread_scheduler_create(&s, NULL);
        break;
    case 8:
        vthread_scheduler_shutdown(scheduler, VTHREAD_NEVER);
        break;
    case 9:
        vthread_detach(parked);
        break;
    case 10:
        vthread_yield();
        break;
    case 11:
        vthread_scheduler_stats(scheduler, &stats);
        break;
    case 12:
        vthread_continuation_create(&c, NULL, digs_bare, NULL);
        break;
    }
}

static int call_number;

static void use_after_fork(void)
{
    int status;
    parked = child_start("parked", parks, NULL);
    until_waiting(parked);
    scheduler = vthread_scheduler_default();
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        calls(call_number);
        _exit(0);
    }
    expect(waitpid(child, &status, 0) == child);
    expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    /* The parent goes on as if nothing had been. */
    expect(vthread_unpark(parked) == 0);
    expect(vthread_join(parked, NULL) == 0);
}

START_TEST(a_call_in_a_forked_child_aborts_in_words)
{
    call_number = _i;
    ends_well(use_after_fork);
    said("forked child");
}
END_TEST

static void exec_true(void)
{
    execl("/bin/true", "true", (char *)NULL);
    _exit(1);
}

static void *forks_and_execs(void *arg)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        exec_true();
    expect(waitpid(child, &status, 0) == child && status == 0);
    /* So do those who do it for us. */
    char *argv[] = {"true", NULL};
    expect(posix_spawn(&child, "/bin/true", NULL, NULL, argv, environ) == 0);
    expect(waitpid(child, &status, 0) == child && status == 0);
    return arg;
}

static void exec_after_fork(void)
{
    vthread_join(child_start("forker", forks_and_execs, NULL), NULL);
    forks_and_execs(NULL);
    vthread_t t = child_start("after", parks, NULL);
    vthread_unpark(t);
    expect(vthread_join(t, NULL) == 0);
}

START_TEST(a_forked_child_may_exec)
{
    ends_well(exec_after_fork);
}
END_TEST

/* ---- Out of memory ------------------------------------------------------ */

static unsigned long fail_at;

static bool is_honest(int err)
{
    return err == 0 || err == ENOMEM || err == EAGAIN;
}

/* Deep enough for an external chunk. */
__attribute__((noinline)) static uintptr_t sum_deep(unsigned depth)
{
    volatile uintptr_t space[16];
    for (unsigned i = 0; i < 16; i++)
        space[i] = i;
    uintptr_t below = depth ? sum_deep(depth - 1) : 0;
    vthread_yield();
    for (unsigned i = 0; i < 16; i++)
        below += space[i];
    return below;
}

static void *sums(void *arg)
{
    return pointer(sum_deep((unsigned)(uintptr_t)arg));
}

static void bare_yields(void *arg)
{
    int err = vthread_continuation_yield(NULL);
    expect(err == 0 || err == ENOMEM);
    *(int *)arg += 1;
}

static void work_bare(void)
{
    vthread_continuation_t *c;
    static int ends;
    int err = vthread_continuation_create(&c, NULL, bare_yields, &ends);
    expect(err == 0 || err == ENOMEM);
    if (err != 0)
        return;
    for (int i = 0; i < 4 && !vthread_continuation_is_done(c); i++) {
        err = vthread_continuation_run(c);
        expect(err == 0 || err == ENOMEM);
    }
    expect(err != 0 || ends == 1);
    expect(vthread_continuation_destroy(c) == 0);
}

static void work_threads(vthread_scheduler_t *s)
{
    vthread_t threads[60];
    void *result;
    for (unsigned i = 0; i < COUNT_OF(threads); i++) {
        vthread_attr_t attr = {
            .scheduler = s,
            .name = i % 3 ? NULL : "named",
            .flags = i % 5 ? 0 : VTHREAD_STACK_OWN,
            .stack_size_bytes = i % 7 ? 0 : 512 << 10,
        };
        threads[i] = 0;
        int err = vthread_create(&threads[i], &attr, sums, pointer(i % 9));
        expect(is_honest(err));
        expect((err == 0) == (threads[i] != 0));
    }
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        if (threads[i] != 0) {
            expect(vthread_join(threads[i], &result) == 0);
            expect(result == pointer((i % 9 + 1) * 120));
        }
}

static void work_without_memory(void)
{
    vthread_scheduler_t *s = NULL;
    setenv("VTHREAD_FREEZE", "lazy", 1);
    setenv("VTHREAD_OWN_LIMIT", "4", 1);
    setenv("VTHREAD_COMMON_HOMES", "1", 1);
    setenv("VTHREAD_PARALLELISM", "2", 1);
    memory_fail_after(fail_at);
    work_bare();
    int err = vthread_scheduler_create(&s, NULL);
    expect(is_honest(err));
    if (err == 0)
        work_threads(s);
    work_threads(NULL);
    if (err == 0)
        expect(vthread_scheduler_shutdown(s, VTHREAD_NEVER) == 0);
    /* When there is memory again, all is well. */
    memory_fail_after(0);
    work_threads(NULL);
}

START_TEST(the_nth_allocation_may_fail)
{
    unsigned long dense = UNDER_SANITIZER ? 7 : 1; /* they are slow to end */
    for (fail_at = 1; fail_at <= 120; fail_at += fail_at < 70 ? dense : 11)
        ends_well(work_without_memory);
}
END_TEST

/* ---- No OS thread to be had --------------------------------------------- */

static unsigned long fail_thread_at;

static void work_without_first_threads(void)
{
    vthread_t t = 42;
    vthread_scheduler_t *s;
    os_thread_fail_after(fail_thread_at);
    expect(vthread_create(&t, NULL, parks, NULL) == EAGAIN);
    expect(t == 42);
    expect(vthread_scheduler_create(&s, NULL) == EAGAIN);
    expect(vthread_scheduler_default() == NULL);
    os_thread_fail_after(0);
    expect(vthread_create(&t, NULL, parks, NULL) == 0);
    expect(vthread_unpark(t) == 0);
    expect(vthread_join(t, NULL) == 0);
}

START_TEST(without_a_first_os_thread_create_says_so)
{
    for (fail_thread_at = 1; fail_thread_at <= 1; fail_thread_at++)
        ends_well(work_without_first_threads);
}
END_TEST

static void work_with_few_threads(void)
{
    vthread_scheduler_t *s;
    vthread_scheduler_attr_t attr = {.parallelism = 8};
    os_thread_fail_after(fail_thread_at);
    int err = vthread_scheduler_create(&s, &attr);
    expect(err == 0 || (err == EAGAIN && fail_thread_at <= 2));
    if (err != 0)
        return;
    work_threads(s);
    os_thread_fail_after(0);
    work_threads(s);
    expect(vthread_scheduler_shutdown(s, VTHREAD_NEVER) == 0);
}

START_TEST(it_goes_on_with_the_carriers_it_has)
{
    for (fail_thread_at = 1; fail_thread_at <= 8; fail_thread_at++)
        ends_well(work_with_few_threads);
}
END_TEST

static void *waits_pinned(void *arg)
{
    vthread_pin();
    vthread_park_until(vthread_after(5 * VTHREAD_MS));
    vthread_unpin();
    return arg;
}

static void pin_without_spare_carriers(void)
{
    vthread_scheduler_t *s;
    vthread_scheduler_attr_t attr = {.parallelism = 1};
    expect(vthread_scheduler_create(&s, &attr) == 0);
    os_thread_fail_after(1);
    vthread_t t[4];
    for (int i = 0; i < 4; i++) {
        vthread_attr_t ta = {.scheduler = s};
        expect(vthread_create(&t[i], &ta, waits_pinned, NULL) == 0);
    }
    for (int i = 0; i < 4; i++)
        expect(vthread_join(t[i], NULL) == 0);
    expect(vthread_scheduler_shutdown(s, VTHREAD_NEVER) == 0);
}

START_TEST(a_pinned_wait_without_a_spare_carrier_ends_all_the_same)
{
    ends_well(pin_without_spare_carriers);
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
    cases = new_case(suite, "fork");
    tcase_add_loop_test(cases, a_call_in_a_forked_child_aborts_in_words, 0,
                        13);
    tcase_add_test(cases, a_forked_child_may_exec);
    cases = new_case(suite, "resources");
    tcase_add_test(cases, the_nth_allocation_may_fail);
    tcase_add_test(cases, without_a_first_os_thread_create_says_so);
    tcase_add_test(cases, it_goes_on_with_the_carriers_it_has);
    tcase_add_test(cases,
                   a_pinned_wait_without_a_spare_carrier_ends_all_the_same);
    return run_suite(suite);
}
