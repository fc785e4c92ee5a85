/*
 * ring_test.c - transfers that the kernel makes by itself, and how they are
 * taken back.  Pipes are read here: their data comes when the test says so.
 *
 * Where there is no ring there is nothing to test.
 */
#include "io/ring.h"
#include "platform/ring.h"
#include "tests/files.h"

struct reading {
    int fd;
    uint64_t deadline_ns;
    bool on_heap;
};

/* Minus an error number, or the byte. */
static void *reads_byte(void *arg)
{
    const struct reading *r = arg;
    char local = 0, *byte = r->on_heap ? malloc(1) : &local;
    struct iovec iov = {byte, 1};
    if (!ring_is_usable())
        return as_result(-ENOSYS);
    ssize_t n = ring_transfer(r->fd, &iov, 1, 0, false, r->deadline_ns);
    int result = n == 1 ? *byte : (int)n;
    if (r->on_heap)
        free(byte);
    return as_result(result);
}

static bool has_ring(void)
{
    return ring_is_open() && !mode_is("VTHREAD_IO_URING", "off");
}

START_TEST(a_thread_waits_for_what_the_kernel_reads)
{
    struct pair pair = open_pair(PIPE);
    static struct reading readings[64];
    vthread_t threads[64];
    int sum = 0;
    if (!has_ring())
        return;
    for (int i = 0; i < 64; i++) {
        readings[i] = (struct reading){pair.reader, VTHREAD_NEVER, i % 2};
        threads[i] = start(reads_byte, &readings[i]);
    }
    for (int i = 0; i < 64; i++)
        until_waiting(threads[i]);
    for (char i = 1; i <= 64; i++)
        require(write(pair.writer, &i, 1) == 1);
    for (int i = 0; i < 64; i++)
        sum += as_error(join(threads[i]));
    ck_assert_int_eq(sum, 64 * 65 / 2);
    close_pair(pair);
}
END_TEST

START_TEST(one_that_is_interrupted_is_taken_back)
{
    struct pair pair = open_pair(PIPE);
    struct reading reading = {pair.reader, VTHREAD_NEVER, _i};
    char byte;
    if (!has_ring())
        return;
    vthread_t t = start(reads_byte, &reading);
    until_waiting(t);
    ck_assert_int_eq(vthread_interrupt(t), 0);
    ck_assert_int_eq(as_error(join(t)), -ECANCELED);
    /* Nobody reads any more. */
    require(write(pair.writer, "x", 1) == 1);
    ck_assert_int_eq(read(pair.reader, &byte, 1), 1);
    close_pair(pair);
}
END_TEST

START_TEST(one_that_is_late_is_taken_back)
{
    struct pair pair = open_pair(PIPE);
    struct reading reading = {pair.reader, vthread_after(VTHREAD_MS), _i};
    if (!has_ring())
        return;
    ck_assert_int_eq(as_error(join(start(reads_byte, &reading))), -ETIMEDOUT);
    reading.deadline_ns = 0;
    ck_assert_int_eq(as_error(join(start(reads_byte, &reading))), -ETIMEDOUT);
    close_pair(pair);
}
END_TEST

struct race {
    struct pair pair;
    unsigned got, cancelled;
};

static void *reads_in_race(void *arg)
{
    struct race *race = arg;
    struct reading r = {race->pair.reader, VTHREAD_NEVER, false};
    int result = as_error(reads_byte(&r));
    if (result == 'x')
        race->got++;
    else
        require(result == -ECANCELED);
    /* An interrupt is seen by the read, or still there. */
    if (result == -ECANCELED)
        require(!vthread_interrupted());
    return NULL;
}

/* Each byte is either read or left, whoever is first. */
START_TEST(a_byte_that_races_an_interrupt_is_not_lost)
{
    static struct race race;
    char byte;
    if (!has_ring())
        return;
    race.pair = open_pair(PIPE);
    for (int i = 0; i < 400; i++) {
        unsigned got = race.got;
        vthread_t t = start(reads_in_race, &race);
        until_waiting(t);
        for (int j = 0; j < i % 40; j++)
            atomic_signal_fence(memory_order_seq_cst);
        if (i % 2)
            vthread_interrupt(t);
        require(write(race.pair.writer, "x", 1) == 1);
        if (i % 2 == 0)
            vthread_interrupt(t);
        join(t);
        struct pollfd left = {.fd = race.pair.reader, .events = POLLIN};
        int is_left = poll(&left, 1, 0);
        ck_assert_int_eq((int)(race.got - got) + is_left, 1);
        if (is_left)
            require(read(race.pair.reader, &byte, 1) == 1);
    }
    close_pair(race.pair);
}
END_TEST

static void *reads_scattered(void *arg)
{
    char a[3], b[2], c[100] = {0};
    struct iovec iov[] = {{a, 3}, {b, 2}, {c, 90}};
    if (!ring_is_usable())
        return NULL;
    ssize_t n = ring_transfer(*(int *)arg, iov, 3, 0, false, VTHREAD_NEVER);
    require(n == 9);
    require(memcmp(a, "abc", 3) == 0 && memcmp(b, "de", 2) == 0);
    require(memcmp(c, "fghi\0", 5) == 0);
    return NULL;
}

static void *writes_gathered(void *arg)
{
    char a[] = "abc", b[] = "defghi";
    struct iovec iov[] = {{a, 3}, {b, 6}};
    if (!ring_is_usable())
        return NULL;
    require(ring_transfer(*(int *)arg, iov, 2, 0, true, VTHREAD_NEVER) == 9);
    return NULL;
}

START_TEST(buffers_on_the_stack_are_scattered_and_gathered)
{
    struct pair pair = open_pair(PIPE);
    vthread_t reader = start(reads_scattered, &pair.reader);
    join(start(writes_gathered, &pair.writer));
    join(reader);
    close_pair(pair);
}
END_TEST

/* More than there is room for in the ring. */
START_TEST(more_than_the_ring_holds_are_all_served)
{
    enum { MANY = 3000 };
    static struct reading reading;
    static vthread_t threads[MANY];
    struct pair pair = open_pair(PIPE);
    if (!has_ring())
        return;
    reading = (struct reading){pair.reader, VTHREAD_NEVER, true};
    for (int i = 0; i < MANY; i++)
        threads[i] = start(reads_byte, &reading);
    for (int i = 0; i < MANY; i++)
        until_waiting(threads[i]);
    for (int i = MANY - 100; i < MANY; i++)
        vthread_interrupt(threads[i]);
    for (int i = MANY - 100; i < MANY; i++)
        ck_assert_int_eq(as_error(join(threads[i])), -ECANCELED);
    for (int i = 0; i < MANY - 100; i++)
        require(write(pair.writer, "x", 1) == 1);
    for (int i = 0; i < MANY - 100; i++)
        ck_assert_int_eq(as_error(join(threads[i])), 'x');
    close_pair(pair);
}
END_TEST

static void *is_usable(void *arg)
{
    vthread_pin();
    bool pinned = ring_is_usable();
    vthread_unpin();
    ck_assert(!pinned);
    return arg;
}

START_TEST(who_keeps_an_os_thread_anyway_reads_in_place)
{
    ck_assert(!ring_is_usable());
    join(start(is_usable, NULL));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ring");
    TCase *cases = new_case(suite, "ring");
    tcase_add_test(cases, a_thread_waits_for_what_the_kernel_reads);
    tcase_add_loop_test(cases, one_that_is_interrupted_is_taken_back, 0, 2);
    tcase_add_loop_test(cases, one_that_is_late_is_taken_back, 0, 2);
    tcase_add_test(cases, a_byte_that_races_an_interrupt_is_not_lost);
    tcase_add_test(cases, buffers_on_the_stack_are_scattered_and_gathered);
    tcase_add_test(cases, more_than_the_ring_holds_are_all_served);
    tcase_add_test(cases, who_keeps_an_os_thread_anyway_reads_in_place);
    return run_suite(suite);
}
