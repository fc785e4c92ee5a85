/*
 * main.c - the tool `vthread`: looks up the command and calls it.
 *
 * Here are the table of commands, --help and --version.  What a command does
 * is in the file of its name.  The tool includes none of the library's code;
 * what it knows of a process it reads by the formats in src/inspect/.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inspector.h"

struct command {
    const char *name;
    const char *summary;
    command_fn *run;
};

static command_fn help, version;

/* In the order in which --help lists them. */
static const struct command commands[] = {
    {"dump", "Show every thread of a process or core file", cmd_dump},
    {"pin", "Tell who waits while it is pinned, and whom it hurts", cmd_pin},
    {"run", "Run a program, and tell of its pins", cmd_run},
    {"top", "Show what a process does, live", cmd_top},
    {"trace", "Record what threads do, for Perfetto", cmd_trace},
    {"help", "Explain the tool, or one of its commands", help},
    {"version", "Tell the version", version},
};

#define COMMAND_COUNT (sizeof commands / sizeof commands[0])

static const struct command *command_named(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* ---- A name that is none ------------------------------------------------ */

#define NAME_BYTES 16

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* How many letters have to be changed, added or left out to make one of the
 * other; both shorter than NAME_BYTES. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[NAME_BYTES + 1];
    size_t b_length = strlen(b);
    for (size_t j = 0; j <= b_length; j++)
        row[j] = (unsigned)j;
    for (size_t i = 0; a[i]; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i + 1;
        for (size_t j = 0; j < b_length; j++) {
            unsigned changed = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = least(changed, least(row[j], row[j + 1]) + 1);
        }
    }
    return row[b_length];
}

/* The command that was probably meant; NULL when none is near. */
static const char *nearest(const char *name)
{
    const char *found = NULL;
    unsigned found_distance = 3;
    if (strlen(name) >= NAME_BYTES)
        return NULL;
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        unsigned d = distance(name, commands[i].name);
        if (d >= found_distance)
            continue;
        found = commands[i].name;
        found_distance = d;
    }
    return found;
}

static int unknown(const char *name)
{
    const char *meant = nearest(name);
    if (meant)
        complain("there is no command '%s'; did you mean '%s'?", name, meant);
    else
        complain("there is no command '%s'", name);
    fprintf(stderr, "'vthread --help' lists the commands.\n");
    return STATUS_USAGE;
}

/* ---- The tool itself ---------------------------------------------------- */

static void print_help(FILE *out)
{
    fprintf(out, "usage: vthread COMMAND [OPTION...] [ARGUMENT...]\n"
                 "       vthread --help | --version\n\n"
                 "Looks into programs that use virtual threads.\n\n"
                 "Commands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-8s  %s\n", commands[i].name, commands[i].summary);
    fprintf(out, "\n'vthread COMMAND --help' explains a command, and the "
                 "manual page vthread(1)\nall of them.\n");
}

static int help(int argc, char **argv)
{
    if (argc > 2)
        return complain_usage("help", "it explains one command at a time");
    if (argc < 2 || argv[1][0] == '-') {
        print_help(stdout);
        return finish_output(STATUS_FINE);
    }
    const struct command *command = command_named(argv[1]);
    if (!command)
        return unknown(argv[1]);
    char option[] = "--help";
    char *arguments[] = {argv[1], option, NULL};
    return command->run(2, arguments);
}

static int version(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        printf("usage: vthread version\n\nTells the version.\n");
        return finish_output(STATUS_FINE);
    }
    if (argc > 1)
        return complain_usage("version", "it takes no arguments");
    printf("vthread (libvthread) %s\n", PACKAGE_VERSION);
    return finish_output(STATUS_FINE);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return STATUS_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    else if (strcmp(name, "--version") == 0)
        name = "version";
    const struct command *command = command_named(name);
    return command ? command->run(argc - 1, argv + 1) : unknown(name);
}
