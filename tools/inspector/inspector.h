/*
 * inspector.h - what all commands of the tool share: their functions, exit
 * statuses, and how they complain.
 *
 * A command is a function in a file of its name.  It gets its arguments as
 * main gets its own (argv[0] is its name), and returns the exit status.
 * A new one is declared here and gets its line in main.c.
 */
#ifndef INSPECTOR_H
#define INSPECTOR_H

#include <stdbool.h>

typedef int command_fn(int argc, char **argv);

command_fn cmd_pin, cmd_run, cmd_top, cmd_trace;

/* What scripts can rely on. */
enum status {
    STATUS_FINE = 0,
    STATUS_FOUND = 1,  /* what was looked for is there: --fail-on */
    STATUS_USAGE = 2,  /* the command line makes no sense */
    STATUS_TARGET = 3, /* no such process, no permission, no library in it,
                          another version */
    STATUS_DIED = 4,   /* the target died half-way */
    STATUS_FAILED = 5, /* something of our own: no memory, a full disk */
};

/* Commands. */
int cmd_dump(int argc, char **argv);

/* Writes a line to standard error, the program's name before it. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* While the screen is not standard error's: the last complaint is kept, and
 * said when that is over. */
void complain_later(bool is_later);

/* The same for a command line that makes no sense, with the command's name
 * and where to read more.  Returns STATUS_USAGE. */
int complain_usage(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same for what getopt_long does not like: ':' or '?'. */
int complain_option(const char *command, int option, char **argv);

/* Of a command that was left out, with its arguments: why.  Asked for help it
 * says so as an answer. */
int complain_missing(int argc, char **argv, const char *command,
                     const char *parts);

/* Flushes standard output.  Returns the status given, or STATUS_FAILED with
 * a complaint when what was written there has not arrived. */
int finish_output(int status);

#endif
