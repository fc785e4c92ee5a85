/*
 * leak_trace.h - which threads nothing can ever wake.
 */
#ifndef EMBED_LEAK_TRACE_H
#define EMBED_LEAK_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "embed/scratch.h"

struct thread;

/* What the tracer asks of a collected heap, which stands still. */
struct leak_heap {
    /* Where the object begins that the address lies in, or NULL; its size,
     * and whether addresses in it count. */
    void *(*base)(void *address);
    size_t (*size)(const void *base, bool *has_pointers);
    bool (*is_page)(const void *page);
    const void *left_out; /* see process_memory.h */
};

/* A trace; memory for it is reserved while all still runs. */
struct leak_trace {
    const struct leak_heap *heap;
    struct scratch memory;   /* of the maps, and of: */
    uint64_t *is_live;       /* a bit for each thread */
    uint32_t *next_waiter;   /* threads that wait for the same thing */
    struct scratch work;     /* a stack of what is to be scanned */
    struct word_map seen;    /* objects */
    struct word_map waiters; /* what is waited for -> the first thread */
    uint32_t threads;        /* numbers there are */
    uint64_t *found;         /* handles of threads that nothing can wake: */
    size_t found_count;      /* so many */
    int error;               /* ENOMEM, or why memory cannot be listed */
};

int leak_trace_open(struct leak_trace *trace, const struct leak_heap *heap);
void leak_trace_close(struct leak_trace *trace);

/* All is stopped.  0 or an error number.  What has been found is complete
 * then: when all goes on, other threads come, and wait, where it has not been
 * looked for what can wake them. */
int leak_trace_run(struct leak_trace *trace);

#endif
