/*
 * fork_test.c - a forked child may exec; all else it asks of the library
 * aborts in words.
 */
#include <spawn.h>

#include "tests/children.h"

extern char **environ;

static void nothing(void *arg)
{
    (void)arg;
}

static vthread_t parked;
static vthread_scheduler_t *scheduler;
static vthread_scope_t *opened;
static vthread_channel_t *channel;
static vthread_future_t future;

static vthread_scheduler_t *made_scheduler;
static vthread_scheduler_stats_t stats;
static vthread_continuation_t *continuation;
static vthread_scope_t *scope;
static vthread_carrier_local_t *local;
static vthread_scoped_t scoped;
static vthread_key_t key;
static size_t chosen;
static vthread_semaphore_t semaphore;
static vthread_barrier_t barrier = VTHREAD_BARRIER_INITIALIZER(2);
static vthread_latch_t latch = VTHREAD_LATCH_INITIALIZER(1);
static vthread_mutex_t mutex;
static vthread_cond_t cond;
static vthread_once_t once;

static int returns_zero(void *arg)
{
    (void)arg;
    return 0;
}

/* What a child may not do: a name, and how it goes about it. */
#define CALLS(CALL)                                                           \
    CALL(create, vthread_create(NULL, NULL, parks, NULL))                     \
    CALL(join, vthread_join(parked, NULL))                                    \
    CALL(detach, vthread_detach(parked))                                      \
    CALL(self, vthread_self())                                                \
    CALL(yield, vthread_yield())                                              \
    CALL(sleep, vthread_sleep(VTHREAD_MS))                                    \
    CALL(park, vthread_park_until(vthread_after(VTHREAD_MS)))                 \
    CALL(unpark, vthread_unpark(parked))                                      \
    CALL(interrupt, vthread_interrupt(parked))                                \
    CALL(cancel_disable, vthread_cancel_disable())                            \
    CALL(testcancel, vthread_testcancel())                                    \
    CALL(cleanup_push, vthread_cleanup_push(nothing, NULL))                   \
    CALL(cleanup_pop, vthread_cleanup_pop(false))                             \
    CALL(pin, vthread_pin())                                                  \
    CALL(bind, vthread_bind())                                                \
    CALL(block, vthread_block(parks, NULL, NULL))                             \
    CALL(scheduler_create, vthread_scheduler_create(&made_scheduler, NULL))   \
    CALL(scheduler_stats, vthread_scheduler_stats(scheduler, &stats))         \
    CALL(scheduler_shutdown,                                                  \
         vthread_scheduler_shutdown(scheduler, VTHREAD_NEVER))                \
    CALL(continuation_create,                                                 \
         vthread_continuation_create(&continuation, NULL, nothing, NULL))     \
    CALL(scope_open, vthread_scope_open(&scope, NULL))                        \
    CALL(scope_join, vthread_scope_join(opened))                              \
    CALL(scope_cancel, vthread_scope_cancel(opened))                          \
    CALL(key_create, vthread_key_create(&key, NULL))                          \
    CALL(key_get, vthread_key_get(1))                                         \
    CALL(scoped_get, vthread_scoped_get(&scoped))                             \
    CALL(carrier_local_create,                                                \
         vthread_carrier_local_create(&local, parks, NULL, NULL))             \
    CALL(channel_trysend, vthread_channel_trysend(channel, &parked))          \
    CALL(channel_tryreceive, vthread_channel_tryreceive(channel, &parked))    \
    CALL(tryselect, vthread_tryselect(NULL, 0, &chosen))                      \
    CALL(future_set, vthread_future_set(&future, NULL))                       \
    CALL(future_await, vthread_future_await(&future, NULL))                   \
    CALL(semaphore_wait, vthread_semaphore_wait(&semaphore))                  \
    CALL(barrier_wait, vthread_barrier_wait(&barrier, NULL))                  \
    CALL(latch_wait, vthread_latch_wait(&latch))                              \
    CALL(once, vthread_once(&once, returns_zero, NULL))                       \
    CALL(cond_wait, vthread_cond_wait(&cond, &mutex))

#define DEFINE(name, call)                                                    \
    static void call_##name(void)                                             \
    {                                                                         \
        (void)(call);                                                         \
    }
CALLS(DEFINE)

#define ENTER(name, call) call_##name,
static void (*const calls[])(void) = {CALLS(ENTER)};

static int call_number;

static void use_after_fork(void)
{
    int status;
    parked = child_start("parked", parks, NULL);
    until_waiting(parked);
    scheduler = vthread_scheduler_default();
    expect(vthread_scope_open(&opened, NULL) == 0);
    expect(vthread_channel_create(&channel, sizeof(void *), 1) == 0);
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        calls[call_number]();
        _exit(0);
    }
    expect(waitpid(child, &status, 0) == child);
    expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    /* The parent goes on as if nothing had been. */
    expect(vthread_unpark(parked) == 0);
    expect(vthread_join(parked, NULL) == 0);
}

START_TEST(a_call_in_a_forked_child_aborts_in_words)
{
    call_number = _i;
    ends_well(use_after_fork);
    said("forked child");
}
END_TEST

static void exec_true(void)
{
    execl("/bin/true", "true", (char *)NULL);
    _exit(1);
}

static void *forks_and_execs(void *arg)
{
    int status;
    pid_t child = fork();
    if (child == 0)
        exec_true();
    expect(waitpid(child, &status, 0) == child && status == 0);
    /* So do those who do it for us. */
    char *argv[] = {"true", NULL};
    expect(posix_spawn(&child, "/bin/true", NULL, NULL, argv, environ) == 0);
    expect(waitpid(child, &status, 0) == child && status == 0);
    return arg;
}

static void exec_after_fork(void)
{
    vthread_join(child_start("forker", forks_and_execs, NULL), NULL);
    forks_and_execs(NULL);
    vthread_t t = child_start("after", parks, NULL);
    vthread_unpark(t);
    expect(vthread_join(t, NULL) == 0);
}

START_TEST(a_forked_child_may_exec)
{
    ends_well(exec_after_fork);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fork");
    TCase *cases = new_case(suite, "fork");
    tcase_add_loop_test(cases, a_call_in_a_forked_child_aborts_in_words, 0,
                        COUNT_OF(calls));
    tcase_add_test(cases, a_forked_child_may_exec);
    return run_suite(suite);
}
