/*
 * os_signal.h - signals for our own use, of those that the program does not
 * use.
 */
#ifndef PLATFORM_OS_SIGNAL_H
#define PLATFORM_OS_SIGNAL_H

#include <signal.h>

/* The number of a realtime signal that had no handler, and has this one from
 * now on; 0: all of them are in use.  OS threads have it blocked. */
int os_signal_take(const struct sigaction *action);

#endif
