/*
 * real_wrap.c - whether the functions that ours stand before are libc's.
 *
 * A program that libvthread-pin is linked into may be started by the tool,
 * which preloads it as well.  Then __real_pthread_mutex_lock is the preloaded
 * one, and a lock that both of them track would count twice.  So these here
 * leave it to that one: they jump there, and it sees who has called.
 */
#include "track/track.h"

#include <stddef.h>

/* Of the preloaded library; NULL where there is none, as in static programs. */
__attribute__((weak)) bool vthread_pin_is_active(void);

bool real_tracks(void)
{
    return vthread_pin_is_active != NULL && vthread_pin_is_active();
}
