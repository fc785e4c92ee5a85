/*
 * pin_stream_test.c - the command pin of the control socket.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "inspect/control_protocol.h"
#include "inspect/pin.h"
#include "inspect/pin_format.h"
#include "inspect/pin_ring.h"
#include "tests/threads.h"

static int connect_to_self(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1,
                          CONTROL_NAME_FORMAT, (unsigned)geteuid(),
                          (unsigned)getpid());
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address,
                             (socklen_t)(offsetof(struct sockaddr_un, sun_path)
                                         + 1 + (size_t)length)),
                     0);
    return fd;
}

static void say(int fd, const char *words)
{
    ck_assert_int_eq(write(fd, words, strlen(words)), (ssize_t)strlen(words));
}

static void hear(int fd, void *data, size_t size_bytes)
{
    char *to = data;
    while (size_bytes > 0) {
        ssize_t got = read(fd, to, size_bytes);
        ck_assert_int_gt(got, 0);
        to += got;
        size_bytes -= (size_t)got;
    }
}

static void hear_line(int fd, char *line, size_t size_bytes)
{
    size_t length = 0;
    do {
        ck_assert_uint_lt(length, size_bytes - 1);
        hear(fd, &line[length], 1);
    } while (line[length++] != '\n');
    line[length] = '\0';
}

static void *parks_pinned(void *arg)
{
    vthread_pin_reason("for the stream");
    vthread_park();
    vthread_unpin();
    return arg;
}

static vthread_t pin_one(void)
{
    vthread_t t = start(parks_pinned, NULL);
    until_waiting(t);
    vthread_unpark(t);
    join(t);
    return t;
}

static void ask_for_all(void)
{
    setenv("VTHREAD_CONTROL", "1", 1);
    setenv("VTHREAD_PIN_MS", "0", 1);
    join(start(return_argument, NULL));
}

START_TEST(who_is_connected_gets_the_episodes_as_they_end)
{
    char line[80];
    struct pin_header header;
    vthread_pin_episode_t episode;
    ask_for_all();
    pin_one();
    ck_assert_uint_eq(pin_ring_next(), 1);
    int fd = connect_to_self();
    say(fd, "pin\n");
    hear_line(fd, line, sizeof line);
    ck_assert_str_eq(line, "ok " PACKAGE_VERSION "\n");
    hear(fd, &header, sizeof header);
    ck_assert_uint_eq(header.magic, PIN_FORMAT_MAGIC);
    ck_assert_uint_eq(header.version, PIN_FORMAT_VERSION);
    ck_assert_uint_eq(header.header_bytes, sizeof header);
    ck_assert_uint_eq(header.episode_bytes, sizeof episode);
    ck_assert_uint_eq(header.threshold_ns, 0);
    for (uint64_t i = 1; i <= 3; i++) {
        vthread_t t = pin_one();
        hear(fd, &episode, sizeof episode);
        ck_assert_uint_eq(episode.number, i);
        ck_assert_uint_eq(episode.thread, t);
        ck_assert_str_eq(episode.why, "for the stream");
    }
    close(fd);
    while (pin_is_on())
        sched_yield();
    ck_assert_int_eq(vthread_control_stop(), 0);
}
END_TEST

START_TEST(who_comes_later_gets_those_that_are_still_known)
{
    char line[80];
    struct pin_header header;
    vthread_pin_episode_t episode;
    ask_for_all();
    ck_assert(pin_listen());
    vthread_t t = pin_one();
    int fd = connect_to_self();
    say(fd, "pin\n");
    hear_line(fd, line, sizeof line);
    hear(fd, &header, sizeof header);
    hear(fd, &episode, sizeof episode);
    ck_assert_uint_eq(episode.thread, t);
    /* It wants no more, and gets the end. */
    shutdown(fd, SHUT_WR);
    ck_assert_int_eq(read(fd, line, sizeof line), 0);
    close(fd);
    pin_listen_no_more();
    ck_assert_int_eq(vthread_control_stop(), 0);
}
END_TEST

START_TEST(with_pins_off_there_is_no_stream)
{
    char line[80];
    setenv("VTHREAD_PIN", "off", 1);
    ask_for_all();
    int fd = connect_to_self();
    say(fd, "pin\n");
    hear_line(fd, line, sizeof line);
    ck_assert_int_eq(strncmp(line, "error ", 6), 0);
    close(fd);
    ck_assert_int_eq(vthread_control_stop(), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pin_stream");
    TCase *cases = new_case(suite, "stream");
    tcase_add_test(cases, who_is_connected_gets_the_episodes_as_they_end);
    tcase_add_test(cases, who_comes_later_gets_those_that_are_still_known);
    tcase_add_test(cases, with_pins_off_there_is_no_stream);
    return run_suite(suite);
}
