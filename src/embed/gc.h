/*
 * gc.h - between the files that serve the Boehm collector.
 */
#ifndef EMBED_GC_H
#define EMBED_GC_H

#include <stdbool.h>

/* Whether vthread_gc_enable has succeeded. */
bool gc_is_on(void);

/* gc_thread.c: OS threads, and where their stacks are. */
void gc_thread_start(void);
void gc_thread_enter(void);
void gc_thread_leave(void);
void gc_thread_sleep(void (*fn)(void *arg), void *arg);

/* The calling OS thread is stopped at sp, or has all others stopped; NULL:
 * it goes on.  Returns what was noted before. */
void *gc_thread_stopped_at(void *sp);

/* gc_finalizer.c.  0, EMFILE, ENFILE, ENOMEM. */
int gc_finalizer_start(void);

#endif
