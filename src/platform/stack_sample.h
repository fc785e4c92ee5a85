/*
 * stack_sample.h - where an OS thread is just now, asked by another one.
 *
 * One that runs is asked by a signal, and its handler walks the stack.  One
 * that waits in the kernel is left alone: a signal would end system calls that
 * the kernel does not begin again (poll, nanosleep, epoll_wait, timed waits
 * ...), with an EINTR that the program knows nothing of.  Of that one the
 * kernel tells the call, and where it was made.  One that begins such a call in
 * the moment between the look and the signal gets the EINTR all the same.
 */
#ifndef PLATFORM_STACK_SAMPLE_H
#define PLATFORM_STACK_SAMPLE_H

#include <stdbool.h>

enum { STACK_SAMPLE_MAX = 32 };

struct stack_sample {
    bool is_in_kernel; /* it waits there: frames[0] is where it went in */
    long call;         /* the number of the system call; -1: none */
    unsigned count;
    void *frames[STACK_SAMPLE_MAX]; /* innermost first; of the innermost the
                                       instruction, then return addresses */
};

/* The calling OS thread may be asked from now on.  0; EAGAIN: there is no
 * signal for it. */
int stack_sample_allow(void);

/* Whether it waits in the kernel, and not for a processor. */
bool stack_sample_is_waiting(int os_thread);

/* False: it has not answered, being gone or not allowed to be asked, or
 * nobody knows whether it may be interrupted. */
bool stack_sample_take(int os_thread, struct stack_sample *sample);

#endif
