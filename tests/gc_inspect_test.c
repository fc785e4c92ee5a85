/*
 * gc_inspect_test.c - what is told of the collector from outside: leaks, by
 * the control socket, and collections, by the flight recorder.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <vthread/control.h>
#include <vthread/trace.h>

#include "inspect/control_protocol.h"
#include "tests/collect.h"
#include "tests/recordings.h"

/* ---- Leaks -------------------------------------------------------------- */

static int call_control(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int length =
        snprintf(address.sun_path + 1, sizeof address.sun_path - 1,
                 CONTROL_NAME_FORMAT, (unsigned)geteuid(), (unsigned)getpid());
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1)
                     + (socklen_t)length;
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, size), 0);
    return fd;
}

static char heard[1 << 16];

static const char *ask(const char *words)
{
    int fd = call_control();
    size_t length = 0;
    ssize_t got;
    ck_assert_int_eq(send(fd, words, strlen(words), MSG_NOSIGNAL),
                     (ssize_t)strlen(words));
    while ((got = read(fd, heard + length, sizeof heard - 1 - length)) > 0)
        length += (size_t)got;
    heard[length] = '\0';
    close(fd);
    return heard;
}

static unsigned count_lines(const char *text, const char *beginning)
{
    unsigned count = 0;
    for (const char *at = text; (at = strstr(at, beginning)) != NULL; at++)
        count += at == text || at[-1] == '\n';
    return count;
}

static void *receives(void *channel)
{
    void *value;
    vthread_channel_receive(channel, &value);
    return NULL;
}

static __attribute__((noinline)) void plant_lost(void)
{
    vthread_channel_t *c;
    vthread_attr_t attr = {.name = "lost one"};
    ck_assert_int_eq(vthread_channel_create(&c, sizeof(void *), 0), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(vthread_create(NULL, &attr, receives, c), 0);
    c = NULL;
}

/* A carrier on the way to sleep may have something left over. */
static const char *ask_until_told(const char *words, const char *last_line)
{
    forget();
    while (!strstr(ask(words), last_line))
        vthread_sleep(VTHREAD_MS);
    return heard;
}

START_TEST(the_control_socket_tells_leaks)
{
    char entry[64];
    enable();
    plant_lost();
    ck_assert_int_eq(vthread_control_start(), 0);
    ask_until_told("leaks\n", "\nleaks count=3\nend\n");
    ck_assert_uint_eq(count_lines(heard, "leak thread="), 3);
    snprintf(entry, sizeof entry, " fn=%llu ",
             (unsigned long long)(uintptr_t)receives);
    ck_assert_ptr_nonnull(strstr(heard, " name=lost%20one "));
    ck_assert_ptr_nonnull(strstr(heard, entry));
    ck_assert_ptr_nonnull(strstr(heard, " waits_for="));
    ck_assert_ptr_null(strstr(heard, " created_by=0 "));
    /* All are counted, whatever is told of them. */
    ask_until_told("leaks 1\n", "\nleaks count=3\nend\n");
    ck_assert_uint_eq(count_lines(heard, "leak thread="), 1);
    ck_assert_uint_eq(count_lines(ask("leaks x\n"), "error "), 1);
    ck_assert_int_eq(vthread_control_stop(), 0);
}
END_TEST

START_TEST(without_the_collector_it_says_so)
{
    ck_assert_int_eq(vthread_control_start(), 0);
    ck_assert_uint_eq(count_lines(ask("leaks\n"), "error "), 1);
    ck_assert_int_eq(vthread_control_stop(), 0);
}
END_TEST

/* ---- Collections -------------------------------------------------------- */

static int formerly_notified;

static void GC_CALLBACK notice(GC_EventType event)
{
    formerly_notified += event == GC_EVENT_END;
}

START_TEST(collections_are_recorded_and_others_told_as_before)
{
    GC_INIT();
    GC_set_on_collection_event(notice);
    enable();
    vthread_trace_attr_t attr = {.path = recording_path()};
    ck_assert_int_eq(vthread_trace_start(&attr), 0);
    formerly_notified = 0;
    GC_gcollect();
    GC_gcollect();
    ck_assert_int_eq(vthread_trace_stop(), 0);
    struct recording r = recording_of(recording_path());
    unlink(recording_path());
    ck_assert_int_ge(formerly_notified, 2);
    ck_assert_uint_eq(count_kind(&r, TRACE_GC), formerly_notified);
    ck_assert_uint_eq(count_kind(&r, TRACE_GC_END), formerly_notified);
    ck_assert_uint_eq(count_of(&r, TRACE_GC_END, 0), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gc_inspect");
    TCase *leaks = new_case(suite, "leaks");
    tcase_add_test(leaks, the_control_socket_tells_leaks);
    tcase_add_test(leaks, without_the_collector_it_says_so);
    TCase *collections = new_case(suite, "collections");
    tcase_add_test(collections,
                   collections_are_recorded_and_others_told_as_before);
    return run_suite(suite);
}
