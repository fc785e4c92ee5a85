/*
 * vthread/trace.h - a flight recorder: what threads and carriers did.
 *
 * While it is on, the library notes for each thread when it is created, runs,
 * waits and for what, who wakes it, when it is stolen, calls foreign code or
 * is pinned.  The notes are kept in memory, in one ring for each carrier that
 * is overwritten when it is full.  A recording is read by the tool:
 *
 *     vthread trace -o trace.pftrace RECORDING
 *
 * makes of it a file that Perfetto shows (https://ui.perfetto.dev).
 *
 * No program need be changed for that: `vthread trace -o FILE PROGRAM` records
 * another program from its beginning, and in the environment
 *
 *   VTHREAD_TRACE=FILE      records into FILE from the start
 *   VTHREAD_TRACE_MS=5000   only keeps the last 5,000 ms, and writes them
 *                           when something happens: a pinned wait that
 *                           lasts (VTHREAD_PIN_MS), a deadlock, or the
 *                           process dies of a fault or an abort
 *   VTHREAD_TRACE_KB=1024   memory for each carrier
 *
 * The functions are for programs that know themselves when it is worth while:
 *
 *     vthread_trace_attr_t attr = {.last_ns = 5 * VTHREAD_SECOND};
 *     vthread_trace_start(&attr);
 *     ...
 *     if (took_ns > 100 * VTHREAD_MS)
 *         vthread_trace_write("slow.vtrace", 2 * VTHREAD_SECOND);
 *
 * The recorder belongs to the process; any thread may call them, platform
 * threads too.
 */
#ifndef VTHREAD_TRACE_H
#define VTHREAD_TRACE_H

#include <stddef.h>
#include <stdint.h>

#include <vthread/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How to record.  Zero is valid: in memory only, 1 MiB for each carrier. */
typedef struct vthread_trace_attr {
    const char *path;    /* a file, overwritten; NULL: none */
    uint64_t last_ns;    /* 0: all goes to the file, as it comes; else it
                             stays in memory, and so much of it is written
                             when something happens, the second time to
                             PATH.2, and so on up to PATH.9 */
    size_t memory_bytes; /* for each carrier; 0: 1 MiB; rounded to a power
                             of two.  The first start in a process decides */
    unsigned reserved;   /* 0 */
} vthread_trace_attr_t;

/*
 * Starts the recorder; attr NULL is all zero.
 *
 * Returns  0; EBUSY: it is on, or another process records into that file;
 *          EINVAL: memory of less than 4 KiB or more than 1 GiB, or reserved
 *          is not 0; ENOMEM; EAGAIN: no OS thread can be had; why the file
 *          cannot be opened.
 * Blocks   the carrier, while the file is opened.
 */
VTHREAD_API int vthread_trace_start(const vthread_trace_attr_t *attr);

/*
 * Writes what was recorded in the last last_ns nanoseconds, as far as the
 * rings reach back, to a file of its own; recording goes on.
 *
 * Returns  0; ESRCH: the recorder is off; why the file cannot be written.
 * Blocks   the carrier, while the file is written.
 */
VTHREAD_API int vthread_trace_write(const char *path, uint64_t last_ns);

/*
 * Stops the recorder, and completes the file that it records into; if nothing
 * was written to that, it is removed.  So does the end of the process by exit.
 *
 * Returns  0; ESRCH: it is off; EIO: what was recorded is not all in the file.
 * Blocks   the carrier, while the rest is written.
 */
VTHREAD_API int vthread_trace_stop(void);

#ifdef __cplusplus
}
#endif

#endif
