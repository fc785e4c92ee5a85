/*
 * deadlock_test.c - all threads wait: found if it is for ever, and else not;
 * and what follows.
 */
#include <limits.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "call/blocking.h"
#include "inspect/control_protocol.h"
#include "tests/deadlocks.h"
#include "tests/random.h"

/* ---- It is -------------------------------------------------------------- */

static void watches_a_deadlock(void)
{
    wait_with_parker(0);
}

START_TEST(those_who_watch_do_not_hide_it)
{
    is_told(watches_a_deadlock);
}
END_TEST

static atomic_int may_end;

static void *ends_late(void *arg)
{
    while (!may_end)
        sched_yield();
    return arg;
}

/* The last thing to happen is the end of a thread that nobody knows. */
static void a_stranger_ends(void)
{
    child_pthread(ends_late);
    vthread_t t = child_start("parker", parks_for_ever, NULL);
    until_waiting(t);
    may_end = 1;
    vthread_join(t, NULL);
}

START_TEST(it_is_found_after_the_last_other_thread_has_ended)
{
    is_told(a_stranger_ends);
}
END_TEST

/* A client that stays, and is served by an OS thread. */
static void call_control(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path + 1, 64, CONTROL_NAME_FORMAT,
                          (unsigned)geteuid(), (unsigned)getpid());
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    expect(connect(fd, (struct sockaddr *)&address,
                   (socklen_t)(sizeof address.sun_family + 1
                               + (size_t)length))
           == 0);
}

static void parks_while_it_is_looked_into(void)
{
    expect(vthread_control_start() == 0);
    call_control();
    join(child_start("parker", parks_for_ever, NULL));
}

START_TEST(it_is_found_while_somebody_looks_into_the_process)
{
    is_told(parks_while_it_is_looked_into);
}
END_TEST

#if !defined __SANITIZE_THREAD__ /* it does not let such a process end */
static void main_ends(void)
{
    child_start("parker", parks_for_ever, NULL);
    pthread_exit(NULL);
}

#endif

START_TEST(it_is_found_after_main_has_ended)
{
#if !defined __SANITIZE_THREAD__
    is_told(main_ends);
    said("all 1 threads");
#endif
}
END_TEST

#if !defined __SANITIZE_THREAD__
static void says_good_bye(void)
{
    vthread_scheduler_shutdown(vthread_scheduler_default(), VTHREAD_NEVER);
    fprintf(stderr, "good bye");
    /* What check has allocated is reachable from main's stack only, which is
     * gone: the sanitizer would call that a leak. */
    if (UNDER_SANITIZER)
        _exit(0);
}

static void *sleeps_a_little(void *arg)
{
    vthread_sleep(VTHREAD_MS);
    fprintf(stderr, "the last one; ");
    return arg;
}

static void all_end(void)
{
    atexit(says_good_bye);
    vthread_detach(child_start("last", sleeps_a_little, NULL));
    pthread_exit(NULL);
}
#endif

START_TEST(the_process_ends_with_its_last_thread)
{
#if !defined __SANITIZE_THREAD__
    is_not_told(all_end);
    said("the last one; good bye");
    setenv("VTHREAD_DEADLOCK", "off", 1);
    is_not_told(all_end);
    said("the last one; good bye");
#endif
}
END_TEST

/* ---- It is not ---------------------------------------------------------- */

static void *sleeps_long(void *arg)
{
    vthread_sleep(3600 * 1000 * VTHREAD_MS);
    return arg;
}

static void with_a_sleeper(void)
{
    wait_with_parker(child_start("sleeper", sleeps_long, NULL));
}

static void *parks_long(void *arg)
{
    vthread_park_until(vthread_after(3600 * 1000 * VTHREAD_MS));
    return arg;
}

static void with_a_timed_parker(void)
{
    wait_with_parker(child_start("timed", parks_long, NULL));
}

static void *sleeps_pinned(void *arg)
{
    vthread_pin();
    return sleeps_long(arg);
}

static void with_a_pinned_sleeper(void)
{
    wait_with_parker(child_start("pinned", sleeps_pinned, NULL));
}

static int ends_of_pipe[2];

static void *reads_pipe(void *arg)
{
    char byte;
    size_t size;
    vthread_read(ends_of_pipe[0], &byte, 1, &size);
    return arg;
}

static void with_a_reader(void)
{
    expect(pipe(ends_of_pipe) == 0);
    wait_with_parker(child_start("reader", reads_pipe, NULL));
}

static void *polls_pipes(void *arg)
{
    struct pollfd fds[] = {{.fd = ends_of_pipe[0], .events = POLLIN},
                           {.fd = ends_of_pipe[0], .events = POLLPRI}};
    unsigned ready;
    vthread_poll(fds, 2, &ready);
    return arg;
}

static void with_a_poller(void)
{
    expect(pipe(ends_of_pipe) == 0);
    wait_with_parker(child_start("poller", polls_pipes, NULL));
}

static void *reads_on_platform(void *arg)
{
    watch(vthread_self());
    return reads_pipe(arg);
}

static void with_a_platform_reader(void)
{
    expect(pipe(ends_of_pipe) == 0);
    child_pthread(reads_on_platform);
    while (watched_count == 0)
        sched_yield();
    wait_with_parker(0);
}

static void with_a_stranger(void)
{
    child_pthread(pauses_for_ever);
    wait_with_parker(0);
}

static void *attaches_and_pauses(void *arg)
{
    vthread_self();
    return pauses_for_ever(arg);
}

static void with_one_elsewhere(void)
{
    child_pthread(attaches_and_pauses);
    wait_with_parker(0);
}

static void main_pauses(void)
{
    watch(child_start("parker", parks_for_ever, NULL));
    begin_watching();
    pauses_for_ever(NULL);
}

static void no_threads(void)
{
    begin_watching();
    vthread_join(child_start(NULL, return_argument, NULL), NULL);
    pauses_for_ever(NULL);
}

static void main_waits_a_while(void)
{
    vthread_t t = child_start("parker", parks_for_ever, NULL);
    watch(t);
    watch(vthread_self());
    begin_watching();
    vthread_join_until(t, NULL, vthread_after(3600 * 1000 * VTHREAD_MS));
}

static void shuts_down_sleepers(void)
{
    watch(child_start("sleeper", sleeps_long, NULL));
    child_start("parker", parks_for_ever, NULL);
    begin_watching();
    vthread_scheduler_shutdown(vthread_scheduler_default(), VTHREAD_NEVER);
}

static void *shuts_down_empty(void *arg)
{
    vthread_scheduler_t *s;
    vthread_scheduler_attr_t attr = {.parallelism = 1};
    for (int i = 0; i < 20; i++) {
        expect(vthread_scheduler_create(&s, &attr) == 0);
        vthread_attr_t ta = {.scheduler = s, .flags = VTHREAD_DETACHED};
        expect(vthread_create(NULL, &ta, return_argument, NULL) == 0);
        expect(vthread_scheduler_shutdown(s, VTHREAD_NEVER) == 0);
    }
    return arg;
}

/* Shutdowns that end, while all others wait. */
static void others_are_shut_down(void)
{
    deadlock_test.is_restless = true;
    child_start("parker", parks_for_ever, NULL);
    vthread_join(child_start("closer", shuts_down_empty, NULL), NULL);
    shuts_down_empty(NULL);
}

static void own_scheduler_only(void)
{
    vthread_scheduler_t *s;
    vthread_scheduler_attr_t attr = {.parallelism = 1};
    expect(vthread_scheduler_create(&s, &attr) == 0);
    vthread_attr_t ta = {.scheduler = s};
    vthread_t t;
    expect(vthread_create(&t, &ta, parks_for_ever, NULL) == 0);
    watch(t);
    watch(vthread_self());
    begin_watching();
    vthread_join(t, NULL);
}

/* ---- Calls that block --------------------------------------------------- */

static void *call_blocks(void *arg)
{
    vthread_block(pauses_for_ever, arg, NULL);
    return arg;
}

static void *short_call_blocks(void *arg)
{
    struct blocking blocking;
    expect(blocking_begin(&blocking, BLOCKING_SHORT, VTHREAD_NEVER) == 0);
    return pauses_for_ever(arg);
}

static void with_a_call(void)
{
    child_start("caller", call_blocks, NULL);
    wait_with_parker(0);
}

static void with_a_short_call(void)
{
    child_start("caller", short_call_blocks, NULL);
    wait_with_parker(0);
}

/* A wait in the call, and then the kernel again. */
static void *yields_and_pauses(void *arg)
{
    vthread_yield();
    vthread_sleep(VTHREAD_US);
    return pauses_for_ever(arg);
}

static void *waits_in_the_call(void *arg)
{
    vthread_block(yields_and_pauses, arg, NULL);
    return arg;
}

static void with_a_call_that_has_waited(void)
{
    child_start("caller", waits_in_the_call, NULL);
    wait_with_parker(0);
}

/* One carrier, and four slots, one of which is kept for short calls. */
enum { SLOTS = 3 };

static void limit_slots(void)
{
    setenv("VTHREAD_PARALLELISM", "1", 1);
    setenv("VTHREAD_MAX_CARRIERS", "5", 1);
}

static atomic_int in_calls;

static void *pauses_after_counting(void *arg)
{
    atomic_fetch_add(&in_calls, 1);
    return pauses_for_ever(arg);
}

static void *call_counts_and_blocks(void *arg)
{
    vthread_block(pauses_after_counting, arg, NULL);
    return arg;
}

static void with_those_who_wait_for_slots(void)
{
    limit_slots();
    for (int i = 0; i < SLOTS; i++)
        child_start("caller", call_counts_and_blocks, NULL);
    while (atomic_load(&in_calls) < SLOTS)
        usleep(100);
    vthread_t t = child_start("waiter", call_blocks, NULL);
    while (!(word_of(t) & THREAD_WAITING))
        usleep(1000);
    wait_with_parker(t);
}

static void *calls_nothing(void *arg)
{
    expect(vthread_block(return_argument, arg, NULL) == 0);
    return arg;
}

static void *parks_after_counting(void *arg)
{
    atomic_fetch_add(&in_calls, 1);
    return parks_for_ever(arg);
}

static void *call_parks(void *arg)
{
    vthread_block(parks_after_counting, arg, NULL);
    return arg;
}

static void slots_wait_for_each_other(void)
{
    limit_slots();
    for (int i = 0; i < SLOTS; i++)
        child_start("caller", call_parks, NULL);
    while (atomic_load(&in_calls) < SLOTS)
        usleep(100);
    vthread_join(child_start("waiter", calls_nothing, NULL), NULL);
}

START_TEST(one_without_a_slot_because_others_park_in_calls_is_told_of)
{
    is_told(slots_wait_for_each_other);
    said("'waiter'");
    said("slot for a blocking call");
}
END_TEST

static void joins_one_that_parks_in_a_call(void)
{
    vthread_join(child_start("caller", call_parks, NULL), NULL);
}

START_TEST(one_that_parks_in_its_call_is_told_of)
{
    is_told(joins_one_that_parks_in_a_call);
    said("'caller'");
}
END_TEST

static void *sleeps_1_ms(void *arg)
{
    usleep(1000);
    return arg;
}

static void *calls_and_parks(void *arg)
{
    struct blocking blocking;
    for (int i = 0; i < 5; i++) {
        expect(vthread_block(sleeps_1_ms, arg, NULL) == 0);
        expect(blocking_begin(&blocking, BLOCKING_SHORT, VTHREAD_NEVER) == 0);
        sleeps_1_ms(arg);
        blocking_end(&blocking);
        vthread_yield();
    }
    return parks_for_ever(arg);
}

static void many_call_and_park(void)
{
    vthread_t t = 0;
    for (int i = 0; i < 20; i++)
        t = child_start("caller", calls_and_parks, NULL);
    vthread_join(t, NULL);
}

START_TEST(it_is_found_after_calls_have_ended)
{
    is_told(many_call_and_park);
    said("all 21 threads");
}
END_TEST

START_TEST(it_is_found_when_spare_carriers_have_ended)
{
    setenv("VTHREAD_IDLE_MS", "1", 1);
    is_told(many_call_and_park);
    said("all 21 threads");
}
END_TEST

/* ---- All that lives ----------------------------------------------------- */

static const struct {
    const char *name;
    void (*fn)(void);
} alive[] = {
    {"a thread sleeps", with_a_sleeper},
    {"a thread parks until a time", with_a_timed_parker},
    {"a pinned thread sleeps", with_a_pinned_sleeper},
    {"a thread reads from a pipe", with_a_reader},
    {"a thread polls", with_a_poller},
    {"a platform thread reads from a pipe", with_a_platform_reader},
    {"a thread that never called the library", with_a_stranger},
    {"a platform thread is elsewhere", with_one_elsewhere},
    {"main is elsewhere", main_pauses},
    {"there are no threads", no_threads},
    {"main waits for a while", main_waits_a_while},
    {"a scheduler with sleepers is shut down", shuts_down_sleepers},
    {"schedulers are shut down", others_are_shut_down},
    {"there is no default scheduler", own_scheduler_only},
    {"a thread is in a call", with_a_call},
    {"a thread is in a short call", with_a_short_call},
    {"a thread has waited in its call", with_a_call_that_has_waited},
    {"threads wait for slots", with_those_who_wait_for_slots},
};

START_TEST(it_is_not_told_while_something_may_happen)
{
    int status = status_of(alive[_i].fn);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0
                      && times_said("deadlock") == 0,
                  "%s: ended with status %#x, saying:\n%.4000s",
                  alive[_i].name, status, text);
}
END_TEST

/* ---- What follows ------------------------------------------------------- */

START_TEST(switched_off_it_hangs)
{
    setenv("VTHREAD_DEADLOCK", "off", 1);
    is_not_told(watches_a_deadlock);
}
END_TEST

START_TEST(it_is_reported_once_and_the_process_goes_on)
{
    setenv("VTHREAD_DEADLOCK", "report", 1);
    ends_with(watches_a_deadlock, 0);
    ck_assert_uint_eq(times_said("deadlock: all 2 threads"), 1);
}
END_TEST

static vthread_t to_be_unparked;
static int calls;

static void unparks(void *arg, const char *report)
{
    expect(arg == &calls);
    expect(strstr(report, "deadlock: all 2 threads wait") == report);
    expect(strstr(report, "'twice'") != NULL);
    calls++;
    expect(vthread_unpark(to_be_unparked) == 0);
}

static void *parks_twice(void *arg)
{
    expect(vthread_park() == 0);
    expect(vthread_park() == 0);
    return arg;
}

static void is_called_back(void)
{
    expect(vthread_deadlock_handler(unparks, &calls) == 0);
    to_be_unparked = child_start("twice", parks_twice, NULL);
    expect(vthread_join(to_be_unparked, NULL) == 0);
    expect(calls == 2);
}

START_TEST(a_handler_is_called_instead_and_may_end_the_wait)
{
    is_not_told(is_called_back);
}
END_TEST

static void is_called_back_no_more(void)
{
    vthread_deadlock_handler(unparks, &calls);
    vthread_deadlock_handler(NULL, NULL);
    joins_a_parker();
}

START_TEST(without_a_handler_it_is_as_before)
{
    is_told(is_called_back_no_more);
}
END_TEST

/* ---- Never too early, always in the end --------------------------------- */

/*
 * One token goes round among platform threads and virtual ones, pinned, bound
 * and plain, of two schedulers; whoever does not have it waits.  So there is
 * always one thread, or one wake-up on its way, that makes the difference,
 * while somebody looks for a deadlock all the time.  Then the token is put
 * away.  (The bound one is alone on its carrier: a pinned thread that waits
 * there would keep it from running.)
 */
enum {
    PLAYERS = 8,
    PLATFORM_PLAYERS = 2, /* the first*/
    PLAYER_PINS = 5,      /* from here on they pin, now and then */
    NUMBERS = 1000
};

static struct player {
    _Atomic vthread_t handle;
    bool may_pin;
} players[PLAYERS];

static atomic_int hops_left, holder;
static atomic_bool is_put_away;
static uint64_t seed;

static void pass_on(unsigned random)
{
    if (hops_left-- == 1) {
        is_put_away = true;
        return;
    }
    /* Often from one platform thread to the other: no carrier sees that. */
    int next = (int)(random % (random < UINT_MAX / 2 ? PLATFORM_PLAYERS
                                                     : PLAYERS));
    holder = next;
    vthread_unpark(players[next].handle);
}

static void *plays(void *arg)
{
    struct player *self = arg;
    int number = (int)(self - players);
    struct random random = {seed + (uint64_t)number};
    self->handle = vthread_self();
    for (;;) {
        bool pins = self->may_pin && random_below(&random, 2);
        if (pins)
            vthread_pin();
        while (holder != number)
            vthread_park();
        if (pins && random_below(&random, 4) == 0)
            vthread_yield();
        holder = -1;
        if (pins && random_below(&random, 2)) {
            vthread_unpin();
            pins = false;
        }
        pass_on((unsigned)random_next(&random));
        if (pins)
            vthread_unpin();
    }
    return NULL;
}

static void judge_alarm(void *arg, const char *report)
{
    (void)arg;
    if (!is_put_away)
        fprintf(stderr, "too early: %s", report);
    _exit(is_put_away ? 0 : STATUS_WRONG);
}

static void *looks_all_the_time(void *arg)
{
    for (;;)
        deadlock_look(NULL);
    return arg;
}

/* Threads that have ended, and are not joined: the look at the next player
 * comes so much later. */
static void take_numbers(void)
{
    vthread_t t;
    for (int i = 0; i < NUMBERS; i++)
        expect(vthread_create(&t, NULL, return_argument, NULL) == 0);
    until_ended(t);
}

static void play(void)
{
    vthread_scheduler_t *s;
    vthread_scheduler_attr_t sa = {.parallelism = 1};
    pthread_t p;
    vthread_deadlock_handler(judge_alarm, NULL);
    expect(vthread_scheduler_default() != NULL);
    expect(vthread_scheduler_create(&s, &sa) == 0);
    hops_left = UNDER_SANITIZER ? 2000 : (int)how_often(1000, 20000);
    holder = -1;
    for (int i = 0; i < PLAYERS; i++) {
        if (i % 2)
            take_numbers();
        vthread_attr_t attr = {.scheduler = i == 3 ? s : NULL,
                               .flags = i == 3 ? VTHREAD_BOUND : 0};
        players[i].may_pin = i >= PLAYER_PINS;
        if (i < PLATFORM_PLAYERS)
            expect(pthread_create(&p, NULL, plays, &players[i]) == 0);
        else
            expect(vthread_create(NULL, &attr, plays, &players[i]) == 0);
        while (!players[i].handle)
            sched_yield();
    }
    deadlock_test.os_threads++;
    expect(pthread_create(&p, NULL, looks_all_the_time, NULL) == 0);
    pass_on(0);
    parks_for_ever(NULL);
}

START_TEST(a_token_that_goes_round_is_no_deadlock_until_it_is_put_away)
{
    struct random random = random_start("deadlock_test");
    seed = random_next(&random);
    ends_with(play, 0);
}
END_TEST

/* ---- The suite ---------------------------------------------------------- */

int main(void)
{
    Suite *suite = suite_create("deadlock");
    TCase *told = new_case(suite, "told");
    tcase_add_test(told, those_who_watch_do_not_hide_it);
    tcase_add_test(told, it_is_found_after_the_last_other_thread_has_ended);
    tcase_add_test(told, it_is_found_while_somebody_looks_into_the_process);
    tcase_add_test(told, it_is_found_after_main_has_ended);
    tcase_add_test(told,
                   one_without_a_slot_because_others_park_in_calls_is_told_of);
    tcase_add_test(told, one_that_parks_in_its_call_is_told_of);
    tcase_add_test(told, it_is_found_after_calls_have_ended);
    tcase_add_test(told, it_is_found_when_spare_carriers_have_ended);
    TCase *not_told = new_case(suite, "not_told");
    tcase_add_loop_test(not_told, it_is_not_told_while_something_may_happen,
                        0, COUNT_OF(alive));
    TCase *after = new_case(suite, "after");
    tcase_add_test(after, the_process_ends_with_its_last_thread);
    tcase_add_test(after, switched_off_it_hangs);
    tcase_add_test(after, it_is_reported_once_and_the_process_goes_on);
    tcase_add_test(after, a_handler_is_called_instead_and_may_end_the_wait);
    tcase_add_test(after, without_a_handler_it_is_as_before);
    TCase *stress = new_case(suite, "stress");
    tcase_add_test(stress,
                   a_token_that_goes_round_is_no_deadlock_until_it_is_put_away);
    return run_suite(suite);
}
