/*
 * fault.h - memory faults, told in words.
 */
#ifndef PLATFORM_FAULT_H
#define PLATFORM_FAULT_H

#include <stdbool.h>
#include <stddef.h>

/* Asked about the address of a fault, in the signal handler.  Writes what
 * is known ("stack overflow of thread 5 'reader': its stack of 262144
 * bytes is used up") and returns true, or returns false: not ours. */
typedef bool fault_explainer(void *address, char *buffer, size_t size_bytes);

/* Installs a handler for SIGSEGV and SIGBUS, once.  On a fault that the
 * explainer knows it prints the text and the top frames of the faulting
 * stack (function names where the dynamic symbol table has them), then lets
 * the signal take its course as SIGABRT; other faults go to the handler
 * that was there before, or the default. */
void fault_install(fault_explainer *explain);

/* Has fn(number) called, in the signal handler, when the process is about to
 * die of a fault or an abort: of SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT or
 * SIGSYS that no handler of the program sees to.  A handler that the program
 * installs later takes our place.  Once. */
void fault_at_death(void (*fn)(int number));

/* Gives the calling OS thread an alternate signal stack, unless it has one.
 * Undone by fault_thread_leave, which frees it.  0 or ENOMEM. */
int fault_thread_enter(void);
void fault_thread_leave(void);

#endif
