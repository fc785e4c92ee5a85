/*
 * pin.c - vthread pin: waits of pinned threads as they happen, of a program
 * that is started, or of a process that runs.
 *
 * All that the tool says goes to standard error, for standard output is the
 * program's; but for --json and --html, which go where they are told.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "connection.h"
#include "inspector.h"
#include "launch.h"
#include "pin_data.h"
#include "target.h"

enum { STREAMS_POLLED = 256, DEFAULT_MIN_MS = 20 };

struct pin {
    struct pin_follow follow;
    const char *title; /* the program, or the process */
    const char *json;  /* where to; NULL: nowhere, "-": standard output */
    const char *html;
    long min_ms; /* -1: nobody has said */
    bool preload;
    bool is_quiet;
};

/* ---- The command line --------------------------------------------------- */

static void print_help(void)
{
    printf(
        "usage: vthread pin [OPTION...] [--] PROGRAM [ARGUMENT...]\n"
        "       vthread pin [OPTION...] PID\n\n"
        "Tells when a virtual thread waits while it is pinned, and keeps its "
        "carrier: how\nlong, which lock it held, where that was taken, where "
        "it waits; at the end all\nof that by place, what has delayed others "
        "most first.\n\n"
        "  -m, --min MS         waits that last so long, in milliseconds; "
        "20\n"
        "  -f, --fail-on '>T'   status 1 if one lasted longer than T: 5ms, "
        "300us, 1s\n"
        "  -j, --json[=FILE]    all of it as JSON at the end; to standard "
        "output\n"
        "  -H, --html=FILE      all of it as a page for a browser\n"
        "  -q, --quiet          no lines as they happen\n"
        "  -n, --no-track       leave the program's locks alone\n"
        "      --help           this\n\n"
        "A process that runs needs its control socket open "
        "(VTHREAD_CONTROL=1); Ctrl-C\nends the tool, not the process.  The "
        "status is the program's own, or 1, see\nabove; of a process 0, or 4 "
        "if it ended first.\n");
}

static const char *read_unit(const char *text, double *ns)
{
    static const struct {
        const char *name;
        double ns;
    } units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};
    for (unsigned i = 0; i < sizeof units / sizeof units[0]; i++)
        if (strcmp(text, units[i].name) == 0) {
            *ns *= units[i].ns;
            return units[i].name;
        }
    return NULL;
}

/* ">5ms". */
static int read_fail_on(struct pin *pin, const char *text)
{
    char *unit;
    double ns = *text == '>' ? strtod(text + 1, &unit) : -1;
    if (ns < 0 || unit == text + 1 || !read_unit(unit, &ns) || ns > 1e18)
        return complain_usage("pin", "'%s' is nothing to fail on; '>5ms' is",
                              text);
    /* Not 0, which is for nothing. */
    pin->follow.fail_ns = ns < 1 ? 1 : (uint64_t)ns;
    return STATUS_FINE;
}

static int read_min(struct pin *pin, const char *text)
{
    char *end;
    pin->min_ms = strtol(text, &end, 10);
    if (end == text || *end || pin->min_ms < 0 || pin->min_ms > 3600000)
        return complain_usage("pin", "'%s' are no milliseconds", text);
    return STATUS_FINE;
}

enum { HELP = 256 };

static int read_option(struct pin *pin, int option, char **argv)
{
    switch (option) {
    case 'm':
        return read_min(pin, optarg);
    case 'f':
        return read_fail_on(pin, optarg);
    case 'j':
        pin->json = optarg ? optarg : "-";
        return STATUS_FINE;
    case 'H':
        pin->html = optarg;
        return STATUS_FINE;
    case 'q':
        pin->is_quiet = true;
        return STATUS_FINE;
    case 'n':
        pin->preload = false;
        return STATUS_FINE;
    case HELP:
        print_help();
        return -1;
    default:
        return complain_option("pin", option, argv);
    }
}

static int read_options(struct pin *pin, int argc, char **argv)
{
    static const struct option options[] = {
        {"min", required_argument, NULL, 'm'},
        {"fail-on", required_argument, NULL, 'f'},
        {"json", optional_argument, NULL, 'j'},
        {"html", required_argument, NULL, 'H'},
        {"quiet", no_argument, NULL, 'q'},
        {"no-track", no_argument, NULL, 'n'},
        {"help", no_argument, NULL, HELP},
        {NULL, 0, NULL, 0}};
    int status = STATUS_FINE;
    for (int option;
         status == STATUS_FINE
         && (option = getopt_long(argc, argv, "+:m:f:j::H:qn", options, NULL))
                != -1;)
        status = read_option(pin, option, argv);
    if (status == STATUS_FINE && optind == argc)
        return complain_usage("pin", "which program, or process?");
    pin->follow.is_told = !pin->is_quiet;
    return status;
}

/* ---- What is written at the end ----------------------------------------- */

static int write_to(const char *path, const struct pin *pin,
                    void (*write)(FILE *out, const struct pin_data *data,
                                  const char *title))
{
    bool is_output = strcmp(path, "-") == 0;
    FILE *out = is_output ? stdout : fopen(path, "we");
    bool is_written = out != NULL;
    if (out) {
        write(out, &pin->follow.data, pin->title);
        is_written = !ferror(out) && fflush(out) == 0;
        if (!is_output && fclose(out) != 0)
            is_written = false;
    }
    if (is_written)
        return STATUS_FINE;
    complain("cannot write %s: %s", is_output ? "standard output" : path,
             strerror(errno));
    return STATUS_FAILED;
}

static int report(const struct pin *pin)
{
    int status = STATUS_FINE;
    pin_print_sites(stderr, &pin->follow.data);
    if (pin->json)
        status = write_to(pin->json, pin, pin_write_json);
    if (pin->html && status == STATUS_FINE)
        status = write_to(pin->html, pin, pin_write_html);
    return status;
}

/* ---- A program ---------------------------------------------------------- */

static void set_environment(const struct pin *pin)
{
    char text[24];
    long ms = pin->min_ms >= 0 ? pin->min_ms : DEFAULT_MIN_MS;
    long fail_ms = (long)(pin->follow.fail_ns / 1000000);
    if (pin->follow.fail_ns && fail_ms < ms)
        ms = fail_ms; /* what we would fail on has to be told */
    snprintf(text, sizeof text, "%ld", ms);
    setenv("VTHREAD_PIN_MS", text, 1);
    /* "off" would leave nothing to tell. */
    unsetenv("VTHREAD_PIN");
}

static void meet(struct pin *pin, struct launch *launch)
{
    struct connection connection;
    if (connection_accept(&connection, launch->listener))
        (void)pin_follow_add(&pin->follow, &connection);
}

/* Until the program has ended, and all that its processes had to tell has
 * come; a child that lives on keeps nobody. */
static void stay(struct pin *pin, struct launch *launch)
{
    struct pollfd fds[2 + STREAMS_POLLED] = {
        {.fd = launch->signals, .events = POLLIN},
        {.fd = launch->listener, .events = POLLIN},
    };
    bool is_something = true;
    while (!launch->has_ended || is_something) {
        size_t count =
            2 + pin_follow_polled(&pin->follow, fds + 2, STREAMS_POLLED);
        is_something = poll(fds, count, launch->has_ended ? 0 : -1) > 0
                       && !fds[0].revents;
        if (fds[1].revents)
            meet(pin, launch);
        pin_follow_read(&pin->follow);
        if (fds[0].revents)
            launch_signals(launch);
    }
}

static void say_not_active(const struct pin *pin, const struct launch *launch)
{
    if (pin->follow.data.process_count == 0)
        complain("NOT ACTIVE: %s has started no virtual thread%s, so nothing "
                 "was watched",
                 pin->title,
                 launch->is_static ? ", or its libvthread is too old to say so"
                                   : ", or does not use libvthread");
}

static int pin_program(struct pin *pin, char **argv)
{
    struct launch launch;
    set_environment(pin);
    int status = launch_start(&launch, argv, pin->preload);
    if (status != STATUS_FINE)
        return status;
    stay(pin, &launch);
    say_not_active(pin, &launch);
    status = pin->follow.data.process_count > 0 ? report(pin) : STATUS_FINE;
    bool has_failed = pin->follow.has_failed;
    pin_follow_free(&pin->follow);
    if (status != STATUS_FINE)
        return status;
    return has_failed ? STATUS_FOUND : launch_finish(&launch);
}

/* ---- A process ---------------------------------------------------------- */

static int watch_ending(void)
{
    sigset_t watched;
    sigemptyset(&watched);
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGTERM);
    sigaddset(&watched, SIGHUP);
    sigprocmask(SIG_BLOCK, &watched, NULL);
    return signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void say_threshold(const struct pin *pin)
{
    const struct pin_process *process = &pin->follow.data.processes[0];
    if (pin->min_ms >= 0
        || (pin->follow.fail_ns
            && pin->follow.fail_ns < process->threshold_ns))
        complain("process %d tells of waits from %llu ms on: that was set "
                 "when it started",
                 (int)process->pid,
                 (unsigned long long)(process->threshold_ns / 1000000));
}

static void follow_process(struct pin *pin, int ending)
{
    struct pollfd fds[2] = {{.fd = ending, .events = POLLIN}};
    bool has_header = false;
    while (pin->follow.open_streams > 0) {
        pin_follow_polled(&pin->follow, fds + 1, 1);
        poll(fds, 2, -1);
        pin_follow_read(&pin->follow);
        if (!has_header && pin->follow.data.processes[0].is_known) {
            has_header = true;
            say_threshold(pin);
        }
        if (fds[0].revents)
            return;
    }
}

static int open_process(struct pin *pin, const char *text)
{
    struct target target;
    struct connection connection;
    int status = target_open(&target, "pin", text);
    if (status != STATUS_FINE)
        return status;
    if (connection_open(&connection, target.pid))
        return pin_follow_add(&pin->follow, &connection);
    complain("process %d has no control socket: start it with "
             "VTHREAD_CONTROL=1, or by 'vthread pin -- PROGRAM'",
             (int)target.pid);
    return STATUS_TARGET;
}

static int pin_process(struct pin *pin, const char *text)
{
    int ending = watch_ending();
    int status = open_process(pin, text);
    if (status != STATUS_FINE)
        return status;
    follow_process(pin, ending);
    bool has_died = pin->follow.open_streams == 0;
    status = report(pin);
    if (has_died)
        complain("process %s has ended, or closed its control socket", text);
    bool has_failed = pin->follow.has_failed;
    pin_follow_free(&pin->follow);
    close(ending);
    if (status != STATUS_FINE)
        return status;
    if (has_failed)
        return STATUS_FOUND;
    return has_died ? STATUS_DIED : STATUS_FINE;
}

/* One word of digits is a process; after "--" it is a program. */
static bool is_process(int argc, char **argv)
{
    return optind + 1 == argc && strcmp(argv[optind - 1], "--") != 0
           && strspn(argv[optind], "0123456789") == strlen(argv[optind]);
}

int cmd_pin(int argc, char **argv)
{
    struct pin pin = {.min_ms = -1, .preload = true};
    int status = read_options(&pin, argc, argv);
    if (status != STATUS_FINE)
        return status < 0 ? finish_output(STATUS_FINE) : status;
    pin.title = argv[optind];
    return is_process(argc, argv) ? pin_process(&pin, argv[optind])
                                  : pin_program(&pin, argv + optind);
}
