/*
 * trace_file_test.c - when a recording is written, and what is in the file
 * then.
 */
#include <errno.h>

#include "inspect/trace.h"
#include "tests/recordings.h"

/* ---- On and off --------------------------------------------------------- */

START_TEST(misuse_is_answered)
{
    vthread_trace_attr_t small = {.memory_bytes = 1};
    vthread_trace_attr_t reserved = {.reserved = 1};
    vthread_trace_attr_t nowhere = {.path = "/nonexistent/file"};
    ck_assert_int_eq(vthread_trace_start(&small), EINVAL);
    ck_assert_int_eq(vthread_trace_start(&reserved), EINVAL);
    ck_assert_int_eq(vthread_trace_start(&nowhere), ENOENT);
    ck_assert_int_eq(vthread_trace_stop(), ESRCH);
    ck_assert_int_eq(vthread_trace_write(recording_path(), 1), ESRCH);
    ck_assert(!has_file(recording_path()));
    ck_assert_int_eq(vthread_trace_start(NULL), 0);
    ck_assert_int_eq(vthread_trace_start(NULL), EBUSY);
    ck_assert_int_eq(vthread_trace_write(NULL, 1), EINVAL);
    ck_assert_int_eq(vthread_trace_stop(), 0);
}
END_TEST

START_TEST(it_can_be_started_again_and_has_forgotten)
{
    start_recording(0, 0);
    vthread_t first = start(return_argument, NULL);
    join(first);
    stop_recording();
    vthread_t between = start(return_argument, NULL);
    join(between);
    start_recording(0, 0);
    vthread_t second = start(return_argument, NULL);
    join(second);
    struct recording r = stop_recording();
    ck_assert_uint_eq(count_of(&r, TRACE_FINISH, first), 0);
    ck_assert_uint_eq(count_of(&r, TRACE_FINISH, between), 0);
    ck_assert_uint_eq(count_of(&r, TRACE_FINISH, second), 1);
}
END_TEST

START_TEST(a_full_disk_is_told)
{
    vthread_trace_attr_t attr = {.path = "/dev/full"};
    ck_assert_int_eq(vthread_trace_start(&attr), 0);
    join(start(return_argument, NULL));
    ck_assert_int_eq(vthread_trace_stop(), EIO);
}
END_TEST

/* ---- When something happens --------------------------------------------- */

static void keep(void)
{
    setenv("VTHREAD_TRACE", recording_path(), 1);
    setenv("VTHREAD_TRACE_MS", "60000", 1);
}

static void *aborts(void *arg)
{
    abort();
    return arg;
}

static void aborts_on_a_thread(void)
{
    join(start(aborts, NULL));
}

/* How the child ended; its recording. */
static int end_and_recording(void (*fn)(void), struct recording *r)
{
    static char text[4096];
    recording_path();
    keep();
    int status = end_of_child(fn, text, sizeof text);
    if (has_file(recording_path())) {
        *r = recording_of(recording_path());
        unlink(recording_path());
    }
    return status;
}

START_TEST(an_abort_writes_the_last_seconds)
{
    struct recording r = {.lost = 0};
    int status = end_and_recording(aborts_on_a_thread, &r);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    ck_assert(r.is_complete);
    ck_assert_str_eq(r.reason, "signal 6");
    ck_assert_uint_eq(count_of(&r, TRACE_IS_FUNCTION, (uintptr_t)aborts), 1);
    ck_assert_uint_eq(count_kind(&r, TRACE_MOUNT), 1);
    ck_assert_uint_eq(count_kind(&r, TRACE_FINISH), 0);
}
END_TEST

static void *overflows(void *arg)
{
    volatile char frame[1024];
    frame[0] = (char)(uintptr_t)arg;
    if ((uintptr_t)arg == UINTPTR_MAX) /* never */
        return NULL;
    char *next = overflows(pointer((uintptr_t)arg + 1));
    return next + frame[0];
}

static void overflows_on_a_thread(void)
{
    join(start(overflows, NULL));
}

START_TEST(an_overflow_writes_the_last_seconds)
{
    struct recording r = {.lost = 0};
    int status = end_and_recording(overflows_on_a_thread, &r);
    ck_assert(WIFSIGNALED(status));
    ck_assert(r.is_complete);
    ck_assert_uint_eq(count_of(&r, TRACE_IS_FUNCTION, (uintptr_t)overflows),
                      1);
}
END_TEST

static void *parks_for_good(void *arg)
{
    vthread_park();
    return arg;
}

static void deadlocks(void)
{
    vthread_t t = start(parks_for_good, NULL);
    vthread_join(t, NULL);
}

START_TEST(a_deadlock_writes_the_last_seconds)
{
    struct recording r = {.lost = 0};
    int status = end_and_recording(deadlocks, &r);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 2);
    ck_assert(r.is_complete);
    ck_assert_str_eq(r.reason, "deadlock");
}
END_TEST

static void ends_well(void)
{
    join(start(return_argument, NULL));
    exit(0);
}

START_TEST(without_a_reason_no_file_is_left)
{
    struct recording r = {.lost = 0};
    int status = end_and_recording(ends_well, &r);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert(!has_file(recording_path()));
}
END_TEST

START_TEST(the_environment_records_until_exit)
{
    char text[4096];
    setenv("VTHREAD_TRACE", recording_path(), 1);
    int status = end_of_child(ends_well, text, sizeof text);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    struct recording r = recording_of(recording_path());
    unlink(recording_path());
    ck_assert(r.is_complete);
    ck_assert_uint_eq(count_kind(&r, TRACE_FINISH), 1);
}
END_TEST

static void *looks_for_the_file(void *arg)
{
    char second[80];
    snprintf(second, sizeof second, "%s.2", recording_path());
    trace_trigger("a test");
    while (!has_file(second)) {
        struct stat status;
        if (stat(recording_path(), &status) == 0 && status.st_size > 0)
            break;
        vthread_sleep(VTHREAD_MS);
    }
    return arg;
}

START_TEST(a_trigger_writes_while_the_program_goes_on)
{
    start_recording(60 * VTHREAD_SECOND, 0);
    join(start(looks_for_the_file, NULL));
    struct recording r = stop_recording();
    ck_assert_str_eq(r.reason, "a test");
    ck_assert_uint_ge(count_kind(&r, TRACE_MOUNT), 1);
}
END_TEST

START_TEST(a_pin_over_the_limit_is_a_trigger)
{
    setenv("VTHREAD_PIN_MS", "0", 1);
    start_recording(60 * VTHREAD_SECOND, 0);
    vthread_t t = start(parks_pinned, NULL);
    until_waiting(t);
    vthread_unpark(t);
    join(t);
    struct stat status = {.st_size = 0};
    while (status.st_size == 0)
        ck_assert_int_eq(stat(recording_path(), &status), 0);
    struct recording r = stop_recording();
    ck_assert_str_eq(r.reason, "pin");
    ck_assert_uint_eq(count_of(&r, TRACE_PIN_END, t), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("trace_file");
    TCase *cases = new_case(suite, "on and off");
    tcase_add_test(cases, misuse_is_answered);
    tcase_add_test(cases, it_can_be_started_again_and_has_forgotten);
    tcase_add_test(cases, a_full_disk_is_told);
    cases = new_case(suite, "when something happens");
    tcase_add_test(cases, an_abort_writes_the_last_seconds);
    if (!UNDER_SANITIZER) {
        /* It has its own words for the one; and TSan an OS thread more in the
         * child of a child, with which nothing is ever sure to be a
         * deadlock. */
        tcase_add_test(cases, an_overflow_writes_the_last_seconds);
        tcase_add_test(new_case(suite, "deadlock"),
                       a_deadlock_writes_the_last_seconds);
    }
    tcase_add_test(cases, without_a_reason_no_file_is_left);
    tcase_add_test(cases, the_environment_records_until_exit);
    tcase_add_test(cases, a_trigger_writes_while_the_program_goes_on);
    tcase_add_test(cases, a_pin_over_the_limit_is_a_trigger);
    return run_suite(suite);
}
