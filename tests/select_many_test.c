/*
 * select_many_test.c - many selects at once, against a model.
 */
#include "tests/channels.h"
#include "tests/random.h"

/*
 * Traders have a value each and swap it, by select, with whoever is there,
 * on a few channels, both ways, with deadlines and interrupts.  Values are
 * neither lost nor doubled: at the end those that the traders and the
 * buffers have are those of the beginning.
 */
enum { CHANNELS = 4, TRADERS = 8, TURNS = 1500 };

struct market {
    vthread_channel_t *channels[CHANNELS];
    _Atomic unsigned trades, quiet;
};

struct trader {
    struct market *market;
    struct random random;
    unsigned turns;
    uint64_t value[3]; /* v, ~v, 3 v; v == 0: has none */
};

static void set_value(uint64_t *value, uint64_t v)
{
    value[0] = v;
    value[1] = ~v;
    value[2] = v * 3;
}

/* Those who have a value give it, those who have none take one; plainly,
 * by a select over all, or one that could do both, which counts for the
 * giver's hand only when it was sent. */
static void trade(struct trader *t)
{
    vthread_select_case_t cases[CHANNELS * 2];
    uint64_t mine[3], theirs[3];
    bool has = t->value[0] != 0;
    size_t chosen, count = 1 + random_below(&t->random, CHANNELS * 2);
    uint64_t due_ns = random_below(&t->random, 4) == 0
                          ? 1
                          : vthread_after(random_below(&t->random,
                                                       100 * VTHREAD_US));
    memcpy(mine, t->value, sizeof mine);
    for (size_t i = 0; i < count; i++)
        cases[i] = a_case(
            t->market->channels[random_below(&t->random, CHANNELS)],
            has ? SEND : RECEIVE, has ? mine : theirs);
    int err;
    if (random_below(&t->random, 3) > 0) {
        err = vthread_select_until(cases, count, &chosen, due_ns);
        ck_assert(err != 0 || cases[chosen].result == 0);
    } else if (has) {
        err = vthread_channel_send_until(cases[0].channel, mine, due_ns);
    } else {
        err = vthread_channel_receive_until(cases[0].channel, theirs, due_ns);
    }
    ck_assert(err == 0 || err == ETIMEDOUT || err == ECANCELED);
    if (err != 0)
        return;
    atomic_fetch_add(&t->market->trades, 1);
    if (!has)
        ck_assert(theirs[1] == ~theirs[0] && theirs[2] == theirs[0] * 3);
    set_value(t->value, has ? 0 : theirs[0]);
}

static void *trades(void *arg)
{
    struct trader *t = arg;
    for (unsigned i = 0; i < t->turns; i++)
        trade(t);
    atomic_fetch_add(&t->market->quiet, 1);
    return NULL;
}

static void count_value(unsigned *seen, const uint64_t *value)
{
    ck_assert_uint_le(value[0], TRADERS);
    seen[value[0]]++;
}

static uint64_t seed;

START_TEST(no_value_is_lost_or_doubled_by_any_select)
{
    choose_homes(_i);
    struct random random = {seed + (uint64_t)_i};
    struct market *market = calloc(1, sizeof *market);
    struct trader *traders[TRADERS];
    vthread_t threads[TRADERS];
    pthread_t platform;
    unsigned seen[TRADERS + 1] = {0};
    uint64_t value[3];
    for (size_t i = 0; i < CHANNELS; i++)
        market->channels[i] = channel_of(sizeof value, i % 3);
    for (unsigned i = 0; i < TRADERS; i++) {
        traders[i] = calloc(1, sizeof *traders[i]);
        traders[i]->market = market;
        traders[i]->random.state = random_next(&random);
        traders[i]->turns = UNDER_SANITIZER ? 150 : TURNS;
        set_value(traders[i]->value, i % 2 ? i + 1 : 0);
    }
    ck_assert_int_eq(pthread_create(&platform, NULL, trades, traders[0]), 0);
    for (unsigned i = 1; i < TRADERS; i++)
        threads[i] = start(trades, traders[i]);
    while (atomic_load(&market->quiet) < TRADERS) {
        vthread_interrupt(threads[1 + random_below(&random, TRADERS - 1)]);
        vthread_sleep(50 * VTHREAD_US);
    }
    pthread_join(platform, NULL);
    for (unsigned i = 1; i < TRADERS; i++)
        join(threads[i]);
    for (unsigned i = 0; i < TRADERS; i++) {
        count_value(seen, traders[i]->value);
        free(traders[i]);
    }
    for (size_t i = 0; i < CHANNELS; i++) {
        while (vthread_channel_tryreceive(market->channels[i], value) == 0)
            count_value(seen, value);
        destroy(market->channels[i]);
    }
    for (unsigned i = 0; i < TRADERS; i++)
        ck_assert_uint_eq(seen[i + 1], i % 2);
    ck_assert_uint_gt(market->trades, 0);
    free(market);
}
END_TEST

/* Selects in a ring: each passes a token on while it waits for the next,
 * on channels named in opposite orders.  Locks in any other order than
 * that of addresses would stop it. */
enum { RING = 5 };

struct link {
    vthread_channel_t *from, *to;
    unsigned turns, sent, received;
};

static void *passes_on(void *arg)
{
    struct link *link = arg;
    while (link->sent < link->turns || link->received < link->turns) {
        uint64_t out = link->sent + 1, in = 0;
        vthread_select_case_t cases[] = {
            a_case(link->sent < link->turns ? link->to : NULL, SEND, &out),
            a_case(link->received < link->turns ? link->from : NULL, RECEIVE,
                   &in)};
        size_t chosen;
        ck_assert_int_eq(vthread_select(cases, 2, &chosen), 0);
        if (chosen == 0)
            link->sent++;
        else
            link->received++;
        ck_assert(chosen == 0 || in == link->received);
    }
    return NULL;
}

START_TEST(selects_in_a_ring_all_get_on)
{
    choose_homes(_i);
    vthread_channel_t *channels[RING];
    vthread_t threads[RING];
    struct link *links = calloc(RING, sizeof *links);
    for (size_t i = 0; i < RING; i++)
        channels[i] = channel_of(8, 0);
    for (size_t i = 0; i < RING; i++) {
        links[i] = (struct link){channels[i], channels[(i + 1) % RING],
                                 UNDER_SANITIZER ? 200 : 2000, 0, 0};
        threads[i] = start(passes_on, &links[i]);
    }
    for (size_t i = 0; i < RING; i++)
        join(threads[i]);
    for (size_t i = 0; i < RING; i++)
        destroy(channels[i]);
    free(links);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("select_many");
    TCase *cases = new_case(suite, "stress");
    tcase_add_loop_test(cases, no_value_is_lost_or_doubled_by_any_select, 0,
                        2);
    tcase_add_loop_test(cases, selects_in_a_ring_all_get_on, 0, 2);
    seed = random_start("select_many_test").state;
    return run_suite(suite);
}
