/*
 * os_signal.c - signals for our own use.
 *
 * From the last one downwards: programs that use some begin with the first.
 */
#include "os_signal.h"

#include <stddef.h>

int os_signal_take(const struct sigaction *action)
{
    struct sigaction old;

    for (int i = SIGRTMAX; i >= SIGRTMIN; i--)
        if (sigaction(i, NULL, &old) == 0 && !(old.sa_flags & SA_SIGINFO)
            && old.sa_handler == SIG_DFL && sigaction(i, action, NULL) == 0)
            return i;
    return 0;
}
