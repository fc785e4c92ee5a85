/*
 * os_thread.h - threads of the operating system.
 */
#ifndef PLATFORM_OS_THREAD_H
#define PLATFORM_OS_THREAD_H

#include <pthread.h>
#include <stdbool.h>

struct os_thread {
    pthread_t handle;
};

/* Starts a thread with all signals blocked but those of faults, and with
 * an alternate signal stack, so that overflow of a run stack can be
 * reported.  The name is cut to 15 bytes.  0 or EAGAIN; a test can make the
 * nth start fail with VTHREAD_FAIL_THREAD=n or os_thread_fail_after. */
int os_thread_start(struct os_thread *thread, const char *name,
                    void (*fn)(void *), void *arg);

/* Waits for its end. */
void os_thread_join(struct os_thread *thread);

/* Nobody will: it goes when it ends. */
void os_thread_detach(struct os_thread *thread);

/* Processors this process may run on, at least 1. */
unsigned os_thread_processors(void);

/* Threads of the process that can still run something, the caller and those
 * of the system's own doing with them, but for a sanitizer's; at one instant.
 * 0 if that cannot be known. */
unsigned os_thread_count(void);

/* Whether the address lies on the native stack of the calling thread, its
 * unused part included.  The first call by a thread is slow. */
bool os_thread_is_on_stack(const void *address);

/* The native stack of the calling thread: [low, high).  0, or why that cannot
 * be known. */
int os_thread_stack(void **low, void **high);

/* The kernel's number for the calling thread. */
int os_thread_number(void);

/* For tests: the count-th start from now on fails, and all after it; 0:
 * none fails. */
void os_thread_fail_after(unsigned long count);

#endif
