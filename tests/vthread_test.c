/*
 * vthread_test.c - <vthread.h> word for word: life, waiting, interrupts,
 * homes, pins, and who runs when.
 *
 * Threads meet by state, never by sleeping: until_waiting looks into the
 * word of a thread.  Where the order of threads is the claim they run on a
 * scheduler of one carrier.  What holds for any waiting thread is checked on
 * virtual threads and on platform threads alike.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include <vthread.h>

#include "tests/random.h"
#include "tests/support.h"
#include "thread.h"

/* ---- Helpers ------------------------------------------------------------ */

static vthread_scheduler_t *scheduler_of(unsigned parallelism)
{
    vthread_scheduler_t *s = NULL;
    vthread_scheduler_attr_t attr = {.parallelism = parallelism};
    ck_assert_int_eq(vthread_scheduler_create(&s, &attr), 0);
    return s;
}

static void shut_down(vthread_scheduler_t *s)
{
    ck_assert_int_eq(vthread_scheduler_shutdown(s, VTHREAD_NEVER), 0);
}

static vthread_scheduler_stats_t stats_of(vthread_scheduler_t *s)
{
    vthread_scheduler_stats_t stats;
    ck_assert_int_eq(vthread_scheduler_stats(s, &stats), 0);
    return stats;
}

static vthread_t start_attr(vthread_attr_t attr, void *(*fn)(void *),
                            void *arg)
{
    vthread_t t = 0;
    ck_assert_int_eq(vthread_create(&t, &attr, fn, arg), 0);
    ck_assert_uint_ne(t, 0);
    return t;
}

static vthread_t start_on(vthread_scheduler_t *s, void *(*fn)(void *),
                          void *arg)
{
    return start_attr((vthread_attr_t){.scheduler = s}, fn, arg);
}

static vthread_t start(void *(*fn)(void *), void *arg)
{
    return start_on(NULL, fn, arg);
}

static void *join(vthread_t t)
{
    void *result = NULL;
    ck_assert_int_eq(vthread_join(t, &result), 0);
    return result;
}

static uint64_t word_of(vthread_t t)
{
    uint64_t word;
    return thread_of_handle(t, &word) ? word : THREAD_DONE;
}

/* Until the thread waits (or has ended). */
static void until_waiting(vthread_t t)
{
    while (!(word_of(t) & (THREAD_PARKED | THREAD_WAITING | THREAD_DONE)))
        vthread_yield();
}

static void until_ended(vthread_t t)
{
    while (!(word_of(t) & THREAD_DONE))
        vthread_yield();
}

static void until(atomic_int *flag)
{
    while (!atomic_load(flag))
        vthread_yield();
}

/* As the trail of continuation_test: what happened. */
static char trail[64];

static void step(char letter)
{
    size_t n = strlen(trail);
    ck_assert_uint_lt(n + 1, sizeof trail);
    trail[n] = letter;
    trail[n + 1] = '\0';
}

static void *pointer(uintptr_t n)
{
    return (void *)n;
}

static void *return_argument(void *arg)
{
    return arg;
}

static void *park_once(void *arg)
{
    (void)arg;
    return pointer((uintptr_t)vthread_park());
}

/* The same claim for both kinds of thread. */
static void on_both_kinds(void *(*claims)(void *))
{
    pthread_t p;
    join(start(claims, NULL));
    ck_assert_int_eq(pthread_create(&p, NULL, claims, NULL), 0);
    pthread_join(p, NULL);
    claims(NULL);
}

/* A platform thread that says who it is and parks. */
struct platform_parker {
    pthread_t pthread;
    _Atomic vthread_t handle;
    int result;
};

static void *platform_parks(void *arg)
{
    struct platform_parker *p = arg;
    atomic_store(&p->handle, vthread_self());
    p->result = vthread_park();
    return NULL;
}

static vthread_t start_platform(struct platform_parker *p,
                                void *(*fn)(void *))
{
    atomic_store(&p->handle, 0);
    ck_assert_int_eq(pthread_create(&p->pthread, NULL, fn, p), 0);
    while (!atomic_load(&p->handle))
        sched_yield();
    return p->handle;
}

/* ---- Life --------------------------------------------------------------- */

START_TEST(what_a_thread_returns_is_joined)
{
    ck_assert_ptr_eq(join(start(return_argument, pointer(4711))),
                     pointer(4711));
    vthread_t t = start(return_argument, NULL);
    ck_assert_int_eq(vthread_join(t, NULL), 0);
}
END_TEST

#define MANY 10000

START_TEST(ten_thousand_threads)
{
    static vthread_t threads[MANY];
    for (uintptr_t i = 0; i < MANY; i++)
        threads[i] = start(return_argument, pointer(i));
    for (uintptr_t i = 0; i < MANY; i++)
        ck_assert_ptr_eq(join(threads[i]), pointer(i));
    ck_assert_uint_eq(stats_of(vthread_scheduler_default()).threads, 0);
}
END_TEST

static void *family(void *depth)
{
    uintptr_t n = (uintptr_t)depth;
    if (n == 0)
        return pointer(1);
    vthread_t first = start(family, pointer(n - 1));
    vthread_t second = start(family, pointer(n - 1));
    return pointer((uintptr_t)join(first) + (uintptr_t)join(second));
}

START_TEST(threads_create_and_join_threads)
{
    ck_assert_ptr_eq(join(start(family, pointer(12))), pointer(1 << 12));
}
END_TEST

START_TEST(a_handle_is_never_used_again)
{
    static vthread_t seen[3000];
    for (unsigned i = 0; i < COUNT_OF(seen); i++) {
        seen[i] = start(return_argument, NULL);
        join(seen[i]);
    }
    for (unsigned i = 0; i < COUNT_OF(seen); i++)
        for (unsigned j = 0; j < i; j++)
            if (seen[i] == seen[j])
                ck_abort_msg("%u and %u are the same", i, j);
}
END_TEST

static void assert_unknown(vthread_t t)
{
    char name[32];
    void *result = pointer(7);
    ck_assert_int_eq(vthread_join(t, &result), ESRCH);
    ck_assert_ptr_eq(result, pointer(7));
    ck_assert_int_eq(vthread_join_until(t, NULL, 0), ESRCH);
    ck_assert_int_eq(vthread_detach(t), ESRCH);
    ck_assert_int_eq(vthread_unpark(t), ESRCH);
    ck_assert_int_eq(vthread_interrupt(t), ESRCH);
    ck_assert_int_eq(vthread_setname(t, "x"), ESRCH);
    ck_assert_int_eq(vthread_getname(t, name, sizeof name), ESRCH);
}

START_TEST(a_stale_handle_is_recognised_by_everybody)
{
    vthread_t joined = start(return_argument, NULL);
    join(joined);
    assert_unknown(joined);
    /* Its object is used by another by now. */
    vthread_t others[200];
    for (unsigned i = 0; i < COUNT_OF(others); i++)
        others[i] = start(park_once, NULL);
    assert_unknown(joined);
    assert_unknown(0);
    assert_unknown(UINT64_MAX);
    assert_unknown(joined + (UINT64_C(1) << 52));
    for (unsigned i = 0; i < COUNT_OF(others); i++) {
        ck_assert_int_eq(vthread_unpark(others[i]), 0);
        ck_assert_ptr_eq(join(others[i]), NULL);
    }
}
END_TEST

static void *who_am_i(void *arg)
{
    *(vthread_t *)arg = vthread_self();
    ck_assert(vthread_is_virtual());
    vthread_yield();
    ck_assert_uint_eq(*(vthread_t *)arg, vthread_self());
    return NULL;
}

START_TEST(a_thread_knows_itself)
{
    static vthread_t self;
    vthread_t t = start(who_am_i, &self);
    join(t);
    ck_assert_uint_eq(self, t);
    ck_assert(!vthread_is_virtual());
    ck_assert_uint_ne(vthread_self(), 0);
    ck_assert_uint_eq(vthread_self(), vthread_self());
    ck_assert_uint_ne(vthread_self(), t);
}
END_TEST

__attribute__((noinline)) static void exit_deep(int levels)
{
    volatile char space[100] = {(char)levels};
    if (levels == 0)
        vthread_exit(pointer(99));
    if (levels > 0)
        exit_deep(levels - 1 + space[1]);
    space[0]++;
}

static void *exits(void *arg)
{
    exit_deep((int)(uintptr_t)arg);
    return NULL;
}

START_TEST(exit_ends_a_thread_from_any_depth)
{
    for (uintptr_t depth = 0; depth < 200; depth++)
        ck_assert_ptr_eq(join(start(exits, pointer(depth))), pointer(99));
}
END_TEST

static void *exits_platform(void *arg)
{
    vthread_exit(arg);
    return NULL;
}

START_TEST(exit_on_a_platform_thread_is_pthread_exit)
{
    pthread_t p;
    void *result;
    ck_assert_int_eq(pthread_create(&p, NULL, exits_platform, pointer(5)), 0);
    pthread_join(p, &result);
    ck_assert_ptr_eq(result, pointer(5));
}
END_TEST

/* ---- Joining and detaching ---------------------------------------------- */

static void *join_errors(void *arg)
{
    (void)arg;
    void *result = pointer(7);
    ck_assert_int_eq(vthread_join(vthread_self(), &result), EDEADLK);
    vthread_t t = start(park_once, NULL);
    ck_assert_int_eq(vthread_join_until(t, &result, 0), ETIMEDOUT);
    ck_assert_int_eq(vthread_join_until(t, &result,
                                        vthread_after(VTHREAD_MS)),
                     ETIMEDOUT);
    ck_assert_ptr_eq(result, pointer(7));
    ck_assert_int_eq(vthread_unpark(t), 0);
    ck_assert_int_eq(vthread_join_until(t, &result,
                                        vthread_after(60 * VTHREAD_SECOND)),
                     0);
    ck_assert_ptr_eq(result, NULL);
    ck_assert_int_eq(vthread_join(t, NULL), ESRCH);
    t = start(return_argument, pointer(3));
    until_ended(t);
    ck_assert_int_eq(vthread_join_until(t, &result, 0), 0);
    ck_assert_ptr_eq(result, pointer(3));
    return NULL;
}

START_TEST(join_keeps_its_word)
{
    on_both_kinds(join_errors);
}
END_TEST

static void *joins(void *t)
{
    return pointer((uintptr_t)vthread_join(*(vthread_t *)t, NULL));
}

START_TEST(a_thread_that_is_being_joined_is_not_joined_by_others)
{
    static vthread_t t;
    t = start(park_once, NULL);
    vthread_t joiner = start(joins, &t);
    until_waiting(joiner);
    ck_assert_int_eq(vthread_join(t, NULL), EINVAL);
    ck_assert_int_eq(vthread_detach(t), EINVAL);
    vthread_unpark(t);
    ck_assert_ptr_eq(join(joiner), NULL);
    ck_assert_int_eq(vthread_join(t, NULL), ESRCH);
}
END_TEST

START_TEST(an_interrupted_join_leaves_the_thread_as_it_was)
{
    static vthread_t t;
    t = start(park_once, NULL);
    for (int i = 0; i < 20; i++) {
        vthread_t joiner = start(joins, &t);
        until_waiting(joiner);
        ck_assert_int_eq(vthread_interrupt(joiner), 0);
        ck_assert_ptr_eq(join(joiner), pointer(ECANCELED));
    }
    vthread_unpark(t);
    ck_assert_ptr_eq(join(t), NULL);
}
END_TEST

static void *join_race(void *arg)
{
    vthread_t t = *(vthread_t *)arg;
    int err = vthread_join(t, NULL);
    ck_assert(err == 0 || err == ECANCELED);
    /* One interrupt was sent: it is seen once, here or there. */
    while (err == 0 && !vthread_interrupted())
        vthread_yield();
    return pointer((uintptr_t)err);
}

START_TEST(a_join_that_succeeds_has_not_eaten_the_interrupt)
{
    static vthread_t t;
    set_mode("VTHREAD_PARALLELISM", "3");
    for (int i = 0; i < 500; i++) {
        t = start(park_once, NULL);
        vthread_t joiner = start(join_race, &t);
        until_waiting(joiner);
        until_waiting(t);
        vthread_unpark(t);
        vthread_interrupt(joiner);
        if (join(joiner) != NULL)
            join(t);
    }
}
END_TEST

static atomic_int ended;

static void *count_end(void *arg)
{
    vthread_yield();
    atomic_fetch_add(&ended, 1);
    return arg;
}

START_TEST(detached_threads_free_themselves)
{
    atomic_store(&ended, 0);
    vthread_t first = 0;
    for (int i = 0; i < 1000; i++) {
        vthread_attr_t attr = {.flags = VTHREAD_DETACHED};
        vthread_t t;
        ck_assert_int_eq(vthread_create(i % 2 ? NULL : &t, &attr, count_end,
                                        NULL),
                         0);
        if (i == 0)
            first = t;
    }
    while (atomic_load(&ended) < 1000
           || stats_of(vthread_scheduler_default()).threads > 0)
        vthread_yield();
    while (vthread_unpark(first) == 0)
        vthread_yield();
    assert_unknown(first);
}
END_TEST

START_TEST(a_thread_can_be_detached_before_and_after_its_end)
{
    vthread_t t = start(park_once, NULL);
    ck_assert_int_eq(vthread_detach(t), 0);
    ck_assert_int_eq(vthread_detach(t), EINVAL);
    ck_assert_int_eq(vthread_join(t, NULL), EINVAL);
    vthread_unpark(t);
    while (vthread_unpark(t) == 0)
        vthread_yield();
    assert_unknown(t);
    t = start(return_argument, NULL);
    until_ended(t);
    ck_assert_int_eq(vthread_detach(t), 0);
    assert_unknown(t);
}
END_TEST

static void *detach_myself(void *arg)
{
    (void)arg;
    ck_assert_int_eq(vthread_detach(vthread_self()), 0);
    ck_assert_int_eq(vthread_detach(vthread_self()), EINVAL);
    return NULL;
}

START_TEST(a_thread_can_detach_itself)
{
    vthread_t t = start(detach_myself, NULL);
    while (vthread_unpark(t) == 0)
        vthread_yield();
    assert_unknown(t);
}
END_TEST

/* ---- Names and attributes ----------------------------------------------- */

static void *names(void *arg)
{
    char name[40];
    vthread_t self = vthread_self();
    (void)arg;
    ck_assert_int_eq(vthread_setname(self, "reader"), 0);
    ck_assert_int_eq(vthread_getname(self, name, sizeof name), 0);
    ck_assert_str_eq(name, "reader");
    ck_assert_int_eq(vthread_getname(self, name, 7), 0);
    strcpy(name, "untouched");
    ck_assert_int_eq(vthread_getname(self, name, 6), ERANGE);
    ck_assert_int_eq(vthread_getname(self, name, 0), ERANGE);
    ck_assert_str_eq(name, "untouched");
    ck_assert_int_eq(
        vthread_setname(self, "0123456789012345678901234567890123456789"), 0);
    ck_assert_int_eq(vthread_getname(self, name, sizeof name), 0);
    ck_assert_str_eq(name, "0123456789012345678901234567890");
    ck_assert_int_eq(vthread_setname(self, ""), 0);
    ck_assert_int_eq(vthread_getname(self, name, sizeof name), 0);
    ck_assert_str_eq(name, "");
    ck_assert_int_eq(vthread_setname(self, "again"), 0);
    ck_assert_int_eq(vthread_setname(self, NULL), 0);
    ck_assert_int_eq(vthread_getname(self, name, 1), 0);
    ck_assert_str_eq(name, "");
    return NULL;
}

START_TEST(names_are_kept_and_cut)
{
    char name[32];
    on_both_kinds(names);
    char given[] = "writer";
    vthread_t t = start_attr((vthread_attr_t){.name = given}, park_once,
                             NULL);
    given[0] = 'x';
    ck_assert_int_eq(vthread_getname(t, name, sizeof name), 0);
    ck_assert_str_eq(name, "writer");
    vthread_unpark(t);
    join(t);
}
END_TEST

static void refused(vthread_attr_t attr)
{
    vthread_t t = 42;
    ck_assert_int_eq(vthread_create(&t, &attr, return_argument, NULL),
                     EINVAL);
    ck_assert_uint_eq(t, 42);
}

START_TEST(bad_attributes_are_refused_and_nothing_is_stored)
{
    refused((vthread_attr_t){.stack_size_bytes = 4096});
    refused((vthread_attr_t){
        .stack_size_bytes = VTHREAD_STACK_SIZE_MIN - 4096});
    refused((vthread_attr_t){.stack_size_bytes = 65537});
    refused((vthread_attr_t){
        .stack_size_bytes = VTHREAD_STACK_SIZE_MAX + 4096});
    refused((vthread_attr_t){.stack_size_bytes = SIZE_MAX - 4095});
    refused((vthread_attr_t){.flags = 0x40000000u});
    refused((vthread_attr_t){.reserved = 1});
}
END_TEST

static void *uses_stack(void *arg)
{
    size_t size = (size_t)arg;
    volatile char *space = __builtin_alloca(size);
    for (size_t i = 0; i < size; i += 1024)
        space[i] = (char)(i / 1024);
    vthread_yield();
    for (size_t i = 0; i < size; i += 1024)
        if (space[i] != (char)(i / 1024))
            return pointer(1);
    return NULL;
}

START_TEST(a_stack_has_the_size_that_was_asked_for)
{
    static const size_t sizes[] = {VTHREAD_STACK_SIZE_MIN, 64 << 10,
                                   VTHREAD_STACK_SIZE_DEFAULT, 1 << 20,
                                   16 << 20, 1 << 20};
    for (unsigned i = 0; i < COUNT_OF(sizes); i++)
        ck_assert_ptr_null(join(start_attr(
            (vthread_attr_t){.stack_size_bytes = sizes[i]}, uses_stack,
            pointer(sizes[i] - (12 << 10)))));
}
END_TEST

static long os_thread(void)
{
    return syscall(SYS_gettid);
}

static void *stays_on_its_carrier(void *arg)
{
    long mine = os_thread();
    (void)arg;
    for (int i = 0; i < 200; i++) {
        if (i % 10 == 0)
            vthread_sleep(20 * VTHREAD_US);
        else
            vthread_yield();
        ck_assert_int_eq(os_thread(), mine);
    }
    return NULL;
}

static void *roams(void *arg)
{
    for (int i = 0; i < 300; i++)
        if (i % 10 == 0)
            vthread_sleep(20 * VTHREAD_US);
        else
            vthread_yield();
    return arg;
}

START_TEST(a_bound_thread_stays_on_its_carrier)
{
    vthread_t threads[40];
    vthread_scheduler_t *s = scheduler_of(4);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start_attr(
            (vthread_attr_t){.scheduler = s,
                             .flags = i % 2 ? VTHREAD_BOUND : 0},
            i % 2 ? stays_on_its_carrier : roams, NULL);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    shut_down(s);
}
END_TEST

/* ---- Who runs when ------------------------------------------------------ */

static void *steps_three_times(void *letter)
{
    for (int i = 0; i < 3; i++) {
        step((char)(uintptr_t)letter);
        vthread_yield();
    }
    return NULL;
}

static void *start_a_and_b(void *arg)
{
    vthread_t a = start(steps_three_times, pointer('A'));
    vthread_t b = start(steps_three_times, pointer('B'));
    join(a);
    join(b);
    return arg;
}

START_TEST(two_that_yield_on_one_carrier_take_turns)
{
    vthread_scheduler_t *s = scheduler_of(1);
    join(start_on(s, start_a_and_b, NULL));
    ck_assert_str_eq(trail, "ABABAB");
    shut_down(s);
}
END_TEST

static atomic_int flag, other_flag;

static void *yields_until_flag(void *arg)
{
    until(&flag);
    return arg;
}

static void *sets_flag(void *arg)
{
    atomic_store(&flag, 1);
    return arg;
}

START_TEST(one_from_outside_runs_though_others_only_yield)
{
    vthread_t yielders[10];
    vthread_scheduler_t *s = scheduler_of(1);
    for (unsigned i = 0; i < COUNT_OF(yielders); i++)
        yielders[i] = start_on(s, yields_until_flag, NULL);
    join(start_on(s, sets_flag, NULL));
    for (unsigned i = 0; i < COUNT_OF(yielders); i++)
        join(yielders[i]);
    shut_down(s);
}
END_TEST

START_TEST(sleepers_wake_though_others_only_yield)
{
    vthread_t yielders[10];
    vthread_scheduler_t *s = scheduler_of(1);
    for (unsigned i = 0; i < COUNT_OF(yielders); i++)
        yielders[i] = start_on(s, yields_until_flag, NULL);
    vthread_t sleeper = start_on(s, roams, NULL);
    join(sleeper);
    sets_flag(NULL);
    for (unsigned i = 0; i < COUNT_OF(yielders); i++)
        join(yielders[i]);
    shut_down(s);
}
END_TEST

static _Atomic vthread_t partners[2];

/* Wakes its partner and waits for it, until the flag is set. */
static void *plays_ping_pong(void *number)
{
    uintptr_t n = (uintptr_t)number;
    while (!partners[1 - n])
        vthread_yield();
    while (!atomic_load(&flag)) {
        vthread_unpark(partners[1 - n]);
        vthread_park_until(vthread_after(VTHREAD_SECOND));
    }
    vthread_unpark(partners[1 - n]);
    return NULL;
}

static void *yields_then_sets_flag(void *arg)
{
    for (int i = 0; i < 100; i++)
        vthread_yield();
    return sets_flag(arg);
}

START_TEST(two_that_wake_each_other_do_not_starve_a_third)
{
    vthread_scheduler_t *s = scheduler_of(1);
    partners[0] = partners[1] = 0;
    partners[0] = start_on(s, plays_ping_pong, pointer(0));
    partners[1] = start_on(s, plays_ping_pong, pointer(1));
    vthread_t a = partners[0], b = partners[1];
    join(start_on(s, yields_then_sets_flag, NULL));
    join(a);
    join(b);
    shut_down(s);
}
END_TEST

/* Busy until another thread has run. */
static void spin_until(atomic_int *word)
{
    while (!atomic_load(word))
        __builtin_ia32_pause();
}

static void *parks_then_sets_flag(void *arg)
{
    ck_assert_int_eq(vthread_park(), 0);
    atomic_store(&flag, 1);
    return arg;
}

static void *wakes_and_spins(void *t)
{
    vthread_unpark(*(vthread_t *)t);
    spin_until(&flag);
    return NULL;
}

START_TEST(a_woken_thread_runs_though_its_waker_goes_on)
{
    static vthread_t t;
    vthread_scheduler_t *s = scheduler_of(2);
    for (int i = 0; i < 200; i++) {
        atomic_store(&flag, 0);
        t = start_on(s, parks_then_sets_flag, NULL);
        until_waiting(t);
        join(start_on(s, wakes_and_spins, &t));
        join(t);
    }
    shut_down(s);
}
END_TEST

static void *creates_and_spins(void *arg)
{
    vthread_t t = start(sets_flag, NULL);
    spin_until(&flag);
    join(t);
    return arg;
}

START_TEST(a_new_thread_runs_though_its_maker_goes_on)
{
    vthread_scheduler_t *s = scheduler_of(2);
    for (int i = 0; i < 200; i++) {
        atomic_store(&flag, 0);
        join(start_on(s, creates_and_spins, NULL));
    }
    shut_down(s);
}
END_TEST

static void *sleeps_then_sets_flag(void *arg)
{
    vthread_sleep(100 * VTHREAD_US);
    return sets_flag(arg);
}

static void *spins(void *arg)
{
    atomic_store(&other_flag, 1);
    spin_until(&flag);
    return arg;
}

START_TEST(a_sleeper_wakes_though_one_carrier_is_busy)
{
    vthread_scheduler_t *s = scheduler_of(2);
    for (int i = 0; i < 50; i++) {
        atomic_store(&flag, 0);
        vthread_t sleeper = start_on(s, sleeps_then_sets_flag, NULL);
        join(start_on(s, spins, NULL));
        join(sleeper);
    }
    shut_down(s);
}
END_TEST

START_TEST(yield_on_a_platform_thread_returns)
{
    for (int i = 0; i < 100; i++)
        vthread_yield();
}
END_TEST

/* ---- Sleeping ----------------------------------------------------------- */

static void *sleep_claims(void *arg)
{
    (void)arg;
    uint64_t begin = vthread_now();
    ck_assert_int_eq(vthread_sleep(2 * VTHREAD_MS), 0);
    ck_assert_uint_ge(vthread_now(), begin + 2 * VTHREAD_MS);
    ck_assert_int_eq(vthread_sleep(0), 0);
    ck_assert_int_eq(vthread_sleep_until(0), 0);
    ck_assert_int_eq(vthread_sleep_until(vthread_now() - 1), 0);
    for (uint64_t ns = 1; ns < 3 * VTHREAD_MS; ns = ns * 7 + 3) {
        uint64_t deadline = vthread_after(ns);
        ck_assert_int_eq(vthread_sleep_until(deadline), 0);
        ck_assert_uint_ge(vthread_now(), deadline);
    }
    return NULL;
}

START_TEST(a_sleep_lasts_as_long_as_it_should)
{
    on_both_kinds(sleep_claims);
}
END_TEST

START_TEST(after_never_is_never)
{
    ck_assert_uint_eq(vthread_after(VTHREAD_NEVER), VTHREAD_NEVER);
    ck_assert_uint_eq(vthread_after(VTHREAD_NEVER - 1), VTHREAD_NEVER);
    ck_assert_uint_ge(vthread_after(0), vthread_now() - VTHREAD_SECOND);
}
END_TEST

static void *sleep_keeps_permit(void *arg)
{
    (void)arg;
    ck_assert_int_eq(vthread_unpark(vthread_self()), 0);
    ck_assert_int_eq(vthread_sleep(200 * VTHREAD_US), 0);
    ck_assert_int_eq(vthread_join(start(return_argument, NULL), NULL), 0);
    ck_assert_int_eq(vthread_park_until(0), 0);
    ck_assert_int_eq(vthread_park_until(0), ETIMEDOUT);
    return NULL;
}

START_TEST(a_sleep_and_a_join_keep_the_permit)
{
    on_both_kinds(sleep_keeps_permit);
}
END_TEST

static void *sleeps_long(void *arg)
{
    (void)arg;
    return pointer((uintptr_t)vthread_sleep(1000 * VTHREAD_SECOND));
}

START_TEST(an_unpark_does_not_end_a_sleep)
{
    vthread_t t = start(sleeps_long, NULL);
    until_waiting(t);
    for (int i = 0; i < 100; i++) {
        ck_assert_int_eq(vthread_unpark(t), 0);
        ck_assert(word_of(t) & THREAD_WAITING);
    }
    vthread_interrupt(t);
    ck_assert_ptr_eq(join(t), pointer(ECANCELED));
}
END_TEST

static char order[64];
static atomic_int order_length;

static void *notes_when_woken(void *number)
{
    uintptr_t n = (uintptr_t)number;
    vthread_sleep(n * 2 * VTHREAD_MS);
    order[atomic_fetch_add(&order_length, 1)] = (char)('0' + n);
    return NULL;
}

START_TEST(sleepers_wake_in_the_order_of_their_deadlines)
{
    static const int when[] = {5, 2, 8, 1, 9, 3, 7, 4, 6};
    vthread_t threads[COUNT_OF(when)];
    vthread_scheduler_t *s = scheduler_of(1);
    for (unsigned i = 0; i < COUNT_OF(when); i++)
        threads[i] = start_on(s, notes_when_woken, pointer(when[i]));
    for (unsigned i = 0; i < COUNT_OF(when); i++)
        join(threads[i]);
    /* On a machine that stalls for 2 ms while they start it may differ:
     * then at least none is lost. */
    ck_assert_uint_eq(strlen(order), COUNT_OF(when));
    if (strcmp(order, "123456789") != 0)
        fprintf(stderr, "woken in the order %s\n", order);
    shut_down(s);
}
END_TEST

static void *sleeps_a_little(void *number)
{
    uint64_t ns = ((uintptr_t)number * 7919) % (5 * VTHREAD_MS);
    ck_assert_int_eq(vthread_sleep(ns), 0);
    return NULL;
}

START_TEST(twenty_thousand_sleepers)
{
    static vthread_t threads[20000];
    for (uintptr_t i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start(sleeps_a_little, pointer(i));
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
}
END_TEST

/* ---- Parking ------------------------------------------------------------ */

static void *permit_claims(void *arg)
{
    vthread_t self = vthread_self();
    (void)arg;
    /* Unpark before park. */
    ck_assert_int_eq(vthread_unpark(self), 0);
    ck_assert_int_eq(vthread_park(), 0);
    /* Two unparks are one. */
    ck_assert_int_eq(vthread_unpark(self), 0);
    ck_assert_int_eq(vthread_unpark(self), 0);
    ck_assert_int_eq(vthread_park(), 0);
    ck_assert_int_eq(vthread_park_until(0), ETIMEDOUT);
    /* A deadline in the past takes the permit. */
    ck_assert_int_eq(vthread_unpark(self), 0);
    ck_assert_int_eq(vthread_park_until(vthread_now() - 1), 0);
    ck_assert_int_eq(vthread_park_until(vthread_now() - 1), ETIMEDOUT);
    /* So does one in the future. */
    ck_assert_int_eq(vthread_unpark(self), 0);
    ck_assert_int_eq(vthread_park_until(vthread_after(VTHREAD_SECOND)), 0);
    /* Without one, time passes. */
    uint64_t deadline = vthread_after(2 * VTHREAD_MS);
    ck_assert_int_eq(vthread_park_until(deadline), ETIMEDOUT);
    ck_assert_uint_ge(vthread_now(), deadline);
    return NULL;
}

START_TEST(there_is_one_permit)
{
    on_both_kinds(permit_claims);
}
END_TEST

START_TEST(unpark_ends_a_park)
{
    struct platform_parker p;
    for (int i = 0; i < 500; i++) {
        vthread_t t = start(park_once, NULL);
        if (i % 2)
            until_waiting(t);
        ck_assert_int_eq(vthread_unpark(t), 0);
        ck_assert_ptr_eq(join(t), NULL);
    }
    for (int i = 0; i < 50; i++) {
        vthread_t t = start_platform(&p, platform_parks);
        if (i % 2)
            until_waiting(t);
        ck_assert_int_eq(vthread_unpark(t), 0);
        pthread_join(p.pthread, NULL);
        ck_assert_int_eq(p.result, 0);
    }
}
END_TEST

/* Parks with deadlines that are about to come, while others unpark it.  An
 * old timer would end an untimed park, or a timed one too early. */
struct parker {
    _Atomic vthread_t handle;
    atomic_uint tokens;  /* counted before each unpark */
    unsigned taken;
    atomic_int stop;
    struct random random;
};

static void *parks_with_deadlines(void *arg)
{
    struct parker *p = arg;
    p->handle = vthread_self();
    while (!atomic_load(&p->stop)) {
        uint64_t deadline = VTHREAD_NEVER;
        if (random_below(&p->random, 4) > 0)
            deadline = vthread_after(random_below(&p->random, 60000));
        int err = vthread_park_until(deadline);
        if (err == ETIMEDOUT)
            ck_assert_uint_ge(vthread_now(), deadline);
        else
            ck_assert_int_eq(err, 0);
        p->taken += err == 0;
        ck_assert_uint_le(p->taken, atomic_load(&p->tokens));
    }
    return NULL;
}

static void *unparks_at_random(void *arg)
{
    struct parker *p = arg;
    struct random random = {p->random.state + 1};
    while (!p->handle)
        vthread_yield();
    for (int i = 0; i < 4000; i++) {
        atomic_fetch_add(&p->tokens, 1);
        ck_assert_int_eq(vthread_unpark(p->handle), 0);
        uint64_t pause = random_below(&random, 3);
        if (pause == 1)
            vthread_yield();
        else if (pause == 2 && i % 16 == 0)
            vthread_sleep(random_below(&random, 50000));
    }
    atomic_store(&p->stop, 1);
    atomic_fetch_add(&p->tokens, 1);
    ck_assert_int_eq(vthread_unpark(p->handle), 0);
    return NULL;
}

static void race_parks(unsigned carriers, bool platform_parker,
                       bool platform_unparker)
{
    static struct parker p;
    pthread_t pt[2];
    vthread_t vt[2];
    vthread_scheduler_t *s = scheduler_of(carriers);
    memset(&p, 0, sizeof p);
    p.random = random_start("vthread_test");
    if (platform_parker)
        pthread_create(&pt[0], NULL, parks_with_deadlines, &p);
    else
        vt[0] = start_on(s, parks_with_deadlines, &p);
    if (platform_unparker)
        pthread_create(&pt[1], NULL, unparks_at_random, &p);
    else
        vt[1] = start_on(s, unparks_at_random, &p);
    if (platform_unparker)
        pthread_join(pt[1], NULL);
    else
        join(vt[1]);
    if (platform_parker)
        pthread_join(pt[0], NULL);
    else
        join(vt[0]);
    ck_assert_uint_gt(p.taken, 0);
    ck_assert_uint_le(p.taken, p.tokens);
    shut_down(s);
}

START_TEST(an_old_timer_never_ends_a_later_park)
{
    race_parks(1, false, false);
    race_parks(2, false, false);
    race_parks(4, false, true);
    race_parks(2, true, false);
    race_parks(2, true, true);
}
END_TEST

static void *rallies(void *number)
{
    uintptr_t n = (uintptr_t)number;
    while (!partners[0] || !partners[1])
        vthread_yield();
    for (int i = 0; i < 10000; i++) {
        if (n == 0)
            ck_assert_int_eq(vthread_unpark(partners[1]), 0);
        ck_assert_int_eq(vthread_park(), 0);
        if (n == 1)
            ck_assert_int_eq(vthread_unpark(partners[0]), 0);
    }
    return NULL;
}

START_TEST(no_unpark_of_ten_thousand_is_lost)
{
    for (unsigned carriers = 1; carriers <= 4; carriers++) {
        vthread_scheduler_t *s = scheduler_of(carriers);
        partners[0] = partners[1] = 0;
        partners[0] = start_on(s, rallies, pointer(0));
        partners[1] = start_on(s, rallies, pointer(1));
        vthread_t a = partners[0], b = partners[1];
        join(a);
        join(b);
        shut_down(s);
    }
}
END_TEST

static void *platform_rallies(void *number)
{
    partners[(uintptr_t)number] = vthread_self();
    return rallies(number);
}

START_TEST(platform_and_virtual_threads_wake_each_other)
{
    pthread_t p;
    partners[0] = partners[1] = 0;
    vthread_t t = start(rallies, pointer(0));
    partners[0] = t;
    pthread_create(&p, NULL, platform_rallies, pointer(1));
    join(t);
    pthread_join(p, NULL);
}
END_TEST

/* ---- Interrupts --------------------------------------------------------- */

static void *interrupt_claims(void *arg)
{
    vthread_t self = vthread_self();
    (void)arg;
    ck_assert(!vthread_interrupted());
    /* It sticks until a wait sees it, once. */
    ck_assert_int_eq(vthread_interrupt(self), 0);
    vthread_yield();
    ck_assert_int_eq(vthread_park(), ECANCELED);
    ck_assert_int_eq(vthread_park_until(0), ETIMEDOUT);
    ck_assert_int_eq(vthread_interrupt(self), 0);
    ck_assert_int_eq(vthread_sleep(VTHREAD_SECOND), ECANCELED);
    ck_assert_int_eq(vthread_sleep(1), 0);
    /* Two are one. */
    ck_assert_int_eq(vthread_interrupt(self), 0);
    ck_assert_int_eq(vthread_interrupt(self), 0);
    ck_assert_int_eq(vthread_park(), ECANCELED);
    ck_assert_int_eq(vthread_park_until(0), ETIMEDOUT);
    /* It can be taken back. */
    ck_assert_int_eq(vthread_interrupt(self), 0);
    ck_assert(vthread_interrupted());
    ck_assert(!vthread_interrupted());
    ck_assert_int_eq(vthread_park_until(0), ETIMEDOUT);
    /* It and a permit are both seen. */
    ck_assert_int_eq(vthread_interrupt(self), 0);
    ck_assert_int_eq(vthread_unpark(self), 0);
    int first = vthread_park(), second = vthread_park();
    ck_assert((first == 0 && second == ECANCELED)
              || (first == ECANCELED && second == 0));
    ck_assert_int_eq(vthread_park_until(0), ETIMEDOUT);
    return NULL;
}

START_TEST(an_interrupt_sticks_until_it_is_seen)
{
    on_both_kinds(interrupt_claims);
}
END_TEST

static void *platform_sleeps(void *arg)
{
    struct platform_parker *p = arg;
    atomic_store(&p->handle, vthread_self());
    p->result = vthread_sleep(1000 * VTHREAD_SECOND);
    return NULL;
}

START_TEST(an_interrupt_ends_any_cancellable_wait)
{
    struct platform_parker p;
    void *(*const waits[])(void *) = {park_once, sleeps_long};
    void *(*const platform_waits[])(void *) = {platform_parks,
                                               platform_sleeps};
    for (int i = 0; i < 100; i++) {
        vthread_t t = start(waits[i % 2], NULL);
        until_waiting(t);
        ck_assert_int_eq(vthread_interrupt(t), 0);
        ck_assert_ptr_eq(join(t), pointer(ECANCELED));
        t = start_platform(&p, platform_waits[i % 2]);
        until_waiting(t);
        ck_assert_int_eq(vthread_interrupt(t), 0);
        pthread_join(p.pthread, NULL);
        ck_assert_int_eq(p.result, ECANCELED);
    }
}
END_TEST

/* Interrupts and unparks arrive at once: neither eats the other. */
static void *counts_both(void *arg)
{
    uintptr_t permits = 0, cancels = 0;
    (void)arg;
    while (permits < 1 || cancels < 1) {
        int err = vthread_park();
        permits += err == 0;
        cancels += err == ECANCELED;
    }
    return pointer(permits << 8 | cancels);
}

static void *interrupts(void *t)
{
    vthread_interrupt(*(vthread_t *)t);
    return NULL;
}

START_TEST(an_interrupt_does_not_eat_a_permit)
{
    static vthread_t t;
    vthread_scheduler_t *s = scheduler_of(3);
    for (int i = 0; i < 2000; i++) {
        t = start_on(s, counts_both, NULL);
        vthread_t other = start_on(s, interrupts, &t);
        vthread_unpark(t);
        ck_assert_ptr_eq(join(t), pointer(1 << 8 | 1));
        join(other);
    }
    shut_down(s);
}
END_TEST

/* ---- Homes -------------------------------------------------------------- */

struct sum {
    unsigned rounds;
    uint64_t value;
};

__attribute__((noinline)) static uint64_t fold(unsigned depth, uint64_t seed,
                                               bool waits)
{
    uint64_t words[8];
    struct random random = {seed};
    for (unsigned i = 0; i < 8; i++)
        words[i] = random_next(&random);
    uint64_t below = depth ? fold(depth - 1, words[0], waits) : 0;
    if (waits && words[1] % 16 == 0)
        vthread_sleep(words[2] % 50000);
    else if (waits && (depth == 0 || words[1] % 4 == 0))
        vthread_yield();
    for (unsigned i = 0; i < 8; i++)
        below = below * 31 + words[i];
    return below;
}

static void *folds(void *arg)
{
    struct sum *sum = arg;
    for (unsigned i = 0; i < sum->rounds; i++)
        sum->value += fold(i * 5 % 40, i, true);
    return NULL;
}

static void fold_on(vthread_scheduler_t *s, unsigned threads)
{
    struct sum *sums = calloc(threads, sizeof *sums);
    vthread_t *handles = calloc(threads, sizeof *handles);
    uint64_t expected = 0;
    unsigned rounds = 12;
    for (unsigned i = 0; i < rounds; i++)
        expected += fold(i * 5 % 40, i, false);
    for (unsigned i = 0; i < threads; i++) {
        sums[i].rounds = rounds;
        handles[i] = start_on(s, folds, &sums[i]);
    }
    for (unsigned i = 0; i < threads; i++) {
        join(handles[i]);
        ck_assert_uint_eq(sums[i].value, expected);
    }
    free(handles);
    free(sums);
}

START_TEST(frames_beyond_the_own_limit_are_copied_and_right)
{
    set_mode("VTHREAD_OWN_LIMIT", "16");
    set_mode("VTHREAD_COMMON_HOMES", "4");
    vthread_scheduler_t *s = scheduler_of(2);
    fold_on(s, UNDER_SANITIZER ? 200 : 1000);
    if (!mode_is("VTHREAD_FREEZE", "guard")) {
        ck_assert_uint_gt(stats_of(s).freezes, 0);
        ck_assert_uint_gt(stats_of(s).frozen_bytes, 0);
    }
    shut_down(s);
}
END_TEST

START_TEST(own_homes_are_not_copied)
{
    if (mode_is("VTHREAD_FREEZE", "eager"))
        return;
    set_mode("VTHREAD_OWN_LIMIT", "1024");
    vthread_scheduler_t *s = scheduler_of(2);
    fold_on(s, 100);
    if (mode_is("VTHREAD_OWN_LIMIT", "1024"))
        ck_assert_uint_eq(stats_of(s).freezes, 0);
    shut_down(s);
}
END_TEST

START_TEST(all_may_share_a_few_homes_on_many_carriers)
{
    set_mode("VTHREAD_OWN_LIMIT", "0");
    set_mode("VTHREAD_COMMON_HOMES", "1");
    vthread_scheduler_t *s = scheduler_of(8);
    fold_on(s, UNDER_SANITIZER ? 100 : 400);
    shut_down(s);
}
END_TEST

static void *lends_a_local(void *arg)
{
    volatile int local = 1;
    *(volatile int **)arg = &local;
    vthread_park();
    return pointer((uintptr_t)local);
}

START_TEST(locals_on_an_own_home_are_there_while_it_is_parked)
{
    static volatile int *locals[200];
    vthread_t threads[COUNT_OF(locals)];
    set_mode("VTHREAD_OWN_LIMIT", "0");
    for (unsigned i = 0; i < COUNT_OF(locals); i++)
        threads[i] = start_attr((vthread_attr_t){.flags = VTHREAD_STACK_OWN},
                                lends_a_local, &locals[i]);
    for (unsigned i = 0; i < COUNT_OF(locals); i++) {
        until_waiting(threads[i]);
        ck_assert_int_eq(*locals[i], 1);
        *locals[i] = (int)i + 7;
    }
    for (unsigned i = 0; i < COUNT_OF(locals); i++) {
        vthread_unpark(threads[i]);
        ck_assert_ptr_eq(join(threads[i]), pointer(i + 7));
    }
}
END_TEST

static void *adds_one(void *arg)
{
    ++*(int *)arg;
    return NULL;
}

static void *passes_a_local(void *arg)
{
    int local = 41;
    vthread_t t;
    (void)arg;
    ck_assert_int_eq(vthread_create(&t, NULL, adds_one, &local), 0);
    join(t);
    return pointer((uintptr_t)local);
}

START_TEST(a_pointer_to_a_local_makes_an_unshared_home_an_own_one)
{
    set_mode("VTHREAD_OWN_LIMIT", "0");
    /* The first alone on its home; those after it are known to need one. */
    for (int i = 0; i < 100; i++)
        ck_assert_ptr_eq(join(start(passes_a_local, NULL)), pointer(42));
}
END_TEST

static void *crowds(void *arg)
{
    (void)arg;
    vthread_park();
    return NULL;
}

static void *is_refused(void *arg)
{
    int local = 41;
    vthread_t t = 42;
    (void)arg;
    int err = vthread_create(&t, NULL, adds_one, &local);
    if (err == 0)
        join(t);
    else
        ck_assert_uint_eq(t, 42);
    return pointer((uintptr_t)err);
}

START_TEST(a_pointer_into_a_shared_home_is_refused)
{
    static vthread_t parked[600];
    set_mode("VTHREAD_OWN_LIMIT", "0");
    for (unsigned i = 0; i < COUNT_OF(parked); i++)
        parked[i] = start(crowds, NULL);
    for (unsigned i = 0; i < COUNT_OF(parked); i++)
        until_waiting(parked[i]);
    void *result = join(start(is_refused, NULL));
    if (mode_is("VTHREAD_OWN_LIMIT", "0")
        && !mode_is("VTHREAD_FREEZE", "guard"))
        ck_assert_ptr_eq(result, pointer(EFAULT));
    /* From now on they have own homes. */
    ck_assert_ptr_eq(join(start(is_refused, NULL)), NULL);
    for (unsigned i = 0; i < COUNT_OF(parked); i++) {
        vthread_unpark(parked[i]);
        join(parked[i]);
    }
}
END_TEST

/* ---- Continuations inside threads --------------------------------------- */

static const char numbers[] = "numbers";

/* A generator that lets its thread wait in between. */
static void generates(void *out)
{
    for (uint64_t i = 1; i <= 40; i++) {
        uint64_t local = i * i;
        if (i % 3 == 0)
            vthread_yield();
        else if (i % 3 == 1)
            vthread_sleep(10000);
        *(uint64_t *)out = local;
        ck_assert_int_eq(vthread_continuation_yield(numbers), 0);
    }
}

static void *consumes(void *arg)
{
    uint64_t *value = calloc(1, sizeof *value);
    vthread_continuation_t *c;
    vthread_continuation_attr_t attr = {.scope = numbers};
    (void)arg;
    ck_assert_int_eq(vthread_continuation_create(&c, &attr, generates, value),
                     0);
    for (uint64_t i = 1; i <= 40; i++) {
        ck_assert_int_eq(vthread_continuation_run(c), 0);
        ck_assert_uint_eq(*value, i * i);
        vthread_yield();
    }
    ck_assert_int_eq(vthread_continuation_run(c), 0);
    ck_assert(vthread_continuation_is_done(c));
    ck_assert_int_eq(vthread_continuation_destroy(c), 0);
    free(value);
    return NULL;
}

START_TEST(a_thread_waits_inside_of_a_generator)
{
    vthread_t threads[64];
    set_mode("VTHREAD_OWN_LIMIT", "8");
    vthread_scheduler_t *s = scheduler_of(4);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start_on(s, consumes, NULL);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    shut_down(s);
}
END_TEST

static void exits_inside(void *arg)
{
    vthread_exit(arg);
}

static vthread_continuation_t *abandoned;

static void *exits_in_generator(void *arg)
{
    (void)arg;
    ck_assert_int_eq(vthread_continuation_create(&abandoned, NULL,
                                                 exits_inside, pointer(8)),
                     0);
    vthread_continuation_run(abandoned);
    ck_abort_msg("exit has returned");
    return NULL;
}

START_TEST(exit_ends_the_thread_from_inside_of_a_generator)
{
    for (int i = 0; i < 20; i++) {
        ck_assert_ptr_eq(join(start(exits_in_generator, NULL)), pointer(8));
        ck_assert_int_eq(vthread_continuation_run(abandoned), ESRCH);
        ck_assert_int_eq(vthread_continuation_destroy(abandoned), 0);
    }
}
END_TEST

/* ---- Pins --------------------------------------------------------------- */

static void *pin_claims(void *arg)
{
    (void)arg;
    ck_assert_int_eq(vthread_unpin(), EPERM);
    ck_assert_int_eq(vthread_pin(), 0);
    ck_assert_int_eq(vthread_pin(), 0);
    ck_assert_int_eq(vthread_unpin(), 0);
    ck_assert_int_eq(vthread_unpin(), 0);
    ck_assert_int_eq(vthread_unpin(), EPERM);
    return NULL;
}

START_TEST(pins_nest)
{
    on_both_kinds(pin_claims);
}
END_TEST

static void *stays_while_pinned(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(vthread_pin(), 0);
        long mine = os_thread();
        pthread_t me = pthread_self();
        vthread_yield();
        ck_assert_int_eq(os_thread(), mine);
        ck_assert_int_eq(vthread_sleep(50 * VTHREAD_US), 0);
        ck_assert_int_eq(os_thread(), mine);
        vthread_unpark(vthread_self());
        ck_assert_int_eq(vthread_park(), 0);
        vthread_t t = start(return_argument, NULL);
        ck_assert_int_eq(vthread_join(t, NULL), 0);
        ck_assert_int_eq(os_thread(), mine);
        ck_assert(pthread_equal(me, pthread_self()));
        ck_assert_int_eq(vthread_unpin(), 0);
        vthread_yield();
    }
    return NULL;
}

START_TEST(a_pinned_thread_stays_on_its_os_thread)
{
    vthread_t threads[16];
    set_mode("VTHREAD_OWN_LIMIT", "4");
    vthread_scheduler_t *s = scheduler_of(2);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start_on(s, stays_while_pinned, NULL);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    ck_assert_uint_gt(stats_of(s).pinned_parks, 0);
    shut_down(s);
}
END_TEST

static void *parks_pinned(void *arg)
{
    (void)arg;
    vthread_pin();
    int err = vthread_park();
    vthread_unpin();
    return pointer((uintptr_t)err);
}

static void *unparks(void *t)
{
    vthread_unpark(*(vthread_t *)t);
    return NULL;
}

START_TEST(a_spare_carrier_works_while_a_pinned_thread_waits)
{
    static vthread_t t;
    vthread_scheduler_t *s = scheduler_of(1);
    for (int i = 0; i < 50; i++) {
        t = start_on(s, parks_pinned, NULL);
        until_waiting(t);
        join(start_on(s, unparks, &t));
        ck_assert_ptr_eq(join(t), NULL);
    }
    shut_down(s);
}
END_TEST

static void *sleeps_then_unparks(void *t)
{
    vthread_sleep(VTHREAD_MS);
    return unparks(t);
}

START_TEST(a_pinned_thread_that_waits_stops_no_timer)
{
    static vthread_t t;
    vthread_scheduler_t *s = scheduler_of(1);
    for (int i = 0; i < 20; i++) {
        vthread_t waker = start_on(s, sleeps_then_unparks, &t);
        t = start_on(s, parks_pinned, NULL);
        ck_assert_ptr_eq(join(t), NULL);
        join(waker);
    }
    shut_down(s);
}
END_TEST

START_TEST(a_pinned_thread_can_be_interrupted_and_timed_out)
{
    vthread_t t = start(parks_pinned, NULL);
    until_waiting(t);
    vthread_interrupt(t);
    ck_assert_ptr_eq(join(t), pointer(ECANCELED));
}
END_TEST

static void pins_inside(void *arg)
{
    ck_assert_int_eq(vthread_continuation_pin(), 0);
    long mine = os_thread();
    for (int i = 0; i < 20; i++) {
        vthread_yield();
        vthread_sleep(20 * VTHREAD_US);
        *(int *)arg += os_thread() != mine;
    }
    ck_assert_int_eq(vthread_continuation_unpin(), 0);
}

static void *runs_one_that_pins(void *moves)
{
    vthread_continuation_t *c;
    ck_assert_int_eq(vthread_continuation_create(&c, NULL, pins_inside,
                                                 moves),
                     0);
    while (!vthread_continuation_is_done(c))
        ck_assert_int_eq(vthread_continuation_run(c), 0);
    ck_assert_int_eq(vthread_continuation_destroy(c), 0);
    return NULL;
}

START_TEST(a_pinned_generator_pins_its_thread)
{
    static int moves[16];
    vthread_t threads[COUNT_OF(moves)];
    vthread_scheduler_t *s = scheduler_of(4);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start_on(s, runs_one_that_pins, &moves[i]);
    for (unsigned i = 0; i < COUNT_OF(threads); i++) {
        join(threads[i]);
        ck_assert_int_eq(moves[i], 0);
    }
    shut_down(s);
}
END_TEST

/* ---- The suite ---------------------------------------------------------- */

static void begin(void)
{
    memset(trail, 0, sizeof trail);
    memset(order, 0, sizeof order);
    atomic_store(&order_length, 0);
    atomic_store(&flag, 0);
    atomic_store(&other_flag, 0);
}

static TCase *new_case(Suite *suite, const char *name)
{
    TCase *cases = tcase_create(name);
    tcase_set_timeout(cases, 60);
    tcase_add_checked_fixture(cases, begin, NULL);
    suite_add_tcase(suite, cases);
    return cases;
}

static void add_life(Suite *suite)
{
    TCase *cases = new_case(suite, "life");
    tcase_add_test(cases, what_a_thread_returns_is_joined);
    tcase_add_test(cases, ten_thousand_threads);
    tcase_add_test(cases, threads_create_and_join_threads);
    tcase_add_test(cases, a_handle_is_never_used_again);
    tcase_add_test(cases, a_stale_handle_is_recognised_by_everybody);
    tcase_add_test(cases, a_thread_knows_itself);
    tcase_add_test(cases, exit_ends_a_thread_from_any_depth);
    tcase_add_test(cases, exit_on_a_platform_thread_is_pthread_exit);
    tcase_add_test(cases, join_keeps_its_word);
    tcase_add_test(cases,
                   a_thread_that_is_being_joined_is_not_joined_by_others);
    tcase_add_test(cases, an_interrupted_join_leaves_the_thread_as_it_was);
    tcase_add_test(cases, a_join_that_succeeds_has_not_eaten_the_interrupt);
    tcase_add_test(cases, detached_threads_free_themselves);
    tcase_add_test(cases, a_thread_can_be_detached_before_and_after_its_end);
    tcase_add_test(cases, a_thread_can_detach_itself);
    tcase_add_test(cases, names_are_kept_and_cut);
    tcase_add_test(cases, bad_attributes_are_refused_and_nothing_is_stored);
    tcase_add_test(cases, a_stack_has_the_size_that_was_asked_for);
    tcase_add_test(cases, a_bound_thread_stays_on_its_carrier);
}

static void add_turns(Suite *suite)
{
    TCase *cases = new_case(suite, "turns");
    tcase_add_test(cases, two_that_yield_on_one_carrier_take_turns);
    tcase_add_test(cases, one_from_outside_runs_though_others_only_yield);
    tcase_add_test(cases, sleepers_wake_though_others_only_yield);
    tcase_add_test(cases, two_that_wake_each_other_do_not_starve_a_third);
    tcase_add_test(cases, a_woken_thread_runs_though_its_waker_goes_on);
    tcase_add_test(cases, a_new_thread_runs_though_its_maker_goes_on);
    tcase_add_test(cases, a_sleeper_wakes_though_one_carrier_is_busy);
    tcase_add_test(cases, yield_on_a_platform_thread_returns);
}

static void add_waits(Suite *suite)
{
    TCase *cases = new_case(suite, "waits");
    tcase_add_test(cases, a_sleep_lasts_as_long_as_it_should);
    tcase_add_test(cases, after_never_is_never);
    tcase_add_test(cases, a_sleep_and_a_join_keep_the_permit);
    tcase_add_test(cases, an_unpark_does_not_end_a_sleep);
    tcase_add_test(cases, sleepers_wake_in_the_order_of_their_deadlines);
    tcase_add_test(cases, twenty_thousand_sleepers);
    tcase_add_test(cases, there_is_one_permit);
    tcase_add_test(cases, unpark_ends_a_park);
    tcase_add_test(cases, an_old_timer_never_ends_a_later_park);
    tcase_add_test(cases, no_unpark_of_ten_thousand_is_lost);
    tcase_add_test(cases, platform_and_virtual_threads_wake_each_other);
    tcase_add_test(cases, an_interrupt_sticks_until_it_is_seen);
    tcase_add_test(cases, an_interrupt_ends_any_cancellable_wait);
    tcase_add_test(cases, an_interrupt_does_not_eat_a_permit);
}

static void add_homes(Suite *suite)
{
    TCase *cases = new_case(suite, "homes");
    tcase_add_test(cases, frames_beyond_the_own_limit_are_copied_and_right);
    tcase_add_test(cases, own_homes_are_not_copied);
    tcase_add_test(cases, all_may_share_a_few_homes_on_many_carriers);
    tcase_add_test(cases,
                   locals_on_an_own_home_are_there_while_it_is_parked);
    tcase_add_test(
        cases, a_pointer_to_a_local_makes_an_unshared_home_an_own_one);
    tcase_add_test(cases, a_pointer_into_a_shared_home_is_refused);
    tcase_add_test(cases, a_thread_waits_inside_of_a_generator);
    tcase_add_test(cases, exit_ends_the_thread_from_inside_of_a_generator);
}

static void add_pins(Suite *suite)
{
    TCase *cases = new_case(suite, "pins");
    tcase_add_test(cases, pins_nest);
    tcase_add_test(cases, a_pinned_thread_stays_on_its_os_thread);
    tcase_add_test(cases,
                   a_spare_carrier_works_while_a_pinned_thread_waits);
    tcase_add_test(cases, a_pinned_thread_that_waits_stops_no_timer);
    tcase_add_test(cases, a_pinned_thread_can_be_interrupted_and_timed_out);
    tcase_add_test(cases, a_pinned_generator_pins_its_thread);
}

int main(void)
{
    Suite *suite = suite_create("vthread");
    add_life(suite);
    add_turns(suite);
    add_waits(suite);
    add_homes(suite);
    add_pins(suite);
    return run_suite(suite);
}
