/*
 * descriptor_test.c - what the library knows of descriptor numbers, and what
 * becomes of it when they are closed and used again.
 */
#include <malloc.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include "platform/memory.h"
#include "platform/poller.h"
#include "tests/descriptors.h"

/* ---- In the middle of a close ------------------------------------------- */

/* What happens in the next close(2), instead of it; the linker leads the
 * library here. */
static int (*next_close)(int fd);

int __wrap_system_close(int fd);
int __real_system_close(int fd);

int __wrap_system_close(int fd)
{
    int (*instead)(int) = next_close;
    next_close = NULL;
    return instead ? instead(fd) : __real_system_close(fd);
}

/* Nobody else opens a file while numbers matter: malloc does when it makes
 * an arena for a new thread. */
static void setup(void)
{
#if defined M_ARENA_MAX
    mallopt(M_ARENA_MAX, 1);
#endif
}

/* ---- Records ------------------------------------------------------------ */

START_TEST(every_number_has_a_place_of_its_own)
{
    unsigned block, index, last_block = 0, last_index = 0;
    ck_assert_uint_eq(descriptor_block(0, &index), 0);
    ck_assert_uint_eq(index, 0);
    for (int fd = 1; fd < 3000000; fd++) {
        block = descriptor_block(fd, &index);
        bool follows = block == last_block && index == last_index + 1;
        bool begins = block == last_block + 1 && index == 0
                      && last_index + 1 == 1024u << last_block;
        if (!follows && !begins)
            ck_abort_msg("%d: %u, %u", fd, block, index);
        last_block = block;
        last_index = index;
    }
    ck_assert_uint_eq(descriptor_block(INT32_MAX, &index),
                      DESCRIPTOR_BLOCKS - 1);
    ck_assert_uint_eq(index, 1023);
}
END_TEST

START_TEST(high_numbers_work)
{
    struct pair pair = open_pair(TCP);
    static const int numbers[] = {1023, 1024, 3071, 3072, 9000};
    char buffer[10];
    size_t n;
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        int fd = dup2(pair.reader, numbers[i]);
        if (fd < 0)
            continue; /* there may be a limit */
        require(write(pair.writer, "hello", 5) == 5);
        ck_assert_int_eq(vthread_read(fd, buffer, 10, &n), 0);
        ck_assert_int_eq(vthread_read_until(fd, buffer, 10, &n,
                                            vthread_after(VTHREAD_MS)),
                         ETIMEDOUT);
        ck_assert_int_eq(vthread_close(fd), 0);
    }
    close_pair(pair);
}
END_TEST

START_TEST(a_number_without_memory_for_its_record_can_be_used_later)
{
    struct pair pair = open_pair(PIPE);
    char buffer[10];
    size_t n;
    ck_assert(vthread_self() != 0);
    memory_fail_after(1);
    ck_assert_int_eq(vthread_read(pair.reader, buffer, 10, &n), ENOMEM);
    ck_assert_int_eq(vthread_close(pair.writer), 0);
    memory_fail_after(0);
    ck_assert_int_eq(vthread_read(pair.reader, buffer, 10, &n), 0);
    ck_assert_uint_eq(n, 0);
    ck_assert_int_eq(vthread_close(pair.reader), 0);
}
END_TEST

/* ---- Closing ------------------------------------------------------------ */

static void *read_some(void *arg)
{
    char buffer[10];
    size_t n;
    return as_result(vthread_read(*(int *)arg, buffer, sizeof buffer, &n));
}

static void *write_some(void *arg)
{
    char byte = 0;
    size_t n;
    return as_result(vthread_write(*(int *)arg, &byte, 1, &n));
}

START_TEST(close_wakes_all_who_wait_for_the_descriptor)
{
    enum { EACH = 5 };
    struct pair pair = open_pair((enum kind)_i), other = open_pair(PIPE);
    vthread_t readers[EACH], writers[EACH];
    fill(pair.writer);
    /* Of a socket that is full one can still wait to read. */
    int full = pair.writer, empty = _i == PIPE ? other.reader : pair.writer;
    for (int i = 0; i < EACH; i++) {
        readers[i] = start(read_some, &empty);
        writers[i] = start(write_some, &full);
        await_waiting(empty, DIRECTION_READ, i + 1);
        await_waiting(full, DIRECTION_WRITE, i + 1);
    }
    ck_assert_int_eq(vthread_close(full), 0);
    if (empty != full)
        ck_assert_int_eq(vthread_close(empty), 0);
    for (int i = 0; i < EACH; i++) {
        ck_assert_int_eq(as_error(join(readers[i])), ECANCELED);
        ck_assert_int_eq(as_error(join(writers[i])), ECANCELED);
    }
    ck_assert_int_eq(vthread_close(full), EBADF);
    vthread_close(pair.reader);
    vthread_close(other.reader);
    vthread_close(other.writer);
}
END_TEST

START_TEST(close_wakes_a_platform_thread)
{
    struct pair pair = open_pair((enum kind)_i);
    pthread_t reader = start_platform(read_some, &pair.reader);
    await_waiting(pair.reader, DIRECTION_READ, 1);
    ck_assert_int_eq(vthread_close(pair.reader), 0);
    ck_assert_int_eq(as_error(join_platform(reader)), ECANCELED);
    vthread_close(pair.writer);
}
END_TEST

/* The reader may be at any point of its loop when the descriptor goes. */
static void *read_until_it_fails(void *arg)
{
    char buffer[10];
    size_t n = 1;
    int err;
    do
        err = vthread_read(*(int *)arg, buffer, 1, &n);
    while (err == 0 && n > 0);
    require(err == ECANCELED || err == EBADF);
    return NULL;
}

/* It may also be in read(2), which TSan rightly calls a race. */
START_TEST(a_reader_learns_of_the_close_wherever_it_is)
{
#if defined __SANITIZE_THREAD__
    return;
#endif
    for (int round = 0; round < (int)how_often(400, 2000); round++) {
        struct pair pair = open_pair((enum kind)_i);
        vthread_t reader = start(read_until_it_fails, &pair.reader);
        for (int i = 0; i < round % 7; i++)
            require(write(pair.writer, "hello", 5) == 5);
        for (volatile int i = 0; i < round % 100 * 30; i++)
            continue;
        ck_assert_int_eq(vthread_close(pair.reader), 0);
        join(reader);
        vthread_close(pair.writer);
    }
}
END_TEST

/* Those who come while the descriptor is being closed: after all have been
 * woken, before or after the number is free. */
struct late {
    int fd, never;
    vthread_t reader, poller;
};

static struct late late;

static void *poll_with_another(void *arg)
{
    struct late *l = arg;
    struct pollfd fds[2] = {{.fd = l->fd, .events = POLLIN},
                            {.fd = l->never, .events = POLLIN}};
    unsigned ready;
    require(vthread_poll(fds, 2, &ready) == 0 && ready == 1);
    return as_result(fds[0].revents);
}

static void come_late(int fd)
{
    late.fd = fd;
    late.reader = start(read_some, &late.fd);
    late.poller = start(poll_with_another, &late);
    await_waiting(fd, DIRECTION_READ, 1);
    await_watches(fd, 1);
}

static int close_after_late_ones(int fd)
{
    come_late(fd);
    return (int)syscall(SYS_close, fd);
}

START_TEST(who_comes_before_the_number_is_free_finds_no_descriptor)
{
    if (UNDER_SANITIZER)
        return;
    struct pair pair = open_pair((enum kind)_i), never = open_pair(PIPE);
    late.never = never.reader;
    next_close = close_after_late_ones;
    ck_assert_int_eq(vthread_close(pair.reader), 0);
    ck_assert_int_eq(as_error(join(late.reader)), EBADF);
    ck_assert_int_eq(as_error(join(late.poller)), POLLNVAL);
    vthread_close(pair.writer);
    close_pair(never);
}
END_TEST

static int reuse_after_close(int fd)
{
    int result = (int)syscall(SYS_close, fd);
    require(eventfd(0, EFD_CLOEXEC) == fd);
    come_late(fd);
    return result;
}

START_TEST(who_has_got_the_number_already_is_not_disturbed)
{
    if (UNDER_SANITIZER)
        return;
    struct pair pair = open_pair((enum kind)_i), never = open_pair(PIPE);
    uint64_t value = 1;
    late.never = never.reader;
    next_close = reuse_after_close;
    ck_assert_int_eq(vthread_close(pair.reader), 0);
    await_waiting(late.fd, DIRECTION_READ, 1);
    require(write(late.fd, &value, 8) == 8);
    ck_assert_int_eq(as_error(join(late.reader)), 0);
    require(write(late.fd, &value, 8) == 8);
    ck_assert_int_eq(as_error(join(late.poller)), POLLIN);
    vthread_close(late.fd);
    vthread_close(pair.writer);
    close_pair(never);
}
END_TEST

/* ---- Numbers used again ------------------------------------------------- */

static uint64_t state_of(int fd)
{
    return descriptor_state(descriptor_find(fd), DIRECTION_READ);
}

/* An event made by an eventfd, fetched and delivered: so all that were
 * under way before it have been, too. */
static void let_events_pass(void)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    uint64_t value = 1;
    vthread_t reader = start(read_some, &fd);
    await_waiting(fd, DIRECTION_READ, 1);
    require(write(fd, &value, 8) == 8);
    join(reader);
    vthread_close(fd);
}

START_TEST(a_number_used_again_gets_no_events_of_the_old_file)
{
    struct pair old = open_pair((enum kind)_i);
    vthread_t reader = start(read_some, &old.reader);
    await_waiting(old.reader, DIRECTION_READ, 1);
    int duplicate = dup(old.reader);
    ck_assert_int_eq(vthread_close(old.reader), 0);
    ck_assert_int_eq(as_error(join(reader)), ECANCELED);

    int fd = eventfd(0, EFD_CLOEXEC);
    ck_assert_int_eq(fd, old.reader);
    reader = start(read_some, &fd);
    await_waiting(fd, DIRECTION_READ, 1);
    let_events_pass();
    uint64_t before = state_of(fd), value = 1;
    require(write(old.writer, "hello", 5) == 5);
    let_events_pass();
    ck_assert(state_of(fd) == before);
    ck_assert_int_eq(count_waiting(fd, DIRECTION_READ), 1);

    require(write(fd, &value, 8) == 8);
    ck_assert_int_eq(as_error(join(reader)), 0);
    vthread_close(fd);
    vthread_close(duplicate);
    vthread_close(old.writer);
}
END_TEST

START_TEST(close_ends_the_registration_though_a_duplicate_lives_on)
{
    struct pair pair = open_pair((enum kind)_i);
    vthread_t reader = start(read_some, &pair.reader);
    await_waiting(pair.reader, DIRECTION_READ, 1);
    int duplicate = dup(pair.reader);
    ck_assert_int_eq(vthread_close(pair.reader), 0);
    join(reader);
    /* The same file under the same number: what epoll knows it by. */
    ck_assert_int_eq(dup2(duplicate, pair.reader), pair.reader);
    ck_assert_int_eq(poller_add(pair.reader, 0), 0);
    poller_remove(pair.reader);
    close(duplicate);
    close_pair(pair);
}
END_TEST

/* Threads that open, use and close at the same time get each other's
 * numbers all the time, and late events of each other's files. */
static void *use_many(void *arg)
{
    struct random chance = {(uintptr_t)arg};
    for (unsigned i = 0; i < how_often(100, 300); i++) {
        struct pair pair = open_pair((enum kind)random_below(&chance, KINDS));
        char text[16], buffer[16];
        size_t n;
        snprintf(text, sizeof text, "%x", (unsigned)random_next(&chance));
        if (random_below(&chance, 2) == 0)
            require(vthread_read_until(pair.reader, buffer, 16, &n,
                                       vthread_after(VTHREAD_US))
                    == ETIMEDOUT);
        require(vthread_write_all(pair.writer, text, strlen(text)) == 0);
        require(vthread_read(pair.reader, buffer, 16, &n) == 0);
        require(n == strlen(text) && memcmp(buffer, text, n) == 0);
        require(vthread_write_all(pair.writer, text, strlen(text)) == 0);
        if (random_below(&chance, 2) == 0) {
            require(vthread_read(pair.reader, buffer, 16, &n) == 0);
            require(n == strlen(text) && memcmp(buffer, text, n) == 0);
        }
        close_pair(pair);
    }
    return NULL;
}

START_TEST(threads_that_reuse_each_others_numbers_never_meet)
{
    enum { THREADS = 16 };
    vthread_t threads[THREADS];
    struct random chance = random_start("descriptor_test");
    for (int i = 0; i < THREADS; i++)
        threads[i] = start(use_many, (void *)random_next(&chance));
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
}
END_TEST

/* ---- Closed by close(2) ------------------------------------------------- */

/* Uses a descriptor so that all is known of it, then closes it behind the
 * library's back.  Returns the number, which the next open gets. */
static int close_behind_the_back(void)
{
    struct pair pair = open_pair(PIPE);
    char buffer[10];
    size_t n;
    require(write(pair.writer, "hello", 5) == 5);
    require(vthread_read(pair.reader, buffer, 10, &n) == 0);
    require(vthread_read_until(pair.reader, buffer, 10, &n,
                               vthread_after(VTHREAD_MS))
            == ETIMEDOUT);
    let_events_pass();
    close(pair.writer);
    close(pair.reader);
    return pair.reader;
}

/* Nothing ends the registration then, and nothing is known of it. */
START_TEST(a_lost_file_that_lives_on_disturbs_nobody)
{
    struct pair old = open_pair((enum kind)_i);
    struct pollfd pollfd = {.fd = old.reader, .events = POLLIN};
    unsigned ready;
    vthread_t reader = start(read_some, &old.reader);
    await_waiting(old.reader, DIRECTION_READ, 1);
    int duplicate = dup(old.reader);
    close(old.reader);
    int fd = eventfd(0, EFD_CLOEXEC);
    ck_assert_int_eq(fd, old.reader);
    ck_assert_int_eq(vthread_poll_until(&pollfd, 1, &ready,
                                        vthread_after(VTHREAD_MS)),
                     ETIMEDOUT);
    ck_assert_int_eq(as_error(join(reader)), ECANCELED);

    /* Its events are nobody's. */
    let_events_pass();
    uint64_t before = state_of(fd);
    require(write(old.writer, "hello", 5) == 5);
    let_events_pass();
    ck_assert(state_of(fd) == before);

    /* It comes back under its number. */
    char buffer[10];
    size_t n;
    require(vthread_close(fd) == 0);
    ck_assert_int_eq(dup2(duplicate, fd), fd);
    ck_assert_int_eq(vthread_read(fd, buffer, 10, &n), 0);
    ck_assert_uint_eq(n, 5);
    reader = start(read_some, &fd);
    await_waiting(fd, DIRECTION_READ, 1);
    require(write(old.writer, "hello", 5) == 5);
    ck_assert_int_eq(as_error(join(reader)), 0);
    close(duplicate);
    close_pair(old);
}
END_TEST

static void *serve_one(void *arg)
{
    char buffer[10];
    size_t n;
    int fd;
    require(vthread_accept(*(int *)arg, NULL, NULL, &fd) == 0);
    while (vthread_read(fd, buffer, 10, &n) == 0 && n > 0)
        require(vthread_write_all(fd, buffer, n) == 0);
    vthread_close(fd);
    return NULL;
}

static void connect_with(int fd, int listener, struct sockaddr_in *address)
{
    char buffer[10];
    size_t n;
    vthread_t server = start(serve_one, &listener);
    ck_assert_int_eq(
        vthread_connect(fd, (struct sockaddr *)address, sizeof *address), 0);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(vthread_write_all(fd, "hello", 5), 0);
        ck_assert_int_eq(vthread_read(fd, buffer, 10, &n), 0);
    }
    ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    vthread_close(fd);
    join(server);
}

START_TEST(a_socket_with_the_number_of_a_lost_one_is_connected)
{
    struct sockaddr_in address;
    int listener = listen_on_loopback(&address, 10);
    int number = close_behind_the_back();
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(fd, number);
    connect_with(fd, listener, &address);
    vthread_close(listener);
}
END_TEST

START_TEST(a_connection_with_the_number_of_a_lost_one_is_accepted)
{
    struct sockaddr_in address;
    int listener = listen_on_loopback(&address, 10);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    require(connect(client, (struct sockaddr *)&address, sizeof address) == 0);
    int number = close_behind_the_back(), fd;
    char buffer[10];
    size_t n;
    ck_assert_int_eq(vthread_accept(listener, NULL, NULL, &fd), 0);
    ck_assert_int_eq(fd, number);
    vthread_t reader = start(read_some, &fd);
    await_waiting(fd, DIRECTION_READ, 1);
    require(write(client, "hello", 5) == 5);
    ck_assert_int_eq(as_error(join(reader)), 0);
    ck_assert_int_eq(vthread_read_until(fd, buffer, 10, &n, 0), ETIMEDOUT);
    vthread_close(fd);
    vthread_close(client);
    vthread_close(listener);
}
END_TEST

static void *wait_for_lost(void *arg)
{
    return read_some(arg);
}

START_TEST(who_waits_for_a_lost_descriptor_is_told_when_that_is_noticed)
{
    struct sockaddr_in address;
    int listener = listen_on_loopback(&address, 10);
    struct pair pair = open_pair(PIPE);
    vthread_t lost = start(wait_for_lost, &pair.reader);
    await_waiting(pair.reader, DIRECTION_READ, 1);
    close(pair.reader);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(fd, pair.reader);
    connect_with(fd, listener, &address);
    ck_assert_int_eq(as_error(join(lost)), ECANCELED);
    vthread_close(pair.writer);
    vthread_close(listener);
}
END_TEST

static Suite *descriptor_suite(void)
{
    Suite *suite = suite_create("descriptor");
    TCase *records = tcase_create("records");
    TCase *closing = tcase_create("closing");
    TCase *reuse = tcase_create("reuse");

    tcase_add_test(records, every_number_has_a_place_of_its_own);
    tcase_add_test(records, high_numbers_work);
    tcase_add_test(records,
                   a_number_without_memory_for_its_record_can_be_used_later);
    tcase_set_timeout(records, PATIENCE_S);
    suite_add_tcase(suite, records);

    tcase_add_checked_fixture(closing, setup, NULL);
    tcase_add_loop_test(closing, close_wakes_all_who_wait_for_the_descriptor,
                        0, KINDS);
    tcase_add_loop_test(closing, close_wakes_a_platform_thread, 0, KINDS);
    tcase_add_loop_test(closing, a_reader_learns_of_the_close_wherever_it_is,
                        0, KINDS);
    tcase_add_loop_test(
        closing, who_comes_before_the_number_is_free_finds_no_descriptor, 0,
        KINDS);
    tcase_add_loop_test(closing,
                        who_has_got_the_number_already_is_not_disturbed, 0,
                        KINDS);
    tcase_set_timeout(closing, PATIENCE_S);
    suite_add_tcase(suite, closing);

    tcase_add_checked_fixture(reuse, setup, NULL);
    tcase_add_loop_test(reuse,
                        a_number_used_again_gets_no_events_of_the_old_file, 0,
                        KINDS);
    tcase_add_loop_test(
        reuse, close_ends_the_registration_though_a_duplicate_lives_on, 0,
        KINDS);
    tcase_add_loop_test(reuse, a_lost_file_that_lives_on_disturbs_nobody, 0,
                        KINDS);
    tcase_add_test(reuse, threads_that_reuse_each_others_numbers_never_meet);
    tcase_add_test(reuse, a_socket_with_the_number_of_a_lost_one_is_connected);
    tcase_add_test(reuse,
                   a_connection_with_the_number_of_a_lost_one_is_accepted);
    tcase_add_test(
        reuse, who_waits_for_a_lost_descriptor_is_told_when_that_is_noticed);
    tcase_set_timeout(reuse, PATIENCE_S);
    suite_add_tcase(suite, reuse);
    return suite;
}

int main(void)
{
    return run_suite(descriptor_suite());
}
