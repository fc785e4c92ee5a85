/*
 * verify.h - what eager and guard mode do besides.  See verify.c.
 */
#ifndef CONTINUATION_VERIFY_H
#define CONTINUATION_VERIFY_H

#include "continuation/continuation.h"

/* Eager mode: the frames are in the chunks now; remembers their checksum
 * and poisons the stack they left. */
void verify_frozen(struct continuation *c);

/* Eager mode: panics if the chunks, or the poisoned stack where it is still
 * vacant, were written to since. */
void verify_before_thaw(struct continuation *c);

/* Guard mode: makes the frames of the unmounted c inaccessible, and
 * accessible again. */
void verify_hide(struct continuation *c);
void verify_show(struct continuation *c);

#endif
