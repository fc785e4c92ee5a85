/*
 * io_test.c - <vthread/io.h>: reading and writing streams, their ends,
 * deadlines and interrupts.  Messages, connections and other kinds of files
 * have tests of their own; vthread_poll is in poll_test.c, what becomes of
 * descriptor numbers in descriptor_test.c.
 */
#include <stdatomic.h>

#include "tests/descriptors.h"

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
    int step = (int)how_often(3, 1);
    for (int round = 0; round < 1000; round += step) {
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
    char buffer[10] = "";
    size_t n = 77;
    uint64_t deadline_ns = vthread_after(20 * VTHREAD_MS);
    ck_assert_int_eq(vthread_read_until(pair.reader, buffer, 10, &n,
                                        deadline_ns),
                     ETIMEDOUT);
    ck_assert_uint_ge(vthread_now(), deadline_ns);
    ck_assert_uint_eq(n, 77);
    /* TCP finds more room now and then, but not for ever. */
    int err;
    do {
        fill(pair.writer);
        deadline_ns = vthread_after(20 * VTHREAD_MS);
        err = vthread_write_until(pair.writer, buffer, 10, &n, deadline_ns);
    } while (err == 0);
    ck_assert_int_eq(err, ETIMEDOUT);
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

/* ---- The suite ---------------------------------------------------------- */

START_TEST(a_result_without_a_place_is_refused)
{
    struct pair pair = open_pair(UNIX_STREAM);
    char text[4] = "abc";
    struct iovec iov = {text, 4};
    struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
    struct pollfd entry = {.fd = pair.reader, .events = POLLIN};
    unsigned ready;
    size_t n;
    ck_assert_int_eq(vthread_write(pair.writer, text, 4, NULL), EINVAL);
    ck_assert_int_eq(vthread_send(pair.writer, text, 4, 0, NULL), EINVAL);
    ck_assert_int_eq(vthread_writev(pair.writer, &iov, 1, NULL), EINVAL);
    ck_assert_int_eq(vthread_sendmsg(pair.writer, &message, 0, NULL),
                     EINVAL);
    ck_assert_int_eq(vthread_poll_until(&entry, 1, &ready, 0), ETIMEDOUT);
    ck_assert_int_eq(write(pair.writer, "abcd", 4), 4);
    ck_assert_int_eq(vthread_read(pair.reader, text, 4, NULL), EINVAL);
    ck_assert_int_eq(vthread_readv(pair.reader, &iov, 1, NULL), EINVAL);
    ck_assert_int_eq(vthread_recv(pair.reader, text, 4, 0, NULL), EINVAL);
    ck_assert_int_eq(
        vthread_recv(pair.reader, text, 4, MSG_WAITALL, NULL), EINVAL);
    ck_assert_int_eq(vthread_recvmsg(pair.reader, &message, 0, NULL),
                     EINVAL);
    ck_assert_int_eq(vthread_sendfile(pair.writer, 0, NULL, 1, NULL),
                     EINVAL);
    ck_assert_int_eq(vthread_accept(pair.reader, NULL, NULL, NULL), EINVAL);
    ck_assert_int_eq(vthread_poll(&entry, 1, NULL), EINVAL);
    ck_assert_int_eq(vthread_poll(NULL, 1, &ready), EFAULT);
    ck_assert_int_eq(vthread_read(pair.reader, text, 4, &n), 0);
    ck_assert_uint_eq(n, 4);
    close_pair(pair);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("io");
    TCase *cases = new_case(suite, "bytes");
    tcase_add_loop_test(cases,
                        bytes_arrive_intact_and_in_order_between_many_threads,
                        0, KINDS);
    tcase_add_loop_test(cases, platform_threads_read_and_write, 0, KINDS);
    cases = new_case(suite, "ends");
    tcase_add_loop_test(cases, the_end_is_seen_that_came_before_the_first_read,
                        0, KINDS);
    tcase_add_loop_test(cases, the_end_is_seen_that_comes_with_the_data, 0,
                        KINDS);
    tcase_add_loop_test(cases, the_end_is_seen_that_comes_after_the_short_read,
                        0, KINDS);
    tcase_add_loop_test(
        cases, a_writer_waits_for_room_and_learns_that_the_reader_has_gone, 0,
        KINDS);
    cases = new_case(suite, "waits");
    tcase_add_loop_test(cases, a_deadline_ends_the_wait, 0, KINDS);
    tcase_add_loop_test(cases,
                        what_can_be_done_at_once_is_done_after_the_deadline, 0,
                        KINDS);
    tcase_add_loop_test(cases,
                        an_interrupt_is_seen_only_by_a_call_that_has_to_wait,
                        0, KINDS);
    tcase_add_loop_test(cases, an_interrupt_ends_the_wait_and_the_next_goes_on,
                        0, KINDS);
    tcase_add_loop_test(cases,
                        no_byte_is_lost_between_events_interrupts_and_deadlines,
                        0, KINDS);
    tcase_add_test(cases, a_result_without_a_place_is_refused);
    return run_suite(suite);
}
