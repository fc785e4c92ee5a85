/*
 * target.h - the process that is looked at.
 *
 * Opening one neither stops nor changes it; reading copies its memory while
 * it runs, so what is read may change meanwhile.  Each function that fails
 * has said why, in one line on standard error, and returns the status to
 * exit with.
 *
 *     struct target target;
 *     int status = target_open(&target, "dump", argv[1]);
 *     if (status == STATUS_FINE)
 *         status = target_read(&target, target.layout_address, &layout,
 *                              sizeof layout);
 */
#ifndef TARGET_H
#define TARGET_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct target {
    pid_t pid;
    uint64_t start_time; /* tells it from a later one of this number */
    /* The file that libvthread is part of, as we can open it. */
    char library[PATH_MAX + 32];
    uint64_t layout_address; /* of vthread_layout in the process */
};

/* The process that the text is the number of.  STATUS_USAGE: it is none;
 * STATUS_TARGET: no such process, not ours, or without the library. */
int target_open(struct target *target, const char *command, const char *text);

/* Copies memory of the process.  STATUS_DIED: it has ended;
 * STATUS_TARGET: we may not, or there is none at that address. */
int target_read(const struct target *target, uint64_t address, void *buffer,
                size_t size_bytes);

/* Whether it is still there, and is still the same. */
bool target_is_alive(const struct target *target);

#endif
