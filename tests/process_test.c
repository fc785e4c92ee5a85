/*
 * process_test.c - starting programs, and waiting for them.
 */
#include <signal.h>
#include <sys/wait.h>

#include <vthread/process.h>

#include "platform/memory.h"
#include "tests/descriptors.h"

static pid_t spawn(char *const argv[], const vthread_spawn_attr_t *attr)
{
    pid_t pid = 0;
    int err = vthread_spawn(&pid, argv[0], argv, attr);
    if (err != 0)
        ck_abort_msg("%s: %s", argv[0], strerror(err));
    require(pid > 0);
    return pid;
}

static pid_t spawn_shell(const char *command,
                         const vthread_spawn_attr_t *attr)
{
    char *argv[] = {"sh", "-c", (char *)command, NULL};
    return spawn(argv, attr);
}

static int status_of(pid_t pid)
{
    int status = -1;
    require(vthread_waitpid(pid, &status) == 0);
    return status;
}

/* What the command writes to its standard output, up to its end. */
static void output_of(const char *command, vthread_spawn_attr_t attr,
                      char *text, size_t size)
{
    int ends[2];
    size_t length = 0, n;
    require(pipe2(ends, O_CLOEXEC) == 0);
    vthread_spawn_fd_t fds[] = {{STDOUT_FILENO, ends[1]}};
    if (attr.fd_count == 0) {
        attr.fds = fds;
        attr.fd_count = 1;
    }
    pid_t pid = spawn_shell(command, &attr);
    close(ends[1]);
    while (require(vthread_read(ends[0], text + length, size - 1 - length, &n)
                   == 0),
           n > 0)
        length += n;
    text[length] = '\0';
    vthread_close(ends[0]);
    require(status_of(pid) == 0);
}

/* ---- Ends --------------------------------------------------------------- */

static void *children_end(void *arg)
{
    int status = status_of(spawn_shell("exit 7", NULL));
    require(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    require(status_of(spawn_shell("exit 0", NULL)) == 0);
    /* Default dispositions and an empty mask: it can be killed. */
    pid_t pid = spawn_shell("exec sleep 100", NULL);
    require(vthread_waitpid_until(pid, &status, 0) == ETIMEDOUT);
    require(kill(pid, SIGTERM) == 0);
    status = status_of(pid);
    require(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    require(vthread_waitpid(pid, &status) == ECHILD);
    require(vthread_waitpid(spawn_shell("exit 3", NULL), NULL) == 0);
    return arg;
}

START_TEST(how_a_child_ended_is_told)
{
    on_both_kinds(children_end);
}
END_TEST

static void *starts_children(void *arg)
{
    for (int i = 0; i < 3; i++) {
        int status = status_of(spawn_shell("exit 5", NULL));
        require(WEXITSTATUS(status) == 5);
    }
    return arg;
}

START_TEST(many_start_children_and_wait_on_one_carrier)
{
    vthread_scheduler_t *s = scheduler_of(1);
    vthread_t threads[20];
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start_on(s, starts_children, NULL);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
    shut_down(s);
}
END_TEST

/* ---- What a child is given ---------------------------------------------- */

static void *sees_signals(void *arg)
{
    char text[1000];
    output_of("exec grep Sig.*: /proc/self/status", (vthread_spawn_attr_t){0},
              text, sizeof text);
    require(strstr(text, "SigBlk:\t0000000000000000"));
    const char *ignored = strstr(text, "SigIgn:\t");
    require(ignored);
    /* But libc's own, which it ignores in children. */
    require((strtoull(ignored + 8, NULL, 16) & 0xfffffffe7fffffff) == 0);
    return arg;
}

START_TEST(a_child_has_no_signal_blocked_or_ignored)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    on_both_kinds(sees_signals);
}
END_TEST

static void *gives_things(void *arg)
{
    char text[1000];
    char *env[] = {"ONE=1", "PATH=/usr/bin:/bin", NULL};
    vthread_spawn_attr_t attr = {.env = env, .directory = "/usr"};
    output_of("echo $ONE $HOME $PWD", attr, text, sizeof text);
    require(strcmp(text, "1 /usr\n") == 0);
    attr = (vthread_spawn_attr_t){.flags = VTHREAD_SPAWN_SESSION};
    output_of("exec ps -o sid= -p $$", attr, text, sizeof text);
    require(atoi(text) != (int)getsid(0));
    attr.flags = VTHREAD_SPAWN_GROUP;
    pid_t pid = spawn_shell("exec sleep 100", &attr);
    require(getpgid(pid) == pid);
    require(kill(-pid, SIGKILL) == 0);
    require(WTERMSIG(status_of(pid)) == SIGKILL);
    return arg;
}

START_TEST(a_child_gets_environment_directory_session_and_group)
{
    on_both_kinds(gives_things);
}
END_TEST

static void write_to(int fd, const char *text)
{
    require(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

/* Files that tell which they are. */
static int file_saying(const char *text)
{
    char path[] = "/tmp/vthread-fds-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    require(fd >= 0);
    unlink(path);
    write_to(fd, text);
    require(lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

START_TEST(descriptors_are_given_all_at_once)
{
    char text[100];
    int ends[2], one = file_saying("one"), two = file_saying("two");
    require(pipe2(ends, O_CLOEXEC) == 0);
    vthread_spawn_fd_t fds[]
        = {{STDOUT_FILENO, ends[1]}, {one, two}, {two, one}};
    vthread_spawn_attr_t attr = {.fds = fds, .fd_count = 3};
    snprintf(text, sizeof text, "cat <&%d; cat <&%d", one, two);
    pid_t pid = spawn_shell(text, &attr);
    close(ends[1]);
    require(status_of(pid) == 0);
    ck_assert_int_eq(read(ends[0], text, sizeof text), 6);
    ck_assert_mem_eq(text, "twoone", 6);
    close(ends[0]);
    close(one);
    close(two);
}
END_TEST

START_TEST(a_child_gets_no_other_descriptors_if_asked_for)
{
    char text[1000];
    int ends[2], open_fd = dup(0);
    require(open_fd >= 0 && pipe2(ends, O_CLOEXEC) == 0);
    vthread_spawn_fd_t fds[] = {{STDOUT_FILENO, ends[1]}, {5, 0}};
    vthread_spawn_attr_t attr = {.fds = fds,
                                 .fd_count = 2,
                                 .flags = VTHREAD_SPAWN_CLOSE_OTHERS};
#if !defined HAVE_POSIX_SPAWN_FILE_ACTIONS_ADDCLOSEFROM_NP
    static char *const nothing[] = {"true", NULL};
    pid_t none = 0;
    ck_assert_int_eq(vthread_spawn(&none, "true", nothing, &attr), ENOSYS);
    ck_assert_int_eq(none, 0);
    return;
#endif
    pid_t pid = spawn_shell("cd /proc/self/fd; echo *", &attr);
    close(ends[1]);
    require(status_of(pid) == 0);
    ssize_t n = read(ends[0], text, sizeof text - 1);
    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    /* 3 is the shell's look at the directory. */
    ck_assert_str_eq(text, "0 1 2 3 5\n");
    close(ends[0]);
    close(open_fd);
}
END_TEST

/* ---- A pipeline --------------------------------------------------------- */

struct stage {
    char *const *argv;
    int in, out; /* given to it */
    pid_t pid;
};

static void start_stage(struct stage *stage)
{
    vthread_spawn_fd_t fds[] = {{0, stage->in}, {1, stage->out}};
    vthread_spawn_attr_t attr = {.fds = fds, .fd_count = 2};
    stage->pid = spawn(stage->argv, &attr);
    close(stage->in);
    close(stage->out);
}

static void *feeds(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char line[32];
    for (int i = 20000; i > 0; i--) {
        int length = snprintf(line, sizeof line, "%05d\n", i % 5000);
        require(vthread_write_all(fd, line, (size_t)length) == 0);
    }
    require(vthread_close(fd) == 0);
    return NULL;
}

/* sort | uniq -c | wc -l, fed and read by threads. */
static void *runs_pipeline(void *arg)
{
    char *sort[] = {"sort", NULL}, *uniq[] = {"uniq", "-c", NULL},
         *wc[] = {"wc", "-l", NULL};
    int pipes[4][2];
    char text[64];
    size_t length = 0, n;
    for (int i = 0; i < 4; i++)
        require(pipe2(pipes[i], O_CLOEXEC) == 0);
    struct stage stages[] = {{sort, pipes[0][0], pipes[1][1], 0},
                             {uniq, pipes[1][0], pipes[2][1], 0},
                             {wc, pipes[2][0], pipes[3][1], 0}};
    for (int i = 0; i < 3; i++)
        start_stage(&stages[i]);
    vthread_t feeder = start(feeds, (void *)(intptr_t)pipes[0][1]);
    while (require(vthread_read(pipes[3][0], text + length,
                                sizeof text - 1 - length, &n)
                   == 0),
           n > 0)
        length += n;
    text[length] = '\0';
    require(atoi(text) == 5000);
    join(feeder);
    vthread_close(pipes[3][0]);
    for (int i = 0; i < 3; i++)
        require(status_of(stages[i].pid) == 0);
    return arg;
}

START_TEST(pipelines_run_as_in_a_shell)
{
    vthread_t threads[3];
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start(runs_pipeline, NULL);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        join(threads[i]);
}
END_TEST

/* ---- Waiting that ends otherwise ---------------------------------------- */

static void *waits_for(void *arg)
{
    return as_result(vthread_waitpid((pid_t)(intptr_t)arg, NULL));
}

static void kill_and_reap(pid_t pid)
{
    require(kill(pid, SIGKILL) == 0);
    require(WTERMSIG(status_of(pid)) == SIGKILL);
}

START_TEST(a_wait_is_cancelled_or_late_and_the_child_is_still_there)
{
    pid_t pid = spawn_shell("exec sleep 100", NULL);
    vthread_t t = start(waits_for, (void *)(intptr_t)pid);
    until_waiting(t);
    ck_assert_int_eq(vthread_interrupt(t), 0);
    ck_assert_int_eq(as_error(join(t)), ECANCELED);
    ck_assert_int_eq(
        vthread_waitpid_until(pid, NULL, vthread_after(VTHREAD_MS)),
        ETIMEDOUT);
    kill_and_reap(pid);
}
END_TEST

START_TEST(of_several_that_wait_one_gets_the_child)
{
    pid_t pid = spawn_shell("exec sleep 100", NULL);
    vthread_t threads[8];
    int got = 0;
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        threads[i] = start(waits_for, (void *)(intptr_t)pid);
    for (unsigned i = 0; i < COUNT_OF(threads); i++)
        until_waiting(threads[i]);
    require(kill(pid, SIGKILL) == 0);
    for (unsigned i = 0; i < COUNT_OF(threads); i++) {
        int err = as_error(join(threads[i]));
        ck_assert(err == 0 || err == ECHILD);
        got += err == 0;
    }
    ck_assert_int_eq(got, 1);
}
END_TEST

/* ---- Errors ------------------------------------------------------------- */

/* What is found out in the child.  Valgrind's child cannot tell. */
static void make_mistakes_in_child(void)
{
    char *argv[] = {"true", NULL};
    pid_t pid = -7;
    vthread_spawn_fd_t fds[] = {{0, 9999}};
    vthread_spawn_attr_t attr = {.fds = fds, .fd_count = 1};
    ck_assert_int_eq(vthread_spawn(&pid, "no-such-program", argv, NULL),
                     ENOENT);
    ck_assert_int_eq(vthread_spawn(&pid, "/dev/null", argv, NULL), EACCES);
    ck_assert_int_eq(vthread_spawn(&pid, "true", argv, &attr), EBADF);
    attr = (vthread_spawn_attr_t){.directory = "/nowhere"};
    ck_assert_int_eq(vthread_spawn(&pid, "true", argv, &attr), ENOENT);
    ck_assert_int_eq(pid, -7);
}

static void *makes_mistakes(void *arg)
{
    char *argv[] = {"true", NULL};
    pid_t pid = -7;
    vthread_spawn_fd_t fds[] = {{-1, 0}};
    vthread_spawn_attr_t attr = {.fds = fds, .fd_count = 1};
    if (!sanitizer_is_valgrind)
        make_mistakes_in_child();
    ck_assert_int_eq(vthread_spawn(&pid, "true", argv, &attr), EINVAL);
    attr = (vthread_spawn_attr_t){.flags = 0x100};
    ck_assert_int_eq(vthread_spawn(&pid, "true", argv, &attr), EINVAL);
    attr = (vthread_spawn_attr_t){.fd_count = 1};
    ck_assert_int_eq(vthread_spawn(&pid, "true", argv, &attr), EINVAL);
    ck_assert_int_eq(vthread_spawn(NULL, "true", argv, NULL), EINVAL);
    ck_assert_int_eq(vthread_spawn(&pid, NULL, argv, NULL), EINVAL);
    ck_assert_int_eq(vthread_spawn(&pid, "true", NULL, NULL), EINVAL);
    ck_assert_int_eq(pid, -7);
    ck_assert_int_eq(vthread_waitpid(0, NULL), EINVAL);
    ck_assert_int_eq(vthread_waitpid(-1, NULL), EINVAL);
    ck_assert_int_eq(vthread_waitpid(getpid(), NULL), ECHILD);
    return arg;
}

START_TEST(mistakes_are_refused_and_no_child_is_left)
{
    on_both_kinds(makes_mistakes);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
}
END_TEST

START_TEST(scarcity_is_an_error_and_passes)
{
    struct scarcity scarcity;
    char *argv[] = {"true", NULL};
    pid_t pid = spawn_shell("exec sleep 100", NULL), none = -7;
    memory_fail_after(1);
    ck_assert_int_eq(vthread_spawn(&none, "true", argv, NULL), ENOMEM);
    memory_fail_after(0);
    ck_assert_int_eq(none, -7);
    take_descriptors(&scarcity);
    int err = vthread_waitpid_until(pid, NULL, 0);
    /* Where there is no pidfd it takes none. */
    ck_assert_int_eq(err, sanitizer_is_valgrind ? ETIMEDOUT : EMFILE);
    give_descriptors(&scarcity, INT32_MAX);
    kill_and_reap(pid);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("process");
    TCase *cases = new_case(suite, "children");
    tcase_add_test(cases, how_a_child_ended_is_told);
    tcase_add_test(cases, many_start_children_and_wait_on_one_carrier);
    tcase_add_test(cases, a_child_has_no_signal_blocked_or_ignored);
    tcase_add_test(cases,
                   a_child_gets_environment_directory_session_and_group);
    tcase_add_test(cases, descriptors_are_given_all_at_once);
    tcase_add_test(cases, a_child_gets_no_other_descriptors_if_asked_for);
    tcase_add_test(cases, pipelines_run_as_in_a_shell);
    cases = new_case(suite, "errors");
    tcase_add_test(cases,
                   a_wait_is_cancelled_or_late_and_the_child_is_still_there);
    tcase_add_test(cases, of_several_that_wait_one_gets_the_child);
    tcase_add_test(cases, mistakes_are_refused_and_no_child_is_left);
    tcase_add_test(cases, scarcity_is_an_error_and_passes);
    return run_suite(suite);
}
