/*
 * os_interrupt.h - ending what an OS thread waits for in the kernel, by a
 * signal that does nothing.
 *
 * A signal that comes just before the system call begins is lost on it, so it
 * is sent again and again until the bracket ends.  The kernel does that, by a
 * timer: no OS thread is needed for it.
 */
#ifndef PLATFORM_OS_INTERRUPT_H
#define PLATFORM_OS_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "futex.h"

/* Zero-valid: no bracket is open. */
struct os_interrupt {
    struct os_lock lock;
    bool is_open;         /* L: the timer is there */
    bool is_paused;       /* L: and is not to be armed */
    bool is_fired;        /* L */
    timer_t timer;        /* L */
    uint64_t deadline_ns; /* the owner's, like this: */
    bool was_blocked;     /* the signal, before */
};

/* From here on the calling OS thread may be interrupted: at the deadline
 * (absolute; UINT64_MAX: none), and by os_interrupt_fire.  0; EAGAIN, and
 * nothing has changed. */
int os_interrupt_open(struct os_interrupt *interrupt, uint64_t deadline_ns);

/* Up to here.  Keeps errno. */
void os_interrupt_close(struct os_interrupt *interrupt);

/* In between, for what is no part of it: no signal comes.  Keep errno. */
void os_interrupt_pause(struct os_interrupt *interrupt);
void os_interrupt_resume(struct os_interrupt *interrupt);

/* Interrupts whoever has it open, or opens it later.  From any thread. */
void os_interrupt_fire(struct os_interrupt *interrupt);

#endif
