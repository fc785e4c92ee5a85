/*
 * escape.h - pointers into a stack that are handed to others, and the entry
 * functions whose threads turned out to need homes of their own.
 */
#ifndef ESCAPE_H
#define ESCAPE_H

#include <stdbool.h>

#include "thread.h"

/* `address` is about to become known to others, through `function`.  0 if
 * it will stay valid, EFAULT if it points into a home that others use
 * too. */
int escape_check(const void *address, const char *function);

/* Whether threads that start with fn should have own homes. */
bool escape_is_remembered(void *(*fn)(void *));

#endif
