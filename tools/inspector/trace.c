/*
 * trace.c - `vthread trace`: what threads do, for Perfetto.
 *
 * The library records (src/inspect/trace.h), and the tool makes of that what
 * Perfetto reads, when the program has ended.  What is recorded goes to a file
 * beside the one that is asked for, which is removed afterwards.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "follow.h"
#include "inspector.h"
#include "launch.h"
#include "perfetto.h"
#include "recording.h"
#include "symbols.h"
#include "target.h"
#include "timeline.h"

#define FILES_MAX 9

struct options {
    const char *output;
    unsigned long last_ms; /* 0: everything */
    unsigned long for_ms;  /* 0: until it ends, or the tool is interrupted */
    unsigned long kb;      /* 0: as the library has it */
};

static void print_help(void)
{
    printf(
        "usage: vthread trace [-o FILE] [--last TIME] [--memory KB]\n"
        "                     [--] PROGRAM [ARGUMENT...]\n"
        "       vthread trace [-o FILE] [--last TIME] [--for TIME] PID\n"
        "       vthread trace [-o FILE] RECORDING\n\n"
        "Records what the threads of a program do, and writes it for "
        "Perfetto\n"
        "(https://ui.perfetto.dev): carriers and what they run, threads and\n"
        "what they wait for, who wakes whom, foreign calls.\n\n"
        "  -o FILE       write there (trace.pftrace)\n"
        "  --last TIME   keep only the last so much, 5s or 200ms, and write "
        "it\n"
        "                when a pinned wait lasts, on a deadlock or a crash\n"
        "  --memory KB   for each carrier (1024)\n\n"
        "PID is a process with VTHREAD_CONTROL=1; it is recorded until the "
        "tool is\ninterrupted, or for TIME.  RECORDING is a file that a "
        "program has\nwritten with VTHREAD_TRACE or vthread_trace_start.  With "
        "PROGRAM the\nexit status is the program's.\n");
}

/* ---- From a recording to a file for Perfetto ---------------------------- */

static void tell(const struct recording *r, const char *output,
                 const struct timeline_counts *counts)
{
    printf("%s: %.3f s, %llu events, %zu threads", output,
           (double)(r->end_ns - r->begin_ns) / 1e9,
           (unsigned long long)r->events, counts->threads);
    if (*r->reason)
        printf("; %s", r->reason);
    if (counts->left_out > 0)
        printf("; %zu threads that did nothing are left out",
               counts->left_out);
    if (r->lost > 0)
        printf("; %llu events were lost, see --memory",
               (unsigned long long)r->lost);
    if (!r->is_complete)
        printf("; the recording breaks off");
    putchar('\n');
}

/* The file that is mapped first is the program's. */
static void name_process(const struct recording *r, char *name,
                         size_t size_bytes)
{
    const char *path = strchr(r->maps, '/');
    const char *end = path ? strchr(path, '\n') : NULL;
    if (!end) {
        snprintf(name, size_bytes, "process %u", r->pid);
        return;
    }
    const char *slash = memrchr(path, '/', (size_t)(end - path));
    snprintf(name, size_bytes, "%.*s", (int)(end - slash - 1), slash + 1);
}

static int write_perfetto(struct recording *r, FILE *file, const char *output)
{
    char name[256];
    const char *why;
    struct timeline_counts counts;
    name_process(r, name, sizeof name);
    struct perfetto *perfetto = perfetto_begin(file, r->pid, name);
    struct symbols *symbols = symbols_of_maps(r->maps, &why);
    if (!symbols)
        complain("functions are told by address: %s", why);
    bool is_good = perfetto && timeline_write(r, symbols, perfetto, &counts);
    bool is_written = perfetto && perfetto_end(perfetto);
    if (symbols)
        symbols_close(symbols);
    if (!is_good) {
        complain("no memory");
        return STATUS_FAILED;
    }
    if (!is_written) {
        complain("%s: %s", output, strerror(errno ? errno : ENOMEM));
        return STATUS_FAILED;
    }
    tell(r, output, &counts);
    return STATUS_FINE;
}

static int convert(const char *path, const char *output)
{
    struct recording recording;
    int status = recording_open(&recording, path);
    if (status != STATUS_FINE)
        return status;
    FILE *file = fopen(output, "we");
    if (file) {
        errno = 0;
        status = write_perfetto(&recording, file, output);
        if (fclose(file) != 0 && status == STATUS_FINE) {
            complain("%s: %s", output, strerror(errno));
            status = STATUS_FAILED;
        }
    } else {
        complain("%s: %s", output, strerror(errno));
        status = STATUS_FAILED;
    }
    recording_close(&recording);
    return status;
}

/* ---- Programs ----------------------------------------------------------- */

static void set_number(const char *name, unsigned long number)
{
    char text[32];
    snprintf(text, sizeof text, "%lu", number);
    setenv(name, text, 1);
}

static void set_up(const struct options *options, const char *recording)
{
    setenv("VTHREAD_TRACE", recording, 1);
    if (options->last_ms > 0)
        set_number("VTHREAD_TRACE_MS", options->last_ms);
    if (options->kb > 0)
        set_number("VTHREAD_TRACE_KB", options->kb);
}

/* All that were written: RECORDING, RECORDING.2 ... */
static int convert_all(const char *recording, const struct options *options)
{
    char from[PATH_MAX + 16], to[PATH_MAX + 16];
    int status = STATUS_FINE, found = 0;
    for (int i = 1; i <= FILES_MAX && status == STATUS_FINE; i++) {
        snprintf(from, sizeof from, i > 1 ? "%s.%d" : "%s", recording, i);
        snprintf(to, sizeof to, i > 1 ? "%s.%d" : "%s", options->output, i);
        if (access(from, F_OK) != 0)
            continue;
        status = convert(from, to);
        unlink(from);
        found++;
    }
    if (found == 0 && options->last_ms > 0)
        complain("nothing happened that the last %lu ms are written for",
                 options->last_ms);
    else if (found == 0)
        complain("nothing was recorded: the program has not used libvthread, "
                 "or has ended at once");
    return status == STATUS_FINE && found == 0 && options->last_ms == 0
               ? STATUS_TARGET
               : status;
}

/* Beside the output, and absolute, for the program may go elsewhere. */
static int name_recording(const struct options *options, char *name,
                          size_t size_bytes)
{
    char here[PATH_MAX] = "";
    if (options->output[0] != '/' && !getcwd(here, sizeof here)) {
        complain("%s", strerror(errno));
        return STATUS_FAILED;
    }
    int length = snprintf(name, size_bytes, "%s%s%s.%d.recording", here,
                          *here ? "/" : "", options->output, getpid());
    if (length < (int)size_bytes)
        return STATUS_FINE;
    complain("%s: %s", options->output, strerror(ENAMETOOLONG));
    return STATUS_FAILED;
}

static int trace_process(const char *pid, const struct options *options)
{
    char recording[PATH_MAX];
    struct target target;
    int status = target_open(&target, "trace", pid);
    if (status == STATUS_FINE)
        status = name_recording(options, recording, sizeof recording);
    if (status != STATUS_FINE)
        return status;
    status = follow(target.pid, recording, options->for_ms,
                        options->last_ms);
    if (status == STATUS_FINE)
        status = convert(recording, options->output);
    unlink(recording);
    return finish_output(status);
}

/* How the program ends is its own affair; of one that has done well but was
 * not recorded the status tells that. */
static int trace_program(char **program, const struct options *options)
{
    char recording[PATH_MAX];
    struct launch launch;
    int status = name_recording(options, recording, sizeof recording);
    if (status != STATUS_FINE)
        return status;
    set_up(options, recording);
    status = launch_start_alone(&launch, program);
    if (status != STATUS_FINE)
        return status;
    launch_wait(&launch);
    status = finish_output(convert_all(recording, options));
    int ended = launch_finish(&launch);
    return status == STATUS_FINE || (status == STATUS_TARGET && ended != 0)
               ? ended
               : status;
}

/* ---- The command -------------------------------------------------------- */

/* "5s", "200ms"; 0: neither. */
static unsigned long to_ms(const char *text)
{
    char *end;
    double number = strtod(text, &end);
    double factor = strcmp(end, "ms") == 0  ? 1
                    : strcmp(end, "s") == 0 ? 1000
                                            : 0;
    double ms = number * factor;
    return ms >= 1 && ms <= 86400000 ? (unsigned long)ms : 0;
}

static unsigned long to_kb(const char *text)
{
    char *end;
    unsigned long kb = strtoul(text, &end, 10);
    return *end == '\0' && kb >= 4 && kb <= 1048576 ? kb : 0;
}

enum { LAST = 256, MEMORY, FOR };

/* -1: go on. */
static int read_option(int option, struct options *options)
{
    switch (option) {
    case 'o':
        options->output = optarg;
        return *optarg ? -1 : complain_usage("trace", "-o needs a name");
    case LAST:
        options->last_ms = to_ms(optarg);
        return options->last_ms > 0
                   ? -1
                   : complain_usage(
                       "trace", "--last %s: a time is 5s or 200ms", optarg);
    case FOR:
        options->for_ms = to_ms(optarg);
        return options->for_ms > 0
                   ? -1
                   : complain_usage("trace", "--for %s: a time is 5s or 200ms",
                                    optarg);
    case MEMORY:
        options->kb = to_kb(optarg);
        return options->kb > 0
                   ? -1
                   : complain_usage(
                       "trace", "--memory %s: from 4 to 1048576 KB", optarg);
    case 'h':
        print_help();
        return finish_output(STATUS_FINE);
    default:
        return complain_usage("trace", "there is no such option");
    }
}

static bool is_number(const char *text)
{
    return *text && strspn(text, "0123456789") == strlen(text);
}

int cmd_trace(int argc, char **argv)
{
    static const struct option names[] = {
        {"for", required_argument, NULL, FOR},
        {"last", required_argument, NULL, LAST},
        {"memory", required_argument, NULL, MEMORY},
        {"help", no_argument, NULL, 'h'},
        {0}};
    struct options options = {.output = "trace.pftrace"};
    int option;
    opterr = 0;
    optind = 0;
    while ((option = getopt_long(argc, argv, "+o:h", names, NULL)) != -1) {
        int status = read_option(option, &options);
        if (status >= 0)
            return status;
    }
    if (optind == argc)
        return complain_usage("trace", "a program is missing, or a recording");
    if (optind + 1 == argc && recording_is(argv[optind]))
        return finish_output(convert(argv[optind], options.output));
    if (optind + 1 == argc && is_number(argv[optind]))
        return trace_process(argv[optind], &options);
    return trace_program(argv + optind, &options);
}
