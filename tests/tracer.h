/*
 * tracer.h - a child process that walks its parent's stacks with libdw, as a
 * debugger does: for unwind_test.
 *
 * tracer_start comes before the first thread.  walk_by_tracer waits in
 * read() while the tracer stops its OS thread, walks and lets it go on.  The
 * walk lies in memory that both have.
 */
#ifndef TESTS_TRACER_H
#define TESTS_TRACER_H

#include <elfutils/libdwfl.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/support.h"
#include "tests/walk.h"

#define DWARF_RSP 7

static struct {
    int requests, replies; /* the parent's ends */
    struct walk *walk;     /* shared */
} tracer;

/* ---- The child ---------------------------------------------------------- */

/* What is asked for is in .eh_frame, so no debug file is looked for. */
static inline int no_debug_file(Dwfl_Module *module, void **user,
                                const char *name, Dwarf_Addr base,
                                const char *file, const char *link,
                                GElf_Word crc, char **found)
{
    (void)module, (void)user, (void)name, (void)base;
    (void)file, (void)link, (void)crc, (void)found;
    return -1;
}

static inline int tracer_visit(Dwfl_Frame *frame, void *arg)
{
    struct walk *w = arg;
    Dwarf_Addr pc;
    Dwarf_Word sp;
    bool is_exact;
    if (!dwfl_frame_pc(frame, &pc, &is_exact)
        || dwfl_frame_reg(frame, DWARF_RSP, &sp) != 0)
        return DWARF_CB_ABORT;
    /* As if it were a return address. */
    return walk_add(w, pc + is_exact, sp) ? DWARF_CB_OK : DWARF_CB_ABORT;
}

/* What is loaded stays as it is, so one look at it is enough. */
static inline Dwfl *tracer_attach(pid_t process)
{
    static const Dwfl_Callbacks callbacks = {
        .find_elf = dwfl_linux_proc_find_elf,
        .find_debuginfo = no_debug_file,
    };
    Dwfl *dwfl = dwfl_begin(&callbacks);
    if (dwfl && dwfl_linux_proc_report(dwfl, process) == 0
        && dwfl_report_end(dwfl, NULL, NULL) == 0
        && dwfl_linux_proc_attach(dwfl, process, false) == 0)
        return dwfl;
    return NULL;
}

static inline void tracer_walk(Dwfl *dwfl, pid_t os_thread)
{
    struct walk *w = tracer.walk;
    walk_begin(w);
    w->ended = dwfl
               && dwfl_getthread_frames(dwfl, os_thread, tracer_visit, w) == 0;
    if (!w->ended)
        walk_fails(w, "%s", dwfl_errmsg(-1));
}

_Noreturn static inline void tracer_main(int requests, int replies)
{
    pid_t process = getppid(), os_thread;
    Dwfl *dwfl = NULL;
    while (read(requests, &os_thread, sizeof os_thread) == sizeof os_thread) {
        if (!dwfl)
            dwfl = tracer_attach(process);
        tracer_walk(dwfl, os_thread);
        if (write(replies, "", 1) != 1)
            break;
    }
    _exit(0);
}

/* ---- The parent --------------------------------------------------------- */

static inline void tracer_start(void)
{
    int requests[2], replies[2];
    ck_assert_int_eq(pipe(requests) | pipe(replies), 0);
    tracer.walk = mmap(NULL, sizeof *tracer.walk, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(tracer.walk, MAP_FAILED);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        close(requests[1]);
        close(replies[0]);
        tracer_main(requests[0], replies[1]);
    }
    close(requests[0]);
    close(replies[1]);
    tracer.requests = requests[1];
    tracer.replies = replies[0];
    /* A kernel with Yama allows it to parents only, unless told so. */
    prctl(PR_SET_PTRACER, child);
}

/* False: nobody may trace here. */
__attribute__((noinline)) static bool walk_by_tracer(struct walk *w)
{
    static bool is_said;
    pid_t os_thread = (pid_t)syscall(SYS_gettid);
    char reply;
    ck_assert_int_eq(write(tracer.requests, &os_thread, sizeof os_thread),
                     sizeof os_thread);
    ck_assert_int_eq(read(tracer.replies, &reply, 1), 1);
    *w = *tracer.walk;
    bool is_forbidden = strstr(w->why, strerror(EPERM)) != NULL;
    if (is_forbidden && !is_said)
        printf("# no walk by libdw: %s\n", w->why);
    is_said = is_said || is_forbidden;
    return !is_forbidden;
}

#endif
