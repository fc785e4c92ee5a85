/*
 * stop.c - PTRACE_SEIZE, a look, PTRACE_DETACH.
 *
 * Every stop seizes all threads anew and detaches from all at its end.  So
 * between two stops the process is nobody's, and no signal of it has to be
 * passed on by us.  Rejected: to stay attached, which saves two system calls
 * for each thread and stop, and then has to serve each signal that the
 * process gets, as long as we unwind.
 *
 * A thread that begins another program (exec) waits, in the kernel, until the
 * other threads of the process have ended and their tracer has asked for that;
 * and who wants to seize one of them meanwhile waits for the exec.  So while we
 * seize, a timer has us ask for those that have ended.
 *
 * Not PTRACE_ATTACH, which stops by a signal that others see; and never
 * PTRACE_O_EXITKILL.
 */
#include "stop.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <gelf.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "image.h"
#include "inspector.h"

/* Who has not stopped by then waits for a disk, or for a processor. */
#define WAIT_NS UINT64_C(20000000)
#define REAP_US 10000
/* How long those are waited for when all else has been done. */
#define LATE_NS UINT64_C(1000000000)
#define SEIZE_TRIES 10

uint64_t stop_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static struct os_thread *find(const struct stop *stop, pid_t number)
{
    for (size_t i = 0; i < stop->count; i++)
        if (stop->threads[i].number == number)
            return &stop->threads[i];
    return NULL;
}

static struct os_thread *add(struct stop *stop, pid_t number)
{
    if (stop->count == stop->capacity) {
        size_t capacity = stop->capacity ? 2 * stop->capacity : 64;
        struct os_thread *threads =
            realloc(stop->threads, capacity * sizeof *threads);
        if (!threads)
            return NULL;
        stop->threads = threads;
        stop->capacity = capacity;
    }
    struct os_thread *thread = &stop->threads[stop->count++];
    memset(thread, 0, sizeof *thread);
    thread->number = number;
    return thread;
}

const struct registers *stop_registers(const struct stop *stop, pid_t number)
{
    const struct os_thread *thread = find(stop, number);
    return thread && thread->has_registers ? &thread->registers : NULL;
}

/* ---- A process ---------------------------------------------------------- */

/* It has ended, but others of the process have not. */
static bool is_zombie(pid_t pid, pid_t number)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", (int)pid,
             (int)number);
    FILE *file = fopen(path, "re");
    size_t got = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    text[got] = '\0';
    char *end = strrchr(text, ')');
    return !end || end[2] == 'Z' || end[2] == 'X';
}

/* 0: nobody's. */
static int tracer_of(pid_t pid, pid_t number)
{
    char path[64], line[128];
    int tracer = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/status", (int)pid,
             (int)number);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "TracerPid: %d", &tracer) == 1)
            break;
    if (file)
        fclose(file);
    return tracer;
}

static int complain_seize(pid_t pid, int tracer, int error)
{
    if (tracer)
        complain("process %d is held by another one, %d: a debugger?",
                 (int)pid, tracer);
    else
        complain("process %d may not be stopped by us: %s; see "
                 "kernel.yama.ptrace_scope in ptrace(2), or ask root",
                 (int)pid, strerror(error));
    return STATUS_TARGET;
}

/* Not NULL: in the midst of a seizure, where its list stays as it is. */
static struct stop *volatile seizing;

/* Looks first: to ask for the end of one that has stopped takes its stop. */
static void reap(pid_t number)
{
    const int how = WEXITED | WNOHANG | __WALL;
    siginfo_t info = {.si_pid = 0};
    if (waitid(P_PID, (id_t)number, &info, how | WNOWAIT) == 0
        && info.si_pid != 0
        && (info.si_code == CLD_EXITED || info.si_code == CLD_KILLED
            || info.si_code == CLD_DUMPED))
        waitid(P_PID, (id_t)number, &info, how);
}

/* All that have ended, of those that we hold. */
static void reap_all(int signal_number)
{
    int saved_errno = errno;
    const struct stop *stop = seizing;
    (void)signal_number;
    for (size_t i = 0; stop && i < stop->count; i++)
        if (stop->threads[i].is_held)
            reap(stop->threads[i].number);
    errno = saved_errno;
}

static int try_seize(struct stop *stop, pid_t number)
{
    seizing = stop;
    int err = ptrace(PTRACE_SEIZE, number, 0, 0) == 0 ? 0 : errno;
    seizing = NULL;
    return err;
}

/* Returns 0, or an errno value, with the tracer that is in the way.  One that
 * was refused, and is nobody's: another dump has just let it go, or we lack
 * the right, which is as quickly said ten times. */
static int seize_thread(struct stop *stop, pid_t number, int *tracer)
{
    int err, tries = 0;
    do {
        err = try_seize(stop, number);
        *tracer = err == EPERM ? tracer_of(stop->pid, number) : 0;
    } while (err == EPERM && *tracer == 0 && ++tries < SEIZE_TRIES);
    return err;
}

static void set_reaper(bool is_on)
{
    const struct sigaction action = {.sa_handler = reap_all,
                                     .sa_flags = SA_RESTART};
    const struct itimerval timer = {{0, is_on ? REAP_US : 0},
                                    {0, is_on ? REAP_US : 0}};
    if (is_on)
        sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
}

/* Asks the thread to stop, if it is a new one. */
static int seize(struct stop *stop, pid_t number, bool *is_new)
{
    struct os_thread *thread = find(stop, number);
    if (thread && thread->is_held)
        return STATUS_FINE;
    int tracer;
    int err = seize_thread(stop, number, &tracer);
    if (err) {
        if (err == ESRCH || is_zombie(stop->pid, number))
            return STATUS_FINE;
        return complain_seize(stop->pid, tracer, err);
    }
    if (!thread && !(thread = add(stop, number))) {
        complain("there is no memory");
        return STATUS_FAILED; /* what has been seized goes with us */
    }
    thread->is_held = *is_new = true;
    thread->is_stopped = thread->has_registers = false;
    thread->signal = 0;
    ptrace(PTRACE_INTERRUPT, number, 0, 0);
    return STATUS_FINE;
}

static int seize_all(struct stop *stop, bool *are_new)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)stop->pid);
    DIR *tasks = opendir(path);
    int status = STATUS_FINE;
    struct dirent *entry;
    *are_new = false;
    if (!tasks) {
        complain("process %d has ended meanwhile", (int)stop->pid);
        return STATUS_DIED;
    }
    while (status == STATUS_FINE && (entry = readdir(tasks)) != NULL)
        if (entry->d_name[0] != '.')
            status = seize(stop, (pid_t)atoi(entry->d_name), are_new);
    closedir(tasks);
    return status;
}

static void fetch_registers(struct os_thread *thread)
{
    char room[1024];
    struct iovec into = {room, sizeof room};
    thread->has_registers =
        ptrace(PTRACE_GETREGSET, thread->number, NT_PRSTATUS, &into) == 0
        && registers_from_kernel(&thread->registers, room, into.iov_len);
}

/* Whether it has stopped, or gone. */
static bool has_stopped(struct os_thread *thread)
{
    int status;
    if (!thread->is_held || thread->is_stopped)
        return true;
    pid_t got = waitpid(thread->number, &status, __WALL | WNOHANG);
    if (got == 0)
        return false;
    if (got < 0 || !WIFSTOPPED(status)) {
        thread->is_held = false;
        return true;
    }
    /* Else it is a signal of its own that has stopped it first. */
    if (status >> 16 == 0)
        thread->signal = WSTOPSIG(status);
    thread->is_stopped = true;
    return true;
}

static void wait_for_all(struct stop *stop)
{
    uint64_t until_ns = stop_now_ns() + WAIT_NS;
    for (size_t i = 0; i < stop->count; i++)
        while (!has_stopped(&stop->threads[i])
               && stop_now_ns() < until_ns)
            usleep(10);
}

/* One that is being killed stays ours, until we have asked for its end. */
static void let_go(struct os_thread *thread)
{
    if (thread->is_held && thread->is_stopped
        && ptrace(PTRACE_DETACH, thread->number, 0, (long)thread->signal) == 0)
        thread->is_held = false;
    thread->is_stopped = thread->has_registers = false;
}

void stop_let_go(struct stop *stop)
{
    for (size_t i = 0; i < stop->count; i++)
        if (stop->threads[i].is_held && has_stopped(&stop->threads[i]))
            let_go(&stop->threads[i]);
}

static bool is_any_held(const struct stop *stop)
{
    for (size_t i = 0; i < stop->count; i++)
        if (stop->threads[i].is_held)
            return true;
    return false;
}

void stop_finish(struct stop *stop)
{
    uint64_t until_ns = stop_now_ns() + LATE_NS;
    stop_let_go(stop);
    while (is_any_held(stop) && stop_now_ns() < until_ns) {
        usleep(1000);
        stop_let_go(stop);
    }
}

/* Those that we do not hold any more. */
static void forget(struct stop *stop)
{
    size_t kept = 0;
    for (size_t i = 0; i < stop->count; i++)
        if (stop->threads[i].is_held)
            stop->threads[kept++] = stop->threads[i];
    stop->count = kept;
}

int stop_begin(struct stop *stop)
{
    bool are_new = true;
    int status = STATUS_FINE;
    if (stop->pid == 0)
        return STATUS_FINE;
    stop->begun_ns = stop_now_ns();
    stop->stops++;
    forget(stop);
    set_reaper(true);
    /* Those that run may start others while we look. */
    while (are_new && (status = seize_all(stop, &are_new)) == STATUS_FINE)
        wait_for_all(stop);
    set_reaper(false);
    bool is_any = is_any_held(stop);
    for (size_t i = 0; i < stop->count; i++)
        if (stop->threads[i].is_stopped)
            fetch_registers(&stop->threads[i]);
    if (status == STATUS_FINE && (!is_any || !image_is_there(stop->image))) {
        complain(is_any ? "process %d runs another program now (exec)"
                        : "process %d has ended meanwhile",
                 (int)stop->pid);
        status = STATUS_DIED;
    }
    if (status != STATUS_FINE)
        stop_end(stop);
    return status;
}

void stop_end(struct stop *stop)
{
    if (stop->pid == 0)
        return;
    for (size_t i = 0; i < stop->count; i++)
        let_go(&stop->threads[i]);
    uint64_t ns = stop_now_ns() - stop->begun_ns;
    stop->all_ns += ns;
    if (ns > stop->longest_ns)
        stop->longest_ns = ns;
}

uint64_t stop_age_ns(const struct stop *stop)
{
    return stop->pid ? stop_now_ns() - stop->begun_ns : 0;
}

/* ---- A core file -------------------------------------------------------- */

static int take_note(struct stop *stop, const char *bytes, size_t size_bytes)
{
    struct elf_prstatus status;
    if (size_bytes < sizeof status)
        return STATUS_FINE;
    memcpy(&status, bytes, sizeof status);
    struct os_thread *thread = add(stop, status.pr_pid);
    if (!thread)
        return STATUS_FAILED;
    thread->has_registers = registers_from_kernel(
        &thread->registers, &status.pr_reg, sizeof status.pr_reg);
    return STATUS_FINE;
}

static int take_notes(struct stop *stop, Elf_Data *data)
{
    GElf_Nhdr header;
    size_t name, text, next, at = 0;
    int status = STATUS_FINE;
    while (status == STATUS_FINE
           && (next = gelf_getnote(data, at, &header, &name, &text)) > 0) {
        if (header.n_type == NT_PRSTATUS)
            status = take_note(stop, (const char *)data->d_buf + text,
                               header.n_descsz);
        at = next;
    }
    return status;
}

static int read_notes(struct stop *stop)
{
    Elf *elf = image_elf(stop->image);
    size_t count = 0;
    int status = STATUS_FINE;
    elf_getphdrnum(elf, &count);
    for (size_t i = 0; i < count && status == STATUS_FINE; i++) {
        GElf_Phdr header;
        if (!gelf_getphdr(elf, (int)i, &header) || header.p_type != PT_NOTE)
            continue;
        Elf_Data *data = elf_getdata_rawchunk(
            elf, (off_t)header.p_offset, header.p_filesz,
            header.p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
        if (data)
            status = take_notes(stop, data);
    }
    return status;
}

int stop_open(struct stop *stop, const struct image *image, pid_t pid)
{
    *stop = (struct stop){.image = image, .pid = pid};
    return pid == 0 ? read_notes(stop) : STATUS_FINE;
}

void stop_close(struct stop *stop)
{
    free(stop->threads);
    stop->threads = NULL;
    stop->count = stop->capacity = 0;
}
