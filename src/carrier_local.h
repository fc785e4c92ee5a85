/*
 * carrier_local.h - carriers' values, inside the library.
 */
#ifndef CARRIER_LOCAL_H
#define CARRIER_LOCAL_H

#include "platform/thread_local.h"

/* What an OS thread knows: its values, by index; NULL before the first. */
struct own_values {
    struct block *block;
};

extern __attribute__((visibility("hidden"))) __thread struct own_values
    own_values;

THREAD_LOCAL_SELF(struct own_values, own_values_self, own_values)

/* The calling OS thread ends: destroys its values. */
void carrier_local_leave(void);

#endif
