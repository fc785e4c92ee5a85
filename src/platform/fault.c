/*
 * fault.c - the handler of SIGSEGV and SIGBUS, and the signal stacks it
 * runs on.
 *
 * Not here: what an address means (the explainer knows), and unwinding of
 * parked threads (the tool does that).
 *
 * Invariants: faults that are not ours look to the program as if we were
 * not there; what runs in the handler before the text is out needs neither
 * the faulting stack nor any lock.
 *
 * Start with handle().
 */
#include "fault.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <ucontext.h>
#include <unistd.h>

#include "cpu.h"
#include "libc.h"
#include "memory.h"
#include "panic.h"

/* The unwinder needs about 8 KiB, saved registers up to 11 (AMX). */
enum { SIGNAL_STACK_BYTES = 64 * 1024, TEXT_BYTES = 512, FRAMES = 32 };

static _Atomic(fault_explainer *) explainer;
static void (*_Atomic at_death)(int number);
static struct sigaction previous_segv, previous_bus;

/* The calling thread's, if it is ours. */
static _Thread_local void *signal_stack;

/* Telling. */

/* The walk begins in this handler; its own frames are of no interest. */
static int handler_frames(void *const *frames, int count, const void *pc)
{
    for (int i = 0; i < count; i++) {
        if (frames[i] == pc)
            return i;
    }
    return 0;
}

static void print_frames(const ucontext_t *context)
{
    void *frames[FRAMES];
    int count = backtrace(frames, FRAMES);
    int skipped = handler_frames(frames, count, CPU_PC(context));

    backtrace_symbols_fd(frames + skipped, count - skipped, STDERR_FILENO);
}

static bool is_explained(const siginfo_t *info, char *text)
{
    fault_explainer *ask =
        atomic_load_explicit(&explainer, memory_order_acquire);

    /* si_code <= 0: sent by a process, so there is no address. */
    return info->si_code > 0 && ask != NULL
           && ask(info->si_addr, text, TEXT_BYTES);
}

/* Dying, or passing it on. */

static void set_default(int number)
{
    struct sigaction action = {.sa_handler = SIG_DFL};

    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

/* The last words of others.  Once: they may fault in turn. */
static void tell_of_death(int number)
{
    void (*fn)(int) = atomic_exchange_explicit(&at_death, NULL,
                                               memory_order_acquire);

    if (fn != NULL)
        fn(number);
}

_Noreturn static void die(int number)
{
    sigset_t abort_only;

    tell_of_death(number);
    set_default(SIGABRT);
    sigemptyset(&abort_only);
    sigaddset(&abort_only, SIGABRT);
    pthread_sigmask(SIG_UNBLOCK, &abort_only, NULL);
    raise(SIGABRT);
    _exit(127); /* not reached */
}

/* The default action, on return from the handler: a fault happens again by
 * itself, a signal that was sent has to be sent again. */
static void die_of(int number, const siginfo_t *info)
{
    tell_of_death(number);
    set_default(number);
    if (info->si_code <= 0)
        raise(number);
}

static void pass_on(int number, siginfo_t *info, void *context)
{
    const struct sigaction *previous =
        number == SIGSEGV ? &previous_segv : &previous_bus;

    if (previous->sa_flags & SA_SIGINFO)
        previous->sa_sigaction(number, info, context);
    else if (previous->sa_handler == SIG_IGN && info->si_code <= 0)
        return; /* a fault, in contrast, cannot be ignored */
    else if (previous->sa_handler == SIG_DFL
             || previous->sa_handler == SIG_IGN)
        die_of(number, info);
    else
        previous->sa_handler(number);
}

static void handle(int number, siginfo_t *info, void *context)
{
    char text[TEXT_BYTES];
    int saved_errno = errno;

    if (is_explained(info, text)) {
        report("%s", text);
        print_frames(context);
        die(number);
    }
    pass_on(number, info, context);
    errno = saved_errno;
}

static void install(int number, struct sigaction *previous)
{
    struct sigaction action = {.sa_sigaction = handle,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK};

    sigemptyset(&action.sa_mask);
    /* First look, then act: the handler may run before sigaction returns
     * and must find previous filled in. */
    sigaction(number, NULL, previous);
    sigaction(number, &action, NULL);
}

void fault_install(fault_explainer *explain)
{
    static atomic_flag is_installed = ATOMIC_FLAG_INIT;
    void *frame;

    /* Release, pairs with is_explained: what the explainer reads is there. */
    atomic_store_explicit(&explainer, explain, memory_order_release);
    if (atomic_flag_test_and_set(&is_installed))
        return;
    backtrace(&frame, 1); /* loads the unwinder, which allocates */
    install(SIGSEGV, &previous_segv);
    install(SIGBUS, &previous_bus);
}

/* What is not explained, and kills.  Those that have a handler have one for
 * a reason. */

static void handle_death(int number, siginfo_t *info, void *context)
{
    int saved_errno = errno;

    (void)context;
    die_of(number, info);
    errno = saved_errno;
}

static void install_for_death(int number)
{
    struct sigaction action = {.sa_sigaction = handle_death,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK};
    struct sigaction previous;

    sigemptyset(&action.sa_mask);
    if (sigaction(number, NULL, &previous) == 0
        && !(previous.sa_flags & SA_SIGINFO)
        && previous.sa_handler == SIG_DFL)
        sigaction(number, &action, NULL);
}

void fault_at_death(void (*fn)(int number))
{
    static const int numbers[] = {SIGSEGV, SIGBUS,  SIGFPE,
                                  SIGILL,  SIGABRT, SIGSYS};

    /* Release: pairs with tell_of_death. */
    atomic_store_explicit(&at_death, fn, memory_order_release);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        install_for_death(numbers[i]);
}

/* Signal stacks. */

int fault_thread_enter(void)
{
    stack_t stack = {.ss_size = SIGNAL_STACK_BYTES};
    stack_t old;

    /* Somebody else's is as good: ASan gives one to every thread. */
    if (sigaltstack(NULL, &old) == 0 && !(old.ss_flags & SS_DISABLE))
        return 0;
    stack.ss_sp = memory_alloc_plain(MEMORY_ALIGNMENT_BYTES,
                                     SIGNAL_STACK_BYTES);
    if (stack.ss_sp == NULL)
        return ENOMEM;
    if (sigaltstack(&stack, NULL) != 0) {
        memory_free(stack.ss_sp);
        return ENOMEM;
    }
    signal_stack = stack.ss_sp;
    return 0;
}

void fault_thread_leave(void)
{
    stack_t none = {.ss_flags = SS_DISABLE};
    stack_t now;

    if (signal_stack == NULL)
        return;
    /* Not if the program has put another in its place since. */
    if (sigaltstack(NULL, &now) == 0 && now.ss_sp == signal_stack)
        sigaltstack(&none, NULL);
    memory_free(signal_stack);
    signal_stack = NULL;
}
