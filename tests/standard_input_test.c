/*
 * standard_input_test.c - what standard input may be: a terminal, a pipe, a
 * regular file, /dev/null, closed.
 */
#include <termios.h>

#include "tests/files.h"

/* Reads standard input to its end, and says how much it was. */
static void *counts_input(void *arg)
{
    char buffer[1000];
    size_t n, sum = 0;
    int err;
    (void)arg;
    while ((err = vthread_read(STDIN_FILENO, buffer, sizeof buffer, &n)) == 0
           && n > 0)
        sum += n;
    return as_result(err == 0 ? (int)sum : -err);
}

static void becomes_input(int fd)
{
    require(dup2(fd, STDIN_FILENO) == STDIN_FILENO);
    close(fd);
}

static int count_by(int kind)
{
    return kind == 0 ? as_error(join(start(counts_input, NULL)))
                     : as_error(counts_input(NULL));
}

START_TEST(a_regular_file)
{
    int fd = file_of(10);
    cool(fd);
    becomes_input(fd);
    require(lseek(STDIN_FILENO, 100, SEEK_SET) == 100);
    ck_assert_int_eq(count_by(_i), 10 * BLOCK_BYTES - 100);
}
END_TEST

START_TEST(dev_null)
{
    becomes_input(open("/dev/null", O_RDONLY));
    ck_assert_int_eq(count_by(_i), 0);
}
END_TEST

START_TEST(a_directory)
{
    becomes_input(open("/", O_RDONLY));
    ck_assert_int_eq(count_by(_i), -EISDIR);
}
END_TEST

START_TEST(nothing_at_all)
{
    /* Else the library's first descriptor takes the number. */
    join(start(return_argument, NULL));
    close(STDIN_FILENO);
    ck_assert_int_eq(count_by(_i), -EBADF);
}
END_TEST

START_TEST(a_pipe)
{
    static char text[5000];
    int ends[2];
    require(pipe(ends) == 0);
    becomes_input(ends[0]);
    vthread_t t = start(counts_input, NULL);
    until_waiting(t);
    require(write(ends[1], text, sizeof text) == sizeof text);
    close(ends[1]);
    ck_assert_int_eq(as_error(join(t)), sizeof text);
}
END_TEST

START_TEST(a_terminal)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    require(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    becomes_input(open(ptsname(master), O_RDWR | O_NOCTTY));
    vthread_t t = start(counts_input, NULL);
    until_waiting(t);
    require(write(master, "line\n", 5) == 5);
    require(write(master, "end\n\4", 5) == 5); /* ^D: the end */
    ck_assert_int_eq(as_error(join(t)), 9);
    close(master);
}
END_TEST

static void *reads_until_late(void *arg)
{
    char byte;
    size_t n;
    (void)arg;
    return as_result(vthread_read_until(STDIN_FILENO, &byte, 1, &n,
                                        vthread_after(VTHREAD_MS)));
}

START_TEST(a_terminal_where_nobody_types)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    require(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    becomes_input(open(ptsname(master), O_RDWR | O_NOCTTY));
    ck_assert_int_eq(as_error(join(start(reads_until_late, NULL))),
                     ETIMEDOUT);
    vthread_t t = start(counts_input, NULL);
    until_waiting(t);
    vthread_interrupt(t);
    ck_assert_int_eq(as_error(join(t)), -ECANCELED);
    close(master);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("standard_input");
    TCase *cases = new_case(suite, "what it may be");
    tcase_add_loop_test(cases, a_regular_file, 0, 2);
    tcase_add_loop_test(cases, dev_null, 0, 2);
    tcase_add_loop_test(cases, a_directory, 0, 2);
    tcase_add_loop_test(cases, nothing_at_all, 0, 2);
    tcase_add_test(cases, a_pipe);
    tcase_add_test(cases, a_terminal);
    tcase_add_test(cases, a_terminal_where_nobody_types);
    return run_suite(suite);
}
