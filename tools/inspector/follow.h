/*
 * follow.h - a recording of a process that runs already.
 */
#ifndef FOLLOW_H
#define FOLLOW_H

#include <stdbool.h>
#include <sys/types.h>

/* Has the process record into a file that is open, until the tool is
 * interrupted, so many milliseconds have passed (for_ms 0: for ever), or the
 * process ends, which *has_ended tells; or only the last so many of them, until
 * something happens that they are wanted for (last_ms 0: all).  STATUS_FINE;
 * else it has complained, and of STATUS_TARGET there may be something in the
 * file all the same. */
int follow(pid_t pid, int file, unsigned long for_ms, unsigned long last_ms,
           bool *has_ended);

#endif
