/*
 * trace.c - `vthread trace`: what threads do, for Perfetto.
 *
 * The library records (src/inspect/trace.h), and the tool makes of that what
 * Perfetto reads, when the program has ended.  What is recorded goes to a file
 * on the same file system as the one that is asked for, without a name, so
 * nothing is left of it however the tool ends.  Only the files that a program
 * writes with --last have names, for it may write several, and opens them
 * itself: beside the one that is asked for, and removed afterwards.
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
#include "scratch.h"
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
        "tool is\ninterrupted, or for TIME; if it ends first the status is "
        "4.  RECORDING is a\nfile that a program has written with "
        "VTHREAD_TRACE or vthread_trace_start.  With\nPROGRAM the exit status "
        "is the program's.\n");
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

/* *is_whole: the recording does not break off. */
static int convert(const char *path, const char *output, bool *is_whole)
{
    struct recording recording;
    int status = recording_open(&recording, path);
    if (status != STATUS_FINE)
        return status;
    *is_whole = recording.is_complete;
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

static int complain_nothing(void)
{
    complain("nothing was recorded: the program has not used libvthread, "
             "or has ended at once");
    return STATUS_TARGET;
}

/* All that were written: RECORDING, RECORDING.2 ... */
static int convert_last(const char *recording, const struct options *options)
{
    char from[PATH_MAX + 16], to[PATH_MAX + 16];
    int status = STATUS_FINE, found = 0;
    bool is_whole;
    for (int i = 1; i <= FILES_MAX && status == STATUS_FINE; i++) {
        snprintf(from, sizeof from, i > 1 ? "%s.%d" : "%s", recording, i);
        snprintf(to, sizeof to, i > 1 ? "%s.%d" : "%s", options->output, i);
        if (access(from, F_OK) != 0)
            continue;
        status = convert(from, to, &is_whole);
        unlink(from);
        found++;
    }
    if (found == 0)
        complain("nothing happened that the last %lu ms are written for",
                 options->last_ms);
    return status;
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

/* How the program ends is its own affair; of one that has done well but was
 * not recorded the status tells that. */
static int finish_program(struct launch *launch, int status)
{
    int ended = launch_finish(launch);
    return status == STATUS_FINE || (status == STATUS_TARGET && ended != 0)
               ? ended
               : status;
}

static int trace_last_of_program(char **program, const struct options *options)
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
    status = finish_output(convert_last(recording, options));
    return finish_program(&launch, status);
}

static int open_scratch(struct scratch *scratch, const struct options *options)
{
    int err = scratch_open(scratch, options->output);
    if (err == 0)
        return STATUS_FINE;
    complain("%s: %s", options->output, strerror(err));
    return STATUS_FAILED;
}

static int trace_program(char **program, const struct options *options)
{
    struct scratch scratch;
    struct launch launch;
    bool is_whole;
    int status = open_scratch(&scratch, options);
    if (status != STATUS_FINE)
        return status;
    set_up(options, scratch.path);
    status = launch_start_alone(&launch, program);
    if (status != STATUS_FINE)
        return status;
    launch_wait(&launch);
    status = scratch_size_bytes(&scratch) > 0
                 ? convert(scratch.path, options->output, &is_whole)
                 : complain_nothing();
    scratch_close(&scratch);
    return finish_program(&launch, finish_output(status));
}

/* ---- A process ---------------------------------------------------------- */

/* `left`: where what there was until then is; NULL: there is all, or
 * nothing. */
static int complain_end(pid_t pid, const char *left)
{
    complain("process %d has ended, or closed its control socket%s%s",
             (int)pid, left ? "; what there was until then is in " : "",
             left ? left : "");
    return STATUS_DIED;
}

/* The last seconds before a crash, or before it ends in order, are what --last
 * is for. */
static bool has_died(const struct options *options, bool has_ended,
                     bool is_whole)
{
    return !is_whole || (has_ended && options->last_ms == 0);
}

static int trace_into(const struct scratch *scratch, pid_t pid,
                      const struct options *options)
{
    bool has_ended = false, is_whole = false;
    int followed = follow(pid, scratch->fd, options->for_ms, options->last_ms,
                          &has_ended);
    if (scratch_size_bytes(scratch) == 0)
        return followed == STATUS_FINE ? complain_end(pid, NULL) : followed;
    int status = convert(scratch->path, options->output, &is_whole);
    if (status == STATUS_FINE && followed == STATUS_FINE
        && has_died(options, has_ended, is_whole))
        return complain_end(pid, is_whole ? NULL : options->output);
    return status == STATUS_FINE ? followed : status;
}

static int trace_process(const char *pid, const struct options *options)
{
    struct target target;
    struct scratch scratch;
    int status = target_open(&target, "trace", pid);
    if (status == STATUS_FINE)
        status = open_scratch(&scratch, options);
    if (status != STATUS_FINE)
        return status;
    status = trace_into(&scratch, target.pid, options);
    scratch_close(&scratch);
    return finish_output(status);
}

static int trace_recording(const char *path, const struct options *options)
{
    bool is_whole;
    return finish_output(convert(path, options->output, &is_whole));
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
        return trace_recording(argv[optind], &options);
    if (optind + 1 == argc && is_number(argv[optind]))
        return trace_process(argv[optind], &options);
    return options.last_ms > 0 ? trace_last_of_program(argv + optind, &options)
                               : trace_program(argv + optind, &options);
}
