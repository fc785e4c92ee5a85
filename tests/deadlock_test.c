/*
 * deadlock_test.c - all threads wait: told if it is for ever, and else not.
 *
 * Each case is a child process, which has the library to itself and does not
 * use check.  Where nothing must be told a thread that the look does not count
 * watches: when all that are to wait have been seen waiting, and monitors have
 * looked for a deadlock after that, the child ends well.
 */
#include <limits.h>

#include "deadlock.h"
#include "platform/os_thread.h"
#include "tests/random.h"
#include "tests/threads.h"

enum { STATUS_TOLD = 2, STATUS_WRONG = 3, WATCHED_MAX = 16 };

static char text[1 << 16];

/* In a child: the claim does not hold. */
#define expect(claim)                                                        \
    do {                                                                     \
        if (!(claim)) {                                                      \
            fprintf(stderr, "line %d: not so: %s\n", __LINE__, #claim);      \
            _exit(STATUS_WRONG);                                             \
        }                                                                    \
    } while (0)

/* In a forked child TSan may have more threads of its own than elsewhere;
 * all of them are there when a first thread is. */
static void *count_others(void *arg)
{
    deadlock_test.os_threads = os_thread_count() - 2;
    return arg;
}

static void (*child)(void);

static void run_child(void)
{
#if defined __SANITIZE_THREAD__
    pthread_t p;
    expect(pthread_create(&p, NULL, count_others, NULL) == 0);
    expect(pthread_join(p, NULL) == 0);
#else
    (void)count_others;
#endif
    child();
}

static int status_of(void (*fn)(void))
{
    child = fn;
    return end_of_child(run_child, text, sizeof text);
}

static void ends_with(void (*fn)(void), int expected)
{
    int status = status_of(fn);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == expected,
                  "ended with status %#x, saying:\n%.4000s", status, text);
}

static void said(const char *words)
{
    ck_assert_msg(strstr(text, words) != NULL,
                  "\"%s\" is not in:\n%.4000s", words, text);
}

static unsigned times_said(const char *words)
{
    unsigned count = 0;
    for (const char *p = text; (p = strstr(p, words)) != NULL; p++)
        count++;
    return count;
}

static void is_told(void (*fn)(void))
{
    ends_with(fn, STATUS_TOLD);
    said("vthread: deadlock: all ");
    said("nothing is left that could wake one");
}

static void is_not_told(void (*fn)(void))
{
    ends_with(fn, 0);
    ck_assert_msg(times_said("deadlock") == 0, "said:\n%.4000s", text);
}

/* ---- In the child ------------------------------------------------------- */

static vthread_t child_start(const char *name, void *(*fn)(void *), void *arg)
{
    vthread_t t;
    vthread_attr_t attr = {.name = name};
    expect(vthread_create(&t, &attr, fn, arg) == 0);
    return t;
}

static void child_pthread(void *(*fn)(void *))
{
    pthread_t p;
    expect(pthread_create(&p, NULL, fn, NULL) == 0);
}

static void *parks_for_ever(void *arg)
{
    for (;;)
        vthread_park();
    return arg;
}

static void *pauses_for_ever(void *arg)
{
    for (;;)
        pause();
    return arg;
}

static _Atomic vthread_t watched[WATCHED_MAX];
static atomic_uint watched_count;

static void watch(vthread_t t)
{
    watched[watched_count] = t;
    watched_count++;
}

static bool do_watched_wait(void)
{
    for (unsigned i = 0; i < watched_count; i++)
        if (!(word_of(watched[i]) & (THREAD_PARKED | THREAD_WAITING)))
            return false;
    return true;
}

/* One whole look lies between two that have ended. */
static void *watches(void *arg)
{
    uint64_t since = 0;
    for (;;) {
        uint64_t looks = deadlock_test.looks;
        if (!do_watched_wait())
            since = 0;
        else if (since == 0)
            since = looks + 1;
        else if (looks > since + 1)
            _exit(0);
        usleep(1000);
    }
    return arg;
}

/* Ends the child well when those that are watched wait and monitors have
 * looked. */
static void begin_watching(void)
{
    deadlock_test.is_restless = true;
    deadlock_test.os_threads++;
    child_pthread(watches);
}

/* Main, and a thread that parks for ever, wait; with `other` besides. */
static void wait_with_parker(vthread_t other)
{
    vthread_t parker = child_start("parker", parks_for_ever, NULL);
    watch(parker);
    watch(vthread_self());
    if (other)
        watch(other);
    begin_watching();
    vthread_join(parker, NULL);
}

/* ---- It is told --------------------------------------------------------- */

static void joins_a_parker(void)
{
    vthread_join(child_start("parker", parks_for_ever, NULL), NULL);
}

START_TEST(main_that_joins_a_parked_thread_ends_with_status_2)
{
    is_told(joins_a_parker);
    said("all 2 threads");
    said("waits for the end of thread");
    said("'parker'");
    said("deadlock_test");
    said(" is parked\n");
    ck_assert_uint_eq(times_said("which"), 0);
}
END_TEST

static void watches_a_deadlock(void)
{
    wait_with_parker(0);
}

START_TEST(those_who_watch_do_not_hide_it)
{
    is_told(watches_a_deadlock);
}
END_TEST

static void prints_and_hangs(void)
{
    dup2(STDERR_FILENO, STDOUT_FILENO);
    static char buffer[100];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
    printf("not yet written");
    joins_a_parker();
}

START_TEST(what_was_printed_is_written)
{
    is_told(prints_and_hangs);
    said("not yet written");
}
END_TEST

static _Atomic vthread_t ring[300];
static unsigned ring_size;

static void *joins_the_next(void *arg)
{
    unsigned next = (unsigned)((uintptr_t)arg + 1) % ring_size;
    while (!ring[next])
        vthread_yield();
    vthread_join(ring[next], NULL);
    return NULL;
}

static void make_ring(void)
{
    for (unsigned i = 0; i < ring_size; i++) {
        char name[16];
        snprintf(name, sizeof name, "r%u", i);
        ring[i] = child_start(name, joins_the_next, pointer(i));
    }
    parks_for_ever(NULL);
}

START_TEST(two_threads_that_join_each_other_are_named)
{
    ring_size = 2;
    is_told(make_ring);
    said("vthread: deadlock: thread ");
    const char *circle = strstr(text, "vthread: deadlock: thread ");
    unsigned long a, b, c;
    ck_assert_msg(sscanf(circle,
                         "vthread: deadlock: thread %lu 'r0' waits for the "
                         "end of thread %lu 'r1', which waits for the end of "
                         "thread %lu 'r0'\n",
                         &a, &b, &c)
                      == 3,
                  "%s", circle);
    ck_assert_uint_eq(a, c);
    ck_assert_uint_ne(a, b);
}
END_TEST

START_TEST(a_long_circle_is_cut)
{
    ring_size = 100;
    is_told(make_ring);
    said("100 threads in a circle");
    said("more like it");
    ck_assert_uint_eq(times_said("deadlock: thread"), 1);
}
END_TEST

static vthread_mutex_t locks[2];
static atomic_int have_locked;

static void *locks_both(void *arg)
{
    unsigned first = (unsigned)(uintptr_t)arg;
    vthread_mutex_lock(&locks[first]);
    have_locked++;
    while (have_locked < 2)
        vthread_yield();
    vthread_mutex_lock(&locks[1 - first]);
    return NULL;
}

static void lock_crosswise(void)
{
    vthread_t a = child_start("a", locks_both, pointer(0));
    child_start("b", locks_both, pointer(1));
    vthread_join(a, NULL);
}

START_TEST(mutexes_locked_crosswise_are_named_with_their_holders)
{
    char line[400];
    is_told(lock_crosswise);
    const char *circle = strstr(text, "vthread: deadlock: thread ");
    ck_assert_ptr_nonnull(circle);
    unsigned long a, b, again;
    void *first, *second;
    ck_assert_msg(sscanf(circle,
                         "vthread: deadlock: thread %lu 'a' waits for mutex "
                         "%p held by thread %lu 'b', which waits for mutex "
                         "%p held by thread %lu 'a'",
                         &a, &second, &b, &first, &again)
                      == 5,
                  "%s", circle);
    ck_assert_uint_eq(a, again);
    ck_assert_ptr_eq(first, &locks[0]);
    ck_assert_ptr_eq(second, &locks[1]);
    snprintf(line, sizeof line, " waits for the end of thread %lu 'a'\n", a);
    said(line);
}
END_TEST

static vthread_channel_t *channels[2];

static void *forwards(void *arg)
{
    unsigned from = (unsigned)(uintptr_t)arg;
    uint64_t value;
    if (vthread_channel_receive(channels[from], &value) == 0)
        vthread_channel_send(channels[1 - from], &value);
    return NULL;
}

static void *selects(void *arg)
{
    uint64_t v;
    size_t chosen;
    vthread_select_case_t cases[2] = {
        {.channel = channels[0], .op = VTHREAD_SELECT_RECEIVE, .value = &v},
        {.channel = channels[1], .op = VTHREAD_SELECT_RECEIVE, .value = &v}};
    vthread_select(cases, 2, &chosen);
    return arg;
}

static void all_receive(void)
{
    for (int i = 0; i < 2; i++)
        expect(vthread_channel_create(&channels[i], sizeof(uint64_t), 0)
               == 0);
    child_start("selects", selects, NULL);
    child_start("forwards", forwards, pointer(0));
    forwards(pointer(1));
}

START_TEST(those_who_receive_what_nobody_sends_are_told_of)
{
    is_told(all_receive);
    said("all 3 threads");
    ck_assert_uint_eq(times_said("waits at a channel"), 2);
    said("waits for one of several");
}
END_TEST

static void many_park(void)
{
    for (int i = 0; i < 1000; i++)
        child_start(NULL, parks_for_ever, NULL);
    joins_a_parker();
}

START_TEST(many_that_are_alike_are_grouped)
{
    is_told(many_park);
    said("all 1002 threads");
    said("and 1000 more like it");
    ck_assert_uint_le(times_said("\n"), 4);
}
END_TEST

static void *pins_and_parks(void *arg)
{
    vthread_pin();
    return parks_for_ever(arg);
}

static void joins_a_pinned_one(void)
{
    vthread_join(child_start("pinned", pins_and_parks, NULL), NULL);
}

START_TEST(a_pinned_thread_is_told_of)
{
    is_told(joins_a_pinned_one);
}
END_TEST

START_TEST(a_pinned_thread_that_keeps_the_last_carrier_is_told_of)
{
    setenv("VTHREAD_MAX_CARRIERS", "1", 1);
    is_told(joins_a_pinned_one);
}
END_TEST

static void platform_threads_park(void)
{
    for (int i = 0; i < 3; i++)
        child_pthread(parks_for_ever);
    joins_a_parker();
}

START_TEST(platform_threads_that_wait_are_told_of)
{
    is_told(platform_threads_park);
    said("all 5 threads");
    ck_assert_uint_eq(times_said("platform thread"), 4);
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

static void shuts_down(void)
{
    child_start("parker", parks_for_ever, NULL);
    vthread_scheduler_shutdown(vthread_scheduler_default(), VTHREAD_NEVER);
}

START_TEST(a_shutdown_that_waits_for_ever_is_told_of)
{
    is_told(shuts_down);
    said("waits in vthread_scheduler_shutdown");
}
END_TEST

static void *shuts_down_default(void *arg)
{
    vthread_scheduler_shutdown(arg, VTHREAD_NEVER);
    return NULL;
}

static void other_shuts_down(void)
{
    vthread_scheduler_t *s, *first = vthread_scheduler_default();
    vthread_scheduler_attr_t attr = {.name = "other", .parallelism = 1};
    expect(vthread_scheduler_create(&s, &attr) == 0);
    child_start("parker", parks_for_ever, NULL);
    vthread_attr_t ta = {.scheduler = s};
    vthread_t t;
    expect(vthread_create(&t, &ta, shuts_down_default, first) == 0);
    vthread_join(t, NULL);
}

START_TEST(a_shutdown_by_a_thread_of_another_scheduler_is_told_of)
{
    is_told(other_shuts_down);
    said("all 3 threads");
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
    hops_left = UNDER_SANITIZER ? 2000 : 20000;
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
    tcase_add_test(told,
                   main_that_joins_a_parked_thread_ends_with_status_2);
    tcase_add_test(told, those_who_watch_do_not_hide_it);
    tcase_add_test(told, what_was_printed_is_written);
    tcase_add_test(told, two_threads_that_join_each_other_are_named);
    tcase_add_test(told, a_long_circle_is_cut);
    tcase_add_test(told,
                   mutexes_locked_crosswise_are_named_with_their_holders);
    tcase_add_test(told, those_who_receive_what_nobody_sends_are_told_of);
    tcase_add_test(told, many_that_are_alike_are_grouped);
    tcase_add_test(told, a_pinned_thread_is_told_of);
    tcase_add_test(told,
                   a_pinned_thread_that_keeps_the_last_carrier_is_told_of);
    tcase_add_test(told, platform_threads_that_wait_are_told_of);
    tcase_add_test(told, it_is_found_after_the_last_other_thread_has_ended);
    tcase_add_test(told, it_is_found_after_main_has_ended);
    tcase_add_test(told, a_shutdown_that_waits_for_ever_is_told_of);
    tcase_add_test(told,
                   a_shutdown_by_a_thread_of_another_scheduler_is_told_of);
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
