/*
 * key.h - values of keys, inside the library.
 */
#ifndef KEY_H
#define KEY_H

#include <stdbool.h>

#include "thread.h"

/* One round of the calling thread's destructors.  False: none was due, or
 * there have been enough rounds; the values are gone. */
bool key_run_destructors(struct thread_extra *extra);

#endif
