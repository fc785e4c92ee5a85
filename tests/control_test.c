/*
 * control_test.c - the control socket: what is answered, and clients that
 * behave badly.
 */
#include "platform/cpu.h"
#include "tests/control_clients.h"

/* ---- On and off --------------------------------------------------------- */

START_TEST(it_is_off_unless_asked_for)
{
    unsetenv("VTHREAD_CONTROL");
    join(start(return_argument, NULL));
    ck_assert_int_eq(try_call(getpid()), -1);
    ck_assert_int_eq(errno, ECONNREFUSED);
}
END_TEST

START_TEST(the_environment_turns_it_on)
{
    setenv("VTHREAD_CONTROL", "1", 1);
    join(start(return_argument, NULL));
    is_whole(ask("stats\n"));
}
END_TEST

static void asks_for_nonsense(void)
{
    setenv("VTHREAD_CONTROL", "perhaps", 1);
    expect(join(start(return_argument, NULL)) == NULL);
    expect(try_call(getpid()) == -1);
}

START_TEST(a_value_that_makes_no_sense_is_left_out)
{
    ends_well(asks_for_nonsense);
    said("VTHREAD_CONTROL=perhaps");
}
END_TEST

START_TEST(a_program_turns_it_on_and_off_again_and_again)
{
    for (unsigned i = 0; i < 20; i++) {
        ck_assert_int_eq(vthread_control_stop(), EALREADY);
        open_control();
        ck_assert_int_eq(vthread_control_start(), EALREADY);
        is_whole(ask("census\n"));
        close_control();
        ck_assert_int_eq(try_call(getpid()), -1);
    }
}
END_TEST

static void *opens_and_closes(void *arg)
{
    open_control();
    is_whole(ask("stats\n"));
    close_control();
    return arg;
}

START_TEST(a_virtual_thread_may_do_so_too)
{
    join(start(opens_and_closes, NULL));
}
END_TEST

START_TEST(a_name_that_is_taken_is_an_error)
{
    char name[64];
    struct sockaddr_un address;
    snprintf(name, sizeof name, CONTROL_NAME_FORMAT, (unsigned)geteuid(),
             (unsigned)getpid());
    socklen_t size = address_of(&address, name);
    int fd = open_socket();
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(vthread_control_start(), EADDRINUSE);
    close(fd);
    open_control();
    close_control();
}
END_TEST

/* ---- Answers ------------------------------------------------------------ */

START_TEST(stats_tell_of_threads_schedulers_and_carriers)
{
    open_control();
    start_crowd(3);
    const char *answer = ask("stats\n");
    is_whole(answer);
    has(answer, "\nprocess pid=");
    has(answer, " PARKED=3");
    has(answer, "\nscheduler number=1 name=vthread ");
    has(answer, " threads=3 created=3 ");
    has(answer, "\ncarrier scheduler=1 number=0 state=");
    end_crowd(3);
    close_control();
}
END_TEST

struct runner {
    atomic_int runs, may_end;
};

static void *stays_on_its_carrier(void *arg)
{
    struct runner *runner = arg;
    atomic_store(&runner->runs, 1);
    while (!atomic_load(&runner->may_end))
        cpu_relax();
    return NULL;
}

START_TEST(stats_tell_who_runs_on_a_carrier)
{
    static struct runner runner;
    char words[64];
    vthread_attr_t attr = {.name = "a runner"};
    open_control();
    vthread_t t = start_attr(attr, stays_on_its_carrier, &runner);
    while (!atomic_load(&runner.runs))
        sched_yield();
    snprintf(words, sizeof words, " thread=%llu name=a%%20runner ",
             (unsigned long long)t);
    const char *answer = ask("stats\n");
    has(answer, words);
    has(answer, " RUNNING=1");
    atomic_store(&runner.may_end, 1);
    join(t);
    close_control();
}
END_TEST

START_TEST(the_census_counts_by_entry_function)
{
    open_control();
    start_crowd(5);
    const char *answer = ask("census\n");
    is_whole(answer);
    has(answer, "\nfunction entry=");
    has(answer, " threads=5 ended=0 ");
    end_crowd(5);
    close_control();
}
END_TEST

static unsigned count_lines(const char *answer, const char *beginning)
{
    unsigned count = 0;
    while ((answer = strstr(answer, beginning)) != NULL) {
        answer++;
        count++;
    }
    return count;
}

START_TEST(threads_are_listed_one_by_one_up_to_a_number)
{
    vthread_attr_t attr = {.name = "reader 1"};
    open_control();
    start_crowd(5);
    vthread_t named = start_attr(attr, parks_until_told, NULL);
    until_waiting(named);
    const char *answer = ask("threads\n");
    is_whole(answer);
    has(answer, " name=reader%201 ");
    has(answer, " state=PARKED waits_for=is%20parked home=");
    ck_assert_uint_ge(count_lines(answer, "\nthread thread="), 6);
    ck_assert_uint_eq(count_lines(ask("threads 2\n"), "\nthread thread="), 2);
    ck_assert_str_eq(ask("threads x\n"), "error Invalid argument\n");
    ck_assert_str_eq(ask("threads 99999999\n"), "error Invalid argument\n");
    vthread_unpark(named);
    join(named);
    end_crowd(5);
    close_control();
}
END_TEST

START_TEST(what_is_no_command_is_an_error)
{
    open_control();
    ck_assert_int_eq(strncmp(ask("frobnicate\n"), "error ", 6), 0);
    ck_assert_int_eq(strncmp(ask("\n"), "error ", 6), 0);
    ck_assert_int_eq(strncmp(ask("STATS\n"), "error ", 6), 0);
    close_control();
}
END_TEST

START_TEST(a_line_that_is_too_long_is_an_error)
{
    char line[2 * CONTROL_LINE_BYTES + 1];
    open_control();
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = '\0';
    int fd = call(getpid());
    say(fd, line);
    /* What it did not want to read may have reset the connection. */
    char word[6] = "";
    ssize_t got = read(fd, word, 5);
    ck_assert(got == 0 || errno == ECONNRESET || strcmp(word, "error") == 0);
    close(fd);
    is_whole(ask("stats\n"));
    close_control();
}
END_TEST

/* ---- Clients that behave badly ------------------------------------------ */

START_TEST(one_that_says_nothing_is_sent_away)
{
    control_patience_ms = 20;
    open_control();
    int fd = call(getpid());
    ck_assert_int_eq(strncmp(hear(fd), "error ", 6), 0);
    fd = call(getpid());
    say(fd, "stat"); /* and no more */
    ck_assert_int_eq(strncmp(hear(fd), "error ", 6), 0);
    close_control();
}
END_TEST

START_TEST(more_than_there_are_places_for_are_sent_away)
{
    int fds[CONTROL_CLIENTS_MAX];
    control_patience_ms = 1000000;
    open_control();
    for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
        fds[i] = call(getpid());
    int fd = call(getpid());
    ck_assert_int_eq(strncmp(hear(fd), "error ", 6), 0);
    /* A place that is left is found again. */
    close(fds[0]);
    until_there_is_a_place();
    close_control(); /* does not wait for the others */
    for (unsigned i = 1; i < CONTROL_CLIENTS_MAX; i++)
        close(fds[i]);
}
END_TEST

START_TEST(one_that_reads_nothing_is_in_nobodys_way)
{
    control_patience_ms = 1000000;
    open_control();
    start_crowd(COUNT_OF(crowd));
    int hangs = call(getpid());
    say(hangs, "threads 100000\n");
    is_whole(ask("stats\n"));
    end_crowd(COUNT_OF(crowd));
    close_control();
    close(hangs);
}
END_TEST

START_TEST(one_that_reads_nothing_is_left_in_the_end)
{
    control_patience_ms = 20;
    open_control();
    start_crowd(COUNT_OF(crowd));
    /* One that is slow to speak may have been left before. */
    for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
        send(call(getpid()), "threads 100000\n", 15, MSG_NOSIGNAL);
    until_there_is_a_place();
    end_crowd(COUNT_OF(crowd));
    close_control();
}
END_TEST

START_TEST(those_that_die_at_any_point_leave_nothing)
{
    open_control();
    start_crowd(1000);
    for (unsigned i = 0; i < 40; i++) {
        int fd = call(getpid());
        if (i % 4 > 0)
            send(fd, "threads 1000\n", i % 4 == 1 ? 5 : 13, MSG_NOSIGNAL);
        if (i % 4 == 3)
            ck_assert_int_gt(read(fd, heard, 100), 0);
        close(fd);
    }
    until_there_is_a_place();
    end_crowd(1000);
    close_control();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("control");
    TCase *on = new_case(suite, "on and off");
    tcase_add_test(on, it_is_off_unless_asked_for);
    tcase_add_test(on, the_environment_turns_it_on);
    tcase_add_test(on, a_value_that_makes_no_sense_is_left_out);
    tcase_add_test(on, a_program_turns_it_on_and_off_again_and_again);
    tcase_add_test(on, a_virtual_thread_may_do_so_too);
    tcase_add_test(on, a_name_that_is_taken_is_an_error);
    TCase *answers = new_case(suite, "answers");
    tcase_add_test(answers, stats_tell_of_threads_schedulers_and_carriers);
    tcase_add_test(answers, stats_tell_who_runs_on_a_carrier);
    tcase_add_test(answers, the_census_counts_by_entry_function);
    tcase_add_test(answers, threads_are_listed_one_by_one_up_to_a_number);
    tcase_add_test(answers, what_is_no_command_is_an_error);
    tcase_add_test(answers, a_line_that_is_too_long_is_an_error);
    TCase *bad = new_case(suite, "bad clients");
    tcase_add_test(bad, one_that_says_nothing_is_sent_away);
    tcase_add_test(bad, more_than_there_are_places_for_are_sent_away);
    tcase_add_test(bad, one_that_reads_nothing_is_in_nobodys_way);
    tcase_add_test(bad, one_that_reads_nothing_is_left_in_the_end);
    tcase_add_test(bad, those_that_die_at_any_point_leave_nothing);
    return run_suite(suite);
}
