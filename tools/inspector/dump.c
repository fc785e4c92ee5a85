/*
 * dump.c - `vthread dump`: every thread of a process or core file, with its
 * stack.
 *
 * Here is the command: options, what is opened in which order.  How threads
 * are read is in snapshot.c, how it is written down in dump_text.c and
 * dump_json.c.
 */
#include "dump.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image.h"
#include "inspector.h"
#include "stacks.h"
#include "symbols.h"
#include "target.h"
#include "unwind.h"

static const char help[] =
    "usage: vthread dump [OPTION]... PID|CORE\n"
    "\n"
    "Shows every thread of a process or core file that uses libvthread: what\n"
    "it does, what it waits for and for whom, where in the source.  Threads\n"
    "in the same state at the same place are shown together.\n"
    "\n"
    "  --each           each thread for itself\n"
    "  --full           the library's own frames, too\n"
    "  --leaked         only threads that nothing can ever wake, as the\n"
    "                   program's last look for them has found\n"
    "  --census         no stacks: counts by entry function\n"
    "  --json           for programs\n"
    "  --program FILE   the program that a core file is of\n"
    "  --help           this\n"
    "\n"
    "A process is stopped several times, for 5 ms and the rest of a batch\n"
    "each, and goes on in between; the output says how long it was.\n";

enum { EACH, FULL, LEAKED, CENSUS, JSON, PROGRAM, HELP };

/* STATUS_FINE, or what to exit with; *is_done: the help was all. */
static int parse(int argc, char **argv, struct dump_options *options,
                 bool *is_done)
{
    static const struct option known[] = {
        {"each", no_argument, NULL, EACH},
        {"full", no_argument, NULL, FULL},
        {"leaked", no_argument, NULL, LEAKED},
        {"census", no_argument, NULL, CENSUS},
        {"json", no_argument, NULL, JSON},
        {"program", required_argument, NULL, PROGRAM},
        {"help", no_argument, NULL, HELP},
        {NULL, 0, NULL, 0},
    };
    int option;
    optind = 0;
    opterr = 0;
    while ((option = getopt_long(argc, argv, ":", known, NULL)) != -1) {
        options->is_each |= option == EACH;
        options->is_full |= option == FULL;
        options->is_leaked |= option == LEAKED;
        options->is_census |= option == CENSUS;
        options->is_json |= option == JSON;
        if (option == PROGRAM)
            options->program = optarg;
        *is_done |= option == HELP;
        if (option == ':')
            return complain_usage("dump", "%s needs a file", argv[optind - 1]);
        if (option == '?')
            return complain_usage("dump", "there is no option %s",
                                  argv[optind - 1]);
    }
    if (*is_done)
        return STATUS_FINE;
    if (argc - optind != 1 || !*argv[optind])
        return complain_usage("dump", argc - optind < 2
                                          ? "which process, or core file?"
                                          : "one process or file at a time");
    options->target = argv[optind];
    return STATUS_FINE;
}

/* ---- Opening ------------------------------------------------------------ */

static bool is_number(const char *text)
{
    return *text && text[strspn(text, "0123456789")] == '\0';
}

static int complain_symbols(const char *why)
{
    complain("the program cannot be read: %s", why ? why : "unknown");
    return STATUS_TARGET;
}

static int open_process(struct dump *dump, struct image **image)
{
    struct target target;
    const char *why = "no memory";
    int status = target_open(&target, "dump", dump->options.target);
    if (status != STATUS_FINE)
        return status;
    dump->pid = target.pid;
    *image = image_of_process(target.pid);
    dump->snapshot.image = *image;
    status = *image ? library_open(&dump->snapshot.library, *image,
                                   target.layout_address)
                    : STATUS_FAILED;
    if (status != STATUS_FINE)
        return status;
    dump->symbols = symbols_of_process(target.pid, &why);
    dump->layout = target.layout_address;
    return dump->symbols ? STATUS_FINE : complain_symbols(why);
}

static int open_core(struct dump *dump, struct image **image)
{
    const char *why;
    dump->is_core = true;
    *image = image_of_core(dump->options.target, &why);
    dump->snapshot.image = *image;
    if (!*image) {
        complain("%s: %s", dump->options.target, why);
        return STATUS_TARGET;
    }
    uint64_t layout = library_find(*image);
    if (layout == 0) {
        complain("%s: there is no libvthread in it", dump->options.target);
        return STATUS_TARGET;
    }
    int status = library_open(&dump->snapshot.library, *image, layout);
    if (status != STATUS_FINE)
        return status;
    dump->layout = layout;
    dump->symbols = symbols_of_core(*image, dump->options.program, &why);
    if (!dump->symbols)
        return complain_symbols(why);
    image_set_files(*image, dump->symbols);
    return STATUS_FINE;
}

/* ---- Taking ------------------------------------------------------------- */

static int take(struct dump *dump)
{
    int status = snapshot_take(&dump->snapshot);
    if (status != STATUS_FINE)
        return status;
    if (dump->options.is_leaked)
        status = dump_keep_leaked(dump);
    if (status != STATUS_FINE || dump->options.is_census)
        return status;
    status = relations_find_circles(&dump->snapshot, &dump->circles);
    if (status == STATUS_FINE)
        groups_make(&dump->groups, &dump->snapshot, dump->options.is_each);
    return status;
}

/* The file that the layout lies in, if that is the shared library. */
static void find_library_file(struct dump *dump)
{
    const char *module = symbols_find(dump->symbols, dump->layout)->module;
    if (module && strncmp(module, "libvthread", 10) == 0)
        dump->library_file = module;
}

static int take_with_stacks(struct dump *dump, const struct image *image)
{
    const char *why;
    struct unwinder *unwinder = NULL;
    int status = stop_open(&dump->snapshot.stop, image, dump->pid);
    find_library_file(dump);
    if (status == STATUS_FINE && !dump->options.is_census) {
        unwinder = unwinder_open(dump->symbols, image, dump->pid, &why);
        if (!unwinder)
            return complain_symbols(why);
        dump->snapshot.stacks = stacks_open(unwinder);
    }
    if (status == STATUS_FINE)
        status = take(dump);
    stop_finish(&dump->snapshot.stop);
    if (status == STATUS_FINE) {
        if (dump->options.is_json)
            dump_json(dump);
        else
            dump_text(dump);
        status = finish_output(STATUS_FINE);
    }
    if (dump->snapshot.stacks)
        stacks_close(dump->snapshot.stacks);
    if (unwinder)
        unwinder_close(unwinder);
    return status;
}

int cmd_dump(int argc, char **argv)
{
    struct dump *dump = calloc(1, sizeof *dump);
    struct image *image = NULL;
    bool is_done = false;
    if (!dump) {
        complain("there is no memory");
        return STATUS_FAILED;
    }
    int status = parse(argc, argv, &dump->options, &is_done);
    if (status == STATUS_FINE && is_done) {
        fputs(help, stdout);
        status = finish_output(STATUS_FINE);
    } else if (status == STATUS_FINE) {
        status = is_number(dump->options.target) ? open_process(dump, &image)
                                                 : open_core(dump, &image);
        if (status == STATUS_FINE)
            status = take_with_stacks(dump, image);
    }
    groups_free(&dump->groups);
    relations_free_circles(&dump->circles);
    stop_close(&dump->snapshot.stop);
    snapshot_free(&dump->snapshot);
    if (dump->symbols)
        symbols_close(dump->symbols);
    image_close(image);
    free(dump);
    return status;
}
