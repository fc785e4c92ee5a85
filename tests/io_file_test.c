/*
 * io_file_test.c - what is no stream: events, packets, regular files, and
 * numbers that are no descriptors.
 */
#include <sys/eventfd.h>

#include "tests/descriptors.h"

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
    char buffer[10] = "";
    size_t n;
    ck_assert_ptr_nonnull(vthread_scheduler_default());
    errno = 1234;
    ck_assert_int_eq(vthread_write(pair.reader, buffer, 10, &n), EBADF);
    ck_assert_int_eq(vthread_recv(pair.reader, buffer, 10, 0, &n), ENOTSOCK);
    begin_meant_errors();
    ck_assert_int_eq(vthread_write(pair.writer, NULL, 10, &n), EFAULT);
    end_meant_errors();
    ck_assert_int_eq(vthread_read_until(pair.reader, buffer, 10, &n, 0),
                     ETIMEDOUT);
    ck_assert_int_eq(vthread_read(pair.reader, buffer, 0, &n), 0);
    ck_assert_int_eq(errno, 1234);
    close_pair(pair);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("io_file");
    TCase *cases = new_case(suite, "files");
    tcase_add_test(cases, an_eventfd_is_waited_for);
    tcase_add_test(cases, packets_of_a_pipe_are_read_one_by_one);
    tcase_add_test(cases, regular_files_are_read_and_written_in_place);
    tcase_add_test(cases, sendfile_sends_a_file_and_waits_for_room);
    tcase_add_loop_test(cases, a_number_that_is_no_descriptor_is_refused, 0,
                        4);
    tcase_add_test(cases,
                   what_the_call_reports_is_returned_and_errno_is_left_alone);
    return run_suite(suite);
}
