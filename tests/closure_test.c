/*
 * closure_test.c - foreign code that calls back: on virtual threads, where it
 * may wait, on OS threads of its own, and in detached calls.
 */
#include "call/call.h"
#include "platform/memory.h"
#include "tests/calls.h"
#include "tests/random.h"

static vthread_signature_t *parsed(const char *text)
{
    vthread_signature_t *s = NULL;
    ck_assert_int_eq(vthread_signature_parse(&s, text, NULL), 0);
    return s;
}

struct upcall {
    vthread_closure_t *closure;
    void (*code)(void);
};

static struct upcall upcall_of(const char *text, vthread_closure_fn *fn,
                               void *user)
{
    struct upcall u = {NULL, NULL};
    ck_assert_int_eq(vthread_closure_create(&u.closure, &u.code, parsed(text),
                                            fn, user),
                     0);
    ck_assert_ptr_nonnull(u.closure);
    return u;
}

/* ---- Arguments and results ---------------------------------------------- */

struct pair { double x, y; };

static void adds(void *user, void *result, void *const args[])
{
    struct pair p = *(struct pair *)args[0];
    struct pair sum = {p.x + *(float *)args[1], p.y + *(short *)args[2]};
    *(struct pair *)result = sum;
    *(int *)user += 1;
}

START_TEST(arguments_and_result_are_those_of_the_signature)
{
    int calls = 0;
    struct upcall u = upcall_of("{dd}({dd}fh)", adds, &calls);
    struct pair (*fn)(struct pair, float, short) = (void *)u.code;
    struct pair sum = fn((struct pair){1, 2}, 0.5f, -3);
    ck_assert_double_eq(sum.x, 1.5);
    ck_assert_double_eq(sum.y, -1);
    ck_assert_int_eq(calls, 1);
    vthread_closure_destroy(u.closure);
    vthread_closure_destroy(NULL);
}
END_TEST

static void stores(void *user, void *result, void *const args[])
{
    (void)args;
    memcpy(result, (char *)user + 1, *(unsigned char *)user);
}

/* The bytes beside it in the register are those of the type. */
static long small_result(const char *text, unsigned char size, long value)
{
    char user[9] = {(char)size};
    memcpy(user + 1, &value, size);
    struct upcall u = upcall_of(text, stores, user);
    long (*fn)(void) = (void *)u.code;
    long result = fn();
    vthread_closure_destroy(u.closure);
    return result;
}

START_TEST(a_small_result_is_a_whole_one_to_the_caller)
{
    ck_assert_int_eq((int)small_result("c()", 1, -7), -7);
    ck_assert_int_eq((int)small_result("C()", 1, 200), 200);
    ck_assert_int_eq((int)small_result("h()", 2, -700), -700);
    ck_assert_int_eq((int)small_result("H()", 2, 65000), 65000);
    ck_assert_int_eq((int)small_result("i()", 4, -70000), -70000);
    ck_assert_int_eq(small_result("l()", 8, -7000000000), -7000000000);
}
END_TEST

START_TEST(what_is_no_closure_is_refused)
{
    struct upcall u = {NULL, NULL};
    ck_assert_int_eq(vthread_closure_create(&u.closure, &u.code, NULL, stores,
                                            NULL),
                     EINVAL);
    ck_assert_int_eq(vthread_closure_create(&u.closure, &u.code,
                                            parsed("i()"), NULL, NULL),
                     EINVAL);
    ck_assert_int_eq(vthread_closure_create(&u.closure, &u.code,
                                            parsed("i(i.i)"), stores, NULL),
                     EINVAL);
    ck_assert_int_eq(vthread_closure_create(NULL, &u.code, parsed("i()"),
                                            stores, NULL),
                     EINVAL);
    ck_assert_int_eq(vthread_closure_create(&u.closure, NULL, parsed("i()"),
                                            stores, NULL),
                     EINVAL);
    for (unsigned long n = 1; n <= 2; n++) {
        memory_fail_after(n);
        int err = vthread_closure_create(&u.closure, &u.code, parsed("i()"),
                                         stores, NULL);
        memory_fail_after(0);
        ck_assert_int_eq(err, ENOMEM);
    }
    ck_assert_ptr_null(u.closure);
}
END_TEST

/* ---- Waiting in an upcall ----------------------------------------------- */

static void compares(void *user, void *result, void *const args[])
{
    int a = **(int *const *)args[0], b = **(int *const *)args[1];
    if (user) {
        long mine = os_thread();
        if (a % 3 == 0)
            vthread_yield();
        if (a % 7 == 0)
            ck_assert_int_eq(vthread_sleep(20 * VTHREAD_US), 0);
        ck_assert_int_eq(os_thread(), mine);
    }
    *(int *)result = (a > b) - (a < b);
}

struct sorter {
    struct upcall upcall;
    vthread_call_site_t *site;
};

static void *sorts(void *arg)
{
    struct sorter *s = arg;
    struct random random = {os_thread() + vthread_self()};
    for (int round = 0; round < 3; round++) {
        int numbers[40], *place = numbers;
        size_t count = COUNT_OF(numbers), size = sizeof numbers[0];
        for (size_t i = 0; i < count; i++)
            numbers[i] = (int)random_below(&random, 1000);
        void *args[] = {&place, &count, &size, &s->upcall.code};
        ck_assert_int_eq(vthread_call(s->site, FN(qsort), NULL, args, NULL),
                         0);
        for (size_t i = 1; i < count; i++)
            ck_assert_int_le(numbers[i - 1], numbers[i]);
        ck_assert_ptr_null(call_local_self()->frame);
        ck_assert_uint_eq(thread_self()->continuation.pins, 0);
        vthread_yield();
    }
    return NULL;
}

static void many_sort(unsigned policy, void *waits, unsigned carriers)
{
    vthread_call_site_t site = {.signature = "v(pzzp)", .policy = policy};
    struct sorter s = {upcall_of("i(pp)", compares, waits), &site};
    vthread_t threads[12];
    vthread_scheduler_t *on = scheduler_of(carriers);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start_on(on, sorts, &s);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    shut_down(on);
    vthread_closure_destroy(s.upcall.closure);
}

START_TEST(upcalls_that_wait_stay_on_their_os_thread)
{
    for (unsigned policy = 0; policy < VTHREAD_CALL_DETACHED; policy++) {
        many_sort(policy, NULL, 1);
        many_sort(policy, &policy, 1);
        many_sort(policy, &policy, 2);
    }
}
END_TEST

static void *sorts_here(void *unused)
{
    static vthread_call_site_t site = {.signature = "v(pzzp)"};
    struct sorter s = {upcall_of("i(pp)", compares, &s), &site};
    sorts(&s);
    vthread_closure_destroy(s.upcall.closure);
    return unused;
}

START_TEST(upcalls_on_a_platform_thread_wait_in_the_kernel)
{
    on_both_kinds(sorts_here);
}
END_TEST

/* ---- The bracket -------------------------------------------------------- */

static vthread_call_site_t nested_site = {.signature = "i(pi)"};
static struct upcall nested;

static int calls_back(int (*fn)(int), int n)
{
    return fn(n) + 1;
}

/* Each upcall calls again, down to 0. */
static void goes_deeper(void *user, void *result, void *const args[])
{
    int n = *(int *)args[0], deeper = 0;
    (void)user;
    ck_assert_ptr_null(call_local_self()->frame);
    if (n > 0) {
        int next = n - 1;
        void *more[] = {&nested.code, &next};
        ck_assert_int_eq(vthread_call(&nested_site, FN(calls_back), &deeper,
                                      more, NULL),
                         0);
        vthread_yield();
    }
    ck_assert_ptr_null(call_local_self()->frame);
    *(int *)result = deeper + 10;
}

static void *nests(void *arg)
{
    for (int i = 0; i < 5; i++) {
        int depth = 6, result = 0;
        void *args[] = {&nested.code, &depth};
        vthread_call_site_t *site = arg;
        ck_assert_int_eq(
            vthread_call(site, FN(calls_back), &result, args, NULL), 0);
        ck_assert_int_eq(result, 7 * 11);
        vthread_yield();
        ck_assert_uint_eq(thread_self()->continuation.pins, 0);
    }
    return NULL;
}

START_TEST(calls_and_upcalls_nest)
{
    static vthread_call_site_t sites[3];
    vthread_t threads[9];
    nested = upcall_of("i(i)", goes_deeper, NULL);
    for (unsigned i = 0; i < 3; i++)
        sites[i] = (vthread_call_site_t){.signature = "i(pi)", .policy = i};
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start(nests, &sites[i % 3]);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    vthread_closure_destroy(nested.closure);
}
END_TEST

/* What an upcall takes is not the foreign function's time.  How long that is
 * the machine decides, so the upcall measures itself: what is learnt is at
 * most the call's time without that. */
static void sleeps_long(void *user, void *result, void *const args[])
{
    uint64_t begun_ns = vthread_now();
    vthread_sleep(2 * VTHREAD_MS);
    *(int *)result = *(int *)args[0];
    *(uint64_t *)user = vthread_now() - begun_ns;
}

static void *calls_back_slowly(void *site)
{
    uint64_t upcall_ns = 0;
    struct upcall u = upcall_of("i(i)", sleeps_long, &upcall_ns);
    int n = 5, result;
    void *args[] = {&u.code, &n};
    vthread_call_stats_t stats = {0};
    for (uint64_t i = 0; i < 4; i++) {
        uint64_t timed = stats.timed, begun_ns = vthread_now();
        ck_assert_int_eq(
            vthread_call(site, FN(calls_back), &result, args, NULL), 0);
        uint64_t others_ns = vthread_now() - begun_ns - upcall_ns;
        vthread_call_stats(site, &stats);
        /* Each of the first calls is timed, unless the monitor took it for a
         * long one; and after three of these it is one. */
        ck_assert_uint_eq(stats.timed + stats.taken_over, i + 1);
        if (stats.timed > timed)
            ck_assert_uint_le(stats.last_ns, others_ns);
    }
    ck_assert_uint_ge(stats.timed, 1);
    vthread_closure_destroy(u.closure);
    return NULL;
}

START_TEST(the_time_of_upcalls_is_not_learnt)
{
    static vthread_call_site_t site = {.signature = "i(pi)"};
    join(start(calls_back_slowly, &site));
}
END_TEST

static void clobbers_errno(void *user, void *result, void *const args[])
{
    (void)user, (void)args;
    vthread_yield();
    errno = EBADMSG;
    *(int *)result = 1;
}

static int looks_at_errno(int (*fn)(int), int n)
{
    errno = 0;
    fn(n);
    int after = errno;
    errno = EXDEV;
    return after;
}

static void *errno_passes(void *site)
{
    struct upcall u = upcall_of("i(i)", clobbers_errno, NULL);
    int n = 0, result = 0, error = 0;
    void *args[] = {&u.code, &n};
    ck_assert_int_eq(
        vthread_call(site, FN(looks_at_errno), &result, args, &error), 0);
    ck_assert_int_eq(result, EBADMSG);
    ck_assert_int_eq(error, EXDEV);
    vthread_closure_destroy(u.closure);
    return NULL;
}

START_TEST(errno_is_what_the_upcall_and_then_the_call_left)
{
    static vthread_call_site_t site = {.signature = "i(pi)"};
    for (int i = 0; i < 20; i++)
        join(start(errno_passes, &site));
    errno_passes(&site);
}
END_TEST

/* ---- OS threads of others ----------------------------------------------- */

static vthread_channel_t *channel;

static void sends(void *user, void *result, void *const args[])
{
    long number = *(long *)args[0];
    ck_assert(!user || !vthread_is_virtual());
    ck_assert_int_eq(vthread_channel_send(channel, &number), 0);
    *(int *)result = 1;
}

static void *foreign_main(void *code)
{
    int (*send)(long) = (int (*)(long))code;
    for (long i = 0; i < 100; i++)
        if (send(i) != 1)
            abort();
    return NULL;
}

/* A library with an OS thread of its own. */
static int runs_a_thread(void *code)
{
    pthread_t t;
    if (pthread_create(&t, NULL, foreign_main, code) != 0)
        return -1;
    return pthread_join(t, NULL);
}

static void *receives(void *unused)
{
    for (long i = 0; i < 100; i++) {
        long number = -1;
        ck_assert_int_eq(vthread_channel_receive(channel, &number), 0);
        ck_assert_int_eq(number, i);
    }
    return unused;
}

static void *calls_library(void *site)
{
    static int user;
    struct upcall u = upcall_of("i(l)", sends, &user);
    int result = -1;
    void *args[] = {&u.code};
    ck_assert_int_eq(
        vthread_call(site, FN(runs_a_thread), &result, args, NULL), 0);
    ck_assert_int_eq(result, 0);
    vthread_closure_destroy(u.closure);
    return NULL;
}

static void receives_from(vthread_call_site_t *site, void *(*caller)(void *))
{
    vthread_scheduler_t *s = scheduler_of(1);
    ck_assert_int_eq(vthread_channel_create(&channel, sizeof(long), 2), 0);
    vthread_t c = start_on(s, caller, site);
    vthread_t r = start_on(s, receives, NULL);
    join(c);
    join(r);
    shut_down(s);
    vthread_channel_destroy(channel);
}

START_TEST(an_os_thread_of_a_library_calls_back_as_a_platform_thread)
{
    vthread_call_site_t site = {.signature = "i(p)",
                                .policy = VTHREAD_CALL_BLOCKING};
    receives_from(&site, calls_library);
}
END_TEST

static void *calls_here(void *site)
{
    static int user;
    struct upcall u = upcall_of("i(l)", sends, &user);
    void *args[] = {&u.code};
    ck_assert_int_eq(vthread_call(site, FN(foreign_main), NULL, args, NULL),
                     0);
    vthread_closure_destroy(u.closure);
    return NULL;
}

START_TEST(a_detached_call_calls_back_as_a_platform_thread)
{
    vthread_call_site_t site = {.signature = "p(p)",
                                .policy = VTHREAD_CALL_DETACHED};
    receives_from(&site, calls_here);
}
END_TEST

/* ---- Lifetime ----------------------------------------------------------- */

START_TEST(a_closure_keeps_its_signature)
{
    ffi_type *types[] = {&ffi_type_pointer, &ffi_type_pointer};
    vthread_signature_t *s;
    struct upcall u;
    ck_assert_int_eq(
        vthread_signature_create(&s, &ffi_type_sint, 2, 2, types, NULL), 0);
    ck_assert_int_eq(
        vthread_closure_create(&u.closure, &u.code, s, compares, NULL), 0);
    vthread_signature_destroy(s);
    int numbers[] = {3, 1, 2};
    qsort(numbers, 3, sizeof numbers[0],
          (int (*)(const void *, const void *))u.code);
    ck_assert_int_eq(numbers[0], 1);
    ck_assert_int_eq(numbers[2], 3);
    vthread_closure_destroy(u.closure);
}
END_TEST

/* ---- Continuations ------------------------------------------------------ */

static const char scope[] = "scope";

static void yields(void *user, void *result, void *const args[])
{
    (void)args, (void)result;
    *(int *)user = vthread_continuation_yield(scope);
}

static void calls_fn(void (*fn)(void))
{
    fn();
}

/* Its frames belong to the call, whose end is awaited on this OS thread. */
static void is_called_back(void *policy)
{
    int yielded = 0;
    struct upcall u = upcall_of("v()", yields, &yielded);
    vthread_call_site_t site = {.signature = "v(p)",
                                .policy = *(unsigned *)policy};
    void *code = u.code, *args[] = {&code};
    ck_assert_int_eq(vthread_call(&site, FN(calls_fn), NULL, args, NULL), 0);
    ck_assert_int_eq(yielded, EBUSY);
    ck_assert_int_eq(vthread_continuation_yield(scope), 0);
    vthread_closure_destroy(u.closure);
}

static void *runs_one_that_is_called_back(void *arg)
{
    static unsigned policies[] = {VTHREAD_CALL_AUTO, VTHREAD_CALL_BLOCKING};
    for (unsigned i = 0; i < COUNT_OF(policies); i++) {
        vthread_continuation_t *c;
        vthread_continuation_attr_t attr = {.scope = scope};
        ck_assert_int_eq(vthread_continuation_create(
                             &c, &attr, is_called_back, &policies[i]),
                         0);
        ck_assert_int_eq(vthread_continuation_run(c), 0);
        ck_assert_int_eq(vthread_continuation_run(c), 0);
        ck_assert(vthread_continuation_is_done(c));
        ck_assert_int_eq(vthread_continuation_destroy(c), 0);
    }
    return arg;
}

START_TEST(a_continuation_does_not_leave_an_upcall)
{
    on_both_kinds(runs_one_that_is_called_back);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("closure");
    TCase *cases = new_case(suite, "closures");
    tcase_add_test(cases, arguments_and_result_are_those_of_the_signature);
    tcase_add_test(cases, a_small_result_is_a_whole_one_to_the_caller);
    tcase_add_test(cases, what_is_no_closure_is_refused);
    tcase_add_test(cases, a_closure_keeps_its_signature);
    cases = new_case(suite, "upcalls");
    tcase_add_test(cases, upcalls_that_wait_stay_on_their_os_thread);
    tcase_add_test(cases, upcalls_on_a_platform_thread_wait_in_the_kernel);
    tcase_add_test(cases, calls_and_upcalls_nest);
    tcase_add_test(cases, the_time_of_upcalls_is_not_learnt);
    tcase_add_test(cases, errno_is_what_the_upcall_and_then_the_call_left);
    tcase_add_test(cases,
                   an_os_thread_of_a_library_calls_back_as_a_platform_thread);
    tcase_add_test(cases, a_detached_call_calls_back_as_a_platform_thread);
    tcase_add_test(cases, a_continuation_does_not_leave_an_upcall);
    return run_suite(suite);
}
