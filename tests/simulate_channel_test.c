/*
 * simulate_channel_test.c - channels, selects and futures on the simulated
 * machine: sending, receiving and closing against each other, time-outs and
 * interrupts.
 *
 * Values are conserved: what was sent with result 0 is received once, or is
 * left in the buffer; with an error nothing was sent or received.
 */
#include <errno.h>

#include <vthread/channel.h>
#include <vthread/future.h>

#include "tests/simulate/simulate.h"
#include "tests/threads.h"

/* Larger than a word, so that it goes by its address. */
struct value {
    uint64_t number;
    uint64_t twice;
};

static vthread_channel_t *channels[2];
static unsigned sent, received; /* atomic: bits of the values */
static unsigned interrupted;    /* atomic */
static vthread_future_t futures[2];
static int published[8]; /* plain: ordered by what is sent or set */

static void open_with(size_t first_capacity, size_t second_capacity)
{
    simulate_expect(vthread_channel_create(&channels[0], sizeof(struct value),
                                           first_capacity) == 0);
    simulate_expect(vthread_channel_create(&channels[1], sizeof(uint32_t),
                                           second_capacity) == 0);
    sent = received = interrupted = 0;
    memset(published, 0, sizeof published);
    memset(futures, 0, sizeof futures);
}

static void open_rendezvous(void)
{
    open_with(0, 0);
}

static void open_buffered(void)
{
    open_with(1, 1);
}

static void set_bit(unsigned *bits, uint64_t number)
{
    unsigned bit = 1u << number;
    simulate_expect(!(__atomic_fetch_or(bits, bit, __ATOMIC_RELAXED) & bit));
}

/* ---- Values ------------------------------------------------------------- */

static struct value value_of(void *number)
{
    uint64_t n = (uintptr_t)number;
    published[n] = 1;
    return (struct value){n, 2 * n};
}

static void had(const struct value *value)
{
    simulate_expect(value->twice == 2 * value->number);
    simulate_expect(published[value->number] == 1);
    set_bit(&received, value->number);
}

static bool is_any_of(int err, int a, int b, int c)
{
    return err == 0 || err == a || err == b || err == c;
}

/* ---- Sending and receiving ---------------------------------------------- */

static int send_until(void *number, uint64_t deadline_ns)
{
    struct value value = value_of(number);
    int err = vthread_channel_send_until(channels[0], &value, deadline_ns);
    if (err == 0)
        set_bit(&sent, value.number);
    return err;
}

static int receive_until(uint64_t deadline_ns)
{
    struct value value = {9, 9};
    int err = vthread_channel_receive_until(channels[0], &value, deadline_ns);
    if (err == 0)
        had(&value);
    else
        simulate_expect(value.number == 9 && value.twice == 9);
    return err;
}

static void *sends(void *number)
{
    simulate_expect(send_until(number, VTHREAD_NEVER) == 0);
    return number;
}

static void *sends_unless_closed(void *number)
{
    simulate_expect(is_any_of(send_until(number, VTHREAD_NEVER), EPIPE, 0,
                              0));
    return number;
}

static void *sends_until(void *number)
{
    simulate_expect(is_any_of(send_until(number, SIMULATE_SOON), ETIMEDOUT, 0,
                              0));
    return number;
}

static void *tries_to_send(void *number)
{
    struct value value = value_of(number);
    int err = vthread_channel_trysend(channels[0], &value);
    simulate_expect(is_any_of(err, EAGAIN, 0, 0));
    if (err == 0)
        set_bit(&sent, value.number);
    return number;
}

static void *receives(void *number)
{
    simulate_expect(receive_until(VTHREAD_NEVER) == 0);
    return number;
}

static void *receives_twice(void *number)
{
    receives(number);
    return receives(number);
}

static void *receives_until(void *number)
{
    simulate_expect(is_any_of(receive_until(SIMULATE_SOON), ETIMEDOUT, 0, 0));
    return number;
}

/* Nothing of its wait is left in the thread. */
static void *receives_until_and_rests(void *number)
{
    receives_until(number);
    simulate_expect(vthread_sleep_until(SIMULATE_LATER) == 0);
    simulate_expect(vthread_now() >= SIMULATE_LATER);
    return number;
}

static void *receives_until_closed(void *number)
{
    int err;
    while ((err = receive_until(VTHREAD_NEVER)) == 0)
        continue;
    simulate_expect(err == EPIPE);
    return number;
}

static void *tries_to_receive(void *number)
{
    struct value value;
    int err = vthread_channel_tryreceive(channels[0], &value);
    simulate_expect(is_any_of(err, EAGAIN, 0, 0));
    if (err == 0)
        had(&value);
    return number;
}

static void *closes(void *number)
{
    simulate_expect(vthread_channel_close(channels[0]) == 0);
    return number;
}

/* As the example at the head of the public header. */
static void *receives_and_destroys(void *number)
{
    receives_until_closed(number);
    simulate_expect(vthread_channel_destroy(channels[0]) == 0);
    return number;
}

static void *selects_and_destroys(void *number)
{
    struct value value;
    vthread_select_case_t cases[] = {
        {.channel = channels[1], .op = VTHREAD_SELECT_RECEIVE, .value = &value},
        {.channel = channels[0], .op = VTHREAD_SELECT_RECEIVE, .value = &value},
    };
    size_t chosen = 9;
    simulate_expect(vthread_select(cases, 2, &chosen) == 0);
    simulate_expect(chosen == 1 && cases[1].result == EPIPE);
    simulate_expect(vthread_channel_destroy(channels[0]) == 0);
    return number;
}

/* The interrupt is seen here, or afterwards. */
static void was_interrupted(int err)
{
    if (err != ECANCELED)
        simulate_expect(vthread_park() == ECANCELED);
    simulate_expect(!vthread_interrupted());
}

static void *receives_or_canceled(void *number)
{
    int err = receive_until(SIMULATE_SOON);
    simulate_expect(is_any_of(err, ECANCELED, ETIMEDOUT, 0));
    was_interrupted(err);
    return number;
}

static void *sends_or_canceled(void *number)
{
    int err = send_until(number, SIMULATE_SOON);
    simulate_expect(is_any_of(err, ECANCELED, ETIMEDOUT, 0));
    was_interrupted(err);
    return number;
}

static void *interrupts_first(void *number)
{
    simulate_expect(vthread_interrupt(simulate_thread(0)) == 0);
    return number;
}

/* ---- Selects ------------------------------------------------------------ */

static int select_until(void *number, int first_op, int second_op,
                        uint64_t deadline_ns)
{
    uint32_t word = (uint32_t)(uintptr_t)number;
    struct value value = value_of(number);
    size_t chosen = 7;
    vthread_select_case_t cases[] = {
        {.channel = channels[0], .op = first_op, .value = &value},
        {.channel = channels[1], .op = second_op, .value = &word},
    };
    int err = vthread_select_until(cases, 2, &chosen, deadline_ns);
    if (err != 0)
        return err;
    int op = cases[chosen].op;
    if (cases[chosen].result == 0 && op == VTHREAD_SELECT_SEND)
        set_bit(&sent, (uintptr_t)number);
    else if (cases[chosen].result == 0 && chosen == 0)
        had(&value);
    else if (cases[chosen].result == 0)
        set_bit(&received, word);
    return cases[chosen].result;
}

static void *sends_word(void *number)
{
    uint32_t word = (uint32_t)(uintptr_t)number;
    simulate_expect(vthread_channel_send(channels[1], &word) == 0);
    set_bit(&sent, word);
    return number;
}

static void *selects_two(void *number)
{
    for (int i = 0; i < 2; i++)
        simulate_expect(select_until(number, VTHREAD_SELECT_RECEIVE,
                                     VTHREAD_SELECT_RECEIVE, VTHREAD_NEVER)
                        == 0);
    return number;
}

static void *selects_receive(void *number)
{
    simulate_expect(select_until(number, VTHREAD_SELECT_RECEIVE,
                                 VTHREAD_SELECT_RECEIVE, VTHREAD_NEVER)
                    == 0);
    return number;
}

static void *selects_send(void *number)
{
    simulate_expect(select_until(number, VTHREAD_SELECT_SEND,
                                 VTHREAD_SELECT_SEND, VTHREAD_NEVER)
                    == 0);
    return number;
}

/* Sends on one and receives from the other: two of them meet. */
static void *selects_one_way(void *number)
{
    simulate_expect(select_until(number, VTHREAD_SELECT_SEND,
                                 VTHREAD_SELECT_RECEIVE, VTHREAD_NEVER)
                    == 0);
    return number;
}

static void *selects_other_way(void *number)
{
    simulate_expect(select_until(number, VTHREAD_SELECT_RECEIVE,
                                 VTHREAD_SELECT_SEND, VTHREAD_NEVER)
                    == 0);
    return number;
}

static void *selects_until(void *number)
{
    int err = select_until(number, VTHREAD_SELECT_RECEIVE,
                           VTHREAD_SELECT_RECEIVE, SIMULATE_SOON);
    simulate_expect(is_any_of(err, ETIMEDOUT, 0, 0));
    return number;
}

static void *selects_one_way_until(void *number)
{
    int err = select_until(number, VTHREAD_SELECT_SEND,
                           VTHREAD_SELECT_RECEIVE, SIMULATE_SOON);
    simulate_expect(is_any_of(err, ETIMEDOUT, 0, 0));
    return number;
}

static void *selects_other_way_until(void *number)
{
    int err = select_until(number, VTHREAD_SELECT_RECEIVE,
                           VTHREAD_SELECT_SEND, SIMULATE_SOON);
    simulate_expect(is_any_of(err, ETIMEDOUT, 0, 0));
    return number;
}

static void *selects_until_and_rests(void *number)
{
    selects_until(number);
    simulate_expect(vthread_sleep_until(SIMULATE_LATER) == 0);
    simulate_expect(vthread_now() >= SIMULATE_LATER);
    return number;
}

static void *selects_or_canceled(void *number)
{
    int err = select_until(number, VTHREAD_SELECT_RECEIVE,
                           VTHREAD_SELECT_RECEIVE, SIMULATE_SOON);
    simulate_expect(is_any_of(err, ETIMEDOUT, ECANCELED, 0));
    was_interrupted(err);
    return number;
}

static void *selects_until_closed(void *number)
{
    int err;
    while ((err = select_until(number, VTHREAD_SELECT_RECEIVE,
                               VTHREAD_SELECT_RECEIVE, VTHREAD_NEVER))
           == 0)
        continue;
    simulate_expect(err == EPIPE);
    return number;
}

static void conserved(void)
{
    struct value value;
    uint32_t word;
    while (vthread_channel_tryreceive(channels[0], &value) == 0)
        set_bit(&received, value.number);
    while (vthread_channel_tryreceive(channels[1], &word) == 0)
        set_bit(&received, word);
    simulate_expect(sent == received);
    simulate_expect(vthread_channel_destroy(channels[1]) == 0);
    simulate_expect(vthread_channel_destroy(channels[0]) == 0);
}

/* ---- Futures ------------------------------------------------------------ */

static void *sets(void *number)
{
    uintptr_t n = (uintptr_t)number % 2;
    published[n] = 1;
    simulate_expect(vthread_future_set(&futures[n], pointer(n + 10)) == 0);
    return number;
}

static void *fails(void *number)
{
    uintptr_t n = (uintptr_t)number % 2;
    published[n] = 1;
    simulate_expect(vthread_future_fail(&futures[n], EIO) == 0);
    return number;
}

/* One of several. */
static void *sets_if_first(void *number)
{
    int err = vthread_future_set(&futures[1], number);
    simulate_expect(is_any_of(err, EALREADY, 0, 0));
    if (err == 0)
        set_bit(&sent, 0);
    return number;
}

static void *awaits(void *number)
{
    void *value = NULL;
    simulate_expect(vthread_future_await(&futures[1], &value) == 0);
    simulate_expect(value == pointer(11) && published[1] == 1);
    return number;
}

static void *awaits_until(void *number)
{
    void *value = NULL;
    int err = vthread_future_await_until(&futures[1], &value, SIMULATE_SOON);
    simulate_expect(is_any_of(err, ETIMEDOUT, 0, 0));
    if (err == ETIMEDOUT)
        awaits(number);
    else
        simulate_expect(value == pointer(11) && published[1] == 1);
    return number;
}

static void *awaits_or_canceled(void *number)
{
    void *value = NULL;
    int err = vthread_future_await(&futures[1], &value);
    simulate_expect(is_any_of(err, ECANCELED, 0, 0));
    was_interrupted(err);
    return number;
}

static void *awaits_any_value(void *number)
{
    void *value = NULL;
    simulate_expect(vthread_future_await(&futures[1], &value) == 0);
    simulate_expect(value == pointer(1) || value == pointer(2));
    return number;
}

static vthread_future_t *const both[] = {&futures[0], &futures[1]};

static void *awaits_all(void *number)
{
    simulate_expect(vthread_future_all(both, 2, NULL, VTHREAD_NEVER) == 0);
    simulate_expect(published[0] == 1 && published[1] == 1);
    return number;
}

static void *awaits_all_with_failure(void *number)
{
    size_t index = 7;
    simulate_expect(vthread_future_all(both, 2, &index, VTHREAD_NEVER) == EIO);
    simulate_expect(index == 0 && published[0] == 1);
    return number;
}

static void *awaits_any_with_failure(void *number)
{
    size_t index = 7;
    simulate_expect(vthread_future_any(both, 2, &index, VTHREAD_NEVER) == 0);
    simulate_expect(index == 1 && published[1] == 1);
    return number;
}

static void *awaits_race_until(void *number)
{
    size_t index = 7;
    int err = vthread_future_race(both, 2, &index, SIMULATE_SOON);
    simulate_expect(is_any_of(err, ETIMEDOUT, 0, 0));
    if (err == 0)
        simulate_expect(index < 2 && published[index] == 1);
    simulate_expect(vthread_sleep_until(SIMULATE_LATER) == 0);
    simulate_expect(vthread_now() >= SIMULATE_LATER);
    return number;
}

static void first_is_gone(void)
{
    simulate_expect(vthread_channel_destroy(channels[1]) == 0);
}

static void set_once(void)
{
    simulate_expect(sent == 1);
    simulate_expect(vthread_channel_destroy(channels[1]) == 0);
    simulate_expect(vthread_channel_destroy(channels[0]) == 0);
}

/* ---- The programs ------------------------------------------------------- */

#define RENDEZVOUS .begin = open_rendezvous, .end = conserved
#define BUFFERED .begin = open_buffered, .end = conserved

static const struct {
    struct simulate_program program;
    unsigned preemptions;
} programs[] = {
    {{.name = "channel_send_receive", RENDEZVOUS,
      .threads = {receives, sends}}, 2},
    {{.name = "channel_two_senders", RENDEZVOUS,
      .threads = {receives_twice, sends, sends}}, 1},
    {{.name = "channel_buffered", BUFFERED,
      .threads = {receives_twice, sends, sends}}, 1},
    {{.name = "channel_both_until", RENDEZVOUS,
      .threads = {receives_until_and_rests, sends_until}}, 1},
    {{.name = "channel_buffered_until", BUFFERED,
      .threads = {receives_until, sends_until, sends_until}}, 0},
    {{.name = "channel_try", RENDEZVOUS,
      .threads = {receives_until, tries_to_send}}, 1},
    {{.name = "channel_try_receive", RENDEZVOUS,
      .threads = {sends_until, tries_to_receive}}, 1},
    {{.name = "channel_try_buffered", BUFFERED,
      .threads = {tries_to_receive, tries_to_send, tries_to_send}}, 1},
    {{.name = "channel_close_receive", BUFFERED,
      .threads = {receives_until_closed, sends_unless_closed, closes}}, 1},
    {{.name = "channel_close_send", RENDEZVOUS,
      .threads = {sends_unless_closed, sends_unless_closed, closes}}, 1},
    {{.name = "channel_close_destroy", .begin = open_rendezvous,
      .end = first_is_gone, .threads = {receives_and_destroys, closes}}, 2},
    {{.name = "select_close_destroy", .begin = open_rendezvous,
      .end = first_is_gone, .threads = {selects_and_destroys, closes}}, 2},
    {{.name = "channel_cancel_receive", RENDEZVOUS,
      .threads = {receives_or_canceled, sends_until, interrupts_first}}, 0},
    {{.name = "channel_cancel_send", RENDEZVOUS,
      .threads = {sends_or_canceled, receives_until, interrupts_first}}, 0},
    {{.name = "channel_platform", RENDEZVOUS, .threads = {sends},
      .platform_threads = {receives_twice, sends}}, 1},
    {{.name = "select_two_channels", RENDEZVOUS,
      .threads = {selects_two, sends, sends_word}}, 1},
    {{.name = "select_buffered", BUFFERED,
      .threads = {selects_two, sends, sends_word}}, 1},
    {{.name = "select_select", RENDEZVOUS,
      .threads = {selects_receive, selects_send}}, 2},
    {{.name = "select_ways", RENDEZVOUS,
      .threads = {selects_one_way, selects_other_way}}, 2},
    {{.name = "select_three", RENDEZVOUS,
      .threads = {selects_one_way_until, selects_other_way_until,
                  selects_until}}, 0},
    {{.name = "select_until", RENDEZVOUS,
      .threads = {selects_until_and_rests, sends_until}}, 1},
    {{.name = "select_cancel", RENDEZVOUS,
      .threads = {selects_or_canceled, sends_until, interrupts_first}}, 0},
    {{.name = "select_close", BUFFERED,
      .threads = {selects_until_closed, closes, sends_unless_closed}}, 1},
    {{.name = "select_platform", RENDEZVOUS, .threads = {sends, sends_word},
      .platform_threads = {selects_two}}, 1},
    {{.name = "future_await", BUFFERED, .threads = {awaits, sets, awaits}}, 1},
    {{.name = "future_until", BUFFERED, .threads = {awaits_until, sets}}, 1},
    {{.name = "future_cancel", BUFFERED,
      .threads = {awaits_or_canceled, sets, interrupts_first}}, 1},
    {{.name = "future_set_set", .begin = open_buffered, .end = set_once,
      .threads = {awaits_any_value, sets_if_first, sets_if_first}}, 1},
    {{.name = "future_all", BUFFERED, .threads = {sets, sets, awaits_all}}, 1},
    {{.name = "future_all_failed", BUFFERED,
      .threads = {fails, sets, awaits_all_with_failure}}, 1},
    {{.name = "future_any", BUFFERED,
      .threads = {fails, sets, awaits_any_with_failure}}, 1},
    {{.name = "future_race", BUFFERED,
      .threads = {sets, sets, awaits_race_until}}, 0},
    {{.name = "future_platform", BUFFERED, .threads = {awaits, sets},
      .platform_threads = {awaits_until}}, 0},
};

START_TEST(values_are_conserved_in_every_schedule)
{
    simulate(&programs[_i].program,
             programs[_i].preemptions + (getenv("STRESS") != NULL));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("simulate_channel");
    TCase *cases = new_case(suite, "schedules");
    tcase_set_timeout(cases, SIMULATE_TIMEOUT);
    tcase_add_loop_test(cases, values_are_conserved_in_every_schedule, 0,
                        COUNT_OF(programs));
    return run_suite(suite);
}
