/*
 * call_detached_test.c - detached calls: what is copied and what is refused;
 * taken back, abandoned, and without memory or OS threads.
 */
#include <semaphore.h>

#include "call/offload.h"
#include "call/signature.h"
#include "inspect/deadlock.h"
#include "platform/memory.h"
#include "platform/os_thread.h"
#include "tests/calls.h"
#include "tests/children.h"
#include "tests/random.h"

static struct calls_gate gate;

/* ---- What is copied ----------------------------------------------------- */

struct sides { char *left; long number; char *right; };

static int work_on(const char *in, size_t in_size, char *out, char *inout,
                   const char *name, struct sides sides)
{
    if (memcmp(in, "inside", in_size) != 0 || strcmp(inout, "before") != 0
        || strcmp(name, "name") != 0 || sides.left || !sides.right)
        return -1;
    memcpy(out, "out", 4);
    memcpy(inout, "after", 6);
    errno = ERANGE;
    return 7;
}

static const vthread_call_pointer_t work_pointers[] = {
    {.argument = 0, .direction = VTHREAD_CALL_IN, .size_argument = 1},
    {.argument = 2, .direction = VTHREAD_CALL_OUT, .size_bytes = 8},
    {.argument = 3, .direction = VTHREAD_CALL_INOUT, .size_bytes = 7},
};

static void *locals_are_copied(void *site)
{
    for (int i = 0; i < 50; i++) {
        char in[6] = "inside", out[9] = "xxxxxxxx", inout[7] = "before";
        char word[5] = "name", *places[] = {in, out, inout, word};
        size_t size = sizeof in;
        int result = 0, error = 0;
        static char side;
        struct sides sides = {NULL, i, &side};
        void *args[] = {&places[0], &size, &places[1],
                        &places[2], &places[3], &sides};
        ck_assert_int_eq(
            vthread_call(site, FN(work_on), &result, args, &error), 0);
        ck_assert_int_eq(result, 7);
        ck_assert_int_eq(error, ERANGE);
        ck_assert_mem_eq(in, "inside", 6);
        ck_assert_mem_eq(out, "out\0\0\0\0\0", 9);
        ck_assert_str_eq(inout, "after");
        ck_assert_str_eq(word, "name");
    }
    return NULL;
}

START_TEST(declared_locals_are_copied_in_and_out)
{
    static vthread_call_site_t site = {
        .signature = "i(pzpps{plp})",
        .policy = VTHREAD_CALL_DETACHED,
        .pointers = work_pointers,
        .pointer_count = COUNT_OF(work_pointers),
    };
    vthread_t threads[20];
    set_mode("VTHREAD_OWN_LIMIT", "0");
    set_mode("VTHREAD_COMMON_HOMES", "1");
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start(locals_are_copied, &site);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    locals_are_copied(&site);
}
END_TEST

static long where(void)
{
    return os_thread();
}

static void *is_made_elsewhere(void *arg)
{
    vthread_call_site_t site = {.signature = "l()",
                                .policy = VTHREAD_CALL_DETACHED};
    long there = 0;
    ck_assert_int_eq(vthread_call(&site, FN(where), &there, NULL, NULL), 0);
    ck_assert_int_ne(there, os_thread());
    ck_assert_int_ne(there, 0);
    return arg;
}

START_TEST(it_is_made_by_an_os_thread_of_the_pool)
{
    on_both_kinds(is_made_elsewhere);
}
END_TEST

static bool is_null(const char *p, const char *s)
{
    return !p && !s;
}

static void *passes_null(void *arg)
{
    static const vthread_call_pointer_t pointer = {
        .direction = VTHREAD_CALL_INOUT, .size_bytes = 100};
    vthread_call_site_t site = {.signature = "b(ps)",
                                .policy = VTHREAD_CALL_DETACHED,
                                .pointers = &pointer,
                                .pointer_count = 1};
    char *null = NULL;
    bool result = false;
    void *args[] = {&null, &null};
    ck_assert_int_eq(vthread_call(&site, FN(is_null), &result, args, NULL),
                     0);
    ck_assert(result);
    return arg;
}

START_TEST(null_stays_null)
{
    on_both_kinds(passes_null);
}
END_TEST

/* A size that no memory has is no crash. */
START_TEST(a_size_beyond_all_memory_is_refused)
{
    static const vthread_call_pointer_t pointer = {
        .direction = VTHREAD_CALL_IN, .size_argument = 1};
    vthread_call_site_t site = {.signature = "b(pt)",
                                .policy = VTHREAD_CALL_DETACHED,
                                .pointers = &pointer,
                                .pointer_count = 1};
    char byte, *place = &byte;
    ptrdiff_t size = -1;
    void *args[] = {&place, &size};
    ck_assert_int_eq(vthread_call(&site, FN(is_null), NULL, args, NULL),
                     ENOMEM);
    if (UNDER_SANITIZER) /* which would rather end the process */
        return;
    size = PTRDIFF_MAX;
    ck_assert_int_eq(vthread_call(&site, FN(is_null), NULL, args, NULL),
                     ENOMEM);
}
END_TEST

/* ---- What is refused ---------------------------------------------------- */

static int never(void)
{
    abort();
}

static void *passes_a_local(void *arg)
{
    static vthread_call_site_t site = {.signature = "i(ip)",
                                       .policy = VTHREAD_CALL_DETACHED};
    static vthread_call_site_t hidden = {.signature = "i({c{lp}})",
                                         .policy = VTHREAD_CALL_DETACHED};
    int i = 0, *place = &i;
    struct { char c; struct { long l; int *p; } inner; } value;
    memset(&value, 0, sizeof value);
    value.inner.p = &i;
    void *args[] = {&i, &place}, *hidden_args[] = {&value};
    for (int n = 0; n < 3; n++) {
        expect(vthread_call(&site, FN(never), NULL, args, NULL) == EFAULT);
        expect(vthread_call(&hidden, FN(never), NULL, hidden_args, NULL)
               == EFAULT);
    }
    return arg;
}

static void passes_locals(void)
{
    passes_a_local(NULL); /* a platform thread */
    vthread_join(child_start("passer", passes_a_local, NULL), NULL);
}

static void passes_locals_on_a_shared_home(void)
{
    on_a_shared_home(passes_a_local);
}

START_TEST(an_address_of_a_local_is_refused_in_words)
{
    ends_well(passes_locals);
    said("platform thread");
    said("as argument 1 of a detached call");
    said("as argument 0 of a detached call");
    said("Declare the argument");
    const char *first = strstr(text, "as argument 1");
    ck_assert_ptr_null(strstr(first + 1, "as argument 1"));
    ends_well(passes_locals_on_a_shared_home);
    said("'escaper'");
}
END_TEST

static void passes_a_local_to_its_maker(void *arg)
{
    passes_a_local(arg);
}

static void in_a_generator(void)
{
    vthread_continuation_t *c;
    expect(vthread_continuation_create(&c, NULL, passes_a_local_to_its_maker,
                                       NULL)
           == 0);
    expect(vthread_continuation_run(c) == 0);
}

START_TEST(that_of_a_generator_is_refused_too)
{
    ends_well(in_a_generator);
}
END_TEST

/* ---- Taken back, abandoned ---------------------------------------------- */

static int passes_gate(struct calls_gate *g, atomic_int *result)
{
    int value = calls_pass(g);
    atomic_store(result, value);
    return value;
}

static atomic_int abandoned_result;

/* Its own signature: who uses it is counted. */
static vthread_signature_t *counted(void)
{
    static vthread_signature_t *s;
    ffi_type *types[] = {&ffi_type_pointer, &ffi_type_pointer};
    if (!s)
        ck_assert_int_eq(
            vthread_signature_create(&s, &ffi_type_sint, 2, 2, types, NULL),
            0);
    return s;
}

static void until_no_request_is_left(void)
{
    while (atomic_load(&counted()->users) > 1)
        sched_yield();
}

struct attempt {
    vthread_call_site_t site;
    uint64_t deadline_ns;
    int err, result, error;
};

static void *attempts(void *arg)
{
    struct attempt *a = arg;
    struct calls_gate *g = &gate;
    atomic_int *place = &abandoned_result;
    void *args[] = {&g, &place};
    a->err = vthread_call_until(&a->site, FN(passes_gate), &a->result, args,
                                &a->error, a->deadline_ns);
    return NULL;
}

static struct attempt attempt_until(uint64_t deadline_ns)
{
    return (struct attempt){.site = {.prepared = counted(),
                                     .policy = VTHREAD_CALL_DETACHED},
                            .deadline_ns = deadline_ns,
                            .err = -1,
                            .result = -2,
                            .error = -3};
}

static void is_untouched(const struct attempt *a, int err)
{
    ck_assert_int_eq(a->err, err);
    ck_assert_int_eq(a->result, -2);
    ck_assert_int_eq(a->error, -3);
}

START_TEST(a_running_call_is_abandoned_by_a_cancelled_caller)
{
    struct attempt a = attempt_until(VTHREAD_NEVER);
    vthread_t t = start(attempts, &a);
    calls_until(&gate.begun, 1);
    until_waiting(t);
    vthread_interrupt(t);
    join(t);
    is_untouched(&a, ECANCELED);
    ck_assert_uint_eq(atomic_load(&counted()->users), 2);
    atomic_store(&gate.is_open, 1);
    until_no_request_is_left();
    ck_assert_int_eq(atomic_load(&gate.ended), 1);
    ck_assert_int_eq(atomic_load(&abandoned_result), 42);
}
END_TEST

START_TEST(a_running_call_is_abandoned_at_the_deadline)
{
    struct attempt a = attempt_until(vthread_after(20 * VTHREAD_MS));
    pthread_t t = start_platform(attempts, &a);
    join_platform(t);
    is_untouched(&a, ETIMEDOUT);
    atomic_store(&gate.is_open, 1);
    until_no_request_is_left();
}
END_TEST

/* One OS thread, which is busy. */
static vthread_t occupy(struct attempt *a)
{
    setenv("VTHREAD_CALL_THREADS", "1", 1);
    *a = attempt_until(VTHREAD_NEVER);
    vthread_t t = start(attempts, a);
    calls_until(&gate.begun, 1);
    return t;
}

static void release(struct attempt *a, vthread_t t)
{
    atomic_store(&gate.is_open, 1);
    join(t);
    ck_assert_int_eq(a->err, 0);
    ck_assert_int_eq(a->result, 42);
    until_no_request_is_left();
}

START_TEST(a_queued_call_is_taken_back_by_a_cancelled_caller)
{
    struct attempt busy, a = attempt_until(VTHREAD_NEVER);
    vthread_t first = occupy(&busy), t = start(attempts, &a);
    until_waiting(t);
    ck_assert_uint_eq(offload_counts().queued, 1);
    vthread_interrupt(t);
    join(t);
    is_untouched(&a, ECANCELED);
    ck_assert_uint_eq(offload_counts().queued, 0);
    release(&busy, first);
    ck_assert_int_eq(atomic_load(&gate.begun), 1);
}
END_TEST

START_TEST(a_queued_call_is_taken_back_at_the_deadline)
{
    struct attempt busy, a = attempt_until(vthread_after(10 * VTHREAD_MS));
    vthread_t first = occupy(&busy), t = start(attempts, &a);
    join(t);
    is_untouched(&a, ETIMEDOUT);
    ck_assert_uint_eq(offload_counts().queued, 0);
    release(&busy, first);
    ck_assert_int_eq(atomic_load(&gate.begun), 1);
}
END_TEST

START_TEST(who_does_not_wait_is_refused_when_the_pool_is_full)
{
    struct attempt busy, a = attempt_until(VTHREAD_NEVER);
    a.site.flags = VTHREAD_CALL_NOWAIT;
    vthread_t first = occupy(&busy);
    attempts(&a);
    is_untouched(&a, EAGAIN);
    release(&busy, first);
    ck_assert_int_eq(atomic_load(&gate.begun), 1);
}
END_TEST

static void *is_cancelled_before(void *arg)
{
    struct attempt *a = arg;
    vthread_interrupt(vthread_self());
    attempts(a);
    ck_assert_int_eq(vthread_testcancel(), 0);
    return NULL;
}

START_TEST(what_would_end_the_wait_before_it_begins_prevents_the_call)
{
    struct attempt late = attempt_until(1),
                   cancelled = attempt_until(VTHREAD_NEVER);
    attempts(&late);
    is_untouched(&late, ETIMEDOUT);
    join(start(is_cancelled_before, &cancelled));
    is_untouched(&cancelled, ECANCELED);
    ck_assert_int_eq(atomic_load(&gate.begun), 0);
    ck_assert_uint_eq(offload_counts().started, 0);
}
END_TEST

/* ---- By chance ---------------------------------------------------------- */

static atomic_int made, given_up;
static uint64_t seed;
static int enough;

static sem_t gone;

/* May cancel its caller itself, and goes on when some caller has gone. */
static int three(int *counter, void *caller)
{
    if (caller) {
        vthread_interrupt((vthread_t)(uintptr_t)caller);
        while (sem_wait(&gone) != 0)
            continue;
    }
    atomic_fetch_add((atomic_int *)counter, 1);
    errno = 0; /* musl's sem_wait sets it though all is well */
    return 3;
}

/* Whether it was given up. */
static bool calls_once_by_chance(struct thread *self, struct random *random,
                                 vthread_call_site_t *site)
{
    atomic_int *counter = &made;
    void *caller = NULL, *args[] = {&counter, &caller};
    int result = -2, error = -3;
    uint64_t kind = random_below(random, 8);
    uint64_t deadline_ns = VTHREAD_NEVER;
    if (kind == 0)
        deadline_ns = vthread_after(1 + random_below(random, 20000));
    else if (kind == 1)
        thread_cancel_at_wait(self, 1, THREAD_INTERRUPT);
    else if (kind > 2)
        caller = pointer(vthread_self());
    int err = vthread_call_until(site, FN(three), &result, args, &error,
                                 deadline_ns);
    thread_cancel_at_wait(self, 0, 0);
    vthread_testcancel();
    ck_assert(err == 0 || err == ECANCELED || err == ETIMEDOUT);
    ck_assert_int_eq(result, err == 0 ? 3 : -2);
    ck_assert_int_eq(error, err == 0 ? 0 : -3);
    return err != 0;
}

static void *calls_by_chance(void *arg)
{
    struct random random = {seed + vthread_self()};
    vthread_call_site_t site = {.prepared = counted(),
                                .policy = VTHREAD_CALL_DETACHED};
    while (atomic_load(&given_up) < enough)
        if (calls_once_by_chance(thread_self(), &random, &site)) {
            atomic_fetch_add(&given_up, 1);
            sem_post(&gone);
        }
    return arg;
}

static long resident_bytes(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fscanf(f, "%*d %ld", &pages), 1);
    fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

START_TEST(calls_given_up_at_any_stage_leave_nothing)
{
    struct random random = random_start("call_detached_test");
    vthread_t threads[20];
    bool is_slow = UNDER_SANITIZER || sanitizer_is_valgrind;
    int many = (int)how_often(10000, 1000000);
    seed = random.state;
    setenv("VTHREAD_CALL_THREADS", "4", 1);
    counted();
    sem_init(&gone, 0, 0);
    enough = many / 50;
    join(start(calls_by_chance, NULL));
    long before_bytes = resident_bytes();
    enough = is_slow ? many / 25 : many;
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start(calls_by_chance, NULL);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    for (int i = 0; i < 4; i++)
        sem_post(&gone); /* who was not given up */
    until_no_request_is_left();
    /* A request has some 300 bytes. */
    if (!is_slow)
        ck_assert_int_le(resident_bytes(), before_bytes + many * 80);
}
END_TEST

/* ---- Scarcity ----------------------------------------------------------- */

START_TEST(without_an_os_thread_it_is_refused)
{
    struct attempt a = attempt_until(VTHREAD_NEVER);
    vthread_yield();
    os_thread_fail_after(1);
    attempts(&a);
    is_untouched(&a, ENOMEM);
    os_thread_fail_after(0);
    ck_assert_uint_eq(atomic_load(&counted()->users), 1);
    atomic_store(&gate.is_open, 1);
    attempts(&a);
    ck_assert_int_eq(a.err, 0);
}
END_TEST

START_TEST(with_one_os_thread_all_are_made)
{
    struct attempt all[50];
    vthread_t threads[COUNT_OF(all)];
    join(start(return_argument, NULL));
    struct attempt first = attempt_until(VTHREAD_NEVER);
    pthread_t t = start_platform(attempts, &first);
    calls_until(&gate.begun, 1);
    os_thread_fail_after(1);
    for (unsigned i = 0; i < COUNT_OF(all); i++) {
        all[i] = attempt_until(VTHREAD_NEVER);
        threads[i] = start(attempts, &all[i]);
    }
    atomic_store(&gate.is_open, 1);
    for (unsigned i = 0; i < COUNT_OF(all); i++) {
        join(threads[i]);
        ck_assert_int_eq(all[i].err, 0);
        ck_assert_int_eq(all[i].result, 42);
    }
    os_thread_fail_after(0);
    join_platform(t);
    ck_assert_uint_eq(offload_counts().started, 1);
}
END_TEST

static void *calls_without_memory(void *arg)
{
    int left = 30;
    atomic_store(&gate.is_open, 1);
    for (unsigned long n = 1; left > 0; n++, left--) {
        struct attempt a = attempt_until(VTHREAD_NEVER);
        memory_fail_after(n);
        attempts(&a);
        memory_fail_after(0);
        ck_assert(a.err == 0 || a.err == ENOMEM);
        if (a.err == ENOMEM)
            is_untouched(&a, ENOMEM);
        else
            ck_assert_int_eq(a.result, 42);
        if (a.err == ENOMEM)
            left = 30;
        until_no_request_is_left();
    }
    return arg;
}

START_TEST(each_allocation_may_fail)
{
    setenv("VTHREAD_FREEZE", "lazy", 1); /* guards need memory as well */
    counted();
    join(start(calls_without_memory, NULL));
}
END_TEST

/* ---- Deadlocks ---------------------------------------------------------- */

static int waits_for_looks(int count)
{
    uint64_t last = atomic_load(&deadlock_test.looks) + (uint64_t)count;
    while (atomic_load(&deadlock_test.looks) < last)
        usleep(1000);
    return count;
}

static void *calls_waits_for_looks(void *count)
{
    static vthread_call_site_t site = {.signature = "i(i)",
                                       .policy = VTHREAD_CALL_DETACHED};
    int looks = (int)(uintptr_t)count, result = 0;
    void *args[] = {&looks};
    expect(vthread_call(&site, FN(waits_for_looks), &result, args, NULL)
           == 0);
    return pointer((uintptr_t)result);
}

static void waits_for_a_call(void)
{
    void *result = NULL;
    setenv("VTHREAD_DEADLOCK", "exit", 1);
    atomic_store(&deadlock_test.is_restless, true);
    expect(vthread_join(child_start("caller", calls_waits_for_looks,
                                    pointer(5)),
                        &result)
           == 0);
    expect(result == pointer(5));
}

START_TEST(who_waits_for_a_call_is_in_no_deadlock)
{
    ends_well(waits_for_a_call);
}
END_TEST

static void waits_for_ever_after_a_call(void)
{
    setenv("VTHREAD_DEADLOCK", "exit", 1);
    setenv("VTHREAD_IDLE_MS", "0", 1);
    vthread_join(child_start("caller", calls_waits_for_looks, NULL), NULL);
    vthread_join(child_start("parker", parks, NULL), NULL);
}

START_TEST(os_threads_that_are_idle_hide_no_deadlock)
{
#if !defined __SANITIZE_THREAD__ /* it does not let such a process end */
    int status = end_of_child(waits_for_ever_after_a_call, text,
                              sizeof text);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 2,
                  "ended with status %#x, saying:\n%.2000s", status, text);
    said("'parker'");
#else
    (void)waits_for_ever_after_a_call;
#endif
}
END_TEST

/* ---- Many --------------------------------------------------------------- */

START_TEST(a_burst_of_10000_is_made_by_as_many_os_threads_as_allowed)
{
    enum { COUNT = 10000 };
    static struct attempt all[COUNT];
    static vthread_t threads[COUNT];
    setenv("VTHREAD_CALL_THREADS", "8", 1);
    for (unsigned i = 0; i < COUNT; i++) {
        all[i] = attempt_until(VTHREAD_NEVER);
        threads[i] = start(attempts, &all[i]);
    }
    calls_until(&gate.begun, 8);
    atomic_store(&gate.is_open, 1);
    for (unsigned i = 0; i < COUNT; i++) {
        join(threads[i]);
        ck_assert_int_eq(all[i].err, 0);
        ck_assert_int_eq(all[i].result, 42);
    }
    ck_assert_int_eq(atomic_load(&gate.ended), COUNT);
    ck_assert_uint_eq(offload_counts().started, 8);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("call_detached");
    if (!tests_fork()) {
        puts("each case needs a pool of its own: not without CK_FORK");
        return 0;
    }
    TCase *cases = new_case(suite, "arguments");
    tcase_add_test(cases, declared_locals_are_copied_in_and_out);
    tcase_add_test(cases, it_is_made_by_an_os_thread_of_the_pool);
    tcase_add_test(cases, null_stays_null);
    tcase_add_test(cases, a_size_beyond_all_memory_is_refused);
    tcase_add_test(cases, an_address_of_a_local_is_refused_in_words);
    tcase_add_test(cases, that_of_a_generator_is_refused_too);
    cases = new_case(suite, "ends");
    tcase_add_test(cases, a_running_call_is_abandoned_by_a_cancelled_caller);
    tcase_add_test(cases, a_running_call_is_abandoned_at_the_deadline);
    tcase_add_test(cases, a_queued_call_is_taken_back_by_a_cancelled_caller);
    tcase_add_test(cases, a_queued_call_is_taken_back_at_the_deadline);
    tcase_add_test(cases, who_does_not_wait_is_refused_when_the_pool_is_full);
    tcase_add_test(
        cases, what_would_end_the_wait_before_it_begins_prevents_the_call);
    cases = new_case(suite, "chance");
    if (number_from("STRESS", 0) > 0)
        tcase_set_timeout(cases, 600);
    tcase_add_test(cases, calls_given_up_at_any_stage_leave_nothing);
    cases = new_case(suite, "deadlocks");
    tcase_add_test(cases, who_waits_for_a_call_is_in_no_deadlock);
    tcase_add_test(cases, os_threads_that_are_idle_hide_no_deadlock);
    cases = new_case(suite, "scarcity");
    tcase_add_test(cases, without_an_os_thread_it_is_refused);
    tcase_add_test(cases, with_one_os_thread_all_are_made);
    tcase_add_test(cases, each_allocation_may_fail);
    tcase_add_test(cases,
                   a_burst_of_10000_is_made_by_as_many_os_threads_as_allowed);
    return run_suite(suite);
}
