/*
 * simulate_wait_test.c - what all primitives are made of: a place to wait
 * in, thread_wait, thread_wake and thread_wait_out, for virtual and platform
 * threads, against time-outs and interrupts.
 *
 * The place is a counter of tokens with a list of those who wait for one,
 * under a lock, written as thread.h says.  Tokens are handed to the first.
 * None is lost, none is had twice, nobody is woken for a wait that is over.
 */
#include <errno.h>

#include "platform/futex.h"
#include "sync/waitlist.h"
#include "tests/simulate/simulate.h"
#include "tests/threads.h"

static struct {
    struct os_lock lock;
    unsigned tokens;        /* under the lock */
    struct waitlist waiters; /* likewise */
} place;
static unsigned given, taken; /* atomic */
static unsigned interrupts_seen;

static void forget(void)
{
    memset(&place, 0, sizeof place);
    given = taken = interrupts_seen = 0;
}

static void count(unsigned *counter)
{
    __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static void give(void)
{
    os_lock_acquire(&place.lock);
    struct thread *first = waitlist_take_first(&place.waiters);
    if (!first)
        place.tokens++;
    os_lock_release(&place.lock);
    if (first)
        thread_wake(first);
    count(&given);
}

static bool take_or_queue(struct thread *self)
{
    os_lock_acquire(&place.lock);
    bool has = place.tokens > 0;
    if (has)
        place.tokens--;
    else
        waitlist_append(&place.waiters, self);
    os_lock_release(&place.lock);
    return has;
}

static bool leave(struct thread *self)
{
    os_lock_acquire(&place.lock);
    bool was_there = waitlist_remove(&place.waiters, self);
    os_lock_release(&place.lock);
    return was_there;
}

static int take_until(uint64_t deadline_ns)
{
    struct thread *self = thread_self();
    int err = take_or_queue(self) ? 0
                                  : thread_wait(self, deadline_ns, true);
    if (err != 0 && !leave(self)) {
        thread_wait_out(self, err);
        err = 0;
    }
    if (err == 0)
        count(&taken);
    if (err == ECANCELED)
        count(&interrupts_seen);
    return err;
}

/* Nothing is left over from the waits before. */
static void expect_quiet(void)
{
    struct thread *self = thread_self();
    simulate_expect(thread_wait(self, SIMULATE_LATER, false) == ETIMEDOUT);
    simulate_expect(vthread_now() >= SIMULATE_LATER);
}

/* ---- Threads ------------------------------------------------------------ */

static void *gives(void *number)
{
    give();
    return number;
}

static void *takes(void *number)
{
    simulate_expect(take_until(VTHREAD_NEVER) == 0);
    return number;
}

static void *takes_until(void *number)
{
    int err = take_until(SIMULATE_SOON);
    simulate_expect(err == 0 || err == ETIMEDOUT);
    return number;
}

static void *takes_until_and_rests(void *number)
{
    takes_until(number);
    expect_quiet();
    return number;
}

/* Whichever it sees, the interrupt is seen once, here or after. */
static void *takes_until_or_canceled(void *number)
{
    int err = take_until(SIMULATE_SOON);
    simulate_expect(err == 0 || err == ETIMEDOUT || err == ECANCELED);
    if (err != ECANCELED)
        simulate_expect(vthread_park() == ECANCELED);
    simulate_expect(!vthread_interrupted());
    return number;
}

static void *takes_or_canceled(void *number)
{
    int err = take_until(VTHREAD_NEVER);
    simulate_expect(err == 0 || err == ECANCELED);
    if (err == 0)
        simulate_expect(vthread_park() == ECANCELED);
    return number;
}

/* A permit is no token, and stays. */
static void *takes_and_parks(void *number)
{
    simulate_expect(take_until(VTHREAD_NEVER) == 0);
    simulate_expect(vthread_park() == 0);
    return number;
}

static void *takes_pinned(void *number)
{
    simulate_expect(vthread_pin() == 0);
    takes_until_and_rests(number);
    simulate_expect(vthread_unpin() == 0);
    return number;
}

static void *gives_and_unparks(void *number)
{
    simulate_expect(vthread_unpark(simulate_thread(0)) == 0);
    give();
    return number;
}

static void *interrupts(void *number)
{
    simulate_expect(vthread_interrupt(simulate_thread(0)) == 0);
    return number;
}

static void *gives_twice(void *number)
{
    give();
    give();
    return number;
}

static void conserved(void)
{
    simulate_expect(given == taken + place.tokens);
    simulate_expect(waitlist_is_empty(&place.waiters));
    simulate_expect(interrupts_seen <= 1);
}

/* ---- The programs ------------------------------------------------------- */

#define PLACE .begin = forget, .end = conserved

static const struct {
    struct simulate_program program;
    unsigned preemptions;
} programs[] = {
    {{.name = "take_give", PLACE, .threads = {takes, gives}}, 2},
    {{.name = "take_take_give", PLACE,
      .threads = {takes, takes, gives_twice}}, 1},
    {{.name = "take_until_give", PLACE,
      .threads = {takes_until_and_rests, gives}}, 1},
    {{.name = "take_until_twice", PLACE,
      .threads = {takes_until, takes_until, gives}}, 1},
    {{.name = "take_cancel_give", PLACE,
      .threads = {takes_or_canceled, gives, interrupts}}, 1},
    {{.name = "take_until_cancel_give", PLACE,
      .threads = {takes_until_or_canceled, gives, interrupts}}, 1},
    {{.name = "take_unpark", PLACE,
      .threads = {takes_and_parks, gives_and_unparks}}, 2},
    {{.name = "take_pinned", PLACE, .threads = {takes_pinned, gives}}, 1},
    {{.name = "take_one_carrier", PLACE, .carriers = 1,
      .threads = {takes_until_or_canceled, gives, interrupts}}, 1},
    {{.name = "platform_take", PLACE, .threads = {gives},
      .platform_threads = {takes}}, 2},
    {{.name = "platform_take_until", PLACE, .threads = {gives, NULL},
      .platform_threads = {takes_until_and_rests, takes_until}}, 1},
    {{.name = "platform_take_cancel", PLACE,
      .platform_threads = {takes_until_or_canceled, gives, interrupts}}, 2},
};

START_TEST(a_token_is_had_by_one_in_every_schedule)
{
    simulate(&programs[_i].program,
             programs[_i].preemptions + (getenv("STRESS") != NULL));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("simulate_wait");
    TCase *cases = new_case(suite, "schedules");
    tcase_set_timeout(cases, SIMULATE_TIMEOUT);
    tcase_add_loop_test(cases, a_token_is_had_by_one_in_every_schedule, 0,
                        COUNT_OF(programs));
    return run_suite(suite);
}
