/*
 * launch.c - a program, its signals and its end.
 *
 * The environment carries everything: VTHREAD_CONTROL=@NAME has each process
 * that starts the library call us, so it does not matter whether the program
 * is a script that starts another one; LD_PRELOAD has the loader put
 * libvthread-pin before the locks of libc.
 */
#include "launch.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "connection.h"
#include "elf_symbol.h"
#include "inspector.h"

#define PIN_LIBRARY "libvthread-pin.so"

static const int forwarded[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1,
                                SIGUSR2, SIGCONT, SIGTSTP, SIGWINCH};

static sigset_t mask_before;

/* ---- The environment ---------------------------------------------------- */

void launch_setting(const char *variable, const char *value)
{
    setenv(variable, value, 0);
}

/* Beside the tool where it was built, or where it was installed. */
static bool find_pin_library(char *path)
{
    static const char *const places[] = {"../.libs/" PIN_LIBRARY,
                                         "../lib/" PIN_LIBRARY,
                                         "../lib64/" PIN_LIBRARY};
    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = '\0';
    char *slash = strrchr(self, '/');
    for (size_t i = 0; slash && i < sizeof places / sizeof places[0]; i++) {
        slash[1] = '\0';
        char place[PATH_MAX + 32];
        snprintf(place, sizeof place, "%s%s", self, places[i]);
        if (realpath(place, path))
            return true;
    }
    return realpath(LIBRARY_DIRECTORY "/" PIN_LIBRARY, path);
}

static bool preload_pin(void)
{
    char library[PATH_MAX], value[2 * PATH_MAX];
    const char *others = getenv("LD_PRELOAD");
    if (!find_pin_library(library))
        return false;
    snprintf(value, sizeof value, "%s%s%s", library,
             others && *others ? ":" : "", others ? others : "");
    setenv("LD_PRELOAD", value, 1);
    return true;
}

/* ---- The program -------------------------------------------------------- */

/* Where execvp will find it; false: nowhere. */
static bool find_program(const char *name, char path[PATH_MAX])
{
    const char *places = getenv("PATH");
    if (strchr(name, '/') || !places)
        return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX;
    while (places) {
        size_t length = strcspn(places, ":");
        snprintf(path, PATH_MAX, "%.*s%s%s", (int)length, places,
                 length > 0 ? "/" : "", name);
        if (access(path, X_OK) == 0)
            return true;
        places = places[length] ? places + length + 1 : NULL;
    }
    return false;
}

/* An ELF program that names no loader.  What is no such file, a script, is
 * not static. */
static bool is_static(const char *path)
{
    Elf64_Ehdr header;
    Elf64_Phdr segment;
    bool names_loader = false;
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool is_program = fread(&header, sizeof header, 1, file) == 1
                      && memcmp(header.e_ident, ELFMAG, SELFMAG) == 0
                      && header.e_ident[EI_CLASS] == ELFCLASS64
                      && fseek(file, (long)header.e_phoff, SEEK_SET) == 0;
    for (unsigned i = 0; is_program && i < header.e_phnum; i++)
        if (fread(&segment, sizeof segment, 1, file) == 1
            && segment.p_type == PT_INTERP)
            names_loader = true;
    fclose(file);
    return is_program && !names_loader;
}

/* Preloaded besides it would see each lock twice, and the wrong caller. */
static bool has_linked_pin(const char *path)
{
    struct elf_symbol symbol;
    return elf_symbol_find(path, "__wrap_pthread_mutex_lock", &symbol)
           == ELF_FOUND;
}

static void run_program(char **argv, int tell)
{
    sigprocmask(SIG_SETMASK, &mask_before, NULL);
    execvp(argv[0], argv);
    int err = errno;
    (void)!write(tell, &err, sizeof err);
    _exit(127);
}

/* What execvp said; 0 when it has worked. */
static int start_program(struct launch *launch, char **argv)
{
    int ends[2], err = 0;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    launch->pid = fork();
    if (launch->pid == 0)
        run_program(argv, ends[1]);
    close(ends[1]);
    if (launch->pid < 0)
        err = errno;
    else if (read(ends[0], &err, sizeof err) == sizeof err)
        waitpid(launch->pid, NULL, 0);
    close(ends[0]);
    return err;
}

static void watch_signals(struct launch *launch)
{
    sigset_t watched;
    sigemptyset(&watched);
    sigaddset(&watched, SIGCHLD);
    for (size_t i = 0; i < sizeof forwarded / sizeof forwarded[0]; i++)
        sigaddset(&watched, forwarded[i]);
    sigprocmask(SIG_BLOCK, &watched, &mask_before);
    launch->signals = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* 126 or 127 with a complaint if it cannot. */
static int start_or_complain(struct launch *launch, char **argv)
{
    watch_signals(launch);
    int err = start_program(launch, argv);
    if (err == 0)
        return STATUS_FINE;
    complain("cannot run '%s': %s", argv[0], strerror(err));
    return err == ENOENT ? 127 : 126;
}

int launch_start_alone(struct launch *launch, char **argv)
{
    *launch = (struct launch){.listener = -1};
    return start_or_complain(launch, argv);
}

int launch_start(struct launch *launch, char **argv, bool preload)
{
    char name[64], variable[80], path[PATH_MAX];
    *launch =
        (struct launch){.listener = connection_listen(name, sizeof name)};
    if (launch->listener < 0) {
        complain("cannot make a socket: %s", strerror(errno));
        return STATUS_FAILED;
    }
    snprintf(variable, sizeof variable, "@%s", name);
    setenv("VTHREAD_CONTROL", variable, 1);
    bool is_found = find_program(argv[0], path);
    launch->is_static = is_found && is_static(path);
    launch->has_linked = is_found && has_linked_pin(path);
    launch->preloads =
        preload && !launch->is_static && !launch->has_linked && preload_pin();
    return start_or_complain(launch, argv);
}

/* ---- Signals ------------------------------------------------------------ */

static void look_for_end(struct launch *launch)
{
    if (!launch->has_ended
        && waitpid(launch->pid, &launch->end, WNOHANG) == launch->pid)
        launch->has_ended = true;
}

/* Stopped from the terminal: so is the program, by itself. */
static void stop_self(void)
{
    raise(SIGSTOP);
}

void launch_signals(struct launch *launch)
{
    struct signalfd_siginfo info;
    while (read(launch->signals, &info, sizeof info) == sizeof info) {
        int signal = (int)info.ssi_signo;
        bool is_terminals = info.ssi_code == SI_KERNEL;
        if (signal != SIGCHLD && !is_terminals && !launch->has_ended)
            kill(launch->pid, signal);
        if (signal == SIGTSTP)
            stop_self();
    }
    look_for_end(launch);
}

static void die_of(int signal)
{
    /* The program has left a core already, if one is wanted. */
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    struct sigaction plain = {.sa_handler = SIG_DFL};
    sigaction(signal, &plain, NULL);
    sigset_t only;
    sigemptyset(&only);
    sigaddset(&only, signal);
    raise(signal);
    sigprocmask(SIG_UNBLOCK, &only, NULL);
}

void launch_wait(struct launch *launch)
{
    struct pollfd ready = {.fd = launch->signals, .events = POLLIN};
    for (look_for_end(launch); !launch->has_ended; launch_signals(launch))
        poll(&ready, 1, -1);
}

int launch_finish(struct launch *launch)
{
    if (launch->listener >= 0)
        close(launch->listener);
    close(launch->signals);
    if (WIFEXITED(launch->end))
        return WEXITSTATUS(launch->end);
    fflush(NULL);
    die_of(WTERMSIG(launch->end));
    return 128 + WTERMSIG(launch->end);
}
