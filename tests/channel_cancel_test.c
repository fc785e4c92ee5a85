/*
 * channel_cancel_test.c - sending and receiving: each against a timing-out and
 * a cancelled twin.
 */
#include "tests/channels.h"
#include "tests/random.h"

static int call_until(enum kind kind, void *(*fn)(void *),
                      vthread_channel_t *c, size_t size, uint64_t deadline_ns)
{
    struct call *call = new_call(c, size, 50);
    call->deadline_ns = deadline_ns;
    return end_call(begin_call(call, kind, fn));
}

START_TEST(a_deadline_ends_the_wait_and_leaves_nothing)
{
    choose_homes(_i);
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        for (int kind = COMMON; kind < KINDS; kind++)
            for (int late = 0; late < 2; late++) {
                size_t size = sizes[i];
                vthread_channel_t *c = channel_of(size, 0);
                uint64_t due_ns = late ? 1 : vthread_after(VTHREAD_MS);
                ck_assert_int_eq(call_until(kind, sends, c, size, due_ns),
                                 ETIMEDOUT);
                ck_assert_int_eq(get(c, size, 0), EAGAIN);
                ck_assert_int_eq(call_until(kind, receives, c, size, due_ns),
                                 ETIMEDOUT);
                ck_assert_int_eq(put(c, size, 0), EAGAIN);
                destroy(c);
            }
}
END_TEST

START_TEST(a_deadline_in_the_past_takes_what_is_there)
{
    vthread_channel_t *c = channel_of(8, 1);
    ck_assert_int_eq(call_until(COMMON, sends, c, 8, 1), 0);
    ck_assert_int_eq(call_until(COMMON, sends, c, 8, 1), ETIMEDOUT);
    ck_assert_int_eq(call_until(COMMON, receives, c, 8, 1), 0);
    ck_assert_int_eq(call_until(COMMON, receives, c, 8, 1), ETIMEDOUT);
    destroy(c);
}
END_TEST

/* The one in the middle goes; the others are served. */
static void interrupt_middle(void *(*wait)(void *), size_t size,
                             enum kind kind)
{
    vthread_channel_t *c = channel_of(size, 0);
    struct call *calls[3];
    for (unsigned n = 0; n < 3; n++)
        calls[n] = begin_waiting(kind, wait, c, size, n);
    ck_assert_int_eq(vthread_interrupt(calls[1]->handle), 0);
    ck_assert_int_eq(end_call(calls[1]), ECANCELED);
    for (unsigned n = 0; n < 3; n += 2) {
        ck_assert_int_eq(wait == sends ? get(c, size, n) : put(c, size, n),
                         0);
        ck_assert_int_eq(end_call(calls[n]), 0);
    }
    destroy(c);
}

START_TEST(an_interrupt_ends_the_wait_and_leaves_nothing)
{
    choose_homes(_i);
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        for (int kind = COMMON; kind < KINDS; kind++) {
            interrupt_middle(sends, sizes[i], kind);
            interrupt_middle(receives, sizes[i], kind);
        }
}
END_TEST

static void *is_interrupted_first(void *arg)
{
    vthread_channel_t *c = arg;
    uint64_t value = 3;
    ck_assert_int_eq(vthread_interrupt(vthread_self()), 0);
    /* No wait is needed, so none is cancelled. */
    ck_assert_int_eq(vthread_channel_send(c, &value), 0);
    ck_assert_int_eq(vthread_channel_receive(c, &value), 0);
    ck_assert_int_eq(vthread_channel_receive(c, &value), ECANCELED);
    ck_assert(!vthread_interrupted());
    ck_assert_int_eq(vthread_channel_tryreceive(c, &value), EAGAIN);
    return NULL;
}

START_TEST(an_interrupt_sticks_until_a_wait_sees_it)
{
    vthread_channel_t *c = channel_of(8, 1);
    join(start(is_interrupted_first, c));
    is_interrupted_first(c);
    destroy(c);
}
END_TEST

/* Receives, or sends, and then waits for nothing. */
static void *calls_and_parks(void *arg)
{
    struct call *call = arg;
    if (call->fn == sends)
        sends(call);
    else
        receives(call);
    call->more = pointer((uintptr_t)vthread_park_until(
        vthread_after(60 * VTHREAD_SECOND)));
    return NULL;
}

enum ending { MEETS, CLOSES };

/* The one that waits is interrupted, and before it can leave the other side
 * comes: the exchange has taken place, and the interrupt is seen by the
 * next wait. */
static void interrupt_then(enum ending ending, size_t size,
                           void *(*wait)(void *))
{
    vthread_channel_t *c = channel_of(size, 0);
    struct call *call = new_call(c, size, 6);
    call->fn = wait;
    call->handle = start(calls_and_parks, call);
    until_waiting(call->handle);
    ck_assert_int_eq(vthread_interrupt(call->handle), 0);
    if (ending == CLOSES)
        ck_assert_int_eq(vthread_channel_close(c), 0);
    else
        ck_assert_int_eq(wait == sends ? get(c, size, 6) : put(c, size, 6),
                         0);
    join(call->handle);
    ck_assert_int_eq(call->result, ending == CLOSES ? EPIPE : 0);
    ck_assert_ptr_eq(call->more, pointer(ECANCELED));
    free(call);
    destroy(c);
}

static void *interrupts_and_comes(void *arg)
{
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        for (int ending = MEETS; ending <= CLOSES; ending++) {
            interrupt_then(ending, sizes[i], sends);
            interrupt_then(ending, sizes[i], receives);
        }
    return arg;
}

START_TEST(an_exchange_before_the_interrupted_one_leaves_stands)
{
    choose_homes(_i);
    on_one_carrier(interrupts_and_comes, NULL);
}
END_TEST

/*
 * A value and the end of the wait come at the same time.  Whatever the
 * outcome, both sides agree: what was sent was received, in order.
 */
struct race {
    vthread_channel_t *channel;
    uint64_t sent[4096], received[4096];
    unsigned rounds, sends, receipts;
    bool interrupts, by_deadline;
    _Atomic vthread_t receiver;
    atomic_int is_over;
};

static uint64_t soon(struct random *random, const struct race *race)
{
    return race->by_deadline
               ? vthread_after(random_below(random, 30 * VTHREAD_US))
               : VTHREAD_NEVER;
}

static void *race_to_receive(void *arg)
{
    struct race *race = arg;
    struct random random = {17};
    uint64_t value[3];
    int err;
    atomic_store(&race->receiver, vthread_self());
    while ((err = vthread_channel_receive_until(race->channel, value,
                                                soon(&random, race)))
           != EPIPE) {
        ck_assert(err == 0 || err == ECANCELED || err == ETIMEDOUT);
        if (err != 0)
            continue;
        ck_assert(value[1] == ~value[0] && value[2] == value[0] * 3);
        race->received[race->receipts++] = value[0];
    }
    return NULL;
}

static void *race_to_send(void *arg)
{
    struct race *race = arg;
    struct random random = {18};
    for (uint64_t n = 0; n < race->rounds; n++) {
        uint64_t value[3] = {n, ~n, n * 3};
        int err = vthread_channel_send_until(race->channel, value,
                                             soon(&random, race));
        ck_assert(err == 0 || err == ETIMEDOUT);
        if (err == 0)
            race->sent[race->sends++] = n;
    }
    ck_assert_int_eq(vthread_channel_close(race->channel), 0);
    atomic_store(&race->is_over, 1);
    return NULL;
}

static void *race_to_interrupt(void *arg)
{
    struct race *race = arg;
    while (!atomic_load(&race->receiver))
        vthread_yield();
    while (!atomic_load(&race->is_over)) {
        vthread_interrupt(race->receiver);
        vthread_sleep(20 * VTHREAD_US);
    }
    return NULL;
}

static void race_ends_in_agreement(size_t capacity, bool by_deadline)
{
    struct race *race = calloc(1, sizeof *race);
    race->channel = channel_of(24, capacity);
    race->rounds = UNDER_SANITIZER ? 500 : 3000;
    race->by_deadline = by_deadline;
    vthread_t receiver = start(race_to_receive, race);
    vthread_t sender = start(race_to_send, race);
    vthread_t other = by_deadline ? 0 : start(race_to_interrupt, race);
    join(sender);
    join(receiver);
    if (other)
        join(other);
    ck_assert_uint_eq(race->sends, race->receipts);
    for (unsigned i = 0; i < race->sends; i++)
        ck_assert_uint_eq(race->sent[i], race->received[i]);
    destroy(race->channel);
    free(race);
}

START_TEST(a_time_out_that_races_an_exchange_has_one_outcome)
{
    choose_homes(_i);
    race_ends_in_agreement(0, true);
    race_ends_in_agreement(1, true);
}
END_TEST

START_TEST(an_interrupt_that_races_an_exchange_has_one_outcome)
{
    choose_homes(_i);
    race_ends_in_agreement(0, false);
    race_ends_in_agreement(1, false);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("channel_cancel");
    TCase *cases = new_case(suite, "twins");
    tcase_add_loop_test(cases, a_deadline_ends_the_wait_and_leaves_nothing, 0,
                        2);
    tcase_add_test(cases, a_deadline_in_the_past_takes_what_is_there);
    tcase_add_loop_test(cases, an_interrupt_ends_the_wait_and_leaves_nothing,
                        0, 2);
    tcase_add_test(cases, an_interrupt_sticks_until_a_wait_sees_it);
    tcase_add_loop_test(
        cases, an_exchange_before_the_interrupted_one_leaves_stands, 0, 2);
    tcase_add_loop_test(
        cases, a_time_out_that_races_an_exchange_has_one_outcome, 0, 2);
    tcase_add_loop_test(
        cases, an_interrupt_that_races_an_exchange_has_one_outcome, 0, 2);
    return run_suite(suite);
}
