/*
 * complain.c - how the commands tell what is wrong: a line on standard
 * error, and a status.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "inspector.h"

void complain(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "vthread: ");
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

int complain_usage(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "vthread %s: ", command);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n'vthread %s --help' says what there is.\n", command);
    va_end(args);
    return STATUS_USAGE;
}

int complain_option(const char *command, int option, char **argv)
{
    const char *given = argv[optind - 1];
    if (option == ':')
        return complain_usage(command, "option '%s' needs a value", given);
    if (given[0] == '-' && given[1] == '-')
        return complain_usage(command, "there is no option '%s'", given);
    return complain_usage(command, "there is no option '-%c'", optopt);
}

int finish_output(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    complain("cannot write to standard output: %s", strerror(errno));
    return STATUS_FAILED;
}
