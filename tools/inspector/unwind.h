/*
 * unwind.h - from registers and stack memory to return addresses, by libdw.
 *
 * The memory is a copy: a parked thread's frames come from its chunk, or
 * from where they lay when the process was stopped, and are seen by libdw at
 * the addresses at which they run.
 */
#ifndef UNWIND_H
#define UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "registers.h"

struct image;
struct symbols;

#define UNWIND_FRAMES 256

/* A piece of memory as it lay at `start`. */
struct unwind_range {
    uint64_t start;
    const unsigned char *bytes;
    size_t size_bytes;
};

struct unwind_frame {
    uint64_t pc; /* in the call instruction, not behind it */
    uint64_t sp; /* 0: not known */
};

struct unwinder;

/* Reads what is in no range from `image` if that is a core file. NULL: *why
 * says why not. */
struct unwinder *unwinder_open(struct symbols *symbols,
                               const struct image *image, pid_t pid,
                               const char **why);
void unwinder_close(struct unwinder *unwinder);

/* Returns how many frames there are, the innermost first; UNWIND_FRAMES at
 * most.  *is_cut: there are more. */
size_t unwind(struct unwinder *unwinder, const struct registers *registers,
              const struct unwind_range *ranges, size_t range_count,
              struct unwind_frame frames[UNWIND_FRAMES], bool *is_cut);

#endif
