/*
 * control_process_test.c - the control socket and other processes: whose it
 * is, what a forked child has of it, and how it ends with its process.
 */
#include <grp.h>

#include "tests/control_clients.h"

static void ends_with_status_zero(pid_t child)
{
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}

/* ---- Users -------------------------------------------------------------- */

START_TEST(another_user_is_turned_away)
{
    if (geteuid() != 0)
        return;
    char name[64], byte;
    struct sockaddr_un address;
    snprintf(name, sizeof name, CONTROL_NAME_FORMAT, 0u, (unsigned)getpid());
    socklen_t size = address_of(&address, name);
    open_control();
    pid_t child = fork();
    if (child == 0) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        expect(setgroups(0, NULL) == 0 && setgid(65534) == 0
               && setuid(65534) == 0);
        expect(connect(fd, (struct sockaddr *)&address, size) == 0);
        send(fd, "stats\n", 6, MSG_NOSIGNAL);
        expect(read(fd, &byte, 1) <= 0);
        _exit(0);
    }
    ends_with_status_zero(child);
    is_whole(ask("stats\n"));
    close_control();
}
END_TEST

/* ---- Forks -------------------------------------------------------------- */

START_TEST(a_forked_child_has_none_and_holds_none)
{
    int until_end[2], begun[2];
    char byte;
    control_patience_ms = 1000000;
    ck_assert_int_eq(pipe(until_end), 0);
    ck_assert_int_eq(pipe(begun), 0);
    open_control();
    int fd = call(getpid());
    say(fd, "threads 0");
    start_crowd(1); /* by now it is being served, or about to be */
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        close(fd);
        close(until_end[1]);
        expect(try_call(getpid()) == -1);
        expect(write(begun[1], "", 1) == 1);
        expect(read(until_end[0], &byte, 1) == 0);
        _exit(0);
    }
    ck_assert_int_eq(read(begun[0], &byte, 1), 1);
    close_control();
    hear(fd); /* it ends, although the child lives */
    ck_assert_int_eq(try_call(parent), -1);
    open_control(); /* the name is free */
    close_control();
    close(until_end[0]);
    close(until_end[1]);
    close(begun[0]);
    close(begun[1]);
    ends_with_status_zero(child);
    end_crowd(1);
}
END_TEST

/* Each client comes just when a child is made; it hears the end all the same,
 * though all the children live. */
START_TEST(nor_does_one_that_is_forked_while_a_client_comes_or_goes)
{
    pid_t children[100];
    int until_end[2], count = getenv("STRESS") ? 100 : 20;
    ck_assert_int_eq(pipe(until_end), 0);
    open_control();
    for (int i = 0; i < count; i++) {
        char byte;
        int fd = call(getpid());
        say(fd, i % 2 ? "stats\n" : "nonsense\n");
        if ((children[i] = fork()) == 0) {
            close(fd);
            close(until_end[1]);
            expect(read(until_end[0], &byte, 1) == 0);
            _exit(0);
        }
        hear(fd);
    }
    close(until_end[0]);
    close(until_end[1]);
    for (int i = 0; i < count; i++)
        ends_with_status_zero(children[i]);
    close_control();
}
END_TEST

/* ---- The end of a process ----------------------------------------------- */

/* A child with a crowd that exits when a byte has come. */
static pid_t start_child(int *tell)
{
    int ends[2], ready[2];
    char byte;
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        expect(vthread_control_start() == 0);
        start_crowd(COUNT_OF(crowd));
        expect(write(ready[1], "x", 1) == 1 && read(ends[0], &byte, 1) == 1);
        exit(0);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    close(ends[0]);
    *tell = ends[1];
    return child;
}

/* A connection with a child that is told to end while it answers. */
static int call_one_that_ends(pid_t *child)
{
    int tell;
    char first[3];
    *child = start_child(&tell);
    int fd = call(*child);
    say(fd, "threads 100000\n");
    ck_assert_int_eq(read(fd, first, 3), 3);
    ck_assert_int_eq(write(tell, "x", 1), 1);
    return fd;
}

START_TEST(who_is_being_served_gets_the_rest_when_the_process_ends)
{
    pid_t child;
    int fd = call_one_that_ends(&child);
    ck_assert(ends_with(hear(fd), "\nend\n"));
    ends_with_status_zero(child);
}
END_TEST

START_TEST(one_that_reads_nothing_does_not_keep_the_process)
{
    pid_t child;
    int fd = call_one_that_ends(&child);
    ends_with_status_zero(child);
    close(fd);
}
END_TEST

START_TEST(a_process_calls_back_who_has_asked_for_it)
{
    char name[64], variable[80];
    struct sockaddr_un address;
    snprintf(name, sizeof name, "vthread-test/%d", (int)getpid());
    snprintf(variable, sizeof variable, "@%s", name);
    socklen_t size = address_of(&address, name);
    int listener = open_socket();
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    pid_t child = fork();
    if (child == 0) {
        setenv("VTHREAD_CONTROL", variable, 1);
        expect(join(start(return_argument, NULL)) == NULL);
        exit(0); /* at once: it must not be missed */
    }
    int fd = accept(listener, NULL, NULL);
    struct ucred who;
    ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who,
                                &(socklen_t){sizeof who}),
                     0);
    ck_assert_int_eq(who.pid, child);
    say(fd, "stats\n");
    is_whole(hear(fd));
    ends_with_status_zero(child);
    close(listener);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("control_process");
    TCase *users = new_case(suite, "users");
    tcase_add_test(users, another_user_is_turned_away);
    TCase *forks = new_case(suite, "forks");
    tcase_add_test(forks, a_forked_child_has_none_and_holds_none);
    tcase_add_test(forks,
                   nor_does_one_that_is_forked_while_a_client_comes_or_goes);
    TCase *end = new_case(suite, "the end of a process");
    tcase_add_test(end,
                   who_is_being_served_gets_the_rest_when_the_process_ends);
    tcase_add_test(end, one_that_reads_nothing_does_not_keep_the_process);
    tcase_add_test(end, a_process_calls_back_who_has_asked_for_it);
    return run_suite(suite);
}
