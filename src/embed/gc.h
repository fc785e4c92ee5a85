/*
 * gc.h - between the files that serve the Boehm collector.
 */
#ifndef EMBED_GC_H
#define EMBED_GC_H

#include <stdbool.h>
#include <stddef.h>

#include <vthread/gc.h>

/* Whether vthread_gc_enable has succeeded. */
bool gc_is_on(void);

/* How many OS threads of its own the collector has, to mark in parallel.
 * They only run while a collection is under way. */
unsigned gc_os_threads(void);

/* gc_thread.c: OS threads, and where their stacks are. */
void gc_thread_start(void);
void gc_thread_enter(void);
void gc_thread_leave(void);
void gc_thread_sleep(void (*fn)(void *arg), void *arg);

/* The calling OS thread is stopped at sp, or has all others stopped; NULL:
 * it goes on.  Returns what was noted before. */
void *gc_thread_stopped_at(void *sp);

/* gc_leaks.c: looks for leaks, and calls visit for each until it returns
 * false; *count gets how many there are.  From an OS thread that the collector
 * knows.  As vthread_gc_leaks. */
int gc_leaks_each(bool (*visit)(const vthread_gc_leak_t *leak, void *argument),
                  void *argument, size_t *count);

/* gc_finalizer.c.  0, EMFILE, ENFILE, ENOMEM. */
int gc_finalizer_start(void);

#endif
