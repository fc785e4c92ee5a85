/*
 * io_until_test.c - deadlines of calls that send, accept, and write files:
 * what has room is done however late it is, what has none ends at the
 * deadline, and then nothing is lost and nothing has been done.
 *
 * Reading with a deadline is in io_test.c and io_message_test.c.
 */
#include <semaphore.h>
#include <sys/sendfile.h>

#include <vthread/block.h>
#include <vthread/file.h>

#include "tests/descriptors.h"

/* Long ago, though not "do not wait". */
enum { PAST_NS = 1 };

static const char text[] = "hello";
enum { SIZE = sizeof text - 1 };

/* ---- Sending ------------------------------------------------------------ */

static int sends_write_all(int fd, size_t *done, uint64_t deadline_ns)
{
    int err = vthread_write_all_until(fd, text, SIZE, deadline_ns);
    if (err == 0)
        *done = SIZE;
    return err;
}

static int sends_writev(int fd, size_t *done, uint64_t deadline_ns)
{
    struct iovec iov[2] = {{(char *)text, 2}, {(char *)text + 2, SIZE - 2}};
    return vthread_writev_until(fd, iov, 2, done, deadline_ns);
}

static int sends_send(int fd, size_t *done, uint64_t deadline_ns)
{
    return vthread_send_until(fd, text, SIZE, MSG_NOSIGNAL, done,
                              deadline_ns);
}

static int sends_sendmsg(int fd, size_t *done, uint64_t deadline_ns)
{
    struct iovec iov = {(char *)text, SIZE};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    return vthread_sendmsg_until(fd, &message, 0, done, deadline_ns);
}

/* An unnamed file with the text behind two other bytes. */
static int file_with_text(void)
{
    char path[] = "/tmp/vthread-until-XXXXXX";
    int fd = mkstemp(path);
    require(fd >= 0 && unlink(path) == 0);
    require(write(fd, "..hello", 7) == 7);
    return fd;
}

static int sends_sendfile(int fd, size_t *done, uint64_t deadline_ns)
{
    int file = file_with_text();
    off_t offset = 2;
    int err = vthread_sendfile_until(fd, file, &offset, SIZE, done,
                                     deadline_ns);
    require(offset == (err == 0 ? 2 + SIZE : 2));
    close(file);
    return err;
}

static int (*const ways[])(int fd, size_t *done, uint64_t deadline_ns) = {
    sends_write_all, sends_writev, sends_send, sends_sendmsg, sends_sendfile};

static void drain(int fd, size_t size_bytes)
{
    char buffer[4096];
    size_t n;
    for (; size_bytes > 0; size_bytes -= n)
        require(vthread_read(fd, buffer,
                             size_bytes < sizeof buffer ? size_bytes
                                                        : sizeof buffer,
                             &n)
                    == 0
                && n > 0);
}

static bool hears_text(int fd)
{
    char buffer[SIZE + 1];
    size_t n;
    require(vthread_read(fd, buffer, sizeof buffer, &n) == 0);
    return n == SIZE && memcmp(buffer, text, SIZE) == 0;
}

static bool hears_nothing(int fd)
{
    char byte;
    size_t n;
    return vthread_read_until(fd, &byte, 1, &n, 0) == ETIMEDOUT;
}

struct attempt {
    int way, fd, err;
    size_t done;
    uint64_t deadline_ns;
};

static void *attempts(void *arg)
{
    struct attempt *a = arg;
    a->done = 99;
    a->err = ways[a->way](a->fd, &a->done, a->deadline_ns);
    return arg;
}

static void attempt_on(bool a_virtual_thread, struct attempt *a)
{
    if (a_virtual_thread)
        join(start(attempts, a));
    else
        attempts(a);
}

START_TEST(what_there_is_room_for_is_sent_though_it_is_late)
{
    struct pair pair = open_pair(UNIX_STREAM);
    struct attempt a = {.way = _i, .fd = pair.writer, .deadline_ns = PAST_NS};
    for (int i = 0; i < 2; i++) {
        attempt_on(i == 1, &a);
        ck_assert_int_eq(a.err, 0);
        ck_assert_uint_eq(a.done, SIZE);
        ck_assert(hears_text(pair.reader));
    }
    close_pair(pair);
}
END_TEST

START_TEST(without_room_it_ends_at_the_deadline_and_nothing_is_sent)
{
    struct pair pair = open_pair(UNIX_STREAM);
    struct attempt a = {.way = _i, .fd = pair.writer};
    size_t full = fill(pair.writer);
    for (int i = 0; i < 2; i++) {
        a.deadline_ns = vthread_after(2 * VTHREAD_MS);
        attempt_on(i == 1, &a);
        ck_assert_int_eq(a.err, ETIMEDOUT);
        ck_assert_uint_ge(vthread_now(), a.deadline_ns);
        ck_assert_uint_eq(a.done, 99);
    }
    drain(pair.reader, full);
    ck_assert(hears_nothing(pair.reader));
    close_pair(pair);
}
END_TEST

START_TEST(room_that_comes_before_the_deadline_is_used)
{
    struct pair pair = open_pair(UNIX_STREAM);
    struct attempt a = {.way = _i,
                        .fd = pair.writer,
                        .deadline_ns = vthread_after(PATIENCE_S
                                                     * VTHREAD_SECOND)};
    size_t full = fill(pair.writer);
    vthread_t t = start(attempts, &a);
    await_waiting(pair.writer, DIRECTION_WRITE, 1);
    drain(pair.reader, full);
    join(t);
    ck_assert_int_eq(a.err, 0);
    ck_assert_uint_eq(a.done, SIZE);
    ck_assert(hears_text(pair.reader));
    close_pair(pair);
}
END_TEST

/* ---- Accepting ---------------------------------------------------------- */

static struct sockaddr_in address;
static int listener;

static int connected(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(fd >= 0);
    require(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

static void *accepts_until(void *arg)
{
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    int accepted = -7;
    uint64_t soon_ns = vthread_after(2 * VTHREAD_MS);
    require(vthread_accept_until(listener, NULL, NULL, &accepted, soon_ns)
            == ETIMEDOUT);
    require(vthread_now() >= soon_ns && accepted == -7);
    int client = connected();
    require(vthread_accept_until(listener, (struct sockaddr *)&peer, &length,
                                 &accepted, PAST_NS)
            == 0);
    require(peer.sin_family == AF_INET);
    require(write(client, text, SIZE) == SIZE && hears_text(accepted));
    require(vthread_close(accepted) == 0);
    close(client);
    require(vthread_accept_until(listener, NULL, NULL, &accepted, PAST_NS)
            == ETIMEDOUT);
    return arg;
}

START_TEST(a_connection_that_is_there_is_accepted_though_it_is_late)
{
    listener = listen_on_loopback(&address, 4);
    on_both_kinds(accepts_until);
    vthread_close(listener);
}
END_TEST

static void *accepts_in_time(void *arg)
{
    require(vthread_accept_until(listener, NULL, NULL, arg,
                                 vthread_after(PATIENCE_S * VTHREAD_SECOND))
            == 0);
    return NULL;
}

START_TEST(a_connection_before_the_deadline_is_accepted)
{
    static int accepted;
    listener = listen_on_loopback(&address, 4);
    vthread_t t = start(accepts_in_time, &accepted);
    await_waiting(listener, DIRECTION_READ, 1);
    int client = connected();
    join(t);
    require(write(client, text, SIZE) == SIZE && hears_text(accepted));
    vthread_close(accepted);
    close(client);
    vthread_close(listener);
}
END_TEST

/* ---- Files -------------------------------------------------------------- */

static int file;

static struct iovec *in_two(char *buffer, struct iovec iov[2])
{
    iov[0] = (struct iovec){buffer, 2};
    iov[1] = (struct iovec){buffer + 2, SIZE - 2};
    return iov;
}

/* What the kernel has in memory is transferred at once. */
static void *transfers_late(void *arg)
{
    char buffer[SIZE];
    struct iovec iov[2];
    size_t n;
    require(ftruncate(file, 0) == 0);
    require(vthread_pwrite_until(file, text, SIZE, 3, &n, PAST_NS) == 0);
    require(n == SIZE);
    require(vthread_preadv_until(file, in_two(buffer, iov), 2, 3, &n, PAST_NS)
            == 0);
    require(n == SIZE && memcmp(buffer, text, SIZE) == 0);
    require(vthread_pwritev_until(file, in_two(buffer, iov), 2, 8, &n, PAST_NS)
            == 0);
    require(n == SIZE);
    require(vthread_pread_until(file, buffer, SIZE, 8, &n, PAST_NS) == 0);
    require(n == SIZE && memcmp(buffer, text, SIZE) == 0);
    return arg;
}

START_TEST(what_is_in_memory_is_transferred_though_it_is_late)
{
    file = file_with_text();
    on_both_kinds(transfers_late);
    vthread_close(file);
}
END_TEST

static sem_t may_return;
static atomic_int in_calls;

static void *waits_to_return(void *arg)
{
    atomic_fetch_add(&in_calls, 1);
    while (sem_wait(&may_return) != 0)
        continue;
    return arg;
}

static void *holds_a_slot(void *arg)
{
    require(vthread_block(waits_to_return, NULL, NULL) == 0);
    return arg;
}

/* It is not their turn before the deadline. */
static void *transfers_in_vain(void *arg)
{
    char buffer[SIZE];
    struct iovec iov[2];
    size_t n = 99;
    in_two(buffer, iov);
    memset(buffer, 'x', sizeof buffer);
    for (int late = 0; late < 2; late++) {
        uint64_t end_ns = late ? PAST_NS : vthread_after(2 * VTHREAD_MS);
        require(vthread_pwrite_until(file, buffer, SIZE, 2, &n, end_ns)
                == ETIMEDOUT);
        require(vthread_now() >= end_ns);
        require(vthread_pwritev_until(file, iov, 2, 2, &n, end_ns)
                == ETIMEDOUT);
        require(vthread_preadv_until(file, iov, 2, 2, &n, end_ns)
                == ETIMEDOUT);
        require(vthread_pread_until(file, buffer, SIZE, 2, &n, end_ns)
                == ETIMEDOUT);
    }
    require(n == 99 && memcmp(buffer, "xxxxx", SIZE) == 0);
    return arg;
}

START_TEST(whose_turn_does_not_come_transfers_nothing)
{
    vthread_scheduler_t *s;
    vthread_scheduler_attr_t attr = {.parallelism = 1, .max_carriers = 2};
    char buffer[20];
    file = file_with_text();
    sem_init(&may_return, 0, 0);
    ck_assert_int_eq(vthread_scheduler_create(&s, &attr), 0);
    vthread_t t = start_on(s, holds_a_slot, NULL);
    while (atomic_load(&in_calls) < 1)
        sched_yield();
    join(start_on(s, transfers_in_vain, NULL));
    sem_post(&may_return);
    join(t);
    shut_down(s);
    ck_assert_int_eq(pread(file, buffer, sizeof buffer, 0), 2 + SIZE);
    ck_assert_mem_eq(buffer + 2, text, SIZE);
    close(file);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("io_until");
    TCase *cases = new_case(suite, "sending");
    tcase_add_loop_test(cases,
                        what_there_is_room_for_is_sent_though_it_is_late, 0,
                        COUNT_OF(ways));
    tcase_add_loop_test(
        cases, without_room_it_ends_at_the_deadline_and_nothing_is_sent, 0,
        COUNT_OF(ways));
    tcase_add_loop_test(cases, room_that_comes_before_the_deadline_is_used, 0,
                        COUNT_OF(ways));
    cases = new_case(suite, "accepting");
    tcase_add_test(cases,
                   a_connection_that_is_there_is_accepted_though_it_is_late);
    tcase_add_test(cases, a_connection_before_the_deadline_is_accepted);
    cases = new_case(suite, "files");
    tcase_add_test(cases,
                   what_is_in_memory_is_transferred_though_it_is_late);
    tcase_add_test(cases, whose_turn_does_not_come_transfers_nothing);
    return run_suite(suite);
}
