/*
 * io_message_test.c - sockets beyond streams: flags, vectors, messages with
 * descriptors in them, datagrams.
 */
#include "tests/descriptors.h"

/* ---- Flags -------------------------------------------------------------- */

START_TEST(msg_dontwait_does_not_wait)
{
    struct pair pair = open_pair(_i ? TCP : UNIX_STREAM);
    static char buffer[100000];
    size_t n;
    ck_assert_int_eq(vthread_recv(pair.reader, buffer, 10, MSG_DONTWAIT, &n),
                     EAGAIN);
    while (vthread_send(pair.writer, buffer, sizeof buffer, MSG_DONTWAIT, &n)
           == 0)
        continue;
    ck_assert_int_eq(
        vthread_send(pair.writer, buffer, sizeof buffer, MSG_DONTWAIT, &n),
        EAGAIN);
    close_pair(pair);
}
END_TEST

START_TEST(msg_peek_takes_nothing_and_the_rest_is_still_seen)
{
    struct pair pair = open_pair(_i ? TCP : UNIX_STREAM);
    char buffer[10];
    size_t n;
    require(write(pair.writer, "hello", 5) == 5);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(vthread_recv(pair.reader, buffer, 10, MSG_PEEK, &n),
                         0);
        ck_assert_uint_eq(n, 5);
    }
    ck_assert_int_eq(vthread_recv(pair.reader, buffer, 10, 0, &n), 0);
    ck_assert_uint_eq(n, 5);
    ck_assert_int_eq(
        vthread_recv_until(pair.reader, buffer, 10, MSG_PEEK, &n, 0),
        ETIMEDOUT);
    close_pair(pair);
}
END_TEST

static void *send_in_pieces(void *arg)
{
    int fd = *(int *)arg;
    size_t n;
    for (int i = 0; i < 10; i++) {
        require(vthread_send(fd, "0123456789", 10, 0, &n) == 0 && n == 10);
        vthread_sleep(VTHREAD_MS);
    }
    return NULL;
}

START_TEST(msg_waitall_waits_for_all_or_the_end)
{
    struct pair pair = open_pair(_i ? TCP : UNIX_STREAM);
    char buffer[200];
    size_t n;
    vthread_t sender = start(send_in_pieces, &pair.writer);
    ck_assert_int_eq(vthread_recv(pair.reader, buffer, 95, MSG_WAITALL, &n),
                     0);
    ck_assert_uint_eq(n, 95);
    join(sender);
    ck_assert_int_eq(vthread_recv_until(pair.reader, buffer, 100, MSG_WAITALL,
                                        &n, vthread_after(VTHREAD_MS)),
                     0);
    ck_assert_uint_eq(n, 5);
    ck_assert_int_eq(vthread_recv_until(pair.reader, buffer, 100, MSG_WAITALL,
                                        &n, vthread_after(VTHREAD_MS)),
                     ETIMEDOUT);
    require(write(pair.writer, "end", 3) == 3);
    vthread_close(pair.writer);
    ck_assert_int_eq(vthread_recv(pair.reader, buffer, 100, MSG_WAITALL, &n),
                     0);
    ck_assert_uint_eq(n, 3);
    vthread_close(pair.reader);
}
END_TEST

static void *receive_all_interrupted(void *arg)
{
    char buffer[10];
    size_t n;
    require(vthread_recv(*(int *)arg, buffer, 10, MSG_WAITALL, &n) == 0);
    require(n == 5);
    require(vthread_interrupted());
    return NULL;
}

START_TEST(an_interrupt_in_msg_waitall_loses_neither_data_nor_itself)
{
    struct pair pair = open_pair(TCP);
    require(write(pair.writer, "hello", 5) == 5);
    vthread_t reader = start(receive_all_interrupted, &pair.reader);
    await_waiting(pair.reader, DIRECTION_READ, 1);
    vthread_interrupt(reader);
    join(reader);
    close_pair(pair);
}
END_TEST

/* A read stops at the urgent byte, with data behind it. */
static void *read_past_the_urgent_byte(void *arg)
{
    int fd = *(int *)arg;
    char buffer[100];
    size_t n, more;
    require(vthread_read(fd, buffer, sizeof buffer, &n) == 0 && n <= 5);
    while (vthread_recv(fd, buffer, 1, MSG_OOB, &more) != 0)
        vthread_yield();
    require(more == 1 && buffer[0] == '!');
    require(vthread_recv(fd, buffer, 1, MSG_OOB, &more) == EINVAL);
    while (n < 9) {
        require(vthread_read(fd, buffer, sizeof buffer, &more) == 0);
        n += more;
    }
    require(n == 9);
    return NULL;
}

START_TEST(a_read_that_stops_at_urgent_data_is_not_taken_for_the_last)
{
    struct pair pair = open_pair(TCP);
    vthread_t reader = start(read_past_the_urgent_byte, &pair.reader);
    await_waiting(pair.reader, DIRECTION_READ, 1);
    require(send(pair.writer, "hello!", 6, MSG_OOB) == 6);
    require(send(pair.writer, "more", 4, 0) == 4);
    join(reader);
    close_pair(pair);
}
END_TEST

/* ---- Vectors and messages ----------------------------------------------- */

static void *write_vectors(void *arg)
{
    char a[] = "one", b[] = "two", c[] = "three";
    struct iovec iov[3] = {{a, 3}, {b, 3}, {c, 5}};
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = 3};
    size_t n;
    require(vthread_writev(*(int *)arg, iov, 3, &n) == 0 && n == 11);
    require(vthread_sendmsg(*(int *)arg, &message, 0, &n) == 0 && n == 11);
    return NULL;
}

START_TEST(vectors_and_messages_arrive_in_their_parts)
{
    struct pair pair = open_pair(_i ? TCP : UNIX_STREAM);
    char a[4] = "", b[20] = "";
    struct iovec iov[2] = {{a, 3}, {b, 8}};
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};
    size_t n;
    join(start(write_vectors, &pair.writer));
    ck_assert_int_eq(vthread_readv(pair.reader, iov, 2, &n), 0);
    ck_assert_uint_eq(n, 11);
    ck_assert_str_eq(a, "one");
    ck_assert_str_eq(b, "twothree");
    memset(a, 0, sizeof a);
    memset(b, 0, sizeof b);
    iov[1].iov_len = 15;
    ck_assert_int_eq(vthread_recvmsg(pair.reader, &message, 0, &n), 0);
    ck_assert_uint_eq(n, 11);
    ck_assert_str_eq(a, "one");
    ck_assert_str_eq(b, "twothree");
    ck_assert_int_eq(
        vthread_recvmsg_until(pair.reader, &message, 0, &n, 0), ETIMEDOUT);
    ck_assert_int_eq(vthread_readv_until(pair.reader, iov, 2, &n, 0),
                     ETIMEDOUT);
    ck_assert_int_eq(vthread_readv(pair.reader, iov, -1, &n), EINVAL);
    ck_assert_int_eq(vthread_writev(pair.writer, iov, -1, &n), EINVAL);
    close_pair(pair);
}
END_TEST

static void send_with_descriptor(int fd, const char *text)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
                            .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS}};
    struct iovec iov = {.iov_base = (void *)text, .iov_len = strlen(text)};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    size_t n;
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    require(vthread_sendmsg(fd, &message, 0, &n) == 0 && n == strlen(text));
}

/* 0: read, 1: readv, 2: recv, 3: recvmsg. */
static size_t read_somehow(int fd, int how)
{
    static char buffer[100];
    struct iovec iov = {buffer, sizeof buffer};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    size_t n;
    int err = how == 0   ? vthread_read(fd, buffer, sizeof buffer, &n)
              : how == 1 ? vthread_readv(fd, &iov, 1, &n)
              : how == 2 ? vthread_recv(fd, buffer, sizeof buffer, 0, &n)
                         : vthread_recvmsg(fd, &message, 0, &n);
    ck_assert_int_eq(err, 0);
    return n;
}

START_TEST(a_read_that_stops_at_a_passed_descriptor_is_not_taken_for_the_last)
{
    struct pair pair = open_pair(UNIX_STREAM);
    send_with_descriptor(pair.writer, "first");
    send_with_descriptor(pair.writer, "second");
    require(write(pair.writer, "third", 5) == 5);
    ck_assert_uint_eq(read_somehow(pair.reader, _i), 5);
    ck_assert_uint_eq(read_somehow(pair.reader, _i), 6);
    ck_assert_uint_eq(read_somehow(pair.reader, _i), 5);
    close_pair(pair);
}
END_TEST

/* ---- Datagrams ---------------------------------------------------------- */

static void *receive_datagrams(void *arg)
{
    char buffer[100];
    size_t n;
    for (size_t size = 0; size < 50; size++) {
        require(vthread_recv(*(int *)arg, buffer, sizeof buffer, 0, &n) == 0);
        require(n == size);
    }
    return NULL;
}

static void udp_pair(int fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fds[0] = socket(AF_INET, SOCK_DGRAM, 0);
    fds[1] = socket(AF_INET, SOCK_DGRAM, 0);
    require(bind(fds[0], (struct sockaddr *)&address, length) == 0);
    require(getsockname(fds[0], (struct sockaddr *)&address, &length) == 0);
    ck_assert_int_eq(
        vthread_connect(fds[1], (struct sockaddr *)&address, length), 0);
}

START_TEST(datagrams_keep_their_boundaries)
{
    int fds[2];
    char zeros[100] = "";
    size_t n;
    if (_i == 0)
        udp_pair(fds);
    else
        require(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds) == 0);
    vthread_t receiver = start(receive_datagrams, &fds[0]);
    for (size_t size = 0; size < 50; size++) {
        if (size % 7 == 0)
            await_waiting(fds[0], DIRECTION_READ, 1);
        ck_assert_int_eq(vthread_send(fds[1], zeros, size, 0, &n), 0);
    }
    join(receiver);
    vthread_close(fds[0]);
    vthread_close(fds[1]);
}
END_TEST

struct named_queue {
    struct sockaddr_un address;
    int receiver, sender;
};

static void *send_by_name(void *arg)
{
    struct named_queue *queue = arg;
    char byte = 'x';
    struct iovec iov = {&byte, 1};
    struct msghdr message = {.msg_name = &queue->address,
                             .msg_namelen = sizeof queue->address,
                             .msg_iov = &iov,
                             .msg_iovlen = 1};
    size_t n;
    for (int i = 0; i < 100; i++)
        require(vthread_sendmsg(queue->sender, &message, 0, &n) == 0);
    return NULL;
}

/* Nobody wakes the sender then: it looks again by itself. */
START_TEST(a_full_queue_of_a_receiver_named_in_the_message_is_waited_for)
{
    struct named_queue *queue = calloc(1, sizeof *queue);
    char byte;
    size_t n;
    queue->receiver = socket(AF_UNIX, SOCK_DGRAM, 0);
    queue->sender = socket(AF_UNIX, SOCK_DGRAM, 0);
    queue->address.sun_family = AF_UNIX;
    snprintf(queue->address.sun_path + 1, 90, "vthread-%d", (int)getpid());
    require(bind(queue->receiver, (struct sockaddr *)&queue->address,
                 sizeof queue->address)
            == 0);
    vthread_t sender = start(send_by_name, queue);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(vthread_recv(queue->receiver, &byte, 1, 0, &n), 0);
        if (i == 10)
            vthread_sleep(20 * VTHREAD_MS);
    }
    join(sender);
    vthread_close(queue->receiver);
    vthread_close(queue->sender);
    free(queue);
}
END_TEST

/* ---- The suite ---------------------------------------------------------- */

int main(void)
{
    Suite *suite = suite_create("io_message");
    TCase *cases = new_case(suite, "flags");
    tcase_add_loop_test(cases, msg_dontwait_does_not_wait, 0, 2);
    tcase_add_loop_test(cases,
                        msg_peek_takes_nothing_and_the_rest_is_still_seen, 0,
                        2);
    tcase_add_loop_test(cases, msg_waitall_waits_for_all_or_the_end, 0, 2);
    tcase_add_test(cases,
                   an_interrupt_in_msg_waitall_loses_neither_data_nor_itself);
    tcase_add_test(cases,
                   a_read_that_stops_at_urgent_data_is_not_taken_for_the_last);
    cases = new_case(suite, "messages");
    tcase_add_loop_test(cases, vectors_and_messages_arrive_in_their_parts, 0,
                        2);
    tcase_add_loop_test(
        cases,
        a_read_that_stops_at_a_passed_descriptor_is_not_taken_for_the_last, 0,
        4);
    cases = new_case(suite, "datagrams");
    tcase_add_loop_test(cases, datagrams_keep_their_boundaries, 0, 2);
    tcase_add_test(
        cases, a_full_queue_of_a_receiver_named_in_the_message_is_waited_for);
    return run_suite(suite);
}
