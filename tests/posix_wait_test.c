/*
 * posix_wait_test.c - plain poll, select, epoll_wait and the sleep family,
 * by virtual threads.
 */
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>

#include "tests/posix.h"

static bool took(uint64_t begin_ns, uint64_t ms)
{
    return vthread_now() - begin_ns >= ms * VTHREAD_MS;
}

static void put(int fd)
{
    require(write(fd, "x", 1) == 1);
}

/* ---- poll --------------------------------------------------------------- */

enum { MANY = 40 };

struct polled {
    struct pair pairs[MANY];
    int ready;
    int error;
};

static void open_all(struct polled *p)
{
    for (int i = 0; i < MANY; i++)
        p->pairs[i] = open_pair((enum kind)(i % STREAMS));
}

static void close_all(struct polled *p)
{
    for (int i = 0; i < MANY; i++)
        close_pair(p->pairs[i]);
}

static void *poll_all(void *arg)
{
    struct polled *p = arg;
    struct pollfd fds[MANY];
    int n = 0;
    for (int i = 0; i < MANY; i++)
        fds[i] = (struct pollfd){.fd = p->pairs[i].reader, .events = POLLIN};
    fds[1].fd = -1;
    require(poll(fds, MANY, -1) == 1);
    while (fds[n].revents == 0)
        n++;
    require(fds[n].revents == POLLIN);
    return as_pointer(n);
}

static void *ppoll_all(void *arg)
{
    struct polled *p = arg;
    struct pollfd fds[MANY];
    struct timespec limit = {.tv_sec = 50};
    int n = 0;
    for (int i = 0; i < MANY; i++)
        fds[i] = (struct pollfd){.fd = p->pairs[i].reader, .events = POLLIN};
    require(ppoll(fds, MANY, &limit, NULL) == 1);
    require(limit.tv_sec == 50);
    while (fds[n].revents == 0)
        n++;
    return as_pointer(n);
}

static void *select_all(void *arg)
{
    struct polled *p = arg;
    struct timeval limit = {.tv_sec = 50};
    int n = 0, highest = 0;
    fd_set reads, writes;
    FD_ZERO(&reads);
    FD_ZERO(&writes);
    for (int i = 0; i < MANY; i++) {
        FD_SET(p->pairs[i].reader, &reads);
        if (p->pairs[i].reader > highest)
            highest = p->pairs[i].reader;
    }
    require(select(highest + 1, &reads, &writes, NULL, &limit) == 1);
    require(limit.tv_sec == 49);
    while (!FD_ISSET(p->pairs[n].reader, &reads))
        n++;
    return as_pointer(n);
}

static void *pselect_all(void *arg)
{
    struct polled *p = arg;
    int n = 0;
    fd_set reads;
    FD_ZERO(&reads);
    for (int i = 0; i < MANY; i++)
        FD_SET(p->pairs[i].reader, &reads);
    require(pselect(FD_SETSIZE, &reads, NULL, NULL, NULL, NULL) == 1);
    while (!FD_ISSET(p->pairs[n].reader, &reads))
        n++;
    return as_pointer(n);
}

static void *epoll_all(void *arg)
{
    struct polled *p = arg;
    struct epoll_event event = {.events = EPOLLIN};
    int fd = epoll_create1(EPOLL_CLOEXEC);
    require(fd >= 0);
    for (int i = 0; i < MANY; i++) {
        event.data.u32 = (uint32_t)i;
        require(epoll_ctl(fd, EPOLL_CTL_ADD, p->pairs[i].reader, &event)
                == 0);
    }
    require(epoll_wait(fd, &event, 1, -1) == 1);
    require(epoll_pwait(fd, &event, 1, 10000, NULL) == 1);
    struct timespec limit = {.tv_sec = 50};
    require(epoll_pwait2(fd, &event, 1, &limit, NULL) == 1);
    require(close(fd) == 0);
    return as_pointer((intptr_t)event.data.u32);
}

static void wait_for_one(void *(*fn)(void *))
{
    static const int order[] = {0, 2, MANY - 1};
    struct polled p;
    open_all(&p);
    for (size_t i = 0; i < COUNT_OF(order); i++) {
        char text;
        vthread_t t = start(fn, &p);
        until_waiting(fn, 1);
        put(p.pairs[order[i]].writer);
        ck_assert_int_eq(as_number(join(t)), order[i]);
        ck_assert_int_eq(read(p.pairs[order[i]].reader, &text, 1), 1);
    }
    close_all(&p);
}

START_TEST(one_of_many_descriptors_ends_the_wait)
{
    wait_for_one(poll_all);
    wait_for_one(ppoll_all);
    wait_for_one(select_all);
    wait_for_one(pselect_all);
    wait_for_one(epoll_all);
}
END_TEST

/* Of the kernel's table, which it looks at as a whole.  Valgrind has
 * descriptors far beyond the program's. */
static bool has_few_places(void)
{
    char line[100];
    int places = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "FDSize: %d", &places) == 1)
            break;
    if (status)
        fclose(status);
    return places <= FD_SETSIZE;
}

/* Old programs pass getdtablesize(), and sets that have an end before. */
static void *passes_any_limit(void *arg)
{
    struct {
        fd_set set;
        unsigned char after[4096];
    } reads = {.after = {0}};
    struct pair pair = open_pair(TCP);
    put(pair.writer);
    memset(reads.after, 0xff, sizeof reads.after);
    FD_SET(pair.reader, &reads.set);
    require(select(FD_SETSIZE + CHAR_BIT * (int)sizeof reads.after,
                   &reads.set, NULL, NULL, NULL)
            == 1);
    require(FD_ISSET(pair.reader, &reads.set));
    for (size_t i = 0; i < sizeof reads.after; i++)
        require(reads.after[i] == 0xff);
    close_pair(pair);
    return arg;
}

/* A set of FD_SETSIZE with bits that the kernel's table has no entry for;
 * a process that has few descriptors has one of 64 or 256. */
static void *sets_bits_beyond(void *arg)
{
    struct pair pair = open_pair(TCP);
    fd_set reads, writes;
    put(pair.writer);
    FD_ZERO(&reads);
    FD_SET(pair.reader, &reads);
    FD_SET(FD_SETSIZE - 1, &reads);
    writes = reads;
    int expected = (int)syscall(SYS_pselect6, FD_SETSIZE, &reads, NULL, NULL,
                                &(struct timespec){0}, NULL);
    require(select(FD_SETSIZE, &writes, NULL, NULL, NULL) == expected);
    require(memcmp(&reads, &writes, sizeof reads) == 0);
    close_pair(pair);
    return arg;
}

START_TEST(select_looks_no_farther_than_the_kernel)
{
    if (has_few_places()) {
        on_virtual(passes_any_limit);
        on_virtual(sets_bits_beyond);
    }
}
END_TEST

static void *answers_claims(void *arg)
{
    struct pair pair = open_pair(TCP);
    struct pollfd fds[2] = {{.fd = pair.writer, .events = POLLIN | POLLOUT},
                            {.fd = 9999, .events = POLLIN}};
    fd_set reads, writes, others;
    (void)arg;
    require(poll(fds, 2, -1) == 2);
    require(fds[0].revents == POLLOUT && fds[1].revents == POLLNVAL);
    FD_ZERO(&reads);
    FD_ZERO(&others);
    FD_SET(pair.reader, &reads);
    FD_SET(pair.writer, &reads);
    FD_SET(pair.writer, &others);
    writes = reads;
    require(select(FD_SETSIZE, &reads, &writes, &others, NULL) == 2);
    require(!FD_ISSET(pair.reader, &reads) && !FD_ISSET(pair.writer, &reads));
    require(FD_ISSET(pair.reader, &writes) && FD_ISSET(pair.writer, &writes));
    require(!FD_ISSET(pair.writer, &others));
    put(pair.writer);
    FD_ZERO(&reads);
    FD_SET(pair.reader, &reads);
    writes = reads;
    require(select(pair.reader + 1, &reads, &writes, NULL, NULL) == 2);
    close(pair.writer);
    FD_SET(pair.writer, &reads);
    require(fails(EBADF, select(FD_SETSIZE, &reads, NULL, NULL, NULL)));
    require(FD_ISSET(pair.writer, &reads));
    require(fails(EINVAL, select(-1, &reads, NULL, NULL, NULL)));
    require(fails(EINVAL, select(0, NULL, NULL, NULL,
                                 &(struct timeval){.tv_sec = -1})));
    require(fails(EINVAL,
                  ppoll(fds, 1, &(struct timespec){.tv_nsec = -1}, NULL)));
    require(fails(EBADF, epoll_wait(-1, &(struct epoll_event){0}, 1, 10)));
    require(fails(EINVAL, epoll_wait(pair.reader, &(struct epoll_event){0}, 1,
                                     10)));
    close(pair.reader);
    return NULL;
}

START_TEST(they_answer_as_the_kernel_does)
{
    on_virtual(answers_claims);
}
END_TEST

static void *timeout_claims(void *arg)
{
    struct pair pair = open_pair(UNIX_STREAM);
    struct pollfd fds[2] = {
        {.fd = pair.reader, .events = POLLIN, .revents = POLLIN},
        {.fd = pair.writer, .events = POLLIN}};
    struct epoll_event event = {.events = EPOLLIN};
    struct timeval limit = {.tv_usec = 5000};
    struct timespec limit_ns = {.tv_nsec = 5000000};
    fd_set reads;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    (void)arg;
    require(epoll_ctl(epoll, EPOLL_CTL_ADD, pair.reader, &event) == 0);
    FD_ZERO(&reads);
    FD_SET(pair.reader, &reads);
    uint64_t begin_ns = vthread_now();
    require(poll(fds, 1, 5) == 0 && fds[0].revents == 0);
    require(poll(fds, 2, 5) == 0 && took(begin_ns, 10));
    require(poll(NULL, 0, 5) == 0 && took(begin_ns, 15));
    require(ppoll(fds, 2, &limit_ns, NULL) == 0 && took(begin_ns, 20));
    require(select(FD_SETSIZE, &reads, NULL, NULL, &limit) == 0);
    require(limit.tv_sec == 0 && limit.tv_usec == 0 && took(begin_ns, 25));
    require(!FD_ISSET(pair.reader, &reads));
    limit.tv_usec = 5000;
    require(select(0, NULL, NULL, NULL, &limit) == 0 && took(begin_ns, 30));
    require(epoll_wait(epoll, &event, 1, 5) == 0 && took(begin_ns, 35));
    require(epoll_wait(epoll, &event, 1, 0) == 0);
    require(poll(fds, 2, 0) == 0);
    close(epoll);
    close_pair(pair);
    return NULL;
}

START_TEST(the_time_ends_the_wait_with_0)
{
    on_virtual(timeout_claims);
}
END_TEST

static void *poll_closed(void *arg)
{
    struct polled *p = arg;
    struct pollfd fds[2] = {{.fd = p->pairs[0].reader, .events = POLLIN},
                            {.fd = p->pairs[1].reader, .events = POLLIN}};
    require(poll(fds, 2, -1) == 1);
    require(fds[1].revents == POLLNVAL);
    return NULL;
}

static void *poll_interrupted(void *arg)
{
    struct polled *p = arg;
    struct pollfd fds[2] = {{.fd = p->pairs[0].reader, .events = POLLIN},
                            {.fd = p->pairs[2].reader, .events = POLLIN}};
    require(fails(EINTR, poll(fds, 2, -1)));
    require(poll(fds, 2, 1) == 0);
    return NULL;
}

static void *close_second(void *arg)
{
    struct polled *p = arg;
    require(close(p->pairs[1].reader) == 0);
    return NULL;
}

START_TEST(poll_is_ended_by_a_close_and_by_an_interrupt)
{
    struct polled p;
    open_all(&p);
    vthread_t closed = start(poll_closed, &p);
    vthread_t interrupted = start(poll_interrupted, &p);
    until_waiting(poll_closed, 1);
    until_waiting(poll_interrupted, 1);
    join(start(close_second, &p));
    join(closed);
    ck_assert_int_eq(vthread_interrupt(interrupted), 0);
    join(interrupted);
    ck_assert_int_ge(dup2(p.pairs[0].reader, p.pairs[1].reader), 0);
    close_all(&p);
}
END_TEST

/* ---- One epoll descriptor, many threads --------------------------------- */

enum { WAITERS = 50 };

struct shared {
    int epoll;
    atomic_int events;
};

static void *take_events(void *arg)
{
    struct shared *s = arg;
    struct epoll_event event;
    require(epoll_wait(s->epoll, &event, 1, -1) == 1);
    atomic_fetch_add(&s->events, 1);
    return NULL;
}

START_TEST(each_event_of_an_epoll_descriptor_is_for_one_thread)
{
    struct shared s = {.epoll = epoll_create1(EPOLL_CLOEXEC)};
    struct pair pairs[WAITERS];
    vthread_t t[WAITERS];
    for (int i = 0; i < WAITERS; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLET};
        pairs[i] = open_pair(PIPE);
        epoll_ctl(s.epoll, EPOLL_CTL_ADD, pairs[i].reader, &event);
        t[i] = start(take_events, &s);
    }
    until_waiting(take_events, WAITERS);
    for (int i = 0; i < WAITERS; i++)
        put(pairs[i].writer);
    for (int i = 0; i < WAITERS; i++)
        join(t[i]);
    ck_assert_int_eq(atomic_load(&s.events), WAITERS);
    for (int i = 0; i < WAITERS; i++)
        close_pair(pairs[i]);
    close(s.epoll);
}
END_TEST

/* ---- Sleeping ----------------------------------------------------------- */

static void *sleep_claims(void *arg)
{
    struct timespec time = {.tv_nsec = 2000000};
    uint64_t begin_ns = vthread_now();
    (void)arg;
    require(usleep(2000) == 0 && took(begin_ns, 2));
    require(nanosleep(&time, NULL) == 0 && took(begin_ns, 4));
    require(clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL) == 0);
    require(took(begin_ns, 6));
    require(clock_gettime(CLOCK_REALTIME, &time) == 0);
    time.tv_sec += (time.tv_nsec + 2000000) / 1000000000;
    time.tv_nsec = (time.tv_nsec + 2000000) % 1000000000;
    require(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &time, NULL) == 0);
    require(took(begin_ns, 8));
    require(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &time, NULL) == 0);
    require(sleep(0) == 0 && usleep(0) == 0 && sched_yield() == 0);
    time.tv_nsec = 1000000000;
    require(fails(EINVAL, nanosleep(&time, NULL)));
    require(clock_nanosleep(CLOCK_REALTIME, 0, &time, NULL) == EINVAL);
    require(clock_nanosleep(12345, 0, &(struct timespec){0}, NULL)
            == EINVAL);
    return NULL;
}

START_TEST(the_sleep_family_sleeps)
{
    on_virtual(sleep_claims);
}
END_TEST

static void *sleep_long(void *arg)
{
    (void)arg;
    return as_pointer((intptr_t)sleep(100));
}

static void *nanosleep_long(void *arg)
{
    struct timespec left = {0};
    (void)arg;
    require(fails(EINTR, nanosleep(&(struct timespec){.tv_sec = 100},
                                   &left)));
    return as_pointer(left.tv_sec + 1);
}

static void *clock_nanosleep_long(void *arg)
{
    struct timespec left = {0};
    (void)arg;
    require(clock_nanosleep(CLOCK_BOOTTIME, 0,
                            &(struct timespec){.tv_sec = 100}, &left)
            == EINTR);
    return as_pointer(left.tv_sec + 1);
}

START_TEST(an_interrupted_sleep_tells_what_is_left)
{
    void *(*const fns[])(void *) = {sleep_long, nanosleep_long,
                                    clock_nanosleep_long};
    for (size_t i = 0; i < COUNT_OF(fns); i++) {
        vthread_t t = start(fns[i], NULL);
        until_waiting(fns[i], 1);
        ck_assert_int_eq(vthread_interrupt(t), 0);
        intptr_t left = as_number(join(t));
        ck_assert_int_gt(left, 0);
        ck_assert_int_le(left, 100);
    }
}
END_TEST

enum { SLEEPERS = 3000 };

static void *sleep_some(void *arg)
{
    for (int i = 0; i < 3; i++)
        require(usleep(1000 + (useconds_t)as_number(arg) % 5000) == 0);
    return NULL;
}

START_TEST(thousands_sleep_on_a_few_carriers)
{
    vthread_t *t = calloc(SLEEPERS, sizeof *t);
    for (int i = 0; i < SLEEPERS; i++)
        t[i] = start(sleep_some, as_pointer(i));
    for (int i = 0; i < SLEEPERS; i++)
        join(t[i]);
    free(t);
}
END_TEST

/* Code that waits for a flag like this must let others run. */
static atomic_int flag;

static void *set_flag(void *arg)
{
    atomic_store(&flag, true);
    return arg;
}

static void *spin_for_flag(void *arg)
{
    vthread_t t = start(set_flag, NULL);
    while (!atomic_load(&flag))
        sched_yield();
    join(t);
    return arg;
}

START_TEST(sched_yield_lets_others_run)
{
    on_virtual(spin_for_flag);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("posix_wait");
    TCase *cases = new_case(suite, "posix_wait");
    set_mode("VTHREAD_PARALLELISM", "2");
    tcase_add_test(cases, one_of_many_descriptors_ends_the_wait);
    tcase_add_test(cases, select_looks_no_farther_than_the_kernel);
    tcase_add_test(cases, they_answer_as_the_kernel_does);
    tcase_add_test(cases, the_time_ends_the_wait_with_0);
    tcase_add_test(cases, poll_is_ended_by_a_close_and_by_an_interrupt);
    tcase_add_test(cases,
                   each_event_of_an_epoll_descriptor_is_for_one_thread);
    tcase_add_test(cases, the_sleep_family_sleeps);
    tcase_add_test(cases, an_interrupted_sleep_tells_what_is_left);
    tcase_add_test(cases, thousands_sleep_on_a_few_carriers);
    tcase_add_test(cases, sched_yield_lets_others_run);
    return run_suite(suite);
}
