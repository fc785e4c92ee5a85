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

static void calls(int which)
{
    vthread_scheduler_t *s;
    vthread_scheduler_stats_t stats;
    vthread_continuation_t *c;
    vthread_scope_t *scope;
    vthread_carrier_local_t *local;
    static vthread_scoped_t scoped;
    vthread_key_t key;
    size_t size;
    switch (which) {
    case 0:
        vthread_create(NULL, NULL, parks, NULL);
        break;
    case 1:
        vthread_join(parked, NULL);
        break;
    case 2:
        vthread_unpark(parked);
        break;
    case 3:
        vthread_interrupt(parked);
        break;
    case 4:
        vthread_park_until(vthread_after(VTHREAD_MS));
        break;
    case 5:
        vthread_sleep(VTHREAD_MS);
        break;
    case 6:
        vthread_self();
        break;
    case 7:
        vthread_scheduler_create(&s, NULL);
        break;
    case 8:
        vthread_scheduler_shutdown(scheduler, VTHREAD_NEVER);
        break;
    case 9:
        vthread_detach(parked);
        break;
    case 10:
        vthread_yield();
        break;
    case 11:
        vthread_scheduler_stats(scheduler, &stats);
        break;
    case 12:
        vthread_continuation_create(&c, NULL, nothing, NULL);
        break;
    case 13:
        vthread_scope_open(&scope, NULL);
        break;
    case 14:
        vthread_scope_join(opened);
        break;
    case 15:
        vthread_scope_cancel(opened);
        break;
    case 16:
        vthread_key_create(&key, NULL);
        break;
    case 17:
        vthread_key_get(1);
        break;
    case 18:
        vthread_scoped_get(&scoped);
        break;
    case 19:
        vthread_carrier_local_create(&local, parks, NULL, NULL);
        break;
    case 20:
        vthread_cleanup_push(nothing, NULL);
        break;
    case 21:
        vthread_cleanup_pop(false);
        break;
    case 22:
        vthread_cancel_disable();
        break;
    case 23:
        vthread_testcancel();
        break;
    case 24:
        vthread_channel_trysend(channel, &parked);
        break;
    case 25:
        vthread_channel_tryreceive(channel, &parked);
        break;
    case 26:
        vthread_tryselect(NULL, 0, &size);
        break;
    case 27:
        vthread_future_set(&future, NULL);
        break;
    case 28:
        vthread_future_await(&future, NULL);
        break;
    }
}

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
        calls(call_number);
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
                        29);
    tcase_add_test(cases, a_forked_child_may_exec);
    return run_suite(suite);
}
