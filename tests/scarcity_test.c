/*
 * scarcity_test.c - no memory, and no OS thread to be had: an honest error,
 * and all is well when there is one again.
 */
#include <errno.h>

#include "inspect/no_home.h"
#include "platform/memory.h"
#include "platform/os_thread.h"
#include "tests/children.h"

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

/* More than come with the first stack. */
enum { OWNERS = 100 };

static void *starts_owners_without_memory(void *arg)
{
    vthread_t *owners = arg;
    for (int i = 0; i < OWNERS; i++)
        expect(vthread_create(&owners[i], NULL, parks, NULL) == 0);
    memory_fail_after(1); /* before they run: there is one carrier */
    return NULL;
}

static void work_without_stacks(void)
{
    static vthread_t owners[OWNERS];
    setenv("VTHREAD_FREEZE", "guard", 1);
    setenv("VTHREAD_PARALLELISM", "1", 1);
    vthread_t t;
    expect(vthread_create(&t, NULL, starts_owners_without_memory, owners)
           == 0);
    expect(vthread_join(t, NULL) == 0);
    while (!no_home_is_told())
        usleep(1000);
    memory_fail_after(0);
    for (int i = 0; i < OWNERS; i++) {
        expect(vthread_unpark(owners[i]) == 0);
        expect(vthread_join(owners[i], NULL) == 0);
    }
}

START_TEST(that_no_stack_can_be_had_is_told)
{
    ends_well(work_without_stacks);
    said("has to wait for a stack");
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

int main(void)
{
    Suite *suite = suite_create("scarcity");
    TCase *cases = new_case(suite, "scarcity");
    tcase_add_test(cases, the_nth_allocation_may_fail);
    tcase_add_test(cases, that_no_stack_can_be_had_is_told);
    tcase_add_test(cases, without_a_first_os_thread_create_says_so);
    tcase_add_test(cases, it_goes_on_with_the_carriers_it_has);
    tcase_add_test(cases,
                   a_pinned_wait_without_a_spare_carrier_ends_all_the_same);
    return run_suite(suite);
}
