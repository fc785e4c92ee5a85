/*
 * freeze_thaw.h - frames to the heap and back.  See freeze_thaw.c.
 */
#ifndef CONTINUATION_FREEZE_THAW_H
#define CONTINUATION_FREEZE_THAW_H

#include <stdbool.h>

#include "continuation/continuation.h"

/* Sees to it that freeze will not need memory.  c has just been unmounted;
 * its common home is still claimed by the caller.  False: out of memory. */
bool freeze_reserve(struct continuation *c);

/* Where the frames of c are: on its home, or in up to two chunks.  Returns
 * how many ranges that is; 0: it has not begun, or has ended.  Whoever has
 * the right to mount c does not do so meanwhile, or all are stopped, at
 * whatever instruction. */
struct frame_range {
    const void *low, *high;
};
unsigned frame_ranges(const struct continuation *c,
                      struct frame_range ranges[2]);

/* Copies the frames of the unmounted c from its home to its chunks.  The
 * caller has the claim, and freeze_reserve succeeded at the last yield. */
void freeze(struct continuation *c);

/* Copies them back to where they came from.  The caller has the claim, and
 * the home's resident is c or none. */
void thaw(struct continuation *c);

#endif
