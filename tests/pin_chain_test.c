/*
 * pin_chain_test.c - all carriers wait with pinned threads while another is
 * ready to run: who waits for which lock, held by whom, where.
 */
#include <errno.h>
#include <pthread.h>

#include "inspect/held.h"
#include "tests/pin_episodes.h"

static pthread_mutex_t native = PTHREAD_MUTEX_INITIALIZER;
static vthread_mutex_t mutex = VTHREAD_MUTEX_INITIALIZER;

static void *keeps_the_mutex(void *arg)
{
    vthread_mutex_lock(&mutex);
    vthread_park();
    vthread_mutex_unlock(&mutex);
    return arg;
}

static void *holds_one_and_wants_the_other(void *arg)
{
    pthread_mutex_lock(&native);
    vthread_mutex_lock(&mutex);
    vthread_mutex_unlock(&mutex);
    pthread_mutex_unlock(&native);
    return arg;
}

static void *wants_the_native_one(void *arg)
{
    pthread_mutex_lock(&native);
    pthread_mutex_unlock(&native);
    return arg;
}

static void until_so_many_wait(int count)
{
    int waiting;
    do {
        waiting = 0;
        for (struct held *held = held_first(); held; held = held_next(held))
            waiting += atomic_load(&held->wait) & 1;
        sched_yield();
    } while (waiting < count);
}

static vthread_t start_named(vthread_scheduler_t *s, const char *name,
                             void *(*fn)(void *))
{
    return start_attr((vthread_attr_t){.scheduler = s, .name = name}, fn,
                      NULL);
}

/* Two carriers.  The keeper has the mutex and will be ready; the owner holds
 * the native one and waits for the keeper; another waits for the owner. */
static void stand_still(vthread_t *keeper, vthread_t *others)
{
    vthread_scheduler_t *s = NULL;
    vthread_scheduler_attr_t attr = {.parallelism = 1, .max_carriers = 2};
    ck_assert_int_eq(vthread_scheduler_create(&s, &attr), 0);
    *keeper = start_named(s, "keeper", keeps_the_mutex);
    until_waiting(*keeper);
    others[0] = start_named(s, "owner", holds_one_and_wants_the_other);
    until_so_many_wait(1);
    others[1] = start_named(s, "wanting", wants_the_native_one);
    until_so_many_wait(2);
    vthread_unpark(*keeper);
}

/* Ends when the report has been written: it is what aborts. */
static void stand_still_for_good(void)
{
    vthread_t keeper, others[2];
    setenv("VTHREAD_PIN", "abort", 1);
    setenv("VTHREAD_PIN_MS", "3600000", 1);
    stand_still(&keeper, others);
    for (;;)
        pause();
}

static void must_have(const char *text, const char *words)
{
    ck_assert_msg(strstr(text, words) != NULL, "\"%s\" is not in:\n%s", words,
                  text);
}

START_TEST(the_chain_is_told_at_once)
{
    static char text[1 << 16];
    int status = end_of_child(stand_still_for_good, text, sizeof text);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    must_have(text, "no carrier is left: all 2 of scheduler");
    must_have(text, "'owner' held mutex");
    must_have(text, "it waits for mutex");
    must_have(text, "'keeper' (RUNNABLE) is the one that is waited for");
    must_have(text, "'wanting' waits for pthread mutex");
    must_have(text, "(VTHREAD_MAX_CARRIERS)");
}
END_TEST

/* The keeper has a carrier: then it is only slow. */
static void go_on(void)
{
    setenv("VTHREAD_PIN", "abort", 1);
    setenv("VTHREAD_PIN_MS", "3600000", 1);
    vthread_scheduler_t *s = NULL;
    vthread_scheduler_attr_t attr = {.parallelism = 1, .max_carriers = 3};
    ck_assert_int_eq(vthread_scheduler_create(&s, &attr), 0);
    vthread_t keeper = start_named(s, "keeper", keeps_the_mutex);
    until_waiting(keeper);
    vthread_t owner = start_named(s, "owner", holds_one_and_wants_the_other);
    until_so_many_wait(1);
    vthread_t wanting = start_named(s, "wanting", wants_the_native_one);
    until_so_many_wait(2);
    for (int i = 0; i < 20; i++)
        join(start_on(s, sleeps_a_moment, NULL));
    vthread_unpark(keeper);
    join(keeper);
    join(owner);
    join(wanting);
    shut_down(s);
}

START_TEST(nothing_is_told_while_a_carrier_is_left)
{
    char text[4096];
    int status = end_of_child(go_on, text, sizeof text);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s", text);
    ck_assert_ptr_null(strstr(text, "no carrier is left"));
}
END_TEST

int main(void)
{
    if (SANITIZER_STACKS_OWN_LOCKS)
        return 77; /* skipped */
    Suite *suite = suite_create("pin_chain");
    TCase *cases = new_case(suite, "chain");
    tcase_add_test(cases, the_chain_is_told_at_once);
    tcase_add_test(cases, nothing_is_told_while_a_carrier_is_left);
    return run_suite(suite);
}
