/*
 * pin_lock_test.c - pthread locks of every kind, tracked: linked with the
 * options --wrap of libvthread-pin.
 */
#include <errno.h>
#include <pthread.h>
#include <threads.h>
#include <time.h>

#include "inspect/held.h"
#include "inspect/pin_ring.h"
#include "tests/pin_episodes.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static mtx_t c11_mutex;
static cnd_t c11_cond;

static OWN_FRAME void parks(void)
{
    vthread_park();
    end_of_frame();
}

/* For threads: check itself takes a mutex each time it is asked. */
#define must(claim)                                                           \
    ((claim) ? (void)0 : ck_abort_msg("line %d: not %s", __LINE__, #claim))

static struct timespec at(clockid_t clock, long seconds)
{
    struct timespec time;
    clock_gettime(clock, &time);
    time.tv_sec += seconds;
    return time;
}

static unsigned pins(void)
{
    return thread_self()->continuation.pins;
}

/* ---- Each way to take one ----------------------------------------------- */

static int takes_mutex(void)
{
    return pthread_mutex_lock(&mutex);
}

static int tries_mutex(void)
{
    return pthread_mutex_trylock(&mutex);
}

static int takes_mutex_in_time(void)
{
    struct timespec time = at(CLOCK_REALTIME, 100);
    return pthread_mutex_timedlock(&mutex, &time);
}

static int takes_mutex_by_clock(void)
{
    struct timespec time = at(CLOCK_MONOTONIC, 100);
    return pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &time);
}

static int gives_mutex(void)
{
    return pthread_mutex_unlock(&mutex);
}

static int reads(void)
{
    return pthread_rwlock_rdlock(&rwlock);
}

static int tries_to_read(void)
{
    return pthread_rwlock_tryrdlock(&rwlock);
}

static int reads_in_time(void)
{
    struct timespec time = at(CLOCK_REALTIME, 100);
    return pthread_rwlock_timedrdlock(&rwlock, &time);
}

static int reads_by_clock(void)
{
    struct timespec time = at(CLOCK_MONOTONIC, 100);
    return pthread_rwlock_clockrdlock(&rwlock, CLOCK_MONOTONIC, &time);
}

static int writes(void)
{
    return pthread_rwlock_wrlock(&rwlock);
}

static int tries_to_write(void)
{
    return pthread_rwlock_trywrlock(&rwlock);
}

static int writes_in_time(void)
{
    struct timespec time = at(CLOCK_REALTIME, 100);
    return pthread_rwlock_timedwrlock(&rwlock, &time);
}

static int writes_by_clock(void)
{
    struct timespec time = at(CLOCK_MONOTONIC, 100);
    return pthread_rwlock_clockwrlock(&rwlock, CLOCK_MONOTONIC, &time);
}

static int gives_rwlock(void)
{
    return pthread_rwlock_unlock(&rwlock);
}

/* As those of pthreads say it. */
static int error_of(int result)
{
    return result == thrd_success    ? 0
           : result == thrd_busy     ? EBUSY
           : result == thrd_timedout ? ETIMEDOUT
                                     : EINVAL;
}

static int takes_mtx(void)
{
    return error_of(mtx_lock(&c11_mutex));
}

static int tries_mtx(void)
{
    return error_of(mtx_trylock(&c11_mutex));
}

static int takes_mtx_in_time(void)
{
    struct timespec time = at(CLOCK_REALTIME, 100);
    return error_of(mtx_timedlock(&c11_mutex, &time));
}

static int gives_mtx(void)
{
    return error_of(mtx_unlock(&c11_mutex));
}

static const struct way {
    int (*take)(void);
    int (*give)(void);
    vthread_hold_kind_t kind;
    bool waits; /* if it is taken */
} ways[] = {
    {takes_mtx, gives_mtx, VTHREAD_HOLD_MUTEX, true},
    {tries_mtx, gives_mtx, VTHREAD_HOLD_MUTEX, false},
    {takes_mtx_in_time, gives_mtx, VTHREAD_HOLD_MUTEX, true},
    {takes_mutex, gives_mutex, VTHREAD_HOLD_MUTEX, true},
    {tries_mutex, gives_mutex, VTHREAD_HOLD_MUTEX, false},
    {takes_mutex_in_time, gives_mutex, VTHREAD_HOLD_MUTEX, true},
    {takes_mutex_by_clock, gives_mutex, VTHREAD_HOLD_MUTEX, true},
    {reads, gives_rwlock, VTHREAD_HOLD_READ, true},
    {tries_to_read, gives_rwlock, VTHREAD_HOLD_READ, false},
    {reads_in_time, gives_rwlock, VTHREAD_HOLD_READ, true},
    {reads_by_clock, gives_rwlock, VTHREAD_HOLD_READ, true},
    {writes, gives_rwlock, VTHREAD_HOLD_WRITE, true},
    {tries_to_write, gives_rwlock, VTHREAD_HOLD_WRITE, false},
    {writes_in_time, gives_rwlock, VTHREAD_HOLD_WRITE, true},
    {writes_by_clock, gives_rwlock, VTHREAD_HOLD_WRITE, true},
};

static const void *lock_of(const struct way *way)
{
    return way->give == gives_mtx     ? (void *)&c11_mutex
           : way->give == gives_mutex ? (void *)&mutex
                                      : &rwlock;
}

static void *takes_and_parks(void *arg)
{
    const struct way *way = arg;
    must(way->take() == 0);
    must(pins() == 1);
    parks();
    must(way->give() == 0);
    must(pins() == 0);
    return NULL;
}

START_TEST(a_lock_taken_in_any_way_pins)
{
    const struct way *way = &ways[_i];
    collect_episodes();
    vthread_t t = start(takes_and_parks, (void *)way);
    until_waiting(t);
    vthread_unpark(t);
    join(t);
    until_episodes(1);
    const vthread_pin_episode_t *episode = &episodes[0];
    ck_assert_uint_eq(episode->reasons, VTHREAD_PINNED_BY_LOCK);
    ck_assert_uint_eq(episode->locks_tracked, 1);
    ck_assert_uint_eq(episode->hold_count, 1);
    ck_assert_uint_eq(episode->holds[0].object, (uintptr_t)lock_of(way));
    ck_assert_uint_eq(episode->holds[0].kind, way->kind);
    ck_assert(is_in(episode->holds[0].site, (void *)way->take));
    ck_assert(waits_in(episode, (void *)parks));
}
END_TEST

/* ---- Waiting for one ---------------------------------------------------- */

static void *takes_and_gives(void *arg)
{
    const struct way *way = arg;
    long os_thread_before = os_thread();
    char on_stack[256];
    memset(on_stack, 7, sizeof on_stack);
    must(way->take() == (way->waits ? 0 : EBUSY));
    if (way->waits) {
        must(os_thread() == os_thread_before);
        must(pins() == 1);
        must(way->give() == 0);
    }
    must(pins() == 0);
    must(on_stack[100] == 7);
    return NULL;
}

/* Whether so many wait for a lock in the kernel, pinned or not. */
static bool do_wait_for_locks(int count)
{
    for (struct held *held = held_first(); held; held = held_next(held))
        count -= atomic_load(&held->wait) & 1;
    return count <= 0;
}

/* One carrier and a few spare ones: it could not go on if those who wait kept
 * the role; and one home, if the mode says so. */
START_TEST(who_waits_for_a_lock_hands_the_carriers_role_on)
{
    const struct way *way = &ways[_i];
    vthread_t waiters[3];
    collect_episodes();
    vthread_scheduler_t *s = scheduler_of(1);
    ck_assert_int_eq((way->give == gives_mtx     ? takes_mtx
                      : way->give == gives_mutex ? takes_mutex
                                                 : writes)(),
                     0);
    for (unsigned i = 0; i < COUNT_OF(waiters); i++)
        waiters[i] = start_on(s, takes_and_gives, (void *)way);
    while (way->waits && !do_wait_for_locks(COUNT_OF(waiters)))
        sched_yield();
    for (unsigned i = 0; i < 10; i++)
        join(start_on(s, sleeps_a_moment, NULL));
    ck_assert_int_eq(way->give(), 0);
    for (unsigned i = 0; i < COUNT_OF(waiters); i++)
        join(waiters[i]);
    shut_down(s);
    /* To wait for a lock and hold none is no pin. */
    ck_assert_uint_eq(pin_ring_next(), 1);
}
END_TEST

static void *times_out(void *arg)
{
    struct timespec past = {0, 0}, soon = at(CLOCK_MONOTONIC, 0);
    must(pthread_mutex_timedlock(&mutex, &past) == ETIMEDOUT);
    must(pthread_mutex_clocklock(&mutex, CLOCK_MONOTONIC, &soon) == ETIMEDOUT);
    must(pthread_rwlock_timedrdlock(&rwlock, &past) == ETIMEDOUT);
    must(pthread_rwlock_timedwrlock(&rwlock, &past) == ETIMEDOUT);
    must(pthread_rwlock_clockrdlock(&rwlock, CLOCK_MONOTONIC, &soon)
         == ETIMEDOUT);
    must(pthread_rwlock_clockwrlock(&rwlock, CLOCK_MONOTONIC, &soon)
         == ETIMEDOUT);
    must(mtx_timedlock(&c11_mutex, &past) == thrd_timedout);
    must(pins() == 0);
    return arg;
}

START_TEST(a_lock_that_is_not_had_in_time_does_not_pin)
{
    takes_mutex();
    takes_mtx();
    writes();
    join(start(times_out, NULL));
    join_platform(start_platform(times_out, NULL));
    gives_mutex();
    gives_mtx();
    gives_rwlock();
}
END_TEST

/* ---- Kinds -------------------------------------------------------------- */

static void init_mutex(pthread_mutex_t *m, int type, int robust, int protocol)
{
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, type);
    pthread_mutexattr_setrobust(&attributes, robust);
    pthread_mutexattr_setprotocol(&attributes, protocol);
    ck_assert_int_eq(pthread_mutex_init(m, &attributes), 0);
    pthread_mutexattr_destroy(&attributes);
}

static pthread_mutex_t special;

static void *takes_it_three_times(void *arg)
{
    for (int i = 0; i < 3; i++)
        must(pthread_mutex_lock(&special) == 0);
    must(pins() == 1);
    must(pthread_mutex_unlock(&special) == 0);
    must(pthread_mutex_unlock(&special) == 0);
    must(pins() == 1);
    vthread_sleep(VTHREAD_US);
    must(pthread_mutex_unlock(&special) == 0);
    must(pins() == 0);
    must(pthread_mutex_unlock(&special) == EPERM);
    must(pins() == 0);
    return arg;
}

START_TEST(a_recursive_mutex_pins_until_the_last_unlock)
{
    collect_episodes();
    init_mutex(&special, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_STALLED,
               PTHREAD_PRIO_NONE);
    join(start(takes_it_three_times, NULL));
    until_episodes(1);
    ck_assert_uint_eq(episodes[0].holds[0].count, 1);
}
END_TEST

static void *makes_every_error(void *arg)
{
    must(pthread_mutex_unlock(&special) == EPERM);
    must(pthread_mutex_lock(&special) == 0);
    must(pthread_mutex_lock(&special) == EDEADLK);
    must(pthread_mutex_trylock(&special) == EBUSY);
    must(pins() == 1);
    must(pthread_mutex_unlock(&special) == 0);
    must(pins() == 0);
    return arg;
}

START_TEST(an_error_checking_mutex_finds_the_errors)
{
    init_mutex(&special, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_MUTEX_STALLED,
               PTHREAD_PRIO_NONE);
    join(start(makes_every_error, NULL));
}
END_TEST

static void *dies_with_it(void *arg)
{
    must(pthread_mutex_lock(&special) == 0);
    return arg;
}

static void *repairs_it(void *arg)
{
    must(pthread_mutex_lock(&special) == EOWNERDEAD);
    must(pins() == 1);
    must(pthread_mutex_consistent(&special) == 0);
    vthread_sleep(VTHREAD_US);
    must(pthread_mutex_unlock(&special) == 0);
    must(pins() == 0);
    must(pthread_mutex_lock(&special) == 0);
    must(pthread_mutex_unlock(&special) == 0);
    return arg;
}

static void *does_not_repair_it(void *arg)
{
    must(pthread_mutex_lock(&special) == EOWNERDEAD);
    must(pthread_mutex_unlock(&special) == 0);
    must(pthread_mutex_lock(&special) == ENOTRECOVERABLE);
    must(pins() == 0);
    return arg;
}

START_TEST(a_robust_mutex_is_held_by_who_has_to_repair_it)
{
    init_mutex(&special, PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_ROBUST,
               PTHREAD_PRIO_NONE);
    join_platform(start_platform(dies_with_it, NULL));
    join(start(repairs_it, NULL));
    join_platform(start_platform(dies_with_it, NULL));
    join(start(does_not_repair_it, NULL));
}
END_TEST

static pthread_mutex_t *inherits;

static void *takes_and_parks_with_it(void *arg)
{
    must(pthread_mutex_lock(inherits) == 0);
    vthread_park();
    must(pthread_mutex_unlock(inherits) == 0);
    return arg;
}

START_TEST(a_mutex_with_priority_inheritance_can_be_waited_for)
{
    collect_episodes();
    inherits = &special;
    init_mutex(&special, PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_STALLED,
               PTHREAD_PRIO_INHERIT);
    vthread_t a = start(takes_and_parks_with_it, NULL);
    until_waiting(a);
    vthread_t b = start(takes_and_parks_with_it, NULL);
    while (!do_wait_for_locks(2))
        sched_yield();
    vthread_unpark(a);
    join(a);
    vthread_unpark(b);
    join(b);
    until_episodes(1);
    ck_assert_uint_eq(episodes[0].thread, a);
    ck_assert_uint_eq(episodes[0].holds[0].waiters, 1);
}
END_TEST

/* ---- Conditions --------------------------------------------------------- */

static int signals; /* under the mutex */

static void *waits_for_a_signal(void *arg)
{
    uintptr_t way = (uintptr_t)arg;
    struct timespec real = at(CLOCK_REALTIME, 100);
    struct timespec monotonic = at(CLOCK_MONOTONIC, 100);
    unsigned pins_before = pins();
    must(pthread_mutex_lock(&mutex) == 0);
    long os_thread_before = os_thread();
    while (signals == 0) {
        int err = way == 0   ? pthread_cond_wait(&cond, &mutex)
                  : way == 1 ? pthread_cond_timedwait(&cond, &mutex, &real)
                             : pthread_cond_clockwait(
                                 &cond, &mutex, CLOCK_MONOTONIC, &monotonic);
        must(err == 0);
        must(pins() == pins_before + 1);
        must(os_thread() == os_thread_before);
    }
    signals--;
    must(pthread_mutex_unlock(&mutex) == 0);
    must(pins() == pins_before);
    return NULL;
}

static void *gives_signals(void *arg)
{
    for (uintptr_t i = 0; i < (uintptr_t)arg; i++) {
        pthread_mutex_lock(&mutex);
        signals++;
        pthread_cond_signal(&cond);
        pthread_mutex_unlock(&mutex);
        vthread_yield();
    }
    return NULL;
}

START_TEST(a_condition_is_waited_for_without_the_mutex_and_the_carrier)
{
    vthread_t waiters[6];
    collect_episodes();
    vthread_scheduler_t *s = scheduler_of(1);
    for (uintptr_t i = 0; i < COUNT_OF(waiters); i++)
        waiters[i] = start_on(s, waits_for_a_signal, pointer(i % 3));
    while (!do_wait_for_locks(COUNT_OF(waiters)))
        sched_yield();
    join(start_on(s, gives_signals, pointer(COUNT_OF(waiters))));
    for (unsigned i = 0; i < COUNT_OF(waiters); i++)
        join(waiters[i]);
    shut_down(s);
    ck_assert_uint_eq(pin_ring_next(), 1);
}
END_TEST

static void *waits_as_in_c11(void *arg)
{
    struct timespec time = at(CLOCK_REALTIME, 100), past = {0, 0};
    must(takes_mtx() == 0);
    must(cnd_timedwait(&c11_cond, &c11_mutex, &past) == thrd_timedout);
    must(pins() == 1);
    long os_thread_before = os_thread();
    while (signals == 0) {
        int result = arg ? cnd_timedwait(&c11_cond, &c11_mutex, &time)
                         : cnd_wait(&c11_cond, &c11_mutex);
        must(result == thrd_success);
        must(pins() == 1);
        must(os_thread() == os_thread_before);
    }
    must(gives_mtx() == 0);
    must(pins() == 0);
    return NULL;
}

START_TEST(a_condition_of_c11_as_well)
{
    vthread_t waiters[2];
    collect_episodes();
    vthread_scheduler_t *s = scheduler_of(1);
    for (uintptr_t i = 0; i < COUNT_OF(waiters); i++)
        waiters[i] = start_on(s, waits_as_in_c11, pointer(i));
    while (!do_wait_for_locks(COUNT_OF(waiters)))
        sched_yield();
    join(start_on(s, sleeps_a_moment, NULL));
    takes_mtx();
    signals = 1;
    cnd_broadcast(&c11_cond);
    gives_mtx();
    for (unsigned i = 0; i < COUNT_OF(waiters); i++)
        join(waiters[i]);
    shut_down(s);
    ck_assert_uint_eq(pin_ring_next(), 1);
}
END_TEST

static void *mtx_again(void *arg)
{
    must(takes_mtx() == 0);
    mtx_destroy(&c11_mutex); /* which no program should do */
    must(pins() == 0);
    must(mtx_init(&c11_mutex, mtx_plain) == thrd_success);
    must(takes_mtx() == 0);
    must(gives_mtx() == 0);
    must(pins() == 0);
    return arg;
}

START_TEST(a_mutex_of_c11_that_is_no_more_does_not_pin)
{
    join(start(mtx_again, NULL));
}
END_TEST

static void *waits_in_vain(void *arg)
{
    struct timespec past = {0, 0};
    takes_mutex();
    must(pthread_cond_timedwait(&cond, &mutex, &past) == ETIMEDOUT);
    must(pins() == 1);
    gives_mutex();
    must(pins() == 0);
    return arg;
}

START_TEST(after_a_wait_that_timed_out_the_mutex_is_held)
{
    join(start(waits_in_vain, NULL));
}
END_TEST

static void *waits_with_another_lock(void *arg)
{
    writes();
    waits_for_a_signal(arg);
    gives_rwlock();
    return NULL;
}

START_TEST(who_waits_for_a_condition_and_holds_another_lock_is_pinned)
{
    collect_episodes();
    vthread_t t = start(waits_with_another_lock, NULL);
    while (!do_wait_for_locks(1))
        sched_yield();
    join(start(gives_signals, pointer(1)));
    join(t);
    until_episodes(1);
    ck_assert_uint_eq(episodes[0].hold_count, 1);
    ck_assert_uint_eq(episodes[0].holds[0].object, (uintptr_t)&rwlock);
    ck_assert_uint_eq(episodes[0].waits_on, (uintptr_t)&cond);
}
END_TEST

/* ---- On a stack --------------------------------------------------------- */

static pthread_mutex_t *_Atomic shared;
static atomic_int is_locked;

static void *takes_shared(void *arg)
{
    pthread_mutex_lock(atomic_load(&shared));
    pthread_mutex_unlock(atomic_load(&shared));
    return arg;
}

static void *locks_then_unlocks(void *arg)
{
    pthread_mutex_lock(atomic_load(&shared));
    atomic_store(&is_locked, 1);
    while (!do_wait_for_locks(1))
        sched_yield();
    pthread_mutex_unlock(atomic_load(&shared));
    return arg;
}

/* No ck_assert: it takes a mutex, too, and who waits for that one has left
 * its stack. */
static void *waits_for_one_on_its_stack(void *arg)
{
    pthread_mutex_t local_mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_t holder;
    atomic_store(&shared, &local_mutex);
    must(pthread_create(&holder, NULL, locks_then_unlocks, NULL) == 0);
    while (!atomic_load(&is_locked))
        sched_yield();
    takes_shared(NULL);
    must(pthread_join(holder, NULL) == 0);
    return arg;
}

START_TEST(a_mutex_on_the_stack_of_who_waits_stays_where_it_is)
{
    set_mode("VTHREAD_OWN_LIMIT", "0");
    collect_episodes();
    join(start(waits_for_one_on_its_stack, NULL));
}
END_TEST

/* ---- Oddities ----------------------------------------------------------- */

static void *unlocks_it(void *arg)
{
    gives_mutex();
    return arg;
}

static void *gives_it_to_another(void *arg)
{
    takes_mutex();
    vthread_join(start(unlocks_it, NULL), NULL);
    vthread_sleep(VTHREAD_US); /* finds out, unless the join has */
    must(pins() == 0);
    takes_mutex();
    must(pins() == 1);
    gives_mutex();
    must(pins() == 0);
    return arg;
}

static void give_it_to_another(void)
{
    collect_episodes();
    join(start(gives_it_to_another, NULL));
}

static void *ends_with_it(void *arg)
{
    takes_mutex();
    return arg;
}

static void *has_nothing(void *arg)
{
    must(pins() == 0);
    vthread_yield();
    return arg;
}

static void end_with_it(void)
{
    vthread_scheduler_t *s = scheduler_of(1);
    join(start_on(s, ends_with_it, NULL));
    for (int i = 0; i < 100; i++)
        join(start_on(s, has_nothing, NULL));
    shut_down(s);
}

static void *initialises_it_anew(void *arg)
{
    takes_mutex();
    pthread_mutex_init(&mutex, NULL);
    must(pins() == 0);
    takes_mutex();
    gives_mutex();
    must(pins() == 0);
    return arg;
}

static void initialise_it_anew(void)
{
    join(start(initialises_it_anew, NULL));
}

static const struct oddity {
    void (*fn)(void);
    const char *told;
} oddities[] = {
    {give_it_to_another, "was released by another thread than took it"},
    {end_with_it, "was held by a virtual thread at its end"},
    {initialise_it_anew, "was destroyed, or initialised anew"},
};

START_TEST(what_a_program_should_not_do_is_told_once_and_harms_nobody)
{
    char text[4096];
    int status = end_of_child(oddities[_i].fn, text, sizeof text);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", text);
    char *told = strstr(text, oddities[_i].told);
    ck_assert_msg(told != NULL, "%s", text);
    ck_assert_ptr_null(strstr(told + 1, oddities[_i].told));
}
END_TEST

static void *takes_many(void *arg)
{
    enum { MANY = 3 * HELD_MAX };
    static pthread_mutex_t many[MANY];
    for (int i = 0; i < MANY; i++)
        pthread_mutex_lock(&many[i]);
    must(pins() == MANY);
    vthread_sleep(VTHREAD_US);
    for (int i = 0; i < MANY; i++)
        pthread_mutex_unlock(&many[i]);
    must(pins() == 0);
    return arg;
}

START_TEST(more_locks_than_are_listed_pin_as_well)
{
    collect_episodes();
    join(start(takes_many, NULL));
    until_episodes(1);
    ck_assert_uint_eq(episodes[0].reasons, VTHREAD_PINNED_BY_LOCK);
    ck_assert_uint_eq(episodes[0].hold_count + episodes[0].holds_left_out,
                      3 * HELD_MAX);
}
END_TEST

static void *takes_and_gives_often(void *arg)
{
    for (int i = 0; i < 200; i++) {
        takes_mutex();
        if (i % 16 == 0)
            vthread_yield();
        *(int *)arg += 1;
        gives_mutex();
        if (i % 8 == 0)
            vthread_yield();
    }
    return NULL;
}

START_TEST(many_threads_may_contend_for_one)
{
    static int count;
    vthread_t threads[32];
    pthread_t platform;
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start(takes_and_gives_often, &count);
    platform = start_platform(takes_and_gives_often, &count);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    join_platform(platform);
    ck_assert_int_eq(count, 200 * ((int)COUNT_OF(threads) + 1));
}
END_TEST

int main(void)
{
    if (mtx_init(&c11_mutex, mtx_timed) != thrd_success
        || cnd_init(&c11_cond) != thrd_success)
        return 1;
    if (SANITIZER_STACKS_OWN_LOCKS)
        return 77; /* skipped */
    Suite *suite = suite_create("pin_lock");
    TCase *cases = new_case(suite, "ways");
    tcase_add_loop_test(cases, a_lock_taken_in_any_way_pins, 0,
                        COUNT_OF(ways));
    tcase_add_loop_test(cases, who_waits_for_a_lock_hands_the_carriers_role_on,
                        0, COUNT_OF(ways));
    tcase_add_test(cases, a_lock_that_is_not_had_in_time_does_not_pin);
    tcase_add_test(cases, many_threads_may_contend_for_one);
    cases = new_case(suite, "kinds");
    tcase_add_test(cases, a_recursive_mutex_pins_until_the_last_unlock);
    tcase_add_test(cases, an_error_checking_mutex_finds_the_errors);
    tcase_add_test(cases, a_robust_mutex_is_held_by_who_has_to_repair_it);
    tcase_add_test(cases, a_mutex_with_priority_inheritance_can_be_waited_for);
    cases = new_case(suite, "conditions");
    tcase_add_test(
        cases, a_condition_is_waited_for_without_the_mutex_and_the_carrier);
    tcase_add_test(cases, a_condition_of_c11_as_well);
    tcase_add_test(cases, a_mutex_of_c11_that_is_no_more_does_not_pin);
    tcase_add_test(cases, after_a_wait_that_timed_out_the_mutex_is_held);
    tcase_add_test(cases,
                   who_waits_for_a_condition_and_holds_another_lock_is_pinned);
    cases = new_case(suite, "oddities");
    tcase_add_test(cases, a_mutex_on_the_stack_of_who_waits_stays_where_it_is);
    tcase_add_loop_test(
        cases, what_a_program_should_not_do_is_told_once_and_harms_nobody, 0,
        COUNT_OF(oddities));
    tcase_add_test(cases, more_locks_than_are_listed_pin_as_well);
    return run_suite(suite);
}
