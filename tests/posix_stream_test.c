/*
 * posix_stream_test.c - plain read, write, recv, send and their kin, called
 * by virtual threads.
 */
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "tests/posix.h"

/* ---- One call each way -------------------------------------------------- */

static ssize_t by_readv(int fd, void *buffer, size_t size)
{
    struct iovec iov[2] = {{buffer, 2}, {(char *)buffer + 2, size - 2}};
    return readv(fd, iov, 2);
}

static ssize_t by_writev(int fd, const void *buffer, size_t size)
{
    struct iovec iov[3] = {{(void *)buffer, 1},
                           {NULL, 0},
                           {(char *)buffer + 1, size - 1}};
    return writev(fd, iov, 3);
}

static ssize_t by_recv(int fd, void *buffer, size_t size)
{
    return recv(fd, buffer, size, 0);
}

static ssize_t by_send(int fd, const void *buffer, size_t size)
{
    return send(fd, buffer, size, 0);
}

static ssize_t by_recvfrom(int fd, void *buffer, size_t size)
{
    struct sockaddr_storage from;
    socklen_t length = sizeof from;
    return recvfrom(fd, buffer, size, 0, (struct sockaddr *)&from, &length);
}

static ssize_t by_sendto(int fd, const void *buffer, size_t size)
{
    return sendto(fd, buffer, size, 0, NULL, 0);
}

static ssize_t by_recvmsg(int fd, void *buffer, size_t size)
{
    struct iovec iov[2] = {{buffer, 3}, {(char *)buffer + 3, size - 3}};
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};
    ssize_t n = recvmsg(fd, &message, 0);
    require(message.msg_iov == iov && message.msg_iovlen == 2);
    return n;
}

static ssize_t by_sendmsg(int fd, const void *buffer, size_t size)
{
    struct iovec iov[2] = {{(void *)buffer, 3},
                           {(char *)buffer + 3, size - 3}};
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};
    return sendmsg(fd, &message, 0);
}

static const struct way {
    ssize_t (*get)(int, void *, size_t);
    ssize_t (*put)(int, const void *, size_t);
    bool is_for_sockets;
} ways[] = {
    {read, write, false},
    {by_readv, by_writev, false},
    {by_recv, by_send, true},
    {by_recvfrom, by_sendto, true},
    {by_recvmsg, by_sendmsg, true},
};

static bool is_socket(enum kind kind)
{
    return kind == UNIX_STREAM || kind == TCP;
}

struct job {
    struct pair pair;
    const struct way *way;
    size_t size;
    unsigned char *bytes;
};

static void *get_hello(void *arg)
{
    struct job *j = arg;
    char text[8] = "";
    require(j->way->get(j->pair.reader, text, sizeof text) == 5);
    require(strcmp(text, "hello") == 0);
    require(j->way->put(j->pair.writer, "again", 5) == 5);
    require(j->way->get(j->pair.reader, text, sizeof text) == 5);
    return NULL;
}

/* The carriers are free meanwhile, or nobody could count. */
static void exchange_hello(enum kind kind, const struct way *way)
{
    struct job j = {.pair = open_pair(kind), .way = way};
    vthread_t t = start(get_hello, &j);
    until_waiting(get_hello, 1);
    require(write(j.pair.writer, "hello", 5) == 5);
    join(t);
    close_pair(j.pair);
}

START_TEST(each_call_waits_for_what_comes)
{
    ck_assert(vthread_posix_is_active());
    for (enum kind kind = 0; kind < KINDS; kind++)
        for (size_t i = 0; i < COUNT_OF(ways); i++)
            if (is_socket(kind) || !ways[i].is_for_sockets)
                exchange_hello(kind, &ways[i]);
}
END_TEST

/* ---- Everything is written ---------------------------------------------- */

enum { LARGE = 1200 * 1000 };

static void *put_all(void *arg)
{
    struct job *j = arg;
    require(j->way->put(j->pair.writer, j->bytes, j->size)
            == (ssize_t)j->size);
    return NULL;
}

static void *get_all(void *arg)
{
    struct job *j = arg;
    unsigned char *got = malloc(j->size);
    size_t sum = 0;
    while (sum < j->size) {
        size_t left = j->size - sum, piece = left < 7001 ? left : 7001;
        ssize_t n = j->way->get(j->pair.reader, got + sum, piece);
        require(n > 0);
        sum += (size_t)n;
    }
    require(memcmp(got, j->bytes, j->size) == 0);
    free(got);
    return NULL;
}

static void write_whole(enum kind kind, const struct way *way)
{
    struct job j = {.pair = open_pair(kind), .way = way, .size = LARGE};
    j.bytes = malloc(LARGE);
    fill_pattern(j.bytes, LARGE);
    vthread_t writer = start(put_all, &j);
    until_waiting(put_all, 1);
    join(start(get_all, &j));
    join(writer);
    free(j.bytes);
    close_pair(j.pair);
}

START_TEST(a_write_ends_when_all_is_written)
{
    for (enum kind kind = 0; kind < STREAMS; kind++)
        for (size_t i = 0; i < COUNT_OF(ways); i++)
            if (is_socket(kind) || !ways[i].is_for_sockets)
                write_whole(kind, &ways[i]);
}
END_TEST

/* A FIFO knows no RWF_NOWAIT when it was opened by name. */
START_TEST(a_fifo_is_written_whole_as_well)
{
    char path[] = "/tmp/posix-fifo-XXXXXX";
    struct job j = {.way = &ways[0], .size = LARGE};
    ck_assert_ptr_nonnull(mkdtemp(path));
    char name[64];
    snprintf(name, sizeof name, "%s/fifo", path);
    ck_assert_int_eq(mkfifo(name, 0600), 0);
    j.pair.reader = open(name, O_RDONLY | O_NONBLOCK);
    j.pair.writer = open(name, O_WRONLY);
    ck_assert_int_eq(fcntl(j.pair.reader, F_SETFL, O_RDONLY), 0);
    j.bytes = malloc(LARGE);
    fill_pattern(j.bytes, LARGE);
    vthread_t writer = start(put_all, &j);
    until_waiting(put_all, 1);
    join(start(get_all, &j));
    join(writer);
    free(j.bytes);
    close_pair(j.pair);
    unlink(name);
    rmdir(path);
}
END_TEST

/* ---- Flags -------------------------------------------------------------- */

static void *get_waitall(void *arg)
{
    struct job *j = arg;
    unsigned char got[10000];
    struct iovec iov[3] = {{got, 1}, {got + 1, 4999}, {got + 5000, 5000}};
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = 3};
    require(recv(j->pair.reader, got, sizeof got, MSG_WAITALL)
            == sizeof got);
    require(memcmp(got, j->bytes, sizeof got) == 0);
    require(recvmsg(j->pair.reader, &message, MSG_WAITALL) == sizeof got);
    require(memcmp(got, j->bytes, sizeof got) == 0);
    require(recv(j->pair.reader, got, sizeof got, MSG_WAITALL) == 7);
    return NULL;
}

/* In pieces, and the rest is cut off by the end. */
static void waitall(enum kind kind)
{
    unsigned char bytes[10000];
    struct job j = {.pair = open_pair(kind), .bytes = bytes};
    fill_pattern(bytes, sizeof bytes);
    vthread_t t = start(get_waitall, &j);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof bytes; i += 2500) {
            until_waiting(get_waitall, 1);
            require(write(j.pair.writer, bytes + i, 2500) == 2500);
        }
    }
    require(write(j.pair.writer, bytes, 7) == 7);
    close(j.pair.writer);
    join(t);
    close(j.pair.reader);
}

START_TEST(msg_waitall_waits_for_all)
{
    waitall(UNIX_STREAM);
    waitall(TCP);
}
END_TEST

static void *peek_claims(void *arg)
{
    struct pair pair = open_pair(TCP);
    char text[8];
    (void)arg;
    require(write(pair.writer, "abc", 3) == 3);
    require(recv(pair.reader, text, sizeof text, MSG_PEEK) == 3);
    require(recv(pair.reader, text, 3, MSG_PEEK | MSG_WAITALL) == 3);
    require(recv(pair.reader, text, sizeof text, MSG_DONTWAIT) == 3);
    require(fails(EAGAIN, recv(pair.reader, text, 1, MSG_DONTWAIT)));
    require(fails(EAGAIN, recv(pair.reader, text, 1,
                               MSG_DONTWAIT | MSG_WAITALL)));
    require(fails(EAGAIN, recv(pair.reader, text, 1,
                               MSG_DONTWAIT | MSG_PEEK)));
    require(fails(EINVAL, recv(pair.reader, text, 1, MSG_OOB)));
    close_pair(pair);
    return NULL;
}

START_TEST(msg_peek_and_msg_dontwait_do_what_they_say)
{
    on_virtual(peek_claims);
}
END_TEST

static void send_descriptor(int socket, int fd)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)),
                            .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS}};
    struct iovec iov = {"x", 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    require(sendmsg(socket, &message, 0) == 1);
}

static void *receive_descriptor(void *arg)
{
    struct pair *pair = arg;
    char text, room[CMSG_SPACE(sizeof(int))];
    int fd = -1;
    struct iovec iov = {&text, 1};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = room,
                             .msg_controllen = sizeof room};
    require(recvmsg(pair->reader, &message, MSG_WAITALL) == 1);
    require(message.msg_controllen >= CMSG_LEN(sizeof(int)));
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return as_pointer(fd);
}

START_TEST(a_descriptor_is_passed_on)
{
    struct pair pair = open_pair(UNIX_STREAM), passed = open_pair(PIPE);
    char text[2];
    vthread_t t = start(receive_descriptor, &pair);
    until_waiting(receive_descriptor, 1);
    send_descriptor(pair.writer, passed.reader);
    int fd = (int)as_number(join(t));
    ck_assert_int_eq(write(passed.writer, "y", 1), 1);
    ck_assert_int_eq(read(fd, text, 2), 1);
    close(fd);
    close_pair(pair);
    close_pair(passed);
}
END_TEST

/* ---- Descriptors that do not wait --------------------------------------- */

static void *nonblocking_claims(void *arg)
{
    char bytes[70000] = "";
    (void)arg;
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct pair pair = open_pair(kind);
        int blocking = fcntl(pair.reader, F_GETFL);
        set_nonblocking(pair.reader);
        set_nonblocking(pair.writer);
        int nonblocking = fcntl(pair.reader, F_GETFL);
        require(fails(EAGAIN, read(pair.reader, bytes, 1)));
        require(fails(EAGAIN, by_readv(pair.reader, bytes, 9)));
        if (is_socket(kind))
            require(fails(EAGAIN, recv(pair.reader, bytes, 9, MSG_WAITALL)));
        while (write(pair.writer, bytes, sizeof bytes) > 0)
            ;
        require(errno == EAGAIN);
        require(fcntl(pair.reader, F_GETFL) == nonblocking);
        require(nonblocking == (blocking | O_NONBLOCK));
        close_pair(pair);
    }
    return NULL;
}

START_TEST(a_nonblocking_descriptor_does_not_wait)
{
    on_virtual(nonblocking_claims);
}
END_TEST

struct flags {
    struct pair pair;
    int reader;
    atomic_int is_interrupted;
};

static void *read_one(void *arg)
{
    struct flags *f = arg;
    char text;
    return as_pointer(read(f->pair.reader, &text, 1));
}

START_TEST(a_blocking_descriptor_stays_so)
{
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct flags f = {.pair = open_pair(kind)};
        f.reader = fcntl(f.pair.reader, F_GETFL);
        vthread_t t = start(read_one, &f);
        until_waiting(read_one, 1);
        ck_assert_int_eq(fcntl(f.pair.reader, F_GETFL), f.reader);
        ck_assert_int_eq(write(f.pair.writer, "x", 1), 1);
        ck_assert_int_eq(as_number(join(t)), 1);
        ck_assert_int_eq(fcntl(f.pair.reader, F_GETFL), f.reader);
        close_pair(f.pair);
    }
}
END_TEST

/* ---- Time-outs ---------------------------------------------------------- */

enum { LIMIT_MS = 20 };

static bool took(uint64_t begin_ns, uint64_t ms)
{
    return vthread_now() - begin_ns >= ms * VTHREAD_MS;
}

static void receive_limit(enum kind kind)
{
    struct pair pair = open_pair(kind);
    char text[9];
    set_limit(pair.reader, SO_RCVTIMEO, LIMIT_MS);
    uint64_t begin_ns = vthread_now();
    require(fails(EAGAIN, read(pair.reader, text, 9)));
    require(took(begin_ns, LIMIT_MS));
    require(fails(EAGAIN, recv(pair.reader, text, 9, MSG_WAITALL)));
    require(took(begin_ns, 2 * LIMIT_MS));
    require(write(pair.writer, "xyz", 3) == 3);
    require(recv(pair.reader, text, 9, MSG_WAITALL) == 3);
    require(took(begin_ns, 3 * LIMIT_MS));
    close_pair(pair);
}

static void send_limit(enum kind kind)
{
    struct pair pair = open_pair(kind);
    char *bytes = calloc(1, LARGE * 8);
    set_limit(pair.writer, SO_SNDTIMEO, LIMIT_MS);
    ssize_t n = send(pair.writer, bytes, LARGE * 8, 0);
    require(n > 0 && n < LARGE * 8);
    while (n > 0)
        n = send(pair.writer, bytes, LARGE * 8, 0);
    require(errno == EAGAIN);
    free(bytes);
    close_pair(pair);
}

static void *limit_claims(void *arg)
{
    (void)arg;
    receive_limit(UNIX_STREAM);
    receive_limit(TCP);
    send_limit(UNIX_STREAM);
    send_limit(TCP);
    return NULL;
}

START_TEST(so_rcvtimeo_and_so_sndtimeo_end_the_wait_with_eagain)
{
    on_virtual(limit_claims);
}
END_TEST

/* ---- Being closed, interrupted, cancelled ------------------------------- */

static atomic_int readers;

static void *read_errno(void *arg)
{
    struct flags *f = arg;
    char text;
    atomic_fetch_add(&readers, 1);
    errno = 0;
    return as_pointer(read(f->pair.reader, &text, 1) == -1 ? errno : 0);
}

static void *close_reader(void *arg)
{
    struct flags *f = arg;
    return as_pointer(close(f->pair.reader));
}

START_TEST(close_wakes_those_who_wait_with_ebadf)
{
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct flags f = {.pair = open_pair(kind)};
        vthread_t t[3];
        for (int i = 0; i < 3; i++)
            t[i] = start(read_errno, &f);
        /* A census may take one for waiting that is just about to begin. */
        while (atomic_load(&readers) < 3 * ((int)kind + 1))
            vthread_yield();
        until_waiting(read_errno, 3);
        ck_assert_int_eq(as_number(join(start(close_reader, &f))), 0);
        for (int i = 0; i < 3; i++)
            ck_assert_int_eq(as_number(join(t[i])), EBADF);
        ck_assert_int_eq(as_number(join(start(close_reader, &f))), -1);
        close(f.pair.writer);
    }
}
END_TEST

static void *read_twice(void *arg)
{
    struct flags *f = arg;
    char text;
    require(fails(EINTR, read(f->pair.reader, &text, 1)));
    atomic_store(&f->is_interrupted, true);
    require(read(f->pair.reader, &text, 1) == 1);
    return NULL;
}

START_TEST(an_interrupt_is_eintr_once)
{
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct flags f = {.pair = open_pair(kind)};
        vthread_t t = start(read_twice, &f);
        until_waiting(read_twice, 1);
        ck_assert_int_eq(vthread_interrupt(t), 0);
        until(&f.is_interrupted);
        ck_assert_int_eq(write(f.pair.writer, "x", 1), 1);
        join(t);
        close_pair(f.pair);
    }
}
END_TEST

static void *write_until_interrupted(void *arg)
{
    struct job *j = arg;
    ssize_t n = write(j->pair.writer, j->bytes, j->size);
    require(n > 0 && n < (ssize_t)j->size);
    /* TCP has room again now and then. */
    while (n > 0)
        n = write(j->pair.writer, j->bytes, j->size);
    require(n == -1 && errno == EINTR);
    return NULL;
}

START_TEST(an_interrupt_in_the_middle_is_told_by_the_next_call)
{
    for (enum kind kind = 0; kind < STREAMS; kind++) {
        struct job j = {.pair = open_pair(kind), .size = LARGE * 8};
        j.bytes = calloc(1, j.size);
        vthread_t t = start(write_until_interrupted, &j);
        until_waiting(write_until_interrupted, 1);
        ck_assert_int_eq(vthread_interrupt(t), 0);
        join(t);
        free(j.bytes);
        close_pair(j.pair);
    }
}
END_TEST

static int read_cancelled(const void *arg, void *result)
{
    int fd = *(const int *)arg;
    char text;
    (void)result;
    for (int i = 0; i < 3; i++)
        require(fails(ECANCELED, read(fd, &text, 1)));
    return 0;
}

static void *cancel_claims(void *arg)
{
    struct pair pair = open_pair(TCP);
    vthread_scope_t *scope;
    (void)arg;
    require(vthread_scope_open(&scope, NULL) == 0);
    require(vthread_scope_fork(scope, NULL, read_cancelled, &pair.reader,
                               sizeof pair.reader, 0)
            == 0);
    vthread_yield();
    require(vthread_scope_cancel(scope) == 0);
    require(vthread_scope_close(scope) == 0);
    close_pair(pair);
    return NULL;
}

START_TEST(a_cancelled_thread_gets_ecanceled_each_time)
{
    on_virtual(cancel_claims);
}
END_TEST

/* ---- errno -------------------------------------------------------------- */

enum { ERRNO_THREADS = 200, ERRNO_ROUNDS = 20 };

/* The compiler may keep the address of errno as it likes. */
static void *errno_claims(void *arg)
{
    struct pair pair = open_pair(UNIX_STREAM);
    char text[4];
    intptr_t n = as_number(arg);
    set_limit(pair.reader, SO_RCVTIMEO, 1 + (unsigned)n % 3);
    for (int i = 0; i < ERRNO_ROUNDS; i++) {
        require(fails(EAGAIN, read(pair.reader, text, 4)));
        require(fails(EBADF, read(-1, text, 4)));
        require(fails(ENOTSOCK, recv(STDIN_FILENO, text, 4, 0)));
        usleep(100);
        require(fails(EBADF, send(-1, text, 4, 0)));
        errno = 1000 + (int)n;
        require(write(pair.writer, "abcd", 4) == 4);
        require(read(pair.reader, text, 4) == 4);
        require(errno == 1000 + (int)n);
    }
    close_pair(pair);
    return NULL;
}

START_TEST(errno_is_right_after_each_call)
{
    vthread_t t[ERRNO_THREADS];
    close(STDIN_FILENO);
    ck_assert_int_eq(open("/dev/null", O_RDONLY), STDIN_FILENO);
    for (int i = 0; i < ERRNO_THREADS; i++)
        t[i] = start(errno_claims, as_pointer(i));
    for (int i = 0; i < ERRNO_THREADS; i++)
        join(t[i]);
}
END_TEST

/* ---- Thousands ---------------------------------------------------------- */

enum { CROWD = 1000, CROWD_ROUNDS = 3 };

static void *answer(void *arg)
{
    struct pair *pair = arg;
    char byte;
    while (read(pair->reader, &byte, 1) == 1)
        require(write(pair->reader, &byte, 1) == 1);
    require(close(pair->reader) == 0);
    return NULL;
}

static void *ask(void *arg)
{
    struct pair *pair = arg;
    for (int i = 0; i < CROWD_ROUNDS; i++) {
        char byte = (char)i, got = -1;
        require(write(pair->writer, &byte, 1) == 1);
        require(read(pair->writer, &got, 1) == 1);
        require(got == byte);
    }
    require(close(pair->writer) == 0);
    return NULL;
}

START_TEST(thousands_talk_on_a_few_carriers)
{
    struct pair *pairs = calloc(CROWD, sizeof *pairs);
    vthread_t *t = calloc(2 * CROWD, sizeof *t);
    for (int i = 0; i < CROWD; i++) {
        pairs[i] = open_pair(UNIX_STREAM);
        t[2 * i] = start(answer, &pairs[i]);
        t[2 * i + 1] = start(ask, &pairs[i]);
    }
    for (int i = 0; i < 2 * CROWD; i++)
        join(t[i]);
    free(t);
    free(pairs);
}
END_TEST

/* ---- Others ------------------------------------------------------------- */

static void *eventfd_claims(void *arg)
{
    int fd = (int)as_number(arg);
    uint64_t value = 0;
    require(read(fd, &value, sizeof value) == sizeof value);
    require(value == 3);
    return NULL;
}

START_TEST(an_eventfd_is_waited_for)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    uint64_t three = 3;
    vthread_t t = start(eventfd_claims, as_pointer(fd));
    until_waiting(eventfd_claims, 1);
    ck_assert_int_eq(write(fd, &three, sizeof three), sizeof three);
    join(t);
    close(fd);
}
END_TEST

static void *nothing_claims(void *arg)
{
    struct pair pair = open_pair(TCP);
    struct iovec none = {NULL, 0};
    char text;
    (void)arg;
    require(read(pair.reader, &text, 0) == 0);
    require(readv(pair.reader, &none, 1) == 0);
    require(write(pair.writer, &text, 0) == 0);
    require(fails(EBADF, read(-1, &text, 1)));
    require(fails(EBADF, write(-1, &text, 1)));
    require(close(pair.writer) == 0);
    require(read(pair.reader, &text, 1) == 0);
    require(close(pair.reader) == 0);
    return NULL;
}

START_TEST(nothing_the_end_and_errors_come_at_once)
{
    on_virtual(nothing_claims);
}
END_TEST

/* Threads of both kinds may wait for the same descriptor. */
static void *platform_read(void *arg)
{
    struct pair *pair = arg;
    char text[3];
    require(read(pair->reader, text, 3) == 3);
    require(fails(EBADF, read(-1, text, 3)));
    return NULL;
}

START_TEST(platform_threads_call_libc)
{
    struct pair pair = open_pair(PIPE);
    pthread_t t;
    ck_assert_int_eq(pthread_create(&t, NULL, platform_read, &pair), 0);
    ck_assert_int_eq(write(pair.writer, "abc", 3), 3);
    ck_assert_int_eq(pthread_join(t, NULL), 0);
    close_pair(pair);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("posix_stream");
    TCase *cases = new_case(suite, "posix_stream");
    set_mode("VTHREAD_PARALLELISM", "2");
    tcase_add_test(cases, each_call_waits_for_what_comes);
    tcase_add_test(cases, a_write_ends_when_all_is_written);
    tcase_add_test(cases, a_fifo_is_written_whole_as_well);
    tcase_add_test(cases, msg_waitall_waits_for_all);
    tcase_add_test(cases, msg_peek_and_msg_dontwait_do_what_they_say);
    tcase_add_test(cases, a_descriptor_is_passed_on);
    tcase_add_test(cases, a_nonblocking_descriptor_does_not_wait);
    tcase_add_test(cases, a_blocking_descriptor_stays_so);
    tcase_add_test(cases, so_rcvtimeo_and_so_sndtimeo_end_the_wait_with_eagain);
    tcase_add_test(cases, close_wakes_those_who_wait_with_ebadf);
    tcase_add_test(cases, an_interrupt_is_eintr_once);
    tcase_add_test(cases, an_interrupt_in_the_middle_is_told_by_the_next_call);
    tcase_add_test(cases, a_cancelled_thread_gets_ecanceled_each_time);
    tcase_add_test(cases, errno_is_right_after_each_call);
    tcase_add_test(cases, thousands_talk_on_a_few_carriers);
    tcase_add_test(cases, an_eventfd_is_waited_for);
    tcase_add_test(cases, nothing_the_end_and_errors_come_at_once);
    tcase_add_test(cases, platform_threads_call_libc);
    return run_suite(suite);
}
