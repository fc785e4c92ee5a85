/*
 * target.c - opens a process and reads its memory.
 *
 * The library is found by a name that it has, vthread_layout, in the files
 * that are mapped into the process: so it does not matter what the file is
 * called, or whether the program is linked with the archive.
 *
 * Memory is read by process_vm_readv, which does not stop the process.  It
 * asks for the same right as a debugger: the same user, and whatever
 * kernel.yama.ptrace_scope wants besides.
 */
#include "target.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "elf_symbol.h"
#include "inspector.h"

#define LAYOUT_NAME "vthread_layout"

#define LOOKS   50
#define LOOK_US 1000

/* ---- The process -------------------------------------------------------- */

/* Field 22 of its stat, when it began; 0: it is not there, or a zombie. */
static uint64_t start_time_of(pid_t pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    size_t got = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[got] = '\0';
    /* The name of the program stands in brackets, and may hold anything. */
    char *field = strrchr(text, ')');
    char state = field ? field[2] : 'Z';
    for (unsigned i = 2; field && i < 22; i++)
        field = strchr(field + 1, ' ');
    return field && state != 'Z' && state != 'X' ? strtoull(field, NULL, 10)
                                                 : 0;
}

bool target_is_alive(const struct target *target)
{
    return start_time_of(target->pid) == target->start_time;
}

static int read_number(struct target *target, const char *command,
                       const char *text)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (errno || *end || end == text || number < 1 || number > INT_MAX)
        return complain_usage(command, "'%s' is no process number", text);
    target->pid = (pid_t)number;
    return STATUS_FINE;
}

static int find_process(struct target *target)
{
    target->start_time = start_time_of(target->pid);
    if (target->start_time != 0)
        return STATUS_FINE;
    complain(kill(target->pid, 0) == 0 || errno == EPERM
                 ? "process %d has ended"
                 : "there is no process %d",
             (int)target->pid);
    return STATUS_TARGET;
}

static int complain_permission(pid_t pid)
{
    if (geteuid() == 0)
        complain("no permission to look into process %d, though we are root: "
                 "it takes CAP_SYS_PTRACE",
                 (int)pid);
    else
        complain("no permission to look into process %d: it belongs to "
                 "another user,\n  or kernel.yama.ptrace_scope forbids it; try "
                 "as root",
                 (int)pid);
    return STATUS_TARGET;
}

/* ---- The library in it -------------------------------------------------- */

struct mapping {
    uint64_t start;
    char path[PATH_MAX]; /* as we see it; with mounts of its own, as the
                            process does */
};

/* The next file that is mapped from its beginning. */
static bool next_mapping(FILE *maps, struct mapping *mapping)
{
    char line[PATH_MAX + 128];
    while (fgets(line, sizeof line, maps)) {
        uint64_t offset;
        int path = 0;
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%" SCNx64 "-%*x %*s %" SCNx64 " %*s %*s %n",
                   &mapping->start, &offset, &path)
                == 2
            && offset == 0 && path > 0 && line[path] == '/') {
            snprintf(mapping->path, sizeof mapping->path, "%s", line + path);
            return true;
        }
    }
    return false;
}

/* How we can open it.  The program itself can be opened whatever has become
 * of its file; of the others the process may see another tree than we, by its
 * mounts, or only a part of ours. */
static void find_path(struct target *target, const struct mapping *mapping)
{
    char exe[64], program[PATH_MAX] = "";
    snprintf(exe, sizeof exe, "/proc/%d/exe", (int)target->pid);
    bool is_program = readlink(exe, program, sizeof program - 1) > 0
                      && strcmp(program, mapping->path) == 0;
    if (is_program)
        snprintf(target->library, sizeof target->library, "%s", exe);
    else
        snprintf(target->library, sizeof target->library, "/proc/%d/root%s",
                 (int)target->pid, mapping->path);
    if (!is_program && access(target->library, F_OK) != 0)
        snprintf(target->library, sizeof target->library, "%s", mapping->path);
}

static bool has_library(struct target *target, const struct mapping *mapping)
{
    struct elf_symbol symbol;
    find_path(target, mapping);
    if (elf_symbol_find(target->library, LAYOUT_NAME, &symbol) != ELF_FOUND)
        return false;
    target->layout_address = mapping->start - symbol.base + symbol.value;
    return true;
}

static bool is_replaced_library(const struct mapping *mapping)
{
    const char *file = strrchr(mapping->path, '/') + 1;
    return strncmp(file, "libvthread.so", 13) == 0
           && strstr(file, " (deleted)");
}

static int complain_library(const struct target *target, bool is_replaced)
{
    if (is_replaced)
        complain("process %d: its libvthread has been replaced on disk since "
                 "it started; start it again",
                 (int)target->pid);
    else
        complain("process %d does not use libvthread%s", (int)target->pid,
                 "\n  (or it is linked with the archive and stripped)");
    return STATUS_TARGET;
}

/* Of a thread of the kernel, of somebody else's process, or it has ended; or
 * this one may open no more files, which is not told apart. */
static int complain_nothing_mapped(struct target *target)
{
    char path[64], program[PATH_MAX];
    int status = find_process(target);
    if (status != STATUS_FINE)
        return status;
    snprintf(path, sizeof path, "/proc/%d/exe", (int)target->pid);
    if (readlink(path, program, sizeof program) >= 0 || errno != ENOENT)
        return complain_permission(target->pid);
    complain("process %d is a thread of the kernel", (int)target->pid);
    return STATUS_TARGET;
}

enum outcome { NOTHING_MAPPED, IS_THERE, IS_NOT_THERE, IS_REPLACED };

static enum outcome look_for_library(struct target *target, FILE *maps)
{
    struct mapping mapping;
    enum outcome outcome = NOTHING_MAPPED;
    while (next_mapping(maps, &mapping)) {
        if (has_library(target, &mapping))
            return IS_THERE;
        if (outcome != IS_REPLACED)
            outcome = is_replaced_library(&mapping) ? IS_REPLACED
                                                    : IS_NOT_THERE;
    }
    return outcome;
}

/* Of a process that begins another program (exec) nothing is mapped for a
 * moment. */
static int find_library(struct target *target)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/maps", (int)target->pid);
    enum outcome outcome = NOTHING_MAPPED;
    for (int i = 0; i < LOOKS && outcome == NOTHING_MAPPED; i++) {
        if (i > 0)
            usleep(LOOK_US);
        FILE *maps = fopen(path, "re");
        if (!maps)
            break;
        outcome = look_for_library(target, maps);
        fclose(maps);
    }
    if (outcome == IS_THERE)
        return STATUS_FINE;
    return outcome == NOTHING_MAPPED
               ? complain_nothing_mapped(target)
               : complain_library(target, outcome == IS_REPLACED);
}

int target_open(struct target *target, const char *command, const char *text)
{
    *target = (struct target){0};
    int status = read_number(target, command, text);
    if (status == STATUS_FINE)
        status = find_process(target);
    if (status == STATUS_FINE)
        status = find_library(target);
    return status;
}

/* ---- Its memory --------------------------------------------------------- */

int target_read(const struct target *target, uint64_t address, void *buffer,
                size_t size_bytes)
{
    struct iovec here = {buffer, size_bytes};
    struct iovec there = {(void *)(uintptr_t)address, size_bytes};
    ssize_t got = process_vm_readv(target->pid, &here, 1, &there, 1, 0);
    if (got == (ssize_t)size_bytes)
        return STATUS_FINE;
    int err = got < 0 ? errno : EFAULT;
    if (!target_is_alive(target)) {
        complain("process %d has ended meanwhile", (int)target->pid);
        return STATUS_DIED;
    }
    if (err == EPERM)
        return complain_permission(target->pid);
    complain("process %d: cannot read %zu bytes at %#" PRIx64 ": %s",
             (int)target->pid, size_bytes, address, strerror(err));
    return STATUS_TARGET;
}
