/*
 * embedder.h - between the library and the language machine that embeds it.
 *
 * All of it is a branch while there is none.
 */
#ifndef EMBED_EMBEDDER_H
#define EMBED_EMBEDDER_H

#include <stdbool.h>

#include <vthread/embed.h>

struct thread;
struct thread_extra;

/* What the machine has said; NULL: there is none.  Set before there are
 * threads, and never again. */
extern const vthread_embedder_t *embedder;

/* A thread is being created by the caller: gives it a user pointer.  0 or
 * ENOMEM. */
int embedder_created(struct thread *t);

/* The thread ends, or has never begun: tells the machine, once. */
void embedder_ended(struct thread_extra *extra);

#endif
