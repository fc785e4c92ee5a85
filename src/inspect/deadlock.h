/*
 * deadlock.h - all threads wait, and nothing is left that could wake one.
 */
#ifndef DEADLOCK_H
#define DEADLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pool;
struct thread;
struct vthread_scheduler;

/* To be called before what a look at all threads might miss: a platform
 * thread, or one with its carrier, begins to wait; a platform thread comes or
 * goes; somebody has waited for the end of a scheduler. */
void deadlock_note(void);

/* To be called after what no carrier sees and may have been the last thing to
 * happen. */
void deadlock_look_again(void);

/* A pool_client's `quiet`. */
uint64_t deadlock_look(struct pool *pool);

/* The scheduler whose end the thread waits for without a deadline, or
 * NULL. */
struct vthread_scheduler *deadlock_closed_by(const struct thread *t);

/* For tests. */
extern struct deadlock_test {
    _Atomic uint64_t looks;      /* that have been done */
    _Atomic bool is_restless;    /* monitors go on looking */
    _Atomic unsigned os_threads; /* those of the test, that do no harm */
} deadlock_test;

/* deadlock_report.c: who waits for what, and the cycles among them, in
 * lines.  Nobody runs meanwhile. */
void deadlock_describe(char *text, size_t size_bytes);

#endif
