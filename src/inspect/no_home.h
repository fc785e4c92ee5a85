/*
 * no_home.h - telling that threads have to wait for a stack to begin on.
 */
#ifndef NO_HOME_H
#define NO_HOME_H

#include <stdbool.h>

struct thread;

/* The thread, which nobody else has, was to run and could not have a home. */
void no_home_note(const struct thread *t);

/* Whether it has been told.  For tests. */
bool no_home_is_told(void);

#endif
