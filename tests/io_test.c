/*
 * io_test.c - <vthread/io.h> but for vthread_poll and what becomes of
 * descriptor numbers: those are in poll_test.c and descriptor_test.c.
 */
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "platform/socket.h"
#include "tests/descriptors.h"

/* ---- System calls are counted ------------------------------------------- */

/* How a TCP socket is read and written, and registered: the library calls
 * these instead of its own and of libc's.  Not under the sanitizers, which
 * have their own. */
static _Atomic int counted_fd = -1;
static _Atomic unsigned reads, writes, registrations;

#if !UNDER_SANITIZER
static void count(int fd, _Atomic unsigned *counter)
{
    if (fd == atomic_load(&counted_fd))
        atomic_fetch_add(counter, 1);
}

ssize_t socket_recv(int fd, void *buffer, size_t size_bytes, int flags)
{
    count(fd, &reads);
    return syscall(SYS_recvfrom, fd, buffer, size_bytes, flags, NULL, NULL);
}

ssize_t socket_send(int fd, const void *buffer, size_t size_bytes, int flags)
{
    count(fd, &writes);
    return syscall(SYS_sendto, fd, buffer, size_bytes, flags, NULL, 0);
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    count(fd, &registrations);
    return (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
}
#endif

/* ---- Reading and writing ------------------------------------------------ */

/* A stream whose every byte depends on its place. */
struct stream {
    int fd;
    uint64_t seed;
    size_t size_bytes;
};

static unsigned char byte_at(const struct stream *stream, size_t place)
{
    return (unsigned char)((place * 2654435761u >> 7) + stream->seed);
}

static void *write_stream(void *arg)
{
    struct stream *stream = arg;
    struct random chance = {stream->seed};
    unsigned char buffer[3000];
    for (size_t done = 0; done < stream->size_bytes;) {
        size_t n = 1 + random_below(&chance, sizeof buffer);
        if (n > stream->size_bytes - done)
            n = stream->size_bytes - done;
        for (size_t i = 0; i < n; i++)
            buffer[i] = byte_at(stream, done + i);
        if (random_below(&chance, 2) == 0)
            require(vthread_write_all(stream->fd, buffer, n) == 0);
        else
            require(vthread_write(stream->fd, buffer, n, &n) == 0);
        done += n;
    }
    require(vthread_close(stream->fd) == 0);
    return NULL;
}

static void *read_stream(void *arg)
{
    struct stream *stream = arg;
    struct random chance = {~stream->seed};
    unsigned char buffer[4000];
    size_t done = 0, n;
    do {
        size_t size = 1 + random_below(&chance, sizeof buffer);
        require(vthread_read(stream->fd, buffer, size, &n) == 0);
        for (size_t i = 0; i < n; i++)
            require(buffer[i] == byte_at(stream, done + i));
        done += n;
    } while (n > 0);
    require(done == stream->size_bytes);
    require(vthread_close(stream->fd) == 0);
    return NULL;
}

START_TEST(bytes_arrive_intact_and_in_order_between_many_threads)
{
    enum { STREAMS = 24 };
    static struct stream ends[2 * STREAMS];
    vthread_t threads[2 * STREAMS];
    struct random chance = random_start("io_test");
    for (int i = 0; i < STREAMS; i++) {
        struct pair pair = open_pair((enum kind)_i);
        struct stream *stream = &ends[2 * i];
        stream[0] = stream[1] =
            (struct stream){.seed = random_next(&chance), .size_bytes = 300000};
        stream[0].fd = pair.reader;
        stream[1].fd = pair.writer;
        threads[2 * i] = start(read_stream, &stream[0]);
        threads[2 * i + 1] = start(write_stream, &stream[1]);
    }
    for (int i = 0; i < 2 * STREAMS; i++)
        join(threads[i]);
}
END_TEST

START_TEST(platform_threads_read_and_write)
{
    static struct stream ends[2];
    struct pair pair = open_pair((enum kind)_i);
    ends[0] = ends[1] = (struct stream){.seed = 5, .size_bytes = 1000000};
    ends[0].fd = pair.reader;
    ends[1].fd = pair.writer;
    pthread_t reader = start_platform(read_stream, &ends[0]);
    pthread_t writer = start_platform(write_stream, &ends[1]);
    join_platform(writer);
    join_platform(reader);
}
END_TEST

/* ---- The end of a stream ------------------------------------------------ */

static _Atomic bool has_read;

static void *read_five_then_the_end(void *arg)
{
    int fd = *(int *)arg;
    char buffer[100];
    size_t n;
    require(vthread_read(fd, buffer, sizeof buffer, &n) == 0);
    require(n == 5 && memcmp(buffer, "hello", 5) == 0);
    atomic_store(&has_read, true);
    require(vthread_read(fd, buffer, sizeof buffer, &n) == 0);
    require(n == 0);
    require(vthread_read(fd, buffer, sizeof buffer, &n) == 0);
    require(n == 0);
    return NULL;
}

START_TEST(the_end_is_seen_that_came_before_the_first_read)
{
    struct pair pair = open_pair((enum kind)_i);
    require(write(pair.writer, "hello", 5) == 5);
    close(pair.writer);
    join(start(read_five_then_the_end, &pair.reader));
    vthread_close(pair.reader);
}
END_TEST

/* Data and end at once, in every order with the reader's two reads. */
START_TEST(the_end_is_seen_that_comes_with_the_data)
{
    for (int round = 0; round < 1000; round++) {
        struct pair pair = open_pair((enum kind)_i);
        vthread_t reader = start(read_five_then_the_end, &pair.reader);
        if (round % 2 == 0)
            await_waiting(pair.reader, DIRECTION_READ, 1);
        require(write(pair.writer, "hello", 5) == 5);
        for (volatile int i = 0; i < round * 10; i++)
            continue;
        close(pair.writer);
        join(reader);
        vthread_close(pair.reader);
    }
}
END_TEST

START_TEST(the_end_is_seen_that_comes_after_the_short_read)
{
    struct pair pair = open_pair((enum kind)_i);
    vthread_t reader = start(read_five_then_the_end, &pair.reader);
    await_waiting(pair.reader, DIRECTION_READ, 1);
    atomic_store(&has_read, false);
    require(write(pair.writer, "hello", 5) == 5);
    while (!atomic_load(&has_read))
        sched_yield();
    await_waiting(pair.reader, DIRECTION_READ, 1);
    close(pair.writer);
    join(reader);
    vthread_close(pair.reader);
}
END_TEST

static void *write_until_it_fails(void *arg)
{
    static const char zeros[100000];
    size_t n;
    int err;
    do
        err = vthread_write(*(int *)arg, zeros, sizeof zeros, &n);
    while (err == 0);
    return as_result(err);
}

START_TEST(a_writer_waits_for_room_and_learns_that_the_reader_has_gone)
{
    signal(SIGPIPE, SIG_IGN);
    struct pair pair = open_pair((enum kind)_i);
    vthread_t writer = start(write_until_it_fails, &pair.writer);
    char buffer[1000];
    await_waiting(pair.writer, DIRECTION_WRITE, 1);
    require(read(pair.reader, buffer, sizeof buffer) > 0);
    close(pair.reader);
    int err = as_error(join(writer));
    ck_assert(err == EPIPE || err == ECONNRESET);
    vthread_close(pair.writer);
}
END_TEST

/* ---- Deadlines, interrupts ---------------------------------------------- */

START_TEST(a_deadline_ends_the_wait)
{
    struct pair pair = open_pair((enum kind)_i);
    char buffer[10];
    size_t n = 77;
    uint64_t deadline_ns = vthread_after(20 * VTHREAD_MS);
    ck_assert_int_eq(vthread_read_until(pair.reader, buffer, 10, &n,
                                        deadline_ns),
                     ETIMEDOUT);
    ck_assert_uint_ge(vthread_now(), deadline_ns);
    ck_assert_uint_eq(n, 77);
    fill(pair.writer);
    deadline_ns = vthread_after(20 * VTHREAD_MS);
    ck_assert_int_eq(vthread_write_until(pair.writer, buffer, 10, &n,
                                         deadline_ns),
                     ETIMEDOUT);
    ck_assert_uint_ge(vthread_now(), deadline_ns);
    ck_assert_int_eq(count_waiting(pair.reader, DIRECTION_READ), 0);
    ck_assert_int_eq(count_waiting(pair.writer, DIRECTION_WRITE), 0);
    close_pair(pair);
}
END_TEST

static void *read_too_late(void *arg)
{
    struct pair pair = *(struct pair *)arg;
    char buffer[10];
    size_t n;
    require(vthread_read_until(pair.reader, buffer, 10, &n, 0) == ETIMEDOUT);
    for (int i = 0; i < 100; i++) {
        /* A short read leaves the descriptor unready; then more comes, of
         * which nobody has been told. */
        require(write(pair.writer, "hello", 5) == 5);
        require(vthread_read_until(pair.reader, buffer, 10, &n, 0) == 0);
        require(n == 5);
    }
    require(vthread_read_until(pair.reader, buffer, 10, &n, 0) == ETIMEDOUT);
    return NULL;
}

START_TEST(what_can_be_done_at_once_is_done_after_the_deadline)
{
    struct pair pair = open_pair((enum kind)_i);
    join(start(read_too_late, &pair));
    close_pair(pair);
}
END_TEST

static void *read_interrupted(void *arg)
{
    struct pair pair = *(struct pair *)arg;
    char buffer[10];
    size_t n;
    for (int i = 0; i < 100; i++) {
        require(vthread_interrupt(vthread_self()) == 0);
        require(write(pair.writer, "hello", 5) == 5);
        require(vthread_read(pair.reader, buffer, 10, &n) == 0);
        require(n == 5);
        if (i % 2 == 0)
            require(vthread_read(pair.reader, buffer, 10, &n) == ECANCELED);
        else
            require(vthread_interrupted());
        require(!vthread_interrupted());
    }
    return NULL;
}

START_TEST(an_interrupt_is_seen_only_by_a_call_that_has_to_wait)
{
    struct pair pair = open_pair((enum kind)_i);
    join(start(read_interrupted, &pair));
    close_pair(pair);
}
END_TEST

static void *read_once(void *arg)
{
    char buffer[10];
    size_t n;
    return as_result(vthread_read(*(int *)arg, buffer, sizeof buffer, &n));
}

START_TEST(an_interrupt_ends_the_wait_and_the_next_goes_on)
{
    struct pair pair = open_pair((enum kind)_i);
    vthread_t first = start(read_once, &pair.reader);
    await_waiting(pair.reader, DIRECTION_READ, 1);
    vthread_t second = start(read_once, &pair.reader);
    await_waiting(pair.reader, DIRECTION_READ, 2);
    ck_assert_int_eq(vthread_interrupt(first), 0);
    ck_assert_int_eq(as_error(join(first)), ECANCELED);
    require(write(pair.writer, "hello", 5) == 5);
    ck_assert_int_eq(as_error(join(second)), 0);
    close_pair(pair);
}
END_TEST

/* An event, an interrupt and a deadline at the same time: no byte is lost,
 * whoever wins. */
static void *read_all_with_trouble(void *arg)
{
    int fd = *(int *)arg;
    size_t sum = 0, n = 1;
    while (n > 0) {
        char byte;
        int err = vthread_read_until(fd, &byte, 1, &n,
                                     vthread_after(30 * VTHREAD_US));
        if (err == 0)
            sum += n;
        else
            require(err == ETIMEDOUT || err == ECANCELED);
    }
    return (void *)sum;
}

START_TEST(no_byte_is_lost_between_events_interrupts_and_deadlines)
{
    enum { BYTES = 3000 };
    struct pair pair = open_pair((enum kind)_i);
    vthread_t reader = start(read_all_with_trouble, &pair.reader);
    for (int i = 0; i < BYTES; i++) {
        require(write(pair.writer, "x", 1) == 1);
        vthread_interrupt(reader);
        for (volatile int j = 0; j < i; j++)
            continue;
    }
    require(vthread_close(pair.writer) == 0);
    ck_assert_uint_eq((size_t)join(reader), BYTES);
    vthread_close(pair.reader);
}
END_TEST

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

/* ---- Other kinds of files ----------------------------------------------- */

static void *add_to_event(void *arg)
{
    uint64_t value = 3;
    size_t n;
    for (int i = 0; i < 100; i++) {
        require(vthread_write(*(int *)arg, &value, 8, &n) == 0);
        vthread_yield();
    }
    return NULL;
}

START_TEST(an_eventfd_is_waited_for)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    uint64_t value, sum = 0;
    size_t n;
    vthread_t writer = start(add_to_event, &fd);
    while (sum < 300) {
        ck_assert_int_eq(vthread_read(fd, &value, 8, &n), 0);
        sum += value;
    }
    ck_assert_uint_eq(sum, 300);
    join(writer);
    vthread_close(fd);
}
END_TEST

START_TEST(packets_of_a_pipe_are_read_one_by_one)
{
    int fds[2];
    char buffer[100];
    size_t n;
    if (pipe2(fds, O_DIRECT) != 0)
        return;
    for (size_t size = 1; size < 10; size++)
        require(write(fds[1], "0123456789", size) == (ssize_t)size);
    for (size_t size = 1; size < 10; size++) {
        ck_assert_int_eq(vthread_read(fds[0], buffer, sizeof buffer, &n), 0);
        ck_assert_uint_eq(n, size);
    }
    vthread_close(fds[0]);
    vthread_close(fds[1]);
}
END_TEST

static int temporary_file(void)
{
    char path[] = "/tmp/vthread-io-XXXXXX";
    int fd = mkstemp(path);
    require(fd >= 0);
    unlink(path);
    return fd;
}

START_TEST(regular_files_are_read_and_written_in_place)
{
    int fd = temporary_file();
    char buffer[10];
    size_t n;
    ck_assert_int_eq(vthread_write(fd, "hello", 5, &n), 0);
    ck_assert_uint_eq(n, 5);
    ck_assert_int_eq(vthread_read(fd, buffer, 10, &n), 0);
    ck_assert_uint_eq(n, 0);
    require(lseek(fd, 0, SEEK_SET) == 0);
    ck_assert_int_eq(vthread_read(fd, buffer, 10, &n), 0);
    ck_assert_uint_eq(n, 5);
    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_eq(vthread_close(fd), 0);

    fd = open("/dev/null", O_RDWR);
    ck_assert_int_eq(vthread_read(fd, buffer, 10, &n), 0);
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(vthread_write(fd, buffer, 10, &n), 0);
    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_eq(vthread_close(fd), 0);

    fd = open("/", O_RDONLY | O_DIRECTORY);
    ck_assert_int_eq(vthread_read(fd, buffer, 10, &n), EISDIR);
    ck_assert_int_eq(vthread_close(fd), 0);
}
END_TEST

static void *drain(void *arg)
{
    static char buffer[100000];
    size_t sum = 0, n;
    do {
        require(vthread_read(*(int *)arg, buffer, sizeof buffer, &n) == 0);
        sum += n;
    } while (n > 0);
    return (void *)sum;
}

START_TEST(sendfile_sends_a_file_and_waits_for_room)
{
    enum { SIZE = 5000000 };
    int file = temporary_file();
    struct pair pair = open_pair(TCP);
    off_t offset = 10;
    size_t n;
    require(ftruncate(file, SIZE) == 0);
    vthread_t reader = start(drain, &pair.reader);
    while (offset < SIZE)
        ck_assert_int_eq(
            vthread_sendfile(pair.writer, file, &offset, SIZE, &n), 0);
    ck_assert_int_eq(lseek(file, 0, SEEK_CUR), 0);
    ck_assert_int_eq(vthread_sendfile(pair.writer, file, NULL, 100, &n), 0);
    ck_assert_uint_eq(n, 100);
    ck_assert_int_eq(lseek(file, 0, SEEK_CUR), 100);
    vthread_close(pair.writer);
    ck_assert_uint_eq((size_t)join(reader), SIZE - 10 + 100);
    vthread_close(pair.reader);
    vthread_close(file);
}
END_TEST

START_TEST(a_number_that_is_no_descriptor_is_refused)
{
    static const int bad[] = {-1, INT32_MIN, 9999, 100000};
    char buffer[10];
    struct iovec iov = {buffer, 10};
    struct sockaddr_in address = {.sin_family = AF_INET};
    struct sockaddr *name = (struct sockaddr *)&address;
    size_t n = 77;
    int fd = bad[_i], accepted = 77;
    ck_assert_int_eq(vthread_read(fd, buffer, 10, &n), EBADF);
    ck_assert_int_eq(vthread_read(fd, buffer, 0, &n), EBADF);
    ck_assert_int_eq(vthread_write(fd, buffer, 10, &n), EBADF);
    ck_assert_int_eq(vthread_write_all(fd, buffer, 10), EBADF);
    ck_assert_int_eq(vthread_readv(fd, &iov, 1, &n), EBADF);
    ck_assert_int_eq(vthread_recv(fd, buffer, 10, 0, &n), EBADF);
    ck_assert_int_eq(vthread_recv(fd, buffer, 10, MSG_WAITALL, &n), EBADF);
    ck_assert_int_eq(vthread_send(fd, buffer, 10, 0, &n), EBADF);
    ck_assert_int_eq(vthread_accept(fd, NULL, NULL, &accepted), EBADF);
    ck_assert_int_eq(vthread_connect(fd, name, sizeof address), EBADF);
    ck_assert_int_eq(vthread_close(fd), EBADF);
    ck_assert_uint_eq(n, 77);
    ck_assert_int_eq(accepted, 77);
}
END_TEST

START_TEST(what_the_call_reports_is_returned_and_errno_is_left_alone)
{
    struct pair pair = open_pair(PIPE);
    char buffer[10];
    size_t n;
    ck_assert_ptr_nonnull(vthread_scheduler_default());
    errno = 1234;
    ck_assert_int_eq(vthread_write(pair.reader, buffer, 10, &n), EBADF);
    ck_assert_int_eq(vthread_recv(pair.reader, buffer, 10, 0, &n), ENOTSOCK);
    ck_assert_int_eq(vthread_write(pair.writer, NULL, 10, &n), EFAULT);
    ck_assert_int_eq(vthread_read_until(pair.reader, buffer, 10, &n, 0),
                     ETIMEDOUT);
    ck_assert_int_eq(vthread_read(pair.reader, buffer, 0, &n), 0);
    ck_assert_int_eq(errno, 1234);
    close_pair(pair);
}
END_TEST

/* ---- Connections -------------------------------------------------------- */

struct server {
    struct sockaddr_in address;
    int listener;
    _Atomic int accepted;
};

static void *accept_and_echo(void *arg)
{
    struct server *server = arg;
    char buffer[100];
    size_t n;
    int fd, err;
    while ((err = vthread_accept(server->listener, NULL, NULL, &fd)) == 0) {
        require(fcntl(fd, F_GETFL) & O_NONBLOCK);
        require(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        atomic_fetch_add(&server->accepted, 1);
        while ((err = vthread_read(fd, buffer, sizeof buffer, &n)) == 0
               && n > 0)
            require(vthread_write_all(fd, buffer, n) == 0);
        require(err == 0);
        require(vthread_close(fd) == 0);
    }
    return as_result(err);
}

static void *connect_and_talk(void *arg)
{
    struct server *server = arg;
    char buffer[100];
    size_t n;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(fd >= 0);
    require(vthread_connect(fd, (struct sockaddr *)&server->address,
                            sizeof server->address)
            == 0);
    for (int i = 0; i < 10; i++) {
        require(vthread_write_all(fd, "hello", 5) == 0);
        require(vthread_recv(fd, buffer, 5, MSG_WAITALL, &n) == 0);
        require(n == 5 && memcmp(buffer, "hello", 5) == 0);
    }
    require(vthread_close(fd) == 0);
    return NULL;
}

START_TEST(many_accept_from_one_socket_and_all_connections_are_served)
{
    enum { ACCEPTERS = 30, CLIENTS = 200 };
    static struct server server;
    vthread_t accepters[ACCEPTERS], clients[CLIENTS];
    server.listener = listen_on_loopback(&server.address, CLIENTS);
    for (int i = 0; i < ACCEPTERS; i++)
        accepters[i] = start(accept_and_echo, &server);
    await_waiting(server.listener, DIRECTION_READ, ACCEPTERS);
    for (int i = 0; i < CLIENTS; i++)
        clients[i] = start(connect_and_talk, &server);
    for (int i = 0; i < CLIENTS; i++)
        join(clients[i]);
    ck_assert_int_eq(server.accepted, CLIENTS);
    await_waiting(server.listener, DIRECTION_READ, ACCEPTERS);
    vthread_close(server.listener);
    for (int i = 0; i < ACCEPTERS; i++)
        ck_assert_int_eq(as_error(join(accepters[i])), ECANCELED);
}
END_TEST

static void *accept_one(void *arg)
{
    struct server *server = arg;
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    int fd;
    require(vthread_accept(server->listener, (struct sockaddr *)&peer,
                           &length, &fd)
            == 0);
    require(length == sizeof peer && peer.sin_family == AF_INET);
    atomic_fetch_add(&server->accepted, 1);
    return as_result(fd);
}

/* The connections are there before the listening socket is looked at, so
 * that there may be one event for all: each accepter has to wake the
 * next. */
START_TEST(who_was_woken_passes_on_what_is_left)
{
    enum { COUNT = 40 };
    static struct server server;
    vthread_t accepters[COUNT];
    int clients[COUNT];
    server.listener = listen_on_loopback(&server.address, COUNT);
    for (int i = 0; i < COUNT; i++)
        accepters[i] = start(accept_one, &server);
    await_waiting(server.listener, DIRECTION_READ, COUNT);
    for (int i = 0; i < COUNT; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM, 0);
        require(connect(clients[i], (struct sockaddr *)&server.address,
                        sizeof server.address)
                == 0);
    }
    for (int i = 0; i < COUNT; i++) {
        vthread_close(as_error(join(accepters[i])));
        vthread_close(clients[i]);
    }
    ck_assert_int_eq(server.accepted, COUNT);
    vthread_close(server.listener);
}
END_TEST

static void *echo_on_one(void *arg)
{
    struct server *server = arg;
    char buffer[100];
    size_t n = 1;
    int fd = as_error(accept_one(server));
    atomic_store(&counted_fd, fd);
    while (n > 0) {
        require(vthread_read(fd, buffer, sizeof buffer, &n) == 0);
        require(vthread_write_all(fd, buffer, n) == 0);
    }
    atomic_store(&counted_fd, -1);
    vthread_close(fd);
    return NULL;
}

START_TEST(an_echo_costs_one_read_and_one_write)
{
    enum { ROUNDS = 100 };
    static struct server server;
    char buffer[10];
    int client = socket(AF_INET, SOCK_STREAM, 0), fd;
    server.listener = listen_on_loopback(&server.address, 1);
    require(connect(client, (struct sockaddr *)&server.address,
                    sizeof server.address)
            == 0);
    vthread_t thread = start(echo_on_one, &server);
    while ((fd = atomic_load(&counted_fd)) < 0 && !UNDER_SANITIZER)
        sched_yield();
    for (int i = 0; i < ROUNDS; i++) {
        if (!UNDER_SANITIZER)
            await_waiting(fd, DIRECTION_READ, 1);
        require(send(client, "hello", 5, 0) == 5);
        require(recv(client, buffer, 5, MSG_WAITALL) == 5);
    }
    if (!UNDER_SANITIZER)
        await_waiting(fd, DIRECTION_READ, 1);
    close(client);
    join(thread);
    if (!UNDER_SANITIZER) {
        /* The first finds nothing, the last finds the end. */
        ck_assert_uint_eq(reads, 1 + ROUNDS + 1);
        ck_assert_uint_eq(writes, ROUNDS);
        ck_assert_uint_eq(registrations, 1);
    }
    vthread_close(server.listener);
}
END_TEST

START_TEST(a_refused_connection_is_an_error)
{
    struct sockaddr_in address;
    int listener = listen_on_loopback(&address, 1);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    vthread_close(listener);
    ck_assert_int_eq(
        vthread_connect(fd, (struct sockaddr *)&address, sizeof address),
        ECONNREFUSED);
    vthread_close(fd);
}
END_TEST

/* A full backlog drops further connections: they stay under way. */
static int hopeless_address(struct sockaddr_in *address, int fillers[2])
{
    int listener = listen_on_loopback(address, 0);
    for (int i = 0; i < 2; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(fillers[i], (struct sockaddr *)address, sizeof *address);
    }
    return listener;
}

struct connection {
    struct sockaddr_in address;
    int fd;
};

static void *connect_it(void *arg)
{
    struct connection *c = arg;
    return as_result(vthread_connect(c->fd, (struct sockaddr *)&c->address,
                                     sizeof c->address));
}

START_TEST(a_connection_under_way_is_given_up)
{
    struct connection *c = calloc(1, sizeof *c);
    int fillers[2], listener = hopeless_address(&c->address, fillers);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(
        vthread_connect_until(c->fd, (struct sockaddr *)&c->address,
                              sizeof c->address, vthread_after(VTHREAD_MS)),
        ETIMEDOUT);
    vthread_t first = start(connect_it, c);
    await_waiting(c->fd, DIRECTION_WRITE, 1);
    vthread_interrupt(first);
    ck_assert_int_eq(as_error(join(first)), ECANCELED);
    vthread_t second = start(connect_it, c);
    await_waiting(c->fd, DIRECTION_WRITE, 1);
    vthread_close(c->fd);
    ck_assert_int_eq(as_error(join(second)), ECANCELED);
    vthread_close(listener);
    vthread_close(fillers[0]);
    vthread_close(fillers[1]);
    free(c);
}
END_TEST

/* Such a socket tells the poller that it is hung up. */
START_TEST(a_socket_used_before_it_is_connected_is_connected_all_the_same)
{
    static struct server server;
    char buffer[10];
    size_t n;
    struct pollfd pollfd = {.events = POLLIN};
    unsigned ready;
    int fd = pollfd.fd = socket(AF_INET, SOCK_STREAM, 0);
    server.listener = listen_on_loopback(&server.address, 10);
    ck_assert_int_eq(vthread_read(fd, buffer, 10, &n), ENOTCONN);
    ck_assert_int_eq(vthread_poll(&pollfd, 1, &ready), 0);
    ck_assert_int_eq(vthread_connect(fd, (struct sockaddr *)&server.address,
                                     sizeof server.address),
                     0);
    ck_assert_int_eq(vthread_connect(fd, (struct sockaddr *)&server.address,
                                     sizeof server.address),
                     EISCONN);
    ck_assert_int_eq(vthread_read_until(fd, buffer, 10, &n,
                                        vthread_after(VTHREAD_MS)),
                     ETIMEDOUT);
    vthread_close(fd);
    vthread_close(server.listener);
}
END_TEST

static void *accept_three(void *arg)
{
    int fd;
    vthread_sleep(20 * VTHREAD_MS);
    for (int i = 0; i < 3; i++) {
        require(vthread_accept(*(int *)arg, NULL, NULL, &fd) == 0);
        require(vthread_close(fd) == 0);
    }
    return NULL;
}

/* A UNIX socket whose backlog is full says EAGAIN, and no event follows. */
START_TEST(a_full_backlog_of_a_unix_socket_is_waited_for)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct sockaddr *name = (struct sockaddr *)&address;
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), fds[3];
    snprintf(address.sun_path + 1, 90, "vthread-%d", (int)getpid());
    require(bind(listener, name, sizeof address) == 0);
    require(listen(listener, 0) == 0);
    for (int i = 0; i < 3; i++)
        fds[i] = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(vthread_connect(fds[0], name, sizeof address), 0);
    ck_assert_int_eq(vthread_connect_until(fds[1], name, sizeof address,
                                           vthread_after(VTHREAD_MS)),
                     ETIMEDOUT);
    vthread_t accepter = start(accept_three, &listener);
    ck_assert_int_eq(vthread_connect(fds[1], name, sizeof address), 0);
    ck_assert_int_eq(vthread_connect(fds[2], name, sizeof address), 0);
    join(accepter);
    for (int i = 0; i < 3; i++)
        vthread_close(fds[i]);
    vthread_close(listener);
}
END_TEST

START_TEST(no_descriptor_left_for_a_connection_is_an_error)
{
    static struct server server;
    struct rlimit old, none;
    int client = socket(AF_INET, SOCK_STREAM, 0), fd = 77;
    server.listener = listen_on_loopback(&server.address, 10);
    require(connect(client, (struct sockaddr *)&server.address,
                    sizeof server.address)
            == 0);
    /* Sets up the listening socket, and has the poller opened. */
    ck_assert_int_eq(as_error(join(start(accept_one, &server))) >= 0, 1);
    vthread_close(client);
    client = socket(AF_INET, SOCK_STREAM, 0);
    require(connect(client, (struct sockaddr *)&server.address,
                    sizeof server.address)
            == 0);
    getrlimit(RLIMIT_NOFILE, &old);
    none = old;
    none.rlim_cur = 3;
    setrlimit(RLIMIT_NOFILE, &none);
    int err = vthread_accept(server.listener, NULL, NULL, &fd);
    setrlimit(RLIMIT_NOFILE, &old);
    ck_assert_int_eq(err, EMFILE);
    ck_assert_int_eq(fd, 77);
    ck_assert_int_eq(vthread_accept(server.listener, NULL, NULL, &fd), 0);
    vthread_close(fd);
    vthread_close(client);
    vthread_close(server.listener);
}
END_TEST

static Suite *io_suite(void)
{
    Suite *suite = suite_create("io");
    TCase *bytes = tcase_create("bytes");
    TCase *ends = tcase_create("ends");
    TCase *waits = tcase_create("waits");
    TCase *flags = tcase_create("flags");
    TCase *files = tcase_create("files");
    TCase *connections = tcase_create("connections");

    tcase_add_loop_test(
        bytes, bytes_arrive_intact_and_in_order_between_many_threads, 0,
        KINDS);
    tcase_add_loop_test(bytes, platform_threads_read_and_write, 0, KINDS);
    tcase_set_timeout(bytes, 60);
    suite_add_tcase(suite, bytes);

    tcase_add_loop_test(ends, the_end_is_seen_that_came_before_the_first_read,
                        0, KINDS);
    tcase_add_loop_test(ends, the_end_is_seen_that_comes_with_the_data, 0,
                        KINDS);
    tcase_add_loop_test(ends, the_end_is_seen_that_comes_after_the_short_read,
                        0, KINDS);
    tcase_add_loop_test(
        ends, a_writer_waits_for_room_and_learns_that_the_reader_has_gone, 0,
        KINDS);
    tcase_set_timeout(ends, 60);
    suite_add_tcase(suite, ends);

    tcase_add_loop_test(waits, a_deadline_ends_the_wait, 0, KINDS);
    tcase_add_loop_test(
        waits, what_can_be_done_at_once_is_done_after_the_deadline, 0, KINDS);
    tcase_add_loop_test(waits,
                        an_interrupt_is_seen_only_by_a_call_that_has_to_wait,
                        0, KINDS);
    tcase_add_loop_test(waits,
                        an_interrupt_ends_the_wait_and_the_next_goes_on, 0,
                        KINDS);
    tcase_add_loop_test(
        waits, no_byte_is_lost_between_events_interrupts_and_deadlines, 0,
        KINDS);
    tcase_set_timeout(waits, 60);
    suite_add_tcase(suite, waits);

    tcase_add_loop_test(flags, msg_dontwait_does_not_wait, 0, 2);
    tcase_add_loop_test(
        flags, msg_peek_takes_nothing_and_the_rest_is_still_seen, 0, 2);
    tcase_add_loop_test(flags, msg_waitall_waits_for_all_or_the_end, 0, 2);
    tcase_add_test(flags,
                   an_interrupt_in_msg_waitall_loses_neither_data_nor_itself);
    tcase_add_test(
        flags, a_read_that_stops_at_urgent_data_is_not_taken_for_the_last);
    tcase_add_loop_test(flags, vectors_and_messages_arrive_in_their_parts, 0,
                        2);
    tcase_add_loop_test(
        flags,
        a_read_that_stops_at_a_passed_descriptor_is_not_taken_for_the_last, 0,
        4);
    suite_add_tcase(suite, flags);

    tcase_add_loop_test(files, datagrams_keep_their_boundaries, 0, 2);
    tcase_add_test(
        files, a_full_queue_of_a_receiver_named_in_the_message_is_waited_for);
    tcase_add_test(files, an_eventfd_is_waited_for);
    tcase_add_test(files, packets_of_a_pipe_are_read_one_by_one);
    tcase_add_test(files, regular_files_are_read_and_written_in_place);
    tcase_add_test(files, sendfile_sends_a_file_and_waits_for_room);
    tcase_add_loop_test(files, a_number_that_is_no_descriptor_is_refused, 0,
                        4);
    tcase_add_test(
        files, what_the_call_reports_is_returned_and_errno_is_left_alone);
    suite_add_tcase(suite, files);

    tcase_add_test(
        connections,
        many_accept_from_one_socket_and_all_connections_are_served);
    tcase_add_test(connections, who_was_woken_passes_on_what_is_left);
    tcase_add_test(connections, an_echo_costs_one_read_and_one_write);
    tcase_add_test(connections, a_refused_connection_is_an_error);
    tcase_add_test(connections, a_connection_under_way_is_given_up);
    tcase_add_test(
        connections,
        a_socket_used_before_it_is_connected_is_connected_all_the_same);
    tcase_add_test(connections,
                   a_full_backlog_of_a_unix_socket_is_waited_for);
    tcase_add_test(connections,
                   no_descriptor_left_for_a_connection_is_an_error);
    tcase_set_timeout(connections, 60);
    suite_add_tcase(suite, connections);
    return suite;
}

int main(void)
{
    return run_suite(io_suite());
}
