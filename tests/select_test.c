/*
 * select_test.c - one of several sends and receives: ready at once, ready
 * later, never; against closing, timing-out and cancelled twins, other
 * selects and plain calls.
 */
#include "platform/memory.h"
#include "tests/channels.h"

/* ---- Ready at once ------------------------------------------------------ */

START_TEST(the_case_that_is_ready_is_done)
{
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        for (int op = SEND; op <= RECEIVE; op++)
            for (size_t which = 0; which < 5; which++) {
                unsigned char value[LARGEST];
                vthread_select_case_t cases[5];
                vthread_channel_t *channels[5];
                size_t chosen = 99, size = sizes[i];
                for (size_t n = 0; n < 5; n++) {
                    channels[n] = channel_of(size, op == SEND && n != which
                                                       ? 0
                                                       : 1);
                    cases[n] = a_case(channels[n], op, value);
                }
                write_value(value, size, 3);
                if (op == RECEIVE)
                    ck_assert_int_eq(put(channels[which], size, 4), 0);
                ck_assert_int_eq(vthread_select(cases, 5, &chosen), 0);
                ck_assert_uint_eq(chosen, which);
                ck_assert_int_eq(cases[which].result, 0);
                ck_assert_int_eq(cases[(which + 1) % 5].result, -7);
                if (op == RECEIVE)
                    ck_assert(is_value(value, size, 4));
                else
                    ck_assert_int_eq(get(channels[which], size, 3), 0);
                ck_assert_int_eq(vthread_tryselect(cases, 5, &chosen),
                                 op == SEND ? 0 : EAGAIN);
                for (size_t n = 0; n < 5; n++)
                    destroy(channels[n]);
            }
}
END_TEST

START_TEST(nothing_ready_is_said_by_try_and_deadline)
{
    vthread_channel_t *empty = channel_of(8, 1), *full = channel_of(8, 1);
    uint64_t value = 5;
    size_t chosen = 42;
    vthread_select_case_t cases[] = {a_case(empty, RECEIVE, &value),
                                     a_case(full, SEND, &value),
                                     a_case(NULL, RECEIVE, NULL)};
    ck_assert_int_eq(put(full, 8, 1), 0);
    ck_assert_int_eq(vthread_tryselect(cases, 3, &chosen), EAGAIN);
    ck_assert_int_eq(vthread_select_until(cases, 3, &chosen, 1), ETIMEDOUT);
    ck_assert_int_eq(vthread_select_until(cases, 3, &chosen,
                                          vthread_after(VTHREAD_MS)),
                     ETIMEDOUT);
    ck_assert_int_eq(vthread_select_until(NULL, 0, &chosen, 1), ETIMEDOUT);
    ck_assert_int_eq(vthread_tryselect(NULL, 0, &chosen), EAGAIN);
    ck_assert_uint_eq(chosen, 42);
    ck_assert_int_eq(cases[0].result, -7);
    ck_assert_uint_eq(vthread_channel_length(empty), 0);
    ck_assert_uint_eq(vthread_channel_length(full), 1);
    destroy(empty);
    destroy(full);
}
END_TEST

START_TEST(bad_cases_are_refused)
{
    vthread_channel_t *c = channel_of(8, 1);
    uint64_t value = 5;
    size_t chosen = 42;
    vthread_select_case_t cases[] = {a_case(c, SEND, &value),
                                     a_case(c, 2, &value)};
    ck_assert_int_eq(vthread_select(cases, 2, &chosen), EINVAL);
    cases[1] = a_case(c, RECEIVE, NULL);
    ck_assert_int_eq(vthread_select(cases, 2, &chosen), EINVAL);
    cases[1].op = SEND;
    ck_assert_int_eq(vthread_tryselect(cases, 2, &chosen), EINVAL);
    ck_assert_int_eq(vthread_select(NULL, 1, &chosen), EINVAL);
    ck_assert_int_eq(vthread_select(cases, 1, NULL), EINVAL);
    ck_assert_uint_eq(vthread_channel_length(c), 0);
    ck_assert_uint_eq(chosen, 42);
    destroy(c);
}
END_TEST

START_TEST(a_closed_channel_is_ready)
{
    vthread_channel_t *open = channel_of(8, 0), *closed = channel_of(8, 1);
    uint64_t value = 0;
    size_t chosen = 42;
    vthread_select_case_t cases[] = {a_case(open, RECEIVE, &value),
                                     a_case(closed, RECEIVE, &value)};
    ck_assert_int_eq(put(closed, 8, 6), 0);
    ck_assert_int_eq(vthread_channel_close(closed), 0);
    ck_assert_int_eq(vthread_select(cases, 2, &chosen), 0);
    ck_assert_uint_eq(chosen, 1);
    ck_assert_int_eq(cases[1].result, 0);
    ck_assert(is_value((unsigned char *)&value, 8, 6));
    ck_assert_int_eq(vthread_tryselect(cases, 2, &chosen), 0);
    ck_assert_int_eq(cases[1].result, EPIPE);
    cases[1] = a_case(closed, SEND, &value);
    ck_assert_int_eq(vthread_select(cases, 2, &chosen), 0);
    ck_assert_uint_eq(chosen, 1);
    ck_assert_int_eq(cases[1].result, EPIPE);
    destroy(open);
    destroy(closed);
}
END_TEST

/* Chi-squared would be finer; half of the fair share is never met by
 * chance in 6,000 draws. */
START_TEST(all_that_are_ready_are_picked_alike)
{
    enum { CASES = 6, DRAWS = 6000 };
    vthread_channel_t *c = channel_of(0, DRAWS);
    vthread_channel_t *empty = channel_of(0, 1);
    vthread_select_case_t cases[CASES + 2];
    unsigned picked[CASES + 2] = {0};
    size_t chosen;
    for (size_t i = 0; i < CASES + 2; i++)
        cases[i] = a_case(i < 2 ? empty : c, RECEIVE, NULL);
    for (unsigned i = 0; i < DRAWS; i++)
        ck_assert_int_eq(vthread_channel_send(c, NULL), 0);
    for (unsigned i = 0; i < DRAWS; i++) {
        ck_assert_int_eq(vthread_select(cases, CASES + 2, &chosen), 0);
        picked[chosen]++;
    }
    ck_assert_uint_eq(picked[0] + picked[1], 0);
    for (size_t i = 2; i < CASES + 2; i++)
        ck_assert_uint_gt(picked[i], DRAWS / CASES / 2);
    destroy(c);
    destroy(empty);
}
END_TEST

/* ---- A select that waits ------------------------------------------------ */

/* In call->more: what it selects from. */
struct selection {
    size_t count, chosen;
    int result; /* of the chosen case */
    vthread_channel_t *channels[16];
    int ops[16];
};

/* Values are locals; sends send call->n + index, a receive expects call->n.
 * A result of -1: it was not that. */
static void *selects(void *arg)
{
    struct call *call = arg;
    struct selection *s = call->more;
    vthread_select_case_t cases[16];
    unsigned char received[LARGEST], sent[16][64];
    for (size_t i = 0; i < s->count; i++) {
        bool is_send = s->ops[i] == SEND;
        cases[i] = a_case(s->channels[i], s->ops[i],
                          is_send ? sent[i] : received);
        if (is_send)
            write_value(sent[i], call->size, call->n + (unsigned)i);
    }
    call->result = vthread_select_until(cases, s->count, &s->chosen,
                                        call->deadline_ns);
    if (call->result != 0)
        return NULL;
    s->result = cases[s->chosen].result;
    if (s->ops[s->chosen] == RECEIVE && s->result == 0
        && !is_value(received, call->size, call->n))
        call->result = -1;
    return NULL;
}

static struct call *begin_select(enum kind kind, struct selection *s,
                                 size_t size, unsigned n)
{
    struct call *call = new_call(NULL, size, n);
    s->chosen = 77;
    s->result = -7;
    call->more = s;
    begin_call(call, kind, selects);
    until_waiting(call->handle);
    return call;
}

static struct selection *new_selection(size_t count, int op, size_t size,
                                       size_t capacity)
{
    struct selection *s = calloc(1, sizeof *s);
    s->count = count;
    for (size_t i = 0; i < count; i++) {
        s->channels[i] = channel_of(size, capacity);
        s->ops[i] = op;
    }
    return s;
}

static void end_selection(struct selection *s)
{
    for (size_t i = 0; i < s->count; i++)
        destroy(s->channels[i]);
    free(s);
}

static void select_waits(enum kind kind, int op, size_t size)
{
    for (size_t which = 0; which < 4; which++) {
        struct selection *s = new_selection(4, op, size, 0);
        struct call *call = begin_select(kind, s, size, 30);
        vthread_channel_t *c = s->channels[which];
        ck_assert_int_eq(vthread_channel_destroy(c), EBUSY);
        if (op == RECEIVE)
            ck_assert_int_eq(put(c, size, 30), 0);
        else
            ck_assert_int_eq(get(c, size, 30 + (unsigned)which), 0);
        ck_assert_int_eq(end_call(call), 0);
        ck_assert_uint_eq(s->chosen, which);
        ck_assert_int_eq(s->result, 0);
        /* Nothing is left on the others. */
        for (size_t i = 0; i < 4; i++)
            ck_assert_int_eq(op == RECEIVE ? put(s->channels[i], size, 0)
                                           : get(s->channels[i], size, 0),
                             EAGAIN);
        end_selection(s);
    }
}

START_TEST(a_select_that_waits_takes_part_in_one_exchange)
{
    choose_homes(_i);
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        for (int kind = COMMON; kind < KINDS; kind++) {
            select_waits(kind, RECEIVE, sizes[i]);
            if (sizes[i] <= 64)
                select_waits(kind, SEND, sizes[i]);
        }
}
END_TEST

START_TEST(the_same_channel_may_be_in_several_cases)
{
    choose_homes(_i);
    for (int op = SEND; op <= RECEIVE; op++) {
        vthread_channel_t *c = channel_of(9, 0);
        struct selection s = {.count = 5};
        for (size_t i = 0; i < 5; i++) {
            s.channels[i] = c;
            s.ops[i] = op;
        }
        struct selection *on_heap = memcpy(malloc(sizeof s), &s, sizeof s);
        struct call *call = begin_select(COMMON, on_heap, 9, 60);
        ck_assert_int_eq(op == RECEIVE ? put(c, 9, 60) : get(c, 9, 60), 0);
        ck_assert_int_eq(end_call(call), 0);
        ck_assert_uint_lt(on_heap->chosen, 5);
        ck_assert_int_eq(op == RECEIVE ? put(c, 9, 60) : get(c, 9, 60),
                         EAGAIN);
        destroy(c);
        free(on_heap);
    }
}
END_TEST

/* Send and receive on one rendezvous. */
static struct selection *both_ways(vthread_channel_t *c)
{
    struct selection *s = calloc(1, sizeof *s);
    s->count = 2;
    s->channels[0] = s->channels[1] = c;
    s->ops[0] = SEND;
    s->ops[1] = RECEIVE;
    return s;
}

START_TEST(a_select_does_not_meet_itself)
{
    choose_homes(_i);
    for (int op = SEND; op <= RECEIVE; op++) {
        vthread_channel_t *c = channel_of(8, 0);
        struct selection *s = both_ways(c);
        struct call *call = begin_select(COMMON, s, 8, 20);
        ck_assert_int_eq(op == SEND ? get(c, 8, 20) : put(c, 8, 20), 0);
        ck_assert_int_eq(end_call(call), 0);
        ck_assert_uint_eq(s->chosen, (size_t)op);
        uint64_t value = 1;
        size_t chosen;
        vthread_select_case_t cases[] = {a_case(c, SEND, &value),
                                         a_case(c, RECEIVE, &value)};
        ck_assert_int_eq(vthread_tryselect(cases, 2, &chosen), EAGAIN);
        destroy(c);
        free(s);
    }
}
END_TEST

START_TEST(two_selects_meet_each_other)
{
    choose_homes(_i);
    for (int kind = COMMON; kind < KINDS; kind++) {
        vthread_channel_t *c = channel_of(9, 0);
        struct selection *a = both_ways(c), *b = both_ways(c);
        struct call *first = begin_select(COMMON, a, 9, 5);
        struct call *second = new_call(NULL, 9, 5);
        second->more = b;
        begin_call(second, kind, selects);
        ck_assert_int_eq(end_call(second), 0);
        ck_assert_int_eq(end_call(first), 0);
        ck_assert_uint_eq(a->chosen + b->chosen, 1);
        destroy(c);
        free(a);
        free(b);
    }
}
END_TEST

START_TEST(closing_ends_a_select_that_waits)
{
    choose_homes(_i);
    for (int op = SEND; op <= RECEIVE; op++)
        for (int kind = COMMON; kind < KINDS; kind++) {
            struct selection *s = new_selection(3, op, 9, 0);
            struct call *call = begin_select(kind, s, 9, 1);
            ck_assert_int_eq(vthread_channel_close(s->channels[1]), 0);
            ck_assert_int_eq(end_call(call), 0);
            ck_assert_uint_eq(s->chosen, 1);
            ck_assert_int_eq(s->result, EPIPE);
            end_selection(s);
        }
}
END_TEST

START_TEST(an_interrupt_ends_a_select_that_waits)
{
    choose_homes(_i);
    for (int kind = COMMON; kind < KINDS; kind++) {
        struct selection *s = new_selection(3, RECEIVE, 9, 0);
        struct call *call = begin_select(kind, s, 9, 1);
        ck_assert_int_eq(vthread_interrupt(call->handle), 0);
        ck_assert_int_eq(end_call(call), ECANCELED);
        ck_assert_uint_eq(s->chosen, 77);
        for (size_t i = 0; i < 3; i++)
            ck_assert_int_eq(put(s->channels[i], 9, 1), EAGAIN);
        end_selection(s);
    }
}
END_TEST

static void *selects_and_parks(void *arg)
{
    struct call *call = arg;
    selects(call);
    return pointer((uintptr_t)vthread_park_until(
        vthread_after(60 * VTHREAD_SECOND)));
}

/* As in channel_test: the interrupted one has not left when the other side
 * comes, so the exchange stands and the next wait is cancelled. */
static void *interrupts_and_comes(void *arg)
{
    for (size_t which = 0; which < 3; which++)
        for (int op = SEND; op <= RECEIVE; op++) {
            struct selection *s = new_selection(3, op, 9, 0);
            struct call *call = new_call(NULL, 9, 1);
            call->more = s;
            vthread_t t = start(selects_and_parks, call);
            until_waiting(t);
            ck_assert_int_eq(vthread_interrupt(t), 0);
            ck_assert_int_eq(
                op == SEND ? get(s->channels[which], 9, 1 + (unsigned)which)
                           : put(s->channels[which], 9, 1),
                0);
            ck_assert_ptr_eq(join(t), pointer(ECANCELED));
            ck_assert_int_eq(call->result, 0);
            ck_assert_uint_eq(s->chosen, which);
            free(call);
            end_selection(s);
        }
    return arg;
}

START_TEST(an_exchange_before_the_interrupted_one_leaves_stands)
{
    choose_homes(_i);
    on_one_carrier(interrupts_and_comes, NULL);
}
END_TEST

static void *selects_from_none(void *arg)
{
    size_t chosen;
    vthread_select_case_t none = {0};
    return pointer((uintptr_t)vthread_select(&none, arg ? 1 : 0, &chosen));
}

START_TEST(a_select_of_nothing_waits_to_be_cancelled)
{
    for (uintptr_t n = 0; n < 2; n++) {
        vthread_t t = start(selects_from_none, pointer(n));
        until_waiting(t);
        ck_assert_int_eq(vthread_interrupt(t), 0);
        ck_assert_ptr_eq(join(t), pointer(ECANCELED));
    }
}
END_TEST

START_TEST(threads_and_selects_take_turns)
{
    enum { EACH = 4 };
    choose_homes(_i);
    struct selection *s[EACH];
    struct call *selecting[EACH], *plain[EACH];
    vthread_channel_t *c = channel_of(8, 0);
    for (unsigned i = 0; i < EACH; i++) {
        plain[i] = begin_waiting(COMMON, receives, c, 8, i);
        s[i] = calloc(1, sizeof *s[i]);
        s[i]->count = 1;
        s[i]->channels[0] = c;
        s[i]->ops[0] = RECEIVE;
        selecting[i] = begin_select(COMMON, s[i], 8, i);
    }
    /* A thread first; value n goes to the nth of each kind, in turn. */
    for (unsigned i = 0; i < EACH; i++) {
        ck_assert_int_eq(put(c, 8, i), 0);
        ck_assert_int_eq(put(c, 8, i), 0);
    }
    for (unsigned i = 0; i < EACH; i++) {
        ck_assert_int_eq(end_call(plain[i]), 0);
        ck_assert_int_eq(end_call(selecting[i]), 0);
        free(s[i]);
    }
    destroy(c);
}
END_TEST

START_TEST(hundreds_of_cases_are_no_more_than_one)
{
    enum { MANY = 300 };
    vthread_channel_t *channels[MANY];
    vthread_select_case_t cases[MANY];
    uint64_t value = 0;
    size_t chosen;
    for (size_t i = 0; i < MANY; i++) {
        channels[i] = channel_of(8, 1);
        cases[i] = a_case(channels[i], RECEIVE, &value);
    }
    ck_assert_int_eq(vthread_tryselect(cases, MANY, &chosen), EAGAIN);
    ck_assert_int_eq(vthread_select_until(cases, MANY, &chosen, 1),
                     ETIMEDOUT);
    for (size_t i = 0; i < MANY; i += 37) {
        ck_assert_int_eq(put(channels[i], 8, (unsigned)i), 0);
        ck_assert_int_eq(vthread_select(cases, MANY, &chosen), 0);
        ck_assert_uint_eq(chosen, i);
        ck_assert(is_value((unsigned char *)&value, 8, (unsigned)i));
    }
    for (size_t i = 0; i < MANY; i++)
        destroy(channels[i]);
}
END_TEST

START_TEST(without_memory_nothing_is_chosen)
{
    unsigned char value[64];
    vthread_channel_t *a = channel_of(64, 0), *b = channel_of(64, 1);
    vthread_select_case_t cases[] = {a_case(a, RECEIVE, value),
                                     a_case(b, RECEIVE, value)};
    size_t chosen = 42;
    ck_assert_uint_ne(vthread_self(), 0);
    memory_fail_after(1);
    ck_assert_int_eq(vthread_select(cases, 2, &chosen), ENOMEM);
    ck_assert_int_eq(vthread_tryselect(cases, 2, &chosen), ENOMEM);
    ck_assert_uint_eq(chosen, 42);
    ck_assert_int_eq(put(a, 64, 1), EAGAIN);
    ck_assert_int_eq(put(b, 64, 1), 0);
    ck_assert_int_eq(vthread_select(cases, 2, &chosen), 0);
    memory_fail_after(0);
    ck_assert_uint_eq(chosen, 1);
    destroy(a);
    destroy(b);
}
END_TEST

static Suite *select_suite(void)
{
    Suite *suite = suite_create("select");
    TCase *ready = new_case(suite, "ready");
    tcase_add_test(ready, the_case_that_is_ready_is_done);
    tcase_add_test(ready, nothing_ready_is_said_by_try_and_deadline);
    tcase_add_test(ready, bad_cases_are_refused);
    tcase_add_test(ready, a_closed_channel_is_ready);
    tcase_add_test(ready, all_that_are_ready_are_picked_alike);
    tcase_add_test(ready, hundreds_of_cases_are_no_more_than_one);
    tcase_add_test(ready, without_memory_nothing_is_chosen);
    TCase *waits = new_case(suite, "waits");
    tcase_add_loop_test(
        waits, a_select_that_waits_takes_part_in_one_exchange, 0, 2);
    tcase_add_loop_test(waits, the_same_channel_may_be_in_several_cases, 0,
                        2);
    tcase_add_loop_test(waits, a_select_does_not_meet_itself, 0, 2);
    tcase_add_loop_test(waits, two_selects_meet_each_other, 0, 2);
    tcase_add_loop_test(waits, closing_ends_a_select_that_waits, 0, 2);
    tcase_add_loop_test(waits, an_interrupt_ends_a_select_that_waits, 0, 2);
    tcase_add_loop_test(
        waits, an_exchange_before_the_interrupted_one_leaves_stands, 0, 2);
    tcase_add_test(waits, a_select_of_nothing_waits_to_be_cancelled);
    tcase_add_loop_test(waits, threads_and_selects_take_turns, 0, 2);
    return suite;
}

int main(void)
{
    return run_suite(select_suite());
}
