/*
 * cleanup.h - cleanup handlers, inside the library.
 */
#ifndef CLEANUP_H
#define CLEANUP_H

#include "thread.h"

/* Runs all handlers of the calling thread, the one pushed last first. */
void cleanup_run_all(struct thread_extra *extra);

#endif
