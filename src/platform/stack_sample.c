/*
 * stack_sample.c - asking an OS thread where it is.
 *
 * There is one record, and one who asks at a time.  The states of a question:
 *
 *     NONE -> ASKED     who asks, before the signal
 *     ASKED -> TAKING   the handler, if it is the one that is asked
 *     TAKING -> TAKEN   the handler, when the frames are in the record
 *     ASKED -> NONE     who asks, tired of waiting: a handler that comes
 *                       later finds no question
 *     TAKEN -> NONE     who asks, having copied the record
 *
 * The handler allocates nothing and takes no lock: the unwinder finds tables
 * without one since glibc 2.35.  On older systems, and with musl, it takes
 * the loader's, so there a thread that is just loading a library would wait
 * for itself; it is not asked there.
 */
#include "stack_sample.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "clock.h"
#include "cpu.h"
#include "futex.h"
#include "os_signal.h"
#include "os_thread.h"
#include "panic.h"
#include "system.h"
#include "unwinder.h"

enum { NONE, ASKED, TAKING, TAKEN };

#define PATIENCE_NS (50 * (uint64_t)1000000)

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int number; /* S: of the signal; 0: there is none */

static struct os_lock asking;
static _Atomic uint32_t state;     /* A: a futex; see above */
static int asked;                  /* of the question: the OS thread */
static struct stack_sample record; /* the handler's while TAKING */

/* ---- The handler -------------------------------------------------------- */

/* What lies above the interrupted frame is the handler's. */
struct walk {
    const void *from;
    bool has_begun;
};

static _Unwind_Reason_Code see_frame(struct _Unwind_Context *frame,
                                     void *argument)
{
    struct walk *walk = argument;
    void *pc = (void *)_Unwind_GetIP(frame);

    walk->has_begun |= pc == walk->from;
    if (!walk->has_begun || !pc)
        return _URC_NO_REASON;
    record.frames[record.count++] = pc;
    return record.count < STACK_SAMPLE_MAX ? _URC_NO_REASON
                                           : _URC_END_OF_STACK;
}

static bool is_question(void)
{
    uint32_t expected = ASKED;

    /* Acquire: who is asked; pairs with ask. */
    return atomic_load_explicit(&state, memory_order_acquire) == ASKED
           && asked == os_thread_number()
           && atomic_compare_exchange_strong_explicit(
               &state, &expected, TAKING, memory_order_acq_rel,
               memory_order_relaxed);
}

static void handle(int signal, siginfo_t *info, void *context)
{
    struct walk walk = {.from = CPU_PC((const ucontext_t *)context)};
    int saved_errno = errno;

    (void)signal;
    (void)info;
    if (is_question()) {
        record = (struct stack_sample){.call = -1};
        _Unwind_Backtrace(see_frame, &walk);
        /* Release: the record; pairs with await_answer. */
        atomic_store_explicit(&state, TAKEN, memory_order_release);
        futex_wake(&state, 1);
    }
    errno = saved_errno;
}

/* ---- Allowing ----------------------------------------------------------- */

static _Unwind_Reason_Code see_nothing(struct _Unwind_Context *frame,
                                       void *unused)
{
    (void)frame;
    (void)unused;
    return _URC_END_OF_STACK;
}

static void take_signal(void)
{
    struct sigaction action = {.sa_sigaction = handle,
                               .sa_flags =
                                   SA_SIGINFO | SA_ONSTACK | SA_RESTART};

    sigfillset(&action.sa_mask);
    _Unwind_Backtrace(see_nothing, NULL); /* loads what it needs */
    if (unwinder_takes_no_lock())
        number = os_signal_take(&action);
}

int stack_sample_allow(void)
{
    sigset_t set;

    pthread_once(&once, take_signal);
    if (number == 0)
        return EAGAIN;
    sigemptyset(&set);
    sigaddset(&set, number);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return 0;
}

/* ---- Asking ------------------------------------------------------------- */

/* What the kernel says of it: "running", or the number of a system call, its
 * arguments, stack and instruction.  False: nothing. */
static bool read_call(int os_thread, char *text, size_t size_bytes)
{
    char path[64];
    int fd;
    ssize_t length;

    format_text(path, sizeof path, "/proc/self/task/%d/syscall", os_thread);
    fd = system_open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    length = system_read(fd, text, size_bytes - 1);
    system_close(fd);
    text[length > 0 ? length : 0] = '\0';
    return length > 0;
}

static bool is_running(const char *call)
{
    return strncmp(call, "running", 7) == 0;
}

bool stack_sample_is_waiting(int os_thread)
{
    char text[256];
    return read_call(os_thread, text, sizeof text) && !is_running(text);
}

static void describe_call(const char *text, struct stack_sample *sample)
{
    const char *last = strrchr(text, ' ');

    *sample = (struct stack_sample){
        .is_in_kernel = true,
        .call = strtol(text, NULL, 10),
    };
    if (last)
        sample->frames[sample->count++] =
            (void *)(uintptr_t)strtoull(last + 1, NULL, 16);
}

/* False: no answer has come. */
static bool await_answer(void)
{
    uint64_t deadline_ns = clock_now_ns() + PATIENCE_NS;
    uint32_t now;

    /* Acquire: the record; pairs with handle. */
    while ((now = atomic_load_explicit(&state, memory_order_acquire))
           != TAKEN) {
        if (clock_now_ns() >= deadline_ns && now == ASKED
            && atomic_compare_exchange_strong_explicit(&state, &now, NONE,
                                                       memory_order_acq_rel,
                                                       memory_order_relaxed))
            return false;
        futex_wait(&state, now, clock_now_ns() + PATIENCE_NS / 10);
    }
    return true;
}

static bool ask(int os_thread, struct stack_sample *sample)
{
    asked = os_thread;
    /* Release: who is asked; pairs with is_question. */
    atomic_store_explicit(&state, ASKED, memory_order_release);
    if (syscall(SYS_tgkill, getpid(), os_thread, number) != 0) {
        atomic_store_explicit(&state, NONE, memory_order_relaxed);
        return false;
    }
    if (!await_answer())
        return false;
    *sample = record;
    atomic_store_explicit(&state, NONE, memory_order_relaxed);
    return true;
}

bool stack_sample_take(int os_thread, struct stack_sample *sample)
{
    char text[256];
    bool has_answer = false;

    if (number == 0 || os_thread == 0
        || !read_call(os_thread, text, sizeof text))
        return false;
    if (!is_running(text)) {
        describe_call(text, sample);
        return true;
    }
    os_lock_acquire(&asking);
    has_answer = ask(os_thread, sample);
    os_lock_release(&asking);
    return has_answer;
}
