/*
 * thread_local.h - the address of a thread-local variable, asked for anew.
 *
 * A virtual thread changes its OS thread inside a call that looks like any
 * other, and a compiler that has computed the address of a thread-local
 * before such a call uses it after the call as well.  So variables that are
 * needed on both sides of a switch are read through these functions only.
 *
 *     THREAD_LOCAL_SELF(struct local, local_self, local)
 *
 * defines local_self(), which returns the address of the calling OS
 * thread's `extern __thread struct local local`.
 */
#ifndef PLATFORM_THREAD_LOCAL_H
#define PLATFORM_THREAD_LOCAL_H

#include <stdint.h>

#include "cpu.h"

#define THREAD_LOCAL_SELF(type, function, variable)                           \
    static inline type *function(void)                                        \
    {                                                                         \
        type *address;                                                        \
        CPU_THREAD_LOCAL(address, variable);                                  \
        return address;                                                       \
    }

#endif
