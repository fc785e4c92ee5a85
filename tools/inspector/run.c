/*
 * run.c - vthread run: a program with its locks tracked, and a report of its
 * pins at the end.
 *
 * The library in the program writes the report; here it is only asked for, and
 * it is said when there is nothing that could write it.
 */
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "connection.h"
#include "fields.h"
#include "inspector.h"
#include "launch.h"

struct run {
    struct launch launch;
    bool preload;
    bool is_quiet;
    unsigned processes; /* that have started the library */
    unsigned untracked; /* of them, in how many nothing tracks locks */
};

static void print_help(void)
{
    printf(
        "usage: vthread run [OPTION...] [--] PROGRAM [ARGUMENT...]\n\n"
        "Runs a program so that waits of pinned threads are told on standard "
        "error,\nas they happen and summed up at its end.\n\n"
        "  -m, --min MS      waits that last so long, in milliseconds; 20\n"
        "  -a, --abort       end the program at the first one\n"
        "  -n, --no-track    leave its locks alone: without them a pin is "
        "known,"
        "\n                    but not the lock\n"
        "  -q, --quiet       do not say what the tool itself has done\n"
        "      --help        this\n\n"
        "Signals go to the program, and the exit status is its own; 126 and "
        "127 where it\ncannot be run.  Its processes have their control "
        "sockets open: 'vthread top PID'\nlooks in.\n");
}

/* ---- The command line --------------------------------------------------- */

static bool is_milliseconds(const char *text)
{
    return *text && strspn(text, "0123456789") == strlen(text)
           && strlen(text) < 8;
}

enum { HELP = 256 };

static int read_options(struct run *run, int argc, char **argv)
{
    static const struct option options[] = {
        {"min", required_argument, NULL, 'm'},
        {"abort", no_argument, NULL, 'a'},
        {"no-track", no_argument, NULL, 'n'},
        {"quiet", no_argument, NULL, 'q'},
        {"help", no_argument, NULL, HELP},
        {NULL, 0, NULL, 0}};
    const char *mode = "report";
    for (int option;
         (option = getopt_long(argc, argv, "+:m:anq", options, NULL)) != -1;)
        switch (option) {
        case 'm':
            if (!is_milliseconds(optarg))
                return complain_usage("run", "'%s' are no milliseconds",
                                      optarg);
            setenv("VTHREAD_PIN_MS", optarg, 1);
            break;
        case 'a':
            mode = "abort";
            break;
        case 'n':
            run->preload = false;
            break;
        case 'q':
            run->is_quiet = true;
            break;
        case HELP:
            print_help();
            return -1;
        default:
            return complain_option("run", option, argv);
        }
    if (optind == argc)
        return complain_usage("run", "which program?");
    setenv("VTHREAD_PIN", mode, 1);
    return STATUS_FINE;
}

/* ---- What is found ------------------------------------------------------ */

/* A process has called: whether it tracks locks. */
static void meet(struct run *run)
{
    struct connection connection;
    if (!connection_accept(&connection, run->launch.listener))
        return;
    run->processes++;
    char *answer = NULL, *rest;
    struct fields fields;
    const char *tracked = NULL;
    if (connection_ask(&connection, "stats") == STATUS_FINE)
        answer = connection_receive(&connection);
    rest = answer;
    while (rest && fields_next(&rest, &fields))
        if (strcmp(fields.kind, "process") == 0)
            tracked = fields_text(&fields, "locks_tracked");
    if (!tracked || strcmp(tracked, "0") == 0)
        run->untracked++;
    free(answer);
    connection_close(&connection);
}

static const char *why_untracked(const struct run *run)
{
    if (!run->preload)
        return "--no-track asks for that";
    if (run->launch.is_static)
        return "it is a static program, and nothing can be preloaded; link "
               "it with -lvthread-pin";
    if (!run->launch.preloads)
        return "libvthread-pin.so is not where it should be";
    return "it is linked with libvthread.a; link it with -lvthread-pin";
}

static void tell_what_is_missing(const struct run *run, const char *program)
{
    if (run->processes == 0)
        complain("NOT ACTIVE: %s has started no virtual thread%s, so nothing "
                 "was watched",
                 program,
                 run->launch.is_static
                     ? ", or its libvthread is too old to say so"
                     : ", or does not use libvthread");
    else if (run->untracked > 0)
        complain("locks are NOT TRACKED in %s: %s", program,
                 why_untracked(run));
}

static void stay(struct run *run)
{
    struct pollfd fds[] = {
        {.fd = run->launch.signals, .events = POLLIN},
        {.fd = run->launch.listener, .events = POLLIN},
    };
    while (!run->launch.has_ended) {
        poll(fds, 2, -1);
        if (fds[1].revents)
            meet(run);
        if (fds[0].revents)
            launch_signals(&run->launch);
    }
}

int cmd_run(int argc, char **argv)
{
    struct run run = {.preload = true};
    int status = read_options(&run, argc, argv);
    if (status != STATUS_FINE)
        return status < 0 ? finish_output(STATUS_FINE) : status;
    status = launch_start(&run.launch, argv + optind, run.preload);
    if (status != STATUS_FINE)
        return status;
    stay(&run);
    if (!run.is_quiet)
        tell_what_is_missing(&run, argv[optind]);
    return launch_finish(&run.launch);
}
