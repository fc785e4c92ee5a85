/*
 * follow.h - a recording of a process that runs already.
 */
#ifndef FOLLOW_H
#define FOLLOW_H

#include <sys/types.h>

/* Has the process record into a file, until the tool is interrupted, so many
 * milliseconds have passed (for_ms 0: for ever), or the process ends; or only
 * the last so many of them, until something happens that they are wanted for
 * (last_ms 0: all).  STATUS_FINE; else it has complained. */
int follow(pid_t pid, const char *path, unsigned long for_ms,
           unsigned long last_ms);

#endif
