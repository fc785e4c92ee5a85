/*
 * unwinder.c - what is known of libgcc's unwinder.
 */
#include "unwinder.h"

#include <stdlib.h>
#include <string.h>

#if defined HAVE_GNU_LIBC_VERSION_H

#include <gnu/libc-version.h>

bool unwinder_takes_no_lock(void)
{
    int major = atoi(gnu_get_libc_version());
    const char *dot = strchr(gnu_get_libc_version(), '.');

    return major > 2 || (major == 2 && dot && atoi(dot + 1) >= 35);
}

#else

bool unwinder_takes_no_lock(void)
{
    return false; /* dl_iterate_phdr takes the loader's */
}

#endif
