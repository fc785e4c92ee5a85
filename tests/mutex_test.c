/*
 * mutex_test.c - one at a time, in their order; kinds, and misuse.
 */
#include "tests/homes.h"
#include "tests/mutexes.h"

/* ---- Without waiting ---------------------------------------------------- */

static void *locks_and_unlocks(void *arg)
{
    vthread_mutex_t *m = calloc(1, sizeof *m);
    for (int i = 0; i < 3; i++) {
        lock(m);
        ck_assert_int_eq(vthread_mutex_trylock(m), EBUSY);
        unlock(m);
        ck_assert_int_eq(vthread_mutex_trylock(m), 0);
        unlock(m);
        ck_assert_int_eq(vthread_mutex_lock_until(m, 0), 0);
        unlock(m);
    }
    expect_free(m);
    free(m);
    return arg;
}

START_TEST(a_zeroed_mutex_is_free)
{
    on_both_kinds(locks_and_unlocks);
}
END_TEST

START_TEST(init_makes_a_free_mutex_of_that_kind)
{
    static const vthread_mutex_t initial[] = {
        VTHREAD_MUTEX_INITIALIZER, VTHREAD_MUTEX_RECURSIVE_INITIALIZER,
        VTHREAD_MUTEX_ERRORCHECK_INITIALIZER};
    for (int kind = 0; kind < 3; kind++) {
        vthread_mutex_t m;
        memset(&m, 0xff, sizeof m);
        ck_assert_int_eq(vthread_mutex_init(&m, kind), 0);
        ck_assert_int_eq(memcmp(&m, &initial[kind], sizeof m), 0);
    }
    vthread_mutex_t m = {0};
    ck_assert_int_eq(vthread_mutex_init(&m, 3), EINVAL);
    ck_assert_int_eq(vthread_mutex_init(&m, -1), EINVAL);
}
END_TEST

static void *tries(void *m)
{
    return pointer((uintptr_t)vthread_mutex_trylock(m));
}

static void *unlocks(void *m)
{
    return pointer((uintptr_t)vthread_mutex_unlock(m));
}

static void *counts_its_locks(void *arg)
{
    vthread_mutex_t *m = malloc(sizeof *m);
    ck_assert_int_eq(vthread_mutex_init(m, VTHREAD_MUTEX_RECURSIVE), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(i % 2 ? vthread_mutex_trylock(m)
                               : vthread_mutex_lock(m), 0);
    for (int i = 0; i < 4; i++) {
        ck_assert_ptr_eq(join(start(tries, m)), pointer(EBUSY));
        ck_assert_ptr_eq(join(start(unlocks, m)), pointer(EPERM));
        unlock(m);
    }
    expect_free(m);
    ck_assert_int_eq(vthread_mutex_unlock(m), EPERM);
    free(m);
    return arg;
}

START_TEST(a_recursive_mutex_counts)
{
    on_both_kinds(counts_its_locks);
}
END_TEST

START_TEST(a_recursive_mutex_that_is_full_says_so)
{
    vthread_mutex_t m = VTHREAD_MUTEX_RECURSIVE_INITIALIZER;
    int n = 0, err;
    while ((err = vthread_mutex_lock(&m)) == 0)
        n++;
    ck_assert_int_eq(err, EAGAIN);
    ck_assert_int_eq(n, 65536);
    ck_assert_int_eq(vthread_mutex_trylock(&m), EAGAIN);
    while (n-- > 0)
        unlock(&m);
    expect_free(&m);
}
END_TEST

static void *is_checked(void *arg)
{
    vthread_mutex_t *m = malloc(sizeof *m);
    ck_assert_int_eq(vthread_mutex_init(m, VTHREAD_MUTEX_ERRORCHECK), 0);
    ck_assert_int_eq(vthread_mutex_unlock(m), EPERM);
    lock(m);
    ck_assert_int_eq(vthread_mutex_lock(m), EDEADLK);
    ck_assert_int_eq(vthread_mutex_lock_until(m, 0), EDEADLK);
    ck_assert_int_eq(vthread_mutex_trylock(m), EBUSY);
    ck_assert_ptr_eq(join(start(unlocks, m)), pointer(EPERM));
    unlock(m);
    expect_free(m);
    free(m);
    return arg;
}

START_TEST(an_error_checking_mutex_says_what_is_wrong)
{
    on_both_kinds(is_checked);
}
END_TEST

static void *is_held(void *m)
{
    return vthread_mutex_is_held(m) ? m : NULL;
}

static void *sees_who_holds_it(void *arg)
{
    vthread_mutex_t *m = malloc(sizeof *m);
    for (int kind = 0; kind < 3; kind++) {
        ck_assert_int_eq(vthread_mutex_init(m, kind), 0);
        ck_assert(!vthread_mutex_is_held(m));
        lock(m);
        if (kind == VTHREAD_MUTEX_RECURSIVE)
            lock(m);
        ck_assert(vthread_mutex_is_held(m));
        ck_assert_ptr_null(join(start(is_held, m)));
        unlock(m);
        ck_assert(vthread_mutex_is_held(m)
                  == (kind == VTHREAD_MUTEX_RECURSIVE));
        if (kind == VTHREAD_MUTEX_RECURSIVE)
            unlock(m);
        ck_assert(!vthread_mutex_is_held(m));
    }
    free(m);
    return arg;
}

START_TEST(only_who_holds_it_is_told_that)
{
    on_both_kinds(sees_who_holds_it);
}
END_TEST

static void *asks_first_of_all(void *m)
{
    ck_assert(!vthread_mutex_is_held(m));
    return NULL;
}

/* One that the library has never seen. */
START_TEST(a_platform_thread_that_holds_nothing_is_told_that)
{
    vthread_mutex_t *m = calloc(1, sizeof *m);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, asks_first_of_all, m), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    lock(m);
    ck_assert_int_eq(pthread_create(&thread, NULL, asks_first_of_all, m), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    unlock(m);
    free(m);
}
END_TEST

/* ---- Waiting ------------------------------------------------------------ */

START_TEST(who_waits_gets_it_in_their_order)
{
    vthread_t t[4];
    lock(&mutex);
    for (int i = 0; i < 4; i++) {
        t[i] = start(locks_steps_unlocks, pointer((uintptr_t)('a' + i)));
        until_in_list(t[i]);
    }
    step('0');
    unlock(&mutex);
    for (int i = 0; i < 4; i++)
        join(t[i]);
    ck_assert_str_eq(trail, "0abcd");
    expect_free(&mutex);
}
END_TEST

static void *platform_waits(void *arg)
{
    struct platform_parker *p = arg;
    atomic_store(&p->handle, vthread_self());
    p->result = vthread_mutex_lock(&mutex);
    step('p');
    unlock(&mutex);
    return NULL;
}

START_TEST(platform_and_virtual_threads_wait_in_one_list)
{
    struct platform_parker p;
    lock(&mutex);
    vthread_t a = start(locks_steps_unlocks, pointer('a'));
    until_in_list(a);
    until_in_list(start_parker(&p, platform_waits));
    vthread_t b = start(locks_steps_unlocks, pointer('b'));
    until_in_list(b);
    unlock(&mutex);
    join(a);
    join(b);
    pthread_join(p.pthread, NULL);
    ck_assert_int_eq(p.result, 0);
    ck_assert_str_eq(trail, "apb");
    expect_free(&mutex);
}
END_TEST

static void *times_out(void *arg)
{
    static uint64_t soon;
    ck_assert_int_eq(vthread_mutex_lock_until(&mutex, 0), ETIMEDOUT);
    soon = vthread_after(2 * VTHREAD_MS);
    ck_assert_ptr_eq(locks_until(&soon), pointer(ETIMEDOUT));
    ck_assert_uint_ge(vthread_now(), soon);
    return arg;
}

static void *times_out_on_both_kinds(void *arg)
{
    on_both_kinds(times_out);
    return arg;
}

START_TEST(who_times_out_has_left)
{
    pthread_t p;
    lock(&mutex);
    ck_assert_int_eq(pthread_create(&p, NULL, times_out_on_both_kinds, NULL),
                     0);
    pthread_join(p, NULL);
    ck_assert_uint_eq(mutex.waiting[0], 0);
    unlock(&mutex);
    expect_free(&mutex);
}
END_TEST

START_TEST(who_times_out_between_others_does_not_hold_them_up)
{
    uint64_t later = vthread_after(20 * VTHREAD_MS);
    lock(&mutex);
    vthread_t a = start(locks_steps_unlocks, pointer('a'));
    until_in_list(a);
    vthread_t t = start(locks_until, &later);
    until_waiting(t);
    vthread_t b = start(locks_steps_unlocks, pointer('b'));
    until_in_list(b);
    ck_assert_ptr_eq(join(t), pointer(ETIMEDOUT));
    unlock(&mutex);
    join(a);
    join(b);
    ck_assert_str_eq(trail, "ab");
    expect_free(&mutex);
}
END_TEST

static void *locks_and_tells_of_interrupts(void *arg)
{
    (void)arg;
    lock(&mutex);
    bool interrupted = vthread_interrupted();
    unlock(&mutex);
    return pointer(interrupted);
}

START_TEST(an_interrupt_waits_for_the_next_wait_that_heeds_it)
{
    lock(&mutex);
    vthread_t t = start(locks_and_tells_of_interrupts, NULL);
    until_in_list(t);
    ck_assert_int_eq(vthread_interrupt(t), 0);
    ck_assert(word_of(t) & THREAD_WAITING);
    unlock(&mutex);
    ck_assert_ptr_eq(join(t), pointer(1));
}
END_TEST

START_TEST(a_permit_given_to_one_who_waits_is_kept)
{
    lock(&mutex);
    vthread_t t = start(locks_steps_unlocks, pointer('a'));
    until_in_list(t);
    ck_assert_int_eq(vthread_unpark(t), 0);
    ck_assert(word_of(t) & THREAD_WAITING);
    ck_assert(word_of(t) & THREAD_PERMIT);
    unlock(&mutex);
    join(t);
}
END_TEST

/* ---- Homes -------------------------------------------------------------- */

static void *shares_its_own(void *arg)
{
    vthread_mutex_t m = {0};
    expect(vthread_mutex_lock(&m) == EFAULT);
    expect(vthread_mutex_trylock(&m) == EFAULT);
    expect(m.word == 0);
    return arg;
}

static const char *const refusers[] = {
    "vthread_mutex_lock", "vthread_mutex_trylock", NULL};

static void *locks_that(void *m)
{
    lock(m);
    unlock(m);
    return m;
}

static void *has_its_own(void *arg)
{
    vthread_mutex_t m = {0};
    lock(&m);
    vthread_t t = start(locks_that, &m);
    until_waiting(t);
    unlock(&m);
    join(t);
    expect_free(&m);
    return arg;
}

/* ---- Misuse ------------------------------------------------------------- */

static void relock(void)
{
    vthread_mutex_lock(&mutex);
    vthread_mutex_lock(&mutex);
}

static void relock_until(void)
{
    vthread_mutex_lock(&mutex);
    vthread_mutex_lock_until(&mutex, vthread_after(VTHREAD_MS));
}

START_TEST(who_would_wait_for_itself_is_told)
{
    aborts(_i == 0 ? relock : relock_until);
    said("vthread_mutex_lock");
    said("holds the mutex");
    said("already");
}
END_TEST

static void unlock_free(void)
{
    vthread_mutex_unlock(&mutex);
}

START_TEST(an_unlock_of_a_free_mutex_is_told)
{
    aborts(unlock_free);
    said("vthread_mutex_unlock");
    said("is free");
}
END_TEST

static void *locks_and_parks(void *arg)
{
    vthread_mutex_lock(&mutex);
    vthread_park();
    return arg;
}

static void unlock_of_another(void)
{
    until_waiting(child_start("holder", locks_and_parks, NULL));
    vthread_mutex_unlock(&mutex);
}

START_TEST(an_unlock_of_anothers_mutex_names_the_holder)
{
    aborts(unlock_of_another);
    said("vthread_mutex_unlock");
    said("'holder' (PARKED)");
}
END_TEST

/* ---- The suite ---------------------------------------------------------- */

int main(void)
{
    Suite *suite = suite_create("mutex");
    TCase *cases = new_mutex_case(suite, "kinds");
    tcase_add_test(cases, a_zeroed_mutex_is_free);
    tcase_add_test(cases, init_makes_a_free_mutex_of_that_kind);
    tcase_add_test(cases, a_recursive_mutex_counts);
    tcase_add_test(cases, a_recursive_mutex_that_is_full_says_so);
    tcase_add_test(cases, an_error_checking_mutex_says_what_is_wrong);
    tcase_add_test(cases, only_who_holds_it_is_told_that);
    tcase_add_test(cases, a_platform_thread_that_holds_nothing_is_told_that);
    cases = new_mutex_case(suite, "waiting");
    tcase_add_test(cases, who_waits_gets_it_in_their_order);
    tcase_add_test(cases, platform_and_virtual_threads_wait_in_one_list);
    tcase_add_test(cases, who_times_out_has_left);
    tcase_add_test(cases, who_times_out_between_others_does_not_hold_them_up);
    tcase_add_test(cases, an_interrupt_waits_for_the_next_wait_that_heeds_it);
    tcase_add_test(cases, a_permit_given_to_one_who_waits_is_kept);
    cases = new_mutex_case(suite, "homes");
    add_homes(cases, refusers);
    cases = new_mutex_case(suite, "misuse");
    tcase_add_loop_test(cases, who_would_wait_for_itself_is_told, 0, 2);
    tcase_add_test(cases, an_unlock_of_a_free_mutex_is_told);
    tcase_add_test(cases, an_unlock_of_anothers_mutex_names_the_holder);
    return run_suite(suite);
}
