/*
 * posix_messages_test.c - plain recvmmsg, sendmmsg and sendfile, by virtual
 * threads on one carrier: a call that blocked it would end all.
 */
#include <poll.h>
#include <string.h>
#include <sys/sendfile.h>

#include "tests/posix.h"

enum { MESSAGES = 200, TEXT_BYTES = 16 };

/* Messages of one buffer each. */
struct messages {
    struct mmsghdr headers[MESSAGES];
    struct iovec iov[MESSAGES];
    char texts[MESSAGES][TEXT_BYTES];
};

static struct messages *new_messages(void)
{
    struct messages *m = calloc(1, sizeof *m);
    require(m != NULL);
    for (int i = 0; i < MESSAGES; i++) {
        snprintf(m->texts[i], TEXT_BYTES, "message %d", i);
        m->iov[i] = (struct iovec){m->texts[i], TEXT_BYTES};
        m->headers[i].msg_hdr.msg_iov = &m->iov[i];
        m->headers[i].msg_hdr.msg_iovlen = 1;
    }
    return m;
}

static struct pair datagram_pair(void)
{
    int fds[2];
    require(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds) == 0);
    return (struct pair){.reader = fds[0], .writer = fds[1]};
}

static void put(struct pair *pair, int count)
{
    for (int i = 0; i < count; i++)
        require(send(pair->writer, "x", 1, 0) == 1);
}

/* ---- Both --------------------------------------------------------------- */

static void *send_all(void *arg)
{
    struct pair *pair = arg;
    struct messages *m = new_messages();
    require(sendmmsg(pair->writer, m->headers, MESSAGES, 0) == MESSAGES);
    for (int i = 0; i < MESSAGES; i++)
        require(m->headers[i].msg_len == TEXT_BYTES);
    free(m);
    return NULL;
}

static void *receive_all(void *arg)
{
    struct pair *pair = arg;
    struct messages *m = new_messages();
    memset(m->texts, 0, sizeof m->texts);
    require(recvmmsg(pair->reader, m->headers, MESSAGES, 0, NULL)
            == MESSAGES);
    for (int i = 0; i < MESSAGES; i++) {
        char text[TEXT_BYTES] = "";
        snprintf(text, sizeof text, "message %d", i);
        require(m->headers[i].msg_len == TEXT_BYTES);
        require(memcmp(m->texts[i], text, TEXT_BYTES) == 0);
    }
    free(m);
    return NULL;
}

/* A UNIX socket takes ten datagrams or so: the sender waits as well. */
START_TEST(many_messages_are_sent_and_received_whole)
{
    struct pair pair = datagram_pair();
    vthread_t receiver = start(receive_all, &pair);
    until_waiting(receive_all, 1);
    join(start(send_all, &pair));
    join(receiver);
    close_pair(pair);
}
END_TEST

static void *send_stream(void *arg)
{
    struct pair *pair = arg;
    enum { PART = 300 * 1000 };
    char *bytes = calloc(1, PART);
    struct iovec iov = {bytes, PART};
    struct mmsghdr headers[3];
    memset(headers, 0, sizeof headers);
    for (int i = 0; i < 3; i++) {
        headers[i].msg_hdr.msg_iov = &iov;
        headers[i].msg_hdr.msg_iovlen = 1;
    }
    require(sendmmsg(pair->writer, headers, 3, 0) == 3);
    for (int i = 0; i < 3; i++)
        require(headers[i].msg_len == PART);
    require(shutdown(pair->writer, SHUT_WR) == 0);
    free(bytes);
    return NULL;
}

static void *count_bytes(void *arg)
{
    struct pair *pair = arg;
    static char buffer[10000];
    intptr_t sum = 0;
    ssize_t n;
    while ((n = read(pair->reader, buffer, sizeof buffer)) > 0)
        sum += n;
    require(n == 0);
    return as_pointer(sum);
}

START_TEST(messages_of_a_stream_are_sent_to_their_last_byte)
{
    struct pair pair = open_pair(TCP);
    vthread_t reader = start(count_bytes, &pair);
    join(start(send_stream, &pair));
    ck_assert_int_eq(as_number(join(reader)), 900 * 1000);
    close_pair(pair);
}
END_TEST

/* ---- Receiving ---------------------------------------------------------- */

static void *receive_one_or_more(void *arg)
{
    struct pair *pair = arg;
    struct messages *m = new_messages();
    int n = recvmmsg(pair->reader, m->headers, MESSAGES, MSG_WAITFORONE,
                     NULL);
    free(m);
    return as_pointer(n);
}

START_TEST(msg_waitforone_waits_for_one)
{
    struct pair pair = datagram_pair();
    vthread_t t = start(receive_one_or_more, &pair);
    until_waiting(receive_one_or_more, 1);
    put(&pair, 1);
    ck_assert_int_eq(as_number(join(t)), 1);
    put(&pair, 5);
    ck_assert_int_eq(as_number(join(start(receive_one_or_more, &pair))), 5);
    close_pair(pair);
}
END_TEST

static void *limit_claims(void *arg)
{
    struct pair pair = datagram_pair();
    struct messages *m = new_messages();
    struct timespec none = {0}, bad = {.tv_nsec = -1}, long_ = {.tv_sec = 99};
    (void)arg;
    put(&pair, 3);
    require(recvmmsg(pair.reader, m->headers, 9, 0, &none) == 1);
    require(recvmmsg(pair.reader, m->headers, 2, 0, &long_) == 2);
    require(long_.tv_sec == 98);
    require(fails(EINVAL, recvmmsg(pair.reader, m->headers, 9, 0, &bad)));
    require(fails(EAGAIN,
                  recvmmsg(pair.reader, m->headers, 9, MSG_DONTWAIT, NULL)));
    set_limit(pair.reader, SO_RCVTIMEO, 5);
    require(fails(EAGAIN, recvmmsg(pair.reader, m->headers, 9, 0, NULL)));
    put(&pair, 2);
    require(recvmmsg(pair.reader, m->headers, 9, 0, NULL) == 2);
    set_nonblocking(pair.reader);
    require(fails(EAGAIN, recvmmsg(pair.reader, m->headers, 9, 0, NULL)));
    require(recvmmsg(pair.reader, m->headers, 0, 0, NULL) == 0);
    require(fails(EBADF, recvmmsg(-1, m->headers, 1, 0, NULL)));
    require(fails(ENOTSOCK, sendmmsg(0, m->headers, 1, 0)));
    close_pair(pair);
    free(m);
    return NULL;
}

START_TEST(limits_and_errors_are_libcs)
{
    on_virtual(limit_claims);
}
END_TEST

static void *receive_interrupted(void *arg)
{
    struct pair *pair = arg;
    struct messages *m = new_messages();
    require(recvmmsg(pair->reader, m->headers, MESSAGES, 0, NULL) == 2);
    require(fails(EINTR, recvmmsg(pair->reader, m->headers, 1, 0, NULL)));
    put(pair, 1);
    require(recvmmsg(pair->reader, m->headers, 1, 0, NULL) == 1);
    free(m);
    return NULL;
}

START_TEST(an_interrupt_loses_no_message_and_is_told_by_the_next_call)
{
    struct pair pair = datagram_pair();
    put(&pair, 2);
    vthread_t t = start(receive_interrupted, &pair);
    until_waiting(receive_interrupted, 1);
    ck_assert_int_eq(vthread_interrupt(t), 0);
    join(t);
    close_pair(pair);
}
END_TEST

/* ---- sendfile ----------------------------------------------------------- */

enum { FILE_BYTES = 1000 * 1000, FROM = 1234 };

static int pattern_file(void)
{
    char path[] = "/tmp/posix-messages-XXXXXX";
    unsigned char *bytes = malloc(FILE_BYTES);
    int fd = mkstemp(path);
    require(fd >= 0 && unlink(path) == 0);
    fill_pattern(bytes, FILE_BYTES);
    require(write(fd, bytes, FILE_BYTES) == FILE_BYTES);
    free(bytes);
    return fd;
}

static void *compare_rest(void *arg)
{
    struct pair *pair = arg;
    unsigned char *bytes = malloc(FILE_BYTES), *got = malloc(FILE_BYTES);
    size_t sum = 0;
    ssize_t n;
    fill_pattern(bytes, FILE_BYTES);
    while ((n = read(pair->reader, got + sum, FILE_BYTES - sum)) > 0)
        sum += (size_t)n;
    require(n == 0 && sum == FILE_BYTES - FROM);
    require(memcmp(got, bytes + FROM, sum) == 0);
    free(bytes);
    free(got);
    return NULL;
}

/* By its offset, and by the file's own position; more than there is. */
static void *send_file(void *arg)
{
    struct pair *pair = arg;
    int fd = pattern_file();
    off_t offset = FROM;
    require(sendfile(pair->writer, fd, &offset, 500 * 1000) == 500 * 1000);
    require(offset == FROM + 500 * 1000);
    require(lseek(fd, 0, SEEK_CUR) == FILE_BYTES);
    require(lseek(fd, offset, SEEK_SET) == offset);
    require(sendfile(pair->writer, fd, NULL, FILE_BYTES)
            == FILE_BYTES - offset);
    require(lseek(fd, 0, SEEK_CUR) == FILE_BYTES);
    require(sendfile64(pair->writer, fd, NULL, 1) == 0);
    close(fd);
    close(pair->writer);
    return NULL;
}

START_TEST(a_file_is_sent_whole_to_whoever_reads_slowly)
{
    struct pair pair = open_pair((enum kind)_i);
    vthread_t writer = start(send_file, &pair);
    until_waiting(send_file, 1);
    join(start(compare_rest, &pair));
    join(writer);
    close(pair.reader);
}
END_TEST

static void *sendfile_claims(void *arg)
{
    struct pair pair = open_pair(UNIX_STREAM);
    int fd = pattern_file(), copy = pattern_file();
    off_t offset = 7, bad = -1;
    char text[4];
    (void)arg;
    require(ftruncate(copy, 0) == 0 && lseek(copy, 0, SEEK_SET) == 0);
    require(sendfile(copy, fd, &offset, 1000) == 1000 && offset == 1007);
    require(lseek(copy, 0, SEEK_CUR) == 1000);
    require(fails(EINVAL, sendfile(pair.writer, fd, &bad, 1)));
    require(fails(EBADF, sendfile(pair.writer, -1, NULL, 1)));
    require(fails(EBADF, sendfile(-1, fd, NULL, 1)));
    require(sendfile(pair.writer, fd, NULL, 0) == 0);
    set_nonblocking(pair.writer);
    offset = 0;
    require(sendfile(pair.writer, fd, &offset, FILE_BYTES) < FILE_BYTES);
    require(offset > 0);
    require(fails(EAGAIN, sendfile(pair.writer, fd, &offset, FILE_BYTES)));
    require(read(pair.reader, text, 4) == 4);
    close(pair.reader);
    signal(SIGPIPE, SIG_IGN);
    require(fails(EPIPE, sendfile(pair.writer, fd, &offset, 1)));
    close(pair.writer);
    close(copy);
    close(fd);
    return NULL;
}

START_TEST(sendfile_answers_as_the_kernel_does)
{
    on_virtual(sendfile_claims);
}
END_TEST

static void *send_with_limit(void *arg)
{
    struct pair pair = open_pair(TCP);
    int fd = pattern_file();
    off_t offset = 0;
    set_limit(pair.writer, SO_SNDTIMEO, 5);
    ssize_t sent = sendfile(pair.writer, fd, &offset, FILE_BYTES);
    require(sent > 0 && sent < FILE_BYTES && offset == sent);
    close_pair(pair);
    close(fd);
    return arg;
}

START_TEST(so_sndtimeo_ends_a_sendfile_with_what_has_been_sent)
{
    on_virtual(send_with_limit);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("posix_messages");
    TCase *cases = new_case(suite, "posix_messages");
    set_mode("VTHREAD_PARALLELISM", "1");
    tcase_add_test(cases, many_messages_are_sent_and_received_whole);
    tcase_add_test(cases, messages_of_a_stream_are_sent_to_their_last_byte);
    tcase_add_test(cases, msg_waitforone_waits_for_one);
    tcase_add_test(cases, limits_and_errors_are_libcs);
    tcase_add_test(
        cases, an_interrupt_loses_no_message_and_is_told_by_the_next_call);
    tcase_add_loop_test(cases, a_file_is_sent_whole_to_whoever_reads_slowly,
                        0, STREAMS);
    tcase_add_test(cases, sendfile_answers_as_the_kernel_does);
    tcase_add_test(cases,
                   so_sndtimeo_ends_a_sendfile_with_what_has_been_sent);
    return run_suite(suite);
}
