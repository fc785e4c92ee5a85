/*
 * scratch.h - a file without a name, which is gone when nobody has it open any
 * more, however the tool ends.
 */
#ifndef SCRATCH_H
#define SCRATCH_H

#include <stddef.h>

enum { SCRATCH_PATH_BYTES = 48 };

struct scratch {
    int fd;
    char path[SCRATCH_PATH_BYTES]; /* by which it can be opened while the tool
                                      is there: by children, too */
};

/* On the same file system as the other file, which is about to be written.  0,
 * or an errno value. */
int scratch_open(struct scratch *scratch, const char *beside);
void scratch_close(struct scratch *scratch);

size_t scratch_size_bytes(const struct scratch *scratch);

#endif
