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

static bool is_kept;
static char kept[1024];

void complain(const char *format, ...)
{
    char text[sizeof kept];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (is_kept)
        memcpy(kept, text, sizeof kept);
    else
        fprintf(stderr, "vthread: %s\n", text);
}

void complain_later(bool is_later)
{
    if (is_kept && !is_later && *kept)
        fprintf(stderr, "vthread: %s\n", kept);
    is_kept = is_later;
    *kept = '\0';
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

int complain_missing(int argc, char **argv, const char *command,
                     const char *parts)
{
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        printf("usage: vthread %s ...\n\n"
               "It is not there: this tool was built without %s.\n",
               command, parts);
        return finish_output(STATUS_FINE);
    }
    complain("%s: this tool was built without %s", command, parts);
    return STATUS_FAILED;
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
