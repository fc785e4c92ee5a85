/*
 * call_test.c - foreign calls by the policies of their sites: results, errno,
 * pointers to locals, what AUTO learns, what is refused.
 */
#include <alloca.h>
#include <time.h>

#include "call/call_site.h"
#include "tests/calls.h"
#include "tests/children.h"

/* ---- Result and errno --------------------------------------------------- */

static double mix(int i, double d, const char *s, unsigned char c, float f)
{
    return i + d + (double)strlen(s) + c + f;
}

static void *every_policy_calls(void *arg)
{
    for (unsigned p = 0; p < COUNT_OF(calls_policies); p++) {
        vthread_call_site_t site = {.signature = "d(idsCf)",
                                    .policy = calls_policies[p]};
        int i = 1;
        double d = 0.5, sum = 0;
        char *s = "four";
        unsigned char c = 200;
        float f = 0.25f;
        void *args[] = {&i, &d, &s, &c, &f};
        ck_assert_int_eq(vthread_call(&site, FN(mix), &sum, args, NULL), 0);
        ck_assert_double_eq(sum, 1 + 0.5 + 4 + 200 + 0.25);
        ck_assert_int_eq(vthread_call(&site, FN(mix), NULL, args, NULL), 0);
    }
    return arg;
}

START_TEST(every_policy_calls_with_all_arguments)
{
    on_both_kinds(every_policy_calls);
}
END_TEST

static void *errno_is_that_of_the_call(void *arg)
{
    for (unsigned p = 0; p < COUNT_OF(calls_policies); p++) {
        vthread_call_site_t site = {.signature = "i(i)",
                                    .policy = calls_policies[p]};
        for (int wanted = 1; wanted < 40; wanted++) {
            int before = -1, error = -1;
            void *args[] = {&wanted};
            vthread_yield();
            ck_assert_int_eq(vthread_call(&site, FN(calls_fail_with),
                                          &before, args, &error),
                             0);
            ck_assert_int_eq(before, 0);
            ck_assert_int_eq(error, wanted);
            if (site.policy != VTHREAD_CALL_DETACHED)
                ck_assert_int_eq(vthread_errno(), wanted);
        }
    }
    return arg;
}

START_TEST(errno_is_that_of_the_call_right_after_a_migration)
{
    set_mode("VTHREAD_MIGRATE", "always");
    vthread_t threads[16];
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start(errno_is_that_of_the_call, NULL);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    on_both_kinds(errno_is_that_of_the_call);
}
END_TEST

/* ---- Pointers to locals ------------------------------------------------- */

struct tree {
    int *number;
    char *text;
    struct tree *outer;
};

/* Each level's locals, through pointers in structs on other levels. */
static int touch(struct tree *tree, char *area, size_t size)
{
    int sum = 0;
    for (; tree; tree = tree->outer) {
        sum += *tree->number;
        *tree->number += 1000;
        tree->text[1] = 'x';
    }
    memset(area, 0x5a, size);
    sched_yield();
    return sum;
}

__attribute__((noinline)) static int nest(vthread_call_site_t *site,
                                          struct tree *outer, int depth)
{
    int number = depth, result = -1;
    char letters[4] = "abc";
    struct tree tree = {&number, letters, outer}, *place = &tree;
    size_t size = 64 + 16 * (size_t)depth;
    char *area = alloca(size);
    memset(area, 0, size);
    vthread_yield();
    void *args[] = {&place, &area, &size};
    ck_assert_int_eq(vthread_call(site, FN(touch), &result, args, NULL), 0);
    /* Level k has been touched from depth - k deeper ones before. */
    ck_assert_int_eq(result, 1001 * depth * (depth + 1) / 2);
    ck_assert_int_eq(number, depth + 1000);
    ck_assert_str_eq(letters, "axc");
    for (size_t i = 0; i < size; i++)
        ck_assert_int_eq(area[i], 0x5a);
    if (depth < 12)
        result += nest(site, &tree, depth + 1);
    vthread_yield();
    ck_assert_int_eq(number, depth + 1000 * (13 - depth));
    return result;
}

static void *nests(void *site)
{
    for (int i = 0; i < 5; i++)
        nest(site, NULL, 0);
    return NULL;
}

START_TEST(pointers_to_locals_arrive_at_every_nesting)
{
    static vthread_call_site_t sites[] = {
        {.signature = "i(ppz)"},
        {.signature = "i(ppz)", .policy = VTHREAD_CALL_BLOCKING},
        {.signature = "i(ppz)", .policy = VTHREAD_CALL_CRITICAL},
    };
    vthread_t threads[60];
    set_mode("VTHREAD_OWN_LIMIT", "0");
    set_mode("VTHREAD_COMMON_HOMES", "2");
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start(nests, &sites[i % COUNT_OF(sites)]);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
}
END_TEST

/* ---- Others go on ------------------------------------------------------- */

static struct calls_gate gate;

static void *passes(void *site)
{
    struct calls_gate *place = &gate;
    void *args[] = {&place};
    int result = 0;
    ck_assert_int_eq(vthread_call(site, FN(calls_pass), &result, args, NULL),
                     0);
    ck_assert_int_eq(result, 42);
    return site;
}

static void *opens(void *arg)
{
    calls_until(&gate.begun, 1);
    atomic_store(&gate.is_open, 1);
    return arg;
}

static void others_go_on(unsigned policy)
{
    static vthread_call_site_t site;
    site = (vthread_call_site_t){.signature = "i(p)", .policy = policy};
    vthread_scheduler_t *s = scheduler_of(1);
    vthread_t caller = start_on(s, passes, &site);
    vthread_t opener = start_on(s, opens, NULL);
    join(caller);
    join(opener);
    shut_down(s);
}

START_TEST(others_go_on_during_a_blocking_call)
{
    others_go_on(VTHREAD_CALL_BLOCKING);
}
END_TEST

START_TEST(others_go_on_during_a_call_that_turns_out_to_last)
{
    others_go_on(VTHREAD_CALL_AUTO);
}
END_TEST

START_TEST(others_go_on_during_a_detached_call)
{
    others_go_on(VTHREAD_CALL_DETACHED);
}
END_TEST

/* ---- What AUTO learns --------------------------------------------------- */

static struct site *inside(vthread_call_site_t *site)
{
    return (struct site *)site;
}

static vthread_call_stats_t learnt(const vthread_call_site_t *site)
{
    vthread_call_stats_t stats;
    ck_assert_int_eq(vthread_call_stats(site, &stats), 0);
    return stats;
}

START_TEST(three_long_ones_in_a_row_make_it_blocking)
{
    vthread_call_site_t site = {.signature = "v()"};
    for (int i = 0; i < 10; i++) {
        site_note_time(inside(&site), 21000);
        site_note_time(inside(&site), 1000000);
        site_note_time(inside(&site), 4999); /* ends the row */
    }
    ck_assert_uint_eq(learnt(&site).policy, VTHREAD_CALL_AUTO);
    site_note_time(inside(&site), 20001);
    site_note_time(inside(&site), 20000); /* says nothing */
    site_note_taken_over(inside(&site));
    ck_assert_uint_eq(learnt(&site).policy, VTHREAD_CALL_AUTO);
    site_note_time(inside(&site), 30000);
    vthread_call_stats_t stats = learnt(&site);
    ck_assert_uint_eq(stats.policy, VTHREAD_CALL_BLOCKING);
    ck_assert_uint_eq(stats.changes, 1);
    ck_assert_uint_eq(stats.timed, 33);
    ck_assert_uint_eq(stats.lasted, 22);
    ck_assert_uint_eq(stats.taken_over, 1);
    ck_assert_uint_eq(stats.last_ns, 30000);
}
END_TEST

START_TEST(eight_short_ones_in_a_row_end_that)
{
    vthread_call_site_t site = {.signature = "v()"};
    for (int i = 0; i < 3; i++)
        site_note_taken_over(inside(&site));
    for (int row = 0; row < 3; row++) {
        for (int i = 0; i < 7; i++)
            site_note_time(inside(&site), 100);
        site_note_time(inside(&site), 5000); /* says nothing */
        site_note_time(inside(&site), 50000);
    }
    ck_assert_uint_eq(learnt(&site).policy, VTHREAD_CALL_BLOCKING);
    for (int i = 0; i < 8; i++)
        site_note_time(inside(&site), 4999);
    ck_assert_uint_eq(learnt(&site).policy, VTHREAD_CALL_AUTO);
    ck_assert_uint_eq(learnt(&site).changes, 2);
}
END_TEST

static int sleeps(long ns)
{
    return nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

static int sleeps_not(long ns)
{
    return (int)ns;
}

static void *teaches(void *place)
{
    vthread_call_site_t *site = place;
    long ns = 100000;
    int result;
    void *args[] = {&ns};
    while (learnt(site).policy == VTHREAD_CALL_AUTO)
        ck_assert_int_eq(vthread_call(site, FN(sleeps), &result, args, NULL),
                         0);
    /* The first ones are timed, so it does not take long. */
    ck_assert_uint_le(learnt(site).timed + learnt(site).taken_over, 4);
    while (learnt(site).policy == VTHREAD_CALL_BLOCKING)
        ck_assert_int_eq(
            vthread_call(site, FN(sleeps_not), &result, args, NULL), 0);
    ck_assert_uint_eq(learnt(site).changes, 2);
    return NULL;
}

START_TEST(a_site_learns_from_its_calls_and_learns_anew)
{
    static vthread_call_site_t site = {.signature = "i(l)"};
    join(start(teaches, &site));
}
END_TEST

START_TEST(other_policies_stay_what_they_are)
{
    vthread_call_stats_t stats;
    vthread_call_site_t site = {.signature = "i(l)",
                                .policy = VTHREAD_CALL_DETACHED};
    ck_assert_uint_eq(learnt(&site).policy, VTHREAD_CALL_DETACHED);
    ck_assert_int_eq(vthread_call_stats(NULL, &stats), EINVAL);
    ck_assert_int_eq(vthread_call_stats(&site, NULL), EINVAL);
}
END_TEST

/* ---- Sites -------------------------------------------------------------- */

static int never(void)
{
    ck_abort_msg("it was called");
    return 0;
}

static int call_site_of(vthread_call_site_t site)
{
    int result = 0, number = 0, error;
    void *place = NULL, *args[] = {&place, &number};
    return vthread_call(&site, FN(never), &result, args, &error);
}

static void bad_sites(void)
{
    static const vthread_call_pointer_t pointers[] = {
        {.argument = 1, .direction = VTHREAD_CALL_IN, .size_bytes = 1},
        {.argument = 0, .size_bytes = 1},
        {.argument = 0, .direction = VTHREAD_CALL_IN, .size_argument = 0},
        {.argument = 2, .direction = VTHREAD_CALL_IN, .size_bytes = 1},
    };
    expect(call_site_of((vthread_call_site_t){.signature = NULL}) == EINVAL);
    expect(call_site_of((vthread_call_site_t){.signature = "i(py)"})
           == EINVAL);
    expect(call_site_of((vthread_call_site_t){.signature = "i(pi)",
                                              .policy = 4})
           == EINVAL);
    expect(call_site_of((vthread_call_site_t){.signature = "i(pi)",
                                              .flags = 4})
           == EINVAL);
    expect(call_site_of((vthread_call_site_t){
               .signature = "i(pi)",
               .policy = VTHREAD_CALL_CRITICAL,
               .flags = VTHREAD_CALL_INTERRUPTIBLE})
           == EINVAL);
    expect(call_site_of((vthread_call_site_t){.signature = "i(pi)",
                                              .pointer_count = 1})
           == EINVAL);
    for (size_t i = 0; i < COUNT_OF(pointers); i++)
        expect(call_site_of((vthread_call_site_t){.signature = "i(pi)",
                                                  .pointers = &pointers[i],
                                                  .pointer_count = 1})
               == EINVAL);
}

START_TEST(a_bad_site_is_refused_in_words)
{
    ends_well(bad_sites);
    said("it has no signature");
    said("\"i(py)\" is refused: this is no letter of a type, at \"y)\"");
    said("there is no such policy");
    said("there is no such flag");
    said("cannot be interruptible");
    said("is no pointer");
    said("neither IN nor OUT");
    said("no integer");
}
END_TEST

static void one_bad_site(void)
{
    vthread_call_site_t site = {.signature = "x"};
    for (int i = 0; i < 10; i++)
        expect(vthread_call(&site, FN(never), NULL, NULL, NULL) == EINVAL);
    /* It can be mended. */
    site.signature = "v()";
    expect(vthread_call(&site, FN(clearenv), NULL, NULL, NULL) == 0);
}

START_TEST(a_bad_site_is_told_once_and_can_be_mended)
{
    ends_well(one_bad_site);
    const char *first = strstr(text, "is refused");
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_null(strstr(first + 1, "is refused"));
}
END_TEST

START_TEST(bad_arguments_of_the_call_itself_are_refused)
{
    vthread_call_site_t site = {.signature = "i(i)"};
    ck_assert_int_eq(vthread_call(NULL, FN(never), NULL, NULL, NULL), EINVAL);
    ck_assert_int_eq(vthread_call(&site, NULL, NULL, NULL, NULL), EINVAL);
    ck_assert_int_eq(vthread_call(&site, FN(never), NULL, NULL, NULL),
                     EINVAL);
}
END_TEST

START_TEST(a_site_may_have_a_prepared_signature)
{
    ffi_type *types[] = {&ffi_type_slong};
    vthread_signature_t *s;
    ck_assert_int_eq(
        vthread_signature_create(&s, &ffi_type_sint, 1, 1, types, NULL), 0);
    vthread_call_site_t site = {.prepared = s};
    long argument = 77;
    int result = 0;
    void *args[] = {&argument};
    ck_assert_int_eq(
        vthread_call(&site, FN(sleeps_not), &result, args, NULL), 0);
    ck_assert_int_eq(result, 77);
    vthread_signature_destroy(s);
}
END_TEST

START_TEST(a_deadline_in_the_past_does_not_concern_a_call_in_place)
{
    for (unsigned policy = 0; policy < VTHREAD_CALL_DETACHED; policy++) {
        vthread_call_site_t site = {.signature = "i(l)", .policy = policy};
        long argument = 7;
        int result = 0;
        void *args[] = {&argument};
        ck_assert_int_eq(vthread_call_until(&site, FN(sleeps_not), &result,
                                            args, NULL, 1),
                         0);
        ck_assert_int_eq(result, 7);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("call");
    TCase *cases = new_case(suite, "calls");
    tcase_add_test(cases, every_policy_calls_with_all_arguments);
    tcase_add_test(cases, errno_is_that_of_the_call_right_after_a_migration);
    tcase_add_test(cases, pointers_to_locals_arrive_at_every_nesting);
    tcase_add_test(cases, others_go_on_during_a_blocking_call);
    tcase_add_test(cases, others_go_on_during_a_call_that_turns_out_to_last);
    tcase_add_test(cases, others_go_on_during_a_detached_call);
    cases = new_case(suite, "learning");
    tcase_add_test(cases, three_long_ones_in_a_row_make_it_blocking);
    tcase_add_test(cases, eight_short_ones_in_a_row_end_that);
    tcase_add_test(cases, a_site_learns_from_its_calls_and_learns_anew);
    tcase_add_test(cases, other_policies_stay_what_they_are);
    cases = new_case(suite, "sites");
    tcase_add_test(cases, a_bad_site_is_refused_in_words);
    tcase_add_test(cases, a_bad_site_is_told_once_and_can_be_mended);
    tcase_add_test(cases, bad_arguments_of_the_call_itself_are_refused);
    tcase_add_test(cases, a_site_may_have_a_prepared_signature);
    tcase_add_test(cases,
                   a_deadline_in_the_past_does_not_concern_a_call_in_place);
    return run_suite(suite);
}
