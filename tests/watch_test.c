/*
 * watch_test.c - those who look on as continuations are mounted: what they
 * see, and that they see nothing once they have ended.
 */
#include "continuation/continuation.h"
#include "continuation/watch.h"
#include "tests/continuations.h"

static unsigned mounts, unmounts, ends;
static struct continuation *mounted;

static void count_mount(struct continuation *c)
{
    mounts++;
    mounted = c;
    step('m');
}

static void count_unmount(struct continuation *c)
{
    ck_assert_ptr_eq(c, mounted);
    unmounts++;
    ends += c->state == CONTINUATION_DONE;
    step('u');
}

static const struct watcher counting = {.mounting = count_mount,
                                        .unmounted = count_unmount};

static void inside_step(struct continuation *c)
{
    (void)c;
    step('<');
}

static void outside_step(struct continuation *c)
{
    (void)c;
    step('>');
}

static const struct watcher around = {.mounting = inside_step,
                                      .unmounted = outside_step};

static void yields_twice(void *arg)
{
    (void)arg;
    step('1');
    ck_assert_int_eq(yield_to(scope_a), 0);
    step('2');
    ck_assert_int_eq(yield_to(scope_a), 0);
    step('3');
}

START_TEST(each_mount_and_unmount_is_told_in_its_place)
{
    cont *c = make(scope_a, yields_twice, NULL);
    watch_begin(WATCH_EMBED, &counting);
    ck_assert_int_eq(run_out(c, 3), 3);
    watch_end(WATCH_EMBED);
    ck_assert_str_eq(trail, "m1um2um3u");
    ck_assert_uint_eq(mounts, 3);
    ck_assert_uint_eq(unmounts, 3);
    ck_assert_uint_eq(ends, 1);
    destroy(c);
}
END_TEST

START_TEST(several_are_told_in_order_and_in_reverse)
{
    cont *c = make(scope_a, yields_twice, NULL);
    watch_begin(WATCH_TRACE, &around);
    watch_begin(WATCH_GC, &counting);
    ck_assert_int_eq(run(c), 0);
    ck_assert_str_eq(trail, "<m1u>");
    watch_end(WATCH_TRACE);
    ck_assert_int_eq(run(c), 0);
    ck_assert_str_eq(trail, "<m1u>m2u");
    watch_end(WATCH_GC);
    ck_assert_int_eq(run(c), 0);
    ck_assert_str_eq(trail, "<m1u>m2u3");
    ck_assert(!watch_any());
    destroy(c);
}
END_TEST

static void *begins_within(void *arg)
{
    watch_begin(WATCH_EMBED, &around);
    vthread_yield();
    watch_end(WATCH_EMBED);
    return arg;
}

START_TEST(what_is_mounted_already_is_seen_from_its_unmount_on)
{
    set_mode("VTHREAD_PARALLELISM", "1");
    vthread_t t;
    ck_assert_int_eq(vthread_create(&t, NULL, begins_within, NULL), 0);
    ck_assert_int_eq(vthread_join(t, NULL), 0);
    ck_assert_str_eq(trail, "><");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("watch");
    TCase *cases = new_case(suite, "watch");
    tcase_add_test(cases, each_mount_and_unmount_is_told_in_its_place);
    tcase_add_test(cases, several_are_told_in_order_and_in_reverse);
    tcase_add_test(cases, what_is_mounted_already_is_seen_from_its_unmount_on);
    return run_suite(suite);
}
