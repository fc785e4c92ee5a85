/*
 * target_test.c - opening processes: what is said of those that cannot be
 * opened.  What goes well is in the tests of the commands.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "tests/support.h"
#include "tools/inspector/inspector.h"
#include "tools/inspector/target.h"

static struct target target;
static char said[4096];

/* Opens it, with what is complained of in `said`. */
static int open_text(const char *text)
{
    int kept = dup(2), ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    dup2(ends[1], 2);
    close(ends[1]);
    int status = target_open(&target, "dump", text);
    fflush(stderr);
    dup2(kept, 2);
    close(kept);
    ssize_t got = read(ends[0], said, sizeof said - 1);
    said[got > 0 ? got : 0] = '\0';
    close(ends[0]);
    return status;
}

static int open_pid(pid_t pid)
{
    char text[24];
    snprintf(text, sizeof text, "%d", (int)pid);
    return open_text(text);
}

/* A child that does not use the library, and waits until it is killed.  It has
 * given back what it heard, so it is loaded. */
static pid_t start_other_program(void)
{
    int ends[2];
    char byte = 'x';
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDIN_FILENO);
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execlp("cat", "cat", (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    ck_assert_int_eq(write(ends[0], &byte, 1), 1);
    ck_assert_int_eq(read(ends[0], &byte, 1), 1);
    return pid; /* which would end if we closed the other end */
}

static void end_child(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

START_TEST(what_is_no_number_is_a_matter_of_usage)
{
    static const char *const texts[] = {
        "", "abc", "12x", "-4", "0", "99999999999999999999", "1.5"};
    for (unsigned i = 0; i < COUNT_OF(texts); i++) {
        ck_assert_int_eq(open_text(texts[i]), STATUS_USAGE);
        ck_assert_ptr_nonnull(strstr(said, "is no process number"));
        ck_assert_ptr_nonnull(strstr(said, "vthread dump --help"));
    }
}
END_TEST

START_TEST(a_process_that_is_not_there_is_said_not_to_be)
{
    pid_t pid = start_other_program();
    end_child(pid);
    ck_assert_int_eq(open_pid(pid), STATUS_TARGET);
    ck_assert_ptr_nonnull(strstr(said, "there is no process"));
}
END_TEST

START_TEST(a_process_that_has_ended_is_said_to_have)
{
    siginfo_t info;
    pid_t pid = start_other_program();
    kill(pid, SIGKILL);
    waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
    ck_assert_int_eq(open_pid(pid), STATUS_TARGET);
    ck_assert_ptr_nonnull(strstr(said, "has ended"));
    waitpid(pid, NULL, 0);
}
END_TEST

START_TEST(a_process_without_the_library_is_told_from_one_with_it)
{
    pid_t pid = start_other_program();
    ck_assert_int_eq(open_pid(pid), STATUS_TARGET);
    ck_assert_ptr_nonnull(strstr(said, "does not use libvthread"));
    end_child(pid);
}
END_TEST

/* The program begins itself anew, again and again. */
START_TEST(a_process_that_begins_another_program_is_looked_at_again)
{
    char program[] = "again.XXXXXX";
    static const char text[] = "#!/bin/sh\nexec \"$0\"\n";
    int fd = mkstemp(program);
    ck_assert_int_eq(write(fd, text, sizeof text - 1), sizeof text - 1);
    ck_assert_int_eq(fchmod(fd, 0700), 0);
    close(fd);
    pid_t pid = fork();
    if (pid == 0) {
        char path[64];
        snprintf(path, sizeof path, "./%s", program);
        execl(path, path, (char *)NULL);
        _exit(127);
    }
    while (open_pid(pid) == STATUS_FINE) /* it is still as we are */
        usleep(1000);
    for (int i = 0; i < 1000; i++) {
        ck_assert_int_eq(open_pid(pid), STATUS_TARGET);
        ck_assert_msg(strstr(said, "does not use libvthread"), "%s", said);
    }
    end_child(pid);
    unlink(program);
}
END_TEST

static bool is_the_kernel_s(const char *pid)
{
    char path[64], name[32] = "";
    snprintf(path, sizeof path, "/proc/%s/comm", pid);
    FILE *file = fopen(path, "r");
    bool is_it = file && fgets(name, sizeof name, file)
                 && strcmp(name, "kthreadd\n") == 0;
    if (file)
        fclose(file);
    return is_it;
}

START_TEST(a_thread_of_the_kernel_is_told_from_a_process)
{
    if (geteuid() != 0 || !is_the_kernel_s("2"))
        return;
    ck_assert_int_eq(open_text("2"), STATUS_TARGET);
    ck_assert_ptr_nonnull(strstr(said, "is a thread of the kernel"));
}
END_TEST

START_TEST(a_process_of_somebody_else_is_refused)
{
    if (geteuid() != 0)
        return;
    pid_t other = start_other_program();
    pid_t pid = fork();
    if (pid == 0) {
        bool gave_up = setgroups(0, NULL) == 0 && setgid(65534) == 0
                       && setuid(65534) == 0;
        bool refused = gave_up && open_pid(other) == STATUS_TARGET
                       && strstr(said, "no permission");
        _exit(refused ? 0 : 1);
    }
    int status;
    waitpid(pid, &status, 0);
    end_child(other);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(memory_is_read_and_an_end_is_noticed)
{
    static const char here[] = "what is here is there";
    char copy[sizeof here];
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    target = (struct target){.pid = pid};
    ck_assert(!target_is_alive(&target));
    open_pid(pid);
    ck_assert(target_is_alive(&target));
    ck_assert_int_eq(target_read(&target, (uintptr_t)here, copy, sizeof copy),
                     STATUS_FINE);
    ck_assert_str_eq(copy, here);
    ck_assert_int_eq(target_read(&target, 16, copy, sizeof copy),
                     STATUS_TARGET);
    end_child(pid);
    ck_assert_int_eq(target_read(&target, (uintptr_t)here, copy, sizeof copy),
                     STATUS_DIED);
    ck_assert(!target_is_alive(&target));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("target");
    TCase *cases = tcase_create("processes");
    suite_add_tcase(suite, cases);
    tcase_add_test(cases, what_is_no_number_is_a_matter_of_usage);
    tcase_add_test(cases, a_process_that_is_not_there_is_said_not_to_be);
    tcase_add_test(cases, a_process_that_has_ended_is_said_to_have);
    tcase_add_test(cases,
                   a_process_without_the_library_is_told_from_one_with_it);
    tcase_add_test(
        cases, a_process_that_begins_another_program_is_looked_at_again);
    tcase_add_test(cases, a_thread_of_the_kernel_is_told_from_a_process);
    tcase_add_test(cases, a_process_of_somebody_else_is_refused);
    tcase_add_test(cases, memory_is_read_and_an_end_is_noticed);
    return run_suite(suite);
}
