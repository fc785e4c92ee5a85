/*
 * os_thread.c - starting threads of the operating system the way carriers
 * and helpers want them.
 *
 * Not here: what they run (carrier/), and what happens on a fault
 * (fault.c).
 *
 * Invariant: a signal sent to the process never lands on one of our
 * threads, unless the program unblocks it there: handlers run on threads
 * that the program started, and never on a run stack.
 */
#include "os_thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector.h"
#include "failure.h"
#include "fault.h"
#include "memory.h"
#include "sanitizer.h"

/* Native stacks run more than a scheduler's loop: foreign functions are
 * called on them, and getaddrinfo alone wants 64 KiB.  What is not touched
 * costs address space only.  ASan's frames fit as well. */
enum { NATIVE_STACK_BYTES = 1024 * 1024, NAME_BYTES = 16 };

struct start {
    void (*fn)(void *);
    void *arg;
    char name[NAME_BYTES];
};

static struct failure failure;

__attribute__((constructor)) static void read_environment(void)
{
    failure_set_from(&failure, "VTHREAD_FAIL_THREAD");
}

void os_thread_fail_after(unsigned long count)
{
    failure_set(&failure, count);
}

static void *run(void *arg)
{
    struct start start = *(struct start *)arg;
    int entered;

    collector_enter();
    memory_free(arg);
    pthread_setname_np(pthread_self(), start.name);
    /* Without memory for it the thread works all the same; an overflow is
     * then fatal without a word. */
    entered = fault_thread_enter();
    start.fn(start.arg);
    if (entered == 0)
        fault_thread_leave();
    collector_leave();
    return NULL;
}

/* All but faults, which cannot wait, what a sanitizer or the kernel's
 * filters raise, and profiling, which wants to see carriers. */
static void block_signals(sigset_t *old)
{
    static const int kept[] = {SIGSEGV, SIGBUS,  SIGFPE, SIGILL,
                               SIGTRAP, SIGABRT, SIGSYS, SIGPROF};
    sigset_t blocked;

    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        sigdelset(&blocked, kept[i]);
    pthread_sigmask(SIG_BLOCK, &blocked, old);
}

/* The new thread inherits the mask, so that no signal finds it early. */
static int create(pthread_t *handle, struct start *start)
{
    pthread_attr_t attributes;
    sigset_t old;
    int error;

    if (pthread_attr_init(&attributes) != 0)
        return EAGAIN;
    pthread_attr_setstacksize(&attributes, NATIVE_STACK_BYTES);
    block_signals(&old);
    error = pthread_create(handle, &attributes, run, start);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attributes);
    return error == 0 ? 0 : EAGAIN;
}

int os_thread_start(struct os_thread *thread, const char *name,
                    void (*fn)(void *), void *arg)
{
    struct start *start;

    if (failure_due(&failure))
        return EAGAIN;
    start = memory_alloc(sizeof *start);
    if (start == NULL)
        return EAGAIN;
    *start = (struct start){.fn = fn, .arg = arg};
    strncpy(start->name, name, NAME_BYTES - 1);
    if (create(&thread->handle, start) != 0) {
        memory_free(start);
        return EAGAIN;
    }
    return 0;
}

void os_thread_join(struct os_thread *thread)
{
    pthread_join(thread->handle, NULL);
}

void os_thread_detach(struct os_thread *thread)
{
    pthread_detach(thread->handle);
}

/* 0 if the set is too small for the kernel's. */
static unsigned count_processors(unsigned capacity)
{
    cpu_set_t *set = CPU_ALLOC(capacity);
    unsigned count = 0;

    if (set == NULL)
        return 1;
    if (sched_getaffinity(0, CPU_ALLOC_SIZE(capacity), set) == 0)
        count = (unsigned)CPU_COUNT_S(CPU_ALLOC_SIZE(capacity), set);
    CPU_FREE(set);
    return count;
}

unsigned os_thread_processors(void)
{
    for (unsigned capacity = 1024; capacity <= 1u << 20; capacity *= 2) {
        unsigned count = count_processors(capacity);
        if (count > 0)
            return count;
    }
    return 1;
}

/* The first thread is kept by the kernel until all others have ended; it has
 * no memory then, and so no program. */
static bool has_first_ended(void)
{
    char first;
    return readlink("/proc/self/exe", &first, 1) < 0 && errno == ENOENT;
}

unsigned os_thread_count(void)
{
    /* The kernel counts threads as links of this directory.  No descriptor
     * is needed, which others would see come and go. */
    struct stat tasks;
    /* First: should it end just now it counts, rather than being taken for
     * another. */
    unsigned others = 2 + SANITIZER_OS_THREADS + has_first_ended();
    if (stat("/proc/self/task", &tasks) != 0)
        return 0;
    return tasks.st_nlink > others ? (unsigned)tasks.st_nlink - others : 0;
}

/* Asked by one that does not switch stacks meanwhile. */
static __thread struct {
    char *low;
    size_t size_bytes; /* 0: not known yet */
} native_stack;

static int find_native_stack(void)
{
    pthread_attr_t attributes;
    void *low;
    size_t size_bytes;
    int err = pthread_getattr_np(pthread_self(), &attributes);
    if (err != 0)
        return err;
    err = pthread_attr_getstack(&attributes, &low, &size_bytes);
    if (err == 0) {
        native_stack.low = low;
        native_stack.size_bytes = size_bytes;
    }
    pthread_attr_destroy(&attributes);
    return err;
}

int os_thread_stack(void **low, void **high)
{
    int err = native_stack.size_bytes == 0 ? find_native_stack() : 0;
    if (err == 0) {
        *low = native_stack.low;
        *high = native_stack.low + native_stack.size_bytes;
    }
    return err;
}

bool os_thread_is_on_stack(const void *address)
{
    void *low, *high;
    return os_thread_stack(&low, &high) == 0 && address >= low
           && address < high;
}

int os_thread_number(void)
{
    return gettid();
}
