/*
 * track.c - whether locks are tracked.
 */
#include "track/track.h"

bool track_is_on;

/* Before main, and before the constructors of the program. */
__attribute__((constructor(102))) static void begin(void)
{
    track_is_on = !real_tracks() && vthread_lock_track();
}
