/*
 * cancel.h - being cancelled, inside the library.
 */
#ifndef CANCEL_H
#define CANCEL_H

#include <stdbool.h>

#include "thread.h"

/* THREAD_COUNTDOWN is set and the thread begins a cancellable wait (begins),
 * or is about to publish it: counts it, once; the last one finds the flag
 * asked for in the word. */
void cancel_count_down(struct thread *t, bool begins);

/* Disables cancellation for good, whatever vthread_cancel_enable does. */
void cancel_disable_for_good(struct thread *self);

#endif
