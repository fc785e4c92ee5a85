/*
 * channel_test.c - sending and receiving: each against a waiting and a
 * closing twin, for all sizes of values and all kinds of threads; at last
 * everything at once, against a model.
 */
#include "platform/memory.h"
#include "tests/channels.h"
#include "tests/random.h"

/* ---- One thread --------------------------------------------------------- */

START_TEST(a_buffer_keeps_its_capacity_in_order)
{
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        for (size_t capacity = 0; capacity < 5; capacity++) {
            vthread_channel_t *c = channel_of(sizes[i], capacity);
            ck_assert_uint_eq(vthread_channel_capacity(c), capacity);
            for (unsigned n = 0; n < capacity; n++)
                ck_assert_int_eq(put(c, sizes[i], n), 0);
            ck_assert_int_eq(put(c, sizes[i], 99), EAGAIN);
            ck_assert_uint_eq(vthread_channel_length(c), capacity);
            /* Around the end of the buffer. */
            for (unsigned n = 0; n < 3 * capacity; n++) {
                ck_assert_int_eq(get(c, sizes[i], n), 0);
                ck_assert_int_eq(put(c, sizes[i], n + (unsigned)capacity), 0);
            }
            for (unsigned n = 0; n < capacity; n++)
                ck_assert_int_eq(
                    get(c, sizes[i], n + 3 * (unsigned)capacity), 0);
            ck_assert_int_eq(get(c, sizes[i], 0), EAGAIN);
            ck_assert_uint_eq(vthread_channel_length(c), 0);
            destroy(c);
        }
}
END_TEST

START_TEST(a_closed_channel_is_drained_and_then_says_so)
{
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        vthread_channel_t *c = channel_of(sizes[i], 2);
        ck_assert_int_eq(put(c, sizes[i], 1), 0);
        ck_assert_int_eq(vthread_channel_close(c), 0);
        ck_assert_int_eq(vthread_channel_close(c), EPIPE);
        ck_assert_int_eq(put(c, sizes[i], 2), EPIPE);
        ck_assert_int_eq(get(c, sizes[i], 1), 0);
        ck_assert_int_eq(get(c, sizes[i], 0), EPIPE);
        ck_assert_int_eq(end_call(begin(COMMON, sends, c, sizes[i], 1)),
                         EPIPE);
        ck_assert_int_eq(end_call(begin(COMMON, receives, c, sizes[i], 1)),
                         EPIPE);
        destroy(c);
    }
}
END_TEST

START_TEST(bad_arguments_are_refused)
{
    vthread_channel_t *c = (void *)8;
    ck_assert_int_eq(vthread_channel_create(&c, SIZE_MAX / 2, 3), ENOMEM);
    ck_assert_int_eq(vthread_channel_create(&c, 1, SIZE_MAX), ENOMEM);
    ck_assert_ptr_eq(c, (void *)8);
    ck_assert_int_eq(vthread_channel_create(NULL, 4, 1), EINVAL);
    ck_assert_int_eq(vthread_channel_destroy(NULL), 0);
    c = channel_of(4, 1);
    ck_assert_int_eq(vthread_channel_send(c, NULL), EINVAL);
    ck_assert_int_eq(vthread_channel_trysend(c, NULL), EINVAL);
    ck_assert_int_eq(vthread_channel_receive(c, NULL), EINVAL);
    ck_assert_int_eq(vthread_channel_tryreceive(c, NULL), EINVAL);
    ck_assert_uint_eq(vthread_channel_length(c), 0);
    destroy(c);
    c = channel_of(0, 1);
    ck_assert_int_eq(vthread_channel_send(c, NULL), 0);
    ck_assert_int_eq(vthread_channel_receive(c, NULL), 0);
    destroy(c);
}
END_TEST

/* ---- A waiting twin ----------------------------------------------------- */

static void receiver_waits(enum kind receiver, enum kind sender, size_t size,
                           size_t capacity)
{
    vthread_channel_t *c = channel_of(size, capacity);
    struct call *r = begin_waiting(receiver, receives, c, size, 5);
    ck_assert_int_eq(vthread_channel_destroy(c), EBUSY);
    struct call *s = begin(sender, sends, c, size, 5);
    ck_assert_int_eq(end_call(s), 0);
    ck_assert_int_eq(end_call(r), 0);
    ck_assert_uint_eq(vthread_channel_length(c), 0);
    destroy(c);
}

static void sender_waits(enum kind sender, enum kind receiver, size_t size,
                         unsigned capacity)
{
    vthread_channel_t *c = channel_of(size, capacity);
    for (unsigned n = 0; n < capacity; n++)
        ck_assert_int_eq(put(c, size, n), 0);
    struct call *s = begin_waiting(sender, sends, c, size, capacity);
    ck_assert_int_eq(vthread_channel_destroy(c), EBUSY);
    ck_assert_uint_eq(vthread_channel_length(c), capacity);
    for (unsigned n = 0; n <= capacity; n++)
        ck_assert_int_eq(end_call(begin(receiver, receives, c, size, n)), 0);
    ck_assert_int_eq(end_call(s), 0);
    destroy(c);
}

START_TEST(a_receiver_that_waits_is_handed_the_value)
{
    choose_homes(_i);
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        for (int a = COMMON; a < KINDS; a++)
            for (int b = COMMON; b < KINDS; b++)
                for (size_t capacity = 0; capacity < 2; capacity++)
                    receiver_waits(a, b, sizes[i], capacity);
}
END_TEST

START_TEST(a_sender_that_waits_hands_its_value_over)
{
    choose_homes(_i);
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        for (int a = COMMON; a < KINDS; a++)
            for (int b = COMMON; b < KINDS; b++)
                for (unsigned capacity = 0; capacity < 3; capacity++)
                    sender_waits(a, b, sizes[i], capacity);
}
END_TEST

enum { CROWD = 20 };

static void waiters_are_served_in_order(void *(*wait)(void *), bool they_send)
{
    vthread_channel_t *c = channel_of(9, 0);
    struct call *calls[CROWD];
    for (unsigned n = 0; n < CROWD; n++)
        calls[n] = begin_waiting(n % KINDS, wait, c, 9, n);
    for (unsigned n = 0; n < CROWD; n++)
        ck_assert_int_eq(they_send ? get(c, 9, n) : put(c, 9, n), 0);
    for (unsigned n = 0; n < CROWD; n++)
        ck_assert_int_eq(end_call(calls[n]), 0);
    destroy(c);
}

START_TEST(who_waits_is_served_in_order_of_arrival)
{
    choose_homes(_i);
    waiters_are_served_in_order(receives, false);
    waiters_are_served_in_order(sends, true);
}
END_TEST

/* ---- A closing twin ----------------------------------------------------- */

static void close_wakes(void *(*wait)(void *), size_t size, unsigned capacity)
{
    vthread_channel_t *c = channel_of(size, capacity);
    struct call *calls[KINDS];
    if (wait == sends)
        for (unsigned n = 0; n < capacity; n++)
            ck_assert_int_eq(put(c, size, n), 0);
    for (int kind = COMMON; kind < KINDS; kind++)
        calls[kind] = begin_waiting(kind, wait, c, size, 77);
    ck_assert_int_eq(vthread_channel_close(c), 0);
    for (int kind = COMMON; kind < KINDS; kind++)
        ck_assert_int_eq(end_call(calls[kind]), EPIPE);
    /* What was in the buffer is there still, what was not never comes. */
    if (wait == sends)
        for (unsigned n = 0; n < capacity; n++)
            ck_assert_int_eq(get(c, size, n), 0);
    ck_assert_int_eq(get(c, size, 0), EPIPE);
    destroy(c);
}

START_TEST(closing_wakes_all_who_wait)
{
    choose_homes(_i);
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        for (unsigned capacity = 0; capacity < 3; capacity++) {
            close_wakes(sends, sizes[i], capacity);
            close_wakes(receives, sizes[i], capacity);
        }
}
END_TEST

/* ---- Addresses and memory ----------------------------------------------- */

static void *sends_an_address(void *arg)
{
    vthread_channel_t *c = arg;
    int local;
    void *address = &local;
    int err = vthread_channel_send(c, &address);
    ck_assert_int_eq(vthread_channel_trysend(c, &address), err);
    return pointer((uintptr_t)err);
}

static void *waits_on_home(void *arg)
{
    return pointer((uintptr_t)vthread_park() + (uintptr_t)arg);
}

START_TEST(an_address_on_a_shared_stack_is_not_sent)
{
    setenv("VTHREAD_FREEZE", "lazy", 1);
    setenv("VTHREAD_OWN_LIMIT", "0", 1);
    setenv("VTHREAD_COMMON_HOMES", "1", 1);
    setenv("VTHREAD_PARALLELISM", "1", 1);
    vthread_channel_t *c = channel_of(sizeof(void *), 2);
    vthread_t crowd[100];
    for (size_t i = 0; i < COUNT_OF(crowd); i++)
        until_waiting(crowd[i] = start(waits_on_home, NULL));
    ck_assert_ptr_eq(join(start(sends_an_address, c)), pointer(EFAULT));
    ck_assert_uint_eq(vthread_channel_length(c), 0);
    /* It has been remembered: the next one has a home of its own. */
    ck_assert_ptr_eq(join(start(sends_an_address, c)), NULL);
    for (size_t i = 0; i < COUNT_OF(crowd); i++) {
        vthread_unpark(crowd[i]);
        join(crowd[i]);
    }
    destroy(c);
}
END_TEST

/* Of the calls of threads that exist already.  None can succeed: either the
 * deadline is past or the wait is cancelled. */
struct scarcity {
    vthread_channel_t *channel;
    unsigned long fail_at;
    int failures[2]; /* by whether there was a deadline */
};

static int call_without_memory(struct scarcity *scarcity,
                               unsigned char *value, bool sends_it,
                               bool timed)
{
    uint64_t deadline_ns = timed ? 1 : VTHREAD_NEVER;
    if (!timed)
        ck_assert_int_eq(vthread_interrupt(vthread_self()), 0);
    memory_fail_after(scarcity->fail_at);
    int err = sends_it ? vthread_channel_send_until(scarcity->channel, value,
                                                    deadline_ns)
                       : vthread_channel_receive_until(scarcity->channel,
                                                       value, deadline_ns);
    memory_fail_after(0);
    vthread_interrupted();
    scarcity->failures[timed] += err == ENOMEM;
    return err == ENOMEM ? 0 : err;
}

static void *sends_without_memory(void *arg)
{
    struct scarcity *scarcity = arg;
    unsigned char value[64];
    write_value(value, sizeof value, 9);
    for (int timed = 0; timed < 2; timed++)
        for (int way = 0; way < 2; way++) {
            int err = call_without_memory(scarcity, value, way, timed);
            ck_assert(err == 0 || err == (timed ? ETIMEDOUT : ECANCELED));
            ck_assert(is_value(value, sizeof value, 9));
        }
    return NULL;
}

START_TEST(without_memory_nothing_is_sent_or_lost)
{
    vthread_channel_t *none = (void *)16;
    share_one_home();
    memory_fail_after(1);
    ck_assert_int_eq(vthread_channel_create(&none, 8, 8), ENOMEM);
    memory_fail_after(0);
    ck_assert_ptr_eq(none, (void *)16);
    struct scarcity *scarcity = calloc(1, sizeof *scarcity);
    scarcity->channel = channel_of(64, 0);
    for (scarcity->fail_at = 1; scarcity->fail_at < 5; scarcity->fail_at++)
        join(start(sends_without_memory, scarcity));
    ck_assert_int_gt(scarcity->failures[true], 0);
    if (mode_is("VTHREAD_OWN_LIMIT", "0"))
        ck_assert_int_gt(scarcity->failures[false], 0);
    ck_assert_int_eq(put(scarcity->channel, 64, 0), EAGAIN);
    ck_assert_int_eq(get(scarcity->channel, 64, 0), EAGAIN);
    destroy(scarcity->channel);
    free(scarcity);
}
END_TEST

/* ---- Everything at once ------------------------------------------------- */

enum { SENDERS = 6, RECEIVERS = 5, VALUES = 2000 };

/* A value is {sender, sequence}, and as many more bytes as there are. */
struct world {
    vthread_channel_t *channel;
    size_t size;
    _Atomic unsigned char seen[SENDERS][VALUES];
    _Atomic unsigned sent, received, gone;
};

struct worker {
    struct world *world;
    unsigned number, values;
    struct random random;
};

static void *send_many(void *arg)
{
    struct worker *w = arg;
    unsigned char bytes[LARGEST];
    for (uint32_t n = 0; n < w->values;) {
        uint32_t value[2] = {w->number + 1, n};
        int err;
        write_value(bytes, w->world->size, n);
        memcpy(bytes, value, sizeof value);
        switch (random_below(&w->random, 4)) {
        case 0:
            err = vthread_channel_trysend(w->world->channel, bytes);
            break;
        case 1:
            err = vthread_channel_send_until(
                w->world->channel, bytes,
                vthread_after(random_below(&w->random, 50 * VTHREAD_US)));
            break;
        default:
            err = vthread_channel_send(w->world->channel, bytes);
        }
        ck_assert(err == 0 || err == EAGAIN || err == ETIMEDOUT
                  || err == ECANCELED);
        if (err == 0) {
            n++;
            atomic_fetch_add(&w->world->sent, 1);
        } else if (err == EAGAIN) {
            vthread_yield();
        }
    }
    return NULL;
}

/* Each value once, those of one sender in order. */
static void note(struct worker *w, const unsigned char *bytes, int64_t *last)
{
    uint32_t value[2];
    unsigned char expected[LARGEST];
    memcpy(value, bytes, sizeof value);
    ck_assert(value[0] >= 1 && value[0] <= SENDERS && value[1] < VALUES);
    write_value(expected, w->world->size, value[1]);
    ck_assert_mem_eq(bytes + 8, expected + 8, w->world->size - 8);
    ck_assert_int_gt(value[1], last[value[0] - 1]);
    last[value[0] - 1] = value[1];
    ck_assert_uint_eq(
        atomic_exchange(&w->world->seen[value[0] - 1][value[1]], 1), 0);
    atomic_fetch_add(&w->world->received, 1);
}

static void *receive_many(void *arg)
{
    struct worker *w = arg;
    unsigned char bytes[LARGEST];
    int64_t last[SENDERS];
    int err;
    for (int i = 0; i < SENDERS; i++)
        last[i] = -1;
    do {
        uint64_t due_ns = random_below(&w->random, 3) > 0
                              ? VTHREAD_NEVER
                              : vthread_after(random_below(
                                    &w->random, 50 * VTHREAD_US));
        err = random_below(&w->random, 5) > 0
                  ? vthread_channel_receive_until(w->world->channel, bytes,
                                                  due_ns)
                  : vthread_channel_tryreceive(w->world->channel, bytes);
        ck_assert(err == 0 || err == EAGAIN || err == ETIMEDOUT
                  || err == ECANCELED || err == EPIPE);
        if (err == 0)
            note(w, bytes, last);
        else if (err == EAGAIN)
            vthread_yield();
    } while (err != EPIPE);
    atomic_fetch_add(&w->world->gone, 1);
    return NULL;
}

static struct worker *new_worker(struct world *world, unsigned number,
                                 unsigned values, struct random *random)
{
    struct worker *w = malloc(sizeof *w);
    *w = (struct worker){world, number, values, {random_next(random)}};
    return w;
}

/* The first of each kind is a platform thread. */
static void all_at_once(size_t size, size_t capacity, struct random *random)
{
    struct world *world = calloc(1, sizeof *world);
    unsigned values = UNDER_SANITIZER ? 200 : how_often(400, VALUES);
    struct worker *workers[SENDERS + RECEIVERS];
    vthread_t threads[SENDERS + RECEIVERS] = {0};
    pthread_t platform[2];
    world->channel = channel_of(size, capacity);
    world->size = size;
    for (unsigned i = 0; i < SENDERS + RECEIVERS; i++) {
        bool is_sender = i < SENDERS;
        unsigned number = is_sender ? i : i - SENDERS;
        workers[i] = new_worker(world, number, values, random);
        void *(*fn)(void *) = is_sender ? send_many : receive_many;
        if (number == 0)
            ck_assert_int_eq(pthread_create(&platform[!is_sender], NULL, fn,
                                            workers[i]),
                             0);
        else
            threads[i] = start(fn, workers[i]);
    }
    while (atomic_load(&world->sent) < SENDERS * values) {
        unsigned victim = (unsigned)random_below(random, COUNT_OF(threads));
        if (threads[victim])
            vthread_interrupt(threads[victim]);
        vthread_sleep(100 * VTHREAD_US);
    }
    ck_assert_int_eq(vthread_channel_close(world->channel), 0);
    for (unsigned i = 0; i < SENDERS + RECEIVERS; i++)
        if (threads[i])
            join(threads[i]);
    pthread_join(platform[0], NULL);
    pthread_join(platform[1], NULL);
    ck_assert_uint_eq(world->received, SENDERS * values);
    ck_assert_uint_eq(world->gone, RECEIVERS);
    for (unsigned i = 0; i < SENDERS + RECEIVERS; i++)
        free(workers[i]);
    destroy(world->channel);
    free(world);
}

static uint64_t seed;

START_TEST(many_senders_and_receivers_lose_and_double_nothing)
{
    static const size_t capacities[] = {0, 1, 7, 64};
    struct random random = {seed + (uint64_t)_i};
    choose_homes(_i);
    for (size_t i = 0; i < COUNT_OF(capacities); i++) {
        all_at_once(8, capacities[i], &random);
        all_at_once(64, capacities[i], &random);
    }
    all_at_once(LARGEST, 1, &random);
}
END_TEST

static Suite *channel_suite(void)
{
    Suite *suite = suite_create("channel");
    TCase *alone = new_case(suite, "alone");
    tcase_add_test(alone, a_buffer_keeps_its_capacity_in_order);
    tcase_add_test(alone, a_closed_channel_is_drained_and_then_says_so);
    tcase_add_test(alone, bad_arguments_are_refused);
    TCase *twins = new_case(suite, "twins");
    tcase_add_loop_test(twins, a_receiver_that_waits_is_handed_the_value, 0,
                        2);
    tcase_add_loop_test(twins, a_sender_that_waits_hands_its_value_over, 0,
                        2);
    tcase_add_loop_test(twins, who_waits_is_served_in_order_of_arrival, 0, 2);
    tcase_add_loop_test(twins, closing_wakes_all_who_wait, 0, 2);
    TCase *memory = new_case(suite, "memory");
    if (tests_fork())
        tcase_add_test(memory, an_address_on_a_shared_stack_is_not_sent);
    tcase_add_test(memory, without_memory_nothing_is_sent_or_lost);
    TCase *stress = new_case(suite, "stress");
    tcase_add_loop_test(
        stress, many_senders_and_receivers_lose_and_double_nothing, 0, 2);
    return suite;
}

int main(void)
{
    seed = random_start("channel_test").state;
    return run_suite(channel_suite());
}
