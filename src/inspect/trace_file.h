/*
 * trace_file.h - a file that the recorder writes into.
 */
#ifndef INSPECT_TRACE_FILE_H
#define INSPECT_TRACE_FILE_H

#include "inspect/trace.h"

struct trace_file {
    struct trace_sink sink; /* first */
    int fd;                 /* -1: it is closed */
    int error;              /* what a write has failed with */
};

/* Empties it.  0; EBUSY: another process writes there; why not. */
int trace_file_open(struct trace_file *file, const char *path);
void trace_file_close(struct trace_file *file);

#endif
