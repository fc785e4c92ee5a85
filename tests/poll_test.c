/*
 * poll_test.c - vthread_poll.
 */
#include <stdatomic.h>

#include "platform/memory.h"
#include "tests/descriptors.h"

/* A thread polls what it is given, with a copy of its own. */
struct request {
    struct pollfd fds[4];
    nfds_t count;
    uint64_t deadline_ns;
    unsigned ready;
};

static void *poll_it(void *arg)
{
    struct request *r = arg;
    return as_result(
        vthread_poll_until(r->fds, r->count, &r->ready, r->deadline_ns));
}

/* Starts a thread that polls the descriptors for the events, and returns
 * when it waits. */
static vthread_t start_poll(struct request *request, struct pair *pairs,
                            short events, nfds_t count)
{
    *request = (struct request){.count = count, .deadline_ns = VTHREAD_NEVER};
    for (nfds_t i = 0; i < count; i++)
        request->fds[i] =
            (struct pollfd){.fd = pairs[i].reader, .events = events};
    vthread_t t = start(poll_it, request);
    for (nfds_t i = 0; i < count; i++)
        while (count_watches(pairs[i].reader)
                   + count_waiting(pairs[i].reader, DIRECTION_READ)
               == 0)
            vthread_yield();
    return t;
}

static void open_pairs(struct pair *pairs, int count, enum kind kind)
{
    for (int i = 0; i < count; i++)
        pairs[i] = open_pair(kind);
}

static void close_pairs(struct pair *pairs, int count)
{
    for (int i = 0; i < count; i++) {
        ck_assert_int_eq(count_watches(pairs[i].reader), 0);
        vthread_close(pairs[i].reader);
        vthread_close(pairs[i].writer);
    }
}

/* How many descriptors are polled in the loop tests. */
enum { FEW_MIN = 1, FEW_MAX = 4 };

START_TEST(what_is_ready_is_told_at_once)
{
    struct pair pair = open_pair(TCP);
    struct pollfd fds[3] = {{.fd = pair.reader, .events = POLLIN | POLLOUT},
                            {.fd = -1, .events = POLLIN, .revents = 77},
                            {.fd = 9999, .events = POLLIN}};
    unsigned ready;
    ck_assert_int_eq(vthread_poll(fds, 1, &ready), 0);
    ck_assert_uint_eq(ready, 1);
    ck_assert_int_eq(fds[0].revents, POLLOUT);
    ck_assert_int_eq(vthread_poll_until(fds, 3, &ready, 0), 0);
    ck_assert_uint_eq(ready, 2);
    ck_assert_int_eq(fds[1].revents, 0);
    ck_assert_int_eq(fds[2].revents, POLLNVAL);
    close_pair(pair);
}
END_TEST

START_TEST(any_of_the_descriptors_ends_the_wait)
{
    struct pair pairs[FEW_MAX];
    static struct request request;
    open_pairs(pairs, _i, UNIX_STREAM);
    for (int which = 0; which < _i; which++) {
        char byte;
        vthread_t t = start_poll(&request, pairs, POLLIN, (nfds_t)_i);
        require(write(pairs[which].writer, "x", 1) == 1);
        ck_assert_int_eq(as_error(join(t)), 0);
        ck_assert_uint_eq(request.ready, 1);
        for (int i = 0; i < _i; i++)
            ck_assert_int_eq(request.fds[i].revents,
                             i == which ? POLLIN : 0);
        require(read(pairs[which].reader, &byte, 1) == 1);
    }
    close_pairs(pairs, _i);
}
END_TEST

START_TEST(the_end_of_the_peer_ends_the_wait)
{
    struct pair pairs[FEW_MAX];
    static struct request request;
    open_pairs(pairs, _i, TCP);
    vthread_t t = start_poll(&request, pairs, POLLIN | POLLRDHUP, (nfds_t)_i);
    shutdown(pairs[0].writer, SHUT_WR);
    ck_assert_int_eq(as_error(join(t)), 0);
    ck_assert_uint_eq(request.ready, 1);
    /* For a moment the kernel has a FIN to read, and no end yet. */
    ck_assert_int_eq(request.fds[0].revents & ~POLLRDHUP, POLLIN);
    while (request.fds[0].revents == POLLIN)
        ck_assert_int_eq(vthread_poll(request.fds, 1, &request.ready), 0);
    ck_assert_int_eq(request.fds[0].revents, POLLIN | POLLRDHUP);
    close_pairs(pairs, _i);
}
END_TEST

START_TEST(urgent_data_ends_the_wait)
{
    struct pair pairs[FEW_MAX];
    static struct request request;
    open_pairs(pairs, _i, TCP);
    vthread_t t = start_poll(&request, pairs, POLLPRI, (nfds_t)_i);
    require(send(pairs[0].writer, "!", 1, MSG_OOB) == 1);
    ck_assert_int_eq(as_error(join(t)), 0);
    ck_assert_int_eq(request.fds[0].revents, POLLPRI);
    close_pairs(pairs, _i);
}
END_TEST

START_TEST(room_to_write_ends_the_wait)
{
    struct pair pair = open_pair((enum kind)_i);
    struct pollfd fd = {.fd = pair.writer, .events = POLLOUT};
    unsigned ready;
    fill(pair.writer);
    ck_assert_int_eq(vthread_poll_until(&fd, 1, &ready, 0), ETIMEDOUT);
    static struct request request;
    request = (struct request){
        .fds = {fd}, .count = 1, .deadline_ns = VTHREAD_NEVER};
    vthread_t t = start(poll_it, &request);
    await_waiting(pair.writer, DIRECTION_WRITE, 1);
    static char buffer[100000];
    fcntl(pair.reader, F_SETFL, O_NONBLOCK);
    while (count_waiting(pair.writer, DIRECTION_WRITE) > 0)
        require(read(pair.reader, buffer, sizeof buffer) > 0
                || errno == EAGAIN);
    ck_assert_int_eq(as_error(join(t)), 0);
    ck_assert_int_eq(request.fds[0].revents, POLLOUT);
    close_pair(pair);
}
END_TEST

START_TEST(a_deadline_or_an_interrupt_ends_the_wait)
{
    struct pair pairs[FEW_MAX];
    static struct request request;
    struct pollfd fds[FEW_MAX];
    unsigned ready = 77;
    open_pairs(pairs, _i, PIPE);
    for (int i = 0; i < _i; i++)
        fds[i] = (struct pollfd){.fd = pairs[i].reader, .events = POLLIN};
    uint64_t deadline_ns = vthread_after(5 * VTHREAD_MS);
    ck_assert_int_eq(vthread_poll_until(fds, (nfds_t)_i, &ready, deadline_ns),
                     ETIMEDOUT);
    ck_assert_uint_ge(vthread_now(), deadline_ns);
    ck_assert_uint_eq(ready, 77);
    vthread_t t = start_poll(&request, pairs, POLLIN, (nfds_t)_i);
    vthread_interrupt(t);
    ck_assert_int_eq(as_error(join(t)), ECANCELED);
    close_pairs(pairs, _i);
}
END_TEST

START_TEST(nothing_to_poll_is_a_sleep)
{
    struct pollfd fd = {.fd = -1, .events = POLLIN};
    unsigned ready;
    uint64_t deadline_ns = vthread_after(2 * VTHREAD_MS);
    ck_assert_int_eq(vthread_poll_until(NULL, 0, &ready, deadline_ns),
                     ETIMEDOUT);
    ck_assert_uint_ge(vthread_now(), deadline_ns);
    deadline_ns = vthread_after(2 * VTHREAD_MS);
    ck_assert_int_eq(vthread_poll_until(&fd, 1, &ready, deadline_ns),
                     ETIMEDOUT);
    ck_assert_uint_ge(vthread_now(), deadline_ns);
}
END_TEST

START_TEST(closing_a_descriptor_cancels_the_wait)
{
    struct pair pairs[FEW_MAX];
    static struct request request;
    open_pairs(pairs, _i, PIPE);
    vthread_t t = start_poll(&request, pairs, POLLIN, (nfds_t)_i);
    vthread_close(pairs[_i - 1].reader);
    ck_assert_int_eq(as_error(join(t)), ECANCELED);
    vthread_close(pairs[_i - 1].writer);
    close_pairs(pairs, _i - 1);
}
END_TEST

START_TEST(one_descriptor_may_be_named_twice)
{
    struct pair pairs[2];
    static struct request request;
    pairs[0] = pairs[1] = open_pair(PIPE);
    vthread_t t = start_poll(&request, pairs, POLLIN, 2);
    await_watches(pairs[0].reader, 2);
    require(write(pairs[0].writer, "x", 1) == 1);
    ck_assert_int_eq(as_error(join(t)), 0);
    ck_assert_uint_eq(request.ready, 2);
    close_pairs(pairs, 1);
}
END_TEST

START_TEST(polling_leaves_a_descriptor_blocking)
{
    struct pair pairs[FEW_MAX];
    static struct request request;
    open_pairs(pairs, _i, PIPE);
    vthread_t t = start_poll(&request, pairs, POLLIN, (nfds_t)_i);
    require(write(pairs[0].writer, "x", 1) == 1);
    ck_assert_int_eq(as_error(join(t)), 0);
    for (int i = 0; i < _i; i++)
        ck_assert_int_eq(fcntl(pairs[i].reader, F_GETFL) & O_NONBLOCK, 0);
    /* And it becomes non-blocking when it is read. */
    char buffer[10];
    size_t n;
    ck_assert_int_eq(vthread_read(pairs[0].reader, buffer, 10, &n), 0);
    ck_assert_int_eq(vthread_read_until(pairs[0].reader, buffer, 10, &n,
                                        vthread_after(VTHREAD_MS)),
                     ETIMEDOUT);
    ck_assert_int_ne(fcntl(pairs[0].reader, F_GETFL) & O_NONBLOCK, 0);
    close_pairs(pairs, _i);
}
END_TEST

static void *read_one(void *arg)
{
    char byte;
    size_t n;
    return as_result(vthread_read(*(int *)arg, &byte, 1, &n));
}

START_TEST(a_poller_in_front_of_a_reader_passes_the_event_on)
{
    struct pair pair = open_pair((enum kind)_i);
    static struct request requests[3];
    vthread_t pollers[3], reader;
    for (int i = 0; i < 3; i++) {
        pollers[i] = start_poll(&requests[i], &pair, POLLIN, 1);
        await_waiting(pair.reader, DIRECTION_READ, i + 1);
    }
    reader = start(read_one, &pair.reader);
    await_waiting(pair.reader, DIRECTION_READ, 4);
    require(write(pair.writer, "xyz", 3) == 3);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(as_error(join(pollers[i])), 0);
    ck_assert_int_eq(as_error(join(reader)), 0);
    close_pairs(&pair, 1);
}
END_TEST

/* As a client library does that waits with poll and closes with close. */
START_TEST(a_descriptor_closed_by_a_foreign_library_leaves_no_trace)
{
    struct pair pairs[FEW_MAX];
    static struct request request;
    for (int round = 0; round < 20; round++) {
        open_pairs(pairs, _i, round % 2 == 0 ? PIPE : TCP);
        vthread_t t = start_poll(&request, pairs, POLLIN, (nfds_t)_i);
        require(write(pairs[round % _i].writer, "x", 1) == 1);
        ck_assert_int_eq(as_error(join(t)), 0);
        ck_assert_uint_eq(request.ready, 1);
        for (int i = 0; i < _i; i++) {
            close(pairs[i].reader);
            close(pairs[i].writer);
        }
    }
}
END_TEST

START_TEST(a_platform_thread_polls)
{
    struct pair pairs[FEW_MAX];
    static struct request request;
    open_pairs(pairs, _i, PIPE);
    request = (struct request){.count = (nfds_t)_i,
                               .deadline_ns = VTHREAD_NEVER};
    for (int i = 0; i < _i; i++)
        request.fds[i] =
            (struct pollfd){.fd = pairs[i].reader, .events = POLLIN};
    pthread_t t = start_platform(poll_it, &request);
    while (count_watches(pairs[0].reader)
               + count_waiting(pairs[0].reader, DIRECTION_READ)
           == 0)
        sched_yield();
    require(write(pairs[_i - 1].writer, "x", 1) == 1);
    ck_assert_int_eq(as_error(join_platform(t)), 0);
    ck_assert_int_eq(request.fds[_i - 1].revents, POLLIN);
    close_pairs(pairs, _i);
}
END_TEST

START_TEST(without_memory_nothing_is_left_behind)
{
    struct pair pairs[2];
    struct pollfd fds[2];
    unsigned ready;
    open_pairs(pairs, 2, PIPE);
    for (int i = 0; i < 2; i++)
        fds[i] = (struct pollfd){.fd = pairs[i].reader, .events = POLLIN};
    ck_assert_ptr_nonnull(vthread_scheduler_default());
    ck_assert(vthread_self() != 0);
    for (unsigned long nth = 1; nth < 4; nth++) {
        memory_fail_after(nth);
        int err = vthread_poll_until(fds, 2, &ready, 0);
        memory_fail_after(0);
        ck_assert_int_eq(err, err == ENOMEM ? ENOMEM : ETIMEDOUT);
        ck_assert(nth > 1 || err == ENOMEM);
        ck_assert_int_eq(count_watches(pairs[0].reader), 0);
    }
    close_pairs(pairs, 2);
}
END_TEST

/* ---- Much at once ------------------------------------------------------- */

enum { SHARED = 4, POLLERS = 10, TOKENS = 2000 };

static struct pair shared[SHARED];
static _Atomic int taken;

/* Takes a token from whatever descriptor has one; others are faster at
 * times. */
static void *take_tokens(void *arg)
{
    struct random chance = {(uintptr_t)arg};
    while (atomic_load(&taken) < TOKENS) {
        struct pollfd fds[SHARED];
        unsigned ready, first = (unsigned)random_below(&chance, SHARED);
        nfds_t count = 1 + random_below(&chance, SHARED - first);
        for (nfds_t i = 0; i < count; i++)
            fds[i] = (struct pollfd){.fd = shared[first + i].reader,
                                     .events = POLLIN};
        int err = vthread_poll_until(fds, count, &ready,
                                     vthread_after(VTHREAD_MS));
        require(err == 0 || err == ETIMEDOUT || err == ECANCELED);
        for (nfds_t i = 0; i < count && err == 0; i++) {
            char byte;
            size_t n;
            if (fds[i].revents & POLLIN
                && vthread_recv(fds[i].fd, &byte, 1, MSG_DONTWAIT, &n) == 0)
                atomic_fetch_add(&taken, 1);
        }
    }
    return NULL;
}

START_TEST(many_pollers_of_the_same_descriptors_miss_nothing)
{
    vthread_t threads[POLLERS];
    struct random chance = random_start("poll_test");
    open_pairs(shared, SHARED, UNIX_STREAM);
    for (int i = 0; i < POLLERS; i++)
        threads[i] = start(take_tokens, (void *)random_next(&chance));
    for (int i = 0; i < TOKENS; i++) {
        require(write(shared[random_below(&chance, SHARED)].writer, "x", 1)
                == 1);
        if (i % 50 == 0)
            vthread_interrupt(threads[random_below(&chance, POLLERS)]);
        for (volatile int j = 0; j < i; j++)
            continue;
    }
    for (int i = 0; i < POLLERS; i++)
        join(threads[i]);
    ck_assert_int_eq(taken, TOKENS);
    close_pairs(shared, SHARED);
}
END_TEST

static Suite *poll_suite(void)
{
    Suite *suite = suite_create("poll");
    TCase *one = tcase_create("few");
    TCase *many = tcase_create("many");

    tcase_add_test(one, what_is_ready_is_told_at_once);
    tcase_add_loop_test(one, any_of_the_descriptors_ends_the_wait, FEW_MIN,
                        FEW_MAX + 1);
    tcase_add_loop_test(one, the_end_of_the_peer_ends_the_wait, FEW_MIN,
                        FEW_MAX + 1);
    tcase_add_loop_test(one, urgent_data_ends_the_wait, FEW_MIN, FEW_MAX + 1);
    tcase_add_loop_test(one, room_to_write_ends_the_wait, 0, KINDS);
    tcase_add_loop_test(one, a_deadline_or_an_interrupt_ends_the_wait,
                        FEW_MIN, FEW_MAX + 1);
    tcase_add_test(one, nothing_to_poll_is_a_sleep);
    tcase_add_loop_test(one, closing_a_descriptor_cancels_the_wait, FEW_MIN,
                        FEW_MAX + 1);
    tcase_add_test(one, one_descriptor_may_be_named_twice);
    tcase_add_loop_test(one, polling_leaves_a_descriptor_blocking, FEW_MIN,
                        FEW_MAX + 1);
    tcase_add_loop_test(one,
                        a_poller_in_front_of_a_reader_passes_the_event_on, 0,
                        KINDS);
    tcase_add_loop_test(
        one, a_descriptor_closed_by_a_foreign_library_leaves_no_trace,
        FEW_MIN, FEW_MAX + 1);
    tcase_add_loop_test(one, a_platform_thread_polls, FEW_MIN, FEW_MAX + 1);
    tcase_add_test(one, without_memory_nothing_is_left_behind);
    tcase_set_timeout(one, PATIENCE_S);
    suite_add_tcase(suite, one);

    tcase_add_test(many, many_pollers_of_the_same_descriptors_miss_nothing);
    tcase_set_timeout(many, PATIENCE_S);
    suite_add_tcase(suite, many);
    return suite;
}

int main(void)
{
    return run_suite(poll_suite());
}
